"""The embedded engine calls `advance` at least once for every unfinished run, whatever dies in between."""

import json
import signal
import subprocess
import sys
import time

import pytest

from runner.definition import load_definition
from runner.engines.embedded import sqlite_engine
from runner.ledger import Ledger

VERSION = "ab" * 32
TASK = {"operator_type": "task", "function": "tools.python.run", "args": ["m.f"]}
DEFINITION = load_definition(json.dumps({"name": "demo", "tasks": {"a": TASK}}), source_name="demo")

# One worker's engine in a process of its own (DBOS is one per process). `advance` does what argv[2] says.
WORKER = """
import os, signal, sys, threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from dbos import DBOS
from runner.engines.embedded import EmbeddedEngine
from runner.ledger import DatabasePresence, Ledger
from runner.presence import Presence

home, what, url = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
ledger = Ledger.open(url)
presence = DatabasePresence(url) if ledger.is_shared else Presence(home / "workers")
released = threading.Event()

def advance(run_id):
    os.write(1, (run_id + "\\n").encode())  # one piece: two threads write
    if what == "die before the claim":
        os.kill(os.getpid(), signal.SIGKILL)
    epoch = ledger.claim(run_id, presence.id)
    if what == "die after the claim":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "die in the pause":
        ledger.suspend_run(run_id, epoch, datetime.now(UTC) + timedelta(seconds=0.3))
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return datetime.now(UTC) + timedelta(seconds=0.3)
    if what == "fail once" and not released.is_set():
        released.set()
        raise OSError("the disk is full")
    if what == "fail in a way of its own" and not released.is_set():
        released.set()
        raise LookupError("a fault of ours")
    if what == "never end":
        released.wait()
        return datetime.now(UTC)
    ledger.finish_run(run_id, epoch, "completed", output={})

if what == "die in the takeover":
    cancel = DBOS.cancel_workflow

    def cancel_and_die(turn_id):
        cancel(turn_id)
        os.kill(os.getpid(), signal.SIGKILL)

    DBOS.cancel_workflow = cancel_and_die
engine = EmbeddedEngine(url, ledger=ledger, presence=presence, advance=advance, turns=2)
engine.start()
try:
    engine.serve(lambda: what == "never end" and ledger.status("a_b") == "running" or not ledger.has_unfinished_runs())
finally:
    engine.close(grace_seconds=0.1, abandon=released.set)
    presence.close()
"""


@pytest.fixture
def home(tmp_path, database_url):
    (tmp_path / "url").write_text(database_url)
    with Ledger.open(database_url) as ledger:
        ledger.store_code_version(
            VERSION, artifact_id="cd" * 32, project="demo", python=None, size_bytes=1, manifest_json="{}"
        )
        for run_id in ("a_b", "axb"):
            ledger.create_run(run_id, DEFINITION, code_version_hash=VERSION, policy="warn", input={})
    return tmp_path


def work(home, what):
    return subprocess.run(
        [sys.executable, "-c", WORKER, home, what, (home / "url").read_text()],
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("fault", ["die before the claim", "die after the claim", "die in the pause"])
def test_what_a_killed_worker_left_is_taken_over(home, fault):
    # Killed again and again: at every death some runs are begun and some wait in the queue.
    for _ in range(3):
        assert work(home, fault).returncode == -signal.SIGKILL
    done = work(home, "finish")
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"a_b", "axb"}
    with Ledger.open((home / "url").read_text()) as ledger:
        assert [run.status for run in ledger.runs()] == ["completed"] * 2


def test_what_a_worker_left_that_died_in_a_takeover_is_taken_over(home):
    assert work(home, "die before the claim").returncode == -signal.SIGKILL
    assert work(home, "die in the takeover").returncode == -signal.SIGKILL
    done = work(home, "finish")
    assert done.returncode == 0, done.stderr
    with Ledger.open((home / "url").read_text()) as ledger:
        assert [run.status for run in ledger.runs()] == ["completed"] * 2


def test_what_a_stopped_worker_left_is_taken_up(home):
    stopped = work(home, "never end")
    assert stopped.returncode == 0, stopped.stderr
    assert list(home.glob("workers/*")) == []
    assert work(home, "finish").returncode == 0


@pytest.mark.parametrize(
    ("fault", "told"), [("fail once", "the disk is full"), ("fail in a way of its own", "a fault of ours")]
)
def test_a_turn_that_could_not_be_taken_is_tried_again(home, fault, told):
    done = work(home, fault)
    assert done.returncode == 0, done.stderr
    assert told in done.stderr
    assert "trying again" in done.stderr


def test_a_worker_that_finds_the_engines_tables_gone_makes_them_again(home):
    assert work(home, "die after the claim").returncode == -signal.SIGKILL
    for path in home.glob("hwe-engine.sqlite*"):
        path.unlink()
    with Ledger.open((home / "url").read_text()) as ledger:
        if ledger.is_shared:
            with ledger._write() as connection:
                connection.exec_driver_sql("DROP SCHEMA hwe_engine CASCADE")
    assert work(home, "finish").returncode == 0


def test_the_engines_database_knows_fractions_of_a_second_with_any_sqlite(tmp_path):
    # What DBOS writes into its tables on Python 3.12 and later; SQLite before 3.42 would answer NULL.
    engine = sqlite_engine(f"sqlite:///{tmp_path}/engine.sqlite")
    with engine.connect() as connection:
        seconds = connection.exec_driver_sql("SELECT unixepoch('subsec')").scalar()
    engine.dispose()
    assert abs(seconds - time.time()) < 60
