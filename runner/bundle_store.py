"""The code of bundles as a store, in front of the one that the installation has."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from envs import ArtifactStore, Storable, StoredArtifact, StoreUnusable, files_of
from runner.bundle import Bundle


class BundleStore:
    """The artifacts of the bundles that are held, and of a store behind them. See `envs.ArtifactStore`."""

    def __init__(self, behind: ArtifactStore) -> None:
        self._behind = behind
        self._files = files_of(behind)
        self._bundles: list[Bundle] = []
        # Also while something is taken out of a bundle, so that it is not closed meanwhile.
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def holding(self, bundle: Bundle) -> Iterator[None]:
        """What is in the bundle is here, for as long as this is entered; a version in use was taken out already."""
        with self._lock:
            self._bundles.append(bundle)
        try:
            yield
        finally:
            with self._lock:
                self._bundles.remove(bundle)

    @property
    def location(self) -> str:
        with self._lock:
            return ", ".join([*(bundle.location for bundle in self._bundles), self._behind.location])

    def put(self, version: Storable) -> None:
        self._behind.put(version)

    def has(self, code_version_hash: str) -> bool:
        return code_version_hash in self._hashes or self._behind.has(code_version_hash)

    def get(self, code_version_hash: str) -> StoredArtifact:
        with self._lock:
            for bundle in self._bundles:
                if code_version_hash in bundle.hashes:
                    return bundle.artifact(code_version_hash)
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
        with self._lock:
            for bundle in self._bundles:
                if packed := bundle.open_file(name):
                    return packed
        return None if self._files is None else self._files.open_file(name)

    def file_names(self, folder: str) -> Sequence[str]:
        with self._lock:
            packed = [name for bundle in self._bundles for name in bundle.file_names(folder)]
        return sorted({*packed, *([] if self._files is None else self._files.file_names(folder))})

    @property
    def _hashes(self) -> set[str]:
        with self._lock:
            return {name for bundle in self._bundles for name in bundle.hashes}
