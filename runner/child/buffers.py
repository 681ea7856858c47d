"""What is buffered in files: a process that leaves by posix._exit would lose it."""

import gc
import io
import sys

from . import kernel

opened_ahead = []  # by preloaded modules


def flush_files():
    """Write it out."""
    for stream in (sys.stdout, sys.stderr, *opened_ahead, *open_files()):
        try:
            if not stream.closed and stream.writable():
                stream.flush()
        except BaseException:
            pass  # replaced or hostile: the outcome counts
    kernel.libc.fflush(None)  # what C code has printed


def open_files():
    """Every file object that the garbage collector knows of, but those that were frozen before forking."""
    base = io.IOBase.__base__  # isinstance asks IOBase itself, an abstract class, which takes ten times as long
    return [found for found in gc.get_objects() if isinstance(found, base)]
