"""The code of a bundle as a store, in front of the one that the installation has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

from envs import ArtifactStore, Storable, StoredArtifact, StoreUnusable, files_of
from runner.bundle import Bundle


class BundleStore:
    """The artifacts of a bundle, and of a store behind it. See `envs.ArtifactStore`.

    `bundle` may be exchanged for another one, or None: a version in use has been taken from it already.
    """

    def __init__(self, bundle: Bundle | None, behind: ArtifactStore) -> None:
        self.bundle = bundle
        self._behind = behind
        self._files = files_of(behind)

    @property
    def location(self) -> str:
        return self._behind.location if self.bundle is None else self.bundle.location

    def put(self, version: Storable) -> None:
        self._behind.put(version)

    def has(self, code_version_hash: str) -> bool:
        return code_version_hash in self._hashes or self._behind.has(code_version_hash)

    def get(self, code_version_hash: str) -> StoredArtifact:
        if self.bundle is not None and code_version_hash in self._hashes:
            return self.bundle.artifact(code_version_hash)
        return self._behind.get(code_version_hash)

    def list(self) -> Iterator[str]:
        yield from {*self._hashes, *self._behind.list()}

    def resolve(self, prefix: str) -> str:
        found = [name for name in self._hashes if name.startswith(prefix)]
        return found[0] if len(found) == 1 else self._behind.resolve(prefix)

    def put_file(self, name: str, source: BinaryIO) -> None:
        if self._files is None:
            raise StoreUnusable(self._behind.location, "it keeps nothing but artifacts")
        self._files.put_file(name, source)

    def open_file(self, name: str) -> BinaryIO | None:
        packed = self.bundle.open_file(name) if self.bundle else None
        return packed or (None if self._files is None else self._files.open_file(name))

    def file_names(self, folder: str) -> Sequence[str]:
        packed = self.bundle.file_names(folder) if self.bundle else []
        return sorted({*packed, *([] if self._files is None else self._files.file_names(folder))})

    @property
    def _hashes(self) -> Sequence[str]:
        return [] if self.bundle is None else self.bundle.hashes
