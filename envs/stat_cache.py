"""What a capture found, kept so that the next one of an unchanged tree need not read its files.

    <folder>/<sha256 of the project's path>    JSON, checked: see `Snapshot`

A file whose size, times, inode and mode are as they were has the content that it had, unless it was written in the very
moment of the capture: its times cannot tell then, so it is read again (git's "racily clean" entries).
"""

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import platformdirs

from envs.disk import read_checked, write_checked
from envs.manifest import FileEntry, Lock, Manifest, canonical_json

SCHEMA = 2

# Below this a capture takes a few milliseconds anyway.
MIN_FILES = 500

# Of projects whose captures are kept.
MAX_SNAPSHOTS = 64

# The coarsest clock of a file system in use: FAT counts in steps of two seconds.
RACY_NS = 2_000_000_000

# size, mtime_ns, ctime_ns, inode, device, mode
Stat = tuple[int, int, int, int, int, int]


def stat_of(status: os.stat_result) -> Stat:
    return (
        status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev, status.st_mode
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A capture that began at `began_ns`. code_version_hash: that of the manifest, as it was found out then.

    stats: of the manifest's files, in its order; None: always read again.
    """

    manifest: Manifest
    code_version_hash: str
    artifact_id: str
    size_bytes: int
    began_ns: int
    stats: Sequence[Stat | None]

    def is_of(self, found: Sequence[tuple[str, str, os.stat_result]]) -> tuple[bool, bool]:
        """Whether the files `found` (path, path on disk, status) are those of the manifest; whether some were read."""
        if len(found) != len(self.stats):
            return False, False
        has_read = False
        for (path, disk_path, status), file, known in zip(found, self.manifest.files, self.stats, strict=True):
            if path != file.path:
                return False, has_read
            if known == stat_of(status) and max(known[1], known[2]) < self.began_ns - RACY_NS:
                continue
            has_read = True
            if not _is_same(disk_path, file, status):
                return False, has_read
        return True, has_read


def _is_same(disk_path: str, file: FileEntry, status: os.stat_result) -> bool:
    if status.st_size != file.size or not stat.S_ISREG(status.st_mode):
        return False
    try:
        with open(os.open(disk_path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY), "rb") as content:
            executable = bool(os.fstat(content.fileno()).st_mode & 0o100)
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError:
        return False
    return executable == file.executable and digest == file.sha256


class StatCache:
    """Snapshots in a directory, which need not exist: what cannot be kept is not."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def read(self, root: str) -> Snapshot | None:
        """What the last capture of the project at `root` found."""
        try:
            data = read_checked(self._path(root))
            return None if data is None else _parsed(json.loads(data))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, root: str, snapshot: Snapshot) -> None:
        """Keep it, if there is room for it and it is not a part of the project itself."""
        if len(snapshot.stats) < MIN_FILES or (self._folder + os.sep).startswith(root.rstrip(os.sep) + os.sep):
            return
        manifest = snapshot.manifest
        document = {
            "artifact_id": snapshot.artifact_id,
            "began_ns": snapshot.began_ns,
            "code_version_hash": snapshot.code_version_hash,
            "files": [[file.path, file.sha256, file.size, file.executable] for file in manifest.files],
            "lock": manifest.lock and [manifest.lock.path, manifest.lock.sha256],
            "python": manifest.python,
            "schema": SCHEMA,
            "size_bytes": snapshot.size_bytes,
            "stats": snapshot.stats,
        }
        data = canonical_json(document)
        with contextlib.suppress(OSError):
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            write_checked(self._path(root), data)
            for path in list(self._oldest())[:-MAX_SNAPSHOTS]:
                os.unlink(path)

    def _path(self, root: str) -> str:
        return os.path.join(self._folder, hashlib.sha256(os.fsencode(root)).hexdigest())

    def _oldest(self) -> Iterator[str]:
        with os.scandir(self._folder) as entries:
            found = sorted((entry.stat().st_mtime_ns, entry.path) for entry in entries)
        return (path for _, path in found)


def default_folder() -> str:
    """In HWE_HOME if that is set, else where this user's caches are."""
    home = os.environ.get("HWE_HOME")
    base = os.path.expanduser(home) if home else str(platformdirs.user_cache_path("hwe"))
    return os.path.realpath(os.path.join(base, "captures"))


def _parsed(document: dict[str, object]) -> Snapshot | None:
    match document:
        case {
            "schema": 2,
            "code_version_hash": str(code_version_hash),
            "artifact_id": str(artifact_id),
            "began_ns": int(began_ns),
            "files": list(files),
            "lock": list() | None as lock,
            "python": str() | None as python,
            "size_bytes": int(size_bytes),
            "stats": list(stats),
        }:
            manifest = Manifest(tuple(FileEntry(*file) for file in files), Lock(*lock) if lock else None, python)
            known = [stat and tuple(stat) for stat in stats]
            return Snapshot(manifest, code_version_hash, artifact_id, size_bytes, began_ns, known)
    return None
