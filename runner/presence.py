"""Who is alive: each driver of runs holds a kernel lock on a file of its own, which its death releases.

A heartbeat would need clocks to agree and a timeout to be guessed; a lock is dropped by the kernel at once,
also on SIGKILL.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol


class Attendance(Protocol):
    """What every kind of presence can tell: `Presence` on one machine, `DatabasePresence` on many."""

    id: str

    def is_alive(self, driver: str | None) -> bool: ...

    def dead(self) -> Iterator[str]: ...

    def forget(self, driver: str) -> None: ...

    def close(self) -> None: ...


def new_driver_id() -> str:
    """Host and pid, for people who read `hwe show`, and a random part that makes it unique."""
    return f"{socket.gethostname().split('.')[0]}-{os.getpid()}-{secrets.token_hex(4)}"


class Presence:
    """One driver, alive from construction to `close` or the end of its process."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self.id = new_driver_id()
        self._path = directory / f"{self.id}.lock"
        # Locked before it is seen under its name, so that no one can take it for a dead one's.
        unborn = directory / f".{self.id}"
        self._fd = os.open(unborn, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        unborn.rename(self._path)

    def is_alive(self, driver: str | None) -> bool:
        """Whether the driver of that id still holds its lock."""
        if driver == self.id:
            return True
        return driver is not None and not _lock_is_free(self._directory / f"{driver}.lock")

    def dead(self) -> Iterator[str]:
        """Ids of drivers that died and have not been forgotten yet."""
        for path in self._directory.glob("*.lock"):
            if path != self._path and _lock_is_free(path):
                yield path.stem

    def forget(self, driver: str) -> None:
        """Called once a dead driver's runs are taken over."""
        (self._directory / f"{driver}.lock").unlink(missing_ok=True)

    def close(self) -> None:
        """Leave in good order."""
        self._path.unlink(missing_ok=True)
        os.close(self._fd)


def _lock_is_free(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
