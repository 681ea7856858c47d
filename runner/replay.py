"""Runs the recorded steps of a run again, each with what it was given then, and tells where they come out otherwise.

Nothing is written: not to the ledger, and what a step sets through ctx is forgotten with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from envs import EnvsError
from runner.definition import Definition, Task, Wait
from runner.errors import RunnerError, UsageError
from runner.ledger import EXTERNAL, Ledger, RunRecord, StepRecord, VariableRecord
from runner.outcome import StepOutcome
from runner.payload import Payload
from runner.redaction import Redaction
from runner.replay_context import ReplayedCalls
from runner.replayed import MAX_JSON_CHARS, Logs, Replayed, Verdict, judged, without_logs
from runner.request import Debugging, Expected, StepContext, module_of, with_templates
from runner.side_by_side import side_by_side
from runner.supervisor import Supervisor
from runner.templates import expressions, references
from runner.values import Values

__all__ = ["MAX_JSON_CHARS", "History", "LedgerHistory", "Logs", "Replay", "Replayed", "Verdict"]

# A step without a timeout of its own is ended after so many times what it took then, and not before so many seconds:
# on other code, or without a network, it may never end.
PATIENCE_FACTOR, PATIENCE_SECONDS = 10.0, 60.0

# Endings that say as much about the machine, or about a person, as about the code.
_NOT_OF_THE_CODE = {"cancelled": "it was cancelled", "running": "it was in progress", "waiting": "it is a timer"}


class History(Protocol):
    """What is recorded of a run, wherever it is kept."""

    run: RunRecord
    steps: Sequence[StepRecord]
    redacted: Redaction

    def payload(self, result: bytes) -> Payload:
        """The payload of a recorded result."""

    @property
    def variables(self) -> Sequence[VariableRecord]:
        """Every value that steps have given to a variable, in that order."""

    def substep(self, step_key: str, name: str, attempt: int) -> bytes | None:
        """The recorded result of a part of a step, if that attempt, or one before it, has done it."""


class LedgerHistory:
    """The history of a run in a ledger."""

    def __init__(self, ledger: Ledger, values: Values, run_id: str) -> None:
        with ledger.snapshot():  # also faster than one by one, where many runs are looked at
            self.run = ledger.run(run_id)
            self.steps: Sequence[StepRecord] = ledger.steps(self.run.run_id)
            # Every value that steps have given to a variable, in that order.
            self.variables: Sequence[VariableRecord] = ledger.contexts.all_variables(self.run.run_id)
        self.redacted = Redaction([])
        self._ledger = ledger
        self._values = values

    def payload(self, result: bytes) -> Payload:
        return self._values.payload(result)

    def variables_now(self) -> dict[str, Any]:
        """The run's variables as they are, besides those that the workflow begins with."""
        return self._ledger.contexts.variables(self.run.run_id)

    def substep(self, step_key: str, name: str, attempt: int) -> bytes | None:
        return self._ledger.contexts.substep(self.run.run_id, step_key, name, up_to=attempt)

    def parts(self) -> dict[tuple[str, str], bytes]:
        """The recorded results of all parts of steps, by step key and name."""
        return {key: result for key, (_, result) in self._ledger.contexts.all_substeps(self.run.run_id).items()}


@dataclass
class Replay:
    """A replay of one run. `against`: the code version to run all steps on, instead of the one each really ran on.

    `live`: steps get the results of the replay itself, where they come from it, instead of the recorded ones.
    `tolerance`: how far floats may be from the recorded ones. `ignore_logs`: what steps print may differ.
    `step_timeout_seconds`: when steps without a timeout are ended, instead of after a multiple of what they took then.
    """

    history: History
    supervisor: Supervisor
    against: str | None = None
    live: bool = False
    tolerance: float = 0.0
    ignore_logs: bool = False
    step_timeout_seconds: float | None = None
    _results: dict[str, Payload] = field(default_factory=dict, init=False)

    @cached_property
    def definition(self) -> Definition:
        """The workflow of the run."""
        return Definition.from_json(self.history.run.definition)

    def steps(self, *, only: str | None = None, first: str | None = None, jobs: int = 1) -> Iterator[Replayed]:
        """Replay the recorded attempts in the order in which they ended: all, those of one step, or from one on.

        `jobs` at a time, unless they feed each other. The supervisor is closed when the rest is not wanted any more.
        Raises `UsageError` when the run has no such step; what goes wrong with a step is in its verdict.
        """
        keys = {step.step_key for step in self.history.steps}
        for key in (only, first):
            if key is not None and key not in keys:
                raise UsageError(self._unknown(key))
        steps = itertools.dropwhile(lambda step: first not in {None, step.step_key}, self.history.steps)
        chosen = [step for step in steps if only in {None, step.step_key}]
        yield from side_by_side(self._replay, chosen, 1 if self.live else jobs, give_up=self.supervisor.close)

    def _replay(self, step: StepRecord) -> Replayed:
        definition = self.definition
        task = definition.tasks.get(step.step_key)
        version = self.against or step.code_version_hash
        reason = _NOT_OF_THE_CODE.get(step.status)
        if task is None:
            reason = "another engine drove it, and has its workflow"
        elif not isinstance(task, Task):
            reason = "it is a timer"
        elif version is None:
            reason = "no code is recorded for it"
        elif step.error and step.error.get("module") == "hwe":
            reason = f"it never ran: {step.error.get('type')}: {step.error.get('message')}"
        reason = reason or self._hidden(definition, task, step)
        if reason or not isinstance(task, Task) or version is None:
            return without_logs(step, version, "not replayed", reason or "")
        if step.status == "completed" and (unknown := self._unknown_variables(task, step)):
            detail = f"it needs the variable {unknown[0]}, which is not recorded: --env {unknown[0]} passes yours on"
            return without_logs(step, version, "could not", detail)
        try:
            outcome, expected, calls = self._perform(definition, task, step, version)
        except (EnvsError, RunnerError) as error:
            return without_logs(step, version, "could not", f"{type(error).__name__}: {error}")
        if calls.redacted:
            return without_logs(step, version, "not replayed", _needs(f"variables.{calls.redacted[0]}"))
        if self.live and outcome.payload is not None and task.result_key:
            self._results[task.result_key] = outcome.payload
        gaps = bool(calls.left_out)
        return judged(step, version, outcome, expected, ignore_logs=self.ignore_logs, with_gaps=gaps)

    def attempt_of(self, step_key: str, number: int | None = None) -> StepRecord:
        """A recorded attempt of a step: that one, else the last that failed, else the last. Raises `UsageError`."""
        attempts = [step for step in self.history.steps if step.step_key == step_key]
        if not attempts:
            raise UsageError(self._unknown(step_key))
        if number is None:
            return ([step for step in attempts if step.error] or attempts)[-1]
        for step in attempts:
            if step.attempt == number:
                return step
        raise UsageError(f"step {step_key} has no attempt {number}; recorded are 1 to {attempts[-1].attempt}")

    def debug(self, step: StepRecord, debugging: Debugging) -> StepOutcome:
        """Run an attempt on a terminal, however long that takes. Raises `UsageError`, and as the supervisor does."""
        definition = self.definition
        task = definition.tasks.get(step.step_key)
        version = self.against or step.code_version_hash
        if not isinstance(task, Task) or version is None:
            raise UsageError(f"step {step.step_key} has no code to stop in: it is a timer")
        if reason := self._hidden(definition, task, step):
            raise UsageError(f"step {step.step_key} cannot be run: {reason}")
        return self._perform(definition, task, step, version, debugging)[0]

    def _unknown(self, step_key: str) -> str:
        recorded = ", ".join(dict.fromkeys(step.step_key for step in self.history.steps)) or "nothing"
        return f"run {self.history.run.run_id} has no step {step_key!r}; recorded are {recorded}"

    def remaining(self) -> list[str]:
        """The steps of the workflow of which nothing is recorded: the run has not come so far, or never will."""
        if (self.history.run.driver or "").startswith(EXTERNAL):
            return []  # only that engine knows
        recorded = {step.step_key for step in self.history.steps}
        return [key for key in self.definition.tasks if key not in recorded]

    def _unknown_variables(self, task: Task, step: StepRecord) -> list[str]:
        """What the step's templates ask of the environment, and steps of a replay do not have."""
        paths = expressions([step.input or {}, list(task.args), dict(task.kwargs)])
        asked = {path[1] for path in paths if path[:1] == ["ENV"] and len(path) > 1}
        return sorted(asked - self.supervisor.variable_names)

    def _hidden(self, definition: Definition, task: Task | Wait | None, step: StepRecord) -> str | None:
        """What the step would need that was left out of a bundle, if anything."""
        hidden = self.history.redacted
        if not isinstance(task, Task) or not hidden.paths:
            return None
        if hidden.hides_step(step.step_key):
            return "it was redacted"
        given = [step.input or {}, list(task.args), dict(task.kwargs)]
        if path := hidden.needed_by(given, self._variables_before(definition, step)[1]):
            return _needs(path)
        for other in definition.tasks.values():
            if isinstance(other, Task) and other.result_key in references(given) and hidden.hides_step(other.task_id):
                return _needs(f"the result of {other.task_id}")
        return None

    def _perform(
        self, definition: Definition, task: Task, step: StepRecord, version: str, debugging: Debugging | None = None
    ) -> tuple[StepOutcome, Payload | None, ReplayedCalls]:
        """What comes of the attempt now, the recorded result if it had one, and what it asked of its run."""
        run = self.history.run
        given: dict[str, Any] = {"args": list(task.args), "kwargs": dict(task.kwargs)}
        if isinstance(step.input, dict):
            given |= step.input
        variables, hidden = self._variables_before(definition, step)
        expected = None
        if step.status == "completed" and step.result is not None and debugging is None:
            expected = Expected(self.history.payload(step.result), self.tolerance)
        request = with_templates(
            step.function or task.function,
            given["args"],
            given["kwargs"],
            scope={
                **variables,
                "inputs": run.input,
                "workflow": {"name": definition.name, "version": definition.version, "run_id": run.run_id},
            },
            results=self._results_for(step, references([given["args"], given["kwargs"]])),
            context=StepContext(run.run_id, run.workflow_name, step.step_key, step.attempt, version),
            siblings=self._siblings,
            expected=expected,
            debugging=debugging,
        )
        calls = ReplayedCalls(self.history, step, variables, hidden)
        patience = max(PATIENCE_SECONDS, PATIENCE_FACTOR * (step.wall_seconds or 0.0))
        timeout_seconds: float | None = task.timeout_seconds or self.step_timeout_seconds or patience
        if debugging is not None:
            timeout_seconds = None  # a person takes longer
        outcome = self.supervisor.perform(version, request, timeout_seconds=timeout_seconds, answer=calls)
        return outcome, expected.payload if expected else None, calls

    def _variables_before(self, definition: Definition, step: StepRecord) -> tuple[dict[str, Any], set[str]]:
        """The run's variables when the attempt began, and which of them were redacted."""
        redacted = self.history.redacted
        values = dict(definition.variables)
        hidden = {name for name in values if redacted.hides_variable(name)}
        for given in self.history.variables:
            if given.set_at < step.started_at:
                values[given.name] = given.value
                hidden.discard(given.name)
                if redacted.hides_variable(given.name, given.step_key):
                    hidden.add(given.name)
        return values, hidden

    def _results_for(self, step: StepRecord, wanted: set[str]) -> dict[str, Payload]:
        payloads = {}
        for key in wanted:
            earlier = [one for one in self._results_by_key.get(key, ()) if one.sequence < step.sequence]
            if earlier and earlier[-1].result is not None:
                payloads[key] = self.history.payload(earlier[-1].result)
        return {**payloads, **{key: payload for key, payload in self._results.items() if key in wanted}}

    @cached_property
    def _results_by_key(self) -> dict[str, list[StepRecord]]:
        """The attempts whose results go by each name, in order."""
        found: dict[str, list[StepRecord]] = {}
        for step in self.history.steps:
            task = self.definition.tasks.get(step.step_key)
            if isinstance(task, Task) and task.result_key and step.status == "completed" and step.result is not None:
                found.setdefault(task.result_key, []).append(step)
        return found

    @cached_property
    def _siblings(self) -> list[str]:
        """A function of each module that has steps of the workflow, which is to be imported ahead."""
        tasks = [task for task in self.definition.tasks.values() if isinstance(task, Task)]
        return list({module_of(task.function): task.function for task in tasks}.values())


def _needs(what: str) -> str:
    return f"it needs {what}, which was redacted"
