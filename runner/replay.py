"""Runs the recorded steps of a run again, each with what it was given then, and tells where they come out otherwise.

Nothing is written: not to the ledger, and what a step sets through ctx is forgotten with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from envs import EnvsError
from runner.calls import Answer, Call, CallRefused, Reply
from runner.definition import Definition, Task, Wait
from runner.errors import RunnerError, UsageError
from runner.ledger import Ledger, RunRecord, StepRecord
from runner.logs import difference
from runner.outcome import StepError, StepOutcome
from runner.payload import Payload
from runner.redaction import Redaction
from runner.request import Expected, StepContext, with_templates
from runner.supervisor import Supervisor
from runner.templates import references
from runner.values import Values

Verdict = Literal["same", "different", "not replayed", "could not"]
Logs = Literal["", "same", "different", "not recorded", "ignored"]

# Endings that say as much about the machine, or about a person, as about the code.
_NOT_OF_THE_CODE = {"cancelled": "it was cancelled", "running": "it was in progress", "waiting": "it is a timer"}

# Ended from outside, at a moment that is another one each time.
_CUT_SHORT = {"timed_out", "out_of_memory"}


@dataclass(frozen=True)
class Replayed:
    """What came of one recorded attempt. `detail` is one line; `differences` are of the result, by path.

    `same_bytes`: the result is pickled alike too. `recorded` and `replayed` are statuses. `recorded_stdout` and
    `recorded_stderr` are None where a release before this one has recorded the attempt. `logs`: "same", "different",
    "not recorded", "ignored", or "" when nothing was run.
    """

    step_key: str
    attempt: int
    function: str | None
    code_version_hash: str | None
    verdict: Verdict
    detail: str = ""
    recorded: str = ""
    replayed: str = ""
    same_bytes: bool | None = None
    differences: Sequence[dict[str, Any]] = ()
    recorded_error: dict[str, Any] | None = None
    replayed_error: dict[str, Any] | None = None
    wall_seconds: float | None = None
    recorded_wall_seconds: float | None = None
    stdout: str = ""
    stderr: str = ""
    recorded_stdout: str | None = None
    recorded_stderr: str | None = None
    logs: Logs = ""


class History(Protocol):
    """What is recorded of a run, wherever it is kept."""

    run: RunRecord
    steps: Sequence[StepRecord]
    redacted: Redaction

    def payload(self, result: bytes) -> Payload:
        """The payload of a recorded result."""

    def variables_before(self, step: StepRecord) -> dict[str, Any]:
        """The run's variables when the attempt began, besides those that the workflow begins with."""

    def substep(self, step_key: str, name: str) -> bytes | None:
        """The recorded result of a part of a step."""


class LedgerHistory:
    """The history of a run in a ledger."""

    def __init__(self, ledger: Ledger, values: Values, run_id: str) -> None:
        self.run = ledger.run(run_id)
        self.steps: Sequence[StepRecord] = ledger.steps(self.run.run_id)
        self.redacted = Redaction([])
        self._ledger = ledger
        self._values = values

    def payload(self, result: bytes) -> Payload:
        return self._values.payload(result)

    def variables_before(self, step: StepRecord) -> dict[str, Any]:
        return self._ledger.contexts.variables(self.run.run_id, before=step.started_at)

    def variables_now(self) -> dict[str, Any]:
        """The run's variables as they are, besides those that the workflow begins with."""
        return self._ledger.contexts.variables(self.run.run_id)

    def substep(self, step_key: str, name: str) -> bytes | None:
        return self._ledger.contexts.substep(self.run.run_id, step_key, name)


@dataclass
class Replay:
    """A replay of one run. `against`: the code version to run all steps on, instead of the one each really ran on.

    `live`: steps get the results of the replay itself, where they come from it, instead of the recorded ones.
    `tolerance`: how far floats may be from the recorded ones. `ignore_logs`: what steps print may differ.
    """

    history: History
    supervisor: Supervisor
    against: str | None = None
    live: bool = False
    tolerance: float = 0.0
    ignore_logs: bool = False
    _results: dict[str, Payload] = field(default_factory=dict, init=False)

    def steps(self, *, only: str | None = None, first: str | None = None) -> Iterator[Replayed]:
        """Replay the recorded attempts in the order in which they ended: all, those of one step, or from one on.

        Raises `UsageError` when the run has no such step; what goes wrong with a step is in its verdict.
        """
        definition = Definition.from_json(self.history.run.definition)
        keys = list(dict.fromkeys(step.step_key for step in self.history.steps))
        for key in (only, first):
            if key is not None and key not in keys:
                recorded = ", ".join(keys) or "nothing"
                raise UsageError(f"run {self.history.run.run_id} has no step {key!r}; recorded are {recorded}")
        begun = first is None
        for step in self.history.steps:
            begun = begun or step.step_key == first
            if begun and only in {None, step.step_key}:
                yield self._replay(definition, step)

    def _replay(self, definition: Definition, step: StepRecord) -> Replayed:
        task = definition.tasks.get(step.step_key)
        version = self.against or step.code_version_hash
        reason = _NOT_OF_THE_CODE.get(step.status)
        if not isinstance(task, Task):
            reason = "it is a timer"
        elif version is None:
            reason = "no code is recorded for it"
        elif step.error and step.error.get("module") == "hwe":
            reason = f"it never ran: {step.error.get('type')}: {step.error.get('message')}"
        reason = reason or self._hidden(definition, task, step)
        if reason or not isinstance(task, Task) or version is None:
            return _replayed(step, version, "not replayed", reason or "")
        try:
            outcome = self._perform(definition, task, step, version)
        except (EnvsError, RunnerError) as error:
            return _replayed(step, version, "could not", f"{type(error).__name__}: {error}")
        if self.live and outcome.payload is not None and task.result_key:
            self._results[task.result_key] = outcome.payload
        return self._with_logs(step, outcome, _judged(step, version, outcome))

    def _with_logs(self, step: StepRecord, outcome: StepOutcome, replayed: Replayed) -> Replayed:
        """The same, having compared what was printed."""
        pairs = {"stdout": (step.stdout, outcome.stdout), "stderr": (step.stderr, outcome.stderr)}
        if self.ignore_logs:
            return replace(replayed, logs="ignored")
        if None in {step.stdout, step.stderr}:
            return replace(replayed, logs="not recorded")
        if outcome.status != step.status:
            return replayed  # an attempt that ends otherwise prints something else: one difference, not two
        found = {
            stream: difference(then, now, cut_short=outcome.status in _CUT_SHORT)
            for stream, (then, now) in pairs.items()
            if then is not None
        }
        told = [f"{stream} differs in {where}" for stream, where in found.items() if where is not None]
        if not told:
            return replace(replayed, logs="same")
        detail = "; ".join(filter(None, [replayed.detail, *told]))
        return replace(replayed, verdict="different", detail=detail, logs="different")

    def _hidden(self, definition: Definition, task: Task | Wait | None, step: StepRecord) -> str | None:
        """What the step would need that was left out of a bundle, if anything."""
        hidden = self.history.redacted
        if not isinstance(task, Task):
            return None
        if hidden.hides_step(step.step_key):
            return "it was redacted"
        given = [step.input or {}, list(task.args), dict(task.kwargs)]
        if path := hidden.needed_by(given):
            return f"it needs {path}, which was redacted"
        for other in definition.tasks.values():
            if isinstance(other, Task) and other.result_key in references(given) and hidden.hides_step(other.task_id):
                return f"it needs the result of {other.task_id}, which was redacted"
        return None

    def _perform(self, definition: Definition, task: Task, step: StepRecord, version: str) -> StepOutcome:
        run = self.history.run
        given: dict[str, Any] = {"args": list(task.args), "kwargs": dict(task.kwargs)}
        if isinstance(step.input, dict):
            given |= step.input
        variables = {**definition.variables, **self.history.variables_before(step)}
        expected = None
        if step.status == "completed" and step.result is not None:
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
            results=self._results_for(definition, step, references([given["args"], given["kwargs"]])),
            context=StepContext(run.run_id, run.workflow_name, step.step_key, step.attempt, version),
            siblings=[other.function for other in definition.tasks.values() if isinstance(other, Task)],
            expected=expected,
        )
        answer = _answer(self.history, step, variables)
        return self.supervisor.perform(version, request, timeout_seconds=task.timeout_seconds, answer=answer)

    def _results_for(self, definition: Definition, step: StepRecord, wanted: set[str]) -> dict[str, Payload]:
        payloads = {}
        for earlier in self.history.steps:
            if earlier.sequence >= step.sequence or earlier.status != "completed" or earlier.result is None:
                continue
            task = definition.tasks.get(earlier.step_key)
            if isinstance(task, Task) and task.result_key in wanted:
                payloads[task.result_key] = self.history.payload(earlier.result)
        return {**payloads, **{key: payload for key, payload in self._results.items() if key in wanted}}


def _answer(history: History, step: StepRecord, variables: dict[str, Any]) -> Answer:
    """What ctx does in a replay: variables as they were, parts as they were recorded, and nothing kept."""
    now = dict(variables)

    def answer(call: Call) -> Reply:
        name = call.arguments.get("name")
        if not isinstance(name, str):
            raise CallRefused(f"ctx.{call.name} needs a name")
        match call.name:
            case "get_variable":
                return Reply([name in now, now.get(name)])
            case "set_variable":
                now[name] = call.arguments.get("value")
            case "step":
                recorded = history.substep(step.step_key, name)
                return Reply(payload=None if recorded is None else history.payload(recorded))
            case "record_step":
                pass
            case _:
                raise CallRefused(f"ctx.{call.name} is not known here")
        return Reply()

    return answer


def _judged(step: StepRecord, version: str, outcome: StepOutcome) -> Replayed:
    verdict: Verdict = "different"
    comparison = outcome.comparison or {}
    found = [item for item in comparison.get("differences") or () if isinstance(item, dict)]
    if outcome.status != step.status:
        detail = f"{step.status} then, {outcome.status} now{_said(outcome.error)}"
    elif outcome.status == "completed":
        if comparison.get("same_bytes") is True or (comparison and not found):
            verdict, detail = "same", ""
        elif found:
            detail = (
                f"the result differs in {len(found)} place{'s' * (len(found) > 1)}, first at {found[0].get('path')}"
            )
        else:
            verdict, detail = "could not", "the recorded result is not there to compare with"
    elif _identity(step.error) == _identity(outcome.error.to_json() if outcome.error else None):
        verdict, detail = "same", ""
    else:
        then = step.error or {}
        detail = f"{then.get('type')}: {then.get('message')} then, now{_said(outcome.error)}"
    return _replayed(step, version, verdict, detail, outcome, found)


def _said(error: StepError | None) -> str:
    return f" {error.type}: {error.message}" if error else ""


def _identity(error: dict[str, Any] | None) -> object:
    """What makes an error the same: its type, its message and its causes; not where its files lie."""
    if error is None:
        return None
    members = [_identity(member) for member in error.get("exceptions") or ()]
    return error.get("module"), error.get("type"), error.get("message"), _identity(error.get("cause")), members


def _replayed(
    step: StepRecord,
    version: str | None,
    verdict: Verdict,
    detail: str,
    outcome: StepOutcome | None = None,
    differences: Sequence[dict[str, Any]] = (),
) -> Replayed:
    return Replayed(
        step_key=step.step_key,
        attempt=step.attempt,
        function=step.function,
        code_version_hash=version,
        verdict=verdict,
        detail=detail,
        recorded=step.status,
        replayed=outcome.status if outcome else "",
        same_bytes=(outcome.comparison or {}).get("same_bytes") is True if outcome and outcome.payload else None,
        differences=differences,
        recorded_error=step.error,
        replayed_error=outcome.error.to_json() if outcome and outcome.error else None,
        wall_seconds=outcome.usage.wall_seconds if outcome else None,
        recorded_wall_seconds=step.wall_seconds,
        stdout=outcome.stdout if outcome else "",
        stderr=outcome.stderr if outcome else "",
        recorded_stdout=step.stdout,
        recorded_stderr=step.stderr,
    )
