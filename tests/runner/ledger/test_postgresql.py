"""What is PostgreSQL's own: a database shared with others, a server that goes away, workers on many machines."""

import contextlib
import signal
import subprocess
import sys
import threading
import time

import postgres_server
import pytest
import sqlalchemy as sa

from runner.errors import UsageError
from runner.ledger import DatabaseNotOurs, DatabasePresence, Ledger, LedgerUnavailable
from runner.ledger.database import HEAD, offline_sql
from runner.ledger.tables import metadata

pytestmark = pytest.mark.postgres


@pytest.fixture
def url(postgres):
    return postgres.new_database()


def database(url):
    return sa.make_url(url).database


def test_other_tables_may_live_beside_the_ledger_but_none_of_the_same_name(postgres, url):
    postgres.execute("CREATE TABLE invoices (id int)", database(url))
    Ledger.open(url).close()
    other = postgres.new_database()
    postgres.execute("CREATE TABLE workflow_runs (id int)", database(other))
    with pytest.raises(DatabaseNotOurs, match="workflow_runs"):
        Ledger.open(other)
    assert postgres.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database(other)) == [(1,)]


def test_the_sql_for_those_who_migrate_by_hand_makes_the_same_tables(postgres, url):
    postgres.execute(offline_sql(url), database(url))
    with Ledger.open(url) as ledger:  # nothing left to do
        assert ledger.runs() == []
    by_hand, by_itself = columns(postgres, url), postgres.new_database()
    Ledger.open(by_itself).close()
    assert by_hand == columns(postgres, by_itself)
    assert {table for table, *_ in by_hand} >= set(metadata.tables)


def columns(postgres, url):
    return postgres.execute(
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns "
        "WHERE table_schema = 'public' ORDER BY 1, 2",
        database(url),
    )


def test_a_user_who_may_not_make_tables_is_told_what_to_do_and_works_once_they_are_there(postgres, url):
    with contextlib.suppress(sa.exc.ProgrammingError):
        postgres.execute("CREATE ROLE clerk LOGIN")
    clerk = postgres.url(database(url), user="clerk")
    with pytest.raises(LedgerUnavailable, match="hwe migrate --sql"):
        Ledger.open(clerk)
    postgres.execute(offline_sql(url), database(url))
    postgres.execute("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO clerk", database(url))
    with Ledger.open(clerk) as ledger:
        ledger.store_code_version(
            "ab" * 32, artifact_id="cd" * 32, project="x", python=None, size_bytes=1, manifest_json="{}"
        )


def test_the_sql_starts_where_it_is_told(url):
    assert "CREATE TABLE workflow_runs" not in offline_sql(url, HEAD)
    with pytest.raises(UsageError, match="this release knows"):
        offline_sql(url, "nonsense")


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"port": 1}, "server runs"),
        ({"database": "nowhere"}, "createdb"),
        ({"username": "nobody"}, "user and password"),
    ],
)
def test_a_server_that_cannot_be_used_is_told_with_advice_and_without_the_password(url, change, advice):
    address = sa.make_url(url).set(password="secret").set(**change)
    with pytest.raises(LedgerUnavailable, match=advice) as caught:
        Ledger.open(address.render_as_string(hide_password=False))
    assert "secret" not in str(caught.value)


def test_a_server_that_was_killed_and_is_back_goes_on_with_the_same_ledger():
    binaries = postgres_server.binaries()
    if binaries is None:
        pytest.skip("POSTGRESQL NOT TESTED: it is not installed")
    server = postgres_server.PostgresServer(binaries)
    try:
        with Ledger.open(server.new_database()) as ledger:
            ledger.store_code_version(
                "ab" * 32, artifact_id="cd" * 32, project="x", python=None, size_bytes=1, manifest_json="{}"
            )
            server.halt()
            with pytest.raises(LedgerUnavailable, match="nothing that was recorded is lost"):
                ledger.runs()
            server.start()
            assert ledger.find_code_version("ab" * 32)
    finally:
        server.stop()


# --- who is alive ---

PROGRAM = """
import sys
from runner.ledger import DatabasePresence
presence = DatabasePresence(sys.argv[1])
print(presence.id, flush=True)
sys.stdin.read()
presence.close()
"""


@pytest.fixture
def mine(url):
    Ledger.open(url).close()
    presence = DatabasePresence(url)
    yield presence
    presence.close()


@pytest.fixture
def colleague(url, mine):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process, process.stdout.readline().strip()
    process.kill()
    process.communicate()


def wait_until(reached, seconds=10):
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_driver_is_dead_at_once_and_a_living_one_is_not(mine, colleague):
    process, their_id = colleague
    assert mine.is_alive(mine.id)
    assert mine.is_alive(their_id)
    assert list(mine.dead()) == []
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not mine.is_alive(their_id))
    assert list(mine.dead()) == [their_id]
    mine.forget(their_id)
    assert list(mine.dead()) == []


def test_a_driver_that_left_in_good_order_leaves_nothing(mine, colleague, postgres, url):
    process, their_id = colleague
    process.communicate("")
    assert list(mine.dead()) == []
    assert not mine.is_alive(their_id)
    assert not mine.is_alive(None)
    assert postgres.execute("SELECT worker_id FROM workers", database(url)) == [(mine.id,)]


def test_asking_from_many_threads_never_takes_a_living_driver_for_a_dead_one(mine, colleague, url):
    _, their_id = colleague
    other = DatabasePresence(url)
    wrong = []

    def ask(presence):
        for _ in range(200):
            wrong.extend([their_id] if not presence.is_alive(their_id) else presence.dead())

    threads = [threading.Thread(target=ask, args=(presence,)) for presence in (mine, mine, other, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert wrong == []


def test_a_driver_whose_session_was_ended_learns_it_and_others_see_it_dead(mine, postgres, url):
    other = DatabasePresence(url)
    pid = other._connection.connection.driver_connection.info.backend_pid
    postgres.execute(f"SELECT pg_terminate_backend({pid})")
    wait_until(lambda: not mine.is_alive(other.id))
    assert list(mine.dead()) == [other.id]
    with pytest.raises(LedgerUnavailable):
        list(other.dead())
    with pytest.raises(LedgerUnavailable):  # and does not come back to life by itself
        list(other.dead())
    other.close()


def test_a_snapshot_is_of_one_moment(url):
    with Ledger.open(url) as ledger, Ledger.open(url) as other:

        def known():
            return {name for name in ("ab" * 32, "cd" * 32) if ledger.find_code_version(name)}

        def store(name):
            other.store_code_version(
                name, artifact_id=name[::-1], project="demo", python=None, size_bytes=1, manifest_json="{}"
            )

        store("ab" * 32)
        with ledger.snapshot():
            assert known() == {"ab" * 32}
            store("cd" * 32)
            assert known() == {"ab" * 32}
        assert known() == {"ab" * 32, "cd" * 32}
