"""Hostile steps of a real project, under both levels that hold them."""

import contextlib
import functools
import os
import re
import sys

import pytest

from runner import Supervisor
from runner.errors import SandboxUnavailable
from runner.sandbox import guarantees

LEVELS = ("process", "locked-down")

# What refusals say: EPERM, EACCES, EXDEV (Landlock's, of what would move a file elsewhere), ENOSYS.
REFUSALS = {"process": {1, 13, 18, 38}}
# And in namespaces of its own: ENOENT and ESRCH, of what is not there to be seen; EROFS, of what cannot be written to;
# EINVAL, of users that are not there.
REFUSALS["locked-down"] = REFUSALS["process"] | {2, 3, 22, 30}


class Attack:
    """Runs functions of the project `attacks` as steps."""

    def __init__(self, supervisor, code):
        self.supervisor = supervisor
        self.level = supervisor.sandbox
        self.hash = code

    def __call__(self, function, *args, timeout_seconds=60):
        return self.supervisor.run(self.hash, f"attacks.{function}", args, timeout_seconds=timeout_seconds)

    def start(self, function, *args):
        return self.supervisor.submit(self.hash, f"attacks.{function}", args, timeout_seconds=60)

    def refused(self, function, *args):
        """Asserts that the kernel said no."""
        outcome = self(function, *args)
        assert outcome.status == "failed", outcome
        told = re.match(r"\[Errno (\d+)\]", outcome.error.message)
        assert outcome.error.type == "PermissionError" or int(told[1]) in REFUSALS[self.level], outcome.error


@functools.cache
def not_enforced(level):
    """Why attacks are not tested at a level here, or nothing."""
    if not sys.platform.startswith("linux"):
        return "Landlock, seccomp and namespaces are of Linux"
    try:
        absent = [guarantee.name for guarantee in guarantees(level) if guarantee.state == "absent"]
    except SandboxUnavailable as error:
        return str(error)
    return f"this kernel does not enforce {', '.join(absent)}" if absent else ""


@pytest.fixture(params=LEVELS)
def level(request):
    """What cannot be enforced on a machine is not tested there; CI's must be able to."""
    if reason := not_enforced(request.param):
        told = f"ATTACKS NOT TESTED AT {request.param}: {reason}"
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)
    return request.param


@pytest.fixture
def attack(cache, deploy, level):
    with Supervisor(cache, sandbox=level) as supervisor:
        yield Attack(supervisor, deploy("attacks").hash)


@pytest.fixture
def attack_with(cache, deploy, level):
    """An `Attack` by a project with these lines under [tool.hwe.sandbox], and code that runs at its import."""
    with contextlib.ExitStack() as always_cleanup:

        def prepare(lines, more_code=""):
            hostile = deploy("attacks")
            with open(hostile.path / "attacks.py", "a") as file:
                file.write(more_code)
            with open(hostile.path / "pyproject.toml", "a") as file:
                file.write(f"[tool.hwe.sandbox]\n{lines}\n")
            supervisor = always_cleanup.enter_context(Supervisor(cache, sandbox=level))
            return Attack(supervisor, hostile.capture())

        yield prepare
