"""Bytes to messages and back, for the pipes between the supervisor and its children. Owns no descriptor.

A frame travels in the layout of `multiprocess.connection` (`send_bytes` / `recv_bytes`): a signed 32-bit
big-endian length, or -1 and an unsigned 64-bit one when it does not fit. Inside it:

    magic 4 bytes | header length, unsigned 32-bit big-endian | header, JSON object in UTF-8 | body

The body is opaque: one or more parts laid end to end, whose sizes stand in the header under "parts".
`runner/child/frames.py` holds a second, independent copy of this codec, since it may import nothing of
ours; `tests/runner/test_wire.py` pins both to the same golden bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from runner.errors import ProtocolError

# Raised together with an incompatible change of any message. The digit is part of the magic, so a peer of
# another release is told apart from garbage before a single field is trusted.
PROTOCOL = 1
MAGIC = b"HWE1"

# A header is names, sizes and a function's name; what grows with user data is in the body.
MAX_HEADER_BYTES = 64 * 1024

# multiprocess itself allows 2^63. Payloads are held in memory once on each side, so the cap is what a worker
# can take without a plan; larger state belongs in files or object storage.
MAX_FRAME_BYTES = 2 * 1024**3

_HEAD = struct.Struct("!4sI")


@dataclass(frozen=True)
class Message:
    """One decoded frame: a JSON object and the parts of its body, which are views into the frame."""

    header: dict[str, Any]
    parts: tuple[memoryview, ...] = ()

    @property
    def type(self) -> str:
        """The header's "type", which `decode` has checked to be a string."""
        return str(self.header["type"])


def encode(header: dict[str, Any], parts: Sequence[bytes | memoryview] = ()) -> bytes:
    """The bytes of a frame, without the length in front, which the connection adds.

    Raises `ProtocolError` when the header or the frame is over its limit.
    """
    sizes = [len(part) for part in parts]
    text = json.dumps({**header, "parts": sizes}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    head = text.encode()
    if len(head) > MAX_HEADER_BYTES:
        raise ProtocolError(f"a header of {len(head)} bytes is over the limit of {MAX_HEADER_BYTES}")
    total = _HEAD.size + len(head) + sum(sizes)
    if total > MAX_FRAME_BYTES:
        raise ProtocolError(
            f"a message of {total} bytes is over the limit of {MAX_FRAME_BYTES}: keep large data in files or "
            "object storage and pass its address between steps"
        )
    return b"".join((_HEAD.pack(MAGIC, len(head)), head, *parts))


def decode(frame: bytes | bytearray | memoryview) -> Message:
    """The message in a frame that a connection delivered whole. Raises `ProtocolError` for anything else."""
    view = memoryview(frame)
    if len(view) < _HEAD.size:
        raise ProtocolError(f"a frame of {len(view)} bytes is too short to be one of ours")
    magic, header_size = _HEAD.unpack_from(view)
    if magic != MAGIC:
        raise ProtocolError(f"a frame starts with {bytes(magic)!r} instead of {MAGIC!r}")
    if header_size > MAX_HEADER_BYTES or _HEAD.size + header_size > len(view):
        raise ProtocolError(f"a frame of {len(view)} bytes announces a header of {header_size}")
    body_start = _HEAD.size + header_size
    try:
        header = json.loads(bytes(view[_HEAD.size : body_start]))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the header of a frame is not JSON: {type(error).__name__}") from None
    if not isinstance(header, dict) or not isinstance(header.get("type"), str):
        raise ProtocolError("the header of a frame is not an object with a type")
    return Message(header, tuple(_split(view[body_start:], header.get("parts", []))))


def _split(body: memoryview, sizes: Any) -> Iterable[memoryview]:
    whole_numbers = isinstance(sizes, list) and all(type(size) is int and size >= 0 for size in sizes)
    if not whole_numbers or sum(sizes) != len(body):
        raise ProtocolError(f"the parts of a frame do not add up to its body of {len(body)} bytes")
    start = 0
    for size in sizes:
        yield body[start : start + size]
        start += size


class FrameReader:
    """Bytes in, whole frames out: for a peer that may stop in the middle of one.

    `feed` takes what a non-blocking read returned and gives the frames completed by it. The announced length
    is checked before a byte of the frame is held.
    """

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._limit = max_frame_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that `data` completes, in order. Raises `ProtocolError` on a length over the limit."""
        self._buffer += data
        frames = []
        while (span := self._next_frame()) is not None:
            start, end = span
            if len(self._buffer) < end:
                break
            frames.append(bytes(self._buffer[start:end]))
            del self._buffer[:end]
        return frames

    def _next_frame(self) -> tuple[int, int] | None:
        """Where the next frame starts and ends in the buffer, or None while its length is incomplete."""
        if len(self._buffer) < 4:
            return None
        (length,) = struct.unpack_from("!i", self._buffer)
        start = 4
        if length == -1:
            if len(self._buffer) < 12:
                return None
            (length,) = struct.unpack_from("!Q", self._buffer, 4)
            start = 12
        if not 0 <= length <= self._limit:
            raise ProtocolError(f"a frame announces {length} bytes; the limit is {self._limit}")
        return start, start + length


def with_length(frame: bytes) -> bytes:
    """`frame` as `send_bytes` puts it on a stream, for writers that cannot block in `send_bytes`."""
    size = len(frame)
    head = struct.pack("!i", size) if size <= 0x7FFFFFFF else struct.pack("!iQ", -1, size)
    return head + frame
