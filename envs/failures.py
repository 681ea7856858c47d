"""Builds that failed, remembered so that the next fifty leases do not all wait for the same failure.

    <cache>/failures/layer-<key>.json    {"last":…,"log_path":…,"log_tail":…,"since":…,"tries":…,"what":…}

Written and read under the lock of the build. What a person can mend between two tries (an index that was down, a
wrong variable) is tried again by itself, after a time that doubles with every failure.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from envs.disk import write_whole
from envs.errors import EnvironmentBuildFailed, build_failed
from envs.manifest import canonical_json

# A hiccup of the network is over by then, and fifty steps that wait for one layer have all been told.
FIRST_PAUSE_SECONDS = 5.0

# Somebody who has mended the cause waits no longer than this; `hwe warm` does not wait at all.
LONGEST_PAUSE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A build that failed `tries` times without a success between: first at `since`, last at `last` (epoch seconds).

    name: of what was built, as in "layer-<key>". what, log_tail, log_path: see EnvironmentBuildFailed.
    """

    name: str
    since: float
    last: float
    tries: int
    what: str
    log_tail: str
    log_path: str | None

    @property
    def retry_at(self) -> float:
        """When it will be tried again, if somebody asks."""
        # 2**10 of the first pauses are past the longest one already; years of failures would overflow a float.
        return self.last + min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(self.tries - 1, 10))

    def error(self, *, tried_now: bool) -> EnvironmentBuildFailed:
        """What to raise for it."""
        return build_failed(
            self.what,
            self.log_tail,
            self.log_path,
            since=_moment(self.since),
            tries=self.tries,
            retry_at=None if tried_now else _moment(self.retry_at),
        )


def refuse_if_failing(cache_root: str, name: str, *, forgive_before: float = 0.0) -> None:
    """Raise EnvironmentBuildFailed when `name` failed so recently that another try would end the same.

    `forgive_before`: failures that are older than this moment do not count.
    """
    failure = _read(cache_root, name)
    if failure is None or failure.last < forgive_before:
        return
    now = time.time()
    # One from the future was written by a clock that has been set back since: it says nothing about now.
    if failure.last <= now < failure.retry_at:
        raise failure.error(tried_now=False)


def remember(cache_root: str, name: str, error: EnvironmentBuildFailed) -> EnvironmentBuildFailed:
    """Note that `name` failed, and give the error to raise, which says since when it does."""
    before = _read(cache_root, name)
    now = time.time()
    failure = Failure(
        name,
        since=before.since if before else now,
        last=now,
        tries=before.tries + 1 if before else 1,
        what=error.what,
        log_tail=error.log_tail,
        log_path=error.log_path,
    )
    with contextlib.suppress(OSError):  # on a full disk it is tried again, and says so
        os.makedirs(os.path.join(cache_root, "failures"), mode=0o700, exist_ok=True)
        document = {key: getattr(failure, key) for key in _KEYS}
        write_whole(_path(cache_root, name), canonical_json(document))
    return failure.error(tried_now=True)


def forget(cache_root: str, name: str) -> None:
    """It has succeeded."""
    with contextlib.suppress(OSError):
        os.unlink(_path(cache_root, name))


def failed_builds(cache_root: str) -> list[Failure]:
    """What failed and has not succeeded since, the oldest first."""
    return sorted(_all(cache_root), key=lambda failure: failure.since)


_KEYS = ("last", "log_path", "log_tail", "since", "tries", "what")


def _all(cache_root: str) -> Iterator[Failure]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for name in os.listdir(os.path.join(cache_root, "failures")):
            stem, suffix = os.path.splitext(name)
            if suffix == ".json" and (failure := _read(cache_root, stem)):
                yield failure


def _path(cache_root: str, name: str) -> str:
    return os.path.join(cache_root, "failures", f"{name}.json")


def _read(cache_root: str, name: str) -> Failure | None:
    try:
        with open(_path(cache_root, name), "rb") as file:
            raw = json.load(file)
        log_path = raw["log_path"]
        return Failure(
            name,
            since=float(raw["since"]),
            last=float(raw["last"]),
            tries=int(raw["tries"]),
            what=str(raw["what"]),
            log_tail=str(raw["log_tail"]),
            log_path=None if log_path is None else str(log_path),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None  # unreadable is forgotten: at worst it is tried once more


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
