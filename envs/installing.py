"""Installing a lock into a layer: by uv, from its own cache, from wheels in the artifact store, or from an index."""

import contextlib
import csv
import glob
import os
import re
import shutil
import subprocess
from collections.abc import Callable

from envs.child_processes import ended_from_outside, output_of, started
from envs.errors import CacheUnusable, StoreUnusable, WheelsUnusable, build_failed
from envs.indexes import Indexes
from envs.interpreters import Interpreter
from envs.manifest import Lock
from envs.stores import ArtifactStore, KeepsFiles, files_of
from envs.wheels import WheelList, fetch_wheels, read_wheel_list, target_of, wheel_lists

WHEELS = ".hwe-wheels"

# The last lines of uv's output hold the cause; more would not be read in one line.
TAIL_LINES = 4

# Below this nothing can be installed, so a failure beside it needs no other explanation.
FULL_BYTES = 1024**2

# They would point uv at something else than the layer, or have it break what it says into lines of that width, of which
# the last few would no longer be the cause.
_MISLEADING = (
    "COLUMNS", "VIRTUAL_ENV", "CONDA_PREFIX", "UV_SYSTEM_PYTHON", "UV_PYTHON", "UV_PROJECT_ENVIRONMENT", "UV_TARGET",
    "UV_PREFIX", "UV_CONSTRAINT", "UV_OVERRIDE", "UV_NO_VERIFY_HASHES", "UV_PYTHON_PREFERENCE",
    "UV_BREAK_SYSTEM_PACKAGES", "UV_WORKING_DIR",
)  # fmt: skip


class Installer:
    """Runs uv for the virtual environment `root`, and writes all that it says to `log_path`.

    `lock_descriptor` is inherited by what is started, and nothing of that is left once `given_up` says so. `indexes`:
    asked, if nobody named others.
    """

    def __init__(
        self, root: str, lock_descriptor: int, log_path: str, given_up: Callable[[], bool], indexes: Indexes
    ) -> None:
        self.root = root
        self._lock_descriptor = lock_descriptor
        self._path = log_path
        self._given_up = given_up
        self._indexes = indexes.variables(os.environ)
        self._told = f" (also from {indexes.told()})" if self._indexes else ""
        self._written: list[str] = []
        self.log_path: str | None = log_path

    def sync(self, lock: str, *, offline: bool, wheels: str | None = None) -> str | None:
        """Install exactly what the file `lock` names; None, or what uv said when it failed.

        `wheels`: a folder to take them from, instead of an index. Raises BuildGivenUp, and CacheUnusable when the disk
        is full, or uv was killed.
        """
        output = self._sync(lock, wheels, offline=offline)
        # uv installs many packages at once: where two ship one file, each build would have that of whoever came last.
        for name in _quarrelling(self.root) if output is None else ():
            output = self._sync(lock, wheels, "--reinstall-package", name, offline=offline)
            if output is not None:
                break
        return output

    def _sync(self, lock: str, wheels: str | None, *more: str, offline: bool) -> str | None:
        import uv

        command = [
            uv.find_uv_bin(), "pip", "sync", "--require-hashes", "--compile-bytecode",
            "--python", os.path.join(self.root, "bin", "python"),
            *(["--no-index", "--no-cache", "--find-links", wheels] if wheels else []), *more, lock,
        ]  # fmt: skip
        # The output comes through a pipe, not into the log itself: on a full disk the reason is all we want to
        # keep.
        with started(
            command, cwd=self.root, env=_environ(offline=offline) | self._indexes, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, pass_fds=[self._lock_descriptor],
        ) as process:  # fmt: skip
            output = output_of(process, self._given_up).decode("utf-8", "replace")
        where = " (without a network)" if offline else self._told
        self.note(f"$ {' '.join(command)}{where}\n{output}\nexit code {process.returncode}")
        if not process.returncode:
            return None
        if is_disk_full(self.root, output):
            raise _full(self.root)
        if problem := ended_from_outside(process.returncode):
            raise CacheUnusable(self.root, f"the installer (uv) {problem}; see to that, and try again")
        return output

    def note(self, text: str) -> None:
        """Add to the log."""
        self._written.append(text)
        try:
            with open(self._path, "w", encoding="utf-8") as log:
                log.write("\n".join(self._written) + "\n")
            self.log_path = self._path
        except OSError:
            self.log_path = None


def install(
    installer: Installer,
    lock_file: str,
    lock: Lock,
    lock_text: str,
    interpreter: Interpreter,
    store: ArtifactStore | None,
    *,
    offline: bool,
) -> None:
    """`lock_file`: the lock as uv reads it. `store`: where its wheels may be; they are tried before an index is asked.

    Raises EnvironmentBuildFailed, BuildGivenUp, CacheUnusable, OSError.
    """
    problems = []
    files = files_of(store)
    try:
        wheels = _stored(files, lock, interpreter) if files else None
        if wheels and installer.sync(lock_file, offline=True) is None:
            return
        if wheels and files:
            failed = _from_wheels(installer, files, wheels, lock_text)
            if failed is None:
                return
            problems.append(_tail(failed))
    except (WheelsUnusable, StoreUnusable) as error:
        installer.note(str(error))
        problems.append(str(error))
    output = installer.sync(lock_file, offline=offline)
    if output is not None:
        raise build_failed(
            "installing the locked requirements", " | ".join([_tail(output), *problems]), installer.log_path
        )


def _stored(store: KeepsFiles, lock: Lock, interpreter: Interpreter) -> WheelList | None:
    """The wheels of that lock which fit. Raises WheelsUnusable, also when there are only some for others."""
    target = target_of(interpreter)
    wheels = read_wheel_list(store, lock.sha256, target)
    if wheels is None and (others := wheel_lists(store, lock.sha256)):
        raise WheelsUnusable(f"they are for {', '.join(others)}, and this is {target}; run here: hwe capture --wheels")
    return wheels


def _from_wheels(installer: Installer, store: KeepsFiles, wheels: WheelList, lock_text: str) -> str | None:
    folder = os.path.join(installer.root, WHEELS)
    os.mkdir(folder)
    try:
        pins = fetch_wheels(store, wheels, lock_text, folder)
        with open(os.path.join(folder, "requirements.txt"), "w", encoding="utf-8") as file:
            file.write(pins)
        return installer.sync(os.path.join(WHEELS, "requirements.txt"), offline=True, wheels=WHEELS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _quarrelling(root: str) -> list[str]:
    """The packages that ship a file which another one ships with another content, sorted by name."""
    first: dict[str, tuple[str, str]] = {}
    found = set()
    for record in glob.glob(
        os.path.join(glob.escape(root), "lib", "python*", "site-packages", "*.dist-info", "RECORD")
    ):
        name = os.path.basename(os.path.dirname(record)).partition("-")[0]
        with open(record, encoding="utf-8", errors="replace", newline="") as file:
            for path, digest, *_ in filter(None, csv.reader(file)):
                other, theirs = first.setdefault(path, (name, digest))
                if other != name and (digest != theirs or not digest):
                    found |= {name, other}
    return sorted(found)


def _environ(*, offline: bool) -> dict[str, str]:
    # PYTHONPYCACHEPREFIX, or PYTHONOPTIMIZE, would leave a layer without the bytecode that its steps look for. Those
    # with an underline are for others: PYTHON_KEYRING_BACKEND, say, for who knows the index's password.
    is_of_python = re.compile("PYTHON[A-Z]").match
    environ = {key: value for key, value in os.environ.items() if key not in _MISLEADING and not is_of_python(key)}
    # Copies: a step that changes a file of a package in place would, through a hard link, change it in uv's
    # cache and so in every layer built from it later. Links would leave with that cache.
    if environ.get("UV_LINK_MODE") in (None, "symlink"):
        environ["UV_LINK_MODE"] = "copy"
    for name in ("UV_CACHE_DIR", "UV_CONFIG_FILE"):  # they count from here, and uv is run in the layer
        if name in environ:
            environ[name] = os.path.abspath(environ[name])
    environ |= {
        "UV_PYTHON_DOWNLOADS": "never",
        # Nobody edits a layer, so no import needs to look at the source.
        "PYC_INVALIDATION_MODE": "UNCHECKED_HASH",
        "NO_COLOR": "1",
        "UV_NO_PROGRESS": "1",
    }
    if offline:
        environ["UV_OFFLINE"] = "1"
    return environ


def _full(root: str) -> CacheUnusable:
    return CacheUnusable(root, "no space left on its disk; free some, or move it to a larger one, and try again")


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
    # What is wrong with a hash are lines enough to hide of which package.
    first = [line for line in lines[:-TAIL_LINES] if line.startswith("error:")]
    return " | ".join(first + lines[-TAIL_LINES:])
