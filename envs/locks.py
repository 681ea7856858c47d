"""Locks that the kernel drops when their holder is gone, however it went.

Not the `filelock` package, for one reason: the process that builds hands its lock on to the tools that it
starts. When it is killed in the middle, uv may live on for a while and write; the lock stays taken until that
is over too, so that the next builder never shares a directory with it. That needs the descriptor, which
`filelock` keeps to itself.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator


@contextlib.contextmanager
def exclusive(path: str) -> Iterator[int]:
    """Wait for the lock and hold it. Gives the descriptor, for `pass_fds` of what must not outlive it."""
    descriptor = _take(path, fcntl.LOCK_EX)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def exclusive_now(path: str) -> Iterator[bool]:
    """Hold the lock if nobody else has it; gives whether."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def take_shared(path: str) -> int:
    """Wait for a shared lock. Gives the descriptor; whoever closes it gives the lock back."""
    return _take(path, fcntl.LOCK_SH)


def _take(path: str, kind: int) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, kind)
            # Whoever had the lock may have removed the file: then this is a lock on nothing.
            if os.fstat(descriptor).st_ino == os.stat(path).st_ino:
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
