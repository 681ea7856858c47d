"""What is in a cache, without walking through it: sizes were noted when things were built, the last use is the time of
a lease file. Some 40 µs for each environment.
"""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from envs.bytecode import bytecode_bytes
from envs.disk import disk_bytes
from envs.layers import MARKER as LAYER_MARKER
from envs.locks import held_and_time
from envs.manifest import is_sha256
from envs.materialize import MARKER
from envs.trash import BESIDE


@dataclass(frozen=True, slots=True)
class CachedVersion:
    """A finished environment. `own_bytes`: what removing it alone gives back. `layer`: the key of its layer, or None.

    compiled_bytes: of the own ones those of bytecode that it was the first to need, which others may use by now.
    last_used: seconds since the epoch, when the last lease began or ended. leased: somebody runs in it now.
    """

    hash: str
    own_bytes: int
    layer: str | None
    last_used: float
    leased: bool
    python: str
    compiled_bytes: int = 0


@dataclass(frozen=True, slots=True)
class CachedLayer:
    """A finished layer. `versions`: how many environments stand on it."""

    key: str
    bytes: int
    versions: int


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An environment or a layer that was found damaged. `name`: in quarantine/. `since`: seconds since the epoch."""

    name: str
    bytes: int
    since: float


@dataclass(frozen=True, slots=True)
class Inventory:
    """`unfinished`: directories of environments and layers without a marker: being built, or left by a kill.

    shared_bytes: of bytecode whose first version is gone, and that others use.
    """

    versions: list[CachedVersion]
    layers: list[CachedLayer]
    unfinished: list[str]
    shared_bytes: int = 0
    quarantined: Sequence[Quarantined] = ()

    @property
    def own_bytes(self) -> int:
        return sum(version.own_bytes for version in self.versions)

    @property
    def layer_bytes(self) -> int:
        return sum(layer.bytes for layer in self.layers)

    @property
    def total_bytes(self) -> int:
        return self.own_bytes + self.layer_bytes + self.shared_bytes + self.quarantined_bytes

    @property
    def quarantined_bytes(self) -> int:
        return sum(one.bytes for one in self.quarantined)


def take_inventory(cache_root: str) -> Inventory:
    """Look. Changes nothing. Raises OSError for a cache that cannot be read."""
    versions: list[CachedVersion] = []
    unfinished: list[str] = []
    leases = os.path.join(cache_root, "leases")
    for name in _names(os.path.join(cache_root, "versions")):
        root = os.path.join(cache_root, "versions", name)
        found = _version(root, name, leases)
        if found is None:
            unfinished.append(root)
        else:
            versions.append(found)
    layers: dict[str, int] = {}
    for key in _names(os.path.join(cache_root, "layers")):
        root = os.path.join(cache_root, "layers", key)
        marker = _read(os.path.join(root, LAYER_MARKER))
        if marker is None:
            unfinished.append(root)
        else:
            layers[key] = _size(marker, root)
    return inventory_of(versions, layers, unfinished, bytecode_bytes(cache_root), _quarantined(cache_root))


def inventory_of(
    versions: list[CachedVersion],
    layers: dict[str, int],
    unfinished: list[str],
    bytecode_bytes: int,
    quarantined: list[Quarantined],
) -> Inventory:
    """`layers`: bytes by key. `bytecode_bytes`: of all bytecode, whichever version was the first to need it."""
    standing = Counter(version.layer for version in versions)
    shared = bytecode_bytes - sum(version.compiled_bytes for version in versions)
    counted = [CachedLayer(key, size, standing[key]) for key, size in layers.items()]
    return Inventory(versions, counted, unfinished, max(0, shared), quarantined)


def _quarantined(cache_root: str) -> list[Quarantined]:
    found = []
    for name in _names(os.path.join(cache_root, "quarantine")):
        root = os.path.join(cache_root, "quarantine", name)
        with contextlib.suppress(FileNotFoundError):  # a hand was faster
            since = os.lstat(root).st_mtime  # set when it was moved there
            marker = _read(os.path.join(root, MARKER)) or _read(os.path.join(root, LAYER_MARKER)) or {}
            found.append(Quarantined(name, _size(marker, root), since))
    return found


def layers_in_use(cache_root: str) -> set[str]:
    """The keys of the layers that finished environments stand on."""
    found = set()
    for name in _names(os.path.join(cache_root, "versions")):
        marker = _read(os.path.join(cache_root, "versions", name, MARKER))
        if marker and marker.get("layer_root"):
            found.add(os.path.basename(marker["layer_root"]))
    return found


def last_use(lease_path: str, marker_path: str) -> float:
    """When an environment was leased last, or else built. Raises FileNotFoundError when it is gone."""
    try:
        return os.stat(lease_path).st_mtime
    except FileNotFoundError:
        return os.stat(marker_path).st_mtime


def _version(root: str, name: str, leases: str) -> CachedVersion | None:
    marker_path = f"{root}/{MARKER}"
    marker = _read(marker_path)
    if marker is None or marker.get("hash") != name or not is_sha256(name):
        return None
    lease_path = f"{leases}/{name}.lock"
    with contextlib.suppress(FileNotFoundError, KeyError):  # removed while we look; or no marker of ours
        layer_root = marker["layer_root"]
        compiled = marker.get("compiled_bytes", 0)
        try:
            leased, last_used = held_and_time(lease_path)
        except FileNotFoundError:
            leased, last_used = False, os.stat(marker_path).st_mtime
        return CachedVersion(
            hash=name,
            own_bytes=_size(marker, root) + compiled,
            layer=layer_root and os.path.basename(layer_root),
            last_used=last_used,
            leased=leased,
            python=marker["interpreter_version"],
            compiled_bytes=compiled,
        )
    return None


def _size(marker: dict[str, Any], root: str) -> int:
    size = marker.get("size_bytes")
    return size if isinstance(size, int) else disk_bytes(root)  # of a release that did not note it


def _read(path: str) -> dict[str, Any] | None:
    # Not `open`: the buffers and the text layer cost more than the reading.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        marker = json.loads(os.read(descriptor, _MARKER_BYTES).decode())
    except ValueError:
        return None
    finally:
        os.close(descriptor)
    return marker if isinstance(marker, dict) else None


_MARKER_BYTES = 65536  # one has some 600


def _names(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name != BESIDE)
    except FileNotFoundError:
        return []
