"""What a step is held to, and how surely. Levels: "none", "process", "locked-down"."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from runner.errors import SandboxUnavailable, UsageError
from runner.sandbox.guarantees import Guarantee, guarantees_of
from runner.sandbox.levels import Hold, Level, Place, SandboxLevel
from runner.sandbox.limits import Asked
from runner.sandbox.locked_down import LockedDownLevel
from runner.sandbox.none_level import NoneLevel
from runner.sandbox.process_level import ProcessLevel

__all__ = ["LEVELS", "Guarantee", "Hold", "Level", "Place", "SandboxLevel", "check_asked", "guarantees"]
__all__ += ["guarantees_of", "level_of", "warn_of_missing"]

logger = logging.getLogger("hwe.supervisor")

LEVELS: dict[str, SandboxLevel] = {level.name: level for level in (NoneLevel(), ProcessLevel(), LockedDownLevel())}

_warned: set[str] = set()


def level_of(name: str) -> SandboxLevel:
    """The level of that name. Raises `UsageError`, or `SandboxUnavailable` when it promises more than this system has.

    `locked-down` fails closed: running with less than was asked for is not a choice to make for a user.
    """
    if name not in LEVELS:
        raise UsageError(f"there is no sandbox level {name!r}: choose none, process or locked-down")
    level = LEVELS[name]
    if level.name == "locked-down":
        absent = [guarantee.name for guarantee in guarantees_of(level) if guarantee.state == "absent"]
        if absent:
            raise SandboxUnavailable(
                f"sandbox 'locked-down' cannot enforce here: {', '.join(absent)}; `hwe doctor --sandbox locked-down` "
                "says why; or choose 'process'"
            )
    return level


def guarantees(name: str) -> tuple[Guarantee, ...]:
    """What the level of that name enforces on this machine, and what not. Raises as `level_of`."""
    return guarantees_of(level_of(name))


def check_asked(asked: Asked, *, off_limits: Iterable[Path]) -> None:
    """Raises `SandboxUnavailable` when a project asks for a path that leads to other versions: `off_limits`."""
    forbidden = [path.resolve() for path in off_limits]
    for path in (*asked.readable, *asked.writable):
        real = Path(path).resolve()
        for place in forbidden:
            if real.is_relative_to(place) or place.is_relative_to(real):
                raise SandboxUnavailable(
                    f"[tool.hwe.sandbox] asks for {path}, where code versions are kept ({place}): ask for less"
                )


def warn_of_missing(level: Level, missing: Sequence[str]) -> None:
    """Say once in the life of this process what the kernel does not enforce of what was asked for."""
    told = ", ".join(missing)
    if missing and told not in _warned:
        _warned.add(told)
        logger.warning("sandbox %r: this kernel lacks %s; `hwe doctor` says what is not enforced", level, told)
