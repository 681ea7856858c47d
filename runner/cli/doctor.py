"""`hwe doctor`: what this machine can do for the runner. Each section is a function that gives its findings."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from runner.sandbox import LEVELS, guarantees_of
from runner.settings import Settings

_SIGNS = {"enforced": "✔", "partial": "~", "absent": "✘"}


def examine(settings: Settings) -> dict[str, Any]:
    """The document of `doctor --json`, a key for each section. Raises `SandboxUnavailable`."""
    return {"sandbox": _sandbox(settings)}


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


def _sandbox(settings: Settings) -> dict[str, Any]:
    level = LEVELS[settings.sandbox]
    return {"level": level.name, "guarantees": [asdict(guarantee) for guarantee in guarantees_of(level)]}
