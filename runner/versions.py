"""The code versions that a supervisor has in use: leases, zygotes, and the thread that looks after them."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from envs import EnvCache, Environment, EnvsError, Lease, ProjectSettings, read_project_settings
from runner import sandbox as sandboxes
from runner.child_files import ChildFiles
from runner.child_programs import ChildPrograms
from runner.errors import GivenUp, RunnerError, SupervisorClosed, ZygoteFailed
from runner.step_process import StepProcess
from runner.warden import Warden
from runner.zygote import ASK_SECONDS, START_TIMEOUT_SECONDS, Launch, Patience, Zygote, child_environment

logger = logging.getLogger("hwe.supervisor")
T = TypeVar("T")

# A zygote that nobody asked for anything in this time is ended, and its environment may be evicted; starting it again
# takes as long as its imports do. Of those that are idle for less, so many are kept.
IDLE_SECONDS = 300.0
MAX_ZYGOTES = 32

# How often that is looked at.
TICK_SECONDS = 1.0


@dataclass(frozen=True)
class Options:
    """What all zygotes of one supervisor are started with. `variables` join the environment of every step.

    `writes`, `project_variables`: whether projects get the paths to write to, and the worker's variables, that their
    settings ask for.
    """

    level: sandboxes.SandboxLevel
    network: bool = True
    comparing: bool = False
    writes: bool = True
    project_variables: bool = True
    variables: Mapping[str, str] = field(default_factory=dict)


class Version:
    """A code version in use: its leased environment and its zygote, started on first use and again if it died."""

    def __init__(
        self,
        code_version_hash: str,
        cache: EnvCache,
        files: ChildFiles,
        programs: ChildPrograms,
        warden: Warden,
        options: Options,
    ) -> None:
        self._lock = threading.Lock()  # one builder of this version; other versions are not held up
        self._hash = code_version_hash
        self._cache = cache
        self._files = files
        self._programs = programs
        self._warden = warden
        self._options = options
        self._compiled = True
        self._lease: Lease | None = None
        self._environment: Environment | None = None
        self._zygote: Zygote | None = None
        self._modules: tuple[str, ...] = ()  # of the functions asked for so far, in that order
        self._unfit: set[str] = set()  # modules that must not be imported before forking
        self._users: Counter[Zygote] = Counter()
        self._renewal = threading.Event()
        self._closed = False

    @contextlib.contextmanager
    def in_use(self, modules: Iterable[str] = (), patience: Patience | None = None) -> Iterator[Zygote]:
        """The version's zygote, which is not retired meanwhile. Builds the environment on first use.

        `modules` are those of the functions that will be asked for; they are imported ahead from the next start on,
        for as long as `patience` has it: whoever has a time limit has it for its imports too. Raises `GivenUp`.
        """
        patience = patience or Patience()
        while not self._lock.acquire(timeout=ASK_SECONDS):
            if patience.given_up():
                raise GivenUp("cancel")
        try:
            self._modules = tuple(dict.fromkeys((*self._modules, *modules)))
            zygote = self._started(patience)
            self._users[zygote] += 1
        finally:
            self._lock.release()
        try:
            yield zygote
        finally:
            with self._lock:
                zygote.used_at = time.monotonic()
                self._users[zygote] -= 1
                if not self._users[zygote]:
                    del self._users[zygote]
                    if zygote is not self._zygote:
                        zygote.close()

    def _started(self, patience: Patience) -> Zygote:
        if self._closed:
            raise SupervisorClosed("this supervisor is closed: make another one")
        if self._zygote is not None and not self._zygote.alive:
            logger.warning("the zygote of code version %s died; starting another", self._hash[:12])
            if not self._zygote.has_served:
                # What it imported ahead may have broken it, which a step can tell of.
                self._unfit |= set(self._modules) & set(self._zygote.launch.preload)
            self._replace(None)
        if self._environment is not None and (missing := self._environment.missing_part()):
            logger.warning("code version %s: %s is gone; building the environment again", self._hash[:12], missing)
            self._replace(None)
            self._give_back()
        if self._zygote is None:
            if self._environment is None:
                self._lease = self._cache.lease(self._hash)
                self._environment = self._lease.__enter__()
            self._zygote = self._start(self._environment, patience)
        return self._zygote

    def _start(self, environment: Environment, patience: Patience) -> Zygote:
        """A zygote that has imported what it can ahead of any step."""
        settings = read_project_settings(environment.project)
        asked_for = settings.preload
        preload = tuple(module for module in dict.fromkeys((*asked_for, *self._modules)) if module not in self._unfit)
        compiled = self._programs.program_for(environment) if self._compiled else None
        ahead = set(self._modules) - set(asked_for) - self._unfit
        seconds = patience.seconds if ahead else START_TIMEOUT_SECONDS
        launch = self._launch(environment, compiled or self._files.program, preload, settings)
        try:
            zygote = Zygote(launch, self._files, self._warden, Patience(seconds, patience.given_up))
        except GivenUp as error:
            if error.ended_by == "timeout":
                self._unfit |= ahead
            raise
        except ZygoteFailed as error:
            if compiled is not None and self._programs.is_to_blame(error.log_tail):
                self._programs.forget(environment)
                self._compiled = False
                return self._start(environment, patience)
            if not ahead:
                raise
            # A module that ends the interpreter, or never comes back, must do that in a step, which can tell of it.
            self._unfit |= ahead
            return self._start(environment, patience)
        sandboxes.warn_of_missing(self._options.level.name, zygote.unconfined)
        for module in asked_for:
            if module in zygote.preload_errors:
                reason = zygote.preload_errors[module]
                logger.warning("code version %s: preload of %s failed: %s", self._hash[:12], module, reason)
        new = set(zygote.threaded) - self._unfit
        if not new:
            return zygote
        self._unfit |= new
        logger.warning(
            "code version %s: importing %s starts threads, which no fork copies: each step imports it anew",
            self._hash[:12],
            ", ".join(sorted(new)),
        )
        zygote.close()
        return self._start(environment, patience)

    def _launch(
        self, environment: Environment, program: Path, preload: tuple[str, ...], settings: ProjectSettings
    ) -> Launch:
        asked = self._granted(settings).sandbox
        sandboxes.check_asked(asked, off_limits=[Path(self._cache.root), self._files.root])
        # By the name that the environment has for it, and by its own: it may be reached through a link.
        homes = [path.parent.parent for path in (environment.interpreter, environment.interpreter.resolve())]
        programs = [program.parent, self._files.support]
        parts = [environment.root, environment.layer_root, *homes, homes[0].resolve(), *programs]
        readable = tuple(part for part in parts if part is not None and part != part.parent)  # never all of it
        place = sandboxes.Place(readable, self._files.new_scratch(), self._options.network, self._options.writes)
        hold = self._options.level.hold(asked, place)
        passed_on = {name: os.environ[name] for name in asked.environment if name in os.environ}
        return Launch(
            code_version_hash=environment.hash,
            python=environment.python,
            import_paths=environment.import_paths,
            program=program,
            preload=preload,
            seed=settings.seed,
            network=hold.network,
            comparing=self._options.comparing,
            environment={**self._options.variables, **passed_on, **child_environment(environment.bin_directories)},
            scratches=place.scratches,
            confinement=hold.confinement,
            wrapper=hold.wrapper,
        )

    def _granted(self, settings: ProjectSettings) -> ProjectSettings:
        """What of a project's settings holds under this supervisor."""
        asked = settings.sandbox
        if not self._options.project_variables:
            asked = replace(asked, environment=())
        if not self._options.writes:
            # What is written elsewhere may still be read. In namespaces, devices are the version's own.
            own = self._options.level.name == "locked-down"
            kept = tuple(path for path in asked.writable if own and path.startswith("/dev/"))
            asked = replace(asked, writable=kept, readable=(*asked.readable, *asked.writable))
        return replace(settings, sandbox=asked)

    def _replace(self, successor: Zygote | None) -> None:
        former, self._zygote = self._zygote, successor
        if former is not None and former not in self._users:
            former.close()

    def tidy(self) -> bool:
        """See to the processes that wait for a step, and to modules that have been asked for since the start.

        Forks one process at most; whether another is wanted.
        """
        zygote = self._zygote
        if zygote is None:
            return False
        more = zygote.tidy()
        if not (self._renewal.is_set() or set(self._modules) - self._unfit <= set(zygote.launch.preload)):
            self._renewal.set()
            threading.Thread(target=self._renew, args=(zygote,), name="hwe-renew", daemon=True).start()
        return more

    def _renew(self, former: Zygote) -> None:
        """Start another zygote beside the one in use, with all modules, and let it take over."""
        try:
            environment = self._environment
            if environment is None:
                return
            successor = self._start(environment, Patience(given_up=lambda: self._closed))
            with self._lock:
                if self._closed or self._zygote is not former:
                    successor.close()
                else:
                    self._replace(successor)
        except (RunnerError, EnvsError, OSError) as error:
            logger.info("code version %s: importing modules ahead failed: %s", self._hash[:12], error)
        finally:
            self._renewal.clear()

    def idle_since(self) -> float | None:
        """When its zygote was last asked for a step (monotonic), or None when it has none or is at work."""
        with self._lock:
            return None if self._zygote is None or self._users else self._zygote.used_at

    def retire(self) -> None:
        """End the zygote and give the environment back, unless a step has come in between."""
        with self._lock:
            if not self._users:
                self._let_go()

    def close(self) -> None:
        """End the zygote, and every step with it, and give the environment back, for good."""
        with self._lock:
            self._closed = True
            self._let_go()

    def _let_go(self) -> None:
        zygotes = {*self._users, *([self._zygote] if self._zygote else [])}
        self._zygote = None
        with contextlib.ExitStack() as always_cleanup:
            always_cleanup.callback(self._give_back)
            for zygote in zygotes:
                always_cleanup.callback(zygote.close)

    def _give_back(self) -> None:
        lease, self._lease, self._environment = self._lease, None, None
        if lease is not None:
            lease.release()


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
