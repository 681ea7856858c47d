"""One code version that a supervisor has in use: its leased environment, and the zygote that runs in it."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, wait

from envs import BuildGivenUp, EnvCache, Environment, EnvironmentBroken, EnvsError, Lease, read_project_settings
from runner import sandbox as sandboxes
from runner.child_files import ChildFiles
from runner.child_programs import ChildPrograms
from runner.errors import GivenUp, RunnerError, SupervisorClosed, ZygoteFailed
from runner.launch import Options, launch_of
from runner.warden import Warden
from runner.zygote import ASK_SECONDS, START_TIMEOUT_SECONDS, Patience, Zygote

logger = logging.getLogger("hwe.supervisor")


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
        self._building: Future[Lease] | None = None
        self._waiting = 0  # so many want a zygote and have none yet
        self._counting = threading.Lock()
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
        with self._among_those_who_wait():
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

    @contextlib.contextmanager
    def _among_those_who_wait(self) -> Iterator[None]:
        with self._counting:
            self._waiting += 1
        try:
            yield
        finally:
            with self._counting:
                self._waiting -= 1

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
            logger.warning("code version %s: %s is gone", self._hash[:12], missing)
            self._replace(None)
            if self._users:
                raise EnvironmentBroken(self._hash, missing)
            self._give_back()
        if self._zygote is None:
            environment = self._environment or self._leased(patience)
            self._zygote = self._start(environment, patience)
        return self._zygote

    def _leased(self, patience: Patience) -> Environment:
        """The environment, which a thread of its own builds for as long as anybody waits for it, whoever that is."""
        while True:
            if self._building is None:
                self._building = Future()
                threading.Thread(target=self._build, args=(self._building,), name="hwe-build").start()
            if not wait([self._building], ASK_SECONDS).done:
                if patience.given_up():
                    raise GivenUp("cancel")
                continue
            building, self._building = self._building, None
            with contextlib.suppress(BuildGivenUp):  # by those who were here before
                self._lease = building.result()
                self._environment = self._lease.environment
                assert self._environment is not None
                return self._environment

    def _build(self, building: Future[Lease]) -> None:
        try:
            lease = self._cache.lease(self._hash, given_up=lambda: not self._waiting)
            lease.__enter__()
        except BaseException as error:  # noqa: BLE001 - it is theirs who wait
            building.set_exception(error)
        else:
            building.set_result(lease)

    def _start(self, environment: Environment, patience: Patience) -> Zygote:
        """A zygote that has imported what it can ahead of any step."""
        settings = read_project_settings(environment.project)
        asked_for = settings.preload
        preload = tuple(module for module in dict.fromkeys((*asked_for, *self._modules)) if module not in self._unfit)
        compiled = self._programs.program_for(environment) if self._compiled else None
        ahead = set(self._modules) - set(asked_for) - self._unfit
        seconds = patience.seconds if ahead else START_TIMEOUT_SECONDS
        program = compiled or self._files.program
        launch = launch_of(environment, program, preload, settings, self._options, self._files, self._cache.root)
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
            if not self._closed:
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
        building, self._building = self._building, None
        if building is not None and building.exception() is None:  # it ends soon: nobody waits for it any more
            building.result().release()
        lease, self._lease, self._environment = self._lease, None, None
        if lease is not None:
            lease.release()
