"""Who is alive, on however many machines: each driver's session holds an advisory lock, which the server drops with it.

The server notices at once when the process ends, and within some ten seconds when its machine or the network to it
is gone. A driver notices the same: every question asked here fails once its session is lost, and it has to stop.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from runner.ledger.database import explained
from runner.ledger.errors import LedgerUnavailable
from runner.ledger.postgresql import driver_url
from runner.ledger.tables import workers
from runner.presence import new_driver_id

# Both ends give a silent peer up after 5 + 3 x 2 seconds. The defaults are two hours.
_SILENCE = {"keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3", "tcp_user_timeout": "11000"}
_SILENCE_ON_THE_SERVER = ("tcp_keepalives_idle=5", "tcp_keepalives_interval=2", "tcp_keepalives_count=3")

# Advisory locks are numbers: this makes ours differ from those that others derive from the same text.
_SEED = 0x687765


class DatabasePresence:
    """One driver, alive from construction to `close`, to the end of its process or of its connection.

    Every method raises `LedgerUnavailable` when that connection is lost.
    """

    def __init__(self, database_url: str) -> None:
        url = sa.make_url(database_url)
        self.id = new_driver_id()
        self._location = url.render_as_string(hide_password=True)
        self._one_at_a_time = threading.Lock()
        # One connection, never a fresh one behind our back: the lock lives and dies with it.
        engine = sa.create_engine(driver_url(url).update_query_dict(_SILENCE), poolclass=sa.NullPool)
        with explained(self._location):
            self._connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            for setting in _SILENCE_ON_THE_SERVER:
                self._connection.exec_driver_sql(f"SET {setting}")
            # Locked before it is seen, so that no one can take it for a dead one's.
            self._connection.execute(sa.select(sa.func.pg_advisory_lock(_key(self.id))))
            self._connection.execute(workers.insert().values(worker_id=self.id, started_at=datetime.now(UTC)))

    def is_alive(self, driver: str | None) -> bool:
        """Whether the driver of that id still holds its lock."""
        if driver is None or driver == self.id:
            return driver is not None
        return not self._execute(sa.select(_is_free(driver))).scalar_one()

    def dead(self) -> Iterator[str]:
        """Ids of drivers that died and have not been forgotten yet."""
        others = sa.select(workers.c.worker_id).where(workers.c.worker_id != self.id)
        for driver in self._execute(others).scalars().all():
            if not self.is_alive(driver):
                yield driver

    def forget(self, driver: str) -> None:
        """Called once a dead driver's runs are taken over."""
        self._execute(workers.delete().where(workers.c.worker_id == driver))

    def close(self) -> None:
        """Leave in good order, or as far as the connection allows."""
        with self._one_at_a_time:
            try:
                self._connection.execute(workers.delete().where(workers.c.worker_id == self.id))
            except sa.exc.SQLAlchemyError:
                pass  # the server has dropped us already, and others will find the row
            finally:
                self._connection.invalidate()
                self._connection.close()

    def _execute(self, statement: Any) -> sa.CursorResult[Any]:
        with self._one_at_a_time, explained(self._location):
            if self._connection.invalidated:  # SQLAlchemy would connect anew, without the lock
                raise LedgerUnavailable(
                    f"{self.id} lost its connection to {self._location}, and others take over what it drives: start it "
                    "again"
                )
            return self._connection.execute(statement)


def _key(driver: str) -> sa.ColumnElement[Any]:
    return sa.func.hashtextextended(driver, _SEED)


def _is_free(driver: str) -> sa.ColumnElement[bool]:
    """Taken for a moment, if it can be had, and given back."""
    taken = sa.func.pg_try_advisory_lock_shared(_key(driver))
    return sa.case((taken, sa.func.pg_advisory_unlock_shared(_key(driver))), else_=sa.false())
