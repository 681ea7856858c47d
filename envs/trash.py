"""Where things go before they are removed: out of sight in one step, so that a half removed one is never found."""

import contextlib
import os
import shutil
import uuid


def discard(cache_root: str, path: str) -> bool:
    """Move `path` into the trash; whether it was there. `empty_trash` does the slow part."""
    trash = os.path.join(cache_root, "trash")
    target = os.path.join(trash, uuid.uuid4().hex)
    try:
        os.rename(path, target)
    except FileNotFoundError:
        if not os.path.lexists(path):
            return False
        os.makedirs(trash, mode=0o700, exist_ok=True)
        os.rename(path, target)
    return True


def empty_trash(cache_root: str) -> None:
    trash = os.path.join(cache_root, "trash")
    with contextlib.suppress(OSError):
        for name in os.listdir(trash):
            shutil.rmtree(os.path.join(trash, name), ignore_errors=True)
