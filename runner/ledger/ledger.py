"""Runs and their steps, each change one transaction. Whoever drives a run does so under an epoch, which fences."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from runner.definition import Definition
from runner.ledger.census import UNFINISHED
from runner.ledger.context import RunContexts
from runner.ledger.database import explained
from runner.ledger.errors import Fenced, RunExists, RunNotInState
from runner.ledger.reader import LedgerReader, ours, run_query
from runner.ledger.records import RecordedRun, RunRecord
from runner.ledger.tables import code_versions, workflow_runs, workflow_steps
from runner.streams import writable


class Ledger(LedgerReader):
    """A ledger in a database. Thread-safe; several processes may use one at the same time.

    Every method raises `LedgerUnavailable` when the database does not answer; what it began is then undone.
    """

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__(engine)
        self._writing = engine.execution_options(hwe_write=True)
        self.contexts = RunContexts(self._read, self._fenced)

    @contextlib.contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with explained(self.location), self._writing.begin() as connection:
            yield connection

    def recorded(self, run_id: str) -> RecordedRun:
        """All that is recorded of a run, of one moment. Raises `RunNotFound`."""
        with self.snapshot():
            run = self.run(run_id)
            of_run = self.contexts.all_variables(run.run_id), self.contexts.all_substeps(run.run_id)
            return RecordedRun(run, self.steps(run.run_id), *of_run)

    # --- code versions ---

    def store_code_version(
        self,
        code_version_hash: str,
        *,
        artifact_id: str,
        project: str,
        python: str | None,
        size_bytes: int,
        manifest_json: str,
    ) -> bool:
        """Make a code version known, and tell whether it was new. Its artifact must be in the store before."""
        with self._write() as connection:
            added = connection.execute(
                _insert_once(connection, code_versions)
                .values(
                    code_version_hash=code_version_hash,
                    artifact_id=artifact_id,
                    project=project,
                    python=python,
                    size_bytes=size_bytes,
                    manifest=manifest_json,
                    created_at=_now(),
                )
                .returning(code_versions.c.code_version_hash)
            )
            return added.first() is not None

    # --- runs ---

    def create_run(
        self,
        run_id: str,
        definition: Definition,
        *,
        code_version_hash: str,
        policy: str,
        policy_source: str | None = None,
        input: Any,  # noqa: A002 - the column's name
        project: str | None = None,
        driver: str | None = None,
        first_wins: bool = False,
    ) -> None:
        """Add a pending run. The same run twice is one run; another under its id raises `RunExists`.

        `first_wins`: or it counts for nothing, for callers that may both be the first.
        """
        content = {
            "definition_hash": definition.hash,
            "code_version_hash": code_version_hash,
            "policy": policy,
            "input": _json(input),
        }
        now = _now()
        with self._write() as connection:
            added = connection.execute(
                _insert_once(connection, workflow_runs)
                .values(
                    run_id=run_id,
                    workflow_name=definition.name,
                    workflow_version=definition.version,
                    definition=definition.to_json(),
                    project=project,
                    policy_source=policy_source,
                    status="pending",
                    epoch=0,
                    generation=1,
                    driver=driver,
                    created_at=now,
                    updated_at=now,
                    **content,
                )
                .returning(workflow_runs.c.run_id)
            )
            if added.first() is not None or first_wins:
                return
            there = connection.execute(run_query(run_id)).one()
            if any(there._mapping[name] != value for name, value in content.items()):  # noqa: SLF001
                raise RunExists(run_id)

    def cancel(self, run_id: str) -> RunRecord:
        """Cancel a run; cancelling it again changes nothing. Raises `RunNotInState` when it has ended otherwise."""
        run_id = self.run(run_id).run_id
        now = _now()
        with self._write() as connection:
            changed = connection.execute(
                _update_run(run_id)
                .where(workflow_runs.c.status.in_(UNFINISHED))
                .values(status="cancelled", updated_at=now, finished_at=now, wake_at=None)
            )
            if changed.rowcount:
                connection.execute(
                    workflow_steps.update()
                    .where(workflow_steps.c.run_id == run_id, workflow_steps.c.status == "running")
                    .values(status="cancelled", finished_at=now)
                )
        run = self.run(run_id)
        if run.status != "cancelled":
            raise RunNotInState(f"run {run_id} has {run.status} already: there is nothing left to cancel")
        return run

    def resume(self, run_id: str) -> RunRecord:
        """Let a failed or cancelled run go on where it was; what failed before counts no longer."""
        run_id = self.run(run_id).run_id
        with self._write() as connection:
            changed = connection.execute(
                _update_run(run_id)
                .where(workflow_runs.c.status.in_(("failed", "cancelled")))
                .values(
                    status="pending",
                    generation=workflow_runs.c.generation + 1,
                    driver=sa.case((ours(), None), else_=workflow_runs.c.driver),
                    error=None,
                    finished_at=None,
                    updated_at=_now(),
                )
            )
        run = self.run(run_id)
        if not changed.rowcount:
            hint = "it is not failed or cancelled" if run.status == "completed" else "it goes on by itself"
            raise RunNotInState(f"run {run_id} is {run.status}: {hint}")
        return run

    # --- driving a run ---

    def claim(self, run_id: str, driver: str) -> int | None:
        """Begin to drive a run: raises its epoch and returns it, or None when the run has ended."""
        with self._write() as connection:
            changed = connection.execute(
                _update_run(run_id)
                .where(workflow_runs.c.status.in_(UNFINISHED))
                .values(
                    epoch=workflow_runs.c.epoch + 1,
                    status="running",
                    driver=driver,
                    wake_at=None,
                    updated_at=_now(),
                )
                .returning(workflow_runs.c.epoch)
            )
            return changed.scalar()

    def suspend_run(self, run_id: str, epoch: int, wake_at: datetime) -> None:
        """Put a run to sleep until `wake_at`. Raises `Fenced`."""
        with self._fenced(run_id, epoch, status="waiting", wake_at=wake_at):
            pass

    def finish_run(
        self, run_id: str, epoch: int, status: str, *, output: Any = None, error: dict[str, Any] | None = None
    ) -> None:
        """End a run as completed or failed. Raises `Fenced`."""
        values = {
            "status": status,
            "finished_at": _now(),
            "output": None if output is None else _json(output),
            "error": None if error is None else _json(error),
        }
        with self._fenced(run_id, epoch, **values):
            pass

    # --- steps ---

    def start_step(
        self,
        run_id: str,
        epoch: int,
        step_key: str,
        attempt: int,
        *,
        function: str,
        code_version_hash: str,
        input: Any,  # noqa: A002 - the column's name
    ) -> None:
        """Note that an attempt is running; one whose driver died is started over. Raises `Fenced`."""
        self._begin(
            run_id,
            epoch,
            step_key,
            attempt,
            status="running",
            function=function,
            code_version_hash=code_version_hash,
            input=_json(input),
        )

    def start_wait(self, run_id: str, epoch: int, step_key: str, *, wake_at: datetime) -> None:
        """Note that a timer runs, and until when: a restart does not start it over. Raises `Fenced`."""
        self._begin(run_id, epoch, step_key, 1, status="waiting", wake_at=wake_at)

    def finish_step(
        self,
        run_id: str,
        epoch: int,
        step_key: str,
        attempt: int,
        *,
        status: str,
        result: bytes | None = None,
        value_json: str | None = None,
        error: dict[str, Any] | None = None,
        wall_seconds: float | None = None,
        cpu_seconds: float | None = None,
        max_rss_bytes: int | None = None,
        stdout: str | None = None,
        stderr: str | None = None,
    ) -> None:
        """Record how an attempt ended, once. Raises `Fenced` when it has ended before, or under a later epoch."""
        with self._fenced(run_id, epoch) as connection:
            changed = connection.execute(
                _update_step(run_id, step_key, attempt)
                .where(workflow_steps.c.status.in_(("running", "waiting")))
                .values(
                    status=status,
                    sequence=_next_sequence(connection, run_id),
                    result=result,
                    value=value_json,
                    error=None if error is None else _json(error),
                    finished_at=_now(),
                    wall_seconds=wall_seconds,
                    cpu_seconds=cpu_seconds,
                    max_rss_bytes=max_rss_bytes,
                    stdout=None if stdout is None else writable(stdout),
                    stderr=None if stderr is None else writable(stderr),
                )
            )
            if not changed.rowcount:
                raise Fenced(run_id, epoch)

    def _begin(self, run_id: str, epoch: int, step_key: str, attempt: int, **values: Any) -> None:
        with self._fenced(run_id, epoch) as connection:
            generation = connection.execute(
                sa.select(workflow_runs.c.generation).where(workflow_runs.c.run_id == run_id)
            ).scalar()
            row = {
                **values,
                "sequence": _next_sequence(connection, run_id),
                "generation": generation,
                "started_at": _now(),
            }
            over = workflow_steps.c.status == "running"
            changed = connection.execute(_update_step(run_id, step_key, attempt).where(over).values(**row))
            if not changed.rowcount:
                connection.execute(
                    workflow_steps.insert().values(run_id=run_id, step_key=step_key, attempt=attempt, **row)
                )

    @contextlib.contextmanager
    def _fenced(self, run_id: str, epoch: int, **values: Any) -> Iterator[sa.Connection]:
        """A transaction that holds only while this epoch drives the run; its first act is to see to that."""
        with self._write() as connection:
            changed = connection.execute(
                _update_run(run_id)
                .where(workflow_runs.c.epoch == epoch, workflow_runs.c.status == "running")
                .values(updated_at=_now(), **values)
            )
            if not changed.rowcount:
                raise Fenced(run_id, epoch)
            yield connection


def _insert_once(connection: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """An insert that changes nothing where the key is taken, and waits for whoever is just taking it."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


def _update_run(run_id: str) -> sa.Update:
    return workflow_runs.update().where(workflow_runs.c.run_id == run_id)


def _update_step(run_id: str, step_key: str, attempt: int) -> sa.Update:
    columns = workflow_steps.c
    return workflow_steps.update().where(
        columns.run_id == run_id, columns.step_key == step_key, columns.attempt == attempt
    )


def _next_sequence(connection: sa.Connection, run_id: str) -> int:
    highest = sa.select(sa.func.max(workflow_steps.c.sequence)).where(workflow_steps.c.run_id == run_id)
    return int(connection.execute(highest).scalar() or 0) + 1


def _json(value: Any) -> str:
    """Compact JSON. Half a surrogate pair, which no database takes, is written as JSON escapes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace").decode()


def _now() -> datetime:
    return datetime.now(UTC)
