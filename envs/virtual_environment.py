"""Empty virtual environments, as virtualenv makes them.

    <cache>/virtualenv/models/<key>    one for each interpreter and release of virtualenv: see `_make_model`

virtualenv makes the model: a few links, and small files that name their own place. Every environment repeats it, which
takes less than a millisecond, and no import of virtualenv.
"""

import functools
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from envs.disk import read_checked, write_checked
from envs.errors import EnvironmentBuildFailed
from envs.interpreters import Interpreter
from envs.locks import exclusive
from envs.manifest import canonical_json

# A patch for distutils at every start, which nothing here uses.
_UNWANTED = ("_virtualenv.pth", "_virtualenv.py")


def create_virtual_environment(path: str, interpreter: Interpreter, app_data: str) -> str:
    """Make a virtual environment without any package in the directory `path`. Returns its site-packages directory.

    `path` is there. `app_data`: directory in which virtualenv remembers interpreters, and we the models. Raises
    EnvironmentBuildFailed, OSError.
    """
    model = _model(interpreter, app_data)
    place, here = model["place"].encode("latin-1"), os.fsencode(path)
    for name, mode, text in model["entries"]:
        target = f"{path}/{name}"
        content = text.encode("latin-1").replace(place, here)
        if stat.S_ISDIR(mode):
            os.mkdir(target)
        elif stat.S_ISLNK(mode):
            os.symlink(content, target)
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with open(os.open(target, flags, 0o777 if mode & 0o100 else 0o666), "wb") as file:
                file.write(content)
    return f"{path}/{model['site_packages']}"


def _model(interpreter: Interpreter, app_data: str) -> Any:
    key = hashlib.sha256(canonical_json([interpreter.path, interpreter.fingerprint, _release()])).hexdigest()
    path = os.path.join(app_data, "models", key)
    data = read_checked(path)
    if data is None:
        for folder in (app_data, os.path.dirname(path)):  # makedirs gives its mode to the last one only
            os.makedirs(folder, mode=0o700, exist_ok=True)
        # One at a time, also of threads: virtualenv keeps state of its own meanwhile.
        with exclusive(os.path.join(app_data, "models.lock")):
            data = read_checked(path) or _make_model(interpreter, app_data)
            write_checked(path, data)
    return json.loads(data)


def _make_model(interpreter: Interpreter, app_data: str) -> bytes:
    """JSON: `place`, where virtualenv made it; `site_packages` below that; `entries`: path, mode, and of a link where
    it leads, of a file what is in it, as Latin-1.
    """
    with tempfile.TemporaryDirectory(dir=app_data) as folder:
        place = os.path.join(folder, "model")
        site_packages = _run_virtualenv(place, interpreter, app_data)
        model = {
            "entries": [entry for entry in _entries(place, "") if os.path.basename(entry[0]) not in _UNWANTED],
            "place": os.fsencode(place).decode("latin-1"),
            "site_packages": os.path.relpath(site_packages, place),
        }
        return canonical_json(model)


def _entries(root: str, folder: str) -> Iterator[tuple[str, int, str]]:
    """Each after the directory it is in."""
    for name in sorted(os.listdir(os.path.join(root, folder))):
        path = os.path.join(folder, name)
        mode = os.lstat(os.path.join(root, path)).st_mode
        if stat.S_ISDIR(mode):
            yield path, mode, ""
            yield from _entries(root, path)
        elif stat.S_ISLNK(mode):
            yield path, mode, os.fsencode(os.readlink(os.path.join(root, path))).decode("latin-1")
        else:
            with open(os.path.join(root, path), "rb") as file:
                yield path, mode, file.read().decode("latin-1")


def _run_virtualenv(path: str, interpreter: Interpreter, app_data: str) -> str:
    from virtualenv import session_via_cli

    # What a user configured for their own virtual environments is not meant for these.
    environ = {key: value for key, value in os.environ.items() if not key.startswith("VIRTUALENV_")}
    environ["VIRTUALENV_CONFIG_FILE"] = os.devnull
    options = [
        "--no-seed", "--activators", "", "--no-periodic-update", "--no-vcs-ignore", "--app-data", app_data,
        "--python", interpreter.path, path,
    ]  # fmt: skip
    try:
        session = session_via_cli(options, setup_logging=False, env=environ)
        session.run()
    except OSError:
        raise
    except (Exception, SystemExit) as error:  # virtualenv leaves some failures by SystemExit
        what = f"making a virtual environment of {interpreter.path}"
        raise EnvironmentBuildFailed(what, str(error) or type(error).__name__, None) from error
    return str(session.creator.purelib)


@functools.cache
def _release() -> str:
    return metadata.version("virtualenv")
