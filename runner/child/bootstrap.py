"""The program inside the child: a zygote that forks one step process per step. Found by path, imported by nobody.

It is run by the interpreter of a code version's environment (Python 3.9 to 3.14), so it and the modules beside it use
the standard library alone, plus cloudpickle, a copy of which rides at the end of the path. No module of the standard
library that an interpreter imports by itself may have a namesake in this folder: it stands on the child's import path
until the first line below has run.

Arguments   bootstrap.py CONFIG, a JSON object: control_fd, import_paths (the project's roots, put first),
            support_path (the copy of cloudpickle, put last), preload (modules to import before forking), seed (whether
            random numbers repeat when a step is run again), parent (the pid without which it is not to live, or null),
            network (false: steps have none, or the zygote does not start), comparing (whether steps may be asked to
            compare their results with recorded ones, to look at what is recorded, or to stop on a terminal),
            memory_bytes (the most for each process, or null); if it is to be confined, confinement (see
            confinement.py).
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

Frames are described in runner/wire.py.
"""

import sys

if sys.path and not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # this folder; before 3.11 no option keeps it off the path

import site  # noqa: F401 - started without it, see start.py; these are modules that it brings

AT_START = frozenset(sys.modules)

import importlib

# What the modules beside this one are imported from: a name that no project can have, so neither is in the other's way.
PACKAGE = "<hwe>"


def load(folder):
    """The `main` of start.py."""
    package = type(sys)(PACKAGE)
    package.__path__ = [folder]
    sys.modules[PACKAGE] = package
    return importlib.import_module(PACKAGE + ".start").main


if __name__ == "__main__":
    main = load(__file__.rpartition("/")[0])
    del __file__  # multiprocessing imports the file of the main module in what it spawns: no business of a step's
    main(AT_START)
