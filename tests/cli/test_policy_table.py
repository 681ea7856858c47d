"""Every cell of the policy's table, on both databases, with a deploy between two steps; and what tells of it."""

import json
import shutil

import pytest

RIGHT_CENTS, WRONG_CENTS = 300, 37_500
MODES = ("disabled", "warn", "strict", "artifact")


def stop_in_the_middle(site, policy):
    """Run `old` has taken its first steps on release 1; nobody drives it now. Returns the hash of release 1."""
    site.deploy("invoices/v1")
    old = site.told("capture")
    site.submit("old", policy, number=7, gate=str(site.root / "open"))
    with site.worker() as worker:
        site.wait_for_running("old", "gate")
        worker.kill()
        worker.wait()
    (site.root / "open").touch()
    return old


def lose_artifact(site, version):
    pointer = site.home / "artifacts" / "versions" / version[:2] / version
    pointer.unlink()


def drain(site):
    with site.worker("--drain") as worker:
        assert worker.wait() == 0
    return site.show("old")


def warnings(site, *texts):
    return [line for line in site.log().splitlines() if " WARNING " in line and all(text in line for text in texts)]


# (mode, what the worker finds) → what becomes of the run: the release whose code ran, or the error.
TABLE = {
    ("disabled", "match"): "v1",
    ("disabled", "stored"): "v2",
    ("disabled", "missing"): "v2",
    ("warn", "match"): "v1",
    ("warn", "stored"): "v2 and a warning",
    ("warn", "missing"): "v2 and a warning",
    ("strict", "match"): "v1",
    ("strict", "stored"): "CodeVersionMismatch",
    ("strict", "missing"): "CodeVersionMismatch",
    ("artifact", "match"): "v1",
    ("artifact", "stored"): "v1",
    ("artifact", "missing"): "ArtifactMissing",
}


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "found"), list(TABLE), ids="-".join)
def test_every_cell_of_the_policy(site_on_each_database, mode, found):
    site = site_on_each_database
    old = stop_in_the_middle(site, mode)
    new = old
    if found != "match":
        site.deploy("invoices/v2")
        new = site.told("capture")
    if found == "missing":
        shutil.rmtree(site.home / "cache" / "versions", ignore_errors=True)
        lose_artifact(site, old)
    run = drain(site)
    expected = TABLE[mode, found]
    ran = {step["step_key"]: step["code_version_hash"] for step in run["steps"] if step["function"]}
    assert ran["issue"] == old
    if expected[:2] in {"v1", "v2"}:
        assert run["status"] == "completed"
        assert run["output"]["total"]["cents"] == (RIGHT_CENTS if expected == "v1" else WRONG_CENTS)
        assert {ran[key] for key in ("gate", "tax", "total", "release")} == {old if expected == "v1" else new}
    else:
        assert (run["status"], run["error"]["type"]) == ("failed", expected)
        assert old in run["error"]["message"]
        assert "hwe resume old" in run["error"]["message"]
    told = warnings(site, "run old", "step gate", old, new) if new != old else []
    assert len(told) == (1 if "warning" in expected else 0)
    if told:
        assert "acme/billing" in told[0]
        assert " changed" in told[0]
    mixed = [head["run_id"] for head in site.json("runs", "--mixed")]
    assert mixed == (["old"] if expected.startswith("v2") else [])


def test_where_the_mode_of_a_run_came_from_is_kept_and_shown(site):
    site.deploy("invoices/v1")

    def submitted(run_id, *options, **environment):
        done = site.hwe("submit", "workflow.yaml", "--run-id", run_id, *options, **environment)
        assert done.returncode == 0, done.stderr
        run = site.show(run_id)
        return run["policy"], run["policy_source"]

    assert submitted("a") == ("warn", "the default")
    (site.project / "pyproject.toml").write_text('[tool.hwe]\nstrict_code_versioning = "strict"\n')
    assert submitted("b") == ("strict", f"[tool.hwe] in {site.project / 'pyproject.toml'}")
    (site.project / "hwe.toml").write_text('strict_code_versioning = "artifact"\n')
    assert submitted("c") == ("artifact", str(site.project / "hwe.toml"))
    assert submitted("d", HWE_STRICT_CODE_VERSIONING="disabled") == ("disabled", "HWE_STRICT_CODE_VERSIONING")
    assert submitted("e", "--policy", "warn", HWE_STRICT_CODE_VERSIONING="disabled") == ("warn", "--policy")
    assert "(policy warn from --policy)" in site.told("show", "e")
    with site.worker():
        site.wait_until(lambda: " is ready: " in site.log())
    assert f"default policy artifact (from {site.project / 'hwe.toml'})" in site.log()


# --- hwe validate-code-versions, and what a worker says when it starts ---


def validated(site, *options):
    done = site.hwe("validate-code-versions", "--json", *options)
    return done.returncode, json.loads(done.stdout)


def test_validate_code_versions_tells_what_unfinished_runs_need(site_on_each_database):
    site = site_on_each_database
    site.deploy("invoices/v1")
    assert "no run is unfinished" in site.told("validate-code-versions")
    old = site.told("capture")
    for mode in MODES:
        site.submit(mode, mode, number=7)
    code, document = validated(site)
    assert (code, document["ok"], document["outcomes"]) == (0, True, {"own": 4, "local": 0, "fail": 0})
    site.deploy("invoices/v2")
    code, document = validated(site)
    assert code == 1
    (version,) = document["versions"]
    assert version["code_version_hash"] == old
    assert (version["runs"], version["matches"], version["artifact_stored"]) == (4, False, True)
    assert version["oldest_run_at"] == site.show("disabled")["created_at"]
    assert document["outcomes"] == {"own": 1, "local": 2, "fail": 1}
    (workflow,) = version["workflows"]
    assert workflow["change"] == "changed"
    assert "acme/billing/" in workflow["reason"]
    assert validated(site, "--fail-on", "missing")[0] == 0
    assert validated(site, "--fail-on", "mismatch")[0] == 1
    lose_artifact(site, old)
    assert validated(site, "--fail-on", "missing")[0] == 1
    assert validated(site)[1]["outcomes"] == {"own": 0, "local": 2, "fail": 2}
    assert validated(site)[1]["versions"][0]["workflows"][0]["change"] == "unknown"
    table = site.hwe("validate-code-versions").stdout
    assert old[:12] in table
    assert "MISSING" in table
    assert "2 fail" in table
    assert site.hwe("validate-code-versions", "--fail-on", "nonsense").returncode == 2
    assert site.hwe("validate-code-versions", HWE_DATABASE_URL="postgresql://x@127.0.0.1:1/x").returncode == 3


def test_a_worker_says_at_its_start_what_it_found(site):
    old = stop_in_the_middle(site, "artifact")
    site.deploy("invoices/v2")
    lose_artifact(site, old)
    drain(site)
    (found,) = [line for line in site.log().splitlines() if "1 unfinished runs" in line and "1 are of 1 other" in line]
    assert " INFO " in found
    assert "since 20" in found
    assert "0 runs go on on their own code, 0 on this project's instead, 1 fail" in site.log()
    assert warnings(site, "start-up check", old[:12])


def test_artifacts_are_copied_to_another_store_and_a_run_goes_on_from_there(site):
    old = stop_in_the_middle(site, "artifact")
    site.deploy("invoices/v2")
    new = site.told("capture")
    source, target = site.home / "artifacts", site.root / "elsewhere"
    assert site.json("copy-artifacts", source, target, "--version", old[:10]) == {
        "copied": [old],
        "skipped": [],
        "failed": [],
        "wheels": 0,
    }
    assert "1 copied" in site.told("copy-artifacts", source, f"file://{target}")
    lose_artifact(site, old)
    shutil.rmtree(site.home / "cache")
    site.environment["HWE_ARTIFACT_STORE"] = str(target)
    run = drain(site)
    assert (run["status"], run["output"]["total"]["cents"]) == ("completed", RIGHT_CENTS)
    for path in target.rglob("*.zip"):
        path.chmod(0o600)
        path.write_bytes(b"damaged")
    done = site.hwe("copy-artifacts", target, site.root / "third", "--json")
    assert done.returncode == 3
    assert sorted(json.loads(done.stdout)["failed"]) == sorted([old, new])
