"""One contestant in a process of its own, driven through its standard streams by `steps.py`.

    python contestants.py NAME [--numpy]

Takes one JSON object a line: {"spaced": CALLS, "pause": SECONDS} answers with the seconds of each call;
{"saturated": SECONDS, "callers": N} with calls per second; {"held": true} with what it holds. Ends with its input.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

PROJECTS = Path(__file__).resolve().parent / "projects"
Call = Callable[[], Any]


def bare_or_numpy(numpy: bool) -> str:
    return "numpy" if numpy else "bare"


def import_ahead(numpy: bool) -> None:
    sys.path.insert(0, str(PROJECTS / bare_or_numpy(numpy)))
    if numpy:
        importlib.import_module("numpy")
    importlib.import_module("work")


def nothing(value: object = None) -> object:
    return value


def ours(sandbox: str) -> Callable[[bool], contextlib.AbstractContextManager[Call]]:
    @contextlib.contextmanager
    def make(numpy: bool) -> Iterator[Call]:
        from envs import EnvCache, capture, open_store
        from runner import Supervisor

        with tempfile.TemporaryDirectory() as root:
            store = open_store(f"{root}/artifacts")
            version = capture(PROJECTS / bare_or_numpy(numpy))
            store.put(version)
            with Supervisor(EnvCache(f"{root}/cache", store), sandbox=sandbox) as supervisor:
                yield lambda: supervisor.run(version.hash, "work.nothing", [1]).unwrap()

    return make


def executor(**options: Any) -> Callable[[bool], contextlib.AbstractContextManager[Call]]:
    method = options.pop("method", None)

    @contextlib.contextmanager
    def make(numpy: bool) -> Iterator[Call]:
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(2, context, import_ahead, (numpy,), **options) as pool:
            yield lambda: pool.submit(nothing, 1).result()

    return make


@contextlib.contextmanager
def loky(numpy: bool) -> Iterator[Call]:
    from loky import ProcessPoolExecutor as LokyExecutor

    with LokyExecutor(2, initializer=import_ahead, initargs=(numpy,)) as pool:
        yield lambda: pool.submit(nothing, 1).result()


def pebble(max_tasks: int) -> Callable[[bool], contextlib.AbstractContextManager[Call]]:
    @contextlib.contextmanager
    def make(numpy: bool) -> Iterator[Call]:
        from pebble import ProcessPool

        with ProcessPool(2, max_tasks=max_tasks, initializer=import_ahead, initargs=[numpy]) as pool:
            yield lambda: pool.schedule(nothing, args=[1]).result()

    return make


@contextlib.contextmanager
def isolate(numpy: bool) -> Iterator[Call]:  # noqa: ARG001 - it offers no way to import ahead
    from isolate.backends.local import LocalPythonEnvironment

    environment = LocalPythonEnvironment()
    key = environment.create()

    def call() -> object:
        with environment.open_connection(key) as connection:
            return connection.run(functools.partial(abs, 1))  # what this file defines is not there

    yield call


@contextlib.contextmanager
def bare_subprocess(numpy: bool) -> Iterator[Call]:
    command = [sys.executable, "-c", "import numpy" if numpy else "pass"]
    yield lambda: subprocess.run(command, check=True)


@contextlib.contextmanager
def raw_fork(numpy: bool) -> Iterator[Call]:
    """Fork, exit and wait, from a process as large as a zygote: what no process per step can be faster than."""
    for module in ("ctypes", "pickle", "resource", "select", "socket", "traceback"):
        importlib.import_module(module)
    import_ahead(numpy)
    gc.collect()
    gc.freeze()

    def call() -> None:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)

    yield call


CONTESTANTS: dict[str, Callable[[bool], contextlib.AbstractContextManager[Call]]] = {
    "hwe": ours("none"),
    "hwe, sandbox process": ours("process"),
    "hwe, sandbox locked-down": ours("locked-down"),
    "raw fork+exit+wait": raw_fork,
    "ProcessPoolExecutor, reused": executor(),
    "loky, reused": loky,
    "pebble, reused": pebble(0),
    "ProcessPoolExecutor, fresh, forkserver": executor(method="forkserver", max_tasks_per_child=1),
    "ProcessPoolExecutor, fresh, spawn": executor(method="spawn", max_tasks_per_child=1),
    "pebble, fresh": pebble(1),
    "isolate, fresh": isolate,
    "subprocess, fresh, imports nothing of ours": bare_subprocess,
}


def spaced(call: Call, calls: int, pause: float) -> list[float]:
    seconds = []
    for _ in range(calls):
        time.sleep(pause)
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return seconds


def saturated(call: Call, seconds: float, callers: int) -> float:
    counts = [0] * callers
    started = time.perf_counter()

    def work(index: int) -> None:
        while time.perf_counter() - started < seconds:
            call()
            counts[index] += 1

    threads = [threading.Thread(target=work, args=(index,)) for index in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)


def held() -> dict[str, int]:
    """Descriptors, descendants and resident bytes of this process."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {"descriptors": len(os.listdir("/proc/self/fd")), "processes": descendants(os.getpid()), "bytes": resident}


def descendants(pid: int) -> int:
    count = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text().split():
                count += 1 + descendants(int(child))
    return count


def main() -> None:
    name, *options = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a contestant prints is no answer
    # A worker forked while this thread reads sys.stdin would wait for ever to close it.
    orders, sys.stdin = sys.stdin, open(os.devnull)  # noqa: SIM115
    with CONTESTANTS[name]("--numpy" in options) as call:
        for _ in range(20 if "fresh" not in name else 2):
            call()
        print(json.dumps("ready"), file=answers, flush=True)
        for line in orders:
            wanted = json.loads(line)
            if "spaced" in wanted:
                answer: Any = spaced(call, wanted["spaced"], wanted["pause"])
            elif "saturated" in wanted:
                answer = saturated(call, wanted["saturated"], wanted["callers"])
            else:
                answer = held()
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
