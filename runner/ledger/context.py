"""What the steps of a run ask of it while they run: its variables, and what parts of a step have done already."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from runner.ledger.records import VariableRecord
from runner.ledger.tables import workflow_substeps, workflow_variables

Read = Callable[[], contextlib.AbstractContextManager[sa.Connection]]
Fenced = Callable[[str, int], contextlib.AbstractContextManager[sa.Connection]]


class RunContexts:
    """A part of the ledger, on the ledger's connections. Writing holds only under the epoch that drives the run."""

    def __init__(self, read: Read, fenced: Fenced) -> None:
        self._read = read
        self._fenced = fenced

    def variables(self, run_id: str) -> dict[str, Any]:
        """What the steps of the run have set, the last value of each."""
        columns = workflow_variables.c
        query = sa.select(columns.name, columns.value).where(columns.run_id == run_id).order_by(columns.number)
        with self._read() as connection:
            return {name: json.loads(value) for name, value in connection.execute(query)}

    def all_variables(self, run_id: str) -> list[VariableRecord]:
        """Every value that steps of the run have given to a variable, in that order."""
        columns = workflow_variables.c
        query = workflow_variables.select().where(columns.run_id == run_id).order_by(columns.number)
        with self._read() as connection:
            rows = connection.execute(query)
            return [VariableRecord(row.name, json.loads(row.value), row.set_at, row.step_key) for row in rows]

    def all_substeps(self, run_id: str) -> dict[tuple[str, str], tuple[int, bytes]]:
        """Of all parts of steps the attempt that did it, and its recorded result, by (step key, name)."""
        columns = workflow_substeps.c
        query = workflow_substeps.select().where(columns.run_id == run_id)
        with self._read() as connection:
            return {(row.step_key, row.name): (row.attempt, row.result) for row in connection.execute(query)}

    def set_variable(self, run_id: str, epoch: int, step_key: str, attempt: int, name: str, value_json: str) -> None:
        """Give a variable a value, for this step and those that come after. Raises `Fenced`."""
        highest = sa.select(sa.func.max(workflow_variables.c.number)).where(workflow_variables.c.run_id == run_id)
        with self._fenced(run_id, epoch) as connection:
            connection.execute(
                workflow_variables.insert().values(
                    run_id=run_id,
                    number=int(connection.execute(highest).scalar() or 0) + 1,
                    name=name,
                    value=value_json,
                    step_key=step_key,
                    attempt=attempt,
                    set_at=datetime.now(UTC),
                )
            )

    def substep(self, run_id: str, step_key: str, name: str, *, up_to: int | None = None) -> bytes | None:
        """The recorded result of a part of a step, or None. `up_to`: as that attempt found it, or left it."""
        columns = workflow_substeps.c
        query = sa.select(columns.result).where(
            columns.run_id == run_id, columns.step_key == step_key, columns.name == name
        )
        if up_to is not None:
            query = query.where(columns.attempt <= up_to)
        with self._read() as connection:
            return connection.execute(query).scalar()

    def record_substep(
        self, run_id: str, epoch: int, step_key: str, attempt: int, name: str, *, result: bytes, value_json: str | None
    ) -> None:
        """Record the result of a part of a step, once for all attempts: later ones change nothing. Raises `Fenced`."""
        columns = workflow_substeps.c
        there = sa.select(columns.name).where(
            columns.run_id == run_id, columns.step_key == step_key, columns.name == name
        )
        with self._fenced(run_id, epoch) as connection:
            if connection.execute(there).first() is None:
                connection.execute(
                    workflow_substeps.insert().values(
                        run_id=run_id,
                        step_key=step_key,
                        name=name,
                        attempt=attempt,
                        result=result,
                        value=value_json,
                        recorded_at=datetime.now(UTC),
                    )
                )
