"""The Pythons of this machine."""

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from envs.child_processes import ended_from_outside
from envs.errors import PythonNotFound, PythonUnsupported
from envs.settings import SUPPORTED_MINORS, supported_versions

# A bare interpreter starts in 10 ms; one on a cold network disk has needed several seconds.
PROBE_SECONDS = 30

# Of descriptors, memory or processes. It passes, and a worker must not believe ever after that there is no Python here.
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)

# Runs on any Python since 2.6, so that an old one says what it is instead of failing in an unreadable way.
_PROBE = """
import json, os, sys, sysconfig
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION")
except (AttributeError, ValueError, OSError):
    libc = None
json.dump({
    "implementation": sys.implementation.name,
    "version": "%d.%d.%d" % sys.version_info[:3],
    "build": {
        "version": sys.version,
        "soabi": sysconfig.get_config_var("SOABI"),
        "platform": sysconfig.get_platform(),
        "libc": libc,
        "prefix": sys.base_prefix,
    },
    "cache_tag": sys.implementation.cache_tag,
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "base": getattr(sys, "_base_executable", None) or sys.executable,
}, sys.stdout)
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One installed Python. `path`: absolute, links resolved. `version`: "3.12.1".

    fingerprint: what makes compiled packages of one build unfit for another (version, ABI, platform, libc,
    place). cache_tag: what names of bytecode files have in them.
    """

    path: str
    version: str
    implementation: str
    fingerprint: str
    free_threaded: bool = False
    cache_tag: str = ""

    @property
    def sort_key(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.version.split("."))


_probed: dict[tuple[str, int, int, int], Interpreter | None] = {}


def find_interpreters() -> list[Interpreter]:
    """All Pythons found: the one that runs this, those on PATH, of pyenv and of uv. Newest first."""
    found, _ = _asked(_candidates())
    return sorted(found, key=lambda interpreter: interpreter.sort_key, reverse=True)


def find_interpreter(wanted: str | None) -> Interpreter:
    """The CPython for "3.12" (its newest patch), "3.12.1", or None: the one that runs this.

    Raises PythonUnsupported, PythonNotFound, and OSError as `probe` does.
    """
    if wanted is None:
        own = probe(_own_path())
        if own is None:
            raise PythonNotFound(_own_path(), [i.version for i in find_interpreters()])
        return own
    parts = wanted.split(".")
    if parts[0] != "3" or int(parts[1]) not in SUPPORTED_MINORS:
        raise PythonUnsupported(wanted, supported_versions())
    likely, killed = _asked(path for path in _candidates() if _may_be(path, parts))
    fitting = [
        interpreter
        for interpreter in likely
        if interpreter.implementation == "cpython" and interpreter.version.split(".")[: len(parts)] == parts
    ]
    if not fitting and killed:
        raise killed  # it may be the one
    if not fitting:
        known = dict.fromkeys(i.version for i in find_interpreters() if i.implementation == "cpython")
        raise PythonNotFound(wanted, known)
    # A free-threaded build loads other wheels: only when there is nothing else. `max` keeps the first of
    # equals.
    return max(fitting, key=lambda interpreter: (not interpreter.free_threaded, interpreter.sort_key))


def probe(path: str) -> Interpreter | None:
    """Ask the interpreter at `path` what it is; None without an answer. Remembered until the file changes.

    Raises OSError when this machine is short of what it takes to ask, or somebody ended the interpreter meanwhile:
    that says nothing about it.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    key = (path, status.st_mtime_ns, status.st_size, status.st_ino)
    if key not in _probed:
        _probed[key] = _ask(path)
    return _probed[key]


def stamp(path: str) -> list[int]:
    """What an upgrade of the interpreter at `path` changes, and nothing else does. Raises OSError."""
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns]


def _ask(path: str) -> Interpreter | None:
    try:
        # -I -S: neither the user's environment nor any .pth file has a say.
        answer = subprocess.run(
            [path, "-I", "-S", "-c", _PROBE],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_SECONDS, check=True, cwd="/",
        )  # fmt: skip
        raw = json.loads(answer.stdout)
        fingerprint = json.dumps([raw["implementation"], raw["build"]], sort_keys=True)
        return Interpreter(
            path=path,
            version=str(raw["version"]),
            implementation=str(raw["implementation"]),
            fingerprint=fingerprint,
            free_threaded=bool(raw["free_threaded"]),
            cache_tag=str(raw["cache_tag"]),
        )
    except OSError as error:
        if error.errno in _SHORTAGES:
            raise
        return None
    except subprocess.CalledProcessError as error:
        if problem := ended_from_outside(error.returncode):
            raise ChildProcessError(
                errno.ECHILD, f"an interpreter that was asked what it is {problem}", path
            ) from error
        return None
    except (subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None


def _own_path() -> str:
    # In a virtual environment sys.executable is a link inside it, which may be gone tomorrow.
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def _asked(paths: Iterable[str]) -> tuple[list[Interpreter], ChildProcessError | None]:
    """What answered, each once; and the error of one that somebody ended before it did."""
    found: dict[str, Interpreter] = {}
    killed = None
    for path in paths:
        try:
            if interpreter := probe(path):
                found[interpreter.path] = interpreter
        except ChildProcessError as error:
            killed = error
    return list(found.values()), killed


def _candidates() -> list[str]:
    """Paths of executables, links resolved, each once; the one that runs this comes first."""
    paths = [_own_path()]
    for folder in _folders():
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            if re.fullmatch(r"python(3(\.\d+t?)?)?", name):
                path = os.path.realpath(os.path.join(folder, name))
                if os.path.isfile(path) and os.access(path, os.X_OK):
                    paths.append(path)
    return list(dict.fromkeys(paths))


def _folders() -> list[str]:
    home = os.path.expanduser("~")
    pyenv = os.environ.get("PYENV_ROOT") or os.path.join(home, ".pyenv")
    uv = os.environ.get("UV_PYTHON_INSTALL_DIR") or os.path.join(
        os.environ.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share"), "uv", "python"
    )
    # pyenv's shims are shell scripts that start whatever is configured where one happens to stand.
    on_path = [p for p in os.environ.get("PATH", "").split(os.pathsep) if p and os.path.basename(p) != "shims"]
    installed = [
        os.path.join(base, name, "bin")
        for base in (os.path.join(pyenv, "versions"), uv)
        if os.path.isdir(base)
        for name in sorted(os.listdir(base))
        if not name.startswith(".")
    ]
    return [*on_path, *installed]


def _may_be(path: str, wanted: list[str]) -> bool:
    """False when the name of the file says that it is another minor version: spares most of the probes."""
    named = re.fullmatch(r"python3\.(\d+)t?", os.path.basename(path))
    return named is None or named[1] == wanted[1]
