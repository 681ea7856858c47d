"""What a hostile step tries. Each function returns when it succeeded, and raises when it was refused."""

import ctypes
import errno
import mmap
import os
import platform
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long


def check(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def syscall(number, *args):
    return check(LIBC.syscall(ctypes.c_long(number), *args))


def number(x86_64, aarch64):
    return x86_64 if platform.machine() == "x86_64" else aarch64


# --- files ---


def write(path):
    with open(path, "w") as file:
        file.write("mine")


def append(path):
    with open(path, "a") as file:
        file.write("mine")


def truncate(path):
    os.truncate(path, 0)


def rename(path):
    os.rename(path, path + ".gone")


def rename_into_scratch(path):
    os.rename(path, "taken")


def replace(path):
    write("new")
    os.replace("new", path)


def unlink(path):
    os.unlink(path)


def rmtree(path):
    os.rmdir(os.path.dirname(path)) if not os.listdir(os.path.dirname(path)) else os.unlink(path)


def hardlink_out(path):
    """A second name in scratch, through which to write."""
    os.link(path, "link")
    write("link")


def hardlink_in(path):
    write("new")
    os.link("new", path + ".link")


def symlink_in(path):
    os.symlink("/etc/passwd", path + ".link")


def write_through_symlink(path):
    os.symlink(path, "link")
    write("link")


def mkdir(path):
    os.mkdir(path + ".d")


def mkfifo(path):
    os.mkfifo(path + ".fifo")


def mknod_device(path):
    os.mknod("device", 0o060600, os.makedev(8, 0))


def setxattr(path):
    os.setxattr(path, "user.mine", b"1")


def chmod(path):
    os.chmod(path, 0o666)


def utime(path):
    os.utime(path, (1, 1))


def read(path):
    with open(path, "rb") as file:
        return len(file.read())


def list_directory(path):
    return len(os.listdir(os.path.dirname(path)))


def write_through_proc(path):
    """/proc/self/root leads to the same files by another way."""
    write("/proc/self/root" + path)


def write_through_descriptor(path):
    """Reopen for writing what was opened for reading."""
    descriptor = os.open(path, os.O_PATH)
    write("/proc/self/fd/%d" % descriptor)


def drop_pth():
    site = next(path for path in sys.path if path.endswith("site-packages"))
    write(os.path.join(site, "mine.pth"))


def drop_pyc():
    write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "attacks.pyc"))


def patch_own_source():
    append(os.path.abspath(__file__))


def patch_interpreter():
    write(os.path.join(os.path.dirname(os.__file__), "hwe_dropped.py"))


def leave_secret():
    write("secret")
    time.sleep(3)
    return os.getcwd()


def where():
    return os.getcwd()


def siblings():
    return [name for name in os.listdir("..") if name != os.path.basename(os.getcwd())]


# --- other processes ---


def kill(pid, number):
    os.kill(pid, number)


def kill_group(pid):
    os.killpg(os.getpgid(pid), signal.SIGKILL)


def kill_parent():
    os.kill(os.getppid(), signal.SIGKILL)


def kill_everything():
    """By a signal that is ignored unless somebody listens: should this succeed, the machine is to live."""
    try:
        os.kill(-1, signal.SIGURG)
    except ProcessLookupError:
        pass


def endure():
    """Waits a while, and fails if it gets the signal of `kill_everything`."""
    got = []
    signal.signal(signal.SIGURG, lambda *_: got.append(1))
    end = time.monotonic() + 3
    while time.monotonic() < end:
        time.sleep(0.05)
    return len(got)


def signal_by_pidfd(pid):
    signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGTERM)


def take_descriptor(pid):
    syscall(438, os.pidfd_open(pid), 0, 0)  # pidfd_getfd


def read_proc(pid, name):
    with open("/proc/%d/%s" % (pid, name), "rb") as file:
        return len(file.read(4096))


def list_descriptors(pid):
    return [os.readlink("/proc/%d/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%d/fd" % pid)]


def ptrace(pid):
    check(LIBC.ptrace(16, pid, 0, 0))  # PTRACE_ATTACH


def read_memory(pid):
    buffer = ctypes.create_string_buffer(8)
    local = struct.pack("@PN", ctypes.addressof(buffer), 8)
    syscall(number(310, 270), pid, local, 1, local, 1, 0)  # process_vm_readv


def limit_other(pid):
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 3))


def renice(pid):
    os.setpriority(os.PRIO_PROCESS, pid, 19)


def oom_score(pid):
    write("/proc/%d/oom_score_adj" % pid)


# --- ways out ---


def escape(command, how):
    """A grandchild that should outlive the step."""
    middle = os.fork()
    if middle == 0:
        try:
            if how == "setsid":
                os.setsid()
            elif how == "setpgid":
                os.setpgid(0, 0)
        except OSError:
            pass
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(60)", command])
        os._exit(0)
    os.waitpid(middle, 0)
    time.sleep(0.2)
    return "left"


def rotate(mark):
    """Forks and exits for ever, to be never there when somebody looks."""
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c", ROTATE, mark])
    time.sleep(0.3)


ROTATE = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
end = time.monotonic() + 30
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
    try: os.setsid()
    except OSError: pass
"""


def new_session():
    if os.fork() == 0:
        try:
            os.setsid()
        except OSError:
            os._exit(1)
        os._exit(0)
    if os.wait()[1]:
        raise PermissionError("setsid")


def new_group():
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
        except OSError:
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        raise PermissionError("setpgid")


def subprocess_new_session():
    subprocess.run(["true"], start_new_session=True, check=True)


def clear_death_signal():
    check(LIBC.prctl(1, 0, 0, 0, 0))


def ignore_sigterm():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(1)


# --- the kernel ---


def unshare(flags):
    check(LIBC.unshare(flags))


def clone_namespace():
    syscall(number(56, 220), ctypes.c_ulong(0x10000000 | signal.SIGCHLD), 0, 0, 0, 0)


def clone3_namespace():
    arguments = struct.pack("=11Q", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0)
    if syscall(435, arguments, ctypes.c_size_t(len(arguments))) == 0:
        os._exit(0)


def mount():
    check(LIBC.mount(b"none", os.getcwd().encode(), b"tmpfs", 0, None))


def chroot():
    os.chroot(".")


def pivot_root():
    syscall(number(155, 41), b".", b".")


def setuid():
    os.setresuid(65534, 65534, 65534)


def setgroups():
    os.setgroups([])


def become_root():
    """By a program that changes its user when it is executed."""
    out = subprocess.run(["su", "-c", "id"], capture_output=True, stdin=subprocess.DEVNULL)
    if out.returncode:
        raise PermissionError(out.stderr.decode())


def capabilities():
    with open("/proc/self/status") as file:
        told = dict(line.split(":", 1) for line in file)
    # Who is not root cannot lower the bounding set, and without new privileges nothing comes of it.
    bounding = ("CapBnd",) if os.geteuid() == 0 else ()
    if any(int(told[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb", *bounding)):
        return "some"
    raise PermissionError("none")


def capabilities_after_exec():
    out = subprocess.check_output([sys.executable, "-c", "print(open('/proc/self/status').read())"], text=True)
    if int(out.split("CapEff:")[1].split()[0], 16):
        return "some"
    raise PermissionError("none")


def io_uring():
    syscall(425, 8, ctypes.create_string_buffer(120))


def keyctl():
    syscall(number(250, 219), 0, ctypes.c_long(-3), 1)


def add_key():
    syscall(number(248, 217), b"user", b"mine", b"x", 1, ctypes.c_long(-3))


def bpf():
    syscall(number(321, 280), 0, ctypes.create_string_buffer(72), 72)


def perf():
    syscall(number(298, 241), ctypes.create_string_buffer(128), 0, -1, -1, 0)


def userfaultfd():
    syscall(number(323, 282), 1)


def shared_segment():
    syscall(number(29, 194), 0x68776531, 4096, 0o1600)


def message_queue():
    syscall(number(240, 180), b"/mine", os.O_CREAT | os.O_RDWR, 0o600, None)


def foreign_call_table():
    """getpid by the x32 numbers, which filters that forget them let through."""
    syscall(0x40000000 + 39)


def posix_shared_memory():
    write("/dev/shm/hwe-mine")


def reboot():
    syscall(number(169, 142), 0, 0, 0, 0)


def hostname():
    socket.sethostname(socket.gethostname())


def clock():
    time.clock_settime(time.CLOCK_REALTIME, time.time())


# --- sockets ---


def tcp(port):
    socket.create_connection(("127.0.0.1", port), timeout=2).close()


def make_socket(family, kind, protocol=0):
    socket.socket(family, kind, protocol).close()


def connect_unix(address):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(address)


def connect_abstract(name):
    connect_unix("\0" + name)


def pair():
    """What must work without a network: asyncio is built on it."""
    for end in socket.socketpair():
        end.close()
    return "works"


# --- using the machine up ---


def fork_bomb():
    """Tells how far it came."""
    count = 0
    while True:
        try:
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return count
            raise
        count += 1


def memory_hog(size):
    block = bytearray(size)
    return len(block)


def memfd_hog(size):
    descriptor = os.memfd_create("mine")
    os.ftruncate(descriptor, size)
    return size


def cpu_hog():
    while True:
        pass


def huge_file(size):
    with open("huge", "wb") as file:
        file.truncate(size)
    return size


def many_descriptors(count):
    return len([os.open("/dev/null", os.O_RDONLY) for _ in range(count)])


def raise_limit():
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


def lock_memory():
    memory = mmap.mmap(-1, 64 * 1024**2)
    check(LIBC.mlock(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(memory))), ctypes.c_size_t(64 * 1024**2)))


def many_files(count):
    for index in range(count):
        write("file-%d" % index)
    return count


# --- the protocol ---


def channel():
    """The step's socket, found as any code in the process could."""
    for name in os.listdir("/proc/self/fd"):
        try:
            connection = socket.socket(fileno=os.dup(int(name)))
            connection.getpeername()
        except OSError:
            continue
        if connection.family == socket.AF_UNIX:
            return connection
    raise RuntimeError("there is none")


def send_bytes(data):
    channel().sendall(bytes.fromhex(data))
    time.sleep(5)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def pickle_bomb(path):
    return Bomb(path)


# --- what must go on working ---


def ordinary():
    """Files, threads, programs, temporary files, copies, an event loop."""
    import asyncio
    import tempfile

    with tempfile.NamedTemporaryFile("w") as file:
        file.write("x")
    write("a")
    shutil.copy2("a", "b")
    shutil.move("b", "c")
    os.makedirs("deep/er")
    os.rename("c", "deep/er/c")
    shutil.make_archive("archive", "zip", "deep")
    shutil.rmtree("deep")
    thread = threading.Thread(target=len, args=("",))
    thread.start()
    thread.join()
    asyncio.run(asyncio.sleep(0))
    child = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True, check=True)
    return int(child.stdout)
