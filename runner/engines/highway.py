"""`tools.python.run` as a library call, for a worker of Highway or of any other engine.

The engine keeps its queue, timers and retries; what is added is the code version: recorded with the run at its first
step, compared at every step, and applied as the run's policy says.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from envs import ArtifactStore, CodeVersion, EnvCache, capture, open_store
from runner.definition import Definition, load_definition
from runner.divergence import describe_divergence
from runner.errors import UsageError
from runner.ledger import EXTERNAL, Fenced, Ledger, RunRecord, StepRecord
from runner.outcome import StepError, StepOutcome
from runner.policy import ArtifactMissing, CodeVersionMismatch, Mode, decide
from runner.request import StepContext, with_values
from runner.settings import Settings, load_settings
from runner.step_context import StepCalls
from runner.supervisor import Supervisor
from runner.values import Values

logger = logging.getLogger("hwe.highway")

# Two first steps of one run may both begin to drive it; the second try finds that settled.
TRIES = 5

T = TypeVar("T")

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Step:
    """Which step this is, in the words of the engine that calls: ids up to 128 characters, keys up to 255.

    `attempt` counts from 1; None: one more than the last one that ended. `policy` and `code_version_hash` count for
    the first step of a run, and are kept with it: None stand for the setting, and for the worker's own project.
    """

    run_id: str
    workflow_name: str
    step_key: str
    attempt: int | None = None
    policy: str | None = None
    code_version_hash: str | None = None


class PythonTool:
    """One per worker, used by its threads. Close it, or use it as a context manager."""

    def __init__(
        self, *, ledger: Ledger, store: ArtifactStore, supervisor: Supervisor, values: Values, local: CodeVersion,
        settings: Settings,
    ) -> None:  # fmt: skip
        self._ledger = ledger
        self._store = store
        self._supervisor = supervisor
        self._values = values
        self._local = local
        self._settings = settings
        self._driver = f"{EXTERNAL}{os.getpid()}"
        self._warned: set[str] = set()
        self._warning = threading.Lock()
        self._claiming = threading.Lock()

    @classmethod
    def open(cls, project: str | os.PathLike[str], *, settings: Settings | None = None) -> Self:
        """For a worker whose own code is `project`, which is stored. Settings as for `hwe`."""
        settings = settings or load_settings(Path(project), captures=True)
        ledger = Ledger.open(settings.database)
        try:
            store = open_store(settings.store, copies=settings.artifact_copies)
            local = capture(project)
            store.put(local)
            ledger.store_code_version(
                local.hash,
                artifact_id=local.artifact_id,
                project=local.project,
                python=local.manifest.python,
                size_bytes=local.size_bytes,
                manifest_json=local.manifest.to_bytes().decode(),
            )
            supervisor = Supervisor(EnvCache(settings.cache, store), settings.sandbox)
        except BaseException:
            ledger.close()
            raise
        return cls(
            ledger=ledger, store=store, supervisor=supervisor, values=Values(settings.values), local=local,
            settings=settings,
        )  # fmt: skip

    def close(self) -> None:
        """End what runs, and give the connections back."""
        self._supervisor.close()
        self._ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None = None,
        *,
        step: Step,
        timeout_seconds: float | None = None,
    ) -> Any:
        """What Highway's `tools.python.run` returns: the function's result, as JSON.

        args: the function's name, then its arguments. kwargs: its keyword arguments; `artifact_id` among them, the
        hash of a code version or an artifact, is an explicit pin that no policy overrides, and is not passed on.
        An attempt that is recorded as completed is not run again: its result is returned.
        Raises `CodeVersionMismatch`, `ArtifactMissing`, `StepFailed` with the outcome, `OpaqueValue`, `Fenced` when
        the run was cancelled, and what the ledger and the store raise when they cannot be used.
        """
        function, pin, keywords = _checked(args, kwargs or {})
        run = self._run(step)
        before = [one for one in self._ledger.steps(run.run_id, logs=False) if one.step_key == step.step_key]
        attempt = step.attempt or _next_attempt(before)
        if done := next((one for one in before if one.attempt == attempt and one.status == "completed"), None):
            return self._recorded(done)
        inputs = {"args": list(args[1:]), "kwargs": keywords}
        pinned = self._pinned(pin) if pin else run.code_version_hash
        try:
            version = self._decide(run, step, pinned, Mode.ARTIFACT if pin else Mode(run.policy))
        except (CodeVersionMismatch, ArtifactMissing) as error:
            self._start(run, step, attempt, function, pinned, inputs)
            self._finish(run, step, attempt, StepOutcome(
                "failed", function, pinned, error=StepError(type(error).__name__, str(error), "hwe")
            ))  # fmt: skip
            raise
        epoch = self._start(run, step, attempt, function, version, inputs)
        context = StepContext(run.run_id, run.workflow_name, step.step_key, attempt, version)
        outcome = self._supervisor.perform(
            version,
            with_values(function, list(args[1:]), keywords, context),
            timeout_seconds=timeout_seconds,
            cancelled=lambda: self._ledger.status(run.run_id) != "running",
            answer=StepCalls(self._ledger, self._values, run.run_id, epoch, step.step_key, attempt, {}),
        )
        self._finish(run, step, attempt, outcome)
        return outcome.unwrap()

    def finish(self, run_id: str, status: str, *, output: Any = None, error: dict[str, Any] | None = None) -> None:
        """Tell that the engine ended the run, as "completed" or "failed": its version need not be kept for it."""
        self._under_epoch(
            run_id, lambda epoch: self._ledger.finish_run(run_id, epoch, status, output=output, error=error)
        )

    def _run(self, step: Step) -> RunRecord:
        """The run, recorded at its first step with the code that it starts on."""
        if not self._ledger.status(step.run_id):
            version = step.code_version_hash or self._local.hash
            if self._ledger.find_code_version(version) is None:
                raise UsageError(f"code version {version} is not known here: store it with 'hwe capture PROJECT'")
            self._ledger.create_run(
                step.run_id,
                _definition(step.workflow_name),
                code_version_hash=version,
                policy=step.policy or self._settings.strict_code_versioning,
                policy_source="the call" if step.policy else self._settings.policy_source,
                input={},
                project=self._local.project,
                driver=self._driver,
                first_wins=True,
            )
        return self._ledger.run(step.run_id)

    def _decide(self, run: RunRecord, step: Step, pinned: str, mode: Mode) -> str:
        decision = decide(
            mode,
            local_hash=self._local.hash,
            pinned_hash=pinned,
            artifact_stored=lambda: self._store.has(pinned),
            looked_in=self._store.location,
            run_id=run.run_id,
        )
        with self._warning:
            warn = decision.warn and run.run_id not in self._warned
            self._warned.add(run.run_id)
        if warn:
            logger.warning(
                "run %s started on code version %s, but its step %s runs on the local %s (%s): results may differ; "
                "policy 'artifact' prevents it",
                run.run_id,
                pinned,
                step.step_key,
                decision.code_version_hash,
                describe_divergence(self._ledger, self._store, pinned, decision.code_version_hash),
            )
        return decision.code_version_hash

    def _pinned(self, pin: str) -> str:
        known = self._ledger.find_code_version(pin)
        return known.code_version_hash if known else pin

    def _start(self, run: RunRecord, step: Step, attempt: int, function: str, version: str, inputs: Any) -> int:
        def start(epoch: int) -> int:
            self._ledger.start_step(
                run.run_id, epoch, step.step_key, attempt, function=function, code_version_hash=version, input=inputs
            )
            return epoch

        return self._under_epoch(run.run_id, start)

    def _finish(self, run: RunRecord, step: Step, attempt: int, outcome: StepOutcome) -> None:
        recorded = self._values.recorded(outcome)
        self._under_epoch(
            run.run_id,
            lambda epoch: self._ledger.finish_step(run.run_id, epoch, step.step_key, attempt, **recorded),
        )

    def _under_epoch(self, run_id: str, act: Callable[[int], T]) -> T:
        """Steps of one run may run at the same time: they share an epoch, which the first of them raises."""
        for attempt in range(1, TRIES + 1):
            with self._claiming:  # or two first steps would each raise it, and the second fence off the first
                run = self._ledger.run(run_id)
                epoch = run.epoch if run.status == "running" else self._ledger.claim(run_id, self._driver)
            try:
                return act(run.epoch if epoch is None else epoch)
            except Fenced:
                if attempt == TRIES or epoch is None:
                    raise
        raise AssertionError("unreachable")

    def _recorded(self, step: StepRecord) -> Any:
        text = None if step.has_value else self._values.json_text(step.result)
        return step.value if text is None else json.loads(text)


def _checked(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[str, str | None, dict[str, Any]]:
    if not args or not isinstance(args[0], str):
        raise UsageError("tools.python.run needs the name of its function in args[0], as in 'orders.steps.price'")
    keywords = dict(kwargs)
    pin = keywords.pop("artifact_id", None)
    if pin is not None and not (isinstance(pin, str) and _SHA256.fullmatch(pin)):
        raise UsageError("artifact_id must be the 64 hexadecimal digits of a code version or of an artifact")
    return args[0], pin, keywords


def _next_attempt(before: list[StepRecord]) -> int:
    """The attempt that is in progress or completed, else one more than the last."""
    last = max(before, key=lambda step: step.attempt, default=None)
    if last is None:
        return 1
    return last.attempt if last.status in {"running", "completed"} else last.attempt + 1


def _definition(workflow_name: str) -> Definition:
    """The engine keeps the real one."""
    task = {"operator_type": "task", "function": "tools.python.run", "args": ["external.engine"]}
    text = json.dumps({"name": workflow_name, "tasks": {"external": task}})
    return load_definition(text, source_name=workflow_name)
