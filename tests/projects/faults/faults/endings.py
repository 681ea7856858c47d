"""Ends that a step can come to, each told apart."""

import ctypes
import os
import signal
import sys
import threading
import time


class KeywordOnly(Exception):
    def __init__(self, *, code):
        self.code = code
        super().__init__(code)


class Base(BaseException):
    pass


class SurrogateError(Exception):
    pass


class WithoutText(Exception):
    def __str__(self):
        return 7


class HostileNotes(Exception):
    @property
    def __notes__(self):
        raise SystemExit(9)


class HostileGroup(Exception):
    @property
    def exceptions(self):
        raise KeyboardInterrupt


class Meta(type):
    @property
    def __module__(cls):
        raise RuntimeError("no module")


class HostileClass(Exception, metaclass=Meta):
    pass


class Finalizer:
    def __del__(self):
        raise RuntimeError("in __del__")


class ExitsWhenPickled:
    def __reduce__(self):
        sys.exit(4)


class LeavesWhenPickled:
    def __reduce__(self):
        os._exit(0)


class HostileDict:
    def __getattribute__(self, name):
        if name == "__dict__":
            raise KeyboardInterrupt
        return object.__getattribute__(self, name)

    def __reduce__(self):
        raise KeyboardInterrupt


def raises(name):
    raise {
        "keyword only": lambda: KeywordOnly(code=5),
        "base": lambda: Base("based"),
        "interrupt": KeyboardInterrupt,
        "memory": MemoryError,
        "surrogate": lambda: SurrogateError("half \ud800 pair"),
        "without text": WithoutText,
        "hostile notes": lambda: HostileNotes("noted"),
        "hostile group": lambda: HostileGroup("grouped"),
        "hostile class": lambda: HostileClass("classy"),
        "huge": lambda: ValueError("x" * 5_000_000),
        "stop": lambda: StopIteration(3),
        "exit without words": SystemExit,
    }[name]()


def raises_group():
    inner = ExceptionGroup("inner", [KeyError("k"), ValueError("v")])
    group = ExceptionGroup("outer", [inner, TypeError("t")])
    group.add_note("see the manual")
    raise group


def raises_endless_chain():
    error = ValueError("0")
    for number in range(1, 1000):
        following = ValueError(str(number))
        following.__cause__ = error
        error = following
    raise error


def raises_with_finalizer():
    keep = Finalizer()
    del keep
    raise ValueError("after __del__")


def allocates(mebibytes):
    block = bytearray(mebibytes << 20)
    block[::4096] = b"x" * len(block[::4096])
    time.sleep(0.5)
    return len(block)


def returns(name):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    cyclic = []
    cyclic.append(cyclic)
    return {
        "exits when pickled": ExitsWhenPickled,
        "leaves when pickled": LeavesWhenPickled,
        "hostile dict": HostileDict,
        "a lock": lambda: {"a": [0, threading.Lock()]},
        "deep": lambda: deep,
        "cyclic": lambda: cyclic,
        "nan": lambda: float("nan"),
        "surrogate": lambda: "half \ud800 pair",
        "integer keys": lambda: {1: "a"},
        "a module": lambda: sys,
    }[name]()


def aborts():
    os.abort()


def crashes_in_a_thread():
    thread = threading.Thread(target=ctypes.string_at, args=(0,))
    thread.start()
    thread.join()


def stops_itself():
    os.kill(os.getpid(), signal.SIGSTOP)


def hides_from_its_parent():
    """Clears the death signal, ignores SIGTERM, and leaves a thread running."""
    ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=time.sleep, args=(600,)).start()
    return "left a thread"


def answers_and_lingers():
    """An exit handler that does not end: it is never asked."""
    import atexit

    atexit.register(time.sleep, 600)
    return "done"


def kills_its_zygote():
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def pid_and_parent():
    return [os.getpid(), os.getppid()]


def forks_and_both_return():
    pid = os.fork()
    if pid == 0:
        return "child"
    os.waitpid(pid, 0)
    return "parent"


def forks_and_the_child_raises():
    if os.fork() == 0:
        raise ValueError("in the child")
    os.wait()
    return "parent"


_kept = []


def writes_a_file_that_it_never_closes(path):
    file = open(path, "w")
    file.write("all of it")
    _kept.append(file)


def closes_every_descriptor(path):
    os.closerange(3, 1024)
    files = [open(f"{path}{number}", "w") for number in range(64)]
    return len(files)


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def double(number):
    return 2 * number


def uses_processes(method):
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        return list(pool.map(double, range(3)))


def leaves_a_session_of_its_own(mark):
    import subprocess

    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", mark], start_new_session=True)
    time.sleep(600)
