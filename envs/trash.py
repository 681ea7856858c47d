"""Where things go before they are removed: out of sight in one step, so that a half removed one is never found."""

import contextlib
import errno
import os
import shutil
import uuid

# A folder of the cache may be a link to another disk, to which nothing can be moved in one step: each has its own.
BESIDE = ".trash"


def discard(cache_root: str, path: str) -> bool:
    """Move `path` into the trash; whether it was there. `empty_trash` does the slow part."""
    try:
        return _moved(path, os.path.join(cache_root, "trash"))
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    return _moved(path, os.path.join(os.path.dirname(path), BESIDE))


def empty_trash(cache_root: str) -> None:
    for trash in ("trash", *(os.path.join(folder, BESIDE) for folder in ("versions", "layers", "quarantine"))):
        with contextlib.suppress(OSError):
            for name in os.listdir(os.path.join(cache_root, trash)):
                shutil.rmtree(os.path.join(cache_root, trash, name), ignore_errors=True)


def _moved(path: str, trash: str) -> bool:
    target = os.path.join(trash, uuid.uuid4().hex)
    try:
        os.rename(path, target)
    except FileNotFoundError:
        if not os.path.lexists(path):
            return False
        os.makedirs(trash, mode=0o700, exist_ok=True)
        os.rename(path, target)
    return True
