"""The zygote: forks step processes, passes signals on to them, reaps them and what they leave behind."""

import _signal
import _socket as socket  # the module itself takes as long to import as all of pickle
import posix
import select
import signal

from . import originals
from .channel import receive_descriptors
from .frames import read_frame, write_all
from .kernel import RSS_UNIT, die_with
from .step import be_a_step_process

EXIT_NO_PROCESS = 71  # EX_OSERR: of a step that could not be forked
# By hand, as the first words of a step: json.dumps touches 20 pages, each of which is copied after a fork.
_EXIT_NOTICE = b'{"status":%d,"cpu_seconds":%f,"max_rss_bytes":%d}'


class Zygote:
    """Forks step processes, passes signals on to them, reaps them and what they leave behind. Single-threaded."""

    def __init__(self, control_fd, confinement, seeds):
        self.confinement = confinement
        self.seeds = seeds
        self.control = socket.socket(fileno=control_fd)
        self.wake_read, self.wake_write = posix.pipe()
        posix.set_blocking(self.wake_read, False)
        posix.set_blocking(self.wake_write, False)
        self.exit_fds = {}  # pid of a step process -> write end of its exit pipe

    def serve(self):
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # The socket and this pipe are all that the loop waits for; the handler itself does nothing.
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        poll = originals.poll()
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
                die_with(zygote)
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
                be_a_step_process(step_fd, stdout_fd, stderr_fd, scratch, self.confinement, self.seeds)
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
            originals.sleep(0.002)

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
                originals.sleep(0.005)


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
