"""Frames, as runner/wire.py describes them. The two codecs are pinned to the same golden bytes by a test."""

import json
import posix
import struct

from .originals import read_json

MAGIC = b"HWE1"
MAX_HEADER_BYTES = 64 * 1024
MAX_FRAME_BYTES = 2 * 1024**3
LONG = b"\xff\xff\xff\xff"  # a length of -1: the real one follows
_HEAD = struct.Struct("!4sI")
# Made once: json.dumps makes an encoder each time when it is told anything but its defaults.
_encode_header = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def encode(header, parts=()):
    """A frame with its length in front. See runner/wire.py."""
    sizes = [len(part) for part in parts]
    text = _encode_header(dict(header, parts=sizes))
    return frame_of(text.encode(errors="backslashreplace"), parts)  # half a surrogate pair, as JSON escapes it


def frame_of(head, parts=()):
    """A frame whose header is written already."""
    if len(head) > MAX_HEADER_BYTES:
        raise ValueError("a header of %d bytes is over the limit" % len(head))
    total = _HEAD.size + len(head) + sum(map(len, parts))
    if total > MAX_FRAME_BYTES:
        raise ValueError("a message of %d bytes is over the limit of %d" % (total, MAX_FRAME_BYTES))
    length = struct.pack("!i", total) if total <= 0x7FFFFFFF else struct.pack("!iQ", -1, total)
    return b"".join((length, _HEAD.pack(MAGIC, len(head)), head, *parts))


def decode(frame):
    """The (header, parts) of a frame without its length; parts are views into it."""
    view = memoryview(frame)
    magic, header_size = _HEAD.unpack_from(view)
    if magic != MAGIC:
        raise ValueError("not a frame of ours: %r" % bytes(magic))
    start = _HEAD.size + header_size
    header = read_json(bytes(view[_HEAD.size : start]))
    parts = []
    for size in header["parts"]:
        parts.append(view[start : start + size])
        start += size
    return header, parts


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[posix.write(fd, view) :]


def read_frame(fd):
    """The next decoded frame, or None at the end of the stream."""
    data = posix.read(fd, 4)
    if not data:
        return None
    data = fill(fd, data, 4)
    if data[:4] == LONG:
        data = fill(fd, data, 12)
    start, end = span_of(data)
    return decode(memoryview(fill(fd, data, end))[start:])


def span_of(data):
    """Where a frame starts and ends behind its length, the first 4 bytes or 12."""
    (length,), start = struct.unpack_from("!i", data), 4
    if length == -1:
        (length,), start = struct.unpack_from("!Q", data, 4), 12
    if not 0 <= length <= MAX_FRAME_BYTES:
        raise ValueError("a frame of %d bytes is over the limit" % length)
    return start, start + length


def fill(fd, data, size):
    """`data` and what it takes from the stream to make it `size` bytes."""
    got = len(data)
    if got >= size:
        return data
    whole = bytearray(size)
    whole[:got] = data
    view = memoryview(whole)
    while got < size:
        count = posix.readv(fd, [view[got:]])
        if count == 0:
            raise EOFError("the stream ended inside a frame")
        got += count
    return whole
