"""Fixtures: real projects, a real store, a real cache, real processes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import postgres_server
import pytest

from envs import EnvCache, capture, find_interpreters, open_store
from runner import Supervisor
from tests.support.slow_package import SlowPackage

PROJECTS = Path(__file__).parent / "projects"

# What .ci/run fetches if it can, and says so if it cannot.
NEWEST_PYTHON = "3.14"


class Deployed:
    """A copy of a project of tests/projects, captured into the test's own store."""

    def __init__(self, name, root, store, python=None):
        self.path = root / name
        shutil.copytree(PROJECTS / name, self.path)
        if python:
            (self.path / "pyproject.toml").write_text(f'[tool.hwe]\npython = "{python}"\n')
        self.store = store
        self.capture()

    def capture(self):
        self.version = capture(self.path)
        self.hash = self.version.hash
        self.store.put(self.version)
        return self.hash


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "artifacts"))


@pytest.fixture
def cache(tmp_path, store):
    return EnvCache(tmp_path / "cache", store)


@pytest.fixture
def supervisor(cache):
    with Supervisor(cache, sandbox="none") as supervisor:
        yield supervisor


@pytest.fixture
def deploy(tmp_path, store):
    def deploy(name, python=None, root="deployed"):
        return Deployed(name, tmp_path / root, store, python)

    return deploy


@pytest.fixture
def slow(tmp_path, monkeypatch):
    """A package that takes until the test lets it be installed; where to find it is in the environment."""
    package = SlowPackage(tmp_path / "slow")
    for name, value in package.environment.items():
        monkeypatch.setenv(name, value)
    return package


@pytest.fixture(scope="session")
def pythons():
    """The minor versions of the interpreters found on this machine, "3.9" and so on."""
    minors = {".".join(interpreter.version.split(".")[:2]) for interpreter in find_interpreters()}
    return sorted(minors, key=lambda version: int(version.split(".")[1]))


@pytest.fixture(scope="session")
def missing():
    """Skips, loudly; in CI, where nothing may be missing, fails."""

    def missing(what):
        if os.environ.get("CI"):
            pytest.fail(f"{what}; CI must install it")
        pytest.skip(what)

    return missing


@pytest.fixture(scope="session")
def need_python(pythons, missing):
    """Skips, loudly, where a minor version of Python is missing; in CI fails, but for one that may not be to be had."""

    def need_python(python):
        if python in pythons:
            return
        what = f"PYTHON {python} NOT TESTED: it is not on this machine; scripts/fetch_python.sh {python} may get it"
        if python == NEWEST_PYTHON:
            pytest.skip(what)
        missing(what)

    return need_python


@pytest.fixture(scope="session")
def postgres(missing):
    """A PostgreSQL server of our own."""
    binaries = postgres_server.binaries()
    if binaries is None:
        missing("POSTGRESQL NOT TESTED: neither on PATH nor in /usr/lib/postgresql: apt-get install postgresql")
    server = postgres_server.PostgresServer(binaries)
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request, tmp_path):
    """The URL of a new database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/hwe.sqlite"
    return request.getfixturevalue("postgres").new_database()


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a file system of so many KiB, one at a time, which only root can."""
    mount = tmp_path / "small"
    mount.mkdir()
    mounted = []

    def make(kibibytes):
        while mounted:
            subprocess.run(["umount", mounted.pop()], check=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k,mode=700", "none", mount]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"FULL AND READ-ONLY DISKS NOT TESTED: no right to mount a tmpfs: {done.stderr.strip()}")
        mounted.append(mount)
        return mount

    yield make
    while mounted:
        subprocess.run(["umount", mounted.pop()], check=True)


@pytest.fixture
def without_privilege():
    """What to put before a command so that permissions of files count, also for root."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("UNREADABLE FILES NOT TESTED: root reads everything, and there is no setpriv to give that up")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
