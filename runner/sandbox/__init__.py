"""What a step is held to, and how surely. Levels: "none", "process", "locked-down"."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

from runner.errors import SandboxUnavailable, UsageError

Level = Literal["none", "process", "locked-down"]
LEVELS: tuple[Level, ...] = ("none", "process", "locked-down")


@dataclass(frozen=True)
class Guarantee:
    """One thing that is enforced, partly enforced or absent here. `detail` says why, and what would enable it."""

    name: str
    state: Literal["enforced", "partial", "absent"]
    detail: str = ""


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


def guarantees(level: Level) -> tuple[Guarantee, ...]:
    """What holds for every step at `level` on this machine."""
    linux = sys.platform.startswith("linux")
    tree: Literal["enforced", "partial"] = "enforced" if linux else "partial"
    confined = "arrives with the sandbox's Landlock and seccomp parts; until then a step may do what its user may"
    return (
        Guarantee("fresh process per step", "enforced"),
        Guarantee("clean environment", "enforced", "an allowlist of variables; none of the worker's own"),
        Guarantee("no inherited descriptors", "enforced"),
        Guarantee("wall clock limit", "enforced", "SIGTERM, then SIGKILL, to the whole group"),
        Guarantee(
            "process tree ended",
            tree,
            "" if linux else "a process that left the group is only found on Linux",
        ),
        Guarantee("no core dumps", "enforced"),
        Guarantee("no new privileges", "enforced" if linux else "absent", "" if linux else "a Linux mechanism"),
        Guarantee("writes only to scratch", "absent", "asked for none" if level == "none" else confined),
        Guarantee("no reach to other processes", "absent", "asked for none" if level == "none" else confined),
        Guarantee("network off on request", "absent", "asked for none" if level == "none" else confined),
    )
