"""Hostile steps of a real project, under the level that a worker has unless told otherwise."""

import contextlib
import os
import sys

import pytest

from runner import Supervisor
from runner.sandbox import guarantees

# What refusals say: EPERM, EACCES, EXDEV (Landlock's, of what would move a file elsewhere), ENOSYS.
REFUSALS = ("Errno 1]", "Errno 13]", "Errno 18]", "Errno 38]")


class Attack:
    """Runs functions of the project `attacks` as steps."""

    def __init__(self, supervisor, code):
        self.supervisor = supervisor
        self.hash = code

    def __call__(self, function, *args, timeout_seconds=60):
        return self.supervisor.run(self.hash, f"attacks.{function}", args, timeout_seconds=timeout_seconds)

    def start(self, function, *args):
        return self.supervisor.submit(self.hash, f"attacks.{function}", args, timeout_seconds=60)

    def refused(self, function, *args):
        """Asserts that the kernel said no."""
        outcome = self(function, *args)
        assert outcome.status == "failed", outcome
        assert outcome.error.type in {"PermissionError", "OSError"}, outcome.error
        assert outcome.error.type == "PermissionError" or any(code in outcome.error.message for code in REFUSALS), (
            outcome.error.message
        )


@pytest.fixture(scope="session")
def _enforced():
    """What cannot be enforced on a machine is not tested there; CI's must be able to."""
    if not sys.platform.startswith("linux"):
        pytest.skip("ATTACKS NOT TESTED: Landlock and seccomp are of Linux")
    absent = [guarantee.name for guarantee in guarantees("process") if guarantee.state == "absent"]
    if absent:
        told = f"ATTACKS NOT TESTED: this kernel does not enforce {', '.join(absent)}"
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)


@pytest.fixture
def attack(cache, deploy, _enforced):
    with Supervisor(cache, sandbox="process") as supervisor:
        yield Attack(supervisor, deploy("attacks").hash)


@pytest.fixture
def attack_with(cache, deploy, _enforced):
    """An `Attack` by a project with these lines under [tool.hwe.sandbox], and code that runs at its import."""
    with contextlib.ExitStack() as always_cleanup:

        def prepare(lines, more_code=""):
            hostile = deploy("attacks")
            with open(hostile.path / "attacks.py", "a") as file:
                file.write(more_code)
            with open(hostile.path / "pyproject.toml", "a") as file:
                file.write(f"[tool.hwe.sandbox]\n{lines}\n")
            supervisor = always_cleanup.enter_context(Supervisor(cache, sandbox="process"))
            return Attack(supervisor, hostile.capture())

        yield prepare
