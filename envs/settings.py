"""`[tool.hwe]` of a project's pyproject.toml: how to capture it and what it needs."""

import logging
import os
import re
from dataclasses import dataclass, field
from typing import Any

from envs.errors import (
    ProjectNotFound,
    ProjectSettingsInvalid,
    PythonUnsupported,
    UnreadableFile,
    UnsupportedFile,
)
from envs.manifest import is_python_version, path_problem
from envs.sandbox_settings import SandboxSettings, read_sandbox_table

logger = logging.getLogger("envs")

PYPROJECT = "pyproject.toml"
PYTHON_VERSION_FILE = ".python-version"
DEFAULT_LOCKS = ("requirements.lock", "requirements.txt", "pylock.toml", "uv.lock")

# 3.9 is the oldest on which a step process is tested; below it `cloudpickle` protocol 5 and pidfd are
# missing.
SUPPORTED_MINORS = range(9, 15)

# Settings of the installation may stand in the same table; they are none of the project's, and do not count.
_OF_THE_INSTALLATION = frozenset(
    {"sandbox", "strict_code_versioning", "database_url", "artifact_store", "cache_dir", "home"}
)
_OF_THE_PROJECT = ("python", "requirements", "include", "exclude", "preload", "seed")

# A settings file is read into memory before anything is known about it.
MAX_SETTINGS_BYTES = 16 * 1024**2


@dataclass(frozen=True, slots=True)
class ProjectSettings:
    """What a project says about itself.

    python: "3.12" or "3.12.1"; None: the Python of whoever runs it. requirements: path of the lock file,
    relative and POSIX, or None. include: gitignore-style patterns, None for everything. exclude: likewise.
    preload: names of modules that may be imported ahead of time. seed: whether random numbers repeat when a step
    is run again as the same attempt. sandbox: what its steps may do and use up.
    """

    python: str | None = None
    requirements: str | None = None
    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    seed: bool = True
    sandbox: SandboxSettings = field(default_factory=SandboxSettings)


def read_project_settings(
    project_dir: str | os.PathLike[str], *, keep: dict[str, bytes] | None = None
) -> ProjectSettings:
    """Read the settings of a project; one without pyproject.toml has the defaults.

    `keep` receives the bytes of the files that were read, by path, for a capture to store those very bytes.
    Raises ProjectNotFound, ProjectSettingsInvalid, PythonUnsupported, UnreadableFile.
    """
    root = os.fspath(project_dir)
    if not os.path.isdir(root):
        raise ProjectNotFound(root)
    kept = {} if keep is None else keep
    document = read_pyproject(root, kept)
    table = _tool_table(document)
    for key in table.keys() - set(_OF_THE_PROJECT) - _OF_THE_INSTALLATION:
        raise ProjectSettingsInvalid(PYPROJECT, _unknown(key))
    include = _strings(table, "include")
    return ProjectSettings(
        python=_python(root, table, kept),
        requirements=_requirements(root, table),
        include=include,
        exclude=_strings(table, "exclude") or (),
        preload=_modules(table),
        seed=_flag(table, "seed", default=True),
        sandbox=_sandbox(table),
    )


def read_pyproject(root: str, kept: dict[str, bytes]) -> dict[str, Any]:
    """The parsed pyproject.toml, or {} when there is none."""
    import tomllib

    data = read_small_file(root, PYPROJECT, kept)
    if data is None:
        return {}
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ProjectSettingsInvalid(PYPROJECT, f"not valid TOML ({error}); correct it") from None


def read_small_file(root: str, path: str, kept: dict[str, bytes]) -> bytes | None:
    """The bytes of one of the project's files, read once and remembered in `kept`; None if it is missing."""
    if path in kept:
        return kept[path]
    try:
        with open(open_regular(os.path.join(root, path), path), "rb") as file:
            data = file.read(MAX_SETTINGS_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnreadableFile(path, error.strerror or str(error)) from None
    if len(data) > MAX_SETTINGS_BYTES:
        raise ProjectSettingsInvalid(path, f"has more than {MAX_SETTINGS_BYTES} bytes; is it the right file?")
    kept[path] = data
    return data


def open_regular(disk_path: str, shown: str) -> int:
    """A descriptor of a regular file. O_NONBLOCK: opening a FIFO would wait for a writer."""
    import stat

    descriptor = os.open(disk_path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise UnsupportedFile(shown, "FIFO, socket, device or folder")


def _tool_table(document: dict[str, Any]) -> dict[str, Any]:
    tool = document.get("tool", {})
    table = tool.get("hwe", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise ProjectSettingsInvalid(PYPROJECT, "tool.hwe is not a table; write [tool.hwe]")
    return table


def _unknown(key: str) -> str:
    import difflib

    near = difflib.get_close_matches(key, [*_OF_THE_PROJECT, *sorted(_OF_THE_INSTALLATION)], 1)
    hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(_OF_THE_PROJECT)}"
    return f"[tool.hwe] has no setting `{key}`; {hint}"


def _strings(table: dict[str, Any], key: str) -> tuple[str, ...] | None:
    value = table.get(key)
    if value is None:
        return None
    if not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        raise ProjectSettingsInvalid(
            PYPROJECT, f'[tool.hwe] {key} must be a list of strings, such as {key} = ["data/"]'
        )
    return tuple(value)


def _flag(table: dict[str, Any], key: str, *, default: bool) -> bool:
    value = table.get(key, default)
    if not isinstance(value, bool):
        raise ProjectSettingsInvalid(PYPROJECT, f"[tool.hwe] {key} is {value!r}; write true or false")
    return value


def _sandbox(table: dict[str, Any]) -> SandboxSettings:
    asked = table.get("sandbox")
    if not isinstance(asked, dict):  # the name of a level is the installation's
        return SandboxSettings()
    try:
        return read_sandbox_table(asked)
    except ValueError as error:
        raise ProjectSettingsInvalid(PYPROJECT, f"[tool.hwe.sandbox] {error}") from None


def _modules(table: dict[str, Any]) -> tuple[str, ...]:
    modules = _strings(table, "preload") or ()
    for name in modules:
        if not all(part.isidentifier() for part in name.split(".")):
            raise ProjectSettingsInvalid(PYPROJECT, f"[tool.hwe] preload: {name!r} is not the name of a module")
    return modules


def _python(root: str, table: dict[str, Any], kept: dict[str, bytes]) -> str | None:
    value = table.get("python")
    if value is None:
        return _python_version_file(root, kept)
    if not isinstance(value, str) or not re.fullmatch(r"\d+\.\d+(\.\d+)?", value):
        raise ProjectSettingsInvalid(
            PYPROJECT, f'[tool.hwe] python must be a string such as "3.12" or "3.12.1", not {value!r}'
        )
    return _supported(value)


def _python_version_file(root: str, kept: dict[str, bytes]) -> str | None:
    data = read_small_file(root, PYTHON_VERSION_FILE, kept) or b""
    for line in data.decode("utf-8", "replace").splitlines():
        # Tools write more than versions here ("pypy3.10", "system", names of environments): not for us.
        if re.fullmatch(r"\d+\.\d+(\.\d+)?", text := line.strip()):
            return _supported(text)
        if text and not text.startswith("#"):
            break
    return None


def _supported(version: str) -> str:
    major, minor = version.split(".")[:2]
    if major != "3" or int(minor) not in SUPPORTED_MINORS or not is_python_version(version):
        raise PythonUnsupported(version, supported_versions())
    return version


def supported_versions() -> str:
    return f"3.{SUPPORTED_MINORS.start} to 3.{SUPPORTED_MINORS.stop - 1}"


def _requirements(root: str, table: dict[str, Any]) -> str | None:
    value = table.get("requirements")
    if value is None:
        return next((name for name in DEFAULT_LOCKS if os.path.isfile(os.path.join(root, name))), None)
    if not isinstance(value, str) or path_problem(value):
        raise ProjectSettingsInvalid(
            PYPROJECT, f"[tool.hwe] requirements must be a relative path inside the project, not {value!r}"
        )
    if not os.path.isfile(os.path.join(root, value)):
        raise ProjectSettingsInvalid(
            PYPROJECT, f"[tool.hwe] requirements: there is no file {value}; create it, or correct the path"
        )
    return value
