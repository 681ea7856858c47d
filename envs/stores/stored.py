"""What goes into a store and what comes out of it."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Protocol, Self, runtime_checkable

from envs.artifact import CHUNK_BYTES, read_file, verify
from envs.manifest import Manifest


class Storable(Protocol):
    """What `put` needs; a captured `CodeVersion` is one."""

    @property
    def hash(self) -> str: ...

    @property
    def artifact_id(self) -> str: ...

    @property
    def size_bytes(self) -> int: ...

    def open_artifact(self) -> BinaryIO: ...


@runtime_checkable
class KeepsFiles(Protocol):
    """A store that also keeps files beside its artifacts, such as wheels. `name`: relative, with slashes.

    All methods raise StoreUnusable.
    """

    def put_file(self, name: str, source: BinaryIO) -> None:
        """Keep what `source` has from where it stands, whole or not at all; what was there is replaced."""

    def open_file(self, name: str) -> BinaryIO | None:
        """The file at byte 0, seekable, not verified; None when there is none. Close it."""

    def file_names(self, folder: str) -> Sequence[str]:
        """The files in `folder`, without it; nothing when there is no such folder."""


def files_of(store: object) -> KeepsFiles | None:
    """The store as one that keeps files, if it does."""
    return store if isinstance(store, KeepsFiles) else None


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """An artifact that came out of a store: an open, seekable file, and what it claims to be.

    Nothing of it is to be used before `verify` returned. Close it, or use it as a context manager.
    """

    code_version_hash: str
    artifact_id: str
    size_bytes: int
    location: str
    file: BinaryIO

    def verify(self) -> Manifest:
        """The manifest, when every byte is what it should be. Raises ArtifactCorrupt."""
        return verify(self.file, self.code_version_hash, self.artifact_id)

    def close(self) -> None:
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _Taken:
    hash: str
    artifact_id: str
    size_bytes: int
    file: BinaryIO

    def open_artifact(self) -> BinaryIO:
        """A file of its own, since whoever asked closes it."""
        copy: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        self.file.seek(0)
        shutil.copyfileobj(self.file, copy, CHUNK_BYTES)
        copy.seek(0)
        return copy


def storable(stored: StoredArtifact) -> Storable:
    """What came out of a store and was verified, to be put into another one. Good as long as it is open."""
    return _Taken(stored.code_version_hash, stored.artifact_id, stored.size_bytes, stored.file)


def read_stored_file(stored: StoredArtifact, manifest: Manifest, path: str) -> bytes:
    """One file of a stored artifact, checked against `manifest`. Raises ArtifactCorrupt, KeyError."""
    return read_file(stored.file, manifest, path, stored.artifact_id)
