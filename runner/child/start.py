"""From the first line to the loop of the zygote, in the order in which the kernel and a project want it."""

import faulthandler
import gc
import importlib
import posix
import resource
import signal
import site  # the interpreter was started without it, so that we decide when the code that it runs does
import sys

from . import buffers, kernel, project
from .failures import safe_text
from .frames import encode, write_all
from .originals import read_json
from .project import PYTHON, load_cloudpickle
from .zygote import Zygote

PROTOCOL = 1


def preload(names):
    """Import modules before forking. Returns what went wrong, and which left threads behind, by module."""
    errors, threaded = {}, []
    for name in names:
        try:
            load_cloudpickle() if name == "cloudpickle" else importlib.import_module(name)
        except BaseException as error:
            errors[name] = "%s: %s" % (type(error).__name__, safe_text(error)[:500])
        if not threaded and has_threads():
            threaded.append(name)
    return errors, threaded


def has_threads():
    """Whether this process has threads that a fork would not copy, of whatever library, and so must not fork."""
    if count_threads() == 1:
        return False
    # Some libraries end theirs before a fork and start them again on demand, OpenBLAS for one: try it.
    pid = posix.fork()
    if pid == 0:
        posix._exit(0)
    posix.waitpid(pid, 0)
    return count_threads() > 1


def count_threads():
    try:
        return len(posix.listdir("/proc/self/task"))
    except OSError:  # not Linux: only Python's own can be seen
        return len(sys._current_frames())


def main(at_start):
    """`at_start`: the modules that the interpreter had imported when it started."""
    try:
        config = read_json(sys.argv[1])
        control_fd = config["control_fd"]
    except (IndexError, ValueError, KeyError, TypeError):
        sys.stderr.write("bootstrap.py is started by the supervisor, with a JSON object as its argument\n")
        sys.exit(3)
    sys.argv[1:] = []
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # a worker's thread may have blocked some
    if not config["network"]:
        kernel.cut_network()
    if config["comparing"]:
        from . import comparison, debugging, inspection  # noqa: F401 - what they import is the standard library's now
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if config["memory_bytes"]:
        resource.setrlimit(resource.RLIMIT_DATA, (config["memory_bytes"], config["memory_bytes"]))
    kernel.look_after_children(config["parent"])
    confinement = None
    if "confinement" in config:
        from .confinement import Confinement

        confinement = Confinement(config["confinement"])
        confinement.enter_zygote()
    site.main()  # only now: files of site-packages may hold code
    sys.path.append(config["support_path"])  # last, so that a version's own cloudpickle wins over the copy
    project.make_way(config["import_paths"], at_start)
    posix.set_inheritable(control_fd, False)
    preload_errors, threaded = preload(config["preload"])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.reconfigure(line_buffering=True)
            stream.flush()
        except BaseException:
            pass  # replaced by a preloaded module
    zygote = Zygote(control_fd, confinement, config["seed"])
    faulthandler.enable(2)  # whatever that is: in a step process, the step's stderr
    gc.collect()
    buffers.opened_ahead.extend(buffers.open_files())
    gc.freeze()
    hello = {"type": "hello", "protocol": PROTOCOL, "python": PYTHON, "pid": posix.getpid()}
    unconfined = confinement.missing if confinement is not None else []
    write_all(control_fd, encode(dict(hello, preload_errors=preload_errors, threaded=threaded, unconfined=unconfined)))
    zygote.serve()
