"""What goes into a store and what comes out of it."""

import shutil
import tempfile
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Protocol, Self

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
