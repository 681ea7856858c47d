"""The embedded engine: DBOS contributes the queue, the timers and the recovery, on SQLite or PostgreSQL like the
ledger, which is the truth.

Submitting, resuming and cancelling only write to the ledger. A worker finds pending runs there and enqueues one
short DBOS workflow, a turn, that calls `advance` once; when the run pauses, the turn enqueues the next one with a
delay and ends, so that a run that waits for days holds neither a thread nor a place in the queue. An id that is
enqueued twice is one turn, and a turn that runs twice finds everything recorded: at least once is enough.
"""

from __future__ import annotations

import json
import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, Serializer, SetEnqueueOptions, SetWorkflowID

from envs import EnvsError
from runner.errors import RunnerError
from runner.ledger import Fenced, Ledger, RunRecord
from runner.ledger.postgresql import connect, driver_url
from runner.presence import Attendance

logger = logging.getLogger("hwe.engine")

QUEUE = "hwe"

# Which release of ours drives a run must not matter: each turn re-reads everything from the ledger. By default
# DBOS derives a version from the source of its workflows, and a changed comment would strand every run.
APPLICATION_VERSION = "hwe-1"

# Where its tables are on PostgreSQL. SQLite has no schemas; there it has a file of its own.
POSTGRESQL_SCHEMA = "hwe_engine"

# How quickly a submitted run, a due timer and a dead colleague are noticed.
POLL_SECONDS = 0.1
DEAD_CHECK_SECONDS = 1.0

# How long turns may take to notice that their steps were ended. Past it, the next worker finds them as those of a
# dead one.
ABANDON_SECONDS = 10.0

# A turn that failed for a reason outside the run (the disk is full, the database is locked) is tried again.
FAULT_PAUSE_SECONDS = 5.0


class _JsonSerializer(Serializer):
    """DBOS stores run ids and counters for us, so nothing needs its default, which is pickle."""

    def serialize(self, data: Any) -> str:
        return json.dumps(data, default=repr)

    def deserialize(self, serialized_data: str) -> Any:
        return json.loads(serialized_data)

    def name(self) -> str:
        return "hwe_json"


class EmbeddedEngine:
    """One per process. `advance(run_id)` drives a run and returns when to call again, or None when it has ended.

    `turns`: how many runs are driven at the same time.
    """

    def __init__(
        self,
        database_url: str,
        *,
        ledger: Ledger,
        presence: Attendance,
        advance: Callable[[str], datetime | None],
        turns: int,
    ) -> None:
        self._ledger = ledger
        self._presence = presence
        self._advance = advance
        self._stop = threading.Event()
        self._dispatched: set[str] = set()
        self._adopted: set[tuple[str, int]] = set()
        self._turns_in_progress = 0
        self._turn_ended = threading.Condition()
        self._turns = turns
        url = engine_url(database_url)
        config: Any = {
            "name": "hwe",
            "system_database_url": url,
            "system_database_engine": engine_for(url),
            "dbos_system_schema": POSTGRESQL_SCHEMA,  # beside the ledger's tables, and apart from other users of DBOS
            "use_listen_notify": False,  # nothing here waits for DBOS's messages and events
            "serializer": _JsonSerializer(),
            "application_version": APPLICATION_VERSION,
            "executor_id": presence.id,
            "log_level": "WARNING",
            "enable_otlp": False,
        }
        DBOS(config=config)

        # None: a run is not given up because its workers died often.
        @DBOS.workflow(name="hwe.turn", max_recovery_attempts=None)
        def turn(run_id: str, turn_id: str, number: int) -> None:
            self._take_turn(run_id, turn_id, number)

        self._turn = turn

    def start(self) -> None:
        """Begin to take turns, and take over what dead workers left."""
        # Its own tables are its own business; what it says at this level concerns people who use it directly.
        logging.getLogger("dbos").setLevel(logging.WARNING)
        DBOS.launch()
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=self._turns,
            polling_interval_sec=POLL_SECONDS,
            on_conflict="always_update",
        )
        self._adopt_orphans()

    def serve(self, until: Callable[[], bool]) -> None:
        """Dispatch pending runs and watch for dead workers until `until()` or `stop`."""
        countdown = 0.0
        while not self._stop.is_set() and not until():
            self._dispatch_pending()
            if countdown <= 0:
                self._take_over_from_the_dead()
                countdown = DEAD_CHECK_SECONDS
            countdown -= POLL_SECONDS
            self._stop.wait(POLL_SECONDS)

    def stop(self) -> None:
        """Make `serve` return. Safe in a signal handler."""
        self._stop.set()

    def close(self, *, grace_seconds: float, abandon: Callable[[], None]) -> None:
        """Leave the queue once the turns in progress are done; after `grace_seconds`, `abandon` must end them."""
        self._stop.set()
        if not self._wait_for_turns(grace_seconds):
            abandon()
            self._wait_for_turns(ABANDON_SECONDS)
        DBOS.destroy()

    def _wait_for_turns(self, seconds: float) -> bool:
        with self._turn_ended:
            return self._turn_ended.wait_for(lambda: self._turns_in_progress == 0, seconds)

    def _take_turn(self, run_id: str, turn_id: str, number: int) -> None:
        with self._turn_ended:
            self._turns_in_progress += 1
        try:
            self._advance_once(run_id, turn_id, number)
        finally:
            with self._turn_ended:
                self._turns_in_progress -= 1
                self._turn_ended.notify_all()

    def _advance_once(self, run_id: str, turn_id: str, number: int) -> None:
        try:
            pause_until = self._advance(run_id)
        except Fenced:
            logger.info("run %s: cancelled, or driven by another worker now; this one records nothing more", run_id)
            return
        except (RunnerError, EnvsError, OSError, sa.exc.SQLAlchemyError) as error:
            logger.error("run %s: %s; trying again in %g s", run_id, error, FAULT_PAUSE_SECONDS)  # noqa: TRY400
            delay_seconds = FAULT_PAUSE_SECONDS
        except Exception:
            # A fault of ours. The run is kept, for a worker without it.
            logger.exception("run %s: unexpected; trying again in %g s", run_id, FAULT_PAUSE_SECONDS)
            delay_seconds = FAULT_PAUSE_SECONDS
        else:
            if pause_until is None:
                return
            delay_seconds = max(0.0, (pause_until - datetime.now(UTC)).total_seconds())
        self._enqueue(run_id, turn_id, number + 1, delay_seconds)

    def _enqueue(self, run_id: str, turn_id: str, number: int, delay_seconds: float = 0.0) -> None:
        delay = delay_seconds if delay_seconds > 0 else None
        with SetWorkflowID(f"{turn_id}:{number}"), SetEnqueueOptions(delay_seconds=delay):
            DBOS.enqueue_workflow(QUEUE, self._turn, run_id, turn_id, number)

    def _dispatch_pending(self) -> None:
        for run_id, generation in self._ledger.pending_runs():
            turn_id = f"{run_id}:{generation}"
            if turn_id not in self._dispatched:
                self._enqueue(run_id, turn_id, 0)
                self._dispatched.add(turn_id)

    def _take_over_from_the_dead(self) -> None:
        """Give a turn to every run whose driver is gone, however it went, and forget the dead."""
        dead = list(self._presence.dead())
        if dead:
            logger.info("taking over from %s", ", ".join(dead))
            self._adopt_orphans()  # also what they took from the queue and had not begun
        gone = [driver for driver in self._ledger.drivers() if not self._presence.is_alive(driver)]
        for run in self._ledger.unfinished_runs(gone) if gone else ():
            if (run.run_id, run.epoch) not in self._adopted:
                self._adopted.add((run.run_id, run.epoch))
                self._adopt(run)
        for driver in dead:
            self._presence.forget(driver)

    def _adopt_orphans(self) -> None:
        """Give a turn to every unfinished run that has none: its driver died, or the engine's file is gone."""
        for run in self._ledger.unfinished_runs():
            if run.driver in (None, self._presence.id) or not self._presence.is_alive(run.driver):
                self._adopt(run)

    def _adopt(self, run: RunRecord) -> None:
        living, lost = self._turns_of(run.run_id)
        never_begun = run.driver is None and not lost  # dispatched as any other
        if not living and not never_begun:
            self._enqueue(run.run_id, f"{run.run_id}:{run.generation}:{secrets.token_hex(4)}", 0)
        # Last: a worker that dies in between leaves a turn too many. A run whose only turn was cancelled would look
        # like one that has none yet, and the turn it is given then has the id of that one.
        for turn_id in lost:
            DBOS.cancel_workflow(turn_id)

    def _turns_of(self, run_id: str) -> tuple[list[str], list[str]]:
        """Ids of the run's turns that wait in the queue or are with the living, and of those that died with theirs."""
        living: list[str] = []
        lost: list[str] = []
        for turn in DBOS.list_workflows(
            workflow_id_prefix=f"{run_id}:",
            status=["ENQUEUED", "PENDING", "DELAYED"],
            load_input=False,
            load_output=False,
        ):
            if not turn.workflow_id.startswith(f"{run_id}:"):
                continue  # an underscore in a prefix matches any character
            in_good_hands = turn.status != "PENDING" or self._presence.is_alive(turn.executor_id)
            (living if in_good_hands else lost).append(turn.workflow_id)
        return living, lost


def engine_url(database_url: str) -> str:
    """Where DBOS keeps its tables: beside the ledger's file, so that neither waits for the other's writes; or in a
    schema of its own of the ledger's database.
    """
    url = sa.make_url(database_url)
    if url.get_backend_name() != "sqlite" or not url.database:
        return driver_url(url).render_as_string(hide_password=False)
    stem = url.database.removesuffix(".sqlite")
    return sa.URL.create("sqlite", database=f"{stem}-engine.sqlite").render_as_string()


def engine_for(url: str) -> sa.Engine:
    """An SQLAlchemy engine as DBOS needs it."""
    return sqlite_engine(url) if url.startswith("sqlite") else connect(sa.make_url(url))


def sqlite_engine(url: str) -> sa.Engine:
    """An SQLAlchemy engine as DBOS needs it, for several processes at once."""
    engine = sa.create_engine(url)

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = "IMMEDIATE"  # writers queue up instead of failing half-way
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=30000", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        if sqlite3.sqlite_version_info < (3, 42):
            # On Python 3.12 and later DBOS takes a modifier for granted that this SQLite answers with NULL.
            connection.create_function("unixepoch", 1, _unixepoch)

    return engine


def _unixepoch(modifier: str) -> float:
    now = time.time()
    return round(now, 3) if modifier.startswith("subsec") else int(now)
