"""Environments built before anybody waits for them: many at once, told phase by phase; one failure harms no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Literal

from envs import FINAL_PHASES, ArtifactStore, EnvCache, EnvsError
from runner.definition import Definition, Task
from runner.errors import RunnerError
from runner.ledger import Ledger, VersionCensus
from runner.supervisor import Supervisor

# Behind the last phase of a build: a zygote starts and imports.
IMPORT = "import"


@dataclass(frozen=True)
class Warmed:
    """How it went with one version.

    status: "built", "ready" (it was there, or somebody else built it meanwhile) or "failed". phases: seconds of each.
    failed_in: the phase, or None when it had not begun. error: one line. log_path: what the installer said.
    """

    code_version_hash: str
    status: Literal["built", "ready", "failed"]
    seconds: float
    phases: dict[str, float] = field(default_factory=dict)
    failed_in: str | None = None
    error_type: str | None = None
    error: str | None = None
    log_path: str | None = None


class ImportsFailed(RunnerError):
    """Modules that the version's steps will want cannot be imported."""

    fault = "user code"

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors = dict(errors)
        told = "; ".join(f"{module}: {reason}" for module, reason in sorted(self.errors.items()))
        super().__init__(f"not every module can be imported: {told}")


class Warmer:
    """Builds into the cache at `cache_root` from `store`. `on_phase(hash, phase)` is called in the building thread, at
    the end with "done" or "failed". `offline`: without a network.
    """

    def __init__(
        self, cache_root: str, store: ArtifactStore, on_phase: Callable[[str, str], None], *, offline: bool = False
    ) -> None:
        # Whoever asks for this wants to know how it is now, not how it was.
        self.cache = EnvCache(cache_root, store, on_progress=self._phase, retry_failed=True, offline=offline)
        self._on_phase = on_phase
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._began: dict[str, list[tuple[str, float]]] = {}

    def warm(
        self,
        hashes: Collection[str],
        *,
        jobs: int,
        supervisor: Supervisor | None = None,
        functions: Mapping[str, Collection[str]] | None = None,
    ) -> Generator[Warmed, None, None]:
        """One for each version, as they get ready.

        `supervisor`, on this cache: also start each version's zygote and import its [tool.hwe] preload and the modules
        of its `functions`. Raises nothing that only one version suffers from. Left before its end, as by a Ctrl-C, it
        gives up what is being built.
        """
        pool = ThreadPoolExecutor(jobs, thread_name_prefix="hwe-warm")
        try:
            wanted = functions or {}
            futures = [
                pool.submit(self._one, code_version_hash, supervisor, wanted.get(code_version_hash, ()))
                for code_version_hash in dict.fromkeys(hashes)
            ]
            for future in as_completed(futures):
                yield future.result()
            self.cache.settle()
        except BaseException:
            self._stopped.set()
            if supervisor is not None:
                supervisor.drain()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _one(self, code_version_hash: str, supervisor: Supervisor | None, functions: Collection[str]) -> Warmed:
        began = time.monotonic()
        failure: EnvsError | RunnerError | None = None
        try:
            with self.cache.lease(code_version_hash, given_up=self._stopped.is_set):
                if supervisor is not None:
                    self._note(code_version_hash, IMPORT)
                    if errors := supervisor.warm(code_version_hash, functions):
                        raise ImportsFailed(errors)
        except (EnvsError, RunnerError) as error:
            failure = error
        ended = time.monotonic()
        with self._lock:
            phases = self._began.pop(code_version_hash, [])
        self._on_phase(code_version_hash, "failed" if failure else "done")
        built = any(name not in {"wait", IMPORT} for name, _ in phases)
        return Warmed(
            code_version_hash,
            "failed" if failure else "built" if built else "ready",
            ended - began,
            _durations(phases, ended),
            failed_in=phases[-1][0] if failure and phases else None,
            error_type=type(failure).__name__ if failure else None,
            error=str(failure) if failure else None,
            log_path=getattr(failure, "log_path", None),
        )

    def _phase(self, code_version_hash: str, phase: str) -> None:
        if phase not in FINAL_PHASES:  # of the environment; who is warming says when all of it is
            self._note(code_version_hash, phase)

    def _note(self, code_version_hash: str, phase: str) -> None:
        with self._lock:
            self._began.setdefault(code_version_hash, []).append((phase, time.monotonic()))
        self._on_phase(code_version_hash, phase)


def _durations(phases: list[tuple[str, float]], ended: float) -> dict[str, float]:
    """Seconds by phase; of one that was done twice, both together."""
    found: dict[str, float] = {}
    ends = [*(moment for _, moment in phases[1:]), ended]
    for (phase, moment), end in zip(phases, ends, strict=False):
        found[phase] = found.get(phase, 0.0) + end - moment
    return found


def functions_of(ledger: Ledger, census: Collection[VersionCensus]) -> dict[str, list[str]]:
    """For each code version, the functions that its unfinished runs call on their own code."""
    found: dict[str, list[str]] = {}
    for one in census:
        names: dict[str, None] = {}
        for definition_hash in sorted(one.by_definition):
            text = ledger.definition_of(one.code_version_hash, definition_hash)
            tasks = Definition.from_json(text).tasks.values() if text else ()
            names.update(dict.fromkeys(t.function for t in tasks if isinstance(t, Task) and t.pin is None))
        found[one.code_version_hash] = list(names)
    return found
