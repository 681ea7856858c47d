"""Locks that the kernel drops when their holder is gone, however it went.

Not the `filelock` package, for one reason: the process that builds hands its lock on to the tools that it
starts. When it is killed in the middle, uv may live on for a while and write; the lock stays taken until that
is over too, so that the next builder never shares a directory with it. That needs the descriptor, which
`filelock` keeps to itself.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator

# Looking whether a lock is held takes microseconds: the next try finds it free.
RETRY_SECONDS = 0.001

# The longest pause between two looks while somebody else builds, which takes from a tenth of a second to minutes.
LOOK_SECONDS = 0.05


@contextlib.contextmanager
def exclusive(path: str, waiting: Callable[[], None] | None = None) -> Iterator[int]:
    """Wait for the lock and hold it. Gives the descriptor, for `pass_fds` of what must not outlive it.

    `waiting` is called a few times a second while somebody else has it; what that raises ends the wait.
    """
    descriptor = _take(path, fcntl.LOCK_EX, waiting)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def exclusive_now(path: str, *, patience_seconds: float = 0.0) -> Iterator[bool]:
    """Hold the lock if nobody else has it; gives whether.

    `patience_seconds`: for those that somebody may hold for a moment, only to see whether they are held.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        descriptor = _opened(path)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    yield False
                    return
            else:
                if _is_there(descriptor, path):
                    yield True
                    return
        finally:
            os.close(descriptor)
        time.sleep(RETRY_SECONDS)


def is_held(path: str) -> bool:
    """Whether somebody has the lock, shared or not. Takes it for a moment: see `exclusive_now`."""
    try:
        return held_and_time(path)[0]
    except FileNotFoundError:
        return False


def held_and_time(path: str) -> tuple[bool, float]:
    """`is_held`, and when the file was changed last. Raises FileNotFoundError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:  # of somebody else, in a cache that we only read
        return True, os.stat(path).st_mtime
    held = False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held = True
    finally:
        changed = os.fstat(descriptor).st_mtime
        os.close(descriptor)
    return held, changed


def take_shared(path: str) -> int:
    """Wait for a shared lock. Gives the descriptor; whoever closes it gives the lock back."""
    return _take(path, fcntl.LOCK_SH)


def take_shared_to_read(*paths: str) -> int:
    """A shared lock on the first of the paths that is there, without writing anything: for what can only be read.

    Where none is, nobody who could build or remove has been there, and there is nothing to lock.
    """
    for path in paths:
        with contextlib.suppress(FileNotFoundError, PermissionError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            except BaseException:
                os.close(descriptor)
                raise
            return descriptor
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def _take(path: str, kind: int, waiting: Callable[[], None] | None = None) -> int:
    while True:
        descriptor = _opened(path)
        try:
            if waiting:
                _look_until_taken(descriptor, kind, waiting)
            else:
                fcntl.flock(descriptor, kind)
            if _is_there(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _opened(path: str) -> int:
    """The file, made if missing, with its folder: somebody may have copied the cache without its locks."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        return os.open(path, flags, 0o600)


def _look_until_taken(descriptor: int, kind: int, waiting: Callable[[], None]) -> None:
    pause = RETRY_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            time.sleep(pause)
            pause = min(2 * pause, LOOK_SECONDS)
        else:
            return


def _is_there(descriptor: int, path: str) -> bool:
    """Whoever had the lock may have removed the file: then this is a lock on nothing."""
    try:
        return os.fstat(descriptor).st_ino == os.stat(path).st_ino
    except FileNotFoundError:
        return False
