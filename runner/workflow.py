"""A definition and what is recorded of a run: which steps are ready. Pure; no clock, no database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from runner.definition import LONGEST_WAIT, Definition, Task, Wait


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
    longest_seconds = LONGEST_WAIT.total_seconds()
    try:
        delay_seconds = min(task.retry.delay_seconds * task.retry.backoff_factor ** (tries - 1), longest_seconds)
    except OverflowError:
        delay_seconds = longest_seconds
    return step.finished_at + timedelta(seconds=delay_seconds)
