"""Stops in a step, on the user's terminal: a debugger or a prompt. Loaded ahead when a replay may ask for it.

Run by Python 3.9 to 3.14, standard library alone, in a step process that is confined like any other: it gets the
terminal as an open descriptor, with the request, and makes it its own, so that Ctrl-C comes here.

What it is told, as runner/request.py writes it: mode ("post mortem", "break", "shell"), breaks ([[file, line], …]),
terminal (which of the request's memories it is), term (what kind of terminal).
"""

import fcntl
import os
import sys
import termios
import types

from . import kernel, project
from .context import Context
from .failures import OWN_FOLDER, trace
from .functions import call, takes_context
from .project import import_past_project


def debugger(header, memories, channel):
    """What is to be called instead of the step's function, as (function, args, kwargs)."""
    told = header["debug"]

    def run(function, args, kwargs):
        take_over(memories[told["terminal"]][0])
        # Not into os.environ: the step sees the variables that it always sees.
        kernel.libc.setenv(b"TERM", told["term"].encode(), 1)
        pdb = import_past_project("pdb")
        for name in ("readline", "rlcompleter"):
            try:
                # The debugger imports them when it needs them, and must not find the project's by these names.
                sys.modules.setdefault(name, import_past_project(name))
            except ImportError:
                pass  # a Python without it: lines cannot be edited
        if told["mode"] == "shell":
            return converse(header, channel, function, args, kwargs)
        return watch(pdb, told["breaks"], function, args, kwargs)

    return run


def take_over(terminal):
    """Be the session of this terminal, with it as input and output."""
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for target in (0, 1, 2):
        os.dup2(terminal, target)
    os.close(terminal)
    # Those that are there may have been replaced, or know that they were no terminal.
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def say(text):
    print("--- " + text, flush=True)


def watch(pdb, breaks, function, args, kwargs):
    """The result of the step; stops at the breakpoints, and where it raises."""
    debugger = pdb.Pdb(readrc=False)
    numbers = [one for one in (place(debugger, *wanted) for wanted in breaks) if one is not None]
    if breaks and not numbers:
        say("there is nothing to stop at: the step is not run")
        raise SystemExit("no breakpoint")
    try:
        if not numbers:
            result = call(function, args, kwargs)
        else:
            debugger.rcLines = ["continue"]  # past the first line, at which it stops by itself
            result = debugger.runcall(call, function, args, kwargs)
    except BaseException as error:
        if isinstance(error, pdb.bdb.BdbQuit):
            say("ended")
            raise
        post_mortem(pdb, error)
        raise
    hits = pdb.bdb.Breakpoint.bpbynumber
    if not numbers:
        say("the step completed: there is no exception to stop at; --break FILE:LINE stops at a line")
    elif not any(hits[number] is None or hits[number].hits for number in numbers):
        say("the step completed, and came to no breakpoint")
    else:
        say("the step completed")
    return result


def place(debugger, name, line):
    """Set a breakpoint; its number, or None when there is no such line."""
    path = find(name, project.import_paths)
    if path is None:
        say("%s: there is no such file in this code version" % name)
        return None
    lines = lines_of_code(path)
    later = [number for number in lines if number >= line]
    if not later:
        say("%s:%d: there is no code from that line on" % (name, line))
        return None
    if later[0] != line:
        say("%s:%d holds no code that runs: stopping at line %d" % (name, line, later[0]))
    debugger.set_break(path, later[0])
    return debugger.get_breaks(path, later[0])[-1].number


def find(name, roots):
    """The file of this code version that a user means, who may name it as it is in the checkout."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if os.path.isabs(name) and os.path.isfile(name):
        return os.path.realpath(name)
    for start in range(len(parts)):
        for root in roots:
            path = os.path.join(root, *parts[start:])
            if os.path.isfile(path):
                return path
    return None


def lines_of_code(path):
    """The numbers of the lines at which something is executed, in order."""
    findlinestarts = import_past_project("dis").findlinestarts
    with open(path, "rb") as file:
        left = [compile(file.read(), path, "exec", dont_inherit=True)]
    found = set()
    while left:
        code = left.pop()
        found.update(line for _, line in findlinestarts(code) if line)
        left += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return sorted(found)


def post_mortem(pdb, error):
    """A debugger in the frame in which it was raised."""
    frames = error.__traceback__
    while frames is not None and is_ours(pdb, frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    sys.stdout.write(trace(error))
    if frames is None:
        say("it was raised before the step's own code, where there is no frame to look into")
        return
    debugger = pdb.Pdb(readrc=False)
    debugger.reset()
    debugger.interaction(None, frames)


def is_ours(pdb, path):
    return path.startswith(OWN_FOLDER) or path in (pdb.__file__, pdb.bdb.__file__)


def converse(header, channel, function, args, kwargs):
    """A prompt, with what the step would have been called with. Whatever comes of it, the step returns None."""
    code = import_past_project("code")
    with_context = takes_context(function)
    ctx = args[0] if with_context else Context(header["context"], channel)
    names = {"ctx": ctx, "args": list(args[1:] if with_context else args), "kwargs": kwargs, "function": function}
    shown = "function(%s*args, **kwargs)" % ("ctx, " * with_context)
    completer = sys.modules.get("rlcompleter")
    if completer is not None and "readline" in sys.modules:
        sys.modules["readline"].set_completer(completer.Completer(names).complete)
        sys.modules["readline"].parse_and_bind("tab: complete")
    banner = "--- Python %s; %s is what the step does. Ctrl-D ends it." % (project.PYTHON, shown)
    try:
        code.InteractiveConsole(names).interact(banner, "--- ended")
    except SystemExit:
        say("ended")
