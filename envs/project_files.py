"""Which files of a project directory belong to it.

`.gitignore` is not read: what is generated (protobuf stubs, built assets) is often ignored there and needed
to run.
"""

import errno
import fnmatch
import itertools
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from envs.errors import (
    CaseCollision,
    ProjectSettingsInvalid,
    ProjectTooLarge,
    SymlinkEscapes,
    SymlinkToDirectory,
    UnreadableFile,
    UnsupportedFile,
    UnusableName,
)
from envs.manifest import MAX_FILES, find_case_collision, path_problem
from envs.settings import PYPROJECT, ProjectSettings

# What tools and people leave behind; it differs between two checkouts of the same code, so it must never
# count.
LITTER = (
    "__pycache__", "*.pyc", "*.pyo", ".git", ".hg", ".svn", ".venv", "venv", ".env", ".tox", ".nox",
    ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".coverage", ".coverage.*", ".idea",
    ".vscode", "*.swp", "*.swo", "*~", ".#*", "#*#", ".DS_Store", "Thumbs.db", "*.egg-info", ".eggs",
    "node_modules", ".ipynb_checkpoints", ".hwe", "hwe.toml", "hwe.sqlite*",
)  # fmt: skip
_LITTER_NAMES = frozenset(name for name in LITTER if "*" not in name)
_LITTER_PATTERN = re.compile("|".join(fnmatch.translate(name) for name in LITTER if "*" in name))

_VENV_MARK = "pyvenv.cfg"

_KINDS = {
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
    stat.S_IFBLK: "block device",
    stat.S_IFCHR: "character device",
}


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """`path`: as in the manifest. `disk_path`: where its content is, links resolved."""

    path: str
    disk_path: str


def list_project_files(root: str, settings: ProjectSettings) -> list[ProjectFile]:
    """The files of the project at `root` (absolute, links resolved), sorted by the bytes of their paths.

    pyproject.toml and the lock file are always among them. Raises the errors of class ProjectError.
    """
    files: list[ProjectFile] = []
    for path, entry in _wanted(root, settings):
        disk_path = _resolved(root, path, entry)
        normal = unicodedata.normalize("NFC", path)
        if problem := path_problem(normal):
            raise UnusableName(path, problem)
        files.append(ProjectFile(normal, disk_path))
        if len(files) > MAX_FILES:
            raise ProjectTooLarge(root, f"has more than {MAX_FILES} files")
    if not files:
        raise ProjectSettingsInvalid(root, "there is no file to capture; see to [tool.hwe] include and exclude")
    files.sort(key=lambda file: file.path.encode())
    paths = [file.path for file in files]
    for first, second in itertools.pairwise(paths):
        if first == second:
            raise CaseCollision(first, second)
    if collision := find_case_collision(paths):
        raise CaseCollision(*collision)
    return files


def survey(root: str, settings: ProjectSettings) -> list[tuple[str, str, os.stat_result]]:
    """What `list_project_files` lists, as path, path on disk and status, with none of the paths looked at twice: to be
    compared with a list that was. Raises the errors of class ProjectError, OSError.
    """
    found = []
    for path, entry in _wanted(root, settings):
        is_link = entry.is_symlink()
        disk_path = _resolved(root, path, entry) if is_link else entry.path
        status = os.stat(disk_path) if is_link else entry.stat(follow_symlinks=False)
        found.append((path if path.isascii() else unicodedata.normalize("NFC", path), disk_path, status))
    found.sort(key=lambda file: file[0].encode("utf-8", "surrogateescape"))
    return found


def _wanted(root: str, settings: ProjectSettings) -> Iterator[tuple[str, os.DirEntry[str]]]:
    always = {PYPROJECT, settings.requirements}
    excluded = _matcher("exclude", settings.exclude)
    included = None if settings.include is None else _matcher("include", settings.include)
    for path, entry in _walk(root, "", excluded, always):
        if included is None or path in always or included(path):
            yield path, entry


def _walk(
    root: str,
    folder: str,
    excluded: Callable[[str], bool],
    always: set[str | None],
    only_always: bool = False,
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything below `folder` that is no litter, not excluded and not a real directory."""
    try:
        with os.scandir(os.path.join(root, folder)) as scan:
            entries = list(scan)
    except OSError as error:
        raise UnreadableFile(folder or root, error.strerror or str(error)) from None
    if any(entry.name == _VENV_MARK for entry in entries):
        if not folder:
            raise ProjectSettingsInvalid(
                root, "is itself a virtual environment; keep the code in a directory of its own"
            )
        return
    for entry in entries:
        path = f"{folder}/{entry.name}" if folder else entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        if is_folder:
            unwanted = only_always or is_litter(entry.name) or excluded(path + "/")
            # A directory that holds the lock is entered even when a pattern leaves out the rest of it.
            if not unwanted or any(name and name.startswith(path + "/") for name in always):
                yield from _walk(root, path, excluded, always, unwanted)
        elif path in always or not (only_always or is_litter(entry.name) or _excluded_file(path, entry, excluded)):
            yield path, entry


def is_litter(name: str) -> bool:
    return name in _LITTER_NAMES or _LITTER_PATTERN.match(name) is not None


def _excluded_file(path: str, entry: os.DirEntry[str], excluded: Callable[[str], bool]) -> bool:
    # `data/` names a folder; people mean the link to one as well.
    return excluded(path) or (entry.is_symlink() and excluded(path + "/"))


def _matcher(key: str, patterns: tuple[str, ...]) -> Callable[[str], bool]:
    if not patterns:
        return lambda _path: False
    import pathspec

    try:
        return pathspec.GitIgnoreSpec.from_lines(patterns).match_file
    except ValueError as error:
        raise ProjectSettingsInvalid(
            PYPROJECT,
            f"[tool.hwe] {key} has a pattern that is not like those of .gitignore ({error}); correct it",
        ) from None


def _resolved(root: str, path: str, entry: os.DirEntry[str]) -> str:
    disk_path = os.path.join(root, path)
    if entry.is_symlink():
        target = _shown(os.readlink(disk_path))
        try:
            disk_path = os.path.realpath(disk_path, strict=True)
        except OSError as error:
            problem = "leads in a circle" if error.errno == errno.ELOOP else "does not exist"
            raise SymlinkEscapes(_shown(path), target, problem) from None
        if not disk_path.startswith(root.rstrip("/") + "/") and disk_path != root:
            raise SymlinkEscapes(_shown(path), target)
        if os.path.isdir(disk_path):
            raise SymlinkToDirectory(_shown(path), target)
    try:
        kind = stat.S_IFMT(os.lstat(disk_path).st_mode)
    except OSError as error:
        raise UnreadableFile(_shown(path), error.strerror or str(error)) from None
    if kind != stat.S_IFREG:
        raise UnsupportedFile(_shown(path), _KINDS.get(kind, "special file"))
    return disk_path


def _shown(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode()
