"""The deploy verdict: would the runs in flight go on on this code? Found out in the candidate's own environment.

For each run the values that its remaining steps need are unpickled there, the functions found, and the recorded
arguments bound; nothing of the run is called, unless it is to be replayed. Nothing is written.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from envs import EnvsError
from runner.definition import Definition, Task, Wait
from runner.errors import RunnerError, ZygoteFailed, ZygoteGone
from runner.inspection import Inspected, Inspection, Shape, rebuilt_fault, shape_fault
from runner.ledger import EXTERNAL, LedgerError, RunRecord
from runner.replay import LedgerHistory, Replay
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

logger = logging.getLogger("hwe.project")

MAX_FINDINGS = 20

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
    step_timeout_seconds: float | None = None
    # Of what was found out for one run, and holds for others.
    _shapes: dict[str, dict[str, Shape]] = field(default_factory=dict, init=False)
    _doubts: dict[tuple[str, str], set[tuple[str, str]]] = field(default_factory=dict, init=False)
    _unusable: set[str] = field(default_factory=set, init=False)
    _lacks: dict[tuple[str, ...], Inspected] = field(default_factory=dict, init=False)
    _lacked: dict[tuple[str, tuple[str, ...]], Inspected] = field(default_factory=dict, init=False)
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock, init=False)

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
            findings += itertools.islice(self._inspected(history, definition, remaining), MAX_FINDINGS)
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
        asked = Inspection.of(history, definition, remaining)
        if not asked.steps:
            return
        for told in self._of_code(history.run, asked):
            for step in asked.steps:
                if told["step"] in {step["function"], ""}:
                    yield Finding(step["key"], told["verdict"], str(told["detail"]))
            if not told["step"]:
                return
        try:
            now = self._perform(self.candidate, asked)
        except _Ended as error:
            yield Finding("", "state will not load", f"looking at it {error}")
            return
        known = self._known(history.run, asked, now)
        for told in now.without(known):
            yield Finding(str(told["step"]), told["verdict"], str(told["detail"]))
        for name, shapes in now.shapes.items():
            before = self._shapes.get(asked.versions[name], {})
            for kind, shape in shapes.items():
                if fault := shape_fault(kind, before.get(kind, {}), shape):
                    for step in asked.steps:
                        if name in step["uses"]:
                            yield Finding(step["key"], "state will not load", f"{asked.shown(name)} {fault}")

    def _of_code(self, run: RunRecord, asked: Inspection) -> Sequence[Mapping[str, Any]]:
        """What the candidate's functions lack, whatever the run; of step "" when importing them ends the process."""
        with self._one_at_a_time:  # what hangs or eats memory is not to do so many times over
            if asked.functions not in self._lacks:
                try:
                    self._lacks[asked.functions] = self._perform(self.candidate, asked.of_code_alone())
                except ZygoteGone:
                    raise  # somebody killed it
                except (_Ended, ZygoteFailed) as error:  # by its steps' modules, or by those that it preloads
                    detail = f"importing it {error}" if isinstance(error, _Ended) else str(error)
                    ended = {"step": "", "verdict": "candidate does not import", "detail": detail}
                    self._lacks[asked.functions] = Inspected([{**ended, "doubt": None}])
            lacks = self._lacks[asked.functions]
            if not lacks.doubts:
                return lacks.findings
            key = run.code_version_hash, asked.functions
            if key not in self._lacked:
                is_same = run.code_version_hash == self.candidate
                self._lacked[key] = lacks if is_same else self._before(run.code_version_hash, asked.of_code_alone())
            return lacks.without(self._lacked[key].doubts)

    def _before(self, version: str, asked: Inspection) -> Inspected:
        """What that code tells, as far as it is still to be had."""
        if version in self._unusable:
            return Inspected()
        try:
            return self._perform(version, asked)
        except (EnvsError, RunnerError) as error:
            logger.warning("not compared with the code that runs started on, %s: %s", version[:12], error)
            self._unusable.add(version)
        except _Ended:
            pass
        return Inspected()

    def _known(self, run: RunRecord, asked: Inspection, now: Inspected) -> set[tuple[str, str]]:
        """The doubts that the code gives too which the run has had until now; keeps the shapes of its classes."""
        known: set[tuple[str, str]] = set()
        for version in {run.code_version_hash, *asked.versions.values()}:
            if version == self.candidate:
                known |= now.doubts if version == run.code_version_hash else set()
                continue
            mine = [name for name, recorded_by in asked.versions.items() if recorded_by == version]
            kinds = {kind for name in mine for kind in now.shapes.get(name, ())}
            shapes = self._shapes.setdefault(version, {})
            doubts = self._doubts.setdefault((version, run.definition_hash), set())
            # Of a class or function, not of this run: what that code told of one holds for the others.
            if version in self._unusable or (now.doubts <= doubts and kinds <= shapes.keys()):
                known |= doubts
                continue
            before = self._before(version, asked.looking_into(mine))
            doubts |= before.doubts
            known |= doubts
            for name, found in before.shapes.items():
                for kind, shape in found.items():
                    rebuilt = rebuilt_fault(kind, shape, now.shapes.get(name, {}).get(kind, {}))
                    shapes[kind] = {**shape, "rebuilt": rebuilt}
            for kind in kinds:
                shapes.setdefault(kind, {})  # under another name then
        return known

    def _perform(self, version: str, asked: Inspection) -> Inspected:
        """Raises `_Ended`, and as the supervisor does."""
        outcome = self.supervisor.perform(version, asked.request(version), timeout_seconds=TIMEOUT_SECONDS)
        if outcome.status != "completed" or not isinstance(outcome.value, dict):
            told = f": {outcome.error.type}: {outcome.error.message}" if outcome.error else ""
            raise _Ended(f"{outcome.status}{told}")
        return Inspected(outcome.value["findings"], outcome.value["shapes"])

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
            given = references([list(task.args), dict(task.kwargs)]) if isinstance(task, Task) else set()
            for variable in sorted(given & {*definition.variables, *other.variables}):
                then, there = definition.variables.get(variable), other.variables.get(variable)
                if then != there:
                    detail = f"the variable {variable}: {_shown(then)} then, {_shown(there)} now"
                    yield Finding(name, "definition changed", detail)
        for name in other.tasks:
            if name not in definition.tasks:
                yield Finding(name, "definition changed", "the run has no such step, the candidate's workflow has")

    def _diverging(self, history: LedgerHistory) -> Iterator[Finding]:
        # A candidate that logs something else breaks no run.
        replay = Replay(
            history,
            self.supervisor,
            self.candidate,
            tolerance=self.tolerance,
            ignore_logs=True,
            step_timeout_seconds=self.step_timeout_seconds,
        )
        for step in replay.steps():
            if step.recorded != "completed":
                continue  # nothing goes on from there, and that it comes out otherwise may be what the candidate is for
            if step.verdict == "different":
                yield Finding(step.step_key, "diverges", step.detail)
            elif step.verdict == "could not":
                yield Finding(step.step_key, "could not", step.detail)


class _Ended(Exception):
    """Looking at a run ended the process that looked."""


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
