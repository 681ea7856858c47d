"""Rows of the ledger as plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa


@dataclass(frozen=True)
class CodeVersionRecord:
    """A code version that a run was, or may be, submitted with."""

    code_version_hash: str
    artifact_id: str
    project: str
    python: str | None
    size_bytes: int
    manifest: str
    created_at: datetime


@dataclass(frozen=True)
class RunRecord:
    """A run. `input`, `output` and `error` are parsed JSON; `definition` is its JSON text. Times are aware."""

    run_id: str
    workflow_name: str
    workflow_version: str
    definition: str
    definition_hash: str
    code_version_hash: str
    project: str | None
    policy: str
    status: str
    input: Any
    output: Any
    error: dict[str, Any] | None
    epoch: int
    generation: int
    driver: str | None
    wake_at: datetime | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    policy_source: str | None

    @classmethod
    def from_row(cls, row: sa.Row[Any]) -> RunRecord:
        fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
        return cls(**{**fields, **_parsed(fields, "input", "output", "error")})


@dataclass(frozen=True)
class StepRecord:
    """One attempt of one step. `result` is opaque; `value` means something only when `has_value`.

    `stdout`, `stderr`: the end of what it printed. None: not recorded, or not asked for.
    """

    run_id: str
    step_key: str
    attempt: int
    sequence: int
    generation: int
    function: str | None
    code_version_hash: str | None
    status: str
    input: Any
    result: bytes | None
    value: Any
    has_value: bool
    error: dict[str, Any] | None
    wake_at: datetime | None
    started_at: datetime
    finished_at: datetime | None
    wall_seconds: float | None
    cpu_seconds: float | None
    max_rss_bytes: int | None
    stdout: str | None = None
    stderr: str | None = None

    @classmethod
    def from_row(cls, row: sa.Row[Any]) -> StepRecord:
        fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
        parsed = _parsed(fields, "input", "value", "error")
        return cls(**{**fields, **parsed, "has_value": fields["value"] is not None})


@dataclass(frozen=True)
class VariableRecord:
    """A value that a step gave to a variable of its run. `step_key`: that step; None where a bundle does not say."""

    name: str
    value: Any
    set_at: datetime
    step_key: str | None = None


@dataclass(frozen=True)
class RecordedRun:
    """All that is recorded of a run, at one moment. `parts`: the attempt that did a part, and its result.

    Keys of `parts` are (step key, name).
    """

    run: RunRecord
    steps: Sequence[StepRecord]
    variables: Sequence[VariableRecord]
    parts: Mapping[tuple[str, str], tuple[int, bytes]]


def _parsed(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: None if fields[name] is None else json.loads(fields[name]) for name in names}
