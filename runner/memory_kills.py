"""How often the kernel has killed a process for want of memory: what tells such a SIGKILL from any other."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

# A line of these files begins with the word, the count follows. The first one that is there is the most exact.
_WORD = b"oom_kill "


def count_memory_kills() -> int:
    """The kernel's count for our control group, or for the machine where we have none; 0 where it keeps none."""
    descriptor = _counter()
    if descriptor is None:
        return 0
    text = os.pread(descriptor, 64 * 1024, 0)
    start = text.rfind(_WORD) + len(_WORD)
    return int(text[start:].split(b"\n", 1)[0])


@cache
def _counter() -> int | None:
    """A descriptor that stays open: reading it again reads the count anew."""
    for path in (*_of_our_group(), Path("/proc/vmstat")):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        if _WORD in os.pread(descriptor, 64 * 1024, 0):
            return descriptor
        os.close(descriptor)
    return None


def _of_our_group() -> list[Path]:
    """Where control groups, version 2 or 1, count the kills of the group that we are in."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        number, controllers, path = line.split(":", 2)
        inside = path.lstrip("/")
        if number == "0":
            found.append(Path("/sys/fs/cgroup") / inside / "memory.events")
        elif "memory" in controllers.split(","):
            found.append(Path("/sys/fs/cgroup/memory") / inside / "memory.oom_control")
    return found
