"""tools.python.run inside a worker of another engine: what it returns, refuses and records."""

import logging
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runner import StepFailed, UsageError
from runner.engines.highway import PythonTool, Step
from runner.ledger import Fenced, Ledger
from runner.policy import ArtifactMissing, CodeVersionMismatch
from runner.settings import Settings

STEPS = {
    "v1": "def price(n, rate=2):\n    return n * rate\n",
    "v2": "def price(n, rate=2):\n    return n * rate * 100\n",
}
MORE = """
import os

def count(ctx, path):
    with open(path, "a") as file:
        file.write("x")
    ctx.set_variable("seen", ctx.workflow_run_id)
    return ctx.get_variable("seen")

def fails():
    raise LookupError("no such order")

def thing():
    return object()
"""


def write_release(root, release):
    package = root / "orders"
    package.mkdir(parents=True, exist_ok=True)
    marks = root.parent / "marks"  # the one place besides its scratch directory that a step may write to
    marks.mkdir(exist_ok=True)
    (root / "pyproject.toml").write_text(
        f'[tool.hwe]\npython = "{sys.version_info[0]}.{sys.version_info[1]}"\n[tool.hwe.sandbox]\n'
        f'writable = ["{marks}"]\n'
    )
    (package / "__init__.py").touch()
    (package / "steps.py").write_text(STEPS[release] + MORE)
    return root


@pytest.fixture
def settings(tmp_path, database_url):
    return Settings(home=tmp_path / "home", database_url=database_url)


@pytest.fixture
def worker(tmp_path, settings):
    """Workers of a release, one after the other or at once."""
    open_ones = []

    def start(release):
        tool = PythonTool.open(write_release(tmp_path / release, release), settings=settings)
        open_ones.append(tool)
        return tool

    yield start
    for tool in open_ones:
        tool.close()


def step(key="price", run_id="run-1", **more):
    return Step(run_id, "orders", key, **more)


@pytest.mark.parametrize(
    ("policy", "expected"), [("artifact", 14), ("warn", 1400), ("disabled", 1400), ("strict", CodeVersionMismatch)]
)
def test_a_run_of_another_engine_meets_new_code_as_its_policy_says(worker, policy, expected, caplog, settings):
    old, new = worker("v1"), worker("v2")
    assert old.run(["orders.steps.price", 7], step=step(policy=policy)) == 14
    with caplog.at_level(logging.WARNING, "hwe.highway"):
        for key in ("again", "and again"):
            if isinstance(expected, int):
                assert new.run(["orders.steps.price", 7], step=step(key, policy="artifact")) == expected
            else:
                with pytest.raises(expected, match="hwe resume run-1"):
                    new.run(["orders.steps.price", 7], step=step(key))
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (1 if policy == "warn" else 0)
    assert all("orders/steps.py changed" in line and "run run-1" in line for line in told)
    with Ledger.open(settings.database) as ledger:
        run = ledger.run("run-1")
        assert (run.status, run.policy, run.policy_source, run.workflow_name) == (
            "running",
            policy,
            "the call",
            "orders",
        )
        ran = [one.code_version_hash for one in ledger.steps("run-1")]
        other = run.code_version_hash if policy in {"artifact", "strict"} else new._local.hash
        assert ran == [run.code_version_hash, other, other]


def test_an_explicit_artifact_id_is_honoured_and_not_passed_on(worker):
    old, new = worker("v1"), worker("v2")
    for pin in (old._local.hash, old._local.artifact_id):
        kwargs = {"rate": 3, "artifact_id": pin}
        assert new.run(["orders.steps.price", 7], kwargs, step=step(pin[:8], policy="strict")) == 21
    with pytest.raises(ArtifactMissing):
        new.run(["orders.steps.price", 7], {"artifact_id": "0" * 64}, step=step("missing"))
    with pytest.raises(UsageError, match="64 hexadecimal"):
        new.run(["orders.steps.price", 7], {"artifact_id": "../x"}, step=step("bad"))


def test_an_attempt_that_is_recorded_is_not_run_again(worker, tmp_path):
    tool, seen = worker("v1"), tmp_path / "marks" / "seen"
    for _ in range(3):
        assert tool.run(["orders.steps.count", str(seen)], step=step("count", attempt=1)) == "run-1"
    assert seen.read_text() == "x"
    for number in (1, 2):
        with pytest.raises(StepFailed, match="no such order"):
            tool.run(["orders.steps.fails"], step=step("fails"))
        assert [one.attempt for one in tool._ledger.steps("run-1") if one.step_key == "fails"][-1] == number


def test_branches_of_one_run_may_run_at_once_from_the_first_step_on(worker):
    tool = worker("v1")
    with ThreadPoolExecutor(6) as pool:
        done = [pool.submit(tool.run, ["orders.steps.price", n], step=step(f"branch-{n}")) for n in range(6)]
        assert [one.result() for one in done] == [0, 2, 4, 6, 8, 10]


def test_a_run_that_was_cancelled_takes_no_more_steps(worker):
    tool = worker("v1")
    tool.run(["orders.steps.price", 1], step=step())
    tool._ledger.cancel("run-1")
    with pytest.raises(Fenced):
        tool.run(["orders.steps.price", 1], step=step("more"))


def test_workers_of_ours_leave_runs_of_other_engines_alone_and_the_census_counts_them(worker):
    tool = worker("v1")
    tool.run(["orders.steps.price", 1], step=step())
    ledger = tool._ledger
    assert not ledger.has_unfinished_runs()
    assert ledger.drivers() == []
    assert ledger.unfinished_runs() == []
    assert [one.runs for one in ledger.census()] == [1]
    tool.finish("run-1", "completed", output={"price": 2})
    assert ledger.run("run-1").output == {"price": 2}
    assert ledger.census() == []


def test_bad_arguments_are_told(worker):
    tool = worker("v1")
    for args in ([], [7], [None, 1]):
        with pytest.raises(UsageError, match="args\\[0\\]"):
            tool.run(args, step=step())
    with pytest.raises(UsageError, match="not known here"):
        tool.run(["orders.steps.price", 1], step=step(run_id="other", code_version_hash="0" * 64))


def test_the_worker_in_the_documentation_runs(tmp_path):
    page = (Path(__file__).parents[3] / "docs/highway.md").read_text()
    program = page.split("<!-- the worker -->")[1].split("\n\n", 1)[1]
    lines = [line[4:] for line in program.split("\n") if line.startswith("    ") or not line]
    project = write_release(tmp_path / "project", "v1")
    script = tmp_path / "worker.py"
    script.write_text("\n".join(lines).replace("/srv/orders", str(project)))
    assert len([line for line in lines if line.strip()]) <= 20
    environment = {"HWE_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "run-1 price 14\n"), done.stderr
    shutil.rmtree(tmp_path / "home")
