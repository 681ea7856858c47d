"""Promise 2: a run that survived a deploy, a kill -9 and a restart finishes on the code it started with."""

import pytest

RIGHT_CENTS, WRONG_CENTS = 300, 37_500


def upgrade_in_the_middle(site, policy, python=None):
    """A run is inside a step when release 2 is deployed and the worker is killed. Returns the two hashes."""
    site.deploy("invoices/v1", python)
    old = site.told("capture")
    site.submit("old", policy, number=7, gate=str(site.root / "open"))
    with site.worker() as worker:
        site.wait_for_running("old", "gate")
        site.deploy("invoices/v2", python)
        worker.kill()
        worker.wait()
    (site.root / "open").touch()
    return old, site.told("capture")


@pytest.mark.parametrize("python", ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
def test_a_run_finishes_on_the_code_it_started_with(site, need_python, python):
    need_python(python)
    old, new = upgrade_in_the_middle(site, "artifact", python)
    site.submit("new", number=8, gate=str(site.root / "open"))
    with site.worker("--drain") as worker:
        assert worker.wait() == 0
    first, second = site.show("old"), site.show("new")
    assert (first["status"], second["status"]) == ("completed", "completed")
    for run, version, release in ((first, old, "v1"), (second, new, "v2")):
        assert run["code_version_hash"] == version
        assert {step["code_version_hash"] for step in run["steps"] if step["function"]} == {version}
        assert run["output"]["release"]["release"] == release
        assert version in run["output"]["release"]["file"]
        assert run["output"]["total"]["python"] == python
    assert first["output"]["total"] == {"cents": RIGHT_CENTS, "python": python, "kind": "acme.billing.models"}
    assert first["output"]["invoice"] is None  # an instance of the project's class: no JSON view
    assert [step["step_key"] for step in first["steps"]] == ["issue", "hold", "gate", "tax", "total", "release"]


@pytest.mark.parametrize(("policy", "warnings"), [("disabled", 0), ("warn", 1)])
def test_a_lenient_policy_runs_the_new_code_and_the_ledger_tells(site, policy, warnings):
    old, new = upgrade_in_the_middle(site, policy)
    with site.worker("--drain") as worker:
        assert worker.wait() == 0
    run = site.show("old")
    ran = {step["step_key"]: step["code_version_hash"] for step in run["steps"]}
    assert ran == {"issue": old, "hold": None, "gate": new, "tax": new, "total": new, "release": new}
    assert run["output"]["total"]["cents"] == WRONG_CENTS
    told = [line for line in site.log().splitlines() if " WARNING " in line and old in line and new in line]
    assert len(told) == warnings
    if told:
        assert "run old" in told[0]
        assert "step gate" in told[0]


def test_a_strict_policy_stops_the_run_until_its_code_is_back(site):
    old, new = upgrade_in_the_middle(site, "strict")
    with site.worker("--drain") as worker:
        assert worker.wait() == 0
    run = site.show("old")
    assert (run["status"], run["error"]["type"]) == ("failed", "CodeVersionMismatch")
    assert old in run["error"]["message"]
    assert new in run["error"]["message"]
    site.deploy("invoices/v1")
    site.told("resume", "old")
    with site.worker("--drain") as worker:
        assert worker.wait() == 0
    run = site.show("old")
    assert (run["status"], run["output"]["total"]["cents"]) == ("completed", RIGHT_CENTS)


def test_a_run_whose_artifact_is_gone_fails_and_resumes_when_it_is_back(site):
    upgrade_in_the_middle(site, "artifact")
    artifacts, aside = site.home / "artifacts", site.root / "aside"
    artifacts.rename(aside)
    with site.worker("--drain") as worker:
        assert worker.wait() == 0
    error = site.show("old")["error"]
    assert error["type"] == "ArtifactMissing"
    assert str(artifacts) in error["message"]
    for path in aside.rglob("*"):
        if path.is_file():
            (artifacts / path.relative_to(aside)).parent.mkdir(parents=True, exist_ok=True)
            path.replace(artifacts / path.relative_to(aside))
    site.told("resume", "old")
    with site.worker("--drain") as worker:
        assert worker.wait() == 0
    assert site.show("old")["output"]["total"]["cents"] == RIGHT_CENTS


def test_a_run_survives_the_loss_of_the_engines_own_file(site):
    # The ledger is the one truth: the engine's queue and timers can be made again from it.
    upgrade_in_the_middle(site, "artifact")
    for path in site.home.glob("hwe-engine.sqlite*"):
        path.unlink()
    with site.worker("--drain") as worker:
        assert worker.wait() == 0
    assert site.show("old")["output"]["total"]["cents"] == RIGHT_CENTS
