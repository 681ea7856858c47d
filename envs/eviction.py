"""Making room in a cache: least recently used first, never what somebody runs in or an unfinished run will need.

What is removed is renamed away under the exclusive lock of its lease, which nobody can have while someone runs in it,
and whoever wants it afterwards finds nothing and builds it again.
"""

import contextlib
import os
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from envs.bytecode import sweep_bytecode
from envs.errors import CacheUnusable, explain_os_error
from envs.inventory import (
    CachedLayer,
    CachedVersion,
    Inventory,
    Quarantined,
    inventory_of,
    last_use,
    layers_in_use,
    take_inventory,
)
from envs.layers import MARKER as LAYER_MARKER
from envs.layers import build_lock_path
from envs.layers import lease_path as layer_lease_path
from envs.locks import exclusive_now
from envs.materialize import MARKER
from envs.trash import discard, empty_trash

# Logs of layers are small, and of interest for as long as somebody may ask why a build failed or what it installed.
LOG_SECONDS = 30 * 24 * 3600

# So long a person may come to look at what was found damaged, unless its room is wanted.
QUARANTINE_SECONDS = 30 * 24 * 3600

# Somebody may hold a lease for a moment only to see whether it is held.
LOOK_SECONDS = 0.01

# Locks held at once, far below the 256 descriptors that macOS gives a process.
DESCRIPTORS = 64


@dataclass(frozen=True, slots=True)
class Plan:
    """What to remove, the least recently used first. `left_bytes`: what is left in the cache afterwards."""

    versions: list[CachedVersion]
    layers: list[CachedLayer]
    left_bytes: int
    quarantined: Sequence[Quarantined] = ()


@dataclass(frozen=True, slots=True)
class Eviction:
    """What was removed, or would be. `leased`, `pinned`: the hashes of what would have gone, had nobody needed it.

    unfinished: how many killed builds were swept. quarantined: how many of what was found damaged were cleared away.
    left_bytes: what the cache still holds. reached: whether that is within `max_bytes`.
    """

    versions: list[CachedVersion]
    layers: list[CachedLayer]
    unfinished: int
    leased: list[str]
    pinned: list[str]
    freed_bytes: int
    left_bytes: int
    reached: bool
    quarantined: int = 0


def plan_eviction(
    inventory: Inventory,
    *,
    now: float,
    max_bytes: int | None = None,
    max_age_seconds: float | None = None,
    pinned: Collection[str] = (),
) -> Plan:
    """Pure: everything older than that, then the least recently used until the rest fits; and layers left alone.

    What was found damaged goes after some time, and first of all when room is wanted.
    """
    standing = {layer.key: layer.versions for layer in inventory.layers}
    bytes_of = {layer.key: layer.bytes for layer in inventory.layers}
    left = inventory.own_bytes + inventory.shared_bytes
    left += sum(layer.bytes for layer in inventory.layers if layer.versions)
    left += inventory.quarantined_bytes
    damaged = []
    for one in sorted(inventory.quarantined, key=lambda one: one.since):
        if now - one.since > QUARANTINE_SECONDS or (max_bytes is not None and left > max_bytes):
            damaged.append(one)
            left -= one.bytes
    chosen: list[CachedVersion] = []
    for version in sorted(inventory.versions, key=lambda version: (version.last_used, version.hash)):
        too_old = max_age_seconds is not None and now - version.last_used > max_age_seconds
        if not too_old and (max_bytes is None or left <= max_bytes):
            break  # those after it are younger, and what is left fits
        if version.leased or version.hash in pinned:
            continue
        chosen.append(version)
        left -= version.own_bytes
        if version.layer in standing:
            standing[version.layer] -= 1
            if not standing[version.layer]:
                left -= bytes_of[version.layer]
    return Plan(chosen, [layer for layer in inventory.layers if not standing[layer.key]], left, damaged)


def evict(
    cache_root: str,
    *,
    max_bytes: int | None = None,
    max_age_seconds: float | None = None,
    pinned: Collection[str] = (),
    dry_run: bool = False,
) -> Eviction:
    """Make room in the cache at `cache_root`. Without limits, only what nobody can use goes: layers that no
    environment stands on, killed builds, old logs, what was found damaged long ago.

    `pinned`: hashes that stay whatever the limits. Any number of processes may lease, build and evict meanwhile.
    Raises CacheUnusable.
    """

    def plan_now(inventory: Inventory) -> Plan:
        return plan_eviction(
            inventory, now=time.time(), max_bytes=max_bytes, max_age_seconds=max_age_seconds, pinned=pinned
        )

    try:
        before = inventory = take_inventory(cache_root)
        plan = plan_now(inventory)
        damaged = len(plan.quarantined)
        versions, layers, swept, left = plan.versions, plan.layers, 0, _left(inventory, plan)
        if not dry_run:
            versions, layers, swept, inventory = _carry_out(cache_root, inventory, plan)
            if max_bytes is not None and inventory.total_bytes > max_bytes and versions:
                # Bytecode that others still use stays, which no plan knows beforehand: what is missing goes now.
                plan = plan_now(inventory)
                more, other_layers, _, inventory = _carry_out(cache_root, inventory, plan)
                versions, layers = versions + more, layers + other_layers
            left = inventory.total_bytes
            _remove_old_logs(cache_root)
    except OSError as error:
        raise CacheUnusable(cache_root, explain_os_error(error)) from error
    freed = max(0, before.total_bytes - left)  # others may build meanwhile
    kept = [] if max_bytes is None and max_age_seconds is None else _kept(inventory, plan, max_bytes, max_age_seconds)
    return Eviction(
        versions=versions,
        layers=layers,
        unfinished=swept,
        leased=[version.hash for version in kept if version.leased],
        pinned=[version.hash for version in kept if version.hash in pinned],
        freed_bytes=freed,
        left_bytes=left,
        reached=max_bytes is None or left <= max_bytes,
        quarantined=damaged,
    )


def _carry_out(
    cache_root: str, inventory: Inventory, plan: Plan
) -> tuple[list[CachedVersion], list[CachedLayer], int, Inventory]:
    """What could be removed: others may have begun to use the rest. How many killed builds were swept. What is left."""
    versions = [version for version in plan.versions if _evict_version(cache_root, version)]
    layers = _evict_layers(cache_root, plan.layers)
    swept = sum(_sweep(cache_root, root) for root in inventory.unfinished)
    for one in plan.quarantined:
        discard(cache_root, os.path.join(cache_root, "quarantine", one.name))
    empty_trash(cache_root)
    bytecode_left = sweep_bytecode(cache_root)
    # Not another look at all of it, which is what gc takes its time for.
    gone = {version.hash for version in versions} | {layer.key for layer in layers}
    in_use = {version.hash for version in plan.versions} - gone
    left = [
        replace(version, leased=True) if version.hash in in_use else version
        for version in inventory.versions
        if version.hash not in gone
    ]
    layers_left = {layer.key: layer.bytes for layer in inventory.layers if layer.key not in gone}
    quarantined = [one for one in inventory.quarantined if one not in plan.quarantined]
    return versions, layers, swept, inventory_of(left, layers_left, [], bytecode_left, quarantined)


def _left(inventory: Inventory, plan: Plan) -> int:
    gone = sum(version.own_bytes for version in plan.versions) + sum(layer.bytes for layer in plan.layers)
    gone += sum(one.bytes for one in plan.quarantined)
    return inventory.total_bytes - gone


def _kept(
    inventory: Inventory, plan: Plan, max_bytes: int | None, max_age_seconds: float | None
) -> list[CachedVersion]:
    """What would have gone by age or size, if nobody had needed it."""
    now = time.time()
    chosen = {version.hash for version in plan.versions}
    too_large = max_bytes is not None and plan.left_bytes > max_bytes
    return [
        version
        for version in inventory.versions
        if version.hash not in chosen
        and (too_large or (max_age_seconds is not None and now - version.last_used > max_age_seconds))
    ]


def _evict_version(cache_root: str, version: CachedVersion) -> bool:
    root = os.path.join(cache_root, "versions", version.hash)
    lease = os.path.join(cache_root, "leases", f"{version.hash}.lock")
    with contextlib.suppress(FileNotFoundError):
        if last_use(lease, os.path.join(root, MARKER)) > version.last_used:
            return False  # used since: it is no longer the least recently used
    with exclusive_now(lease, patience_seconds=LOOK_SECONDS) as alone:
        if not alone:
            return False
        gone = discard(cache_root, root)
        # Under its lock: whoever waits for it sees that the file is gone, and makes another one.
        os.unlink(lease)
    _unlink_lock(os.path.join(cache_root, "locks", f"version-{version.hash}.lock"))
    return gone


def _evict_layers(cache_root: str, layers: list[CachedLayer]) -> list[CachedLayer]:
    """Those that nobody builds or runs on, and on which no environment stands that was finished in the meantime."""
    removed = []
    for start in range(0, len(layers), DESCRIPTORS):
        with contextlib.ExitStack() as held:
            free = []
            for layer in layers[start : start + DESCRIPTORS]:
                lock = exclusive_now(layer_lease_path(cache_root, layer.key), patience_seconds=LOOK_SECONDS)
                if held.enter_context(lock):
                    free.append(layer)
            # Only now: who got a layer before we had its lock has finished, and who comes later finds it gone.
            in_use = layers_in_use(cache_root) if free else set()
            for layer in free:
                if layer.key not in in_use and discard(cache_root, os.path.join(cache_root, "layers", layer.key)):
                    os.unlink(layer_lease_path(cache_root, layer.key))
                    removed.append(layer)
    for layer in removed:
        _unlink_lock(build_lock_path(cache_root, layer.key))
    return removed


def _sweep(cache_root: str, root: str) -> bool:
    """Remove what a killed build left, if nobody is building there or runs in it."""
    folder, name = os.path.split(root)
    is_layer = os.path.basename(folder) == "layers"
    build_lock = (
        build_lock_path(cache_root, name) if is_layer else os.path.join(cache_root, "locks", f"version-{name}.lock")
    )
    lease = layer_lease_path(cache_root, name) if is_layer else os.path.join(cache_root, "leases", f"{name}.lock")
    with exclusive_now(build_lock) as nobody_builds, exclusive_now(lease) as alone:
        if not (nobody_builds and alone) or os.path.exists(os.path.join(root, LAYER_MARKER if is_layer else MARKER)):
            return False
        gone = discard(cache_root, root)
        os.unlink(lease)
        os.unlink(build_lock)
        return gone


def _unlink_lock(path: str) -> None:
    with exclusive_now(path) as alone, contextlib.suppress(FileNotFoundError):
        if alone:
            os.unlink(path)


def _remove_old_logs(cache_root: str) -> None:
    limit = time.time() - LOG_SECONDS
    for folder in ("logs", "failures"):
        with contextlib.suppress(OSError):
            for name in os.listdir(os.path.join(cache_root, folder)):
                path = os.path.join(cache_root, folder, name)
                if os.stat(path).st_mtime < limit:
                    os.unlink(path)
