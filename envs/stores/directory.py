"""Artifacts in a directory, which may be shared by many machines.

<root>/artifacts/<aa>/<artifact_id>.zip    written elsewhere, synced, renamed: whole or absent
<root>/versions/<aa>/<code_version_hash>   {"artifact_id":…,"format":1,"size_bytes":…}, after the artifact
<root>/wheels/, <root>/wheel-lists/        see envs.wheels
<root>/incoming/                           what is being written; a killed put leaves its file here
"""

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from envs.artifact import CHUNK_BYTES
from envs.errors import AmbiguousHash, ArtifactCorrupt, CodeVersionNotFound, StoreUnusable, explain_os_error
from envs.manifest import canonical_json, check_hash, check_prefix, is_sha256
from envs.stores.stored import Storable, StoredArtifact

FORMAT = 1

# Writing the largest artifact over a slow network takes hours at most: what is older was left by a kill.
STALE_SECONDS = 24 * 3600

_POINTER_BYTES = 4096  # a pointer has some 120


class DirectoryStore:
    """See ArtifactStore. `root` need not exist; `put` makes it, readable for this user alone."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = os.path.abspath(root)
        if os.path.exists(self._root) and not os.path.isdir(self._root):
            raise StoreUnusable(self._root, "is not a directory; give the directory that holds the artifacts")

    @property
    def location(self) -> str:
        return self._root

    def __repr__(self) -> str:
        return f"DirectoryStore({self._root!r})"

    def put(self, version: Storable) -> None:
        check_hash(version.hash)
        with self._os_errors():
            path = self._artifact_path(version.artifact_id)
            if not _is_intact(path, version.artifact_id, version.size_bytes):
                with version.open_artifact() as source:
                    self._write(path, lambda target: _copy(source, target))
            pointer = canonical_json(
                {"artifact_id": version.artifact_id, "format": FORMAT, "size_bytes": version.size_bytes}
            )
            self._point(version.hash, pointer)

    def has(self, code_version_hash: str) -> bool:
        with self._os_errors():
            pointer = self._pointer(check_hash(code_version_hash))
            if pointer is None:
                return False
            try:
                artifact_id, _ = _parse_pointer(pointer)
            except ValueError:
                return False
            return os.path.isfile(self._artifact_path(artifact_id))

    def get(self, code_version_hash: str) -> StoredArtifact:
        with self._os_errors():
            pointer = self._pointer(check_hash(code_version_hash))
            if pointer is None:
                raise CodeVersionNotFound(code_version_hash, self.location)
            try:
                artifact_id, size = _parse_pointer(pointer)
            except ValueError:
                problem = f"its pointer for code version {code_version_hash} in {self.location} is not readable"
                raise ArtifactCorrupt("of unknown id", problem) from None
            try:
                file = open(self._artifact_path(artifact_id), "rb")  # noqa: SIM115  # StoredArtifact closes it
            except FileNotFoundError:
                raise ArtifactCorrupt(artifact_id, f"it is missing in {self.location}") from None
            return StoredArtifact(code_version_hash, artifact_id, size, self.location, file)

    def list(self) -> Iterator[str]:
        with self._os_errors():
            return iter(self._hashes(""))

    def resolve(self, prefix: str) -> str:
        wanted = check_prefix(prefix)
        with self._os_errors():
            matches = self._hashes(wanted)
        if not matches:
            raise CodeVersionNotFound(prefix, self.location)
        if len(matches) > 1:
            raise AmbiguousHash(prefix, matches)
        return matches[0]

    def put_file(self, name: str, source: BinaryIO) -> None:
        with self._os_errors():
            self._write(self._file_path(name), lambda target: _copy(source, target))

    def open_file(self, name: str) -> BinaryIO | None:
        with self._os_errors():
            try:
                return open(self._file_path(name), "rb")
            except FileNotFoundError:
                return None

    def file_names(self, folder: str) -> Sequence[str]:
        with self._os_errors():
            return sorted(_names(self._file_path(folder)))

    def _file_path(self, name: str) -> str:
        return os.path.join(self._root, *name.split("/"))

    def _pointer(self, code_version_hash: str) -> bytes | None:
        """What is known of a version, as canonical JSON, or damaged; None when it is not."""
        return _read_pointer(self._pointer_path(code_version_hash))

    def _point(self, code_version_hash: str, pointer: bytes) -> None:
        """Make that known, after the artifact."""
        if self._pointer(code_version_hash) != pointer:
            self._write(self._pointer_path(code_version_hash), lambda target: target.write(pointer))

    def _hashes(self, prefix: str) -> Sequence[str]:
        """The versions that are known, sorted; of a prefix of two digits or more, or all."""
        folder = os.path.join(self._root, "versions")
        shards = [prefix[:2]] if prefix else sorted(_names(folder))
        names = [name for shard in shards for name in sorted(_names(os.path.join(folder, shard)))]
        return [name for name in names if is_sha256(name) and name.startswith(prefix)]

    def _artifact_path(self, artifact_id: str) -> str:
        return os.path.join(self._root, "artifacts", artifact_id[:2], f"{artifact_id}.zip")

    def _pointer_path(self, code_version_hash: str) -> str:
        return os.path.join(self._root, "versions", code_version_hash[:2], code_version_hash)

    def _write(self, path: str, fill: Callable[[BinaryIO], object]) -> None:
        """Make `path` appear whole, and survive the power going off."""
        folder = os.path.dirname(path)
        incoming = os.path.join(self._root, "incoming")
        for wanted in (self._root, os.path.dirname(folder), folder, incoming):
            # One by one: makedirs gives its mode to the last folder only.
            os.makedirs(wanted, mode=0o700, exist_ok=True)
        _sweep(incoming)
        descriptor, temporary = tempfile.mkstemp(dir=incoming)
        try:
            with open(descriptor, "wb") as target:
                fill(target)
                target.flush()
                os.fsync(target.fileno())
            os.rename(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def _os_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreUnusable(self.location, explain_os_error(error)) from error


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    while chunk := source.read(CHUNK_BYTES):
        target.write(chunk)


def _is_intact(path: str, artifact_id: str, size: int) -> bool:
    try:
        with open(path, "rb") as file:
            return (
                os.fstat(file.fileno()).st_size == size
                and hashlib.file_digest(file, "sha256").hexdigest() == artifact_id
            )
    except FileNotFoundError:
        return False


def _read_pointer(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(_POINTER_BYTES)
    except FileNotFoundError:
        return None


def _parse_pointer(data: bytes) -> tuple[str, int]:
    match json.loads(data):
        case {"format": 1, "artifact_id": str(artifact_id), "size_bytes": int(size)} if is_sha256(artifact_id):
            return artifact_id, size
    raise ValueError("not a pointer of this format")


def _sweep(incoming: str) -> None:
    limit = time.time() - STALE_SECONDS
    for name in _names(incoming):
        path = os.path.join(incoming, name)
        with contextlib.suppress(OSError):
            if os.lstat(path).st_mtime < limit:
                os.unlink(path)
