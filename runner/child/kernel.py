"""What is asked of the kernel by number. These are from linux/prctl.h and linux/sched.h; elsewhere this does less."""

import ctypes
import posix
import signal
import sys

libc = ctypes.CDLL(None, use_errno=True)
prctl = libc.prctl if sys.platform.startswith("linux") else None

EXIT_NETWORK = 4  # of the zygote
EXIT_ORPHANED = 5  # of the zygote
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere


def die_with(zygote):
    """Of a step process: end when the zygote does, and get the orphans of what it starts."""
    if prctl is not None:
        prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: the parent is single-threaded, so it is exact
        if posix.getppid() != zygote:
            posix._exit(0)  # it died before that line
        prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: see Zygote.end_orphans


def look_after_children(parent):
    """Get the orphans of steps, instead of init, and end when `parent` does, if that is not None."""
    if prctl is not None:
        prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS: of this process and all below it
        prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        if parent is not None:
            prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: the warden is single-threaded, so it is exact
            if posix.getppid() != parent:
                sys.exit(EXIT_ORPHANED)


def cut_network():
    """Leave the network for an empty one of our own, which needs no privilege where user namespaces are allowed."""
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
