"""Workers and foreground runs: stopping, dying, sharing, cancelling, resuming."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HWE = Path(sys.executable).parent / "hwe"


def gated(site, run_id="run-1"):
    site.deploy("invoices/v1")
    gate = site.root / "open"
    site.submit(run_id, number=1, gate=str(gate))
    return gate


def step_processes(site):
    """Pids of the zygotes and step processes of this installation."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b'"control_fd"' in command and str(site.home).encode() in command:  # its argument is its configuration
            found.append(int(pid))
    return found


def at_work(site):
    """Step processes that are at work: asleep in the gate, not waiting for a request."""
    return [pid for pid in step_processes(site) if "nanosleep" in Path(f"/proc/{pid}/wchan").read_text()]


def test_cancelling_ends_the_step_that_runs(site):
    gated(site)
    with site.worker():
        site.wait_for_running("run-1", "gate")
        assert site.json("cancel", "run-1")["status"] == "cancelled"
        assert site.step("run-1", "gate")["status"] == "cancelled"
        # Two are left: the zygote, and the process that waits for the next step.
        site.wait_until(lambda: len(step_processes(site)) <= 2)
        assert site.show("run-1")["status"] == "cancelled"


def test_a_cancelled_run_can_go_on(site):
    gate = gated(site)
    with site.worker():
        site.wait_for_running("run-1", "gate")
        site.told("cancel", "run-1")
        gate.touch()
        site.told("resume", "run-1")
        run = site.wait_for_status("run-1", "completed", "failed", "cancelled")
    assert run["status"] == "completed"
    assert [(step["attempt"], step["status"]) for step in run["steps"] if step["step_key"] == "gate"] == [
        (1, "cancelled"),
        (2, "completed"),
    ]


def test_a_failed_run_is_tried_again_as_its_policy_says_and_can_be_resumed(site):
    site.deploy("invoices/v1")
    rate = site.project / "acme/billing/data/rate.txt"
    rate.write_text("twenty")
    gate = site.root / "open"
    gate.touch()
    site.submit("run-1", "warn", number=1, gate=str(gate))
    with site.worker("--drain") as worker:
        assert worker.wait() == 0
    run = site.show("run-1")
    assert (run["status"], run["error"]["type"], run["error"]["step_key"]) == ("failed", "ValueError", "tax")
    assert [step["attempt"] for step in run["steps"] if step["step_key"] == "tax"] == [1, 2]
    rate.write_text("20")  # warn: the local code may be mended under the run
    site.told("resume", "run-1")
    with site.worker("--drain") as worker:
        assert worker.wait() == 0
    run = site.show("run-1")
    assert (run["status"], run["error"], run["output"]["total"]["cents"]) == ("completed", None, 300)
    assert [step["attempt"] for step in run["steps"] if step["step_key"] == "issue"] == [1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_to_stop_leaves_nothing_and_loses_nothing(site, number):
    gate = gated(site)
    with site.worker("--grace", "0.5") as worker:
        site.wait_for_running("run-1", "gate")
        worker.send_signal(number)
        assert worker.wait() == 0
    assert step_processes(site) == []
    assert list((site.home / "workers").iterdir()) == []
    gate.touch()
    with site.worker("--drain") as worker:
        assert worker.wait() == 0
    run = site.show("run-1")
    assert run["status"] == "completed"
    assert [step["attempt"] for step in run["steps"]] == [1] * 6


def test_a_worker_that_is_told_to_stop_finishes_the_step_it_is_in(site):
    gate = gated(site)
    with site.worker() as worker:
        site.wait_for_running("run-1", "gate")
        worker.terminate()
        site.wait_until(lambda: "stopping after the steps in progress" in site.log())
        gate.touch()
        assert worker.wait() == 0
    assert [step["status"] for step in site.show("run-1")["steps"]] == ["completed"] * 3


def test_everything_under_a_killed_worker_is_dead_within_a_second(site):
    gated(site)
    with site.worker() as worker:
        site.wait_for_running("run-1", "gate")
        assert len(step_processes(site)) >= 2
        worker.kill()
        worker.wait()
        deadline = time.monotonic() + 1.0
        while step_processes(site) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert step_processes(site) == []


def test_a_living_worker_takes_over_from_a_killed_one(site):
    gate = gated(site)
    with site.worker() as first:
        site.wait_for_running("run-1", "gate")
        with site.worker() as second:
            site.wait_until(lambda: site.log().count("is ready") == 2)
            first.kill()
            first.wait()
            gate.touch()
            run = site.wait_for_status("run-1", "completed", "failed")
            assert second.poll() is None
    assert run["status"] == "completed"


def test_two_workers_share_the_runs_and_do_each_step_once(site):
    site.deploy("invoices/v1")
    gate = site.root / "open"
    gate.touch()
    runs = [f"run-{n}" for n in range(8)]
    for run_id in runs:
        site.submit(run_id, number=1, gate=str(gate))
    with site.worker("--drain") as one, site.worker("--drain") as two:
        assert (one.wait(), two.wait()) == (0, 0)
    for run_id in runs:
        run = site.show(run_id)
        assert run["status"] == "completed"
        assert [(step["step_key"], step["attempt"]) for step in run["steps"]] == [
            (key, 1) for key in ("issue", "hold", "gate", "tax", "total", "release")
        ]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_worker_adopts_a_foreground_run_that_was_ended(site, number):
    site.deploy("invoices/v1")
    gate = site.root / "open"
    run_input = json.dumps({"number": 1, "gate": str(gate)})
    with site.start("run", "workflow.yaml", "--run-id", "run-1", "--input", run_input) as foreground:
        site.wait_until(lambda: site.hwe("show", "run-1").returncode == 0)
        site.wait_for_running("run-1", "gate")
        with site.worker("--drain") as worker:
            site.wait_until(lambda: "is ready" in site.log())
            foreground.send_signal(number)
            if number == signal.SIGKILL:
                foreground.wait()
            gate.touch()
            assert worker.wait() == 0
    assert site.show("run-1")["status"] == "completed"


def test_a_foreground_run_of_an_id_that_is_driven_elsewhere_is_refused(site):
    gated(site)
    with site.worker():
        site.wait_for_running("run-1", "gate")
        run_input = json.dumps({"number": 1, "gate": str(site.root / "open")})
        refused = site.hwe("run", "workflow.yaml", "--run-id", "run-1", "--policy", "artifact", "--input", run_input)
        assert refused.returncode == 2
        assert "is driven by" in refused.stderr
        assert site.step("run-1", "gate")["status"] == "running"


def test_a_worker_whose_log_nobody_reads_goes_on(site):
    site.deploy("invoices/v1")
    gate = site.root / "open"
    gate.touch()
    site.submit("run-1", number=1, gate=str(gate))
    read_end, write_end = os.pipe()
    os.close(read_end)
    with subprocess.Popen(
        [HWE, "worker", "--drain"], cwd=site.project, env=site.environment, stdout=write_end, stderr=write_end
    ) as worker:
        os.close(write_end)
        assert worker.wait(60) == 0
    assert site.show("run-1")["status"] == "completed"


def test_a_step_that_was_cancelled_and_resumed_at_once_does_not_run_beside_itself(site):
    gate = gated(site)
    with site.worker():
        site.wait_for_running("run-1", "gate")
        with site.ledger() as ledger:
            ledger.cancel("run-1")
            ledger.resume("run-1")
            site.wait_until(lambda: (2, "running") in [(s.attempt, s.status) for s in ledger.steps("run-1")])
        site.wait_until(lambda: len(at_work(site)) <= 1)
        gate.touch()
        assert site.wait_for_status("run-1", "completed")["output"]["total"]["cents"] == 300


def test_a_foreground_run_prints_its_result_and_answers_with_its_exit_code(site):
    site.deploy("invoices/v1")
    gate = site.root / "open"
    gate.touch()
    good = site.hwe("run", "workflow.yaml", "--json", "--input", json.dumps({"number": 1, "gate": str(gate)}))
    assert good.returncode == 0
    run = json.loads(good.stdout)
    assert (run["status"], run["output"]["total"]["cents"]) == ("completed", 300)
    assert "step tax completed" in good.stderr
    bad = site.hwe("run", "workflow.yaml", "--json", "--input", json.dumps({"number": 1, "gate": {}}))
    assert bad.returncode == 1
    assert json.loads(bad.stdout)["error"]["step_key"] == "gate"


def test_runs_lists_heads_newest_first(site):
    gated(site, "run-1")
    site.submit("run-2", number=1, gate="x")
    heads = site.json("runs")
    assert [head["run_id"] for head in heads] == ["run-2", "run-1"]
    assert all("steps" not in head for head in heads)
    assert site.json("runs", "--status", "completed") == []
    assert "run-2" in site.told("runs")


SIX = "six==1.17.0 --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274\n"
NEEDS_SIX = """
name: needs
version: "1"
tasks:
  tell:
    operator_type: task
    function: tools.python.run
    args: [steps.tell]
    result_key: told
"""


@pytest.mark.network
def test_a_package_index_that_is_away_fails_no_run(site):
    (site.project / "workflow.yaml").write_text(NEEDS_SIX)
    (site.project / "requirements.txt").write_text(SIX)
    (site.project / "steps.py").write_text("import six\n\ndef tell():\n    return six.__version__\n")
    site.submit("run-1")
    away = {"UV_DEFAULT_INDEX": "http://127.0.0.1:1/simple", "UV_HTTP_RETRIES": "0", "UV_NO_CACHE": "1"}
    kept = dict(site.environment)
    site.environment |= away
    with site.worker():
        site.wait_until(lambda: "trying again in" in site.log())
        assert site.show("run-1")["status"] == "running"
    site.environment = kept
    site.told("worker", "--drain")
    assert site.show("run-1")["output"] == {"told": "1.17.0"}
