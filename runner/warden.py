"""The supervisor's end of its warden, the process that starts zygotes and lets none outlive the supervisor.

Where the kernel lacks what a warden needs (Linux 5.4 has it), programs are started from here: they end when their
control socket does, which is when the supervisor is gone, but what their steps leave behind goes to init.
"""

from __future__ import annotations

import array
import contextlib
import functools
import marshal
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

_PROGRAM = Path(__file__).parent / "child" / "warden.py"
_MAX_REPLY_BYTES = 2048
_PATIENCE_SECONDS = 30.0  # for an answer that takes a millisecond, on a machine under heavy load


@functools.cache
def is_supported() -> bool:
    """Whether this system has what a warden needs. Old kernels and some containers have no pidfds."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


class Program(Protocol):
    """A running program."""

    @property
    def pid(self) -> int: ...
    @property
    def alive(self) -> bool: ...

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Whether it is dead, at the latest after so long."""

    def kill(self) -> None:
        """SIGKILL. Again, or when it is dead, is no harm."""

    def close(self) -> None:
        """Give back what this side holds of it."""


class Warden:
    """Starts programs that do not outlive this process. Thread-safe; started on first use, and again if it died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process that programs are children of, for as long as it lives; None where there is no warden."""
        return self._process.pid if self._process is not None else None

    def ready(self) -> None:
        """Start it ahead of need: it takes as long as an interpreter does. Raises OSError when that fails."""
        if is_supported():
            with self._lock:
                self._ensure()

    def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        pass_fds: Sequence[int],
        output: IO[bytes],
    ) -> Program:
        """Run a command in a session of its own, with that environment and nothing open but `pass_fds`.

        `command[0]` is a path. Raises OSError when it does not start.
        """
        if not is_supported():
            return _Child(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=pass_fds,
                    env=dict(environment),
                    cwd=directory,
                    start_new_session=True,
                )
            )
        with tempfile.TemporaryFile() as request, self._lock:
            marshal.dump((list(command), dict(environment), str(directory), list(pass_fds)), request)
            request.flush()
            passed = array.array("i", [request.fileno(), *pass_fds, output.fileno()])
            control = self._ensure()
            try:
                return self._ask(control, passed)
            except (BrokenPipeError, ConnectionResetError):
                self._drop()  # somebody killed it; another one does the same
                return self._ask(self._ensure(), passed)
            except TimeoutError:
                self._drop()  # and what it has started dies with it
                raise OSError("the warden does not answer: was it stopped?") from None

    @staticmethod
    def _ask(control: socket.socket, passed: array.array[int]) -> Program:
        os.lseek(passed[0], 0, os.SEEK_SET)  # a place in a file is shared with whoever has read it
        control.sendmsg([b"start"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
        reply, descriptors, _, _ = socket.recv_fds(control, _MAX_REPLY_BYTES, 1)
        if not reply:
            raise ConnectionResetError("the warden is gone")
        if reply.startswith(b"!"):
            raise OSError(reply[1:].decode("utf-8", "replace"))
        return _Warded(int(reply), descriptors[0])

    def _ensure(self) -> socket.socket:
        if self._closed:
            raise OSError("the warden is closed")
        if self._control is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-B", str(_PROGRAM), str(theirs.fileno()), str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env={},  # nothing of the worker's, whose secrets are there
                    cwd="/",
                    start_new_session=True,
                )
            ours.settimeout(_PATIENCE_SECONDS)
            self._control = ours
        return self._control

    def _drop(self) -> None:
        control, self._control = self._control, None
        process, self._process = self._process, None
        if control is not None:
            control.close()
        if process is not None:
            try:
                process.wait(_PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def close(self) -> None:
        """Let it kill all that it has started, and end. Again is no harm."""
        with self._lock:
            self._closed = True
            self._drop()


class _Warded:
    """A program that the warden has started. The pidfd cannot come to mean another process."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._poll = select.poll()
        self._poll.register(pidfd, select.POLLIN)
        self._dead = False
        self._closing = threading.Lock()

    @property
    def alive(self) -> bool:
        return not self.wait(0)

    def wait(self, timeout_seconds: float | None = None) -> bool:
        if not self._dead:
            self._dead = bool(self._poll.poll(None if timeout_seconds is None else timeout_seconds * 1000))
        return self._dead

    def kill(self) -> None:
        with self._closing, contextlib.suppress(ProcessLookupError):
            if not self._dead:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        with self._closing:
            pidfd, self._pidfd = self._pidfd, -1
            if pidfd >= 0:
                self._dead = True
                os.close(pidfd)


class _Child:
    """A program that is a child of this process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def wait(self, timeout_seconds: float | None = None) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_seconds)
        return not self.alive

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        """Nothing to give back."""
