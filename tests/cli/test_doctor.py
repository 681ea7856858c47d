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


def test_a_level_that_cannot_be_had_is_refused(site):
    done = site.hwe("doctor", HWE_SANDBOX="locked-down")
    assert done.returncode == 3
    assert "locked-down" in done.stderr
