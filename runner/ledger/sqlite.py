"""The ledger in a SQLite file: one machine, no server."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from runner.ledger.errors import DatabaseNotOurs

# How long a writer waits for the others. Transactions here are a few rows, so this is never reached in health.
BUSY_TIMEOUT_SECONDS = 30


class SQLite:
    """See `runner.ledger.database.Backend`."""

    def __init__(self, url: sa.URL) -> None:
        self._url = url
        self._path = Path(url.database or "").absolute()
        self.location = str(self._path)

    def engine(self) -> sa.Engine:
        """Connections as the ledger needs them. Raises `DatabaseNotOurs` for a file that is no database."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_file(self._path)
        engine = sa.create_engine(self._url)
        _configure(engine)
        return engine

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """Processes that open one file at once do so one after the other: switching to WAL takes the file alone."""
        import filelock

        with filelock.FileLock(f"{self._path}.migrate.lock"):
            yield

    def is_foreign(self, names: set[str]) -> bool:
        """A file that holds anything else is somebody else's."""
        return bool(names)

    def adopt(self, engine: sa.Engine) -> None:
        """Readers and the one writer do not wait for each other. It stays with the file."""
        with contextlib.closing(engine.raw_connection()) as raw:
            raw.cursor().execute("PRAGMA journal_mode=WAL")

    @contextlib.contextmanager
    def migrating(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        """The one write transaction of a migration."""
        with engine.execution_options(hwe_write=True).begin() as connection:
            yield connection


def _check_file(path: Path) -> None:
    """Look before SQLite does, which would turn an empty or foreign file into something else."""
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except FileNotFoundError:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))  # states of runs are nobody else's to read
        return
    if head and head != b"SQLite format 3\0":
        raise DatabaseNotOurs(f"{path} is not a SQLite database: set HWE_HOME or HWE_DATABASE_URL to another place")


def _configure(engine: sa.Engine) -> None:
    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        # pysqlite would begin transactions by itself, and only before writes: reads that lead to a write would race.
        connection.isolation_level = None
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT_SECONDS * 1000}",
            # FULL: what was reported as recorded survives a power failure, at one fsync for each transaction.
            "synchronous=FULL",
            "foreign_keys=ON",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: sa.Connection) -> None:
        immediate = connection.get_execution_options().get("hwe_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
