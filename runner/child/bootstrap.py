"""The program inside the child: a zygote that forks one step process per step. Found by path, imported by nobody.

It is run by the interpreter of a code version's environment (Python 3.9 to 3.14), so it uses the standard
library alone, plus cloudpickle, a copy of which rides at the end of the path. Nothing else belongs in this
folder: it stands on the child's import path until the first line below has run.

Arguments   bootstrap.py CONFIG, a JSON object: control_fd, import_paths (the project's roots, put first),
            support_path (the copy of cloudpickle, put last), preload (modules to import before forking), seed (whether
            random numbers repeat when a step is run again), parent (the pid without which it is not to live, or null),
            network (false: steps have none, or the zygote does not start), comparison, inspection and debugging
            (the paths of programs: to compare results with recorded ones, for a replay, to look at what is recorded,
            for a check, and to stop in a step, on a terminal); if it is to be confined, confinement_program (the file
            beside this one) and confinement (what that is told).
Control fd  a stream socket. Sends {"type": "hello", protocol, python, pid, preload_errors, threaded, unconfined} once
            ready: the module whose import left threads behind, and what this kernel cannot confine. Then takes
            {"type": "spawn", scratch}, followed by four descriptors: the step's socket, stdout, stderr, exit pipe;
            {"type": "signal", pid, signal}, sent on to the step's whole process group.
            At its end of file, the supervisor is gone: everything is killed and the zygote exits.
Step fd     sends {"type": "ready", pid}, takes one {"type": "run", ...} or {"type": "inspect", ...}, answers one
            {"type": "outcome", ...}. Before that it may send any number of {"type": "call", call, ...}, and waits for a
            {"type": "reply", ...} to each. A large value is not in the frame but in sealed memory, whose descriptor
            rides on the frame's first bytes.
Exit pipe   one JSON object {status, cpu_seconds, max_rss_bytes}, written by the zygote when the step has been
            reaped and all it left behind is dead; an end of file without it means that the zygote died.
Exit codes  of the zygote: 0 at the end of the control socket, 3 when the arguments are not understood, 4 when the
            network cannot be cut off, 5 when its parent is dead.

Frames are described in runner/wire.py. This second codec is pinned to the same golden bytes by a test.
"""

import sys

if sys.path and not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # this folder; before 3.11 no option keeps it off the path

import site  # started without it, so that main decides when its code runs; these are modules that it brings

_AT_START = frozenset(sys.modules)

import _signal
import _socket as socket  # the module itself takes as long to import as all of pickle
import _thread
import array
import errno
import faulthandler
import fcntl
import gc
import importlib
import io
import json
import os
import pickle
import posix
import re
import resource
import select
import signal
import struct
import time
import traceback

PROTOCOL = 1
MAGIC = b"HWE1"
MAX_HEADER_BYTES = 64 * 1024
MAX_FRAME_BYTES = 2 * 1024**3
LONG = b"\xff\xff\xff\xff"  # a length of -1: the real one follows
_HEAD = struct.Struct("!4sI")

# See runner/body.py.
ALIGNMENT = 64
MAX_INLINE_BYTES = 64 * 1024
MAX_BODY_BYTES = 16 * 1024**3
HAS_MEMFD = hasattr(os, "memfd_create") and hasattr(fcntl, "F_ADD_SEALS")
FDS_AT_ONCE = 250

# Buffers below this are pickled as the library does by default.
MIN_BUFFER_BYTES = 16 * 1024
MAX_BUFFERS = 1000  # their sizes stand in the header

# Enough for any message worth reading; an exception that carries a data set in its text must not fill a database.
MAX_MESSAGE_CHARS = 10_000
MAX_TRACEBACK_CHARS = 64_000
# Exceptions told of one failure, causes and members of groups together: more are made by loops, not by people.
MAX_EXCEPTIONS = 30
MAX_NOTES = 30
MAX_VIEW_DEPTH = 200
MAX_VIEW_BYTES = 64 * 1024**2
MAX_VIEW_ITEMS = 5_000_000

# The exit code of a step that closed the descriptor that its outcome should have gone through.
EXIT_CHANNEL_LOST = 74  # EX_IOERR
EXIT_NETWORK = 4  # of the zygote
EXIT_ORPHANED = 5  # of the zygote
EXIT_NO_PROCESS = 71  # EX_OSERR: of a step that could not be forked

# By hand, as the first words of a step: json.dumps touches 20 pages, each of which is copied after a fork.
_EXIT_NOTICE = b'{"status":%d,"cpu_seconds":%f,"max_rss_bytes":%d}'

# A process that is asked for its step this soon is one of many: what it could do ahead would hold up the others.
REHEARSE_AFTER_MS = 3

RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere

SEEDED = ("random", "numpy.random")

# Bound now, and `posix` all over instead of `os`: what a project patches in these modules, as gevent does, is then its
# own affair, not that of the zygote.
_read_json, _write_json, _pickle = json.loads, json.dumps, pickle.dumps
_poll, _sleep = select.poll, time.sleep

# Made once: json.dumps makes an encoder each time when it is told anything but its defaults.
_encode_header = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
_encode_view = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode

_THIS_FILE = sys._getframe().f_code.co_filename  # not __file__, which may be of the compiled program
_libc = None
_seeds = True
_comparison = None  # the names of comparison.py, see load_program
_inspection = None
_fitness = None
_debugging = None
_confinement = None
_cloudpickle = None  # see load_cloudpickle
_import_paths = []
_files_opened_ahead = []  # by preloaded modules
_project_names = set()  # of its top-level modules and packages

PYTHON = "%d.%d.%d" % sys.version_info[:3]


# --- frames -------------------------------------------------------------------------------------------------


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
    header = _read_json(bytes(view[_HEAD.size : start]))
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


# --- the zygote ---------------------------------------------------------------------------------------------


class Zygote:
    """Forks step processes, passes signals on to them, reaps them and what they leave behind. Single-threaded."""

    def __init__(self, control_fd):
        self.control = socket.socket(fileno=control_fd)
        self.wake_read, self.wake_write = posix.pipe()
        posix.set_blocking(self.wake_read, False)
        posix.set_blocking(self.wake_write, False)
        self.exit_fds = {}  # pid of a step process -> write end of its exit pipe

    def serve(self):
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # The socket and this pipe are all that the loop waits for; the handler itself does nothing.
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        poll = _poll()
        poll.register(self.control, select.POLLIN)
        poll.register(self.wake_read, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll()]
            if self.wake_read in ready:
                posix.read(self.wake_read, 4096)
                self.reap()
            if self.control.fileno() in ready and not self.obey():
                return

    def obey(self):
        """Do what one control message asks; False when the supervisor is gone."""
        try:
            message = read_frame(self.control.fileno())
        except (OSError, EOFError, ValueError):
            message = None
        if message is None:
            for pid in list(self.exit_fds):
                kill_group(pid, signal.SIGKILL)
            self.end_everything()
            return False
        header = message[0]
        if header["type"] == "spawn":
            self.spawn(header["scratch"], receive_descriptors(self.control, 4))
        elif header["type"] == "signal" and header["pid"] in self.exit_fds:
            kill_group(header["pid"], header["signal"])
        return True

    def spawn(self, scratch, descriptors):
        step_fd, stdout_fd, stderr_fd, exit_fd = descriptors
        zygote = posix.getpid()
        try:
            pid = posix.fork()
        except OSError:  # as many processes as are allowed: that is one step's fate, not everybody's
            write_all(exit_fd, _EXIT_NOTICE % (EXIT_NO_PROCESS << 8, 0.0, 0))
            for fd in descriptors:
                posix.close(fd)
            return
        if pid == 0:
            try:
                confine(zygote)
                _signal.set_wakeup_fd(-1)
                _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # signal's own makes enums, which touches 30 pages
                # A copy of a sibling's exit pipe kept here would hide the death of the zygote from the supervisor.
                for fd in (
                    self.control.fileno(),
                    self.wake_read,
                    self.wake_write,
                    exit_fd,
                    *self.exit_fds.values(),
                ):
                    posix.close(fd)
                be_a_step_process(step_fd, stdout_fd, stderr_fd, scratch)
            finally:
                posix._exit(70)  # EX_SOFTWARE: unreachable unless the code above is wrong
        self.exit_fds[pid] = exit_fd
        for fd in (step_fd, stdout_fd, stderr_fd):
            posix.close(fd)

    def reap(self):
        while True:
            try:
                found = posix.waitid(posix.P_ALL, 0, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            pid = found.si_pid
            if pid not in self.exit_fds:
                posix.waitpid(pid, 0)  # an orphan of an earlier step
                continue
            # While the leader is an unreaped zombie, its id cannot be given to a new process or group.
            kill_group(pid, signal.SIGKILL)
            _, status, usage = posix.wait4(pid, 0)
            exit_fd = self.exit_fds.pop(pid)
            self.end_orphans(pid)
            try:
                cost = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * RSS_UNIT
                write_all(exit_fd, _EXIT_NOTICE % (status, *cost))
            except OSError:
                pass  # the supervisor no longer wants to know
            posix.close(exit_fd)

    def end_everything(self):
        """Kill until there is no child left: what a step started becomes ours when the step is dead."""
        for _ in range(400):
            children = children_of_this_process()
            if not children:
                return
            for pid in children:
                try:
                    posix.kill(pid, signal.SIGKILL)
                    posix.waitpid(pid, posix.WNOHANG)
                except (ProcessLookupError, ChildProcessError):
                    pass
            _sleep(0.002)

    def end_orphans(self, group):
        """Kill and reap what the dead step left: its process group, and children that left the group.

        A step process is a subreaper, so while it lived no orphan of its reached us: every child that is not
        a step process is a leftover. Bounded, since a process in uninterruptible sleep dies when it wakes.
        """
        for attempt in range(200):
            orphans = [pid for pid in children_of_this_process() if pid not in self.exit_fds]
            for pid in orphans:
                try:
                    posix.kill(pid, signal.SIGKILL)
                    posix.waitpid(pid, posix.WNOHANG)
                except (ProcessLookupError, ChildProcessError):
                    pass
            if not orphans and not group_exists(group):
                return
            if attempt > 2:
                _sleep(0.005)


def children_of_this_process():
    try:
        with open("/proc/self/task/%d/children" % posix.getpid()) as listing:
            return [int(pid) for pid in listing.read().split()]
    except OSError:
        return []  # not Linux: orphans are init's, and only the process group is ended


def group_exists(group):
    try:
        posix.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # macOS says so of zombies
    return True


def kill_group(pid, number):
    for kill in (posix.killpg, posix.kill):  # the group does not exist until the child has called setsid
        try:
            kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass


def receive_descriptors(connection, count):
    """The counterpart of multiprocess.reduction.sendfds."""
    size = array.array("i").itemsize
    # close-on-exec where the system can do it atomically: programs that a step starts get none of these
    flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
    _, ancillary, _, _ = connection.recvmsg(1, socket.CMSG_SPACE(count * size), flags)
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % size])
    if sys.platform == "darwin":
        connection.send(b"A")  # sendfds waits for it there
    if not flags:
        for fd in fds:
            posix.set_inheritable(fd, False)
    if len(fds) != count:
        raise OSError(errno.EBADF, "expected %d descriptors, got %d" % (count, len(fds)))
    return list(fds)


# --- a step process -----------------------------------------------------------------------------------------


def be_a_step_process(step_fd, stdout_fd, stderr_fd, scratch):
    """Everything that can be done before the function is known, then one request, one answer, and out."""
    posix.setsid()
    for source, target in ((stdout_fd, 1), (stderr_fd, 2)):
        posix.dup2(source, target)
        posix.close(source)
    os.environ["TMPDIR"] = os.environ["HOME"] = scratch
    posix.chdir(scratch)
    if _confinement is not None:
        _confinement.enter_step(scratch)
    channel = Channel(step_fd)
    write_all(step_fd, frame_of(b'{"parts":[],"pid":%d,"type":"ready"}' % posix.getpid()))  # json.dumps takes 20 pages
    poll = _poll()
    poll.register(step_fd, select.POLLIN)
    if not poll.poll(REHEARSE_AFTER_MS):
        rehearse()
    request = channel.receive()
    if request is None:
        posix._exit(0)  # not needed after all
    if _confinement is not None:
        _confinement.enter_function(request[0].get("function"))
    before = resource.getrusage(resource.RUSAGE_SELF)
    pid = posix.getpid()
    seed_random(request[0].get("seed") if _seeds else None)
    outcome = perform(*request, channel)
    if posix.getpid() != pid:
        leave_a_fork(outcome)
    flush_files()
    outcome.header.update(cost_since(before))
    channel.close(outcome)
    posix._exit(0)


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


def seed_random(seed):
    """Make the global generators of random and numpy.random repeat themselves when a step is run again.

    `seed` in hex; None: from the system, for a fork inherits numpy's state, and every step would draw the same.
    """
    for name in SEEDED:
        if name in sys.modules:
            seed_module(sys.modules[name], seed)
    if seed is not None:
        sys.meta_path.insert(0, SeedOnImport(seed))


def seed_module(module, seed):
    if module.__name__.partition(".")[0] in _project_names:
        return  # a module of the project's own that is called random
    if seed is None:
        module.seed()
    elif module.__name__ == "random":
        module.seed(int(seed, 16))
    else:
        module.seed([int(seed[start : start + 8], 16) for start in range(0, len(seed), 8)])


class SeedOnImport:
    """Seeds the generators of modules that a step imports itself."""

    def __init__(self, seed):
        self.seed = seed

    def find_spec(self, name, path=None, target=None):
        if name not in SEEDED:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                break
        else:
            return None
        load = spec.loader.exec_module

        def load_and_seed(module):
            load(module)
            seed_module(module, self.seed)

        spec.loader.exec_module = load_and_seed
        return spec


def identity(fd):
    """What a descriptor refers to, or None when it is closed."""
    try:
        status = posix.fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def leave_a_fork(outcome):
    """The end of a process that the step forked and that returned from the function, where the step goes on."""
    if outcome.header["status"] == "failed" and not outcome.is_exit:
        sys.stderr.write(_read_json(bytes(outcome.parts[0]))["traceback"])
    flush_files()
    posix._exit(0 if outcome.header["status"] == "completed" else outcome.exit_code)


def flush_files():
    """Write out what is buffered: a process that leaves by posix._exit would lose it."""
    for stream in (sys.stdout, sys.stderr, *_files_opened_ahead, *open_files()):
        try:
            if not stream.closed and stream.writable():
                stream.flush()
        except BaseException:
            pass  # replaced or hostile: the outcome counts
    if _libc is not None:
        _libc.fflush(None)  # what C code has printed


def open_files():
    """Every file object that the garbage collector knows of, but those that were frozen before forking."""
    base = io.IOBase.__base__  # isinstance asks IOBase itself, an abstract class, which takes ten times as long
    return [found for found in gc.get_objects() if isinstance(found, base)]


def rehearse():
    """Go once through what every step does, so that the memory pages which that touches are ours already.

    A forked process gets its own copy of a page when it first writes to it, and Python writes to whatever it reads:
    that is most of the time of a short step, and it can be spent before there is a request.
    """
    arguments = _write_json({"args": [[]], "kwargs": {}, "scope": {}, "results": {}}).encode()
    pickled = _pickle(([{}], {}), protocol=5)
    for form, data in (("template", arguments), ("pickled", pickled)):
        request = {"type": "run", "function": "builtins.len", "context": {}, "payloads": []}
        request["arguments"] = {"form": form, "segments": [len(data)], "part": 0}
        outcome = perform(*decode(encode(request, (data,))[4:]), [])
        outcome.header.update(cost_since(resource.getrusage(resource.RUSAGE_SELF)))
        outcome.frame()


def cost_since(before):
    """CPU time and memory of this process and of the children that it waited for, as the kernel counts them."""
    own, waited_for = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = own.ru_utime + own.ru_stime - before.ru_utime - before.ru_stime
    return {
        "cpu_seconds": cpu_seconds + waited_for.ru_utime + waited_for.ru_stime,
        "max_rss_bytes": max(own.ru_maxrss, waited_for.ru_maxrss) * RSS_UNIT,
    }


def confine(zygote):
    """What needs no privilege and costs nothing. Numbers are from linux/prctl.h; elsewhere this does less."""
    if _prctl is not None:
        _prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: the parent is single-threaded, so it is exact
        if posix.getppid() != zygote:
            posix._exit(0)  # it died before that line
        _prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: see Zygote.end_orphans


def load_libc():
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def perform(header, parts, memories, channel=None):
    """Run the requested function; the outcome, ready to be sent, whatever happened."""
    try:
        if header["type"] == "inspect":
            return pack({"type": "outcome", "status": "completed"}, inspect(header, parts, memories))
        function = find_function(header["function"])
        args, kwargs = load_arguments(header, parts, memories)
        if takes_context(function):
            args = [Context(header["context"], channel), *args]
        run = _debugging["debugger"](globals(), header, memories, channel) if "debug" in header else call
        result = run(function, args, kwargs)
        outcome = pack({"type": "outcome", "status": "completed"}, result)
        if "expected" in header:
            compare(outcome, result, header["expected"], parts, memories)
        return outcome
    except BaseException as error:  # SystemExit and KeyboardInterrupt of a step end the step, nothing else
        outcome = Outgoing({"type": "outcome", "status": "failed"})
        if issubclass(type(error), SystemExit):  # isinstance asks the exception itself, which may be hostile
            outcome.is_exit = True
            code = BaseException.__getattribute__(error, "code")
            outcome.exit_code = code if type(code) is int else int(code is not None)
        outcome.add(tell(error))
        return outcome


def tell(error):
    """An exception as JSON, whatever it does to keep from being told."""
    try:
        return _encode_view(describe(error)).encode(errors="backslashreplace")
    except BaseException as failure:
        kind = attribute_text(type(error), "__qualname__")
        message = "<the exception cannot be told: %s>" % attribute_text(type(failure), "__qualname__")
        return _encode_view({"type": kind, "message": message}).encode(errors="backslashreplace")


def inspect(header, parts, memories):
    """What of the recorded state does not fit this code, as plain data."""
    first, _ = segments_of(header["arguments"], parts, memories)
    payloads = Payloads(header["payloads"], parts, memories)
    return _inspection["inspect"](globals(), _read_json(first.read()), payloads)


def compare(outcome, result, expected, parts, memories):
    """Add to an outcome how it compares with the recorded one."""
    old, old_buffers = segments_of(expected, parts, memories)
    new, new_buffers = segments_of(outcome.header["body"], outcome.parts, outcome.memories)
    found = []
    same_bytes = old.read() == new.read() and old_buffers == new_buffers
    if not same_bytes:
        old.seek(0)
        try:
            recorded = Unpickler(old, old_buffers).load()
        except BaseException as error:
            how = "the recorded value does not load: %s: %s" % (type(error).__name__, safe_text(error))
            found = [{"path": "result", "recorded": "", "replayed": "", "how": how}]
        else:
            found = _comparison["differences"](recorded, result, expected["tolerance"])
    text = _write_json({"same_bytes": same_bytes, "differences": found})
    outcome.header["comparison"] = outcome.add(text.encode())


def load_program(path):
    """The names of a program beside this one. Not a module: a project may have one of that name."""
    names = {"__name__": "hwe"}
    with open(path, "rb") as file:
        exec(compile(file.read(), "<hwe %s>" % path.rpartition("/")[2], "exec"), names)
    return names


def cut_network():
    """Leave the network for an empty one of our own, which needs no privilege where user namespaces are allowed."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    user, group = posix.getuid(), posix.getgid()
    if libc.unshare(0x40000000) == 0:  # CLONE_NEWNET
        return
    if libc.unshare(0x50000000) != 0:  # CLONE_NEWUSER | CLONE_NEWNET
        sys.stderr.write(
            "the network cannot be cut off here (%s): allow it with --allow-network\n"
            % posix.strerror(ctypes.get_errno())
        )
        sys.exit(EXIT_NETWORK)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", "%d %d 1" % (user, user)),
        ("gid_map", "%d %d 1" % (group, group)),
    ):
        with open("/proc/self/%s" % name, "w") as file:
            file.write(text)


def call(function, args, kwargs):
    result = function(*args, **kwargs)
    if hasattr(result, "__await__"):
        result = import_past_project("asyncio").run(finish(result))
    return result


async def finish(awaitable):
    return await awaitable


class FunctionNotFound(Exception):
    """The named function does not exist in this code version."""


class ArgumentNotLoadable(Exception):
    """A value recorded earlier cannot be unpickled by this code version."""


class ResultNotPicklable(Exception):
    """What the function returned cannot leave the process."""


class TemplateError(Exception):
    """A {{template}} in an argument refers to something that is not there."""


def find_function(name):
    """The callable named `pkg.module.func` or `pkg.module:Class.method`."""
    module_name, separator, attributes = name.partition(":")
    if not separator:
        module_name, _, attributes = name.rpartition(".")
    if not module_name or not attributes:
        raise FunctionNotFound("%r names no function: write package.module.function" % name)
    try:
        target = imported(module_name) or importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise  # the module is there, and something that it imports is missing
        parent = sys.modules.get(error.name.rpartition(".")[0])
        raise FunctionNotFound(
            "no module named %r in this code version%s" % (error.name, near(error.name, module_names(parent)))
        ) from None
    for attribute in attributes.split("."):
        owner = target
        try:
            target = getattr(owner, attribute)
        except AttributeError:
            names = [n for n in dir(owner) if not n.startswith("_") and callable(getattr(owner, n, None))]
            where = getattr(owner, "__name__", module_name)
            raise FunctionNotFound("%s has no %r%s" % (where, attribute, near(attribute, names))) from None
        if isinstance(owner, type) and is_instance_method(owner, attribute):
            target = getattr(owner(), attribute)
    if not callable(target):
        raise FunctionNotFound("%s is a %s, not a function" % (name, type(target).__name__))
    return target


def imported(name):
    """The module if it is there whole: asking the import system costs more than the rest of finding a function."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    return None if spec is None or getattr(spec, "_initializing", False) else module


def is_instance_method(owner, attribute):
    for base in owner.__mro__:
        if attribute in vars(base):
            return hasattr(vars(base)[attribute], "__code__")
    return False


def module_names(parent):
    pkgutil = import_past_project("pkgutil")
    prefix = parent.__name__ + "." if parent is not None else ""
    paths = parent.__path__ if parent is not None else _import_paths
    return [prefix + module.name for module in pkgutil.iter_modules(paths)]


def near(name, names):
    difflib = import_past_project("difflib")
    close = difflib.get_close_matches(name, names, n=3) or sorted(names)[:5]
    return "; did you mean %s?" % " or ".join(close) if close else ""


def takes_context(function):
    """Whether the first parameter is named ctx. By hand: inspect costs more than a whole step."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    bound = getattr(function, "__self__", None) is not None
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is None:
        return False
    names = code.co_varnames[: code.co_argcount][1 if bound else 0 :]
    return names[:1] == ("ctx",)


class ContextUnavailable(AttributeError):
    """Something of an engine's context that cannot reach into a process of its own."""


class CallRefused(Exception):
    """The run does not give what was asked for."""


# Of Highway's context, what cannot be here, and what to use.
ELSEWHERE = {
    "db_connection": "a connection cannot cross into a process of its own: open one here, or pass the data along",
    "emit_event": "events are operators of the workflow",
    "wait_for_event": "events are operators of the workflow: wait there, and take what came as an argument",
    "tenant_id": "pass it as an input of the workflow, {{inputs.tenant_id}}",
}
MAX_SLEEP_SECONDS = 60
_NUMBERED = re.compile(r"#\d+$")


class Context:
    """What a step is told of the run it belongs to, and may ask of it, as its `ctx` parameter."""

    def __init__(self, fields, channel=None):
        self._fields = fields
        self._channel = channel
        self._done = {}  # how often each name was used
        self.workflow_run_id = fields.get("run_id")
        self.workflow_name = fields.get("workflow_name")
        self.step_key = fields.get("step_key")
        self.attempt = fields.get("attempt", 1)
        self.code_version_hash = fields.get("code_version_hash")

    @property
    def log(self):
        logging = import_past_project("logging")
        if not logging.getLogger().handlers:
            logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
        return logging.getLogger(self.step_key or "step")

    def get_variable(self, name, default=None):
        """The value of a variable of the run, as the steps before have set it, or the workflow."""
        known, value = self._ask("get_variable", {"name": name})[0]
        return value if known else default

    def set_variable(self, name, value):
        """Give a variable of the run a value, at once and whatever becomes of the step. JSON only."""
        if not is_plain(value):
            raise TypeError(
                "variable %r is given a %s: variables are JSON; return objects" % (name, type(value).__name__)
            )
        self._ask("set_variable", {"name": name, "value": value})

    def step(self, name, fn, *args, **kwargs):
        """What `fn(*args, **kwargs)` returned when it was first called under this name in this step.

        Recorded once: when the step is run again, after a crash or a failure, `fn` is not. A name that is used again
        in the same attempt is another part, told apart by its number.
        """
        number = self._done.get(name, 0) + 1
        plain = number == 1 and not _NUMBERED.search(name)
        key = {"name": name if plain else "%s#%d" % (name, number)}
        _, recorded = self._ask("step", key)
        if recorded is not None:
            self._done[name] = number
            return Unpickler(*recorded).load()
        result = fn(*args, **kwargs)
        if hasattr(result, "__await__"):
            raise TypeError("ctx.step(%r) got a coroutine function: call one that returns its result" % name)
        self._ask("record_step", key, pack({"type": "call"}, result))
        self._done[name] = number  # not before: one that failed is done under the same name when it is tried again
        return result

    def sleep(self, seconds):
        """A short pause within the step."""
        if seconds > MAX_SLEEP_SECONDS:
            raise ValueError(
                "ctx.sleep(%s) would hold a process for that long: write a wait operator in the workflow, which "
                "survives restarts (up to %d s are slept here)" % (seconds, MAX_SLEEP_SECONDS)
            )
        _sleep(seconds)

    def _ask(self, call, arguments, message=None):
        """The (value, recorded value or None) of the answer."""
        message = message or Outgoing({"type": "call"})
        message.header.update(call=call, arguments=message.add(_write_json(arguments).encode()))
        header, parts, memories = self._channel.ask(message)
        if header["refused"] is not None:
            raise CallRefused(header["refused"])
        said = header["payload"]
        recorded = segments_of(said, parts, memories) if said is not None else None
        return _read_json(bytes(parts[header["value"]])), recorded

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise ContextUnavailable(
            "ctx.%s is not available in a step process: %s (ctx has workflow_run_id, workflow_name, step_key, attempt, "
            "code_version_hash, log, get_variable, set_variable, step, sleep)"
            % (name, ELSEWHERE.get(name, "pass what the step needs as an argument"))
        )


# --- arguments and results ----------------------------------------------------------------------------------


def load_arguments(header, parts, memories):
    """The (args, kwargs) of a request, in either of its two forms."""
    payloads = Payloads(header["payloads"], parts, memories)
    said = header["arguments"]
    first, buffers = segments_of(said, parts, memories)
    if said["form"] == "pickled":
        return ArgumentsUnpickler(first, buffers, payloads).load()
    template = _read_json(first.read())
    scope = Scope(template["scope"], template["results"], payloads)
    return render(template["args"], scope), render(template["kwargs"], scope)


class Payloads:
    """Recorded values, unpickled when first asked for: a template may use one of many."""

    def __init__(self, headers, parts, memories):
        self.headers = headers
        self.parts = parts
        self.memories = memories
        self.loaded = {}

    def load(self, index):
        if index not in self.loaded:
            try:
                first, buffers = segments_of(self.headers[index], self.parts, self.memories)
                self.loaded[index] = Unpickler(first, buffers).load()
            except BaseException as error:  # a __setstate__ may raise whatever it likes
                header = self.headers[index]
                raise ArgumentNotLoadable(
                    "the value of %s, pickled by Python %s, does not load in this code version on Python %s: %s: %s"
                    % (
                        header.get("name") or "an argument",
                        header.get("python"),
                        PYTHON,
                        type(error).__name__,
                        safe_text(error),
                    )
                ) from error
        return self.loaded[index]


class Unpickler(pickle.Unpickler):
    """Values pickled by another step, perhaps with cloudpickle."""

    def __init__(self, file, buffers):
        super().__init__(file, buffers=buffers)

    def find_class(self, module, name):
        if module.partition(".")[0] == "cloudpickle":
            load_cloudpickle()
        return super().find_class(module, name)


class ArgumentsUnpickler(Unpickler):
    """The caller's arguments, with its payloads put back where they were referred to."""

    def __init__(self, file, buffers, payloads):
        super().__init__(file, buffers)
        self.payloads = payloads

    def persistent_load(self, index):
        return self.payloads.load(index)

    def load(self):
        try:
            return super().load()
        except ArgumentNotLoadable:
            raise
        except BaseException as error:
            raise ArgumentNotLoadable(
                "the arguments do not load in this code version on Python %s: %s: %s"
                % (PYTHON, type(error).__name__, safe_text(error))
            ) from error


class Scope:
    """What {{name}} means: a recorded result, a workflow variable, `inputs`, `workflow` or `ENV`."""

    def __init__(self, names, results, payloads):
        self.names = dict(names, ENV=dict(os.environ))
        self.results = results
        self.payloads = payloads

    def __getitem__(self, name):
        if name in self.results:
            return self.payloads.load(self.results[name])
        if name in self.names:
            return self.names[name]
        known = sorted([*self.results, *self.names])
        raise TemplateError("{{%s}} is not known here%s" % (name, near(name, known)))


_TEMPLATE = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}|\$\{\s*([^{}]+?)\s*\}")
_STEP = re.compile(r"\.?([^.\[\]\s]+)|\[\s*(?:'([^']*)'|\"([^\"]*)\"|(\d+))\s*\]")


def render(value, scope):
    """`value` with its templates replaced. A string that is one whole template keeps the value's own type."""
    if isinstance(value, list):
        return [render(item, scope) for item in value]
    if isinstance(value, dict):
        return {key: render(item, scope) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    whole = _TEMPLATE.fullmatch(value)
    if whole:
        return look_up(whole.group(1) or whole.group(2), scope)
    return _TEMPLATE.sub(lambda match: str(look_up(match.group(1) or match.group(2), scope)), value)


def look_up(path, scope):
    """The value at `name.key.attribute[0]`. Nothing is ever evaluated or called."""
    position, value, first = 0, None, True
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            raise TemplateError("{{%s}} cannot be read: write name.key or name[0]" % path)
        key = next(group for group in match.groups() if group is not None)
        value = scope[key] if first else member(value, key, path)
        position, first = match.end(), False
    return value


def member(value, key, path):
    if isinstance(value, dict):
        if key in value:
            return value[key]
        names = [str(name) for name in value]
    elif isinstance(value, (list, tuple)) and key.lstrip("-").isdigit():
        if -len(value) <= int(key) < len(value):
            return value[int(key)]
        raise TemplateError("{{%s}}: the list has %d items" % (path, len(value)))
    else:
        if not key.startswith("_") and hasattr(value, key):
            return getattr(value, key)
        names = [name for name in dir(value) if not name.startswith("_")]
    raise TemplateError("{{%s}}: a %s has no %r%s" % (path, type(value).__name__, key, near(key, names)))


def pack(header, value):
    """A message that carries a value: its pickle, and its JSON view when it has one."""
    buffers = []
    try:
        data = dumps(value, buffers)
        message = Outgoing(dict(header, codec="pickle5", python=PYTHON))
        message.header["body"] = message.enclose([data, *buffers])
    except BaseException as error:  # a __reduce__ may raise whatever it likes
        raise ResultNotPicklable(
            "the result cannot be pickled: %s is a %s (%s: %s)"
            % (*culprit(value, "result"), type(error).__name__, safe_text(error))
        ) from error
    try:
        view = _encode_view(value).encode() if is_plain(value) else None
    except (ValueError, RecursionError):
        view = None  # not finite, cyclic, or too deep
    if view is not None and len(view) <= MAX_VIEW_BYTES:
        message.header["json"] = message.add(view)
    return message


def dumps(value, buffers=None):
    """Pickle with the standard library, and with cloudpickle, which is slower, what that cannot name: a lambda.

    `buffers` takes what is better not copied into the pickle.
    """

    def keep(buffer):
        raw = buffer.raw()
        if buffers is None or len(raw) < MIN_BUFFER_BYTES or len(buffers) >= MAX_BUFFERS:
            return True  # in the pickle
        buffers.append(raw)
        return False

    try:
        return _pickle(value, protocol=5, buffer_callback=keep)
    except Exception:
        if buffers is not None:
            buffers.clear()
        return load_cloudpickle().dumps(value, protocol=5, buffer_callback=keep)


def load_cloudpickle():
    """The version's own cloudpickle, or else our copy. Late: it takes as long to import as Python to start.

    Without the project on the path and among the modules, so that its own json.py cannot stand in for what
    cloudpickle imports.
    """
    global _cloudpickle
    if _cloudpickle is None:
        _cloudpickle = import_past_project("cloudpickle")
    return _cloudpickle


def import_past_project(module):
    """Import a module of the standard library or of ours, though the project may have one of that name."""
    path, theirs = sys.path[:], project_modules()
    for name in theirs:
        del sys.modules[name]
    sys.path[:] = [entry for entry in path if entry not in _import_paths]
    try:
        return importlib.import_module(module)
    finally:
        sys.path[:] = path
        for name in project_modules():
            del sys.modules[name]
        sys.modules.update(theirs)


def project_modules():
    return {name: sys.modules[name] for name in list(sys.modules) if name.partition(".")[0] in _project_names}


def is_plain(value):
    """Whether JSON can say all of it, and in reason: json.dumps alone would turn the keys 1 and True into text."""
    left = [MAX_VIEW_ITEMS, MAX_VIEW_BYTES]
    return is_plain_item(value, 0, left)


def is_plain_item(value, depth, left):
    kind = type(value)
    left[0] -= 1
    if left[0] < 0:
        return False
    if kind is dict or kind is list or kind is tuple:
        if depth == MAX_VIEW_DEPTH:
            return False  # readers of JSON have limits of their own
        if kind is dict:
            return all(
                type(key) is str and is_plain_item(key, depth, left) and is_plain_item(item, depth + 1, left)
                for key, item in value.items()
            )
        return all(is_plain_item(item, depth + 1, left) for item in value)
    if kind is str:
        left[1] -= len(value)
        return left[1] >= 0
    if kind is int:
        return value.bit_length() < 14_000  # 4,300 digits are as many as Python reads
    return value is None or kind is bool or kind is float


def culprit(value, path):
    """The deepest (path, type name) inside `value` that does not pickle."""
    try:
        items = items_of(value, path)
    except BaseException:
        items = []  # its __dict__, or the repr of a key, is hostile
    for inner_path, item in items:
        try:
            dumps(item)
        except BaseException as error:
            if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
                break  # all of it is too deep, not one item
            return culprit(item, inner_path)
    return path, type(value).__name__


def items_of(value, path):
    if isinstance(value, dict):
        return [("%s[%r]" % (path, key), item) for key, item in value.items()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [("%s[%d]" % (path, index), item) for index, item in enumerate(value)]
    return [("%s.%s" % (path, key), item) for key, item in vars(value).items()]


# --- errors as plain data -----------------------------------------------------------------------------------


def describe(error, told=None):
    """An exception as plain data. Its own methods may be hostile, so every word of it is fetched with care.

    `told`: the exceptions told already, since chains and groups may be cyclic.
    """
    first = told is None
    told = [] if first else told
    told.append(error)
    kind = type(error)
    module = attribute_text(kind, "__module__")
    ours = module == __name__
    cause = error.__cause__
    if cause is None and not error.__suppress_context__:
        cause = error.__context__
    return {
        "type": attribute_text(kind, "__qualname__"),
        "module": "" if ours else module,
        "message": safe_text(error),
        "traceback": trace(error) if first and not ours else "",
        "notes": notes_of(error),
        "cause": describe(cause, told) if cause is not None and is_news(cause, told) else None,
        "exceptions": [describe(member, told) for member in members_of(error) if is_news(member, told)],
    }


def is_news(error, told):
    return len(told) < MAX_EXCEPTIONS and all(error is not other for other in told)


def notes_of(error):
    try:
        notes = error.__notes__
        return [safe_text(note) for note in notes[:MAX_NOTES]] if type(notes) is list else []
    except BaseException:
        return []


def members_of(error):
    """What an exception group holds, by whatever class: before Python 3.11 groups come from a package."""
    try:
        members = error.exceptions
        if type(members) is tuple:
            return [member for member in members if isinstance(member, BaseException)]
    except BaseException:
        pass
    return []


def attribute_text(kind, name):
    try:
        return safe_text(getattr(kind, name))
    except BaseException:  # its metaclass is hostile
        return "<unknown>"


def safe_text(value):
    try:
        text = str(value)[:MAX_MESSAGE_CHARS]
    except BaseException as failure:
        return "<the message cannot be shown: its __str__ raised %s>" % type(failure).__name__
    return text if type(text) is str else "<the message cannot be shown: it is no text>"


def trace(error):
    """The traceback with the chain of causes, without the frames of this program at its top."""
    try:
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename == _THIS_FILE:
            frames = frames.tb_next
        text = "".join(traceback.format_exception(type(error), error, frames or error.__traceback__))
    except BaseException as failure:
        return "<the traceback cannot be shown: %s>" % type(failure).__name__
    return text if len(text) <= MAX_TRACEBACK_CHARS else text[:1000] + "\n...\n" + text[-MAX_TRACEBACK_CHARS + 1000 :]


# --- start --------------------------------------------------------------------------------------------------


def make_way(import_paths):
    """Put the project first on the path, and forget modules of the standard library that it has names for.

    Plain Python gives a project's json.py precedence over the standard one, unless the interpreter itself
    has already imported that name when it started. So do we; this program keeps its own references.
    """
    sys.path[:] = [*import_paths, *(path for path in sys.path if path not in import_paths)]
    for path in import_paths:
        try:
            _project_names.update(entry.partition(".")[0] for entry in posix.listdir(path))
        except OSError:
            pass
    _project_names.difference_update(module.partition(".")[0] for module in _AT_START)
    for name in project_modules():
        del sys.modules[name]


def preload(names):
    """Import modules before forking. Returns what went wrong, and which left threads behind, by module."""
    errors, threaded = {}, []
    for name in names:
        try:
            load_cloudpickle() if name == "cloudpickle" else importlib.import_module(name)
        except BaseException as error:
            errors[name] = "%s: %s" % (type(error).__name__, safe_text(error)[:500])
        if not threaded and has_threads():
            threaded.append(name)
    return errors, threaded


def has_threads():
    """Whether this process has threads that a fork would not copy, of whatever library, and so must not fork."""
    if count_threads() == 1:
        return False
    # Some libraries end theirs before a fork and start them again on demand, OpenBLAS for one: try it.
    pid = posix.fork()
    if pid == 0:
        posix._exit(0)
    posix.waitpid(pid, 0)
    return count_threads() > 1


def count_threads():
    try:
        return len(posix.listdir("/proc/self/task"))
    except OSError:  # not Linux: only Python's own can be seen
        return len(sys._current_frames())


def main():
    global _libc, _prctl, _import_paths, _seeds, _comparison, _inspection, _fitness, _debugging, _confinement
    try:
        config = _read_json(sys.argv[1])
        control_fd, import_paths = config["control_fd"], config["import_paths"]
    except (IndexError, ValueError, KeyError, TypeError):
        sys.stderr.write("bootstrap.py is started by the supervisor, with a JSON object as its argument\n")
        sys.exit(3)
    sys.argv[1:] = []
    # multiprocessing imports the file of the main module in what it spawns, which is no business of a step's.
    del globals()["__file__"]
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # a worker's thread may have blocked some
    _import_paths = import_paths
    _seeds = config["seed"]
    if not config["network"]:
        cut_network()
    if config["comparison"]:
        _comparison = load_program(config["comparison"])
        _inspection = load_program(config["inspection"])
        _fitness = load_program(config["fitness"])
        _debugging = load_program(config["debugging"])
    _libc = load_libc()
    _prctl = _libc.prctl if sys.platform.startswith("linux") else None
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if _prctl is not None:
        _prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS: of this process and all below it
        _prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans of steps come here, not to init
        if config["parent"] is not None:
            _prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: the warden is single-threaded, so it is exact
            if posix.getppid() != config["parent"]:
                sys.exit(EXIT_ORPHANED)
    if "confinement" in config:
        _confinement = load_program(config["confinement_program"])["Confinement"](config["confinement"])
        _confinement.enter_zygote()
    site.main()  # only now: files of site-packages may hold code
    sys.path.append(config["support_path"])  # last, so that a version's own cloudpickle wins over the copy
    make_way(import_paths)
    posix.set_inheritable(control_fd, False)
    preload_errors, threaded = preload(config["preload"])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.reconfigure(line_buffering=True)
            stream.flush()
        except BaseException:
            pass  # replaced by a preloaded module
    zygote = Zygote(control_fd)
    faulthandler.enable(2)  # whatever that is: in a step process, the step's stderr
    gc.collect()
    _files_opened_ahead.extend(open_files())
    gc.freeze()
    hello = {"type": "hello", "protocol": PROTOCOL, "python": PYTHON, "pid": posix.getpid()}
    unconfined = _confinement.missing if _confinement is not None else []
    write_all(control_fd, encode(dict(hello, preload_errors=preload_errors, threaded=threaded, unconfined=unconfined)))
    zygote.serve()


if __name__ == "__main__":
    main()
