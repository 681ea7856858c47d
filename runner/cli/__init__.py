"""The command line: parse, call, print. `main` turns every error of ours into one line and an exit code."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import signal
import stat
import sys
from collections.abc import Iterator
from types import FrameType
from typing import TextIO

# Exit codes: 0 done, 1 the answer is no, 2 wrong usage, 3 could not do it.
ANSWER_IS_NO = 1
WRONG_USAGE = 2
COULD_NOT = 3

# Whose fault an error is decides its exit code: what the caller can mend in the command or the project is usage.
_USAGE_FAULTS = {"usage", "project"}

_ADVICE = {
    errno.ENOSPC: "free some space and try again",
    errno.EACCES: "let this user read and write there, or choose another place",
    errno.EROFS: "make it writable, or choose another place",
}


def main() -> None:
    """The `hwe` command."""
    from envs import EnvsError
    from runner.cli.commands import app
    from runner.errors import RunnerError

    _open_streams()
    # Some that start services leave them none at all (0): then all would be allowed to swap the ledger and the cache.
    os.umask(os.umask(0o077) | stat.S_IWOTH)
    try:
        app()
    except (EnvsError, RunnerError) as error:
        complain(str(error))
        sys.exit(WRONG_USAGE if error.fault in _USAGE_FAULTS else COULD_NOT)
    except OSError as error:
        if error.errno == errno.EPIPE:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has seen enough
            sys.exit(0)
        complain(": ".join(filter(None, (str(error), _ADVICE.get(error.errno or 0)))))
        sys.exit(COULD_NOT)
    except UnicodeEncodeError as error:
        complain(f"{error.object!a} is not UTF-8: give a name or a path that is")
        sys.exit(WRONG_USAGE)
    except RecursionError:
        complain("the input is nested too deeply: give it as text inside the JSON, or as a file that a step reads")
        sys.exit(WRONG_USAGE)
    except KeyboardInterrupt:
        sys.exit(128 + 2)


def _open_streams() -> None:
    """Streams that take whatever is printed: closed ones become /dev/null, and no letter is too foreign."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for the rest of the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """A SIGTERM leaves the body as a Ctrl-C does, with an exit code of its own: what was begun is cleared away."""

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def complain(message: str) -> None:
    """Say on stderr, in one line, why something could not be done."""
    one_line = " ".join(message.split())
    print(f"hwe: {one_line}", file=sys.stderr, flush=True)


def give_up_stderr() -> None:
    """Nobody reads it any more: what is written to it from now on, and what it still holds, goes nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stderr.fileno())
    os.close(null)


class _LogHandler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            give_up_stderr()
        else:
            super().handleError(record)


def set_up_logging(*, verbose: bool) -> None:
    """Logs go to stderr, so that stdout holds nothing but results."""
    handler = _LogHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger("hwe")
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    root.propagate = False
