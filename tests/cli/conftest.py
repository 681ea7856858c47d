"""The command line as its users have it: `hwe` in processes of its own, an installation in a directory of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.ledger import Ledger

PROJECTS = Path(__file__).parents[1] / "projects"
HWE = Path(sys.executable).parent / "hwe"

# Past this, something hangs. Building an environment takes a second, starting a command half of one.
HANGS_AFTER_SECONDS = 60


class Site:
    """One installation and one project directory, to which releases are deployed."""

    def __init__(self, root, database_url=None):
        self.root = root
        self.project = root / "project"
        self.project.mkdir()
        self.home = root / "home"
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("HWE_")}
        self.environment["HWE_HOME"] = str(self.home)
        self.database_url = database_url or f"sqlite:///{self.home}/hwe.sqlite"
        if database_url:
            self.environment["HWE_DATABASE_URL"] = database_url

    def deploy(self, name, python=None):
        shutil.rmtree(self.project)
        shutil.copytree(PROJECTS / name, self.project)
        if python:
            (self.project / "pyproject.toml").write_text(f'[tool.hwe]\npython = "{python}"\n')

    def hwe(self, *arguments, prefix=(), **environment):
        return subprocess.run(
            [*prefix, HWE, *map(str, arguments)],
            cwd=self.project,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=HANGS_AFTER_SECONDS,
        )

    def told(self, *arguments):
        """stdout of a command that must succeed."""
        done = self.hwe(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def json(self, *arguments):
        return json.loads(self.told(*arguments, "--json"))

    def submit(self, run_id, policy="artifact", **run_input):
        return self.told(
            "submit", "workflow.yaml", "--run-id", run_id, "--policy", policy, "--input", json.dumps(run_input)
        )

    def show(self, run_id):
        return self.json("show", run_id)

    def step(self, run_id, key):
        """The last attempt of a step, or None."""
        return next((step for step in reversed(self.show(run_id)["steps"]) if step["step_key"] == key), None)

    def wait_until(self, reached):
        deadline = time.monotonic() + HANGS_AFTER_SECONDS
        while not reached():
            assert time.monotonic() < deadline, "it hangs; the worker said:\n" + self.log()
            time.sleep(0.05)

    def wait_for_status(self, run_id, *statuses):
        with self.ledger() as ledger:
            self.wait_until(lambda: ledger.status(run_id) in statuses)
        return self.show(run_id)

    def wait_for_running(self, run_id, key):
        with self.ledger() as ledger:
            self.wait_until(lambda: (key, "running") in [(s.step_key, s.status) for s in ledger.steps(run_id)])

    def ledger(self):
        return Ledger.open(self.database_url)

    @contextlib.contextmanager
    def start(self, *arguments):
        with open(self.root / "worker.log", "ab") as log:
            process = subprocess.Popen(
                [HWE, *arguments], cwd=self.project, env=self.environment, stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(HANGS_AFTER_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def worker(self, *arguments):
        return self.start("worker", *arguments)

    def log(self):
        return (self.root / "worker.log").read_text()


@pytest.fixture(scope="session")
def site_at():
    """For those that share an installation between tests."""
    return Site


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.fixture
def site_on_each_database(tmp_path, database_url):
    """A site on each kind of database in turn."""
    return Site(tmp_path, database_url)


@pytest.fixture
def site_factory(tmp_path):
    """Sites that share the artifact store and, where it is not a file, the database."""

    def make(name, database_url):
        root = tmp_path / name
        root.mkdir()
        site = Site(root, database_url)
        site.environment["HWE_ARTIFACT_STORE"] = str(tmp_path / "artifacts")
        return site

    return make


@pytest.fixture(scope="session")
def browser(missing, tmp_path_factory):
    """A browser without a window."""
    try:
        import browser as browsers
    except ImportError:
        missing("PAGES NOT LOOKED AT: no Selenium here: make extras")
    binaries = browsers.binaries()
    if binaries is None:
        missing("PAGES NOT LOOKED AT: no chromium and chromedriver on PATH: apt-get install chromium chromium-driver")
    window = browsers.Browser(*binaries, tmp_path_factory.mktemp("browser"))
    yield window
    window.close()
