"""The code versions that a supervisor has in use, and the thread that looks after them."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from envs import EnvCache
from runner.child_files import ChildFiles
from runner.child_programs import ChildPrograms
from runner.launch import Options
from runner.step_process import StepProcess
from runner.version import Version
from runner.warden import Warden

logger = logging.getLogger("hwe.supervisor")
T = TypeVar("T")

# A zygote that nobody asked for anything in this time is ended, and its environment may be evicted; starting it again
# takes as long as its imports do. Of those that are idle for less, so many are kept.
IDLE_SECONDS = 300.0
MAX_ZYGOTES = 32

# How often that is looked at.
TICK_SECONDS = 1.0


class Versions:
    """All of them, and the thread that keeps processes ready and lets go of what is idle. Holds no supervisor."""

    def __init__(self, cache: EnvCache, options: Options) -> None:
        self._cache = cache
        self._options = options
        self._warden = Warden()
        self._warden.ready()  # first, since it takes as long as an interpreter to start
        self._files = ChildFiles()
        self._programs = ChildPrograms(cache)
        self._lock = threading.Lock()
        self._versions: dict[str, Version] = {}
        self._closed = False
        self._work: queue.SimpleQueue[tuple[Version, StepProcess] | None] = queue.SimpleQueue()
        self._keeper = threading.Thread(target=self._keep, name="hwe-keeper", daemon=True)
        self._keeper.start()

    def get(self, code_version_hash: str) -> Version:
        """The version of that hash, not started yet if it is new."""
        with self._lock:
            version = self._versions.get(code_version_hash)
            if version is None:
                version = Version(
                    code_version_hash, self._cache, self._files, self._programs, self._warden, self._options
                )
                self._versions[code_version_hash] = version
            return version

    def clear_up(self, version: Version, step: StepProcess) -> None:
        """Have what a step used given back and the next process forked, by the keeper, so that nobody waits for it."""
        with self._lock:
            if not self._closed:
                self._work.put((version, step))
                return
        step.close()

    def close(self) -> None:
        """End everything. Again is no harm."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._work.put(None)
            versions = list(self._versions.values())
        for version in versions:
            version.close()
        if self._keeper is not threading.current_thread():
            self._keeper.join()
        self._warden.close()
        self._files.close()

    def _keep(self) -> None:
        ticked = time.monotonic()
        short_of: set[Version] = set()  # versions that may want more processes ready
        while True:
            # What the steps that ended hold comes first, however many there are: nothing may pile up.
            for work in self._take_work(0 if short_of else TICK_SECONDS):
                if work is None:
                    return
                version, step = work
                self._guarded(step.close)
                short_of.add(version)
            short_of = {version for version in short_of if self._guarded(version.tidy)}
            if time.monotonic() - ticked >= TICK_SECONDS:
                ticked = time.monotonic()
                self._guarded(self._tick)

    def _take_work(self, timeout: float) -> Iterator[tuple[Version, StepProcess] | None]:
        with contextlib.suppress(queue.Empty):
            yield self._work.get(timeout=timeout) if timeout else self._work.get_nowait()
            while True:
                yield self._work.get_nowait()

    @staticmethod
    def _guarded(work: Callable[[], T]) -> T | None:
        try:
            return work()
        except Exception:
            logger.exception("looking after the processes failed; going on")
            return None

    def _tick(self) -> None:
        with self._lock:
            versions = list(self._versions.values())
        for version in versions:
            version.tidy()
        idle = sorted((since, index) for index, version in enumerate(versions) if (since := version.idle_since()))
        oldest_allowed = time.monotonic() - IDLE_SECONDS
        for number, (since, index) in enumerate(idle):
            if since < oldest_allowed or len(idle) - number > MAX_ZYGOTES:
                versions[index].retire()
