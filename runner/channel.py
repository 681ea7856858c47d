"""One end of a step's socket: frames out and in, with the sealed memory that goes with them. Never blocks."""

from __future__ import annotations

import array
import os
import socket
import struct
from collections import deque
from collections.abc import Sequence

from runner import wire
from runner.body import HAS_MEMFD, MAX_BODY_BYTES, Memory
from runner.errors import ProtocolError

_READ_BYTES = 64 * 1024

# The kernel passes 253 at a time.
_GROUP = 250

# Descriptors that a step has sent without a frame to go with them.
_MAX_PENDING = 1000

# A host may have SIGPIPE at its default, which ends the process.
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)

# What a step sends in a frame where large values go beside it: the JSON view at most, written with escapes.
_MAX_FRAME_BYTES = 512 * 1024**2 if HAS_MEMFD else wire.MAX_FRAME_BYTES

_DESCRIPTOR_BYTES = array.array("i").itemsize


# linux/socket.h: have the kernel say with each message who sent it. The pid is as it is known here.
_SO_PASSCRED, _SCM_CREDENTIALS, _CREDENTIALS = 16, 2, struct.Struct("3i")


class Channel:
    """Takes over the descriptor of a stream socket.

    `namespace`: the other end has pids of its own; `sender` tells which it has here, once something has come from it.
    """

    def __init__(self, descriptor: int, *, namespace: bool = False) -> None:
        # Family and type are named, for Python would ask the kernel for them.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=descriptor)
        self._socket.setblocking(False)
        self.sender: int | None = None
        self._space = socket.CMSG_SPACE(_GROUP * _DESCRIPTOR_BYTES)
        if namespace:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_PASSCRED, 1)
            self._space += socket.CMSG_SPACE(_CREDENTIALS.size)
        self._reader = wire.FrameReader(_MAX_FRAME_BYTES)
        self._unsent: deque[tuple[memoryview, Sequence[Memory]]] = deque()
        self._descriptors: deque[int] = deque()

    def fileno(self) -> int:
        """The descriptor, to poll."""
        return self._socket.fileno()

    def put(self, frame: bytes, memories: Sequence[Memory] = ()) -> None:
        """Have a frame sent by the following calls of `send`. Memory rides on the first bytes of its frame."""
        data = memoryview(wire.with_length(frame))
        for start in range(0, len(memories), _GROUP):
            self._unsent.append((data[:1], memories[start : start + _GROUP]))
            data = data[1:]
        self._unsent.append((data, ()))

    @property
    def unsent_messages(self) -> int:
        """How many messages, or parts of them, wait to be sent."""
        return len(self._unsent)

    @property
    def has_unsent(self) -> bool:
        """Whether there is something left to send."""
        return bool(self._unsent)

    def send(self) -> None:
        """Send what goes now. Raises `OSError` when the other end is gone."""
        while self._unsent:
            data, memories = self._unsent[0]
            try:
                if memories:
                    sent = socket.send_fds(self._socket, [data], [memory.fileno() for memory in memories], _NO_SIGNAL)
                else:
                    sent = self._socket.send(data, _NO_SIGNAL)
            except BlockingIOError:
                return
            if sent == len(data):
                self._unsent.popleft()
            else:
                self._unsent[0] = data[sent:], ()

    def give_up_sending(self) -> None:
        """Forget what is unsent."""
        self._unsent.clear()

    def receive(self) -> list[tuple[wire.Message, list[Memory]]] | None:
        """The messages that have come whole, each with its memory; None at the end of the stream.

        Raises `BlockingIOError` when nothing has come, `ProtocolError`, `OSError`.
        """
        flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
        data, ancillary, _, _ = self._socket.recvmsg(_READ_BYTES, self._space, flags)
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                whole = len(content) - len(content) % _DESCRIPTOR_BYTES
                self._descriptors.extend(array.array("i", content[:whole]))
            elif level == socket.SOL_SOCKET and kind == _SCM_CREDENTIALS and self.sender is None:
                self.sender, _, _ = _CREDENTIALS.unpack(content)
        if len(self._descriptors) > _MAX_PENDING:
            raise ProtocolError("more descriptors came than anything refers to")
        if not data:
            return None
        messages = (wire.decode(frame) for frame in self._reader.feed(data))
        return [(message, self._memories_of(message)) for message in messages]

    def _memories_of(self, message: wire.Message) -> list[Memory]:
        sizes = message.header.get("memories", [])
        if not isinstance(sizes, list) or len(sizes) > len(self._descriptors):
            raise ProtocolError("a frame refers to memory that did not come with it")
        if not all(type(size) is int and 0 <= size <= MAX_BODY_BYTES for size in sizes):
            raise ProtocolError("a frame refers to memory of no possible size")
        return [Memory.received(self._descriptors.popleft(), size) for size in sizes]

    def close(self) -> None:
        """Give the descriptors back."""
        self._socket.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())
