"""`hwe doctor`: what this machine can do for the runner. Each section is a function that gives its findings."""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict
from typing import Any

from envs import DirectoryStore
from runner.cli import ended_by_sigterm
from runner.cli.installation import opened
from runner.cli.progress import Reporter
from runner.sandbox import LEVELS, guarantees_of
from runner.settings import Settings
from runner.warming import Warmer

_SIGNS = {"enforced": "✔", "partial": "~", "absent": "✘"}


def examine(settings: Settings, sandbox: str | None = None) -> dict[str, Any]:
    """The document of `doctor --json`, a key for each section. Raises `SandboxUnavailable`.

    `sandbox`: the level to try instead of that of the settings.
    """
    return {"sandbox": _sandbox(sandbox or settings.sandbox)}


def examine_active(settings: Settings, told: Reporter) -> dict[str, Any]:
    """Whether each version that unfinished runs started on can be had here, now, without a network: by building it.

    Raises what the ledger raises.
    """
    with ended_by_sigterm(), opened(settings) as installation:
        census = {one.code_version_hash: one for one in installation.ledger.census()}
        # Of a store that is far away, what there are copies of.
        store = (
            DirectoryStore(settings.artifact_copies)
            if "://" in settings.store and not settings.store.startswith("file:")
            else installation.store
        )
        warmer = Warmer(str(settings.cache), store, told.building, offline=True)
        with contextlib.closing(warmer.warm(census, jobs=os.cpu_count() or 1)) as warming:
            warmed = {one.code_version_hash: one for one in warming}
    return {
        "versions": [
            {
                "code_version_hash": name,
                "unfinished_runs": one.runs,
                "state": "missing" if warmed[name].status == "failed" else "here",
                "built_now": warmed[name].status == "built",
                "needs": warmed[name].error,
                "log_path": warmed[name].log_path,
            }
            for name, one in census.items()
        ]
    }


def is_sound(document: dict[str, Any]) -> bool:
    """Whether all that was asked for is enforced, at least in part, and no unfinished run is stranded."""
    if any(version["state"] == "missing" for version in document.get("active", {}).get("versions", ())):
        return False
    sandbox = document["sandbox"]
    return sandbox["level"] == "none" or all(found["state"] != "absent" for found in sandbox["guarantees"])


def print_findings(document: dict[str, Any]) -> None:
    """The same for people."""
    sandbox = document["sandbox"]
    print(f"sandbox {sandbox['level']!r}, as tried in a throwaway child:")
    for found in sandbox["guarantees"]:
        detail = f": {found['detail']}" if found["detail"] else ""
        print(f"  {_SIGNS[found['state']]} {found['name']} {found['state']}{detail}")
    if "active" in document:
        _print_active(document["active"]["versions"])


def _print_active(versions: list[dict[str, Any]]) -> None:
    print("versions of unfinished runs, built here without a network:" if versions else "no run is unfinished")
    for version in versions:
        sign, how = ("✘", version["needs"]) if version["state"] == "missing" else ("✔", "can run")
        runs = f"{version['unfinished_runs']} run{'s' if version['unfinished_runs'] > 1 else ''}"
        print(f"  {sign} {version['code_version_hash'][:12]} ({runs}): {how}")


def _sandbox(name: str) -> dict[str, Any]:
    level = LEVELS[name]
    return {"level": level.name, "guarantees": [asdict(guarantee) for guarantee in guarantees_of(level)]}
