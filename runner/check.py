"""The deploy verdict: would the runs in flight go on on this code? Found out in the candidate's own environment.

For each run the values that its remaining steps need are unpickled there, the functions found, and the recorded
arguments bound; nothing of the run is called, unless it is to be replayed. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from envs import EnvsError
from runner.definition import Definition, Task, Wait
from runner.errors import RunnerError
from runner.ledger import EXTERNAL, LedgerError, RunRecord, StepRecord
from runner.payload import Payload
from runner.replay import LedgerHistory, Replay
from runner.request import StepContext, to_inspect
from runner.supervisor import Supervisor
from runner.templates import references

Verdict = Literal[
    "candidate does not import",
    "step missing",
    "state will not load",
    "signature",
    "definition changed",
    "diverges",
    "could not",
    "compatible",
]

# From the first on: what a run's verdict is when several things are found.
VERDICTS: tuple[Verdict, ...] = (
    "candidate does not import",
    "step missing",
    "state will not load",
    "signature",
    "definition changed",
    "diverges",
    "could not",
    "compatible",
)

# Imports and unpickling; user code may do anything in either.
TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Finding:
    """What is wrong with a step of a run, in one line."""

    step_key: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True)
class RunVerdict:
    """What the candidate means for one run. `remaining`: the steps still to come."""

    run: RunRecord
    verdict: Verdict
    remaining: Sequence[str]
    findings: Sequence[Finding] = field(default=())


@dataclass(frozen=True)
class Check:
    """A check against one candidate. `definitions`: the workflows that its project has, by name. Thread-safe.

    `replaying`: also run the recorded steps again on the candidate, and compare.
    """

    supervisor: Supervisor
    candidate: str
    definitions: Mapping[str, Definition] = field(default_factory=dict)
    replaying: bool = False
    tolerance: float = 0.0

    def run(self, history: LedgerHistory) -> RunVerdict:
        """The verdict on one run; what goes wrong meanwhile is in it."""
        if (history.run.driver or "").startswith(EXTERNAL):
            finding = Finding("", "could not", "another engine drives it, and alone knows what is still to come")
            return RunVerdict(history.run, "could not", (), (finding,))
        definition = Definition.from_json(history.run.definition)
        done = {step.step_key for step in history.steps if step.status == "completed"}
        remaining = {name: task for name, task in definition.tasks.items() if name not in done}
        findings: list[Finding] = []
        try:
            findings += self._inspected(history, definition, remaining)
            findings += self._redefined(definition, remaining)
            if self.replaying:
                findings += self._diverging(history)
        except (EnvsError, RunnerError, LedgerError) as error:
            findings.append(Finding("", "could not", f"{type(error).__name__}: {error}"))
        verdict: Verdict = "compatible"
        for finding in findings:
            verdict = min(verdict, finding.verdict, key=VERDICTS.index)
        return RunVerdict(history.run, verdict, tuple(remaining), tuple(findings))

    def _inspected(
        self, history: LedgerHistory, definition: Definition, remaining: Mapping[str, Task | Wait]
    ) -> Iterator[Finding]:
        run = history.run
        recorded = _recorded(history, definition)
        steps: list[dict[str, Any]] = []
        for name, task in remaining.items():
            if isinstance(task, Task) and task.pin is None:
                args, kwargs = list(task.args), dict(task.kwargs)
                uses = sorted(references([args, kwargs]) & set(recorded))
                step = {"key": name, "function": task.function, "args": args, "kwargs": kwargs, "uses": uses}
                steps.append(step)
        if not steps:
            return
        results = {key: payload for key, payload in recorded.items() if any(key in step["uses"] for step in steps)}
        keys = {task.result_key for task in remaining.values() if isinstance(task, Task) and task.result_key}
        template: dict[str, Any] = {
            "steps": steps,
            "results": {name: index for index, name in enumerate(results)},
            "pending": sorted(keys - set(recorded)),
            "same_code": run.code_version_hash == self.candidate,
            "scope": {
                **definition.variables,
                **history.variables_now(),
                "inputs": run.input,
                "workflow": {"name": definition.name, "version": definition.version, "run_id": run.run_id},
            },
        }
        context = StepContext(run.run_id, run.workflow_name, "check", 1, self.candidate)
        request = to_inspect(template, results, [step["function"] for step in steps], context)
        outcome = self.supervisor.perform(self.candidate, request, timeout_seconds=TIMEOUT_SECONDS)
        if outcome.status != "completed" or not isinstance(outcome.value, list):
            told = f": {outcome.error.type}: {outcome.error.message}" if outcome.error else ""
            # It died of what it imported or unpickled, and took the checker with it.
            yield Finding("", "candidate does not import", f"looking at it {outcome.status}{told}")
            return
        for found in outcome.value:
            yield Finding(str(found["step"]), found["verdict"], str(found["detail"]))

    def _redefined(self, definition: Definition, remaining: Mapping[str, Task | Wait]) -> Iterator[Finding]:
        """Where the candidate's workflow of that name says otherwise of steps to come. The run keeps its own."""
        other = self.definitions.get(definition.name)
        if other is None or other.hash == definition.hash:
            return
        for name, task in remaining.items():
            now = other.tasks.get(name)
            if now is None:
                yield Finding(name, "definition changed", "the candidate's workflow has no such step")
            elif detail := _difference(task, now):
                yield Finding(name, "definition changed", detail)
        for name in other.tasks:
            if name not in definition.tasks:
                yield Finding(name, "definition changed", "the run has no such step, the candidate's workflow has")

    def _diverging(self, history: LedgerHistory) -> Iterator[Finding]:
        # A candidate that logs something else breaks no run.
        replay = Replay(history, self.supervisor, self.candidate, tolerance=self.tolerance, ignore_logs=True)
        for step in replay.steps():
            if step.verdict == "different":
                yield Finding(step.step_key, "diverges", step.detail)
            elif step.verdict == "could not":
                yield Finding(step.step_key, "could not", step.detail)


def _recorded(history: LedgerHistory, definition: Definition) -> dict[str, Payload]:
    found = {}
    for step in history.steps:
        task = definition.tasks.get(step.step_key)
        if isinstance(task, Task) and task.result_key and _has_result(step):
            found[task.result_key] = history.payload(step.result or b"")
    return found


def _has_result(step: StepRecord) -> bool:
    return step.status == "completed" and step.result is not None


def _difference(old: Task | Wait, new: Task | Wait) -> str:
    """What the definitions of one step say differently, or nothing."""
    if type(old) is not type(new):
        return f"a {type(old).__name__.lower()} then, a {type(new).__name__.lower()} in the candidate's workflow"
    names = [name for name in vars(old) if vars(old)[name] != vars(new)[name]]
    return "; ".join(f"{name}: {_shown(vars(old)[name])} then, {_shown(vars(new)[name])} now" for name in names)


def _shown(value: object) -> str:
    return (list(value).__repr__() if isinstance(value, tuple) else repr(value))[:100]


def sample(runs: Sequence[tuple[str, str, str]], limit: int) -> list[str]:
    """At most `limit` ids of (run id, workflow name, code version hash), some of each workflow and version.

    Of each as many as its share, one at least while there is room, and spread over its whole order.
    """
    if len(runs) <= limit:
        return [run_id for run_id, _, _ in runs]
    strata: dict[tuple[str, str], list[str]] = {}
    for run_id, workflow, version in runs:
        strata.setdefault((workflow, version), []).append(run_id)
    largest_first = sorted(strata.values(), key=len, reverse=True)[:limit]
    quotas = [1] * len(largest_first)
    left = limit - len(quotas)
    total = sum(map(len, largest_first))
    for index, ids in enumerate(largest_first):
        quotas[index] += min(len(ids) - 1, left * len(ids) // total)
    for index, ids in enumerate(largest_first):  # what rounding left over
        more = min(len(ids) - quotas[index], limit - sum(quotas))
        quotas[index] += more
    chosen = []
    for ids, quota in zip(largest_first, quotas, strict=True):
        chosen += [ids[position * len(ids) // quota] for position in range(quota)]
    return chosen
