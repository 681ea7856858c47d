"""What is asked of a ledger. Nothing here changes it, but that opening one makes or migrates its tables."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Iterator
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from runner.ledger.census import UNFINISHED, VersionCensus, take_census
from runner.ledger.database import explained, open_database
from runner.ledger.errors import RunNotFound
from runner.ledger.records import CodeVersionRecord, RunRecord, StepRecord
from runner.ledger.tables import code_versions, workflow_runs, workflow_steps

_MIN_PREFIX = 8

# A driver whose name begins so is another engine's worker: its runs are recorded here, and driven there.
EXTERNAL = "external:"


class LedgerReader:
    """The questions. Each raises `LedgerUnavailable` when the database does not answer."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        address = engine.url.set(drivername=engine.url.get_backend_name(), query={})
        self.location = address.render_as_string(hide_password=True)
        self._of_thread = threading.local()
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
    def snapshot(self) -> Iterator[None]:
        """All that this thread reads inside is of one moment, whatever is recorded meanwhile."""
        options = {"isolation_level": "REPEATABLE READ"} if self.is_shared else {}  # SQLite reads so anyway
        with explained(self.location), self._engine.execution_options(**options).connect() as connection:
            self._of_thread.connection = connection
            try:
                yield
            finally:
                del self._of_thread.connection

    @contextlib.contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        if hasattr(self._of_thread, "connection"):
            yield self._of_thread.connection
            return
        with explained(self.location), self._engine.connect() as connection:
            yield connection

    def find_code_version(self, name: str) -> CodeVersionRecord | None:
        """The code version of that hash or that artifact id, or None."""
        columns = code_versions.c
        query = code_versions.select().where((columns.code_version_hash == name) | (columns.artifact_id == name))
        with self._read() as connection:
            row = connection.execute(query).first()
        return None if row is None else CodeVersionRecord(**row._mapping)  # noqa: SLF001 - public by documentation

    def run(self, run_id: str) -> RunRecord:
        """The run of that id, or of the one id that begins with it. Raises `RunNotFound`."""
        with self._read() as connection:
            row = connection.execute(run_query(run_id)).first()
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
        query = workflow_runs.select().where(columns.status.in_(UNFINISHED), ours()).order_by(columns.created_at)
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
            .where(columns.status.in_(UNFINISHED), columns.driver.is_not(None), ours())
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
        query = sa.select(workflow_runs.c.run_id).where(workflow_runs.c.status.in_(UNFINISHED), ours()).limit(1)
        with self._read() as connection:
            return connection.execute(query).first() is not None

    def steps(self, run_id: str, *, logs: bool = True) -> list[StepRecord]:
        """All attempts of all steps, in the order of recording. `logs=False`: without what they printed."""
        wanted = [column for column in workflow_steps.c if logs or column.name not in {"stdout", "stderr"}]
        query = sa.select(*wanted).where(workflow_steps.c.run_id == run_id).order_by(workflow_steps.c.sequence)
        with self._read() as connection:
            return [StepRecord.from_row(row) for row in connection.execute(query)]


def ours() -> sa.ColumnElement[bool]:
    """Runs that workers of ours drive."""
    driver = workflow_runs.c.driver
    return driver.is_(None) | driver.not_like(f"{EXTERNAL}%")


def run_query(run_id: str) -> sa.Select[Any]:
    return workflow_runs.select().where(workflow_runs.c.run_id == run_id)
