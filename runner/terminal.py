"""Lends the user's terminal to a step: a pseudo-terminal of its own, and a relay between the two, as `script` does.

The step gets the other end as an open descriptor, so it may be confined as any other. While it has the terminal, every
key goes to it, Ctrl-C too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct
import sys
import termios
import threading
import tty
from types import FrameType, TracebackType
from typing import Any, Self

from runner.body import Memory
from runner.errors import RunnerError

_CHUNK_BYTES = 64 * 1024

# By these a user, or a window that is closed, ends a command that has the terminal.
_ENDING = (signal.SIGTERM, signal.SIGHUP)


class NoTerminal(RunnerError):
    """There is nobody to talk to."""

    fault = "environment"


class Terminal:
    """The terminal of this process, lent for the time of a `with`. For the main thread: it handles signals.

    `other_end` is the step's; it goes with a request. The user's terminal is left as it was found, however this ends,
    but by SIGKILL.
    """

    def __init__(self) -> None:
        """Raises `NoTerminal`."""
        if not (os.isatty(0) and os.isatty(1)):
            raise NoTerminal(
                "there is no terminal to debug on: run it in one, with neither input nor output redirected"
            )
        self._found = termios.tcgetattr(0)
        self._ours, theirs = os.openpty()
        os.set_inheritable(theirs, False)
        self.other_end = Memory(theirs, 0)
        self._wake_read, self._wake_write = os.pipe()
        self._relay = threading.Thread(target=self._pass_on, name="hwe-terminal", daemon=True)
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._copy_size()
        self._handlers = {number: signal.signal(number, _leave) for number in _ENDING}
        self._handlers[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, self._copy_size)
        self._relay.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            os.close(self._wake_write)
            self._relay.join()
        finally:
            # First of all that is undone, and whatever fails after it: a shell in raw mode is of no use to anybody.
            with contextlib.suppress(termios.error):  # the window was closed
                termios.tcsetattr(0, termios.TCSADRAIN, self._found)
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            os.close(self._wake_read)
            if self._ours >= 0:
                os.close(self._ours)

    def _copy_size(self, *_: object) -> None:
        with contextlib.suppress(OSError, ValueError):  # the session is over
            size = fcntl.ioctl(0, termios.TIOCGWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
            fcntl.ioctl(self._ours, termios.TIOCSWINSZ, size)  # the kernel tells the step

    def _pass_on(self) -> None:
        poll = select.poll()
        for descriptor in (0, self._ours, self._wake_read):
            poll.register(descriptor, select.POLLIN)
        is_raw = False
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._ours in ready:
                data = _read(self._ours)
                if data and not is_raw:
                    is_raw = True
                    self._make_raw()  # not before the step speaks: until then, Ctrl-C ends us
                _write(1, data)
                if not data:
                    poll.unregister(self._ours)
            elif self._wake_read in ready:  # only when all that the step said is passed on
                return
            if 0 in ready:
                data = _read(0)
                if not data:  # the window was closed: the step is hung up on, and ends
                    ours, self._ours = self._ours, -1
                    os.close(ours)
                    return
                _write(self._ours, data)

    def _make_raw(self) -> None:
        with contextlib.suppress(termios.error):
            tty.setraw(0, termios.TCSADRAIN)
            changed = termios.tcgetattr(0)
            changed[1] = self._found[1]  # output as it was: what this process logs meanwhile stays in lines
            termios.tcsetattr(0, termios.TCSADRAIN, changed)


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _CHUNK_BYTES)
    except OSError:  # what the kernel says when all other ends are closed
        return b""


def _write(descriptor: int, data: bytes) -> None:
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(descriptor, data) :]
