"""`hwe cache list | gc | verify`: what the environments of this machine take, and what may go."""

from __future__ import annotations

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from envs import (
    CachedVersion,
    EnvCache,
    Eviction,
    Inspected,
    Inventory,
    evict,
    failed_builds,
    inspect_environment,
    inspect_layer,
    take_inventory,
)
from runner.cli import ANSWER_IS_NO, complain, render
from runner.cli.installation import Installation, opened
from runner.errors import UsageError
from runner.settings import load_settings

cache_app = typer.Typer(no_args_is_help=True, help="The environments of this machine: what they take, and what may go.")

_NUMBER = r"\d{1,15}(?:\.\d{1,15})?"  # more digits than any disk has bytes could become infinity
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

# Hashing runs outside of the interpreter's lock; more only make the disk seek.
READERS = 4


@cache_app.command("list")
def list_command(*, as_json: render.JsonOption = False) -> None:
    """List the environments, the least recently used first: what they take, who needs them.

    The size of a version is its own; what it shares with others is in its layer.
    """
    with opened(load_settings(Path())) as installation:
        cache = _cache(installation)
        inventory = take_inventory(cache.root)
        failures = failed_builds(cache.root)
        pins = _pins(installation)
    versions = sorted(inventory.versions, key=lambda version: version.last_used)
    if as_json:
        failed = [{**asdict(one), "retry_at": one.retry_at} for one in failures]
        render.print_json({**_document(cache, inventory, versions, pins), "failed_builds": failed}, compact=True)
    else:
        _print_list(inventory, versions, pins)
        for one in failures:
            print(f"{one.name[:18]} could not be built: {one.error(tried_now=False)}")


@cache_app.command("gc")
def gc_command(
    max_size: Annotated[
        str | None, typer.Option("--max-size", metavar="SIZE", help="Make it fit into 500M, 5G …")
    ] = None,
    max_age: Annotated[
        str | None, typer.Option("--max-age", metavar="AGE", help="Remove what nobody used for 12h, 30d, 8w …")
    ] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would go, and leave it.")] = False,
    as_json: render.JsonOption = False,
) -> None:
    """Remove environments, the least recently used first, and layers that no environment stands on.

    What somebody runs in, or an unfinished run started on, stays. Without limits only what nobody can use goes.
    Exit code 1: with all that has to stay, the cache is still larger than --max-size.
    """
    max_bytes = None if max_size is None else parse_size(max_size)
    max_age_seconds = None if max_age is None else parse_age(max_age)
    with opened(load_settings(Path())) as installation:
        cache = _cache(installation)
        done = evict(
            cache.root,
            max_bytes=max_bytes,
            max_age_seconds=max_age_seconds,
            pinned=_pins(installation).keys(),
            dry_run=dry_run,
        )
    if as_json:
        document = {**asdict(done), "dry_run": dry_run}
        document["versions"] = [{"code_version_hash": one.pop("hash"), **one} for one in document["versions"]]
        render.print_json(document, compact=True)
    else:
        _print_eviction(done, dry_run=dry_run)
    if not done.reached:
        raise typer.Exit(ANSWER_IS_NO)


@cache_app.command("verify")
def verify_command(
    versions: Annotated[
        list[str] | None, typer.Argument(metavar="[HASH]...", help="Only these. Default: all.", show_default=False)
    ] = None,
    *,
    as_json: render.JsonOption = False,
) -> None:
    """Read every file of the environments and their layers, and compare it with the manifest and what was installed.

    One that differs is moved to quarantine/ in the cache, so that the next step builds it again; one in use is only
    told. Exit code 1: something was wrong.
    """
    with opened(load_settings(Path())) as installation:
        cache = _cache(installation)
        inventory = take_inventory(cache.root)
        wanted = _named(inventory, versions) if versions else [one.hash for one in inventory.versions]
        under = {one.layer for one in inventory.versions if one.layer and one.hash in wanted}
        # Also of a layer that is no longer taken for a finished one: its marker is what is damaged then.
        keys = sorted(under if versions else under.union(one.key for one in inventory.layers))
        with ThreadPoolExecutor(READERS, thread_name_prefix="hwe-verify") as pool:
            found = pool.map(lambda name: inspect_environment(cache.root, name, installation.store), wanted)
            inspected = [one for one in found if one is not None]
            # Afterwards: putting a layer aside takes away the environments that stand on it.
            layers = [one for one in pool.map(lambda key: inspect_layer(cache.root, key), keys) if one is not None]
    wrong, wrong_layers = ([one for one in some if one.verdict != "sound"] for some in (inspected, layers))
    if as_json:
        document = {
            "versions": [{"code_version_hash": one.hash, **_without_hash(one)} for one in inspected],
            "layers": [{"key": one.hash, **_without_hash(one)} for one in layers],
            "sound": len(inspected) - len(wrong),
            "wrong": len(wrong),
            "wrong_layers": len(wrong_layers),
        }
        render.print_json(document)
    else:
        for one in wrong:
            _complain_of("environment", one)
        for one in wrong_layers:
            _complain_of("layer", one)
        print(f"{len(inspected)} environments read, {len(wrong)} of them not what was built", end="; ")
        print(f"{len(layers)} layers, {len(wrong_layers)} of them")
    if wrong or wrong_layers:
        sys.stdout.flush()
        raise typer.Exit(ANSWER_IS_NO)


def parse_size(text: str) -> int:
    """Bytes of "5G", "500M", "1.5 GiB" or a plain number; units are powers of 1024. Raises `UsageError`."""
    match = re.fullmatch(rf"({_NUMBER})\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        raise UsageError(f"{text!r} is not a size: give a number with K, M, G or T, such as 500M or 5G")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def parse_age(text: str) -> float:
    """Seconds of "30d", "12h", "90m", "45s", "2w". Raises `UsageError`."""
    match = re.fullmatch(rf"({_NUMBER})\s*([smhdw])", text.strip())
    if not match:
        raise UsageError(f"{text!r} is not an age: give a number with s, m, h, d or w, such as 12h or 30d")
    return float(match[1]) * _SECONDS[match[2]]


def _cache(installation: Installation) -> EnvCache:
    return installation.cache(lambda _hash, _phase: None)


def _pins(installation: Installation) -> dict[str, int]:
    """For each code version that unfinished runs need, how many they are."""
    return {one.code_version_hash: one.runs for one in installation.ledger.census()}


def _named(inventory: Inventory, given: list[str]) -> list[str]:
    there = [one.hash for one in inventory.versions]
    return [_one(prefix.lower(), there) for prefix in given]


def _one(prefix: str, there: list[str]) -> str:
    found = [name for name in there if name.startswith(prefix)]
    if len(prefix) < 8 or len(found) != 1:
        reason = "several environments begin so" if len(found) > 1 else "no environment here begins so"
        raise UsageError(f"{prefix!r}: {'give 8 digits or more' if len(prefix) < 8 else reason}; see 'hwe cache list'")
    return found[0]


def _document(
    cache: EnvCache, inventory: Inventory, versions: list[CachedVersion], pins: dict[str, int]
) -> dict[str, Any]:
    return {
        "cache": cache.root,
        "total_bytes": inventory.total_bytes,
        "own_bytes": inventory.own_bytes,
        "layer_bytes": inventory.layer_bytes,
        "shared_bytes": inventory.shared_bytes,
        "quarantined_bytes": inventory.quarantined_bytes,
        "quarantined": len(inventory.quarantined),
        "unfinished": len(inventory.unfinished),
        "versions": [
            {
                "code_version_hash": version.hash,
                "own_bytes": version.own_bytes,
                "layer": version.layer,
                "last_used_at": datetime.fromtimestamp(version.last_used, UTC).isoformat(),
                "leased": version.leased,
                "unfinished_runs": pins.get(version.hash, 0),
                "python": version.python,
            }
            for version in versions
        ],
        "layers": [{"key": one.key, "bytes": one.bytes, "versions": one.versions} for one in inventory.layers],
    }


def _print_list(inventory: Inventory, versions: list[CachedVersion], pins: dict[str, int]) -> None:
    if not versions:
        print("no environments here yet: the first step of a version builds its own, or 'hwe warm'")
    else:
        # Not a table of rich's, which takes longer than all the rest when there are thousands of rows.
        shared = {layer.key: layer.bytes for layer in inventory.layers}
        print(f"{'code version':14}{'python':9}{'own':>11}{'layer':>11}  {'last used':18}in use for")
        lines = []
        for version in versions:
            layer = render.bytes_told(shared.get(version.layer, 0)) if version.layer else "none"
            used = datetime.fromtimestamp(version.last_used).astimezone()
            uses = ["a lease"] if version.leased else []
            if runs := pins.get(version.hash):
                uses.append(f"{runs} unfinished run{'s' if runs > 1 else ''}")
            own = render.bytes_told(version.own_bytes)
            moment = f"{used:%Y-%m-%d %H:%M}"
            lines.append(f"{version.hash[:12]:14}{version.python:9}{own:>11}{layer:>11}  {moment:18}{', '.join(uses)}")
        print("\n".join(lines))
    if inventory.quarantined:
        print(
            f"{len(inventory.quarantined)} were found damaged, and are in quarantine/ with "
            f"{render.bytes_told(inventory.quarantined_bytes)}: look at them; 'hwe cache gc' removes them after 30 days"
        )
    if inventory.unfinished:
        print(f"{len(inventory.unfinished)} are being built, or were left by a kill: 'hwe cache gc' removes those")
    print(
        f"{len(versions)} environments with {render.bytes_told(inventory.own_bytes)} of their own, on "
        f"{len(inventory.layers)} layers with {render.bytes_told(inventory.layer_bytes)}: "
        f"{render.bytes_told(inventory.total_bytes)}"
    )


def _print_eviction(done: Eviction, *, dry_run: bool) -> None:
    would = "would be removed" if dry_run else "removed"
    for version in done.versions:
        used = datetime.fromtimestamp(version.last_used).astimezone()
        print(f"{version.hash[:12]}  {render.bytes_told(version.own_bytes)}, last used {used:%Y-%m-%d %H:%M}: {would}")
    for layer in done.layers:
        print(f"layer {layer.key[:12]}  {render.bytes_told(layer.bytes)}: {would}")
    kept = [
        f"{len(names)} {why}"
        for names, why in ((done.leased, "in use"), (done.pinned, "unfinished runs need"))
        if names
    ]
    told = f"{len(done.versions)} environments and {len(done.layers)} layers {would}"
    swept = f", {done.unfinished} killed builds swept" if done.unfinished else ""
    swept += f", {done.quarantined} damaged ones {would}" if done.quarantined else ""
    sizes = f"{render.bytes_told(done.freed_bytes)}; {render.bytes_told(done.left_bytes)} left"
    print(f"{told}{swept}: {sizes}" + (f"; kept: {', '.join(kept)}" if kept else ""))
    if not done.reached:
        sys.stdout.flush()
        complain("the cache is still larger than --max-size: what is left is in use, or needed by unfinished runs")


def _without_hash(one: Inspected) -> dict[str, Any]:
    return {"verdict": one.verdict, "problems": list(one.problems), "moved_to": one.moved_to}


def _complain_of(kind: str, one: Inspected) -> None:
    what = {
        "quarantined": f"moved to {one.moved_to}; the next step builds it again",
        "damaged": "left, since somebody runs in it or it can only be read: see to that, and verify again",
        "unknown": "cannot be told",
    }[one.verdict]
    complain(f"{kind} {one.hash[:12]}: {'; '.join(one.problems)}: {what}")
