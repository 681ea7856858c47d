"""Messages in the making, and the memory that large values travel in. See runner/body.py."""

import fcntl
import io
import os
import posix

from .frames import encode, write_all
from .project import import_past_project

# See runner/body.py.
ALIGNMENT = 64
MAX_INLINE_BYTES = 64 * 1024
MAX_BODY_BYTES = 16 * 1024**3
HAS_MEMFD = hasattr(os, "memfd_create") and hasattr(fcntl, "F_ADD_SEALS")


class Outgoing:
    """A message in the making: a header, parts that follow it in the frame, and memory that goes beside it."""

    def __init__(self, header):
        self.header = header
        self.parts = []
        self.memories = []
        self.is_exit = False
        self.exit_code = 1

    def add(self, part):
        """Its index in the frame."""
        self.parts.append(part)
        return len(self.parts) - 1

    def enclose(self, segments):
        """Add a value; returns what the header is to say of it. Large ones go into sealed memory."""
        sizes = [len(segment) for segment in segments]
        size = size_of(sizes)
        if size <= MAX_INLINE_BYTES or not HAS_MEMFD:
            whole = segments[0] if len(segments) == 1 else b"".join(padded(segments))
            return {"segments": sizes, "part": self.add(whole)}
        self.memories.append((seal(segments), size))
        return {"segments": sizes, "memory": len(self.memories) - 1}

    def frame(self):
        return encode(dict(self.header, memories=[size for _, size in self.memories]), self.parts)


def size_of(sizes):
    size = 0
    for segment in sizes:
        size += -size % ALIGNMENT + segment
    if size > MAX_BODY_BYTES:
        raise ValueError("a value of %d bytes is over the limit of %d" % (size, MAX_BODY_BYTES))
    return size


def padded(segments):
    position = 0
    for segment in segments:
        gap = -position % ALIGNMENT
        if gap:
            yield bytes(gap)
        yield segment
        position += gap + len(segment)


def seal(segments):
    """The descriptor of memory with that content, which nobody can change any more."""
    fd = posix.memfd_create("hwe-value", posix.MFD_CLOEXEC | posix.MFD_ALLOW_SEALING)
    for segment in padded(segments):
        write_all(fd, segment)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL)
    return fd


def segments_of(said, parts, memories):
    """The pickle of a value, as a file, and its buffers. Memory is mapped: pages become ours when we write to them."""
    if "part" in said:
        whole = parts[said["part"]]
        first = io.BytesIO(whole[: said["segments"][0]])
    else:
        mmap = import_past_project("mmap")
        fd, size = memories[said["memory"]]
        first = mmap.mmap(fd, size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
        whole = memoryview(first)
    buffers, start = [], 0
    for size in said["segments"]:
        start += -start % ALIGNMENT
        buffers.append(whole[start : start + size])
        start += size
    if "part" in said:
        buffers = [bytearray(buffer) for buffer in buffers]  # a step may write to what it was given
    return first, buffers[1:]
