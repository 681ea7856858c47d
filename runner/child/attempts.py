"""Tries what a step must not be able to do, and tells what it could. Run by the supervisor in a throwaway child.

Arguments   attempts.py CONFIG, a JSON object: confinement_program and confinement as for bootstrap.py (null: none at
            all), scratch and sibling (directories), outside (a file that is no business of a step's), victim (a pid),
            abstract (the name of an abstract unix socket on which somebody listens), socket (the path of one).
Output      one JSON object: for each attempt true if it succeeded, false if it was refused.
Exit codes  0; another one when the child could not be confined at all, with a traceback.
"""

import ctypes
import json
import os
import resource
import socket
import sys


def main():
    config = json.loads(sys.argv[1])
    confinement = None
    if config["confinement"] is not None:
        names = {"__name__": "hwe_confinement"}
        with open(config["confinement_program"], "rb") as file:
            exec(compile(file.read(), "<hwe confinement>", "exec"), names)
        confinement = names["Confinement"](config["confinement"])
        confinement.enter_zygote()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        if confinement is not None:
            confinement.enter_step(config["scratch"])
            confinement.enter_function(None)
        told = {name: succeeds(attempt) for name, attempt in attempts(config).items()}
        print(json.dumps(told), flush=True)
        os._exit(0)
    sys.exit(os.WEXITSTATUS(os.waitpid(pid, 0)[1]))


def attempts(config):
    outside, victim = config["outside"], config["victim"]
    libc = ctypes.CDLL(None, use_errno=True)
    return {
        "use scratch": lambda: touch(os.path.join(config["scratch"], "own")),
        "write outside": lambda: touch(outside),
        "write to a sibling": lambda: touch(os.path.join(config["sibling"], "file")),
        "read outside": lambda: os.close(os.open(outside, os.O_RDONLY)),
        "chmod outside": lambda: os.chmod(outside, 0o600),
        "signal outside": lambda: os.kill(victim, 0),
        "read memory": lambda: os.close(os.open("/proc/%d/environ" % victim, os.O_RDONLY)),
        "leave the group": lambda: in_a_child(os.setsid),
        "gain capabilities": lambda: status_says("CapPrm", "0000000000000000"),
        "gain privileges": lambda: status_says("NoNewPrivs", "1"),
        "new namespace": lambda: in_a_child(lambda: check(libc.unshare(0x10000000))),  # CLONE_NEWUSER
        "socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close(),
        "abstract socket": lambda: connect("\0" + config["abstract"]),
        "socket with a path": lambda: connect(config["socket"]),
        "see a process": lambda: os.stat("/proc/%d" % victim),
        "core dump": lambda: lies(resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)),
        "many processes": lambda: lies(os.geteuid() != 0 and resource.getrlimit(resource.RLIMIT_NPROC)[0] > 0),
        "huge file": lambda: lies(resource.getrlimit(resource.RLIMIT_FSIZE)[1] > 0),
    }


def succeeds(attempt):
    try:
        attempt()
    except (OSError, AttributeError):  # refused, or there is no such thing on this system
        return False
    return True


def touch(path):
    with open(path, "a"):
        pass


def status_says(name, value):
    with open("/proc/self/status") as file:
        lies(dict(line.split(":", 1) for line in file)[name].strip() == value)


def lies(is_limited):
    """Fail, as a refusal does, if it is true that there is a limit."""
    if is_limited:
        raise OSError("refused")


def check(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), "refused")


def in_a_child(action):
    pid = os.fork()
    if pid == 0:
        try:
            action()
        except OSError:
            os._exit(1)
        os._exit(0)
    check(os.waitpid(pid, 0)[1])


def connect(address):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(address)


main()
