"""A directory of verified copies in front of a store that is far away."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envs.errors import StoreError, StoreUnusable
from envs.stores.directory import DirectoryStore
from envs.stores.stored import Storable, StoredArtifact, storable

if TYPE_CHECKING:
    from envs.stores import ArtifactStore


class WithLocalCopies:
    """See ArtifactStore. What is there is what `remote` says; an artifact is fetched from it once, and verified.

    While `remote` cannot be reached, versions of which there is a copy can still be had.
    """

    def __init__(self, remote: "ArtifactStore", copies: DirectoryStore) -> None:
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
