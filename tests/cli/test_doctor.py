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


def submitted(site, run_id, lock=None):
    """An unfinished run on a version with that lock; its hash."""
    site.deploy("invoices/v1")
    (site.project / "which.txt").write_text(run_id)
    if lock:
        (site.project / "requirements.txt").write_text(lock)
    site.submit(run_id, customer="acme")
    return site.show(run_id)["code_version_hash"]


def active(site, **environment):
    """What `doctor --active` finds, by hash, and its exit code."""
    done = site.hwe("doctor", "--active", "--json", HWE_SANDBOX="none", **environment)
    return {one["code_version_hash"]: one for one in json.loads(done.stdout)["active"]["versions"]}, done.returncode


def test_active_proves_that_every_unfinished_run_has_its_code_here(site):
    first, second = submitted(site, "run-1"), submitted(site, "run-2")
    found, code = active(site)
    assert code == 0
    assert {name: (one["state"], one["built_now"]) for name, one in found.items()} == {
        first: ("here", True),
        second: ("here", True),
    }
    found, _ = active(site)
    assert [one["built_now"] for one in found.values()] == [False, False]


def test_active_says_what_is_missing(site):
    gone = submitted(site, "run-1")
    (site.home / "artifacts/versions" / gone[:2] / gone).unlink()
    found, code = active(site)
    assert (code, found[gone]["state"]) == (1, "missing")
    assert "is not in" in found[gone]["needs"]
    text = site.hwe("doctor", "--active", HWE_SANDBOX="none").stdout
    assert f"✘ {gone[:12]} (1 run): code version" in text


def test_active_uses_no_network_and_what_fails_without_one_is_not_remembered(site, tmp_path):
    lock = "six==1.17.0 --hash=sha256:" + "0" * 64 + "\n"
    wanted = submitted(site, "run-1", lock)
    found, code = active(site, UV_CACHE_DIR=str(tmp_path / "uv"), UV_NO_CONFIG="1")
    assert (code, found[wanted]["state"]) == (1, "missing")
    assert "six" in found[wanted]["needs"]
    assert found[wanted]["log_path"].endswith("-offline.log")
    assert not (site.home / "cache/failures").exists()
