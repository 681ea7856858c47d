"""State of any size, as an array library has it: its bytes are pickled out of band."""

import fcntl
import hashlib
import os
import pickle
import socket
import array
import struct
import sys


class Blob:
    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        return Blob, (pickle.PickleBuffer(self.data),)


class Box:
    """Opaque: it has no JSON view."""

    def __init__(self, content):
        self.content = content


def make(size, count=1):
    blobs = [Blob(bytearray(os.urandom(16) * (size // 16))) for _ in range(count)]
    return blobs[0] if count == 1 else blobs


def digest(*blobs):
    return [hashlib.sha256(blob.data).hexdigest() for blob in blobs]


def describe(blob):
    return {"type": type(blob.data).__name__, "size": len(blob.data), "digest": digest(blob)[0]}


def change(blob):
    """Writes to what it was given, as plain state lets it."""
    blob.data[0] = blob.data[0] ^ 1
    return digest(blob)[0]


def shared_bytes():
    """How much of this process is memory that it shares by descriptor."""
    with open("/proc/self/smaps") as file:
        return sum("hwe-value" in line for line in file)


def text(size):
    return "x" * size


def boxed(content):
    return Box(content)


def length(value):
    return len(getattr(value, "content", value))


# --- steps that lie about what they send ---


def outcome_with(fd, claimed, sizes):
    """Sends an outcome of its own making, with a descriptor beside it, and leaves."""
    channel = next(fd for fd in range(3, 100) if is_socket(fd))
    head = b'{"type":"outcome","status":"completed","codec":"pickle5","python":"3",'
    head += b'"memories":[%d],"body":{"segments":%s,"memory":0},"parts":[]}' % (claimed, str(sizes).encode())
    frame = b"HWE1" + struct.pack("!I", len(head)) + head
    frame = struct.pack("!i", len(frame)) + frame
    fds = array.array("i", [] if fd is None else [fd])
    with socket.socket(fileno=os.dup(channel)) as sender:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else []
        sender.sendmsg([frame], ancillary)
    os._exit(0)


def is_socket(fd):
    try:
        return (os.fstat(fd).st_mode & 0o170000) == 0o140000
    except OSError:
        return False


def memory(size, sealed):
    fd = os.memfd_create("mine", os.MFD_ALLOW_SEALING)
    os.truncate(fd, size)
    if sealed:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0xF)
    return fd


def sends(kind):
    size = 100_000
    if kind == "unsealed":
        outcome_with(memory(size, False), size, [size])
    elif kind == "shorter":
        outcome_with(memory(size - 1, True), size, [size])
    elif kind == "pipe":
        outcome_with(os.pipe()[0], size, [size])
    elif kind == "file":
        fd = os.open("file", os.O_RDWR | os.O_CREAT)
        os.truncate(fd, size)
        outcome_with(fd, size, [size])
    elif kind == "nothing":
        outcome_with(None, size, [size])
    elif kind == "huge":
        outcome_with(memory(size, True), 2**63, [2**63])
    elif kind == "other segments":
        outcome_with(memory(size, True), size, [size, size])
    elif kind == "honest":
        outcome_with(memory(size, True), size, [size])
    sys.exit("no such kind")
