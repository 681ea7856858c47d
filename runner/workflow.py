"""A Highway definition and what is recorded of a run: which steps are ready. Pure; no clock, no database.

Definitions are read by highway-dsl, which knows more than this release runs: what it cannot run is refused by name,
so that nothing is stored that could not be carried out.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from runner.errors import UsageError

TOOL = "tools.python.run"
# What this release does not do yet, each with the value that means "not asked for".
_UNSUPPORTED_OF_A_TASK: dict[str, Any] = {
    "trigger_rule": "all_success",
    "circuit_breaker_policy": None,
    "idempotency_key": None,
    "on_success_task_id": None,
    "on_failure_task_id": None,
    "is_internal_loop_task": False,
    "is_internal_parallel_task": False,
    "preconditions": [],
    "postconditions": [],
}
_UNSUPPORTED_OF_A_WORKFLOW = {"schedule": None, "deadline_seconds": None}


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

    def canonical_json(self) -> str:
        """The document with sorted keys: what is stored and hashed."""
        return json.dumps(self.document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON, 64 hex digits."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()

    @classmethod
    def from_canonical(cls, text: str) -> Definition:
        """The inverse of `canonical_json`."""
        return _define(json.loads(text), "the stored definition")


def load_definition(text: str, *, source_name: str) -> Definition:
    """Read a definition in YAML or JSON. Raises `DefinitionInvalid`, in one line that names the file and the place."""
    import yaml

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DefinitionInvalid(f"{source_name} is neither YAML nor JSON: {_one_line(error)}") from None
    if not isinstance(document, dict):
        raise DefinitionInvalid(f"{source_name} holds no workflow: it must be a mapping with name and tasks")
    return _define(_plain(document), source_name)


def _plain(value: Any) -> Any:
    """YAML's dates as text, so that the document is JSON and can be stored."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime | date) else value


def _define(document: dict[str, Any], source_name: str) -> Definition:
    from highway_dsl import Workflow  # late: a fifth of a second

    problems = list(_unsupported(document))
    if problems:
        raise DefinitionInvalid(f"{source_name} cannot be run: {'; '.join(problems)}")
    try:
        # A copy: highway-dsl writes into what it is given.
        workflow = Workflow.model_validate(json.loads(json.dumps(document)))
    except ValueError as error:
        raise DefinitionInvalid(f"{source_name} is no Highway workflow: {_one_line(error)}") from None
    if not workflow.tasks:
        raise DefinitionInvalid(f"{source_name} has no tasks: a workflow needs at least one")
    nodes = {name: _node(name, operator, workflow, source_name) for name, operator in workflow.tasks.items()}
    _check_graph(nodes, source_name)
    return Definition(workflow.name, workflow.version, dict(workflow.variables), nodes, document)


def _unsupported(document: dict[str, Any]) -> Iterator[str]:
    """What this release would not carry out, told from the raw document: highway-dsl drops keys it does not know."""
    for key, default in _UNSUPPORTED_OF_A_WORKFLOW.items():
        if document.get(key, default) != default:
            yield f"{key} is not supported yet"
    tasks = document.get("tasks")
    for name, task in tasks.items() if isinstance(tasks, dict) else ():
        if not isinstance(task, dict):
            continue
        operator = task.get("operator_type")
        if operator not in {"task", "wait"}:
            yield f"operator {operator!r} of task {name!r} is not supported yet (supported: task, wait)"
            continue
        if operator == "task" and task.get("function") != TOOL:
            yield f"tool {task.get('function')!r} of task {name!r} is not supported yet (supported: {TOOL})"
        for key, default in _UNSUPPORTED_OF_A_TASK.items():
            if task.get(key, default) not in (default, None):
                yield f"{key} of task {name!r} is not supported yet"


def _node(name: str, operator: Any, workflow: Any, source_name: str) -> Task | Wait:
    dependencies = tuple(dict.fromkeys(operator.dependencies))
    if operator.operator_type == "wait":
        return Wait(name, _moment(name, operator.wait_for, source_name), dependencies)
    function, *args = operator.args or [None]
    if not isinstance(function, str) or "{{" in function or "${" in function:
        raise DefinitionInvalid(
            f"{source_name}: task {name!r} must name its function in args[0], as in 'orders.steps.price'"
        )
    kwargs = dict(operator.kwargs)
    pin = kwargs.pop("artifact_id", None)
    if pin is not None and not isinstance(pin, str):
        raise DefinitionInvalid(f"{source_name}: artifact_id of task {name!r} must be text")
    policy = operator.retry_policy or workflow.default_retry_policy
    retry = Retry()
    if policy is not None:
        retry = Retry(policy.max_retries, policy.delay.total_seconds(), policy.backoff_factor)
    timeout = operator.timeout_policy.timeout.total_seconds() if operator.timeout_policy else None
    if timeout is not None and timeout <= 0:
        raise DefinitionInvalid(f"{source_name}: the timeout of task {name!r} must be longer than {timeout:g} seconds")
    return Task(name, function, tuple(args), kwargs, pin, dependencies, operator.result_key, retry, timeout)


def _moment(name: str, wait_for: Any, source_name: str) -> timedelta | datetime:
    if isinstance(wait_for, timedelta):
        return wait_for
    if isinstance(wait_for, datetime):
        return wait_for if wait_for.tzinfo else wait_for.replace(tzinfo=UTC)
    raise DefinitionInvalid(
        f"{source_name}: wait_for of task {name!r} is {wait_for!r}: write a duration such as PT90S or PT2H, or a time "
        "such as 2026-12-01T09:00:00+00:00"
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
        raise DefinitionInvalid(f"{source_name}: tasks depend on each other in a circle: {' -> '.join(cycle)}")


def _find_cycle(nodes: Mapping[str, Task | Wait]) -> list[str]:
    """The names along a circle of dependencies, first and last alike, or nothing."""
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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]


# --- scheduling ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recorded:
    """One attempt of one step, as the ledger has it. Times are aware.

    `forgiven`: made before the run was resumed, so a failure counts no longer.
    """

    step_key: str
    attempt: int
    status: str
    finished_at: datetime | None = None
    wake_at: datetime | None = None
    forgiven: bool = False


@dataclass(frozen=True)
class Ready:
    """Steps to take now, in the order of the definition, each with the attempt it is."""

    steps: tuple[tuple[Task | Wait, int], ...]


@dataclass(frozen=True)
class Waiting:
    """Nothing to do before `until`."""

    until: datetime


@dataclass(frozen=True)
class Completed:
    """Every step is done."""


@dataclass(frozen=True)
class Failed:
    """A step failed and has no tries left."""

    step_key: str
    attempt: int


Plan = Ready | Waiting | Completed | Failed


def plan(definition: Definition, recorded: Sequence[Recorded], now: datetime) -> Plan:
    """What comes next in a run, from what is recorded of it. A step that was running when its worker died is ready."""
    last = {step.step_key: step for step in sorted(recorded, key=lambda step: step.attempt)}
    completed = {name for name, step in last.items() if step.status == "completed"}
    if completed >= set(definition.tasks):
        return Completed()
    ready: list[tuple[Task | Wait, int]] = []
    moments: list[datetime] = []
    for name, node in definition.tasks.items():
        step = last.get(name)
        if name in completed or not completed.issuperset(node.dependencies):
            continue
        if step is None:
            ready.append((node, 1))
        elif step.status == "running":
            ready.append((node, step.attempt))
        elif isinstance(node, Wait):
            moments.append(step.wake_at or now)
            if moments[-1] <= now:
                ready.append((node, step.attempt))
        else:
            tries = sum(other.step_key == name and not other.forgiven for other in recorded)
            moment = _next_try(node, step, tries)
            if moment is None:
                return Failed(name, step.attempt)
            moments.append(moment)
            if moment <= now:
                ready.append((node, step.attempt + 1))
    return Ready(tuple(ready)) if ready else Waiting(min(moments))


def _next_try(task: Task, step: Recorded, tries: int) -> datetime | None:
    """When a failed step may be tried again; None when it may not."""
    if step.forgiven or step.finished_at is None:
        return step.finished_at or datetime.min.replace(tzinfo=UTC)
    if tries > task.retry.max_retries:
        return None
    return step.finished_at + timedelta(seconds=task.retry.delay_seconds * task.retry.backoff_factor ** (tries - 1))
