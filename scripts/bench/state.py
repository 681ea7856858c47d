"""State into a step, by size: an array, against a pickled pipe and a plain memfd write, interleaved.

.venv-bench/bin/python scripts/bench/state.py ROUNDS       prints {KiB: {contestant: median seconds}} as JSON
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import Pipe
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from envs import EnvCache, capture, open_store
from runner import Supervisor

PROJECT = Path(__file__).resolve().parent / "projects" / "numpy"
SIZES_KIB = (1, 64, 1024, 16 * 1024, 128 * 1024, 512 * 1024)


def nbytes(array: Any) -> int:
    return int(array.nbytes)


def write_to_memfd(array: Any) -> None:
    descriptor = os.memfd_create("bench")
    rest = memoryview(array).cast("B")
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.close(descriptor)


def through_a_pipe(array: Any) -> None:
    """Pickled and unpickled, without any process in between."""
    near, far = Pipe()
    sender = Thread(target=near.send, args=(array,))
    sender.start()
    far.recv()
    sender.join()
    near.close()
    far.close()


def main() -> None:
    rounds = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as root, ProcessPoolExecutor(1) as pool:
        store = open_store(f"{root}/artifacts")
        version = capture(PROJECT)
        store.put(version)
        with Supervisor(EnvCache(f"{root}/cache", store), sandbox="none") as supervisor:
            contestants: dict[str, Callable[[Any], object]] = {
                "hwe": lambda array: supervisor.run(version.hash, "work.size", [array]).unwrap(),
                "plain memfd write": write_to_memfd,
                "pickled pipe": through_a_pipe,
                "ProcessPoolExecutor, reused": lambda array: pool.submit(nbytes, array).result(),
            }
            print(json.dumps({size: measure(contestants, size, rounds) for size in SIZES_KIB}))


def measure(contestants: dict[str, Callable[[Any], object]], kibibytes: int, rounds: int) -> dict[str, float]:
    array = np.ones(kibibytes * 1024 // 8)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, call in contestants.items():
            time.sleep(0.01)
            started = time.perf_counter()
            call(array)
            if number:  # the first is for warming up
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


if __name__ == "__main__":
    main()
