"""The ledger: what is recorded is recorded once, under the epoch that started it, whoever else is there."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from runner.definition import load_definition
from runner.ledger import DatabaseNotOurs, Fenced, Ledger, LedgerUnavailable, RunExists, RunNotFound, RunNotInState
from runner.ledger.database import HEAD, MIGRATIONS
from runner.ledger.tables import metadata

VERSION = "ab" * 32
DEFINITION = load_definition(
    json.dumps(
        {
            "name": "demo",
            "tasks": {"a": {"operator_type": "task", "function": "tools.python.run", "args": ["m.f"], "task_id": "a"}},
        }
    ),
    source_name="demo",
)


def open_with_run(url, run_id="run-1", **more):
    ledger = Ledger.open(url)
    ledger.store_code_version(
        VERSION, artifact_id="cd" * 32, project="demo", python=None, size_bytes=1, manifest_json="{}"
    )
    ledger.create_run(run_id, DEFINITION, code_version_hash=VERSION, policy="warn", input={"n": 1}, **more)
    return ledger


@pytest.fixture
def url(database_url):
    return database_url


@pytest.fixture
def file_url(tmp_path):
    return f"sqlite:///{tmp_path}/hwe.sqlite"


@pytest.fixture
def ledger(url):
    with open_with_run(url) as ledger:
        yield ledger


def start(ledger, epoch, attempt=1):
    ledger.start_step("run-1", epoch, "a", attempt, function="m.f", code_version_hash=VERSION, input={"args": []})


def finish(ledger, epoch, attempt=1, status="completed", **more):
    ledger.finish_step("run-1", epoch, "a", attempt, status=status, **more)


def python(program, *args):
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


# --- runs ---


def test_a_run_is_stored_as_it_was_submitted(ledger):
    run = ledger.run("run-1")
    assert (run.status, run.code_version_hash, run.policy, run.input, run.epoch) == (
        "pending",
        VERSION,
        "warn",
        {"n": 1},
        0,
    )
    assert run.definition == DEFINITION.to_json()
    assert abs(datetime.now(UTC) - run.created_at) < timedelta(minutes=1)


def test_submitting_a_run_twice_makes_one(ledger):
    content = {"code_version_hash": VERSION, "policy": "warn", "input": {"n": 1}}
    ledger.create_run("run-1", DEFINITION, **content)
    assert len(ledger.runs()) == 1
    for change in ({"input": {"n": 2}}, {"policy": "strict"}):
        with pytest.raises(RunExists):
            ledger.create_run("run-1", DEFINITION, **{**content, **change})


def test_a_run_never_points_at_a_code_version_that_is_not_known(ledger):
    with pytest.raises(LedgerUnavailable, match=r"(?i)foreign key"):
        ledger.create_run("run-2", DEFINITION, code_version_hash="00" * 32, policy="warn", input={})
    assert [run.run_id for run in ledger.runs()] == ["run-1"]


def test_a_run_is_found_by_the_beginning_of_its_id(ledger):
    for run_id in ("nightly-aaaa", "nightly-aabb"):
        ledger.create_run(run_id, DEFINITION, code_version_hash=VERSION, policy="warn", input={})
    assert ledger.run("nightly-aaa").run_id == "nightly-aaaa"
    for name in ("nightly-aa", "night", "nightly-%", "run-"):
        with pytest.raises(RunNotFound):
            ledger.run(name)


def test_an_unknown_run_gets_a_hint(ledger):
    with pytest.raises(RunNotFound, match="did you mean run-1"):
        ledger.run("rum-1")


# --- promise 12: a result is recorded once; a fenced-off worker records nothing ---


def test_a_result_is_recorded_once(ledger):
    epoch = ledger.claim("run-1", "me")
    start(ledger, epoch)
    finish(ledger, epoch, value_json="1")
    with pytest.raises(Fenced):
        finish(ledger, epoch, value_json="2")
    assert [(step.status, step.value) for step in ledger.steps("run-1")] == [("completed", 1)]


def test_a_fenced_off_worker_records_nothing(ledger, url):
    old = ledger.claim("run-1", "old")
    start(ledger, old)
    with Ledger.open(url) as other:
        new = other.claim("run-1", "new")
        assert new == old + 1
        for act in (
            lambda: finish(ledger, old, value_json="1"),
            lambda: start(ledger, old, attempt=2),
            lambda: ledger.start_wait("run-1", old, "w", wake_at=datetime.now(UTC)),
            lambda: ledger.suspend_run("run-1", old, datetime.now(UTC)),
            lambda: ledger.finish_run("run-1", old, "completed", output={}),
        ):
            with pytest.raises(Fenced):
                act()
        assert [step.status for step in other.steps("run-1")] == ["running"]
        start(other, new)
        finish(other, new, value_json="2")
        other.finish_run("run-1", new, "completed", output={"a": 2})
    assert (ledger.run("run-1").status, ledger.run("run-1").output) == ("completed", {"a": 2})
    assert [step.value for step in ledger.steps("run-1")] == [2]


CONTENDER = """
import sys
from runner.ledger import Fenced, Ledger
url, name, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
won = 0
with Ledger.open(url) as ledger:
    for _ in range(rounds):
        epoch = ledger.claim("run-1", name)
        attempt = len(ledger.steps("run-1")) + 1
        try:
            ledger.start_step("run-1", epoch, "a", attempt, function="m.f", code_version_hash="ab" * 32, input={})
            ledger.finish_step("run-1", epoch, "a", attempt, status="failed", value_json=f'"{name}:{epoch}"')
            won += 1
        except Fenced:
            pass
print(won)
"""


def test_processes_that_contend_for_one_run_record_each_result_once(ledger, url):
    contenders = [python(CONTENDER, url, name, 60) for name in ("one", "two", "three")]
    won = []
    for contender in contenders:
        out, err = contender.communicate(timeout=120)
        assert contender.returncode == 0, err
        won.append(int(out))
    finished = [step for step in ledger.steps("run-1") if step.status == "failed"]
    assert len(finished) == sum(won)
    assert len({step.value for step in finished}) == sum(won)
    assert len({step.sequence for step in ledger.steps("run-1")}) == len(ledger.steps("run-1"))
    assert ledger.run("run-1").epoch == 180


RECORDER = """
import sys
from runner.ledger import Ledger
with Ledger.open(sys.argv[1]) as ledger:
    epoch = ledger.claim("run-1", "killed")
    for attempt in range(1, 100_000):
        ledger.start_step("run-1", epoch, "a", attempt, function="m.f", code_version_hash="ab" * 32, input={})
        ledger.finish_step("run-1", epoch, "a", attempt, status="failed", value_json=str(attempt), result=b"x" * 5000)
        print(attempt, flush=True)
"""


@pytest.mark.parametrize("delay_seconds", [0.0, 0.003, 0.011])
def test_kill_9_while_recording_loses_nothing_that_was_reported(ledger, url, delay_seconds):
    recorder = python(RECORDER, url)
    reported = 0
    for _ in range(20):
        reported = int(recorder.stdout.readline())
    time.sleep(delay_seconds)
    recorder.send_signal(signal.SIGKILL)
    rest, _ = recorder.communicate()
    reported = max([reported, *map(int, rest.split())])
    steps = ledger.steps("run-1")
    done = [step for step in steps if step.status == "failed"]
    assert len(done) in {reported, reported + 1}
    assert [step.value for step in done] == [step.attempt for step in done]
    assert len(steps) - len(done) <= 1
    assert all(step.result is None for step in steps if step.status == "running")
    assert ledger.claim("run-1", "next") == 2


# --- driving, cancelling, resuming ---


def test_a_run_that_ended_cannot_be_claimed(ledger):
    ledger.finish_run("run-1", ledger.claim("run-1", "me"), "completed", output={})
    assert ledger.claim("run-1", "me") is None


def test_a_step_whose_driver_died_is_started_over_as_the_same_attempt(ledger):
    start(ledger, ledger.claim("run-1", "one"))
    start(ledger, ledger.claim("run-1", "two"))
    assert [(step.attempt, step.status) for step in ledger.steps("run-1")] == [(1, "running")]


def test_cancelling_fences_and_ends_what_runs(ledger):
    epoch = ledger.claim("run-1", "me")
    start(ledger, epoch)
    assert ledger.cancel("run-1").status == "cancelled"
    with pytest.raises(Fenced):
        finish(ledger, epoch, value_json="1")
    assert [step.status for step in ledger.steps("run-1")] == ["cancelled"]
    assert ledger.cancel("run-1").status == "cancelled"


def test_what_has_completed_is_neither_cancelled_nor_resumed(ledger):
    ledger.finish_run("run-1", ledger.claim("run-1", "me"), "completed", output={})
    with pytest.raises(RunNotInState, match="completed already"):
        ledger.cancel("run-1")
    with pytest.raises(RunNotInState):
        ledger.resume("run-1")


def test_resuming_opens_a_new_generation(ledger):
    epoch = ledger.claim("run-1", "me")
    start(ledger, epoch)
    finish(ledger, epoch, status="failed", error={"type": "X"})
    ledger.finish_run("run-1", epoch, "failed", error={"type": "X"})
    run = ledger.resume("run-1")
    assert (run.status, run.generation, run.error, run.finished_at) == ("pending", 2, None, None)
    assert ledger.pending_runs() == [("run-1", 2)]
    assert [step.generation for step in ledger.steps("run-1")] == [1]
    with pytest.raises(RunNotInState, match="goes on by itself"):
        ledger.resume("run-1")


def test_null_and_nothing_are_told_apart(ledger):
    epoch = ledger.claim("run-1", "me")
    start(ledger, epoch)
    finish(ledger, epoch, value_json="null")
    start(ledger, epoch, attempt=2)
    finish(ledger, epoch, attempt=2)
    assert [(step.value, step.has_value) for step in ledger.steps("run-1")] == [(None, True), (None, False)]


def test_what_was_printed_is_kept_with_the_outcome_whatever_letters_it_has(ledger):
    epoch = ledger.claim("run-1", "me")
    start(ledger, epoch)
    finish(ledger, epoch, stdout="a\0b\nä", stderr="half \udcff a pair")
    start(ledger, epoch, attempt=2)
    finish(ledger, epoch, attempt=2)
    first, second = ledger.steps("run-1")
    assert (first.stdout, first.stderr) == ("a\\x00b\nä", "half \\udcff a pair")
    assert (second.stdout, second.stderr) == (None, None)
    assert [step.stdout for step in ledger.steps("run-1", logs=False)] == [None, None]


def test_a_ledger_of_the_release_without_logs_is_brought_up_to_date(url):
    from alembic import command

    from runner.ledger import database

    backend = database.backend_of(url)
    engine = backend.engine()
    with backend.opening(), backend.migrating(engine) as connection:
        config = database._alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
    engine.dispose()
    with open_with_run(url) as ledger:
        start(ledger, ledger.claim("run-1", "me"))
        assert ledger.steps("run-1")[0].stdout is None


# --- the database itself ---


def test_ten_processes_that_open_a_new_ledger_at_once_agree(url):
    program = "import sys; from runner.ledger import Ledger; Ledger.open(sys.argv[1]).runs(); print('ok')"
    openers = [python(program, url) for _ in range(10)]
    for opener in openers:
        out, err = opener.communicate(timeout=120)
        assert (opener.returncode, out, err) == (0, "ok\n", "")


def test_the_newest_migration_is_the_one_that_opening_looks_for():
    revisions = {}
    for path in (MIGRATIONS / "versions").glob("*.py"):
        text = path.read_text()
        revision = re.search(r'^revision = "(\w+)"', text, re.MULTILINE).group(1)
        down = re.search(r'^down_revision = (?:"(\w+)"|None)', text, re.MULTILINE).group(1)
        revisions[revision] = down
    assert set(revisions) - set(revisions.values()) == {HEAD}


def test_the_migrations_make_the_tables_that_the_code_uses(url):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from runner.ledger.database import REVISION_TABLE, open_database

    engine = open_database(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": REVISION_TABLE})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_a_database_is_nobody_elses_to_read(file_url, tmp_path):
    open_with_run(file_url).close()
    assert (tmp_path / "hwe.sqlite").stat().st_mode & 0o077 == 0


def test_a_file_that_is_no_database_is_refused_and_not_touched(tmp_path, file_url):
    (tmp_path / "hwe.sqlite").write_text("precious notes, longer than a header\n")
    with pytest.raises(DatabaseNotOurs, match="not a SQLite database"):
        Ledger.open(file_url)
    assert (tmp_path / "hwe.sqlite").read_text().startswith("precious")


def test_somebody_elses_database_is_refused_and_not_touched(tmp_path, file_url):
    with sqlite3.connect(tmp_path / "hwe.sqlite") as connection:
        connection.execute("CREATE TABLE invoices (id)")
    connection.close()
    before = (tmp_path / "hwe.sqlite").read_bytes()
    with pytest.raises(DatabaseNotOurs, match="invoices"):
        Ledger.open(file_url)
    assert not (tmp_path / "hwe.sqlite-wal").exists()
    assert (tmp_path / "hwe.sqlite").read_bytes() == before


def test_a_database_of_a_newer_release_is_refused(ledger, url):
    with ledger._write() as connection:
        connection.exec_driver_sql("UPDATE hwe_alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseNotOurs, match="newer release"):
        Ledger.open(url)


@pytest.mark.parametrize(
    "url", ["nonsense", "mysql://me:secret@x/y", "secret@host", "sqlite://", "sqlite:////proc/nowhere/hwe.sqlite"]
)
def test_a_url_that_cannot_be_used_is_refused_with_advice(url):
    with pytest.raises(LedgerUnavailable, match=r"HWE_|sqlite:////absolute") as caught:
        Ledger.open(url)
    assert "secret" not in str(caught.value)


def test_a_full_disk_loses_nothing_and_is_told(small_disk):
    with open_with_run(f"sqlite:///{small_disk(400)}/hwe.sqlite") as ledger:
        epoch = ledger.claim("run-1", "me")
        recorded = []

        def record_until_full():
            for attempt in range(1, 1000):
                start(ledger, epoch, attempt)
                finish(ledger, epoch, attempt, status="failed", result=b"x" * 20_000, value_json=str(attempt))
                recorded.append(attempt)

        with pytest.raises(LedgerUnavailable, match="free some space"):
            record_until_full()
        assert [step.value for step in ledger.steps("run-1") if step.status == "failed"] == recorded


def test_a_read_only_disk_is_told(small_disk):
    disk = small_disk(400)
    url = f"sqlite:///{disk}/hwe.sqlite"
    open_with_run(url).close()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(LedgerUnavailable, match="permissions"), Ledger.open(url) as again:
        again.claim("run-1", "me")
