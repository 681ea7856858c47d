"""The ledger in a PostgreSQL database, for workers on many machines.

Transactions are READ COMMITTED, the default: every write of a run begins with an update of the run's own row under
its epoch, and that row's lock is what SQLite's one writer is elsewhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import sqlalchemy as sa

from runner.ledger.tables import metadata

# Whoever migrates holds this advisory lock: "hwe" and a 1, as one number.
MIGRATION_LOCK = 0x68776501

# A server that does not answer is told within this; libpq would wait for minutes.
CONNECT_TIMEOUT_SECONDS = 10


class PostgreSQL:
    """See `runner.ledger.database.Backend`."""

    def __init__(self, url: sa.URL) -> None:
        self._url = driver_url(url)
        self.location = url.render_as_string(hide_password=True)

    def engine(self) -> sa.Engine:
        """A pool whose connections are tried before they are used: a restarted server is no error."""
        return connect(self._url)

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """Nothing: looking takes no lock, and `migrating` takes its own."""
        yield

    def is_foreign(self, names: set[str]) -> bool:
        """Other tables may live beside ours, as long as none has the name of one of ours."""
        return not names.isdisjoint(metadata.tables)

    def adopt(self, _engine: sa.Engine) -> None:
        """Nothing to switch on."""

    @contextlib.contextmanager
    def migrating(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        """The one transaction of a migration; whoever comes second waits, and finds nothing left to do."""
        with engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            yield connection


def driver_url(url: sa.URL) -> sa.URL:
    """The same address through the one driver that comes with us, with a limit on the time that connecting takes."""
    return url.set(drivername="postgresql+psycopg").update_query_dict(
        {"connect_timeout": url.query.get("connect_timeout", str(CONNECT_TIMEOUT_SECONDS))}
    )


def connect(url: sa.URL) -> sa.Engine:
    """An engine for a `driver_url`."""
    return sa.create_engine(url, pool_pre_ping=True)
