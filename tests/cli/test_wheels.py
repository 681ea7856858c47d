"""`hwe capture --wheels`, end to end: index and caches gone, the run goes on."""

import json

import pytest

SIX = """six==1.17.0 \\
    --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274 \\
    --hash=sha256:ff70335d468e7eb6ec65b95b99d3a2836546063f63acc5171de367e834932a81
"""
GONE = {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0", "UV_NO_CONFIG": "1"}


@pytest.fixture
def stored(site):
    """A deployed project whose lock has six; what `capture --wheels --json` said."""
    site.deploy("invoices/v1")
    (site.project / "requirements.txt").write_text(SIX)
    done = site.hwe("capture", "--wheels", "--json")
    assert done.returncode == 0, done.stderr
    assert "wheels: 1 stored for cp" in done.stderr
    return json.loads(done.stdout)


def test_what_was_captured_with_wheels_is_proven_and_warmed_without_an_index(site, stored, tmp_path):
    (wheel,) = stored["wheels"]
    assert (wheel["file"], wheel["built"]) == ("six-1.17.0-py2.py3-none-any.whl", False)
    site.told("submit", "workflow.yaml")
    gone = {**GONE, "UV_CACHE_DIR": str(tmp_path / "uv")}
    done = site.hwe("doctor", "--active", "--sandbox", "none", "--json", **gone)
    (version,) = json.loads(done.stdout)["active"]["versions"]
    assert (version["state"], version["built_now"]) == ("here", True)
    done = site.hwe("warm", stored["code_version_hash"], **gone, HWE_CACHE_DIR=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_they_are_copied_to_another_store(site, stored, tmp_path):
    other = tmp_path / "other"
    copied = json.loads(site.told("copy-artifacts", site.home / "artifacts", other, "--json"))
    assert copied["wheels"] == 1
    assert json.loads(site.told("copy-artifacts", site.home / "artifacts", other, "--json"))["wheels"] == 0
    gone = {**GONE, "UV_CACHE_DIR": str(tmp_path / "uv"), "HWE_ARTIFACT_STORE": str(other)}
    done = site.hwe("warm", stored["code_version_hash"], **gone, HWE_CACHE_DIR=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_bundle_takes_them_along(site, stored, tmp_path, site_at):
    (site.root / "open").touch()
    run_input = json.dumps({"number": 7, "gate": str(site.root / "open")})
    done = site.hwe("run", "workflow.yaml", "--run-id", "run-1", "--policy", "artifact", "--input", run_input)
    assert done.returncode == 0, done.stderr
    for name in ("run.hwe", "again.hwe"):
        site.told("export", "run-1", tmp_path / name, "--wheels")
    assert (tmp_path / "run.hwe").read_bytes() == (tmp_path / "again.hwe").read_bytes()
    site.told("export", "run-1", tmp_path / "small.hwe")
    gone = {**GONE, "UV_CACHE_DIR": str(tmp_path / "uv")}
    (tmp_path / "elsewhere").mkdir()
    elsewhere = site_at(tmp_path / "elsewhere")
    done = elsewhere.hwe("replay", tmp_path / "small.hwe", "--json", **gone)
    assert (done.returncode, "installing the locked requirements" in done.stdout + done.stderr) == (3, True)
    done = elsewhere.hwe("replay", tmp_path / "run.hwe", "--step", "total", "--json", **gone)
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (0, "same"), done.stdout
