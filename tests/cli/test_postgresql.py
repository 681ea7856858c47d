"""The command line on PostgreSQL, with workers that share nothing but the database and the artifact store."""

import contextlib
import json
import subprocess

import postgres_server
import pytest

pytestmark = pytest.mark.postgres

WORKERS = 10


@pytest.fixture
def machines(site_factory, postgres):
    """Sites as on several machines: a home and a cache of their own, one database, one store."""
    url = postgres.new_database()
    return [site_factory(name, url) for name in ("one", "two")]


def test_ten_workers_on_a_new_database_start_at_once_and_do_each_run_once(site_factory, postgres):
    site = site_factory("one", postgres.new_database())
    site.deploy("invoices/v1")
    (site.root / "open").touch()
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(site.worker("--slots", "1")) for _ in range(WORKERS)]
        for number in range(WORKERS):
            site.submit(f"run-{number}", number=number, gate=str(site.root / "open"))
        for number in range(WORKERS):
            run = site.wait_for_status(f"run-{number}", "completed", "failed")
            assert run["status"] == "completed"
            assert all(step["attempt"] == 1 for step in run["steps"])
        site.wait_until(lambda: site.log().count(" is ready: ") == WORKERS)
        for worker in workers:
            worker.terminate()
        assert [worker.wait() for worker in workers] == [0] * WORKERS
    database = site.database_url.rpartition("/")[2]
    assert postgres.execute("SELECT * FROM workers", database) == []


def test_a_run_goes_on_elsewhere_on_its_own_code_when_its_worker_is_killed(machines):
    one, two = machines
    one.deploy("invoices/v1")
    two.deploy("invoices/v2")
    old = one.told("capture")
    one.submit("old", number=7, gate=str(one.root / "open"))
    with one.worker() as first:
        one.wait_for_running("old", "gate")
        with two.worker() as second:
            first.kill()
            (one.root / "open").touch()
            run = two.wait_for_status("old", "completed", "failed")
            second.terminate()
            assert second.wait() == 0
    assert (run["status"], run["output"]["total"]["cents"]) == ("completed", 300)
    assert {step["code_version_hash"] for step in run["steps"] if step["function"]} == {old}
    assert "taking over from" in two.log()


def test_a_worker_whose_database_goes_away_stops_and_says_so(site_factory):
    binaries = postgres_server.binaries()
    if binaries is None:
        pytest.skip("POSTGRESQL NOT TESTED: it is not installed")
    server = postgres_server.PostgresServer(binaries)
    try:
        site = site_factory("one", server.new_database())
        site.deploy("invoices/v1")
        site.submit("old", number=7, gate=str(site.root / "open"))
        with site.worker() as worker:
            site.wait_for_running("old", "gate")
            server.halt()
            assert worker.wait(60) == 3
        assert "the server runs" in site.log()
        server.start()
        (site.root / "open").touch()
        with site.worker("--drain") as worker:
            assert worker.wait() == 0
        assert site.show("old")["status"] == "completed"
    finally:
        server.stop()


def test_the_schema_by_hand(machines, postgres):
    site = machines[0]
    sql = site.told("migrate", "--sql")
    assert sql.startswith("BEGIN;")
    assert sql.endswith("COMMIT;")
    database = site.database_url.rpartition("/")[2]
    assert postgres.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database) == [(0,)]
    psql = ["psql", "--no-psqlrc", "-q", "-v", "ON_ERROR_STOP=1", "-1", site.database_url]
    subprocess.run(psql, input=sql, text=True, check=True)
    assert "has schema" in site.told("migrate")
    assert json.loads(site.told("runs", "--json")) == []
    assert site.hwe("migrate", "--from", "0001").returncode == 2
