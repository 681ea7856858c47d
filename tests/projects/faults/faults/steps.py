"""Every way to end that a step process has."""

import ctypes
import os
import signal
import subprocess
import sys
import time


class NeedsTwo(Exception):
    def __init__(self, first, second):
        super().__init__("two", first, second)


class Hostile(Exception):
    def __str__(self):
        raise RuntimeError("no words")

    def __reduce__(self):
        raise RuntimeError("no pickle")


def fine(value=None):
    return value


def raises_own_init():
    raise NeedsTwo(1, 2)


def raises_hostile():
    raise Hostile


def raises_chained():
    try:
        {}["missing"]
    except KeyError as error:
        raise ValueError("outer") from error


def raises_cycle():
    a, b = ValueError("a"), ValueError("b")
    a.__cause__, b.__cause__ = b, a
    raise a


def exits(code):
    sys.exit(code)


def leaves(code):
    os._exit(code)


def recurses():
    return recurses()


def crashes():
    ctypes.string_at(0)


def kills_itself():
    os.kill(os.getpid(), signal.SIGKILL)


def returns_lambda():
    return lambda x: x + 1


def calls(function, value):
    return function(value)


def returns_generator_inside():
    return {"rows": [1, (n for n in "ab")]}


def sleeps(seconds):
    time.sleep(seconds)


def ignores_sigterm(seconds):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(seconds)


def leaves_children(mark):
    """A child in the group, one in a session of its own, and a daemon of two forks."""
    program = [sys.executable, "-c", "import time; time.sleep(600)", mark]
    subprocess.Popen(program)
    subprocess.Popen(program, start_new_session=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv(sys.executable, program)
        os._exit(0)
    time.sleep(0.1)


def speaks(lines):
    for number in range(lines):
        print("line", number)
    os.write(2, b"from C, as it were\n")
    subprocess.run(["sh", "-c", "echo from a grandchild"], check=True)


def closes_streams():
    sys.stdout.close()
    os.close(1)
    os.close(2)
    return "done"


def descriptors():
    found = []
    for fd in range(3, 256):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            pass
    return found


def sees():
    return {
        "environment": dict(os.environ),
        "descriptors": descriptors(),
        "path": sys.path,
        "cwd": os.getcwd(),
        "pid": os.getpid(),
        "ppid": os.getppid(),
    }


def scratch():
    with open("note.txt", "w") as file:
        file.write("here")
    return os.listdir()


class Box:
    def __init__(self, value):
        self.value = value


def boxed(value):
    return Box(value)


def unboxed(box):
    return box.value


class Unloadable:
    def __reduce__(self):
        return (int, ("not a number",))


def returns_unloadable():
    return Unloadable()


async def waits(value):
    return value


def writes_garbage():
    """A hostile step: it speaks to the supervisor itself."""
    for fd in range(3, 64):
        try:
            os.write(fd, b"\x00\x00\x00\x04junk")
        except OSError:
            pass
    time.sleep(60)


def exits_politely_when_told(seconds):
    import signal
    import sys

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    time.sleep(seconds)


def code_of_a_forked_exit(code):
    import sys

    pid = os.fork()
    if pid == 0:
        sys.exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def prints_from_c():
    import ctypes

    ctypes.CDLL(None).printf(b"from C")


class Untellable(Exception):
    def __getattribute__(self, name):
        raise KeyError(name)


def raises_untellable():
    raise Untellable


def returns_a_shared_tree():
    tree = []
    for _ in range(60):
        tree = [tree, tree]
    return tree


def returns_a_huge_number():
    return 10**5000
