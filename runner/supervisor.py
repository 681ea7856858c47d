"""Turns (code version, function, arguments) into an outcome. Trusted: it never unpickles what a child sent.

The main path is `run`: lease the version's environment, take a step process that its zygote has already forked,
converse with it until it is dead, and say how it ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from envs import EnvCache
from runner import sandbox as sandboxes
from runner.calls import Answer, outside_of_runs
from runner.conversation import Conversation
from runner.ending import Ending, outcome_of
from runner.errors import GivenUp, SupervisorClosed, UsageError, ZygoteGone
from runner.launch import Options, child_environment
from runner.outcome import StepOutcome
from runner.request import StepContext, StepRequest, module_of, with_values
from runner.slots import FairSlots, Lanes
from runner.streams import LineStream
from runner.versions import Versions
from runner.zygote import START_TIMEOUT_SECONDS, Patience

logger = logging.getLogger("hwe.supervisor")

# Steps that run at the same time. They are processes, so more than the cores only helps steps that wait.
DEFAULT_SLOTS = max(4, 2 * (os.cpu_count() or 1))

# A process that was forked ahead may have been killed while it waited. It never took the request, so handing that to
# another one repeats nothing; past this many, something kills them all.
_HANDOVERS = 3


class Supervisor:
    """Runs steps, each in a fresh process of the code version asked for. Thread-safe; close it, or use `with`.

    `sandbox` is "none", "process" (default) or "locked-down"; `guarantees` tells what that enforces here.
    `slots` bounds the steps that run at the same time. `network=False` cuts them off from it, or they do not run.
    `comparing`: requests may carry the recorded result. `variables` join the environment of every step. `writes` and
    `project_variables`: whether `writable` and `environment` of a project's settings hold. Without `writes`, steps
    write to their scratch directories alone, at the level "none" too. `memory_bytes`: the most for any process, also
    when it imports.
    """

    def __init__(
        self,
        cache: EnvCache,
        sandbox: str = "process",
        *,
        slots: int = DEFAULT_SLOTS,
        network: bool = True,
        comparing: bool = False,
        writes: bool = True,
        project_variables: bool = True,
        variables: Mapping[str, str] | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        if slots < 1:
            raise UsageError(f"a supervisor needs at least 1 slot, not {slots}")
        level = sandboxes.level_of(sandbox)
        self.sandbox = level.name
        options = Options(level, network, comparing, writes, project_variables, variables or {}, memory_bytes)
        self._versions = Versions(cache, options)
        # What every step sees; where the project's own variables hold, steps of that project see more.
        self.variable_names = frozenset({*child_environment(()), *(variables or {}), "HOME", "TMPDIR"})
        self._slots = FairSlots(slots)
        self._lanes = Lanes(slots)
        self._closing = threading.Event()
        self._draining = threading.Event()
        # A supervisor that is dropped without close leaves nothing either; also runs at interpreter exit.
        self._finalizer = weakref.finalize(self, _close_in, os.getpid(), self._versions)

    @property
    def guarantees(self) -> tuple[sandboxes.Guarantee, ...]:
        """What the sandbox enforces on this machine, and what it does not."""
        return sandboxes.guarantees(self.sandbox)

    def run(
        self,
        code_version_hash: str,
        function: str,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        *,
        timeout_seconds: float | None = None,
        context: StepContext | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> StepOutcome:
        """Run one function of one code version and wait for its end.

        `function` is "package.module.function" or "package.module:Class.method". Arguments are Python values, or
        payloads of earlier steps, also nested. `cancelled` is asked a few times a second. What the step does
        wrong is in the outcome; raises `envs.EnvsError` when the environment cannot be had, `ZygoteFailed` when
        its interpreter does not start, `UsageError` when an argument cannot be pickled, `SupervisorClosed`.
        """
        context = context or StepContext(code_version_hash=code_version_hash)
        request = with_values(function, args, kwargs or {}, context)
        return self.perform(code_version_hash, request, timeout_seconds=timeout_seconds, cancelled=cancelled)

    def perform(
        self,
        code_version_hash: str,
        request: StepRequest,
        *,
        timeout_seconds: float | None = None,
        cancelled: Callable[[], bool] | None = None,
        answer: Answer = outside_of_runs,
    ) -> StepOutcome:
        """`run` for a request that is already made; the raises are the same, and what `answer` raises.

        `answer` gets what the step asks of its run through `ctx`.
        """
        if timeout_seconds is not None and not timeout_seconds > 0:  # nan is not either
            raise UsageError(f"a timeout must be longer than {timeout_seconds} seconds")
        if self._closing.is_set():
            raise SupervisorClosed("this supervisor is closed: make another one")

        def give_up() -> bool:
            return self._closing.is_set() or (cancelled is not None and cancelled())

        handovers = 0
        while True:
            handovers += 1
            try:
                ending = self._hand_over(code_version_hash, request, timeout_seconds, give_up, answer)
            except ZygoteGone:
                if handovers == _HANDOVERS:
                    raise
            else:
                if not ending.died_waiting or handovers == _HANDOVERS:
                    return outcome_of(ending, request, code_version_hash, timeout_seconds)

    def _hand_over(
        self,
        code_version_hash: str,
        request: StepRequest,
        timeout_seconds: float | None,
        cancelled: Callable[[], bool],
        answer: Answer,
    ) -> Ending:
        version = self._versions.get(code_version_hash)
        stdout, stderr = self._streams(code_version_hash, request)

        def unwanted() -> bool:
            return self._draining.is_set() or cancelled()

        began = time.monotonic()
        limit = START_TIMEOUT_SECONDS if timeout_seconds is None else min(timeout_seconds, START_TIMEOUT_SECONDS)
        with contextlib.ExitStack() as holding:
            try:
                zygote = holding.enter_context(version.in_use(request.modules, Patience(limit, unwanted)))
            except GivenUp as given_up:
                return Ending(ended_by=given_up.ended_by, wall_seconds=time.monotonic() - began)
            # The slot comes last: whoever waits for an environment to be built keeps nobody else from running.
            if not holding.enter_context(self._slots.one(code_version_hash, unwanted)) or unwanted():
                return Ending(ended_by="cancel")
            step = zygote.take()
            try:
                ending = Conversation(step, request, stdout, stderr, timeout_seconds, cancelled, answer).attend()
            finally:
                self._versions.clear_up(version, step)
            zygote.has_served |= ending.message is not None
            return ending

    def submit(
        self,
        code_version_hash: str,
        function: str,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        **options: object,
    ) -> Future[StepOutcome]:
        """`run` in the background. Cancelling the future before it started keeps the step from starting.

        Versions get their turns alike, however many steps of each are asked for.
        """
        if self._closing.is_set():
            raise SupervisorClosed("this supervisor is closed: make another one")
        call = functools.partial(self.run, code_version_hash, function, args, kwargs, **options)  # type: ignore[arg-type]
        return self._lanes.submit(code_version_hash, call)

    async def run_async(
        self,
        code_version_hash: str,
        function: str,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        *,
        timeout_seconds: float | None = None,
        context: StepContext | None = None,
    ) -> StepOutcome:
        """`run` for asyncio. Cancelling the task ends the step's whole process tree."""
        cancelled = threading.Event()
        future = self.submit(
            code_version_hash,
            function,
            args,
            kwargs,
            timeout_seconds=timeout_seconds,
            context=context,
            cancelled=cancelled.is_set,
        )
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def warm(self, code_version_hash: str, functions: Iterable[str] = ()) -> dict[str, str]:
        """Materialize a version and start its zygote, so that its first step finds a process waiting.

        The modules of `functions` are imported ahead, besides those under `[tool.hwe] preload`. Returns the modules
        that could not be imported, and why; raises what `run` raises.
        """
        patience = Patience(given_up=self._draining.is_set)
        with self._versions.get(code_version_hash).in_use(map(module_of, functions), patience) as zygote:
            return dict(zygote.preload_errors)

    def drain(self) -> None:
        """Begin nothing more: what waits for an environment, for an interpreter to start or for a slot is cancelled.

        Steps that have begun go on. Safe in a signal handler.
        """
        self._draining.set()

    def close(self) -> None:
        """End every step, build, zygote and lease of this supervisor. Safe to call twice."""
        self._closing.set()
        self._draining.set()
        self._lanes.close()
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def _streams(code_version_hash: str, request: StepRequest) -> Iterator[LineStream]:
        context = request.context
        labels = {
            "run": context.run_id,
            "step": context.step_key or request.function,
            "version": code_version_hash,
        }
        return (LineStream({**labels, "stream": stream}) for stream in ("stdout", "stderr"))


def _close_in(pid: int, versions: Versions) -> None:
    """Not in a process that the host forked: what it has are copies, and the supervisor is its parent's."""
    if os.getpid() == pid:
        versions.close()
