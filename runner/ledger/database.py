"""Opening the database of a ledger, and bringing it to this release's schema."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from runner.errors import UsageError
from runner.ledger.errors import DatabaseNotOurs, LedgerError, LedgerUnavailable
from runner.ledger.postgresql import PostgreSQL
from runner.ledger.sqlite import SQLite

# The newest migration in migrations/versions; known here so that Alembic, a third of a second to import, is only
# loaded when there is something to migrate. A test compares the two.
HEAD = "0005"
REVISION_TABLE = "hwe_alembic_version"
MIGRATIONS = Path(__file__).parent / "migrations"

_URL_FORMS = "sqlite:////absolute/path/hwe.sqlite or postgresql://user@host/database"


class Backend(Protocol):
    """What differs between the databases. `location` is how a message names the place."""

    location: str

    def engine(self) -> sa.Engine: ...

    def opening(self) -> contextlib.AbstractContextManager[None]: ...

    def is_foreign(self, names: set[str]) -> bool:
        """Whether a database without our revision, in which there are these tables, is somebody else's."""
        ...

    def adopt(self, engine: sa.Engine) -> None:
        """Called once the database is known as ours, before anything is written."""
        ...

    def migrating(self, engine: sa.Engine) -> contextlib.AbstractContextManager[sa.Connection]: ...


def open_database(url: str) -> sa.Engine:
    """An engine for that URL whose schema is this release's. Raises `DatabaseNotOurs`, `LedgerUnavailable`."""
    backend = backend_of(url)
    with explained(backend.location):
        engine = backend.engine()
        try:
            with backend.opening():
                _bring_up_to_date(engine, backend)
        except BaseException:
            engine.dispose()
            raise
    return engine


def backend_of(url: str) -> Backend:
    """The kind of database that a URL names. Raises `LedgerUnavailable`."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise LedgerUnavailable(f"{_shown(url)} is no database URL: set HWE_DATABASE_URL to {_URL_FORMS}") from None
    name = parsed.get_backend_name()
    if name == "sqlite" and parsed.database:
        return SQLite(parsed)
    if name in {"postgresql", "postgres"} and parsed.database:
        return PostgreSQL(parsed)
    raise LedgerUnavailable(
        f"{parsed.render_as_string(hide_password=True)!r} names no database of a kind that holds a ledger: set "
        f"HWE_DATABASE_URL to {_URL_FORMS}"
    )


def _shown(url: str) -> str:
    """What of a text that is no URL may be repeated: it may hold a password all the same."""
    return repr(url) if "@" not in url else "the setting"


@contextlib.contextmanager
def explained(location: str) -> Iterator[None]:
    """Turn what a database driver or the file system says into `LedgerUnavailable` with advice."""
    try:
        yield
    except LedgerError:
        raise
    except (sa.exc.DBAPIError, sa.exc.TimeoutError, OSError) as error:
        said = " ".join(str(error.orig if isinstance(error, sa.exc.DBAPIError) else error).split())
        raise LedgerUnavailable(f"the ledger {location} cannot be used ({said}): {_advice(said)}") from error


def _advice(said: str) -> str:
    lowered = said.lower()
    if "full" in lowered or "no space" in lowered:
        return "free some space on its disk; nothing that was recorded is lost"
    if "i/o error" in lowered:  # also what SQLite says when there is no room for the index of its log
        return "free some space on its disk if it is full, else check the disk; nothing that was recorded is lost"
    if "locked" in lowered:
        return "another process holds it; try again"
    if any(word in lowered for word in ("password", "authentication", "role ", "pg_hba")):
        return "check the user and password in HWE_DATABASE_URL"
    if "database" in lowered and "does not exist" in lowered:
        return "create it with createdb, or correct HWE_DATABASE_URL"
    if "permission denied for" in lowered:
        return "grant the user that right, or let the owner run what 'hwe migrate --sql' prints"
    if any(word in lowered for word in ("connection", "timeout", "server")):
        return "see that the server runs and can be reached from here; nothing that was recorded is lost"
    if any(word in lowered for word in ("readonly", "read-only", "permission", "unable to open")):
        return "check the owner and permissions of the file and its directory, or set HWE_HOME or HWE_DATABASE_URL"
    return "check HWE_DATABASE_URL"


def _bring_up_to_date(engine: sa.Engine, backend: Backend) -> None:
    with engine.connect() as connection:
        revision = _checked_revision(connection, backend)
    backend.adopt(engine)
    if revision != HEAD:
        with backend.migrating(engine) as connection:
            if _checked_revision(connection, backend) != HEAD:  # nobody else did it in the meantime
                _upgrade(connection)


def _checked_revision(connection: sa.Connection, backend: Backend) -> str | None:
    """The schema's revision, None for an empty database. Raises `DatabaseNotOurs`, having changed nothing."""
    names = set(sa.inspect(connection).get_table_names())
    if REVISION_TABLE not in names:
        if backend.is_foreign(names):
            listed = ", ".join(sorted(names)[:3])
            raise DatabaseNotOurs(
                f"{backend.location} belongs to something else (it has the tables {listed}): set HWE_HOME or "
                "HWE_DATABASE_URL to another place"
            )
        return None
    revision = connection.execute(sa.text(f"SELECT version_num FROM {REVISION_TABLE}")).scalar()  # noqa: S608
    if revision is not None and revision > HEAD:
        raise DatabaseNotOurs(
            f"{backend.location} was written by a newer release (schema {revision}; this one knows {HEAD}): upgrade "
            "hwe-runner"
        )
    return None if revision is None else str(revision)


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command

    config = _alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def offline_sql(url: str, start: str | None = None) -> str:
    """The SQL that brings a database of that URL's kind from revision `start` (None: empty) to this release's schema.

    Nothing is connected to. One transaction. Raises `UsageError` for a revision that is none.
    """
    from alembic import command
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    written = io.StringIO()
    config = _alembic_config(written)
    config.attributes["dialect"] = sa.make_url(url).get_backend_name()
    try:
        if start is not None:
            ScriptDirectory.from_config(config).get_revision(start)
        command.upgrade(config, f"{start or 'base'}:head", sql=True)
    except CommandError:
        raise UsageError(f"{start!r} is no revision: this release knows 0001 to {HEAD}") from None
    return written.getvalue()


def _alembic_config(output: Any = None) -> Any:
    from alembic.config import Config

    config = Config(output_buffer=output) if output is not None else Config()
    # A percent sign in the path would be read as the beginning of a variable.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
