"""`hwe doctor`: what this machine can do for the runner. Each section is a function that gives its findings."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from runner.sandbox import LEVELS, guarantees_of
from runner.settings import Settings

_SIGNS = {"enforced": "✔", "partial": "~", "absent": "✘"}


def examine(settings: Settings, sandbox: str | None = None) -> dict[str, Any]:
    """The document of `doctor --json`, a key for each section. Raises `SandboxUnavailable`.

    `sandbox`: the level to try instead of that of the settings.
    """
    return {"sandbox": _sandbox(sandbox or settings.sandbox)}


def is_sound(document: dict[str, Any]) -> bool:
    """Whether all that was asked for is enforced, at least in part."""
    sandbox = document["sandbox"]
    return sandbox["level"] == "none" or all(found["state"] != "absent" for found in sandbox["guarantees"])


def print_findings(document: dict[str, Any]) -> None:
    """The same for people."""
    sandbox = document["sandbox"]
    print(f"sandbox {sandbox['level']!r}, as tried in a throwaway child:")
    for found in sandbox["guarantees"]:
        detail = f": {found['detail']}" if found["detail"] else ""
        print(f"  {_SIGNS[found['state']]} {found['name']} {found['state']}{detail}")


def _sandbox(name: str) -> dict[str, Any]:
    level = LEVELS[name]
    return {"level": level.name, "guarantees": [asdict(guarantee) for guarantee in guarantees_of(level)]}
