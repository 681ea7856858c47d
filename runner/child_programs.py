"""The child program as bytecode, kept in the cache: compiling it takes an interpreter twice as long as starting."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from functools import cached_property
from pathlib import Path

from envs import EnvCache, Environment
from runner.child_files import PROGRAM

logger = logging.getLogger("hwe.supervisor")

# Arguments: the folder of the sources, that of the bytecode, and the one that frames have in a traceback.
_COMPILE = """
import os, py_compile, sys
for name in sorted(os.listdir(sys.argv[1])):
    if name.endswith(".py"):
        source, target = os.path.join(sys.argv[1], name), os.path.join(sys.argv[2], name + "c")
        py_compile.compile(source, target, sys.argv[3] + "/" + name, doraise=True)
"""
_SHOWN_AS = "<hwe child program>"
_COMPILE_TIMEOUT_SECONDS = 60

# What Python says of bytecode that it cannot load.
_BLAMED = (".pyc file", "marshal data", "EOF read where", "'<hwe>.")


class ChildPrograms:
    """Below the root of a cache: child/<digest of the sources>/<minor Python>/, with what is in runner/child/."""

    def __init__(self, cache: EnvCache) -> None:
        self._root = Path(cache.root) / "child"

    @cached_property
    def _folder(self) -> Path:
        digest = hashlib.sha256()
        for path in sorted(PROGRAM.parent.glob("*.py")):
            digest.update(hashlib.sha256(path.name.encode() + b"\0" + path.read_bytes()).digest())
        return self._root / digest.hexdigest()[:16]

    def program_for(self, environment: Environment) -> Path | None:
        """The compiled program for the environment's interpreter, made on first use; None where it cannot be kept."""
        target = self._folder_for(environment)
        program = target / f"{PROGRAM.name}c"
        if program.exists():
            return program
        if target.exists():  # somebody removed part of it
            self.forget(environment)
        try:
            for folder in (self._root, self._folder):  # the mode goes to the last one only
                folder.mkdir(mode=0o700, exist_ok=True)
            self._compile(environment, target)
        except (OSError, subprocess.SubprocessError) as error:
            logger.debug("the child program is not kept compiled: %s", error)
            return None
        return program

    def _compile(self, environment: Environment, target: Path) -> None:
        temporary = tempfile.mkdtemp(dir=self._folder)
        try:
            # -S -I: nothing but the standard library.
            command = [str(environment.python), "-S", "-I", "-c", _COMPILE, str(PROGRAM.parent), temporary, _SHOWN_AS]
            subprocess.run(command, check=True, capture_output=True, env={}, timeout=_COMPILE_TIMEOUT_SECONDS)
            os.rename(temporary, target)
        except OSError:
            if not target.exists():  # else somebody was faster
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @staticmethod
    def is_to_blame(log_tail: str) -> bool:
        """Whether an interpreter said that it cannot load the program: it was patched since, or the file is damaged."""
        return any(words in log_tail for words in _BLAMED)

    def forget(self, environment: Environment) -> None:
        """Remove a program that the interpreter did not take."""
        with contextlib.suppress(OSError), tempfile.TemporaryDirectory(dir=self._folder) as aside:
            os.rename(self._folder_for(environment), aside)  # as a whole: others may be starting from it

    def _folder_for(self, environment: Environment) -> Path:
        return self._folder / ".".join(environment.interpreter_version.split(".")[:2])
