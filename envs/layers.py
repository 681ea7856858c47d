"""Dependency layers: one installed lock, shared by all code versions that have it.

    <cache>/layers/<key>/    a virtual environment; finished when `.hwe-layer.json` is in it

Built in place, since a virtual environment holds its own path, and under a lock. The key covers the lock's
text and the interpreter's build, so a layer never changes once it is finished.
"""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from envs.disk import disk_bytes, write_whole
from envs.errors import CacheUnusable, EnvironmentBuildFailed, build_failed
from envs.failures import forget, refuse_if_failing, remember
from envs.interpreters import Interpreter
from envs.locks import exclusive, take_shared
from envs.manifest import Lock, canonical_json
from envs.pylock import is_pylock
from envs.uv_lock import UV_LOCK, UvLockInvalid, export_uv_lock, is_uv_lock
from envs.virtual_environment import create_virtual_environment

MARKER = ".hwe-layer.json"
# uv tells the two formats apart by their names.
LOCK_COPY = "hwe-requirements.txt"
PYLOCK_COPY = "pylock.toml"

# The last lines of uv's output hold the cause; more would not be read in one line.
TAIL_LINES = 4

# Below this nothing can be installed, so a failure beside it needs no other explanation.
FULL_BYTES = 1024**2

# They would point uv or the interpreter under it at something else than the layer.
_MISLEADING = (
    "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "UV_SYSTEM_PYTHON",
    "UV_PYTHON", "UV_PROJECT_ENVIRONMENT", "UV_TARGET", "UV_PREFIX", "UV_CONSTRAINT", "UV_OVERRIDE",
    "UV_NO_VERIFY_HASHES", "UV_PYTHON_PREFERENCE", "UV_BREAK_SYSTEM_PACKAGES",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layer:
    """`root`: the virtual environment. `site_packages`: where its packages are."""

    root: str
    site_packages: str


@dataclass(frozen=True, slots=True)
class Terms:
    """On which a layer is built. `forgive_before`: see `refuse_if_failing`.

    offline: without a network or an index, to find out whether that can be done; a failure is then not remembered,
    since it says nothing about those who may use one.
    """

    forgive_before: float = 0.0
    offline: bool = False

    def refuse_if_failing(self, cache_root: str, key: str) -> None:
        """Raise EnvironmentBuildFailed when the layer failed a moment ago."""
        if not self.offline:
            refuse_if_failing(cache_root, f"layer-{key}", forgive_before=self.forgive_before)


ORDINARY = Terms()


def layer_key(lock: Lock, interpreter: Interpreter) -> str:
    key = {"interpreter": interpreter.fingerprint, "lock": lock.sha256, "platform": sys.platform}
    return hashlib.sha256(canonical_json(key)).hexdigest()


@contextlib.contextmanager
def layer_in_use(
    cache_root: str, lock: Lock, lock_text: str, interpreter: Interpreter, terms: Terms = ORDINARY
) -> Iterator[Layer]:
    """`provide_layer`, and nobody removes it before the environment that is to stand on it has its marker."""
    key = layer_key(lock, interpreter)
    os.makedirs(os.path.join(cache_root, "leases"), mode=0o700, exist_ok=True)
    descriptor = take_shared(lease_path(cache_root, key))
    try:
        yield provide_layer(cache_root, lock, lock_text, interpreter, terms)
    finally:
        os.close(descriptor)


def lease_path(cache_root: str, key: str) -> str:
    """Held shared by who builds on this layer, exclusively by who removes it."""
    return os.path.join(cache_root, "leases", f"layer-{key}.lock")


def provide_layer(
    cache_root: str, lock: Lock, lock_text: str, interpreter: Interpreter, terms: Terms = ORDINARY
) -> Layer:
    """The finished layer of this lock, built when it is not there.

    Any number of processes may ask at once; one builds. Raises EnvironmentBuildFailed, also without another try when
    it failed a moment ago (see `refuse_if_failing`), CacheUnusable, OSError; a failed build leaves nothing but its log
    and a note of it.
    """
    key = layer_key(lock, interpreter)
    root = os.path.join(cache_root, "layers", key)
    if layer := _finished(root):
        return layer
    for folder in ("layers", "locks", "logs"):
        os.makedirs(os.path.join(cache_root, folder), mode=0o700, exist_ok=True)
    with exclusive(os.path.join(cache_root, "locks", f"layer-{key}.lock")) as lock_descriptor:
        if layer := _finished(root):
            return layer
        terms.refuse_if_failing(cache_root, key)
        try:
            layer = _build(cache_root, root, key, lock, lock_text, interpreter, lock_descriptor, offline=terms.offline)
        except EnvironmentBuildFailed as error:
            shutil.rmtree(root, ignore_errors=True)
            if terms.offline:
                raise
            raise remember(cache_root, f"layer-{key}", error) from error
        except BaseException:
            shutil.rmtree(root, ignore_errors=True)
            raise
        forget(cache_root, f"layer-{key}")
        return layer


def refuse_if_lock_fails(cache_root: str, lock: Lock, interpreter: Interpreter, terms: Terms) -> None:
    """Raise EnvironmentBuildFailed when the layer of this lock failed a moment ago: before anything else is done."""
    key = layer_key(lock, interpreter)
    if _finished(os.path.join(cache_root, "layers", key)) is None:
        terms.refuse_if_failing(cache_root, key)


def _finished(root: str) -> Layer | None:
    try:
        with open(os.path.join(root, MARKER), "rb") as file:
            marker = json.load(file)
        return Layer(root, os.path.join(root, marker["site_packages"]))
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


def _build(
    cache_root: str,
    root: str,
    key: str,
    lock: Lock,
    lock_text: str,
    interpreter: Interpreter,
    lock_descriptor: int,
    *,
    offline: bool,
) -> Layer:
    if os.path.lexists(root):  # a killed build
        shutil.rmtree(root)
    os.mkdir(root, 0o755)
    site_packages = create_virtual_environment(root, interpreter, os.path.join(cache_root, "virtualenv"))
    lock_copy = PYLOCK_COPY if is_pylock(lock.path) else LOCK_COPY
    with open(os.path.join(root, lock_copy), "w", encoding="utf-8", newline="\n") as file:
        file.write(_exported(lock_text) if is_uv_lock(lock.path) else lock_text)
    # Ends uv's search for settings here: a cache may lie inside a project whose own are not meant for this.
    with open(os.path.join(root, "uv.toml"), "w", encoding="utf-8"):
        pass
    log_name = f"layer-{key}{'-offline' if offline else ''}.log"
    _install(root, os.path.join(cache_root, "logs", log_name), lock_descriptor, lock_copy, offline=offline)
    marker = {
        "interpreter": interpreter.path,
        "site_packages": os.path.relpath(site_packages, root),
        "size_bytes": disk_bytes(root),
        "version": interpreter.version,
    }
    write_whole(os.path.join(root, MARKER), canonical_json(marker))
    return Layer(root, site_packages)


def _exported(uv_lock: str) -> str:
    import uv

    try:
        return export_uv_lock(uv_lock, uv.find_uv_bin())
    except UvLockInvalid as error:
        raise build_failed("reading the lock", f"{UV_LOCK} {error}", None) from None


def _install(root: str, log_path: str, lock_descriptor: int, lock_copy: str, *, offline: bool) -> None:
    import uv

    environ = {key: value for key, value in os.environ.items() if key not in _MISLEADING}
    # Copies: a step that changes a file of a package in place would, through a hard link, change it in uv's
    # cache and so in every layer built from it later.
    environ.setdefault("UV_LINK_MODE", "copy")
    environ |= {
        "UV_PYTHON_DOWNLOADS": "never",
        # Nobody edits a layer, so no import needs to look at the source.
        "PYC_INVALIDATION_MODE": "UNCHECKED_HASH",
        "NO_COLOR": "1",
        "UV_NO_PROGRESS": "1",
    }
    if offline:
        environ["UV_OFFLINE"] = "1"
    command = [
        uv.find_uv_bin(), "pip", "sync", "--require-hashes", "--compile-bytecode",
        "--python", os.path.join(root, "bin", "python"), lock_copy,
    ]  # fmt: skip
    # The output comes through a pipe, not into the log itself: on a full disk the reason is all we want to
    # keep.
    done = subprocess.run(
        command, cwd=root, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, pass_fds=[lock_descriptor], check=False,
    )  # fmt: skip
    output = done.stdout.decode("utf-8", "replace")
    kept: str | None = log_path
    try:
        with open(log_path, "w", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n{output}\nexit code {done.returncode}\n")
    except OSError:
        kept = None
    if done.returncode:
        if is_disk_full(root, output):
            raise CacheUnusable(root, "no space left on its disk; free some, or move it to a larger one, and try again")
        raise build_failed("installing the locked requirements", _tail(output), kept)


def is_disk_full(path: str, output: str) -> bool:
    if "No space left on device" in output or "os error 28" in output:
        return True
    with contextlib.suppress(OSError):
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize < FULL_BYTES
    return False


def _tail(output: str) -> str:
    lines = [line.strip(" ×╰─▶├│") for line in output.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("Resolved ", "Using Python ", "warning:"))]
    return " | ".join(lines[-TAIL_LINES:])
