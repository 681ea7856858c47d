"""Fixtures: real projects, a real store, a real cache, real processes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from envs import EnvCache, capture, find_interpreters, open_store
from runner import Supervisor

PROJECTS = Path(__file__).parent / "projects"


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


@pytest.fixture(scope="session")
def pythons():
    """The minor versions of the interpreters found on this machine, "3.9" and so on."""
    minors = {".".join(interpreter.version.split(".")[:2]) for interpreter in find_interpreters()}
    return sorted(minors, key=lambda version: int(version.split(".")[1]))
