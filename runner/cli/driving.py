"""`hwe worker` and `hwe run`: processes that drive runs until they are told to stop or nothing is left."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from envs import EnvsError, capture
from runner.advance import Advancer
from runner.cli import COULD_NOT, complain
from runner.cli.installation import Installation, submit
from runner.cli.progress import Reporter, reporter
from runner.errors import UsageError
from runner.ledger import Fenced, LedgerUnavailable, RunRecord
from runner.presence import Attendance
from runner.sandbox import level_of
from runner.supervisor import DEFAULT_SLOTS, Supervisor
from runner.validation import log_validation, validate

logger = logging.getLogger("hwe.worker")

# Runs that are driven beside those whose steps run: they wait for an environment to be built, and must not keep runs
# of other versions out of the slots.
TURNS_THAT_BUILD = 32

# How often a foreground run that waits looks whether it was cancelled.
WAKE_POLL_SECONDS = 0.25


def work(installation: Installation, project: Path, *, slots: int, drain: bool, grace_seconds: float) -> None:
    """Drive every submitted run with the code it asks for, until stopped or, with `drain`, nothing is left."""
    from runner.engines.embedded import EmbeddedEngine  # late: half a second, and only a worker needs it

    ledger = installation.ledger
    local = capture(project)
    installation.keep(local)
    presence = installation.presence()
    problem: LedgerUnavailable | None = None
    with reporter() as report, _advancing(installation, local.hash, presence, report, slots) as advancer:
        engine = EmbeddedEngine(
            installation.settings.database,
            ledger=ledger,
            presence=presence,
            advance=advancer.advance,
            turns=slots + TURNS_THAT_BUILD,
        )

        def stop() -> None:
            advancer.stop()
            engine.stop()

        def nothing_left() -> bool:
            return drain and not ledger.has_unfinished_runs()

        with _stopping_on_signals(stop):
            try:
                engine.start()
                _check_versions(installation, local.hash)
                settings = installation.settings
                policy = f"{settings.strict_code_versioning} (from {settings.policy_source})"
                report.say(
                    f"worker {presence.id} is ready: project {local.project}, code version {local.hash[:12]}, "
                    f"default policy {policy}, {slots} slots"
                )
                engine.serve(nothing_left)
            except LedgerUnavailable as error:
                problem = error
                grace_seconds = 0.0  # others may be taking this worker's runs over already
            finally:
                advancer.stop()
                engine.close(grace_seconds=grace_seconds, abandon=advancer.abandon)
    if problem:
        complain(str(problem))
        os._exit(COULD_NOT)  # an orderly exit would wait for DBOS's threads, which wait for the database for ever


def _check_versions(installation: Installation, local_hash: str) -> None:
    """Say what this worker finds; its runs do not depend on it."""
    cache = installation.cache(lambda _hash, _phase: None)
    try:
        validation = validate(installation.ledger, installation.store, local_hash, cache.is_ready)
    except EnvsError as error:
        logger.warning("start-up check: %s", error)
    else:
        log_validation(logger, validation)


def run_in_foreground(
    installation: Installation,
    workflow: Path,
    project: Path,
    *,
    input_text: str | None,
    run_id: str | None,
    policy: str | None,
) -> RunRecord:
    """Submit a run that this process drives, and drive it to its end; returns it as it ended.

    If this process dies, a worker adopts the run.
    """
    level_of(installation.settings.sandbox)  # before anything is stored
    ledger = installation.ledger
    presence = installation.presence()
    new_id = submit(
        installation,
        workflow,
        project,
        input_text=input_text,
        run_id=run_id,
        policy=policy,
        driver=presence.id,
    )
    run = ledger.run(new_id)
    if run.driver not in (None, presence.id) and presence.is_alive(run.driver):
        raise UsageError(f"run {new_id} is driven by {run.driver}: 'hwe show {new_id}' tells how far it is")
    stopped = threading.Event()
    local_hash = run.code_version_hash
    with (
        reporter() as report,
        _advancing(installation, local_hash, presence, report, DEFAULT_SLOTS) as advancer,
    ):

        def stop() -> None:
            advancer.stop()
            stopped.set()

        with _stopping_on_signals(stop):
            report.say(f"run {new_id} on code version {local_hash[:12]}")
            with contextlib.suppress(Fenced):  # someone cancelled it, or a worker was told to take it
                while not stopped.is_set() and (pause_until := advancer.advance(new_id)) is not None:
                    _sleep_until(pause_until, stopped, lambda: ledger.status(new_id) != "cancelled")
            if stopped.is_set():
                report.say(f"stopped; run {new_id} is kept: 'hwe worker' goes on with it")
    return ledger.run(new_id)


def _sleep_until(moment: datetime, stopped: threading.Event, wanted: Callable[[], bool]) -> None:
    while (left := (moment - datetime.now(UTC)).total_seconds()) > 0 and wanted():
        if stopped.wait(min(left, WAKE_POLL_SECONDS)):
            return


@contextlib.contextmanager
def _advancing(
    installation: Installation, local_hash: str, presence: Attendance, report: Reporter, slots: int
) -> Iterator[Advancer]:
    with Supervisor(installation.cache(report.building), installation.settings.sandbox, slots=slots) as supervisor:
        absent = [guarantee.name for guarantee in supervisor.guarantees if guarantee.state == "absent"]
        if absent and supervisor.sandbox != "none":
            logger.warning("sandbox %r does not enforce here: %s", supervisor.sandbox, ", ".join(absent))
        yield Advancer(
            ledger=installation.ledger,
            supervisor=supervisor,
            store=installation.store,
            values=installation.values,
            local_hash=local_hash,
            driver=presence.id,
            on_progress=report.progress,
        )


@contextlib.contextmanager
def _stopping_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """The first SIGINT or SIGTERM stops in good order; a second one is answered as if we were not here."""

    def handle(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, previous[signal.Signals(number)])
        logger.info("stopping after the steps in progress; once more to stop at once")
        stop()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
