"""`hwe replay RUN...` and `--all`: several runs, so many at the same time, with one set of processes."""

import contextlib
import json
import os
import shutil
import signal
import stat
from pathlib import Path

import pytest

STEPS = "import random\n\ndef draw(number):\n    print(number)\n    return number + random.random()\n"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, site_at):
    """Three runs, the first of them in a bundle too."""
    site = site_at(tmp_path_factory.mktemp("recorded"))
    (site.project / "steps.py").write_text(STEPS)
    task = {"operator_type": "task", "function": "tools.python.run", "args": ["steps.draw", "{{inputs}}"]}
    (site.project / "workflow.yaml").write_text(json.dumps({"name": "draw", "tasks": {"draw": task}}))
    for number in (1, 2, 3):
        run_id, run_input = f"run-{number}", str(number)
        site.told("submit", "workflow.yaml", "--run-id", run_id, "--policy", "artifact", "--input", run_input)
    site.told("worker", "--drain")
    site.told("export", "run-1", site.root / "run-1.hwe")
    return site


def replay(site, *arguments):
    done = site.hwe("replay", "--json", *arguments)
    return done.returncode, json.loads(done.stdout)


def test_several_runs_and_bundles_are_replayed_and_counted(recorded):
    code, document = replay(recorded, "run-2", recorded.root / "run-1.hwe", "run-3")
    assert (code, document["verdict"], document["verdicts"]) == (0, "same", {"same": 3})
    assert [run["run_id"] for run in document["runs"]] == ["run-2", "run-1", "run-3"]
    assert recorded.told("replay", "--all").splitlines()[-1] == "3 runs: same (3 same)"
    assert len(replay(recorded, "--all")[1]["runs"]) == 3


def test_one_run_is_told_as_itself(recorded):
    code, document = replay(recorded, "run-2")
    assert (code, document["run_id"], document["verdict"]) == (0, "run-2", "same")


def test_one_that_cannot_be_read_keeps_none_from_being_replayed(recorded):
    code, document = replay(recorded, "run-1", "nosuch", "run-3")
    assert (code, document["verdicts"]) == (3, {"same": 2, "could not": 1})
    assert "no run 'nosuch'" in document["runs"][1]["detail"]


def test_one_that_differs_makes_the_answer_no(recorded, tmp_path):
    (tmp_path / "steps.py").write_text(STEPS.replace("print(number)", "print(min(number, 2))"))
    done = recorded.hwe("replay", "--all", "--against", tmp_path)
    assert done.returncode == 1
    assert "stdout differs in line 1: '3' then, '2' now" in done.stdout
    assert done.stdout.splitlines()[-1] == "3 runs: different (1 different, 2 same)"


@pytest.mark.parametrize(
    "arguments", [[], ["--all", "run-1"], ["--all", "--pdb", "draw"], ["run-1", "run-2", "--shell", "draw"]]
)
def test_what_is_unclear_is_refused(recorded, arguments):
    done = recorded.hwe("replay", *arguments)
    assert (done.returncode, done.stdout) == (2, "")


def test_a_ledger_without_runs_is_no_proof(site):
    assert site.hwe("replay", "--all").returncode == 3


@pytest.mark.parametrize("jobs", ["1", "3", "8"])
def test_however_many_at_the_same_time_they_are_told_in_their_order(recorded, tmp_path, jobs):
    names = ["run-3", "nosuch", "run-1", recorded.root / "run-1.hwe", "run-2"] * 5
    code, document = replay(recorded, *names, "-j", jobs)
    assert (code, document["verdicts"]) == (3, {"same": 20, "could not": 5})
    told = ["run-3", "nosuch", "run-1", "run-1", "run-2"] * 5
    assert [run["run_id"] for run in document["runs"]] == told
    (tmp_path / "steps.py").write_text(STEPS.replace("print(number)", "print(-number)"))
    lines = recorded.hwe("replay", "run-2", "run-3", "run-1", "--against", tmp_path, "-j", jobs).stdout.splitlines()
    shown = [line.split("'")[1] for line in lines if "stdout differs" in line]
    assert shown == ["2", "3", "1"]
    assert [line.split()[1] for line in lines if line.startswith("run ")] == ["run-2", "run-3", "run-1"]


def test_bundles_replayed_at_the_same_time_bring_each_its_own_code(tmp_path, site_at):
    (tmp_path / "there").mkdir()
    there = site_at(tmp_path / "there")
    for number in range(4):
        (there.project / "steps.py").write_text(f"def number():\n    return {number}\n")
        task = {"operator_type": "task", "function": "tools.python.run", "args": ["steps.number"]}
        (there.project / "workflow.yaml").write_text(json.dumps({"name": "number", "tasks": {"number": task}}))
        there.told("run", "workflow.yaml", "--run-id", f"run-{number}", "--policy", "artifact")
        there.told("export", f"run-{number}", tmp_path / f"{number}.hwe")
    shutil.rmtree(there.home)
    (tmp_path / "here").mkdir()
    here = site_at(tmp_path / "here")
    code, document = replay(here, *(tmp_path / f"{number}.hwe" for number in range(4)), "-j", "4")
    assert (code, document["verdicts"]) == (0, {"same": 4})
    assert [run["steps"][0]["replayed_value"] for run in document["runs"]] == [0, 1, 2, 3]
    assert len({run["code_version_hash"] for run in document["runs"]}) == 4


WAITS = """import time

def waits(gate):
    with open(gate) as file:
        while file.seek(0) == 0 and file.read():
            time.sleep(0.02)
"""


def test_whoever_interrupts_waits_for_no_run(site, tmp_path):
    gate = tmp_path / "gate"
    gate.touch()
    (site.project / "steps.py").write_text(WAITS)
    (site.project / "pyproject.toml").write_text(f'[tool.hwe.sandbox]\nreadable = ["{gate}"]\n')
    task = {"operator_type": "task", "function": "tools.python.run", "args": ["steps.waits", str(gate)]}
    (site.project / "workflow.yaml").write_text(json.dumps({"name": "waits", "tasks": {"waits": task}}))
    for number in range(3):
        site.told("run", "workflow.yaml", "--run-id", f"run-{number}", "--policy", "artifact")
    gate.write_text("closed")
    with site.start("replay", "--all", "-j", "2") as process:
        site.wait_until(lambda: len(holding(gate)) == 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) != 0
    assert not holding(gate)
    assert "Traceback" not in site.log()


def holding(path):
    """The processes that have that file open to read it."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):  # it has ended
            if os.readlink(link) == str(path) and link.lstat().st_mode & stat.S_IRUSR:
                found.add(link.parts[2])
    return found
