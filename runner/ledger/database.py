"""Opening the database of a ledger, and bringing it to this release's schema."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from runner.ledger.errors import DatabaseNotOurs, LedgerError, LedgerUnavailable

# The newest migration in migrations/versions; known here so that Alembic, a third of a second to import, is only
# loaded when there is something to migrate. A test compares the two.
HEAD = "0002"
REVISION_TABLE = "hwe_alembic_version"
MIGRATIONS = Path(__file__).parent / "migrations"

# How long a writer waits for the others. Transactions here are a few rows, so this is never reached in health.
BUSY_TIMEOUT_SECONDS = 30


def open_database(url: str) -> sa.Engine:
    """An engine for that URL whose schema is this release's. Raises `DatabaseNotOurs`, `LedgerUnavailable`."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise LedgerUnavailable(
            f"{url!r} is no database URL: set HWE_DATABASE_URL to sqlite:////absolute/path/hwe.sqlite"
        ) from None
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise LedgerUnavailable(
            f"this release keeps its ledger in SQLite, not in {parsed.get_backend_name()}: set HWE_DATABASE_URL to "
            "sqlite:////absolute/path/hwe.sqlite"
        )
    path = Path(parsed.database).absolute()
    with explained(str(path)):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_file(path)
        engine = sa.create_engine(parsed)
        _configure(engine)
        try:
            with _one_at_a_time(path):
                _bring_up_to_date(engine, path)
        except BaseException:
            engine.dispose()
            raise
    return engine


@contextlib.contextmanager
def explained(location: str) -> Iterator[None]:
    """Turn what a database driver or the file system says into `LedgerUnavailable` with advice."""
    try:
        yield
    except LedgerError:
        raise
    except (sa.exc.DBAPIError, OSError) as error:
        said = str(error.orig) if isinstance(error, sa.exc.DBAPIError) else str(error)
        raise LedgerUnavailable(f"the ledger {location} cannot be used ({said}): {_advice(said)}") from error


def _advice(said: str) -> str:
    lowered = said.lower()
    if "full" in lowered or "no space" in lowered:
        return "free some space on its disk; nothing that was recorded is lost"
    if "i/o error" in lowered:  # also what SQLite says when there is no room for the index of its log
        return "free some space on its disk if it is full, else check the disk; nothing that was recorded is lost"
    if "locked" in lowered:
        return "another process holds it; try again"
    if any(word in lowered for word in ("readonly", "read-only", "permission", "unable to open")):
        return "check the owner and permissions of the file and its directory, or set HWE_HOME or HWE_DATABASE_URL"
    return "check HWE_DATABASE_URL"


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


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Processes that open one new database at once migrate it one after the other."""
    import filelock

    with filelock.FileLock(f"{path}.migrate.lock"):
        yield


def _bring_up_to_date(engine: sa.Engine, path: Path) -> None:
    with engine.connect() as connection:
        names = set(sa.inspect(connection).get_table_names())
        revision = None
        if REVISION_TABLE in names:
            revision = connection.execute(sa.text(f"SELECT version_num FROM {REVISION_TABLE}")).scalar()  # noqa: S608
    if REVISION_TABLE not in names and names:
        listed = ", ".join(sorted(names)[:3])
        raise DatabaseNotOurs(
            f"{path} belongs to something else (it has the tables {listed}): set HWE_HOME or HWE_DATABASE_URL to "
            "another place"
        )
    if revision is not None and revision > HEAD:
        raise DatabaseNotOurs(
            f"{path} was written by a newer release (schema {revision}; this one knows {HEAD}): upgrade hwe-runner"
        )
    # Readers and the one writer do not wait for each other. It stays with the file; and not before it is known as ours.
    with contextlib.closing(engine.raw_connection()) as raw:
        raw.cursor().execute("PRAGMA journal_mode=WAL")
    if revision != HEAD:
        _migrate(engine)


def _migrate(engine: sa.Engine) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.execution_options(hwe_write=True).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
