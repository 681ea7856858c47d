"""The child program as bytecode, kept in the cache: compiling it takes an interpreter twice as long as starting."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import subprocess
from functools import cached_property
from pathlib import Path

from envs import EnvCache, Environment

logger = logging.getLogger("hwe.supervisor")

SOURCE = Path(__file__).parent / "child" / "bootstrap.py"

# The name that frames of the program have in a traceback.
_SHOWN_AS = "<hwe child program>"

_COMPILE = "import py_compile, sys; py_compile.compile(*sys.argv[1:4], doraise=True)"
_COMPILE_TIMEOUT_SECONDS = 60


class ChildPrograms:
    """Below the root of a cache: child/<digest of the source>/<minor Python>.pyc."""

    def __init__(self, cache: EnvCache) -> None:
        self._root = Path(cache.root) / "child"

    @cached_property
    def _folder(self) -> Path:
        return self._root / hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]

    def program_for(self, environment: Environment) -> Path | None:
        """The compiled program for the environment's interpreter, made on first use; None where it cannot be kept."""
        path = self._path_for(environment)
        if path.exists():
            return path
        try:
            for folder in (self._root, self._folder):  # the mode goes to the last one only
                folder.mkdir(mode=0o700, exist_ok=True)
            if not os.access(path.parent, os.W_OK):
                return None
            # -S -I: nothing but the standard library. Written to a temporary file first, and renamed.
            command = [str(environment.python), "-S", "-I", "-c", _COMPILE, str(SOURCE), str(path), _SHOWN_AS]
            subprocess.run(command, check=True, capture_output=True, env={}, timeout=_COMPILE_TIMEOUT_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            logger.debug("the child program is not kept compiled: %s", error)
            return None
        return path

    @staticmethod
    def is_to_blame(log_tail: str) -> bool:
        """Whether an interpreter said that it cannot load the program: it was patched since, or the file is damaged."""
        return any(words in log_tail for words in (".pyc file", "marshal data", "EOF read where"))

    def forget(self, environment: Environment) -> None:
        """Remove a program that the interpreter did not take."""
        with contextlib.suppress(OSError):
            self._path_for(environment).unlink()

    def _path_for(self, environment: Environment) -> Path:
        return self._folder / f"{'.'.join(environment.interpreter_version.split('.')[:2])}.pyc"
