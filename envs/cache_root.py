"""Whether a directory can be the root of a cache. Code runs from it: nobody else may own or write it."""

import os
import stat

from envs.errors import CacheUnusable, explain_os_error


def usable_root(path: str) -> tuple[str, bool]:
    """The real path of the cache, made if missing, and whether it can only be read.

    One that can only be read may also be root's, as in an image that was built with a warm cache. Raises CacheUnusable.
    """
    if "\n" in path:
        raise CacheUnusable(repr(path), "a path with a line break in it cannot be on sys.path; choose another place")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise CacheUnusable(ascii(path), "is not UTF-8, as sys.path has to be; choose another place") from None
    if os.pathsep in path:
        raise CacheUnusable(path, f"a path with {os.pathsep!r} in it cannot be on PATH; choose another place")
    try:
        if os.path.islink(path):  # whoever owns the link, or its directory, could lead us elsewhere tomorrow
            raise CacheUnusable(path, f"is a symbolic link; name the directory itself: {os.path.realpath(path)}")
        os.makedirs(path, mode=0o700, exist_ok=True)
        status = os.stat(path)
    except FileExistsError:
        raise CacheUnusable(path, "is not a directory; choose another place") from None
    except OSError as error:
        raise CacheUnusable(path, explain_os_error(error)) from error
    if status.st_uid not in (os.geteuid(), 0):
        raise CacheUnusable(path, f"belongs to another user ({status.st_uid}); choose a directory of your own")
    # Also with the sticky bit: whoever may add to it could be there first with a directory of ours.
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CacheUnusable(path, f"can be written by others; run: chmod go-w {path}")
    if not os.access(path, os.R_OK | os.X_OK):
        raise CacheUnusable(path, "cannot be read by this user; run: chmod -R go+rX, or choose another place")
    read_only = not os.access(path, os.W_OK)
    if read_only and not os.path.isdir(os.path.join(path, "versions")):
        raise CacheUnusable(path, "is not writable for this user; make it so, or choose another place")
    if not read_only and stat.S_IMODE(status.st_mode) != 0o700 and not os.listdir(path):  # one that was made for us
        os.chmod(path, 0o700)
    return os.path.realpath(path), read_only
