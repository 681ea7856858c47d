"""The supervisor's private directory: copies of the programs that run below it, and scratch directories of steps."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import itertools
import os
import shutil
import tempfile
from pathlib import Path

_PROGRAMS = Path(__file__).parent / "child"
_PREFIX = "hwe-run-"
_LOCK = "lock"


class ChildFiles:
    """The supervisor's private directory: the child program, the copy of cloudpickle, and scratch directories.

    A copy, because the child's path must not lead to the packages of the supervisor, and because an upgrade
    of the worker's own packages must not reach into a running version.
    """

    def __init__(self) -> None:
        _sweep(Path(tempfile.gettempdir()))
        self.root = Path(tempfile.mkdtemp(prefix=_PREFIX))
        # The kernel drops this lock with us, which is how others know that the directory is left over. Locked before
        # it is seen under its name.
        unborn = self.root / "unborn"
        self._lock = os.open(unborn, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        unborn.rename(self.root / _LOCK)
        self.support = self.root / "support"
        self.scratch = self.root / "scratch"
        names = ("bootstrap", "confinement", "comparison", "inspection", "fitness", "debugging")
        self.bootstrap, self.confinement, self.comparison, self.inspection, self.fitness, self.debugging = (
            Path(shutil.copy(_PROGRAMS / f"{name}.py", self.root)) for name in names
        )
        found = importlib.util.find_spec("cloudpickle")  # importing it takes a third of a bare interpreter's start
        assert found is not None
        assert found.origin is not None
        source = Path(found.origin).parent
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, self.support / "cloudpickle", ignore=ignored)
        self.programs = (
            self.bootstrap,
            self.confinement,
            self.comparison,
            self.inspection,
            self.fitness,
            self.debugging,
            self.support,
        )
        self.scratch.mkdir()
        self._numbers = itertools.count(1)

    def new_scratch(self, parent: Path | None = None) -> Path:
        """A new empty directory: for one step, or, without a parent, for the directories of one zygote's steps."""
        path = (parent or self.scratch) / str(next(self._numbers))
        path.mkdir(mode=0o700, parents=True)  # a step without a sandbox may have removed what is above
        return path

    def close(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.root, ignore_errors=True)
        os.close(self._lock)


def _sweep(folder: Path) -> None:
    """Remove what supervisors of ours left that were killed."""
    for path in folder.glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_uid == os.geteuid():
                    shutil.rmtree(path.parent, ignore_errors=True)
            finally:
                os.close(descriptor)
