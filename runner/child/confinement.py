"""Holds a zygote and its step processes to what they were told. Imports nothing of ours: attempts.py loads it alone.

Runs in the child (Python 3.9 to 3.14, standard library alone) before any code of a user's: `enter_zygote` once, ahead
of site-packages and preloaded modules, so that every step process inherits it for nothing; `enter_step` in each step
process right after its fork, ahead of its request; `enter_function` when that has told its name. Nothing here
can be undone by the process, or by what it starts.

What it is told, as runner/sandbox/ writes it: readable, writable, devices (paths), scratches (the directory that holds
the scratch directories of this zygote's steps), tcp (whether it may be used), filters {zygote, step} (seccomp programs
in hex, "" for none), limits {zygote, step} ({name of an RLIMIT: number}), functions ({name: {limits, filter}}, of those
that are held to something else).
"""

import ctypes
import posix
import resource
import struct
import sys

# linux/prctl.h, linux/securebits.h, linux/capability.h
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS = 23, 24, 28, 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
SECUREBITS_ALL_LOCKED = 0xEF  # no root, no fix-up, no kept and no ambient capabilities; all of it for good
CAPABILITY_VERSION_3 = 0x20080522

# linux/landlock.h; the same numbers on every architecture
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
MAKE_CHAR, MAKE_BLOCK, REFER, TRUNCATE, IOCTL_DEV = 64, 2048, 8192, 16384, 32768
RIGHTS_SINCE_ABI = {1: 0x1FFF, 2: REFER, 3: TRUNCATE, 5: IOCTL_DEV}
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV  # the others are refused on what is no directory
TCP_BIND_AND_CONNECT, ABI_WITH_TCP = 3, 4
SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS, ABI_WITH_SCOPE = 3, 6

READ = EXECUTE | READ_FILE | READ_DIR
USE = READ_FILE | WRITE_FILE | TRUNCATE


class Confinement:
    """`missing` names what this kernel does not do, after `enter_zygote`."""

    def __init__(self, told):
        self.told = told
        self.missing = []
        self.rules = []  # (descriptor, rights), kept open: a step's layer has the same ones
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.syscall.restype = ctypes.c_long
        self.abi = max(0, self.libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1))
        self.rights = sum(bits for abi, bits in RIGHTS_SINCE_ABI.items() if abi <= self.abi)

    def enter_zygote(self):
        limit(self.told["limits"]["zygote"])
        self.call(self.libc.prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        self.drop_capabilities()
        if self.abi:
            everything = self.rights & ~(MAKE_CHAR | MAKE_BLOCK)
            own = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]
            for path in (*self.told["readable"], *own):
                self.allow(path, READ)
            for path in self.told["writable"]:
                self.allow(path, everything)
            for path in self.told["devices"]:
                self.allow(path, USE)
            self.enter_domain(self.told["scratches"])
        if self.abi < ABI_WITH_SCOPE:
            self.missing.append("landlock" if not self.abi else "landlock %d" % ABI_WITH_SCOPE)
        try:
            self.filter_calls(self.told["filters"]["zygote"])
        except OSError:
            self.missing.append("seccomp")

    def enter_step(self, scratch):
        """After `setsid`, which is among what the step's filter refuses."""
        if self.abi:
            self.enter_domain(scratch)
            for descriptor, _ in self.rules:
                posix.close(descriptor)
        if "seccomp" not in self.missing:
            self.filter_calls(self.told["filters"]["step"])

    def enter_function(self, name):
        """Before anything of the request is looked at but the name of its function."""
        own = self.told["functions"].get(name, {"limits": {}, "filter": ""})
        limit(dict(self.told["limits"]["step"], **own["limits"]))
        if "seccomp" not in self.missing:
            self.filter_calls(own["filter"])

    def drop_capabilities(self):
        """All of them, for this process and whatever it executes. A process without any has nothing to drop."""
        for number in range(64):
            if self.libc.prctl(PR_CAPBSET_READ, number, 0, 0, 0) < 0 or self.libc.prctl(
                PR_CAPBSET_DROP, number, 0, 0, 0
            ):
                break  # the last one is passed, or there is no right to: then no capability is to be had either
        self.libc.prctl(PR_SET_SECUREBITS, SECUREBITS_ALL_LOCKED, 0, 0, 0)
        self.libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        self.call(self.libc.capset, struct.pack("=Ii", CAPABILITY_VERSION_3, 0), bytes(24))

    def allow(self, path, rights):
        """A rule for all layers; a path that is not there needs none."""
        try:
            descriptor = posix.open(path, posix.O_PATH | posix.O_CLOEXEC)
        except OSError:
            return
        self.rules.append((descriptor, self.fitting(descriptor, rights)))

    def fitting(self, descriptor, rights):
        rights &= self.rights
        return rights if posix.fstat(descriptor).st_mode & 0o170000 == 0o040000 else rights & FILE_RIGHTS

    def enter_domain(self, writable):
        """One more layer of Landlock: what every layer allows is allowed. Signals stay inside of it."""
        attributes = struct.pack("=Q", self.rights)
        if self.abi >= ABI_WITH_TCP:
            attributes += struct.pack("=Q", 0 if self.told["tcp"] else TCP_BIND_AND_CONNECT)
        if self.abi >= ABI_WITH_SCOPE:
            attributes += struct.pack("=Q", SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS)
        ruleset = self.call(self.libc.syscall, CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
        scratch = posix.open(writable, posix.O_PATH | posix.O_CLOEXEC)
        for descriptor, rights in (*self.rules, (scratch, self.rights & ~(MAKE_CHAR | MAKE_BLOCK))):
            self.call(self.libc.syscall, ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, descriptor), 0)
        self.call(self.libc.syscall, RESTRICT_SELF, ruleset, 0)
        posix.close(ruleset)
        posix.close(scratch)

    def filter_calls(self, program):
        code = bytes.fromhex(program)
        if code:
            kept = ctypes.create_string_buffer(code, len(code))
            head = struct.pack("@HP", len(code) // 8, ctypes.addressof(kept))
            self.call(self.libc.prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, head, 0, 0)

    @staticmethod
    def call(function, *args):
        result = function(*args)
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, posix.strerror(code))
        return result


def limit(limits):
    """Lower both the soft and the hard limits; one that is lower already stays."""
    for name, wanted in limits.items():
        number = getattr(resource, "RLIMIT_" + name, None)
        if number is not None:
            hard = resource.getrlimit(number)[1]
            allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(number, (allowed, allowed))
