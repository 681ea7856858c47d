"""`hwe replay RUN...` and `--all`: several runs, each in turn, with one set of processes."""

import json

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
