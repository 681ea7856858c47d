"""What `hwe check` asks of a code version about a run, and what it is told. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from runner.definition import Definition, Task, Wait
from runner.ledger import RunRecord, StepRecord
from runner.payload import Payload
from runner.request import StepContext, StepRequest, to_inspect
from runner.templates import references

if TYPE_CHECKING:
    from runner.replay import LedgerHistory

Shape = Mapping[str, Any]


@dataclass(frozen=True)
class Inspection:
    """What is to be inspected of a run: its remaining `steps`, and the recorded values that they need.

    `parts`: what ctx.step recorded of a step that is not done. `versions`: the code that each value was recorded by.
    """

    run: RunRecord
    steps: Sequence[Mapping[str, Any]]
    results: Mapping[str, Payload]
    parts: Mapping[str, Payload]
    versions: Mapping[str, str]
    pending: Sequence[str]
    scope: Mapping[str, Any]
    only: Sequence[str] | None = None
    code_alone: bool = False

    @classmethod
    def of(cls, history: LedgerHistory, definition: Definition, remaining: Mapping[str, Task | Wait]) -> Inspection:
        run = history.run
        to_come = [task for task in remaining.values() if isinstance(task, Task)]
        tasks = [task for task in to_come if task.pin is None]
        needed = references([[list(task.args), dict(task.kwargs)] for task in tasks])
        results: dict[str, Payload] = {}
        versions: dict[str, str] = {}
        for step in history.steps:
            task = definition.tasks.get(step.step_key)
            if isinstance(task, Task) and task.result_key in needed and _has_result(step):
                results[task.result_key] = history.payload(step.result or b"")
                versions[task.result_key] = step.code_version_hash or run.code_version_hash
        began_on = {step.step_key: step.code_version_hash or run.code_version_hash for step in history.steps}
        parts: dict[str, Payload] = {}
        uses: dict[str, list[str]] = {task.task_id: [] for task in tasks}
        done: dict[str, list[str]] = {task.task_id: [] for task in tasks}
        for (key, part), result in history.parts().items():
            if key in uses:
                name = f"ctx.step({part!r}) of {key}"
                parts[name] = history.payload(result)
                versions[name] = began_on.get(key, run.code_version_hash)
                uses[key].append(name)
                done[key].append(part)
        steps = []
        for task in tasks:
            args, kwargs = list(task.args), dict(task.kwargs)
            found = sorted(references([args, kwargs]) & set(results))
            used = [*found, *uses[task.task_id]]
            called: dict[str, Any] = {"key": task.task_id, "function": task.function, "args": args, "kwargs": kwargs}
            steps.append({**called, "uses": used, "done": done[task.task_id]})
        keys = {task.result_key for task in to_come if task.result_key}
        scope = {
            **definition.variables,
            **history.variables_now(),
            "inputs": run.input,
            "workflow": {"name": definition.name, "version": definition.version, "run_id": run.run_id},
        }
        return cls(run, steps, results, parts, versions, sorted(keys - set(results)), scope)

    @property
    def functions(self) -> tuple[str, ...]:
        return tuple(step["function"] for step in self.steps)

    def shown(self, name: str) -> str:
        return name if name in self.parts else f"{{{{{name}}}}}"

    def looking_into(self, names: Sequence[str]) -> Inspection:
        """The same, comparing the objects of these values alone with their classes."""
        return replace(self, only=names)

    def of_code_alone(self) -> Inspection:
        """What holds for all runs with these functions to come."""
        steps = [{**step, "args": [], "kwargs": {}, "uses": [], "done": []} for step in self.steps]
        return replace(self, steps=steps, results={}, parts={}, versions={}, scope={}, code_alone=True)

    def request(self, version: str) -> StepRequest:
        """The request for that code. What does not fit the code that made it was so then, and is nobody's change."""
        values = {**self.results, **self.parts}
        places = {name: index for index, name in enumerate(values)}
        look_into = [name for name in values if self.versions[name] != version] if self.only is None else self.only
        template = {
            "steps": self.steps,
            "results": {name: places[name] for name in self.results},
            "parts": {name: places[name] for name in self.parts},
            "look_into": look_into,
            "pending": self.pending,
            "scope": self.scope,
            "code_alone": self.code_alone,
        }
        context = StepContext(self.run.run_id, self.run.workflow_name, "check", 1, version)
        return to_inspect(template, values, self.functions, context)


@dataclass(frozen=True)
class Inspected:
    """What runner/child/inspection.py told of a run: findings, and by value the shapes of the classes in it."""

    findings: Sequence[Mapping[str, Any]] = ()
    shapes: Mapping[str, Mapping[str, Shape]] = field(default_factory=dict)

    @property
    def doubts(self) -> set[tuple[str, str]]:
        """The step and the words of each finding that sound code may give too."""
        return {(told["step"], told["doubt"]) for told in self.findings if told["doubt"] is not None}

    def without(self, known: Collection[tuple[str, str]]) -> list[Mapping[str, Any]]:
        """The findings, except for doubts that are known from before: those are nobody's change."""
        return [told for told in self.findings if (told["step"], told["doubt"]) not in known]


def shape_fault(name: str, old: Shape, new: Shape) -> str | None:
    """Why what a class pickled in its old shape means something else in its new one, or None.

    An enumeration is pickled by the values of its members, a named tuple by the order of its fields, and other objects
    as their classes will have it.
    """
    kind = name.rpartition(":")[2]
    if "members" in old and "members" in new:
        names_then = {value: member for member, value in reversed(old["members"].items())}
        for member in new.get("seen", ()):
            value = new["members"].get(member)
            then = names_then.get(value, member)
            if new["members"].get(then, value) != value:
                return f"holds {kind}.{then}, and loads as {kind}.{member} now"
    if "order" in old and "order" in new:
        places = [(old["order"].index(one), new["order"].index(one)) for one in old["order"] if one in new["order"]]
        if any(then != now for then, now in places):
            orders = f"{', '.join(old['order'])} then, {', '.join(new['order'])} now"
            return f"holds a {kind}, whose fields are pickled in order: {orders}"
    if old.get("items_of") == "" and new.get("items_of"):
        return f"holds a {kind}, which was no {new['items_of']} then, and is without items now"
    if old.get("callable") and new.get("callable") is False:
        return f"holds {kind} by its name, and nothing that can be called has that name now"
    return old.get("rebuilt")


def rebuilt_fault(name: str, old: Shape, new: Shape) -> str | None:
    """Why the same pickle gave another object to the old class than it gives to the new one, or None.

    That an item is converted may well be meant. That two change places, or that a name is taken for an item, is not, or
    that the pair (None, slots) is: then one is None, and the other is not plain any more.
    """
    for (path_then, then), (path, now) in zip(old.get("examples", ()), new.get("examples", ()), strict=False):
        if path_then != path:
            break
        moved = [key for key in then if key in now and then[key] != now[key]]
        become = {now[key] for key in moved}
        have_changed_places = sorted(now[key] for key in moved) == sorted(then[key] for key in moved)
        is_pair = become == {"None"} and not then.keys() <= now.keys()
        if moved and (have_changed_places or is_pair or become <= set(map(repr, then))):
            told = f"its {moved[0]} was" if moved[0] else "it was"
            return f"holds a {name.rpartition(':')[2]}, and {told} {then[moved[0]]}, and loads as {now[moved[0]]} now"
    return None


def _has_result(step: StepRecord) -> bool:
    return step.status == "completed" and step.result is not None
