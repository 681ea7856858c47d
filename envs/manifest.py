"""What a code version is: the canonical list of a project's files, whose SHA-256 is the `code_version_hash`.

    {"files":[["orders/steps.py","<sha256>",812,false],…],"lock":{"path":…,"sha256":…},"python":"3.12","schema":1}

Keys sorted, no spaces, UTF-8. Nothing in it depends on the machine, the checkout, the clock or the umask.
"""

import hashlib
import itertools
import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from envs.errors import HashInvalid

SCHEMA = 1

# A project is code: the largest public Python monorepos hold some 20,000 files, so this catches a data
# directory or an unusual virtual environment that was captured by mistake, long before a worker's disk does.
MAX_FILES = 100_000
MAX_TOTAL_BYTES = 2 * 1024**3

# 100,000 files with paths of 500 bytes; read into memory before anything in it is believed.
MAX_MANIFEST_BYTES = 64 * 1024**2

MAX_NAME_BYTES = 255  # NAME_MAX of ext4, xfs, APFS
MAX_PATH_BYTES = 1024  # PATH_MAX of macOS, the smallest among the supported systems

# Never shortened below this: the birthday bound of 8 hexadecimal digits is some 65,000 code versions.
MIN_PREFIX_DIGITS = 8

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PYTHON = re.compile(r"3\.(0|[1-9][0-9]?)(\.(0|[1-9][0-9]{0,2}))?")


class ManifestInvalid(ValueError):
    """Bytes that are not a canonical manifest. Stays inside: whoever reads them says what they were."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file: `path` relative, POSIX, NFC; `sha256` of its content in hex; `size` in bytes."""

    path: str
    sha256: str
    size: int
    executable: bool


@dataclass(frozen=True, slots=True)
class Lock:
    """The dependency lock: one of the files, and the SHA-256 of its text with LF line ends."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Files sorted by the bytes of their path. `python`: "3.12", "3.12.1", or None for whoever runs it."""

    files: tuple[FileEntry, ...]
    lock: Lock | None = None
    python: str | None = None
    schema: int = SCHEMA

    def to_bytes(self) -> bytes:
        """The canonical form, of which the `code_version_hash` is the SHA-256."""
        return canonical_json(
            {
                "files": [[f.path, f.sha256, f.size, f.executable] for f in self.files],
                "lock": None if self.lock is None else {"path": self.lock.path, "sha256": self.lock.sha256},
                "python": self.python,
                "schema": self.schema,
            }
        )

    @cached_property
    def code_version_hash(self) -> str:
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @cached_property
    def size_bytes(self) -> int:
        """Of all files together."""
        return sum(f.size for f in self.files)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Manifest":
        """Read the canonical form and nothing else: what is accepted has these very bytes, and only usable
        paths.

        Raises ManifestInvalid.
        """
        if len(data) > MAX_MANIFEST_BYTES:
            raise ManifestInvalid(f"manifest of more than {MAX_MANIFEST_BYTES} bytes")
        try:
            raw = json.loads(data)
        except (ValueError, RecursionError):
            raise ManifestInvalid("manifest is not JSON") from None
        manifest = _from_json(raw)
        if manifest.to_bytes() != data:
            raise ManifestInvalid("manifest is not in canonical form")
        return manifest


def canonical_json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _from_json(raw: Any) -> Manifest:
    if not isinstance(raw, dict):
        raise ManifestInvalid("manifest is not an object")
    if type(raw.get("schema")) is not int or raw["schema"] != SCHEMA:
        raise ManifestInvalid(f"manifest schema {raw.get('schema')!a}, this release reads {SCHEMA}")
    if raw.keys() != {"files", "lock", "python", "schema"}:
        raise ManifestInvalid("manifest has other keys than files, lock, python, schema")
    python = raw["python"]
    if python is not None and not (isinstance(python, str) and is_python_version(python)):
        raise ManifestInvalid("manifest python is not a version")
    if not isinstance(raw["files"], list):
        raise ManifestInvalid("manifest files is not a list")
    files = tuple(_file_from_json(item) for item in raw["files"])
    check_files(files)
    lock = raw["lock"]
    if lock is not None:
        if not (isinstance(lock, dict) and lock.keys() == {"path", "sha256"} and is_sha256(lock["sha256"])):
            raise ManifestInvalid("manifest lock is not a path and a digest")
        if lock["path"] not in {f.path for f in files}:
            raise ManifestInvalid("manifest lock is not one of the files")
        lock = Lock(lock["path"], lock["sha256"])
    return Manifest(files, lock, python)


def _file_from_json(item: Any) -> FileEntry:
    match item:
        case [str(path), str(sha256), int(size), bool(executable)] if (
            type(size) is int and 0 <= size <= MAX_TOTAL_BYTES and is_sha256(sha256)
        ):
            return FileEntry(path, sha256, size, executable)
    raise ManifestInvalid(f"manifest entry {str(item)[:80]!a} is not [path, sha256, size, executable]")


def check_files(files: tuple[FileEntry, ...]) -> None:
    """Usable paths, sorted, no two alike, no file below a file, within the limits. Raises ManifestInvalid."""
    if len(files) > MAX_FILES:
        raise ManifestInvalid(f"manifest lists more than {MAX_FILES} files")
    if sum(f.size for f in files) > MAX_TOTAL_BYTES:
        raise ManifestInvalid(f"manifest lists more than {MAX_TOTAL_BYTES} bytes")
    for file in files:
        if problem := path_problem(file.path):
            raise ManifestInvalid(f"manifest path {file.path[:80]!a} {problem}")
    order = [f.path.encode() for f in files]
    if any(a >= b for a, b in itertools.pairwise(order)):
        raise ManifestInvalid("manifest files are not sorted, or one is listed twice")
    if collision := find_case_collision(f.path for f in files):
        raise ManifestInvalid(f"manifest paths {collision[0][:80]!a} and {collision[1][:80]!a} collide")
    folders = {folder for f in files for folder in _folders(f.path)}
    if both := next((f.path for f in files if f.path in folders), None):
        raise ManifestInvalid(f"manifest path {both[:80]!a} is a file and a folder")


def path_problem(path: str) -> str | None:
    """Why `path` cannot be the path of a file of a project, as the rest of a sentence; None when it can."""
    try:
        raw = path.encode()
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    if len(raw) > MAX_PATH_BYTES:
        return f"is a path of more than {MAX_PATH_BYTES} bytes"
    if "\\" in path:
        return "has a backslash in its name"
    if not path.isprintable() and any(unicodedata.category(character) == "Cc" for character in path):
        return "has a control character in its name"
    if not unicodedata.is_normalized("NFC", path):
        return "is not in Unicode normal form C"
    for name in path.split("/"):
        if name in ("", ".", ".."):
            return "is not a plain relative path"
        # What is compiled goes there, and is shared with every version that has the source: nobody brings their own.
        if name.casefold() == "__pycache__":
            return "is in __pycache__, which is for bytecode alone"
        if len(name.encode()) > MAX_NAME_BYTES:
            return f"has a name of more than {MAX_NAME_BYTES} bytes"
    return None


def find_case_collision(paths: Iterable[str]) -> tuple[str, str] | None:
    """The first two files or folders that are one where case does not count."""
    seen: dict[str, str] = {}
    for path in paths:
        for name in (*_folders(path), path):
            key = unicodedata.normalize("NFC", name.casefold())
            if seen.setdefault(key, name) != name:
                return seen[key], name
    return None


def _folders(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def is_python_version(text: str) -> bool:
    return _PYTHON.fullmatch(text) is not None


def is_sha256(text: object) -> bool:
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def check_hash(text: str) -> str:
    """`text` when it is a whole code_version_hash; it becomes part of paths. Raises HashInvalid."""
    if not is_sha256(text):
        raise HashInvalid(text)
    return text


def check_prefix(text: str) -> str:
    """`text` in lower case when it can be the beginning of a hash. Raises HashInvalid."""
    prefix = text.lower()
    if not re.fullmatch(rf"[0-9a-f]{{{MIN_PREFIX_DIGITS},64}}", prefix):
        raise HashInvalid(text, f"is not a code version hash, nor {MIN_PREFIX_DIGITS} or more digits of one")
    return prefix
