"""Getting the wheels of a lock, to keep them: by pip, which saves what an index has and builds the rest.

uv installs, but hands out no wheels. The pip is the one that comes with virtualenv, run from its own wheel by the
Python that the wheels are for.
"""

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from hashlib import file_digest

from envs.child_processes import started
from envs.errors import StoreUnusable, WheelsUnusable, build_failed
from envs.indexes import Indexes, named_indexes
from envs.interpreters import Interpreter, find_interpreter
from envs.manifest import Lock
from envs.pylock import is_pylock, pylock_requirements
from envs.requirements_lock import lock_text, without_project
from envs.stores import ArtifactStore, files_of, read_stored_file
from envs.uv_lock import export_uv_lock, is_uv_lock
from envs.wheels import Wheel, WheelList, is_kept, is_locked, put_wheel, put_wheel_list, read_wheel_list, target_of

# What people set for uv, which installs their layers, holds here too.
_AS_PIP_CALLS_IT = {
    "UV_DEFAULT_INDEX": "PIP_INDEX_URL",
    "UV_INDEX_URL": "PIP_INDEX_URL",
    "UV_INDEX": "PIP_EXTRA_INDEX_URL",
    "UV_EXTRA_INDEX_URL": "PIP_EXTRA_INDEX_URL",
    "UV_FIND_LINKS": "PIP_FIND_LINKS",
    "UV_NO_INDEX": "PIP_NO_INDEX",
    "SSL_CERT_FILE": "PIP_CERT",
}
_TOLD = ("Collecting ", "Building wheel for ", "Downloading ", "Processing ")
_TAIL_LINES = 4


def store_wheels(
    store: ArtifactStore, code_version_hash: str, *, on_progress: Callable[[str], None] = lambda _line: None
) -> WheelList | None:
    """Keep beside the artifact of a version every wheel that its lock installs here; None when it has no lock.

    What is kept already is looked at and repaired. `on_progress` gets a line for each package. Raises
    CodeVersionNotFound, ArtifactCorrupt, PythonNotFound, EnvironmentBuildFailed, StoreUnusable, WheelsUnusable.
    """
    files = files_of(store)
    if files is None:
        raise StoreUnusable(store.location, "it keeps no wheels; use a directory, datashard:// or s3://")
    with store.get(code_version_hash) as stored:
        manifest = stored.verify()
        if manifest.lock is None:
            return None
        text = lock_text(read_stored_file(stored, manifest, manifest.lock.path))
        has_pyproject = any(file.path == "pyproject.toml" for file in manifest.files)
        pyproject = read_stored_file(stored, manifest, "pyproject.toml") if has_pyproject else None
    interpreter = find_interpreter(manifest.python)
    with contextlib.suppress(WheelsUnusable):
        known = read_wheel_list(files, manifest.lock.sha256, target_of(interpreter))
        if known and all(is_kept(files, wheel) for wheel in known.wheels):
            return known
    with tempfile.TemporaryDirectory(prefix="hwe-wheels-") as folder:
        _build(folder, manifest.lock, text, interpreter, named_indexes(text, pyproject), on_progress)
        found = []
        for name in sorted(name for name in os.listdir(folder) if name.endswith(".whl")):
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                digest = file_digest(file, "sha256").hexdigest()
            wheel = Wheel(not is_locked(path, text), name, digest, os.path.getsize(path))
            put_wheel(files, wheel, path)
            found.append(wheel)
    wheels = WheelList(manifest.lock.sha256, target_of(interpreter), tuple(found))
    put_wheel_list(files, wheels)
    return wheels


def requirements_of(lock: Lock, text: str, interpreter: Interpreter, *, as_pylock: bool = False) -> str:
    """A lock of any format as requirements with hashes for this interpreter; `as_pylock`: a uv.lock in that form.

    Raises OSError, EnvironmentBuildFailed.
    """
    import uv

    if is_uv_lock(lock.path):
        try:
            return export_uv_lock(text, uv.find_uv_bin(), interpreter.version, as_pylock=as_pylock)
        except ValueError as error:
            raise build_failed("reading the lock", f"{lock.path} {error}", None) from None
    return pylock_requirements(text) if is_pylock(lock.path) else without_project(text)


def _build(
    folder: str,
    lock: Lock,
    text: str,
    interpreter: Interpreter,
    indexes: Indexes,
    on_progress: Callable[[str], None],
) -> None:
    from virtualenv.seed.wheels.embed import get_embed_wheel

    minor = ".".join(interpreter.version.split(".")[:2])
    pip = get_embed_wheel("pip", minor)
    if pip is None:
        raise build_failed("getting the wheels", f"virtualenv has no pip for Python {minor}; upgrade virtualenv", None)
    with open(os.path.join(folder, "requirements.txt"), "w", encoding="utf-8", newline="\n") as file:
        file.write(requirements_of(lock, text, interpreter))
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    named = os.environ | indexes.variables(os.environ)
    for theirs, ours in _AS_PIP_CALLS_IT.items():
        if theirs in named:
            # pip knows no names of indexes.
            values = [re.sub(r"^[\w.-]+=(?=https?://)", "", value) for value in named[theirs].replace(",", " ").split()]
            environ.setdefault(ours, " ".join(values))
    command = [
        interpreter.path, "-I", os.path.join(str(pip.path), "pip"), "wheel", "--no-deps", "--require-hashes",
        "--requirement", "requirements.txt", "--wheel-dir", ".",
        "--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--no-color",
    ]  # fmt: skip
    with started(command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.decode("utf-8", "replace").strip())
            if lines[-1].startswith(_TOLD):
                on_progress(lines[-1])
        process.wait()
    if process.returncode:
        told = [line for line in lines if line and not line.startswith(("WARNING", "[notice]", "Looking in"))]
        raise build_failed("getting the wheels of the lock", " | ".join(told[-_TAIL_LINES:]), None)
