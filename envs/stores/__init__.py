"""Where artifacts live: the promise every store keeps, and which store an address means."""

import os
from collections.abc import Iterator
from typing import Protocol, runtime_checkable
from urllib.parse import unquote, urlsplit

from envs.errors import StoreNotSupported, StoreUnusable
from envs.stores.copies import WithLocalCopies
from envs.stores.datashard import SCHEME as DATASHARD
from envs.stores.datashard import DataShardStore
from envs.stores.directory import DirectoryStore
from envs.stores.objects import SCHEMES, ObjectStore
from envs.stores.stored import KeepsFiles, Storable, StoredArtifact, files_of, read_stored_file, storable


@runtime_checkable
class ArtifactStore(Protocol):
    """Keeps artifacts by the hash of their code version.

    All methods raise StoreUnusable when the store cannot be reached, written or is full, and HashInvalid for
    what is no hash.
    """

    @property
    def location(self) -> str:
        """Where this is, as a person would say it in a message; never a secret."""

    def put(self, version: Storable) -> None:
        """Keep this version. Idempotent, safe from any number of processes; repairs a damaged copy."""

    def has(self, code_version_hash: str) -> bool: ...

    def get(self, code_version_hash: str) -> StoredArtifact:
        """The artifact, open and not verified yet. Raises CodeVersionNotFound, ArtifactCorrupt."""

    def list(self) -> Iterator[str]:
        """The hashes of all code versions that are there, in no promised order."""

    def resolve(self, prefix: str) -> str:
        """The one hash that begins with `prefix` (8 digits or more).

        Raises CodeVersionNotFound, AmbiguousHash.
        """


def open_store(address: str | os.PathLike[str], *, copies: str | os.PathLike[str] | None = None) -> ArtifactStore:
    """The store at `address`: "file:///absolute/path" or a path, "s3://bucket/prefix", "gs://…", "az://…",
    "datashard:///absolute/path".

    Nothing is created before the first put. `copies`: a directory for verified copies of what a remote store holds.
    Raises StoreNotSupported for schemes that this build has no store for, StoreUnusable for what is no
    directory.
    """
    text = os.fspath(address)
    if "://" not in text:
        return DirectoryStore(os.path.expanduser(text))
    parts = urlsplit(text)
    if parts.scheme in SCHEMES:
        remote = ObjectStore(text)
        return WithLocalCopies(remote, DirectoryStore(copies)) if copies is not None else remote
    if parts.scheme == DATASHARD:
        return DataShardStore(text)
    if parts.scheme != "file":
        raise StoreNotSupported(_without_secrets(text), parts.scheme)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        problem = "a file address has three slashes and an absolute path: file:///var/lib/hwe/artifacts"
        raise StoreUnusable(text, problem)
    return DirectoryStore(unquote(parts.path))


def _without_secrets(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def copy_version(code_version_hash: str, source: ArtifactStore, target: ArtifactStore) -> bool:
    """Put a version of `source` into `target`, verified on the way; returns whether it was not there yet.

    Raises CodeVersionNotFound, ArtifactCorrupt, StoreUnusable.
    """
    if target.has(code_version_hash):
        return False
    with source.get(code_version_hash) as stored:
        stored.verify()
        target.put(storable(stored))
    return True


__all__ = [
    "ArtifactStore",
    "DirectoryStore",
    "KeepsFiles",
    "Storable",
    "StoredArtifact",
    "copy_version",
    "files_of",
    "open_store",
    "read_stored_file",
]
