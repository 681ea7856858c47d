"""What of the machine one step may use up, as limits of the kernel on a process (see setrlimit)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

# A value may be this long (see runner/body.py), and in memory it is a file to the kernel.
_FILE_SIZE_BYTES = 16 * 1024**3

# Pools of connections and of workers need hundreds; the zygote holds one for each of its steps.
_OPEN_FILES = 4096

# The kernel counts by user: what runs already is added. More are made by fork bombs, not by steps.
_PROCESSES = 1024


class Limits(Protocol):
    """What a step may use up, and whether it may make sockets. None: a default, or what holds already."""

    @property
    def network(self) -> bool: ...
    @property
    def memory_bytes(self) -> int | None: ...
    @property
    def cpu_seconds(self) -> int | None: ...
    @property
    def file_size_bytes(self) -> int | None: ...
    @property
    def open_files(self) -> int | None: ...
    @property
    def processes(self) -> int | None: ...


class Asked(Limits, Protocol):
    """What a project says of its sandbox: `[tool.hwe.sandbox]`."""

    @property
    def readable(self) -> tuple[str, ...]: ...
    @property
    def writable(self) -> tuple[str, ...]: ...
    @property
    def steps(self) -> Mapping[str, Limits]: ...


def zygote_limits(asked: Asked) -> dict[str, int]:
    """Limits that steps inherit; the names are those of RLIMIT_ constants."""
    return {
        "CORE": 0,
        "FSIZE": asked.file_size_bytes or _FILE_SIZE_BYTES,
        "NOFILE": asked.open_files or _OPEN_FILES,
        "MEMLOCK": 64 * 1024,  # locked memory cannot be taken back when the machine runs short
    }


def function_limits(limits: Limits) -> dict[str, int]:
    """What of these differs for one function; the names are those of RLIMIT_ constants."""
    told = {
        "DATA": limits.memory_bytes,
        "CPU": limits.cpu_seconds,
        "FSIZE": limits.file_size_bytes,
        "NOFILE": limits.open_files,
        "NPROC": limits.processes and _tasks_of_this_user() + limits.processes,
    }
    return {name: number for name, number in told.items() if number}


def step_limits(asked: Asked) -> dict[str, int]:
    """Limits that would end a zygote, or count what it does; a step takes them when it knows its function.

    Memory is limited as DATA, what a process may write to and is its own: AS also counts what threads and numpy
    merely reserve. Neither counts memory that has a descriptor.
    """
    limits = {"NPROC": _tasks_of_this_user() + (asked.processes or _PROCESSES)}
    if asked.memory_bytes:
        limits["DATA"] = asked.memory_bytes
    if asked.cpu_seconds:
        limits["CPU"] = asked.cpu_seconds
    return limits


def _tasks_of_this_user() -> int:
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid == os.geteuid():
                count += len(os.listdir(process / "task"))
        except OSError:
            continue  # gone meanwhile
    return count
