"""Drives one run forward: the workflow says what is ready, the policy which code, the supervisor runs it, the
ledger remembers. Whoever calls `advance` again after a crash continues at the last recorded step.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from envs import (
    ArtifactStore,
    CacheUnusable,
    EnvironmentBroken,
    EnvironmentDamaged,
    EnvsError,
    IndexUnreachable,
    StoreUnusable,
)
from runner.definition import Definition, Task, Wait
from runner.divergence import describe_divergence
from runner.errors import ResourcesExhausted, RunnerError
from runner.ledger import Ledger, LedgerError, LedgerUnavailable, RunRecord, StepRecord
from runner.outcome import StepError, StepOutcome
from runner.policy import ArtifactMissing, CodeVersionMismatch, Decision, Mode, decide
from runner.request import StepContext, StepRequest, with_templates
from runner.step_context import StepCalls
from runner.supervisor import Supervisor
from runner.templates import references
from runner.values import Values, ValuesUnusable
from runner.workflow import Completed, Failed, Ready, Recorded, Waiting, plan

logger = logging.getLogger("hwe.advance")

# When a worker stops, its runs are offered to the others after this pause, by which time it is gone itself.
HANDOVER_SECONDS = 1.0


@dataclass(frozen=True)
class Progress:
    """Something that a person who watches a run wants to see.

    `status` is of the step, or of the run when `step_key` is None.
    """

    run_id: str
    step_key: str | None
    status: str
    detail: str = ""


class Advancer:
    """What driving runs takes. One per process, used by many threads.

    `local_hash` is the code version of the worker's own project, already in the store; None when it has none.
    `driver` names this process in the ledger.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        supervisor: Supervisor,
        store: ArtifactStore,
        values: Values,
        local_hash: str | None,
        driver: str,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self._supervisor = supervisor
        self._store = store
        self._values = values
        self._local_hash = local_hash
        self._driver = driver
        self._on_progress = on_progress
        self._warned: set[str] = set()
        self._stopping = threading.Event()
        self._abandoning = threading.Event()

    def stop(self) -> None:
        """Make every `advance` return before its next step, also the one whose environment is still being built."""
        self._stopping.set()
        self._supervisor.drain()

    def abandon(self) -> None:
        """Make every `advance` return now: the steps in progress are ended, and the next driver repeats them."""
        self.stop()
        self._abandoning.set()

    def advance(self, run_id: str) -> datetime | None:
        """Drive the run until it ends (None) or has to wait (when to call again, in UTC).

        Raises `Fenced` when another driver took the run over, and what the ledger raises.
        """
        epoch = self._ledger.claim(run_id, self._driver)
        if epoch is None:
            return None
        run = self._ledger.run(run_id)
        definition = Definition.from_json(run.definition)
        while not self._stopping.is_set():
            recorded = self._ledger.steps(run_id, logs=False)
            next_move = plan(
                definition, [_as_recorded(step, run.generation) for step in recorded], now=datetime.now(UTC)
            )
            match next_move:
                case Completed():
                    self._finish(run, epoch, "completed", output=_output(definition, recorded))
                    return None
                case Failed():
                    self._finish(run, epoch, "failed", error=_error_of(recorded, next_move))
                    return None
                case Waiting(until=until):
                    self._ledger.suspend_run(run_id, epoch, until)
                    return until
                case Ready(steps=steps):
                    node, attempt = steps[0]
                    fatal = self._take(run, epoch, definition, node, attempt, recorded)
                    if fatal is not None:
                        self._finish(run, epoch, "failed", error=fatal)
                        return None
        return datetime.now(UTC) + timedelta(seconds=HANDOVER_SECONDS)

    def _take(
        self,
        run: RunRecord,
        epoch: int,
        definition: Definition,
        node: Task | Wait,
        attempt: int,
        recorded: list[StepRecord],
    ) -> dict[str, Any] | None:
        """One step, recorded. Returns the error that ends the run when no retry can help, else None."""
        if isinstance(node, Wait):
            self._wait(run, epoch, node, recorded)
            return None
        pinned = run.code_version_hash if node.pin is None else self._pinned_by_task(node.pin)
        problem: Exception
        try:
            decision = self._decide(run, node, pinned)
        except (CodeVersionMismatch, ArtifactMissing) as error:
            problem = error
        else:
            self._perform(run, epoch, definition, node, attempt, recorded, decision)
            return None
        told = StepError(type(problem).__name__, str(problem)).to_json()
        self._ledger.start_step(
            run.run_id,
            epoch,
            node.task_id,
            attempt,
            function=node.function,
            code_version_hash=pinned,
            input=None,
        )
        self._ledger.finish_step(run.run_id, epoch, node.task_id, attempt, status="failed", error=told)
        self._report(run, node.task_id, "failed", str(problem))
        return {**told, "step_key": node.task_id}

    def _wait(self, run: RunRecord, epoch: int, node: Wait, recorded: list[StepRecord]) -> None:
        begun = next((step for step in recorded if step.step_key == node.task_id and step.status == "waiting"), None)
        if begun is None:
            self._ledger.start_wait(run.run_id, epoch, node.task_id, wake_at=node.wake_at(datetime.now(UTC)))
            self._report(run, node.task_id, "waiting")
        else:
            self._ledger.finish_step(run.run_id, epoch, node.task_id, begun.attempt, status="completed")
            self._report(run, node.task_id, "completed")

    def _pinned_by_task(self, pin: str) -> str:
        """The hash for a task's own `artifact_id`, which may name the artifact or the code version."""
        known = self._ledger.find_code_version(pin)
        return known.code_version_hash if known else pin

    def _decide(self, run: RunRecord, node: Task, pinned: str) -> Decision:
        # A task that pins its own artifact asks for exactly that, whatever the run's mode.
        mode = Mode(run.policy) if node.pin is None else Mode.ARTIFACT
        decision = decide(
            mode,
            local_hash=self._local_hash,
            pinned_hash=pinned,
            artifact_stored=lambda: self._store.has(pinned),
            looked_in=self._store.location,
            run_id=run.run_id,
        )
        if decision.warn and run.run_id not in self._warned:
            self._warned.add(run.run_id)
            logger.warning(
                "run %s started on code version %s, but its step %s runs on the local %s (%s): results may differ; "
                "policy 'artifact' prevents it",
                run.run_id,
                pinned,
                node.task_id,
                decision.code_version_hash,
                describe_divergence(self._ledger, self._store, pinned, decision.code_version_hash),
            )
        return decision

    def _perform(
        self,
        run: RunRecord,
        epoch: int,
        definition: Definition,
        node: Task,
        attempt: int,
        recorded: list[StepRecord],
        decision: Decision,
    ) -> None:
        version = decision.code_version_hash
        self._ledger.start_step(
            run.run_id,
            epoch,
            node.task_id,
            attempt,
            function=node.function,
            code_version_hash=version,
            input={"args": list(node.args), "kwargs": dict(node.kwargs)},
        )
        self._report(run, node.task_id, "running")
        try:
            request = self._request(run, definition, node, attempt, recorded, version)
            outcome = self._supervisor.perform(
                version,
                request,
                timeout_seconds=node.timeout_seconds,
                cancelled=lambda: self._unwanted(run.run_id, epoch),
                answer=StepCalls(
                    self._ledger, self._values, run.run_id, epoch, node.task_id, attempt, definition.variables
                ),
            )
        except (
            CacheUnusable, EnvironmentBroken, EnvironmentDamaged, IndexUnreachable, LedgerError, ResourcesExhausted,
            StoreUnusable, ValuesUnusable,
        ):  # fmt: skip
            raise  # a fault of the machine, which passes: the attempt is started again
        except (EnvsError, RunnerError) as error:
            if self._stopping.is_set():
                return  # the next driver starts this attempt again
            outcome = StepOutcome(
                "failed", node.function, version, error=StepError(type(error).__name__, str(error), "hwe")
            )
        if outcome.status == "cancelled" and self._stopping.is_set():
            return
        self._ledger.finish_step(run.run_id, epoch, node.task_id, attempt, **self._values.recorded(outcome))
        detail = f"{outcome.error.type}: {outcome.error.message}" if outcome.error else ""
        self._report(run, node.task_id, outcome.status, detail)

    def _request(
        self,
        run: RunRecord,
        definition: Definition,
        node: Task,
        attempt: int,
        recorded: list[StepRecord],
        code_version_hash: str,
    ) -> StepRequest:
        wanted = references([list(node.args), dict(node.kwargs)])
        results = {
            key: self._values.payload(step.result)
            for key, step in _results(definition, recorded).items()
            if key in wanted and step.result is not None
        }
        tasks = [task for task in definition.tasks.values() if isinstance(task, Task) and task.pin is None]
        return with_templates(
            node.function,
            node.args,
            node.kwargs,
            scope={
                **definition.variables,
                **self._ledger.contexts.variables(run.run_id),
                "inputs": run.input,
                "workflow": {"name": definition.name, "version": definition.version, "run_id": run.run_id},
            },
            results=results,
            context=StepContext(run.run_id, run.workflow_name, node.task_id, attempt, code_version_hash),
            siblings=[task.function for task in tasks],
        )

    def _unwanted(self, run_id: str, epoch: int) -> bool:
        if self._abandoning.is_set():
            return True
        try:
            return not self._ledger.is_driven_under(run_id, epoch)
        except LedgerUnavailable as error:
            logger.warning("run %s: whether it is still wanted cannot be told: %s", run_id, error)
            return False

    def _finish(
        self,
        run: RunRecord,
        epoch: int,
        status: str,
        *,
        output: Any = None,
        error: dict[str, Any] | None = None,
    ) -> None:
        self._ledger.finish_run(run.run_id, epoch, status, output=output, error=error)
        detail = f"{error.get('type')}: {error.get('message')}" if error else ""
        self._report(run, None, status, detail)

    def _report(self, run: RunRecord, step_key: str | None, status: str, detail: str = "") -> None:
        self._on_progress(Progress(run.run_id, step_key, status, detail))


def _results(definition: Definition, recorded: list[StepRecord]) -> dict[str, StepRecord]:
    """The step that is recorded behind each `result_key`."""
    return {
        node.result_key: step
        for step in recorded
        if isinstance(node := definition.tasks.get(step.step_key), Task)
        and node.result_key
        and step.status == "completed"
        and step.result is not None
    }


def _output(definition: Definition, recorded: list[StepRecord]) -> dict[str, Any]:
    """Each `result_key` with its value; null where the value has no JSON view, or a large one, which `show` adds."""
    return {key: step.value for key, step in _results(definition, recorded).items()}


def _error_of(recorded: list[StepRecord], failed: Failed) -> dict[str, Any]:
    for step in recorded:
        if step.step_key == failed.step_key and step.attempt == failed.attempt and step.error:
            return {**step.error, "step_key": step.step_key}
    return {"type": "StepFailed", "message": f"step {failed.step_key} failed", "step_key": failed.step_key}


def _as_recorded(step: StepRecord, generation: int) -> Recorded:
    return Recorded(
        step_key=step.step_key,
        attempt=step.attempt,
        status=step.status,
        finished_at=step.finished_at,
        wake_at=step.wake_at,
        forgiven=step.generation < generation,
    )
