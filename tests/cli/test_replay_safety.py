"""A replay changes nothing, whatever the project grants its steps, and takes every run as far as that came."""

import json
import shutil
import sqlite3

import pytest

STEPS = """
import os
from pathlib import Path

def writes(path):
    with open(path, "a") as file:
        file.write("x")
    return "written"

def variable():
    return os.environ.get("GRANTED")

def given(value):
    return value

def sleeps(path):
    Path(path, "begun").touch()
    while True:
        pass

def fails_once(path, ctx=None):
    if os.path.exists(path):
        return "better"
    raise RuntimeError("not there")

def flaky(ctx):
    if ctx.attempt == 1:
        raise ConnectionError("again")
    return ctx.attempt
"""


@pytest.fixture
def project(site):
    """A project whose settings grant a directory to write to, and a variable."""
    granted = site.root / "granted"
    granted.mkdir()
    (site.project / "steps.py").write_text(STEPS)
    (site.project / "pyproject.toml").write_text(
        f'[tool.hwe.sandbox]\nwritable = ["{granted}"]\nenvironment = ["GRANTED"]\n'
    )
    site.environment["GRANTED"] = "secret"
    return site


def workflow(site, **tasks):
    """Tasks in this order, each after the one before: name=[function, arguments…], or a dict."""
    told, before = {}, []
    for name, task in tasks.items():
        plain = {"operator_type": "task", "function": "tools.python.run", "args": task}
        told[name] = {**(plain if isinstance(task, list) else task), "dependencies": list(before)}
        before = [name]
    (site.project / "workflow.yaml").write_text(json.dumps({"name": "safety", "tasks": told}))


def run(site, run_id="run-1", **more):
    return site.hwe("run", "workflow.yaml", "--run-id", run_id, "--policy", "artifact", **more)


def replay(site, *arguments, run_id="run-1", **environment):
    done = site.hwe("replay", run_id, "--json", *arguments, **environment)
    assert done.stdout, done.stderr
    document = json.loads(done.stdout)
    return done.returncode, document, {(step["step_key"], step["attempt"]): step for step in document["steps"]}


def everything_in(path):
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        return list(database.iterdump())


@pytest.mark.parametrize("level", ["none", "process", "locked-down"])
def test_what_the_project_grants_is_not_granted_to_a_replay(project, level):
    if level == "locked-down" and shutil.which("bwrap") is None:
        pytest.skip("LOCKED-DOWN NOT TESTED: there is no bwrap")
    project.environment["HWE_SANDBOX"] = level
    mark = project.root / "granted" / "mark"
    workflow(project, writes=["steps.writes", str(mark)], variable=["steps.variable"])
    assert run(project).returncode == 0
    ledger = everything_in(project.home / "hwe.sqlite")
    code, document, steps = replay(project)
    assert (code, document["verdict"]) == (1, "different")
    error = steps["writes", 1]["replayed_error"]
    assert error["type"] in {"PermissionError", "OSError"}
    assert steps["variable", 1]["differences"][0]["replayed"] == "None"
    assert mark.read_text() == "x"
    told = project.hwe("replay", "run-1", "--step", "writes").stdout
    assert "--allow-writes" in told or error["type"] == "OSError"
    code, _, steps = replay(project, "--env", "GRANTED", "--allow-writes")
    assert (code, mark.read_text()) == (0, "xx")
    assert everything_in(project.home / "hwe.sqlite") == ledger


def test_a_level_without_a_sandbox_reads_all_and_writes_nowhere_in_a_replay(project):
    project.environment["HWE_SANDBOX"] = "none"
    outside = project.root / "outside"
    outside.write_text("")
    workflow(project, writes=["steps.writes", str(outside)], reads=["steps.fails_once", str(outside)])
    assert run(project).returncode == 0
    _, _, steps = replay(project)
    assert steps["writes", 1]["replayed_error"]["type"] == "PermissionError"
    assert steps["reads", 1]["verdict"] == "same"
    assert outside.read_text() == "x"


def test_a_step_that_needs_a_variable_says_so(project):
    workflow(project, given=["steps.given", "{{ENV.GRANTED}}"], path=["steps.given", "{{ENV.TZ}}"])
    assert run(project).returncode == 0
    code, document, steps = replay(project)
    assert (code, document["verdict"]) == (3, "could not")
    assert "--env GRANTED passes yours on" in steps["given", 1]["detail"]
    assert steps["path", 1]["verdict"] == "same"
    assert replay(project, "--env", "GRANTED")[0] == 0


def test_a_cancelled_run_is_replayed_as_far_as_it_came(project):
    workflow(
        project,
        flaky={
            "operator_type": "task",
            "function": "tools.python.run",
            "args": ["steps.flaky"],
            "retry_policy": {"max_retries": 1, "delay": "PT0.01S"},
        },
        pause={"operator_type": "wait", "wait_for": "PT0.01S"},
        sleeps=["steps.sleeps", str(project.root / "granted")],
        never=["steps.given", 1],
    )
    project.submit("run-1")
    with project.worker():
        project.wait_until((project.root / "granted" / "begun").exists)
        code, document, steps = replay(project)  # while it is in progress
        assert (code, steps["sleeps", 1]["detail"], document["remaining"]) == (0, "it was in progress", ["never"])
        project.told("cancel", "run-1")
        project.wait_for_status("run-1", "cancelled")
    code, document, steps = replay(project)
    assert (code, document["verdict"], document["remaining"]) == (0, "same", ["never"])
    assert {key: step["verdict"] for key, step in steps.items()} == {
        ("flaky", 1): "same",
        ("flaky", 2): "same",
        ("pause", 1): "not replayed",
        ("sleeps", 1): "not replayed",
    }
    assert steps["sleeps", 1]["detail"] == "it was cancelled"
    assert "the run did not come so far: never" in project.told("replay", "run-1")


def test_a_resumed_run_is_replayed_with_what_failed_before(project):
    there = project.root / "granted" / "there"
    workflow(project, first=["steps.given", 1], fails=["steps.fails_once", str(there)])
    assert run(project).returncode == 1
    code, document, _ = replay(project)
    assert (code, document["status"]) == (0, "failed")
    there.touch()
    project.told("resume", "run-1")
    assert project.hwe("worker", "--drain").returncode == 0
    there.unlink()  # the world has changed again: of the code this says nothing, and the replay tells what it saw
    code, document, steps = replay(project)
    assert (code, document["status"]) == (1, "completed")
    assert (steps["fails", 1]["verdict"], steps["fails", 2]["verdict"]) == ("same", "different")
    there.touch()
    assert [step["verdict"] for step in replay(project)[1]["steps"]] == ["same", "different", "same"]


def test_steps_of_several_versions_are_replayed_each_on_its_own(project):
    workflow(
        project,
        first=["steps.given", 1],
        pause={"operator_type": "wait", "wait_for": "PT5S"},
        second=["steps.given", 2],
    )
    project.submit("run-1", policy="warn")
    with project.worker():
        project.wait_for_status("run-1", "waiting")
    (project.project / "steps.py").write_text(STEPS.replace("return value", "return value * 10"))
    assert project.hwe("worker", "--drain").returncode == 0
    shown = project.show("run-1")
    assert len({step["code_version_hash"] for step in shown["steps"]} - {None}) == 2
    code, document, steps = replay(project)
    assert (code, document["verdict"]) == (0, "same")
    assert steps["first", 1]["code_version_hash"] != steps["second", 1]["code_version_hash"]
    assert "on the code of each, 2 versions" in project.told("replay", "run-1")
