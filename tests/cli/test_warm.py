"""`hwe warm` and scripts/warm_cache.py: environments built before anybody waits for them."""

import json
import os
import pty
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from envs import EnvCache, open_store

SCRIPT = Path(__file__).parents[2] / "scripts" / "warm_cache.py"

# No index has a file with this hash, and offline there is none at all.
NOT_INSTALLABLE = "six==1.17.0 --hash=sha256:" + "0" * 64 + "\n"


@pytest.fixture
def versions(site):
    """Two versions that can be built, of which an unfinished run needs the first, and one that cannot."""
    site.deploy("invoices/v1")
    site.submit("run-1", customer="acme")
    hashes = [site.told("capture")]
    site.deploy("invoices/v2")
    hashes.append(site.told("capture"))
    (site.project / "requirements.txt").write_text(NOT_INSTALLABLE)
    hashes.append(site.told("capture"))
    shutil.rmtree(site.project)
    site.project.mkdir()
    return hashes


def ready(site):
    return set(EnvCache(site.home / "cache", open_store(str(site.home / "artifacts"))).hashes())


def test_active_is_what_unfinished_runs_need(site, versions):
    told = site.json("warm", "--active")
    (one,) = told["versions"]
    assert (one["code_version_hash"], one["status"]) == (versions[0], "built")
    assert list(one["phases"]) == ["fetch", "verify", "venv", "compile"]
    assert sum(one["phases"].values()) <= one["seconds"]
    assert ready(site) == {versions[0]}
    again = site.json("warm", "--active", versions[0][:8])
    assert [(one["status"], one["phases"]) for one in again["versions"]] == [("ready", {})]


def test_one_that_cannot_be_built_is_told_and_the_others_are_built(site, versions):
    done = site.hwe("warm", "--all", "-j", "2", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert (told["built"], told["ready"], told["failed"]) == (2, 0, 1)
    one = next(one for one in told["versions"] if one["status"] == "failed")
    assert (one["code_version_hash"], one["failed_in"], one["error_type"]) == (
        versions[2],
        "layer",
        "EnvironmentBuildFailed",
    )
    assert "six" in Path(one["log_path"]).read_text()
    assert ready(site) == set(versions[:2])
    done = site.hwe("warm", versions[2])
    assert done.returncode == 1
    row = next(line for line in done.stdout.splitlines() if line.startswith(versions[2][:12]))
    assert "layer" in row
    assert one["log_path"] in row
    assert "0 built, 0 were ready, 1 failed" in done.stdout
    assert "after 2 tries" in row  # it tries, whatever has been remembered
    assert "exit code 1" in done.stdout  # the last lines of the log
    listed = site.told("cache", "list")
    assert "could not be built" in listed
    assert site.json("cache", "list")["failed_builds"][0]["tries"] == 2
    assert one["log_path"] in listed
    # In a pipe each phase is a line.
    said = [line.split(" ", 1)[1] for line in done.stderr.splitlines()]
    name = f"environment {versions[2][:12]}"
    assert said[:4] == [f"{name}: {phase}" for phase in ("fetch", "verify", "layer", "failed")]


def test_the_current_project_is_stored_and_built(site):
    site.deploy("invoices/v1")
    told = site.json("warm")
    assert [one["status"] for one in told["versions"]] == ["built"]
    assert ready(site) == {site.told("capture")}
    told = site.json("warm", "--project", site.project)
    assert [one["status"] for one in told["versions"]] == ["ready"]


def test_zygotes_import_what_the_steps_will(site):
    site.deploy("invoices/v1")
    site.submit("run-1", customer="acme")
    told = site.json("warm", "--active", "--zygotes")
    assert told["versions"][0]["status"] == "built"
    assert list(told["versions"][0]["phases"])[-1] == "import"
    assert list((site.home / "cache/child").rglob("*.pyc"))  # the child program is compiled too
    (site.project / "pyproject.toml").write_text('[tool.hwe]\npreload = ["not_there"]\n')
    done = site.hwe("warm", "--project", ".", "--zygotes", "--json")
    assert done.returncode == 1
    one = json.loads(done.stdout)["versions"][0]
    assert (one["failed_in"], one["error_type"]) == ("import", "ImportsFailed")
    assert "not_there" in one["error"]


def test_the_script_is_the_command(site, versions):
    def script(*arguments):
        return subprocess.run(
            [sys.executable, SCRIPT, *arguments],
            cwd=site.project,
            env=site.environment,
            capture_output=True,
            text=True,
        )

    done = script("--active", "--json")
    assert done.returncode == 0, done.stderr
    assert [one["code_version_hash"] for one in json.loads(done.stdout)["versions"]] == versions[:1]
    assert script("--all").returncode == 1
    assert script("--nonsense").returncode == 2
    assert script("12345678").returncode == 2


def test_on_a_terminal_progress_is_live(site, versions):
    ours, theirs = pty.openpty()
    said = bytearray()

    def listen():
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # Linux says so when the other side is closed
                return
            if not chunk:
                return
            said.extend(chunk)

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        done = subprocess.run(
            [Path(sys.executable).parent / "hwe", "warm", "--active"],
            cwd=site.project,
            env={**site.environment, "TERM": "xterm", "COLUMNS": "120"},
            stdout=subprocess.PIPE,
            stderr=theirs,
        )
    finally:
        os.close(theirs)
        listener.join()
        os.close(ours)
    assert done.returncode == 0
    text = said.decode()
    assert f"environment {versions[0][:12]}" in text
    assert "built in" in text
    assert "\x1b[" in text  # rows that are drawn over each other


def test_a_service_that_was_started_without_a_umask_lets_nobody_else_write(site):
    site.deploy("invoices/v1")
    done = site.hwe("warm", prefix=("sh", "-c", 'umask 000; exec "$@"', "sh"))
    assert done.returncode == 0, done.stderr
    open_to_all = [path for path in (site.home, *site.home.rglob("*")) if path.lstat().st_mode & 0o002]
    assert [path for path in open_to_all if not path.is_symlink()] == []
