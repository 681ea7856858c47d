"""Programs for seccomp: what the kernel refuses to a process whatever its files and rights are.

Assembled here, as bytes that the child hands to the kernel: classic BPF, 8 bytes an instruction, over `struct
seccomp_data` (nr at 0, arch at 4, the low halves of the arguments from 16 on, 8 bytes apart). Refused calls fail, so
that a library that tries them can go on without; nobody is killed.
"""

from __future__ import annotations

import errno
import platform
import struct

# By architecture: AUDIT_ARCH of linux/audit.h, and which column of the numbers below.
_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_X32 = 0x40000000  # the other set of numbers that an x86_64 kernel may take

# Numbers on (x86_64, aarch64), from asm/unistd.h. None: the architecture has no such call.
_DENIED: dict[str, tuple[int, int | None]] = {
    # another view of the file system
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "fsconfig": (431, 431),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "acct": (163, 89),
    # namespaces
    "unshare": (272, 97),
    "setns": (308, 268),
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "perf_event_open": (298, 241),
    # the kernel and the machine
    "bpf": (321, 280),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "ioperm": (173, None),
    "iopl": (172, None),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "vhangup": (153, 58),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    "userfaultfd": (323, 282),
    "memfd_secret": (447, 447),
    # a second way to make system calls, past this filter
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # keys, which outlive a process
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # memory, semaphores and queues that outlive a process
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    # what Landlock does not cover
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
}
_CLONE, _CLONE3, _SOCKET, _IOCTL, _PRCTL = (56, 220), (435, 435), (41, 198), (16, 29), (157, 167)
_SETSID, _SETPGID = (112, 157), (109, 154)

# What changes another process when its number is given, and which argument that is; 0 is the caller. The kernel asks
# for the same user only, and Landlock does not cover it: a limit of no processor time would end the worker.
_ON_OTHERS: dict[str, tuple[int, int, int]] = {
    "prlimit64": (302, 261, 16),
    "sched_setscheduler": (144, 119, 16),
    "sched_setparam": (142, 118, 16),
    "sched_setattr": (314, 274, 16),
}
# The same where the first argument says what the number in the second is of: 0 and 1 are a process.
_PRIORITIES: dict[str, tuple[int, int, int]] = {
    "setpriority": (141, 140, 0),
    "ioprio_set": (251, 30, 1),
}

_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW*, linux/sched.h
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: typing at the worker's terminal
_PDEATHSIG = 1
_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6
_NETLINK = 16  # its protocol 0, ROUTE, is what getaddrinfo asks for addresses

_LOAD, _JUMP_EQUAL, _JUMP_FROM, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NR, _ARCH, _FIRST, _SECOND, _THIRD = 0, 4, 16, 24, 32


def is_supported() -> bool:
    """Whether the numbers of this machine's system calls are known."""
    return platform.machine() in _ARCHITECTURES


def zygote_program(*, network: bool) -> bytes:
    """What is refused to a zygote and to all steps; b"" on an architecture whose numbers are not known.

    Without `network` no socket can be made; pairs of connected ones can.
    """
    if not is_supported():
        return b""
    _, column = _ARCHITECTURES[platform.machine()]
    program = _prologue()
    for numbers in _DENIED.values():
        if (number := numbers[column]) is not None:
            program += _when(number, _refuse(errno.EPERM))
    # Its flags are in memory, where a filter cannot look; libraries that hear this use clone.
    program += _when(_CLONE3[column], _refuse(errno.ENOSYS))
    program += _when(
        _CLONE[column],
        _op(_LOAD, _FIRST) + _op(_JUMP_BITS, _NEW_NAMESPACES, 0, 1) + _refuse(errno.EPERM) + _op(_RETURN, _ALLOW),
    )
    for *columns, argument in _ON_OTHERS.values():
        program += _when(columns[column], _only(argument, 0))
    for *columns, process in _PRIORITIES.values():
        check_kind = _op(_LOAD, _FIRST) + _op(_JUMP_EQUAL, process, 1, 0) + _refuse(errno.EPERM)
        program += _when(columns[column], check_kind + _only(_SECOND, 0))
    program += _when(_IOCTL[column], _unless(_SECOND, _TERMINAL_INPUT))
    program += _when(_SOCKET[column], _sockets() if network else _refuse(errno.EACCES))
    return program + _op(_RETURN, _ALLOW)


def step_program() -> bytes:
    """What is refused to a step besides: to leave the process group by which it is ended, and to outlive its zygote."""
    if not is_supported():
        return b""
    _, column = _ARCHITECTURES[platform.machine()]
    program = _prologue()
    for number in (_SETSID[column], _SETPGID[column]):
        program += _when(number, _refuse(errno.EPERM))
    program += _when(_PRCTL[column], _unless(_FIRST, (_PDEATHSIG,)))
    return program + _op(_RETURN, _ALLOW)


def _prologue() -> bytes:
    """Refuse calls by other tables of numbers, in which those below mean something else; load the number."""
    arch, _ = _ARCHITECTURES[platform.machine()]
    foreign = _op(_LOAD, _ARCH) + _op(_JUMP_EQUAL, arch, 1, 0) + _refuse(errno.EPERM)
    return foreign + _op(_LOAD, _NR) + _op(_JUMP_FROM, _X32, 0, 1) + _refuse(errno.ENOSYS)


def _when(number: int, then: bytes) -> bytes:
    """`then`, which ends in a return, for the system call of that number."""
    return _op(_JUMP_EQUAL, number, 0, len(then) // 8) + then


def _unless(argument: int, values: tuple[int, ...]) -> bytes:
    """Refuse calls whose argument has one of the values, allow the others."""
    checks = b"".join(_op(_JUMP_EQUAL, value, 0, 1) + _refuse(errno.EPERM) for value in values)
    return _op(_LOAD, argument) + checks + _op(_RETURN, _ALLOW)


def _only(argument: int, value: int) -> bytes:
    """Allow calls whose argument has that value, refuse the others."""
    allow = _op(_JUMP_EQUAL, value, 0, 1) + _op(_RETURN, _ALLOW)
    return _op(_LOAD, argument) + allow + _refuse(errno.EPERM)


def _sockets() -> bytes:
    families = b"".join(_op(_JUMP_EQUAL, family, 0, 1) + _op(_RETURN, _ALLOW) for family in _FAMILIES)
    route = _op(_LOAD, _THIRD) + _op(_JUMP_EQUAL, 0, 0, 1) + _op(_RETURN, _ALLOW)
    netlink = _op(_JUMP_EQUAL, _NETLINK, 0, len(route) // 8) + route
    return _op(_LOAD, _FIRST) + families + netlink + _refuse(errno.EACCES)


def _refuse(code: int) -> bytes:
    return _op(_RETURN, _ERRNO | code)


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
