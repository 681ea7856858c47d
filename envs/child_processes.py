"""Programs that a build starts: waited for while somebody wants the build, else ended with all that they started."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from envs.errors import BuildGivenUp

# How often whoever wants the build is asked whether that is still so.
ASK_SECONDS = 0.1

# Sent by a person, by systemd to all of a service, by the kernel when memory is short: they say nothing about what the
# program was asked to do, so it may succeed the next time.
_FROM_OUTSIDE = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


def ended_from_outside(returncode: int) -> str | None:
    """What happened to a program that somebody else ended, for a message; None when it ended by itself."""
    killer = next((number for number in _FROM_OUTSIDE if returncode == -number), None)
    if killer is None:
        return None
    why = ", as the kernel does when memory is short" if killer == signal.SIGKILL else ""
    return f"was ended by {killer.name}{why}"


@contextlib.contextmanager
def started(command: Sequence[str], **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """A program in a session of its own, which a Ctrl-C on our terminal does not reach: we say when it ends.

    When the body is left, it is over: still running it is killed, and all that it started. `options`: of Popen.
    """
    with subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL, **options) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def output_of(process: "subprocess.Popen[bytes]", given_up: Callable[[], bool] = bool) -> bytes:
    """What it prints until it ends. Raises BuildGivenUp as soon as `given_up` says so."""
    while True:
        try:
            # Its output tells when it ends, without the naps that waiting for a process with a time limit takes.
            return process.communicate(timeout=ASK_SECONDS)[0]
        except subprocess.TimeoutExpired:
            if given_up():
                raise BuildGivenUp from None
