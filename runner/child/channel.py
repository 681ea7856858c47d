"""The socket of a step, and descriptors that pass through sockets."""

import _socket as socket  # the module itself takes as long to import as all of pickle
import _thread
import array
import errno
import posix
import sys

from .frames import decode, span_of, write_all
from .messages import MAX_INLINE_BYTES

FDS_AT_ONCE = 250
# The exit code of a step that closed the descriptor that its outcome should have gone through.
EXIT_CHANNEL_LOST = 74  # EX_IOERR


class ContextUnavailable(AttributeError):
    """Something of an engine's context that cannot reach into a process of its own."""


class Channel:
    """The step's socket. Threads of the step, and handlers of signals, may ask at the same time."""

    def __init__(self, fd):
        self.fd = fd
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)
        self.identity = identity(fd)
        self.pid = posix.getpid()
        self.data = bytearray()  # what has come of a frame; kept here, for a signal may interrupt its reader
        self.fds = []
        self.lock = _thread.RLock()
        self.calls = 0
        self.replies = {}
        self.is_closed = False

    def receive(self):
        """The next (header, parts, memories), or None at the end of the stream."""
        flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
        while True:
            message = self.take()
            if message is not None:
                return message
            fds = array.array("i")
            chunk, ancillary, _, _ = self.socket.recvmsg(
                MAX_INLINE_BYTES * 2, socket.CMSG_SPACE(FDS_AT_ONCE * fds.itemsize), flags
            )
            if not chunk:
                return None
            for _, kind, content in ancillary:
                if kind == socket.SCM_RIGHTS:
                    fds.frombytes(content)
            self.fds.extend(fds)
            self.data += chunk

    def take(self):
        """A message that has come whole, or None."""
        if len(self.data) < 12:  # no frame is shorter
            return None
        start, end = span_of(self.data)
        if len(self.data) < end:
            return None
        frame = self.data[start:end]
        del self.data[:end]
        header, parts = decode(frame)
        sizes = header.get("memories", ())
        fds, self.fds = self.fds[: len(sizes)], self.fds[len(sizes) :]
        return header, parts, list(zip(fds, sizes))

    def ask(self, message):
        """The reply to a call."""
        if posix.getpid() != self.pid:
            raise ContextUnavailable("a process that the step has forked cannot ask anything of the run: ask before")
        with self.lock:
            if self.is_closed:
                raise ContextUnavailable("the step has returned: nothing can be asked of its run any more")
            self.calls = number = self.calls + 1
            message.header["number"] = number
            self.send(message)
            while number not in self.replies:
                reply = self.receive()
                if reply is None:
                    raise SystemExit("the supervisor is gone")
                self.replies[reply[0]["number"]] = reply  # perhaps one that a signal kept its caller from taking
            return self.replies.pop(number)

    def close(self, outcome):
        """Send the last message. A call that is under way in another thread comes first."""
        with self.lock:
            self.is_closed = True
            self.send(outcome)

    def send(self, message):
        """Send a message with its memory, which is let go of."""
        frame = message.frame()
        if identity(self.fd) != self.identity:
            posix._exit(EXIT_CHANNEL_LOST)  # the step closed it, and what has its number now is the step's own
        fds = array.array("i", [fd for fd, _ in message.memories])
        for start in range(0, len(fds), FDS_AT_ONCE):
            group = fds[start : start + FDS_AT_ONCE]
            self.socket.sendmsg([frame[:1]], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, group)])
            frame = memoryview(frame)[1:]
        write_all(self.fd, frame)
        for fd in fds:
            posix.close(fd)


def identity(fd):
    """What a descriptor refers to, or None when it is closed."""
    try:
        status = posix.fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def receive_descriptors(connection, count):
    """The descriptors that the supervisor's `Zygote._pass` hands over with one byte."""
    size = array.array("i").itemsize
    # close-on-exec where the system can do it atomically: programs that a step starts get none of these
    flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
    _, ancillary, _, _ = connection.recvmsg(1, socket.CMSG_SPACE(count * size), flags)
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % size])
    if sys.platform == "darwin":
        connection.send(b"A")  # it waits for that there, since a descriptor closed on its way is lost
    if not flags:
        for fd in fds:
            posix.set_inheritable(fd, False)
    if len(fds) != count:
        raise OSError(errno.EBADF, "expected %d descriptors, got %d" % (count, len(fds)))
    return list(fds)
