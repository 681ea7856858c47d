"""The bytes of a value: a pickle and its large buffers, laid end to end, on the heap or in sealed memory.

Sealed memory is a memfd that nobody can change, grow or shrink any more. It passes from process to process as a
descriptor, so a value of any size goes from step to step without being copied, or read, by the supervisor.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from runner.errors import ProtocolError, UsageError

# Where each segment starts, as a multiple: what the largest vector instructions want of an array.
ALIGNMENT = 64

# Up to here a value travels in the frame itself: below, two more system calls cost more than a copy.
MAX_INLINE_BYTES = 64 * 1024

# No step means to hand over more; a number that a hostile one made up ends here, before it is believed.
MAX_BODY_BYTES = 16 * 1024**3
MAX_SEGMENTS = 100_000

HAS_MEMFD = hasattr(os, "memfd_create") and hasattr(fcntl, "F_ADD_SEALS")
_SEALS = (fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL) if HAS_MEMFD else 0


class Memory:
    """Sealed memory of `size` bytes. Freed by the kernel when the last process lets go of it."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self.size = size
        weakref.finalize(self, os.close, descriptor).atexit = False

    @classmethod
    def holding(cls, chunks: Iterable[bytes | memoryview]) -> Memory:
        """New memory with that content. Raises `OSError` when there is no room."""
        descriptor = os.memfd_create("hwe-value", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            size = 0
            for chunk in chunks:
                written = 0
                with memoryview(chunk) as view:  # of no mapping may a view be left that an error carries away
                    while written < len(view):
                        written += os.write(descriptor, view[written:])
                size += written
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor, size)

    @classmethod
    def received(cls, descriptor: int, size: int) -> Memory:
        """Memory that a child claims to have sent, which is then ours to close.

        Raises `ProtocolError` when it is of another size, or not sealed, so that it could change or vanish under us.
        """
        memory = cls(descriptor, size)
        try:
            seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
        except OSError:
            raise ProtocolError("a descriptor that came with a value is no memory") from None
        if seals & _SEALS != _SEALS:
            raise ProtocolError("the memory that came with a value is not sealed")
        status = os.fstat(descriptor)
        if status.st_size != size or not stat.S_ISREG(status.st_mode):
            raise ProtocolError(f"the memory that came with a value has {status.st_size} bytes instead of {size}")
        return memory

    def fileno(self) -> int:
        """The descriptor, valid for as long as this object lives."""
        return self._descriptor

    def view(self) -> memoryview:
        """All of it, mapped and not copied."""
        return memoryview(mmap.mmap(self._descriptor, self.size, prot=mmap.PROT_READ)) if self.size else memoryview(b"")


@dataclass(frozen=True)
class Body:
    """A pickle and its out-of-band buffers. `segments` are their sizes; each starts at a multiple of `ALIGNMENT`."""

    segments: tuple[int, ...]
    content: bytes | Memory

    @classmethod
    def of(cls, segments: Sequence[bytes | memoryview]) -> Body:
        """A body with that content, in sealed memory when it is large. Raises `UsageError` over the limit."""
        sizes = tuple(len(segment) for segment in segments)
        size = size_of(sizes)
        if size > MAX_BODY_BYTES:
            raise UsageError(f"a value of {size} bytes is over the limit of {MAX_BODY_BYTES}: pass on its address")
        if size <= MAX_INLINE_BYTES or not HAS_MEMFD:
            content = bytes(segments[0]) if len(segments) == 1 else b"".join(_padded(segments))
            return cls(sizes, content)
        try:
            return cls(sizes, Memory.holding(_padded(segments)))
        except OSError as error:
            raise UsageError(f"there is no memory for a value of {size} bytes: {error.strerror}") from error

    @property
    def size(self) -> int:
        """Bytes of all segments and of the gaps between them."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.size

    def view(self) -> memoryview:
        """All of it, without a copy."""
        return memoryview(self.content) if isinstance(self.content, bytes) else self.content.view()

    def pack(self, parts: list[bytes | memoryview], memories: list[Memory]) -> dict[str, Any]:
        """Add the content to what is sent with a frame; returns what its header says of it."""
        if isinstance(self.content, bytes):
            parts.append(self.content)
            return {"segments": self.segments, "part": len(parts) - 1}
        memories.append(self.content)
        return {"segments": self.segments, "memory": len(memories) - 1}

    @classmethod
    def unpack(cls, said: Any, parts: Sequence[memoryview], memories: Sequence[Memory]) -> Body:
        """The inverse of `pack`, for a header that may be hostile. Raises `ProtocolError`."""
        if not isinstance(said, dict):
            raise ProtocolError("a value comes without its body")
        content = item_at(parts, said.get("part")) if "part" in said else item_at(memories, said.get("memory"))
        return cls.checked(said.get("segments"), content)

    @classmethod
    def checked(cls, segments: Any, content: bytes | memoryview | Memory) -> Body:
        """A body of segments that somebody claims. Raises `ProtocolError` when they do not fit the content."""
        body = cls(_checked_sizes(segments), content if isinstance(content, Memory) else bytes(content))
        if size_of(body.segments) != body.size:
            raise ProtocolError(f"the segments of a value do not add up to its {body.size} bytes")
        return body


def size_of(segments: Sequence[int]) -> int:
    """Bytes of a body with segments of those sizes."""
    size = 0
    for segment in segments:
        size = -(-size // ALIGNMENT) * ALIGNMENT + segment
    return size


def _padded(segments: Sequence[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    position = 0
    for segment in segments:
        gap = -position % ALIGNMENT
        if gap:
            yield bytes(gap)
        yield segment
        position += gap + len(segment)


def _checked_sizes(sizes: Any) -> tuple[int, ...]:
    if not isinstance(sizes, list) or not 0 < len(sizes) <= MAX_SEGMENTS:
        raise ProtocolError("a value has no segments, or too many")
    if not all(type(size) is int and 0 <= size <= MAX_BODY_BYTES for size in sizes):
        raise ProtocolError("the segments of a value have no sizes")
    return tuple(sizes)


def item_at(items: Sequence[Any], index: Any) -> Any:
    """What a header refers to by its index. Raises `ProtocolError` when there is no such thing."""
    if type(index) is not int or not 0 <= index < len(items):
        raise ProtocolError("a value refers to bytes that did not come with it")
    return items[index]
