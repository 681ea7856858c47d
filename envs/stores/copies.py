"""A directory of verified copies in front of a store that is far away."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from envs.errors import StoreError, StoreUnusable
from envs.manifest import is_sha256
from envs.stores.directory import DirectoryStore
from envs.stores.stored import KeepsFiles, Storable, StoredArtifact, storable

if TYPE_CHECKING:
    from envs.stores import ArtifactStore

    class _Remote(ArtifactStore, KeepsFiles, Protocol): ...


class WithLocalCopies:
    """See ArtifactStore. What is there is what `remote` says; an artifact is fetched from it once, and verified.

    While `remote` cannot be reached, versions of which there is a copy can still be had.
    """

    def __init__(self, remote: "_Remote", copies: DirectoryStore) -> None:
        self._remote = remote
        self._copies = copies

    @property
    def location(self) -> str:
        return self._remote.location

    def __repr__(self) -> str:
        return f"WithLocalCopies({self._remote!r}, {self._copies!r})"

    def put(self, version: Storable) -> None:
        self._remote.put(version)

    def has(self, code_version_hash: str) -> bool:
        try:
            return self._remote.has(code_version_hash)
        except StoreUnusable:
            if self._copies.has(code_version_hash):
                return True
            raise

    def get(self, code_version_hash: str) -> StoredArtifact:
        if copy := self._copy(code_version_hash):
            return copy
        with self._remote.get(code_version_hash) as fetched:
            fetched.verify()
            self._copies.put(storable(fetched))
        return self._copies.get(code_version_hash)

    def list(self) -> Iterator[str]:
        return self._remote.list()

    def resolve(self, prefix: str) -> str:
        return self._remote.resolve(prefix)

    def put_file(self, name: str, source: BinaryIO) -> None:
        self._remote.put_file(name, source)

    def open_file(self, name: str) -> BinaryIO | None:
        """What the remote store has now; the copy, when its name says that it is right, or while none can be asked."""
        if copy := self._right_copy(name):
            return copy
        try:
            fetched = self._remote.open_file(name)
        except StoreUnusable:
            if copy := self._copies.open_file(name):
                return copy
            raise
        if fetched is None:
            return None
        with fetched:
            self._copies.put_file(name, fetched)
        return self._copies.open_file(name)

    def file_names(self, folder: str) -> Sequence[str]:
        try:
            return self._remote.file_names(folder)
        except StoreUnusable:
            if copies := self._copies.file_names(folder):
                return copies
            raise

    def _right_copy(self, name: str) -> BinaryIO | None:
        stem = name.rpartition("/")[2].partition(".")[0]
        copy = self._copies.open_file(name) if is_sha256(stem) else None
        if copy is None:
            return None
        if hashlib.file_digest(cast("io.BufferedReader", copy), "sha256").hexdigest() != stem:
            copy.close()
            return None
        copy.seek(0)
        return copy

    def _copy(self, code_version_hash: str) -> StoredArtifact | None:
        """The copy, if there is one with nothing wrong; one that is damaged is fetched again."""
        if not self._copies.has(code_version_hash):
            return None
        try:
            copy = self._copies.get(code_version_hash)
            try:
                copy.verify()
            except BaseException:
                copy.close()
                raise
        except StoreError:
            return None
        return copy
