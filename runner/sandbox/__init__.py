"""What a step is held to, and how surely. Levels: "none", "process", "locked-down"."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from runner.errors import SandboxUnavailable, UsageError
from runner.sandbox.guarantees import Guarantee, guarantees
from runner.sandbox.limits import Asked
from runner.sandbox.process_level import confinement as _process_confinement

__all__ = ["LEVELS", "Guarantee", "Level", "checked_level", "confinement", "guarantees", "warn_of_missing"]

logger = logging.getLogger("hwe.supervisor")

Level = Literal["none", "process", "locked-down"]
LEVELS: tuple[Level, ...] = ("none", "process", "locked-down")

_warned: set[str] = set()


def checked_level(name: str) -> Level:
    """The level of that name. Raises `UsageError`, or `SandboxUnavailable` for what this release cannot enforce.

    `locked-down` promises namespaces that are not built yet, and it fails closed: running with less than was
    asked for is not a choice to make for a user.
    """
    for level in LEVELS:
        if name == level:
            break
    else:
        raise UsageError(f"there is no sandbox level {name!r}: choose none, process or locked-down")
    if level == "locked-down":
        raise SandboxUnavailable("this release cannot enforce sandbox 'locked-down' yet: choose 'process' or 'none'")
    return level


def confinement(
    level: Level, asked: Asked, readable: Iterable[Path], *, off_limits: Iterable[Path]
) -> dict[str, Any] | None:
    """What a zygote is told to hold itself to, or None for nothing. `readable`: its environment.

    Raises `SandboxUnavailable` when a project asks for a path that leads to other versions: `off_limits`.
    """
    if level == "none":
        return None
    forbidden = [path.resolve() for path in off_limits]
    for path in (*asked.readable, *asked.writable):
        real = Path(path).resolve()
        for place in forbidden:
            if real.is_relative_to(place) or place.is_relative_to(real):
                raise SandboxUnavailable(
                    f"[tool.hwe.sandbox] asks for {path}, where code versions are kept ({place}): ask for less"
                )
    return _process_confinement(asked, readable)


def warn_of_missing(level: Level, missing: Sequence[str]) -> None:
    """Say once in the life of this process what the kernel does not enforce of what was asked for."""
    told = ", ".join(missing)
    if missing and told not in _warned:
        _warned.add(told)
        logger.warning("sandbox %r: this kernel lacks %s; `hwe doctor` says what is not enforced", level, told)
