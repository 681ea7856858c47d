"""`hwe doctor` tells what is enforced here, because it has tried."""

import json

from runner.sandbox import guarantees


def test_it_tells_what_was_found_out(site):
    site.project.joinpath("x.py").touch()
    done = site.hwe("doctor", "--json")
    sandbox = json.loads(done.stdout)["sandbox"]
    assert sandbox["level"] == "process"
    states = {found["name"]: found["state"] for found in sandbox["guarantees"]}
    assert states == {guarantee.name: guarantee.state for guarantee in guarantees("process")}
    assert done.returncode == (1 if "absent" in states.values() else 0)


def test_without_a_sandbox_it_says_so_and_that_is_no_fault(site):
    done = site.hwe("doctor", HWE_SANDBOX="none")
    assert done.returncode == 0, done.stderr
    assert "writes only to scratch absent" in done.stdout


def test_another_level_can_be_asked_for(site):
    assert "fresh process per step enforced" in site.told("doctor", "--sandbox", "none")
    assert site.json("doctor", "--sandbox", "none")["sandbox"]["level"] == "none"


def test_without_bubblewrap_the_level_locked_down_is_refused_and_says_what_it_needs(site, tmp_path):
    for command in (["doctor"], ["run", "workflow.yaml"]):
        done = site.hwe(*command, HWE_SANDBOX="locked-down", PATH=str(tmp_path))
        assert done.returncode == 3
        assert "needs bubblewrap" in done.stderr
        assert "Traceback" not in done.stderr
