"""Highway definitions: reading them, and refusing by name what this release cannot carry out. Pure.

highway-dsl knows more operators than this release runs, and drops keys that it does not know: both are refused here,
so that nothing is stored whose runs would not do what its author wrote.
"""

from __future__ import annotations

import copy
import difflib
import functools
import hashlib
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError

from runner.errors import UsageError

TOOL = "tools.python.run"

# Longer ones are mistakes of units, and times beyond the year 9999 cannot be said.
LONGEST_WAIT = timedelta(days=3660)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_DURATION = TypeAdapter(timedelta)
# pydantic, which turns it into a number, takes the parts in any order.
_ISO_DURATION = re.compile(r"P(?:\d+W|(?=\d|T)(?:\d+D)?(?:T(?=\d)(?:\d+H)?(?:\d+M)?(?:\d+(?:\.\d+)?S)?)?)", re.ASCII)

# Of one definition, aliases written out: a few lines of YAML can stand for billions.
MOST_VALUES = 100_000

# What this release does not do yet, each with the values that mean "not asked for".
_UNSUPPORTED_OF_A_TASK: dict[str, tuple[Any, ...]] = {
    "trigger_rule": (None, "all_success"),
    "circuit_breaker_policy": (None,),
    "idempotency_key": (None,),
    "on_success_task_id": (None,),
    "on_failure_task_id": (None,),
    "is_internal_loop_task": (None, False),
    "is_internal_parallel_task": (None, False),
    "preconditions": (None, []),
    "postconditions": (None, []),
}
_UNSUPPORTED_OF_A_WORKFLOW: dict[str, tuple[Any, ...]] = {"schedule": (None,), "deadline_seconds": (None,)}


class DefinitionInvalid(UsageError):
    """A workflow that cannot be read, makes no sense, or asks for what this release does not do."""


@dataclass(frozen=True)
class Retry:
    """How often a step is tried again, and after how long: delay_seconds * backoff_factor ** (tries so far - 1)."""

    max_retries: int = 0
    delay_seconds: float = 0.0
    backoff_factor: float = 1.0


@dataclass(frozen=True)
class Task:
    """Calls one function. `args` and `kwargs` are JSON with templates; `pin` is an explicit `artifact_id`."""

    task_id: str
    function: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    pin: str | None = None
    dependencies: tuple[str, ...] = ()
    result_key: str | None = None
    retry: Retry = Retry()
    timeout_seconds: float | None = None


@dataclass(frozen=True)
class Wait:
    """A durable timer: so long after it is reached, or until a moment (aware)."""

    task_id: str
    wait_for: timedelta | datetime
    dependencies: tuple[str, ...] = ()

    def wake_at(self, now: datetime) -> datetime:
        """When it is over, if it is reached at `now`."""
        return self.wait_for if isinstance(self.wait_for, datetime) else now + self.wait_for


@dataclass(frozen=True)
class Definition:
    """A workflow that this release can run. `document` is what its author wrote, keys that Highway drops included."""

    name: str
    version: str
    variables: Mapping[str, Any]
    tasks: Mapping[str, Task | Wait]
    document: Mapping[str, Any]

    def to_json(self) -> str:
        """The document as it is stored, its tasks in their author's order."""
        return _compact_json(self.document)

    @property
    def hash(self) -> str:
        """SHA-256 of the document as JSON with sorted keys, 64 hex digits: layout and order of keys do not count."""
        return hashlib.sha256(_compact_json(self.document, sort_keys=True).encode()).hexdigest()

    @staticmethod
    @functools.lru_cache(maxsize=16)  # runs have few, and a millisecond each adds up; none of its users changes one
    def from_json(text: str) -> Definition:
        """The inverse of `to_json`."""
        return _define(json.loads(text), "the stored definition")


def _compact_json(document: Mapping[str, Any], *, sort_keys: bool = False) -> str:
    return json.dumps(document, sort_keys=sort_keys, separators=(",", ":"), ensure_ascii=False)


def load_definition(text: str, *, source_name: str) -> Definition:
    """Read a definition in YAML or JSON. Raises `DefinitionInvalid`, in one line that names the file and the place."""
    import yaml

    from runner.strict_yaml import StrictLoader  # with it: yaml is not needed to read a stored definition

    try:
        loaded = yaml.load(text, StrictLoader)  # noqa: S506 - a SafeLoader
        document = _plain(loaded, source_name, iter(range(MOST_VALUES)))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        said = "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())[:300]
        raise DefinitionInvalid(f"{source_name} is neither YAML nor JSON: {said}") from None
    if not isinstance(document, dict):
        raise DefinitionInvalid(f"{source_name} holds no workflow: it must be a mapping with name, version and tasks")
    return _define(document, source_name)


def _plain(value: Any, source_name: str, budget: Iterator[int]) -> Any:
    """YAML's dates as text and its aliases written out, so that the document is JSON and can be stored."""
    if next(budget, None) is None:
        raise DefinitionInvalid(f"{source_name} holds more than {MOST_VALUES} values: pass large data as the input")
    if isinstance(value, dict):
        return {str(key): _plain(item, source_name, budget) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, source_name, budget) for item in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, str):
        return value.encode().decode()  # a lone surrogate raises here, rather than when it is stored
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise DefinitionInvalid(f"{source_name} holds {str(value)[:50]!r}, which JSON cannot say: write it as text")


def _define(document: dict[str, Any], source_name: str) -> Definition:
    from highway_dsl import TaskOperator, WaitOperator, Workflow  # late: a fifth of a second

    operators = {"task": TaskOperator, "wait": WaitOperator}
    problem = next(_problems(document, set(Workflow.model_fields), operators), None)
    if problem:
        raise DefinitionInvalid(f"{source_name}: {problem}")
    read = {
        # A copy: highway-dsl writes into what it is given. It also wants each name twice; once is enough here.
        name: _validated(
            operators[task["operator_type"]], _readable(name, task, source_name), f"{source_name}: task {name!r}"
        )
        for name, task in document["tasks"].items()
    }
    workflow = _validated(Workflow, {**document, "tasks": read}, source_name)
    if workflow.start_task is not None and workflow.start_task not in read:
        raise DefinitionInvalid(f"{source_name}: start_task {workflow.start_task!r} is not one of {', '.join(read)}")
    nodes = {name: _node(name, operator, workflow, source_name) for name, operator in read.items()}
    _check_graph(nodes, source_name)
    return Definition(workflow.name, workflow.version, dict(workflow.variables), nodes, document)


def _readable(name: str, task: dict[str, Any], source_name: str) -> dict[str, Any]:
    """A task as highway-dsl should see it: it reads PT0.5S as nothing, and PT1H30 as an hour."""
    read = {"task_id": name, **copy.deepcopy(task)}
    if task["operator_type"] == "wait" and "wait_for" in task:
        read["wait_for"] = _moment(task["wait_for"], f"{source_name}: task {name!r}")
    return read


def _validated(model: Any, document: dict[str, Any], place: str) -> Any:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        told = f"{where}: {first['msg']}" if where else first["msg"]
        raise DefinitionInvalid(f"{place}: {told.removeprefix('Value error, ')}") from None


def _problems(document: dict[str, Any], known: Collection[str], operators: Mapping[str, Any]) -> Iterator[str]:
    """What this release would not carry out, told from the raw document: highway-dsl drops keys it does not know."""
    for key in ("name", "version"):
        if not isinstance(document.get(key, ""), str):
            yield f'{key} must be text: write {key}: "{document[key]}"'
    yield from _unknown_keys(document, known, "the workflow")
    for key, unasked in _UNSUPPORTED_OF_A_WORKFLOW.items():
        if document.get(key) not in unasked:
            yield f"{key} is not supported yet"
    tasks = document.get("tasks")
    if not isinstance(tasks, dict) or not tasks:
        yield "a workflow has tasks, a mapping from names to tasks, and this one has none"
        return
    for name, task in tasks.items():
        if not isinstance(task, dict):
            yield f"task {name!r} must be a mapping with operator_type, function and args"
            continue
        operator = task.get("operator_type")
        if not isinstance(operator, str) or operator not in operators:
            yield f"operator {operator!r} of task {name!r} is not supported yet (supported: {', '.join(operators)})"
            continue
        if operator == "task" and task.get("function") != TOOL:
            yield f"tool {task.get('function')!r} of task {name!r} is not supported yet (supported: {TOOL})"
        if task.get("task_id", name) != name:
            yield f"task {name!r} calls itself {task['task_id']!r} in task_id: make them the same"
        yield from _unknown_keys(task, operators[operator].model_fields, f"task {name!r}")
        for key, unasked in _UNSUPPORTED_OF_A_TASK.items():
            if task.get(key) not in unasked:
                yield f"{key} of task {name!r} is not supported yet"


def _unknown_keys(document: dict[str, Any], known: Collection[str], owner: str) -> Iterator[str]:
    for key in document:
        if key not in known and not key.startswith("x-"):  # x-: where YAML files keep their anchors
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "what you want to note belongs in metadata or description"
            yield f"{owner} has {key!r}, which Highway does not know: {hint}"


def _node(name: str, operator: Any, workflow: Any, source_name: str) -> Task | Wait:
    place = f"{source_name}: task {name!r}"
    dependencies = tuple(dict.fromkeys(operator.dependencies))
    if operator.operator_type == "wait":
        return Wait(name, operator.wait_for, dependencies)
    function, *args = operator.args or [None]
    if not isinstance(function, str) or "{{" in function or "${" in function:
        raise DefinitionInvalid(f"{place} must name its function in args[0], as in 'orders.steps.price'")
    kwargs = dict(operator.kwargs)
    pin = kwargs.pop("artifact_id", None)
    if pin is not None and not (isinstance(pin, str) and _SHA256.fullmatch(pin)):
        raise DefinitionInvalid(
            f"{place}: artifact_id must be the 64 hexadecimal digits of a code version or of an artifact, which "
            "'hwe capture --json' prints"
        )
    retry = _retry(operator.retry_policy or workflow.default_retry_policy, place)
    timeout = _timeout(operator.timeout_policy, place)
    return Task(name, function, tuple(args), kwargs, pin, dependencies, operator.result_key, retry, timeout)


def _retry(policy: Any, place: str) -> Retry:
    if policy is None:
        return Retry()
    retry = Retry(policy.max_retries, policy.delay.total_seconds(), policy.backoff_factor)
    if min(retry.max_retries, retry.delay_seconds, retry.backoff_factor) < 0 or not math.isfinite(retry.backoff_factor):
        raise DefinitionInvalid(f"{place}: the numbers of retry_policy must be finite and not below zero")
    return retry


def _timeout(policy: Any, place: str) -> float | None:
    if policy is None:
        return None
    if not policy.kill_on_timeout:
        raise DefinitionInvalid(f"{place}: kill_on_timeout: false is not supported: a step whose time is up is ended")
    seconds = float(policy.timeout.total_seconds())
    if seconds <= 0:
        raise DefinitionInvalid(f"{place}: a timeout must be longer than {seconds:g} seconds")
    return seconds


def _moment(wait_for: Any, place: str) -> timedelta | datetime:
    """A duration in ISO 8601 or in seconds, or a moment, which is in UTC unless it says otherwise."""
    try:
        if isinstance(wait_for, str) and _ISO_DURATION.fullmatch(wait_for):
            moment: timedelta | datetime = _DURATION.validate_python(wait_for)
        elif isinstance(wait_for, str):
            moment = datetime.fromisoformat(wait_for)
            moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        elif isinstance(wait_for, int | float) and not isinstance(wait_for, bool):
            moment = timedelta(seconds=wait_for)
        else:
            raise ValueError(wait_for)
    except (ValueError, OverflowError):
        moment = timedelta.max
    if isinstance(moment, datetime) or timedelta(0) <= moment <= LONGEST_WAIT:
        return moment
    raise DefinitionInvalid(
        f"{place}: wait_for is {str(wait_for)!r}: write a duration such as PT90S or P1DT2H (ten years at most), "
        "or a time such as 2026-12-01T09:00:00+00:00"
    )


def _check_graph(nodes: Mapping[str, Task | Wait], source_name: str) -> None:
    producers: dict[str, str] = {}
    for name, node in nodes.items():
        for dependency in node.dependencies:
            if dependency not in nodes:
                near = difflib.get_close_matches(dependency, nodes, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(nodes)}"
                raise DefinitionInvalid(f"{source_name}: task {name!r} depends on unknown task {dependency!r}{hint}")
        key = node.result_key if isinstance(node, Task) else None
        if key and producers.setdefault(key, name) != name:
            raise DefinitionInvalid(
                f"{source_name}: tasks {producers[key]!r} and {name!r} both write result_key {key!r}: rename one"
            )
    cycle = _find_cycle(nodes)
    if cycle:
        raise DefinitionInvalid(f"{source_name}: tasks depend on each other in a cycle: {' -> '.join(cycle)}")


def _find_cycle(nodes: Mapping[str, Task | Wait]) -> list[str]:
    """The names along a cycle of dependencies, first and last alike, or nothing."""
    left = {name: set(node.dependencies) for name, node in nodes.items()}
    while done := [name for name, dependencies in left.items() if not dependencies]:
        for name in done:
            del left[name]
        for dependencies in left.values():
            dependencies.difference_update(done)
    if not left:
        return []
    path = [next(iter(left))]
    while path[-1] not in path[:-1]:
        path.append(next(name for name in nodes[path[-1]].dependencies if name in left))
    return path[path.index(path[-1]) :]
