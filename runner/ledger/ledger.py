"""Runs and their steps, each change one transaction. Whoever drives a run does so under an epoch, which fences."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from runner.definition import Definition
from runner.ledger.census import UNFINISHED, VersionCensus, take_census
from runner.ledger.context import RunContexts
from runner.ledger.database import explained, open_database
from runner.ledger.errors import Fenced, RunExists, RunNotFound, RunNotInState
from runner.ledger.records import CodeVersionRecord, RunRecord, StepRecord
from runner.ledger.tables import code_versions, workflow_runs, workflow_steps
from runner.streams import writable

_MIN_PREFIX = 8

# A driver whose name begins so is another engine's worker: its runs are recorded here, and driven there.
EXTERNAL = "external:"


class Ledger:
    """A ledger in a database. Thread-safe; several processes may use one at the same time.

    Every method raises `LedgerUnavailable` when the database does not answer; what it began is then undone.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._writing = engine.execution_options(hwe_write=True)
        address = engine.url.set(drivername=engine.url.get_backend_name(), query={})
        self.location = address.render_as_string(hide_password=True)
        self.contexts = RunContexts(self._read, self._fenced)
        self.is_shared = engine.dialect.name != "sqlite"  # whether its workers may be on other machines

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the ledger at a SQLAlchemy URL, making or migrating it. Raises `DatabaseNotOurs`."""
        return cls(open_database(url))

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with explained(self.location), self._engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with explained(self.location), self._writing.begin() as connection:
            yield connection

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

    def find_code_version(self, name: str) -> CodeVersionRecord | None:
        """The code version of that hash or that artifact id, or None."""
        columns = code_versions.c
        query = code_versions.select().where((columns.code_version_hash == name) | (columns.artifact_id == name))
        with self._read() as connection:
            row = connection.execute(query).first()
        return None if row is None else CodeVersionRecord(**row._mapping)  # noqa: SLF001 - public by documentation

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
            there = connection.execute(_run_query(run_id)).one()
            if any(there._mapping[name] != value for name, value in content.items()):  # noqa: SLF001
                raise RunExists(run_id)

    def run(self, run_id: str) -> RunRecord:
        """The run of that id, or of the one id that begins with it. Raises `RunNotFound`."""
        with self._read() as connection:
            row = connection.execute(_run_query(run_id)).first()
            if row is None and len(run_id) >= _MIN_PREFIX:
                begins = workflow_runs.c.run_id.startswith(run_id, autoescape=True)
                rows = connection.execute(workflow_runs.select().where(begins).limit(2)).all()
                row = rows[0] if len(rows) == 1 else None
            if row is None:
                newest = sa.select(workflow_runs.c.run_id).order_by(workflow_runs.c.created_at.desc()).limit(1000)
                raise RunNotFound(run_id, connection.execute(newest).scalars())
        return RunRecord.from_row(row)

    def status(self, run_id: str) -> str | None:
        """The run's status alone, for those who look often."""
        with self._read() as connection:
            return connection.execute(
                sa.select(workflow_runs.c.status).where(workflow_runs.c.run_id == run_id)
            ).scalar()

    def runs(self, *, status: str | None = None, mixed: bool = False, limit: int = 100) -> list[RunRecord]:
        """The newest runs, newest first. `mixed`: only those with steps that ran on other code than the run's."""
        query = workflow_runs.select().order_by(workflow_runs.c.created_at.desc(), workflow_runs.c.run_id).limit(limit)
        if status is not None:
            query = query.where(workflow_runs.c.status == status)
        if mixed:
            runs, steps = workflow_runs.c, workflow_steps.c
            elsewhere = steps.code_version_hash != runs.code_version_hash
            query = query.where(sa.exists().where(steps.run_id == runs.run_id, elsewhere))
        with self._read() as connection:
            return [RunRecord.from_row(row) for row in connection.execute(query)]

    def census(self) -> list[VersionCensus]:
        """Which code versions the unfinished runs need; the time it takes grows with the versions, not the runs."""
        with self._read() as connection:
            return take_census(connection)

    def definition_of(self, code_version_hash: str, definition_hash: str) -> str | None:
        """The JSON of a workflow definition that an unfinished run of that version has, or None."""
        columns = workflow_runs.c
        query = (
            sa.select(columns.definition)
            .where(
                columns.status.in_(UNFINISHED),
                columns.code_version_hash == code_version_hash,
                columns.definition_hash == definition_hash,
            )
            .limit(1)
        )
        with self._read() as connection:
            return connection.execute(query).scalar()

    def pending_runs(self) -> list[tuple[str, int]]:
        """(run id, generation) of the runs that wait for any worker to take them, oldest first."""
        columns = workflow_runs.c
        query = (
            sa.select(columns.run_id, columns.generation)
            .where(columns.status == "pending", columns.driver.is_(None))
            .order_by(columns.created_at)
        )
        with self._read() as connection:
            return [(row.run_id, row.generation) for row in connection.execute(query)]

    def unfinished_runs(self, drivers: Collection[str] | None = None) -> list[RunRecord]:
        """The runs that have not ended, oldest first: all, or those of some drivers."""
        columns = workflow_runs.c
        query = workflow_runs.select().where(columns.status.in_(UNFINISHED), _ours()).order_by(columns.created_at)
        if drivers is not None:
            query = query.where(columns.driver.in_(drivers))
        with self._read() as connection:
            return [RunRecord.from_row(row) for row in connection.execute(query)]

    def unfinished_heads(self) -> list[tuple[str, str, str]]:
        """(run id, workflow name, code version hash) of all unfinished runs, oldest first, whoever drives them."""
        columns = workflow_runs.c
        query = (
            sa.select(columns.run_id, columns.workflow_name, columns.code_version_hash)
            .where(columns.status.in_(UNFINISHED))
            .order_by(columns.created_at, columns.run_id)
        )
        with self._read() as connection:
            return [(row.run_id, row.workflow_name, row.code_version_hash) for row in connection.execute(query)]

    def drivers(self) -> list[str]:
        """Who drives, or drove last, the runs that have not ended."""
        columns = workflow_runs.c
        query = (
            sa.select(columns.driver)
            .distinct()
            .where(columns.status.in_(UNFINISHED), columns.driver.is_not(None), _ours())
        )
        with self._read() as connection:
            return [str(driver) for driver in connection.scalars(query)]

    def is_driven_under(self, run_id: str, epoch: int) -> bool:
        """Whether that epoch still drives the run: it was neither cancelled nor taken over."""
        columns = workflow_runs.c
        query = sa.select(columns.run_id).where(
            columns.run_id == run_id, columns.epoch == epoch, columns.status == "running"
        )
        with self._read() as connection:
            return connection.execute(query).first() is not None

    def has_unfinished_runs(self) -> bool:
        """Whether there is anything left to do."""
        query = sa.select(workflow_runs.c.run_id).where(workflow_runs.c.status.in_(UNFINISHED), _ours()).limit(1)
        with self._read() as connection:
            return connection.execute(query).first() is not None

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
                    driver=sa.case((_ours(), None), else_=workflow_runs.c.driver),
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

    def steps(self, run_id: str, *, logs: bool = True) -> list[StepRecord]:
        """All attempts of all steps, in the order of recording. `logs=False`: without what they printed."""
        wanted = [column for column in workflow_steps.c if logs or column.name not in {"stdout", "stderr"}]
        query = sa.select(*wanted).where(workflow_steps.c.run_id == run_id).order_by(workflow_steps.c.sequence)
        with self._read() as connection:
            return [StepRecord.from_row(row) for row in connection.execute(query)]

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


def _ours() -> sa.ColumnElement[bool]:
    """Runs that workers of ours drive."""
    driver = workflow_runs.c.driver
    return driver.is_(None) | driver.not_like(f"{EXTERNAL}%")


def _run_query(run_id: str) -> sa.Select[Any]:
    return workflow_runs.select().where(workflow_runs.c.run_id == run_id)


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
