"""The count of unfinished runs is right whoever writes them, and is had without looking at them."""

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.dialects import postgresql, sqlite

from runner.definition import load_definition
from runner.ledger import Ledger
from runner.ledger.census import counts_query, oldest_query

TASK = {"operator_type": "task", "function": "tools.python.run", "args": ["m.f"]}
DEFINITION = load_definition(json.dumps({"name": "demo", "tasks": {"a": TASK}}), source_name="demo")
VERSIONS = [f"{number:064x}" for number in range(1, 5)]

RUNS = 1_000_000
MANY_VERSIONS = 500
LIMIT_SECONDS = 0.5


@pytest.fixture
def ledger(database_url):
    with Ledger.open(database_url) as ledger:
        for version in VERSIONS:
            ledger.store_code_version(
                version, artifact_id=version, project="demo", python=None, size_bytes=1, manifest_json="{}"
            )
        yield ledger


def submit(ledger, run_id, version, policy="warn"):
    ledger.create_run(run_id, DEFINITION, code_version_hash=version, policy=policy, input={})


def counted(ledger):
    return {census.code_version_hash: census.by_policy for census in ledger.census()}


def really_there(ledger):
    with ledger._read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT code_version_hash, policy, count(*) FROM workflow_runs "
            "WHERE status IN ('pending', 'running', 'waiting') GROUP BY 1, 2"
        )
        found = {}
        for version, policy, runs in rows:
            found.setdefault(version, {})[policy] = runs
        return found


def test_the_count_follows_a_run_through_its_life(ledger):
    one, two, *_ = VERSIONS
    submit(ledger, "a", one)
    submit(ledger, "a", one)  # the same run again
    submit(ledger, "b", one, "artifact")
    submit(ledger, "c", two)
    assert counted(ledger) == {one: {"warn": 1, "artifact": 1}, two: {"warn": 1}}
    epoch = ledger.claim("a", "me")
    assert counted(ledger)[one] == {"warn": 1, "artifact": 1}
    ledger.finish_run("a", epoch, "failed", error={})
    assert counted(ledger)[one] == {"artifact": 1}
    ledger.resume("a")
    assert counted(ledger)[one] == {"warn": 1, "artifact": 1}
    ledger.cancel("a")
    ledger.cancel("b")
    assert counted(ledger) == {two: {"warn": 1}}
    (census,) = ledger.census()
    assert census.oldest == ledger.run("c").created_at
    assert census.by_definition == {DEFINITION.hash: 1}
    assert ledger.definition_of(two, DEFINITION.hash) == DEFINITION.to_json()


def test_many_who_submit_and_finish_at_once_are_counted(ledger):
    def live(number):
        for turn in range(15):
            run_id = f"{number}-{turn}"
            submit(ledger, run_id, random.choice(VERSIONS), random.choice(["warn", "strict"]))
            if random.random() < 0.7:
                ledger.finish_run(run_id, ledger.claim(run_id, "me"), "completed", output={})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(live, range(8)))
    assert counted(ledger) == really_there(ledger)


def test_what_others_write_is_counted_too(ledger):
    submit(ledger, "a", VERSIONS[0])
    with ledger._write() as connection:
        connection.exec_driver_sql("UPDATE workflow_runs SET status = 'completed'")
    assert counted(ledger) == {}
    with ledger._write() as connection:
        connection.exec_driver_sql("UPDATE workflow_runs SET status = 'pending'")
    assert counted(ledger) == {VERSIONS[0]: {"warn": 1}}
    with ledger._write() as connection:
        connection.exec_driver_sql("DELETE FROM workflow_runs")
    assert counted(ledger) == {}


# A table of the numbers from 1 on, and a number as the hash of a version.
SERIES = {
    "sqlite": "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {0}) SELECT i FROM n) AS n",
    "postgresql": "(SELECT i FROM generate_series(1, {0}) AS i) AS n",
}
HASH = {"sqlite": "printf('%064x', {0})", "postgresql": "lpad(to_hex({0}), 64, '0')"}
MOMENT = {"sqlite": "'2026-01-01 00:00:00.000000'", "postgresql": "timestamp '2026-01-01'"}


def fill(ledger):
    kind = ledger._engine.dialect.name
    moment, hash_of = MOMENT[kind], HASH[kind].format
    with ledger._write() as connection:
        cursor = connection.connection.cursor()
        cursor.execute(
            f"INSERT INTO code_versions SELECT {hash_of('i')}, {hash_of('i')}, 'demo', NULL, 1, '{{}}', {moment} "
            f"FROM {SERIES[kind].format(MANY_VERSIONS)} WHERE i > {len(VERSIONS)}"
        )
        cursor.execute(
            "INSERT INTO workflow_runs (run_id, workflow_name, workflow_version, definition, definition_hash, "
            "code_version_hash, policy, status, input, epoch, generation, created_at, updated_at) "
            f"SELECT 'run-' || i, 'demo', '1', '{{}}', '{DEFINITION.hash}', {hash_of(f'1 + i % {MANY_VERSIONS}')}, "
            "'warn', CASE WHEN i % 10 = 0 THEN 'waiting' ELSE 'pending' END, '{}', 0, 1, "
            f"{moment}, {moment} FROM {SERIES[kind].format(RUNS)}"
        )


def plan(ledger, query):
    dialect = ledger._engine.dialect.name
    text = str(
        query.compile(
            dialect=postgresql.dialect() if dialect == "postgresql" else sqlite.dialect(),
            compile_kwargs={"literal_binds": True},
        )
    )
    with ledger._read() as connection:
        rows = connection.exec_driver_sql(("EXPLAIN " if dialect == "postgresql" else "EXPLAIN QUERY PLAN ") + text)
        return "\n".join(str(row[-1]) for row in rows)


@pytest.mark.slow
def test_a_million_unfinished_runs_of_500_versions_are_counted_in_half_a_second_without_a_scan(ledger):
    fill(ledger)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        census = ledger.census()
        seconds.append(time.perf_counter() - began)
    assert len(census) == MANY_VERSIONS
    assert {one.runs for one in census} == {RUNS // MANY_VERSIONS}
    assert all(one.oldest is not None for one in census)
    plans = plan(ledger, counts_query()), plan(ledger, oldest_query())
    print(ledger.location, "seconds", seconds, *plans, sep="\n")
    assert "workflow_runs" not in plans[0]
    assert "ix_workflow_runs_status_version_created" in plans[1]
    assert "SCAN workflow_runs" not in plans[1]
    assert "Seq Scan on workflow_runs" not in plans[1]
    assert max(seconds) <= LIMIT_SECONDS
