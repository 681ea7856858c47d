"""Where a page goes. Cheap to import: the commands ask here before they begin."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from runner.errors import UsageError


def check_target(path: Path) -> None:
    """Raise `UsageError` where no page could be written: better before the work than after it."""
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise UsageError(f"--html {path}: there is no directory {target.parent}: make it, or name another one")
    if target.exists() and not target.is_file():
        raise UsageError(f"--html {path}: it is there and no file: choose another name")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise UsageError(f"--html {path}: {target.parent} is not writable: choose another directory")


def write(path: Path, text: str) -> None:
    """Write a page under a temporary name and rename it, so that nobody reads half of one. Raises `UsageError`."""
    target = os.path.realpath(path)
    # Not by tempfile, whose files are for one user: this one is to be shown, as far as the umask says.
    temporary = os.path.join(os.path.dirname(target), f".{os.path.basename(target)[:200]}.{secrets.token_hex(4)}")
    try:
        try:
            with open(temporary, "x", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise UsageError(f"--html {path} cannot be written: {error.strerror}") from error
