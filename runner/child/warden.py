"""The warden: a small trusted process between the supervisor and its zygotes. Found by path, imported by nobody.

It is run by the supervisor's own interpreter, has a single thread, runs no code of any project, and outlives nothing:

- zygotes are forked here, and so never from a process that has threads;
- it holds on to the supervisor itself (a pidfd, which no copy of a descriptor keeps open), and when that is dead, by
  whatever signal, kills all below it before it exits;
- it is a subreaper: what a dying zygote leaves behind comes here, not to init, and is killed and reaped.

Arguments   warden.py CONTROL SUPERVISOR: the descriptor of a SOCK_SEQPACKET socket, and the supervisor's pid.
Control fd  Takes one request at a time, as descriptors: a file with the marshalled (command, environment, directory),
            followed by descriptor numbers that the command expects, and the descriptors themselves: those and at last
            its stdout and stderr. Answers b"PID", with a pidfd, or b"!" and the reason in words.
            At its end, or when the supervisor is dead, everything is killed and the warden exits.

Linux only (5.4 or later); elsewhere the supervisor starts its zygotes itself.
"""

import _signal as signal  # the modules around these two take longer than all the rest
import _socket as socket
import fcntl
import marshal
import os
import select
import struct
import sys
import time

MAX_DESCRIPTORS = 16
INT = struct.Struct("i")
PR_SET_CHILD_SUBREAPER = 36

# What was killed is gone as soon as it gets a processor; what sleeps in the kernel, when that lets go of it.
SWEEPS = 2000
SWEEP_SECONDS = 0.002


def main():
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, int(sys.argv[1]))
    os.set_inheritable(control.fileno(), False)
    supervisor = os.pidfd_open(int(sys.argv[2]))
    if os.getppid() != int(sys.argv[2]):
        return  # it died before that line, and the pid may be somebody else's
    become_subreaper()
    wake, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the supervisor's to handle: its end is ours
    zygotes = set()
    poll = select.poll()
    for descriptor in (control, supervisor, wake):
        poll.register(descriptor, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if supervisor in ready:
            break
        if wake in ready:
            os.read(wake, 4096)
            reap(zygotes)
        if control.fileno() in ready and not serve(control, zygotes):
            break
    kill_all(zygotes)
    for _ in range(SWEEPS):
        if not kill_all(children()):
            break
        time.sleep(SWEEP_SECONDS)


def become_subreaper():
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        sys.exit("the warden cannot become a subreaper: " + os.strerror(ctypes.get_errno()))


def serve(control, zygotes):
    """Start one program; False when the supervisor has hung up."""
    space = socket.CMSG_SPACE(MAX_DESCRIPTORS * INT.size)
    message, ancillary, _, _ = control.recvmsg(64, space, socket.MSG_CMSG_CLOEXEC)
    if not message:
        return False
    descriptors = [fd for _, kind, data in ancillary if kind == socket.SCM_RIGHTS for (fd,) in INT.iter_unpack(data)]
    try:
        pid = start(*descriptors)
        zygotes.add(pid)
        pidfd = os.pidfd_open(pid)  # ours and not reaped yet: it cannot be another one's
    except Exception as error:  # one zygote's fate, not everybody's
        reply, passed = b"!" + str(error).encode(errors="replace")[:1000], []
    else:
        reply, passed = b"%d" % pid, [pidfd]
    try:
        control.sendmsg([reply], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, INT.pack(fd)) for fd in passed])
    except OSError:
        return False
    finally:
        for descriptor in (*descriptors, *passed):
            os.close(descriptor)
    return True


def start(what, *descriptors):
    with open(what, "rb", closefd=False) as file:
        command, environment, directory, numbers = marshal.load(file)
    *passed, output = descriptors
    failed, failure = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        become(command, environment, directory, dict(zip(numbers, passed)), output, failure)
    os.close(failure)
    try:
        reason = os.read(failed, 4096)  # empty as soon as it has become another program
    finally:
        os.close(failed)
    if reason:
        raise OSError(reason.decode(errors="replace"))
    return pid


def become(command, environment, directory, passed, output, failure):
    """Turn the forked process into the program, with nothing open but what it was given."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in range(1, signal.NSIG):  # also what a shell's `&` or nohup has the worker ignore
            if signal.getsignal(number) == signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        os.setsid()  # a Ctrl-C at the worker's terminal is the supervisor's to handle
        os.chdir(directory)
        # All of them out of the way of the numbers that some are to have.
        least = max([64, *passed]) + 1
        failure = fcntl.fcntl(failure, fcntl.F_DUPFD_CLOEXEC, least)
        wanted = {**passed, 0: os.open(os.devnull, os.O_RDONLY), 1: output, 2: output}
        moved = {target: fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, least) for target, source in wanted.items()}
        for target, source in moved.items():
            os.dup2(source, target)
        os.execve(command[0], command, environment)
    except BaseException as error:
        os.write(failure, str(error).encode(errors="replace")[:1000])
    finally:
        os._exit(127)


def reap(zygotes):
    """Bury the dead. Whoever lives and is no zygote is what a dead one left behind."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            break
        zygotes.discard(pid)
    kill_all([pid for pid in children() if pid not in zygotes])


def children():
    try:
        with open("/proc/self/task/%d/children" % os.getpid()) as listing:
            return [int(pid) for pid in listing.read().split()]
    except OSError:
        return []  # a kernel without it: zygotes die of their parent's death, and what they left is not found


def kill_all(pids):
    """Whether there were any. Nobody else reaps them, so these pids are theirs until then."""
    for pid in list(pids):
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, os.WNOHANG)
        except (ProcessLookupError, ChildProcessError):
            pass
    return bool(pids)


if __name__ == "__main__":
    main()
