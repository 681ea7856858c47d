"""A fresh process per step against the peers, in one run, interleaved.

    make bench                     or       .venv-bench/bin/python scripts/bench/steps.py [--quick] [--json FILE]

Every contestant is a process of its own, and they take turns, in another order each round, so that a machine that
slows down slows all of them. Figures are medians; absolute ones do not travel, ratios do.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import math
import os
import platform
import random
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from contestants import CONTESTANTS, PROJECTS  # noqa: E402 - beside this file, which is run by its path

OURS, FLOOR, REUSED = "hwe", "raw fork+exit+wait", "ProcessPoolExecutor, reused"
PAUSE_SECONDS = 0.01
PATIENCE_SECONDS = 30.0
console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)


class Contestant:
    """A process of `contestants.py`, which is killed and started again when it stops answering."""

    def __init__(self, name: str, *, numpy: bool) -> None:
        self.name = name
        self._command = [sys.executable, str(HERE / "contestants.py"), name, *(["--numpy"] if numpy else [])]
        self._start()

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the contestant
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            process_group=0,
        )

    def ready(self) -> None:
        assert self._hear(60) == "ready", f"{self.name} did not start"

    def ask(self, **wanted: Any) -> Any:
        """The answer, or None if none came in time: peers are known to wait for ever for a worker that has ended."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        answer = self._hear(wanted.get("patience", PATIENCE_SECONDS))
        if answer is None:
            console.print(f"{self.name} hung: {wanted}", style="yellow")
            self.close()
            self._start()
            self.ready()
        return answer

    def _hear(self, seconds: float) -> Any:
        assert self._process.stdout
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            return None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            sys.exit(f"{self.name} died: {self._errors.read()[-2000:]}")
        return json.loads(line)

    def close(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.communicate(timeout=10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()
        self._errors.close()


@contextlib.contextmanager
def all_of(names: Sequence[str], *, numpy: bool) -> Iterator[list[Contestant]]:
    with contextlib.ExitStack() as cleanup:
        contestants = []
        for name in names:
            contestants.append(Contestant(name, numpy=numpy))
            cleanup.callback(contestants[-1].close)
        for contestant in contestants:
            contestant.ready()
        yield contestants


def is_slow(name: str) -> bool:
    return "fresh" in name


def round_trips(rounds: int, *, numpy: bool) -> dict[str, Any]:
    """For each contestant the spaced calls in seconds, and saturated calls per second for 1 and 2 callers."""
    results: dict[str, Any] = {name: {"spaced": [], "rate": {"1": [], "2": []}, "hung": 0} for name in CONTESTANTS}
    with all_of(list(CONTESTANTS), numpy=numpy) as contestants:
        for number in range(rounds):
            console.print(f"round {number + 1} of {rounds}" + (", numpy imported" if numpy else ""), style="dim")
            for contestant in random.sample(contestants, len(contestants)):
                result, slow = results[contestant.name], is_slow(contestant.name)
                result["spaced"] += contestant.ask(spaced=10 if slow else 60, pause=PAUSE_SECONDS) or []
                for callers in (1, 2):
                    rate = contestant.ask(saturated=0.8 if slow else 0.4, callers=callers)
                    result["rate"][str(callers)].append(rate or 0.0)
                    result["hung"] += rate is None
        # The floor with two callers is two loops, which threads of one process would not be.
        with all_of([FLOOR], numpy=numpy) as second:
            pair = [second[0], next(c for c in contestants if c.name == FLOOR)]
            results[FLOOR]["rate"]["2"] = [two_loops(pair) for _ in range(rounds)]
    return results


def two_loops(pair: Sequence[Contestant]) -> float:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return sum(pool.map(lambda contestant: contestant.ask(saturated=0.4, callers=1), pair))


def table_of(results: dict[str, Any], title: str) -> Table:
    table = Table(title=title, box=None, header_style="bold", title_justify="left")
    for column in ("", "spaced, ms", "p99, ms", "against hwe", "1 caller, /s", "2 callers, /s", "against hwe", "hung"):
        table.add_column(column, justify="left" if not column else "right")
    ours = summary(results[OURS])
    for name, result in results.items():
        own = summary(result)
        table.add_row(
            name,
            f"{own['median'] * 1e3:.2f}",
            f"{own['p99'] * 1e3:.2f}",
            f"{own['median'] / ours['median']:.2f} x",
            f"{own['rate_1']:.0f}",
            f"{own['rate_2']:.0f}",
            f"{own['rate_2'] / ours['rate_2']:.2f} x",
            str(result["hung"] or ""),
        )
    return table


def summary(result: dict[str, Any]) -> dict[str, float]:
    seconds = sorted(result["spaced"]) or [math.nan]
    return {
        "median": statistics.median(seconds),
        "p99": seconds[min(len(seconds) - 1, int(len(seconds) * 0.99))],
        "rate_1": statistics.median(result["rate"]["1"]),
        "rate_2": statistics.median(result["rate"]["2"]),
    }


FIRST_STEP = """
import sys, time
from envs import EnvCache, open_store
from runner import Supervisor
cache = EnvCache(sys.argv[1], open_store(sys.argv[2]))
started = time.perf_counter()
with Supervisor(cache, sandbox="none") as supervisor:
    supervisor.run(sys.argv[3], "work.nothing", [1]).unwrap()
    print(time.perf_counter() - started)
"""


def first_steps(rounds: int) -> dict[str, float]:
    """The first step of a cached version in a new supervisor, against a bare interpreter's start; medians."""
    from envs import EnvCache, capture, open_store

    with tempfile.TemporaryDirectory() as root:
        version = capture(PROJECTS / "bare")
        store = open_store(f"{root}/artifacts")
        store.put(version)
        with EnvCache(f"{root}/cache", store).lease(version.hash) as environment:
            python = environment.python
        first, interpreter = [], []
        for _ in range(rounds):
            command = [sys.executable, "-c", FIRST_STEP, f"{root}/cache", f"{root}/artifacts", version.hash]
            first.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            started = time.perf_counter()
            subprocess.run([python, "-c", "pass"], check=True)
            interpreter.append(time.perf_counter() - started)
    return {"first_step": statistics.median(first), "interpreter": statistics.median(interpreter)}


def state(rounds: int) -> dict[str, dict[str, float]]:
    """Median seconds to hand an array of so many KiB into a step, by contestant."""
    command = [sys.executable, str(HERE / "state.py"), str(rounds)]
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))


def state_table(results: dict[str, dict[str, float]]) -> Table:
    table = Table(title="an array into a step, ms", box=None, header_style="bold", title_justify="left")
    table.add_column("KiB", justify="right")
    for name in next(iter(results.values())):
        table.add_column(name, justify="right")
    for size, seconds in results.items():
        ours = seconds[OURS]
        table.add_row(
            size,
            *(
                f"{taken * 1e3:.2f}" + ("" if taken == ours else f"  {taken / ours:.2f} x")
                for taken in seconds.values()
            ),
        )
    return table


def held_after(steps: int) -> dict[str, Any]:
    """What our process holds before and after so many steps."""
    with all_of([OURS], numpy=False) as (contestant,):
        held = []
        for count in (200, steps):
            for _ in range(count // 200):  # or the figures of all of them would count as memory held
                contestant.ask(spaced=200, pause=0.0, patience=600)
            time.sleep(45)  # processes kept ready follow the demand down
            held.append(contestant.ask(held=True))
        return {"steps": steps, "before": held[0], "after": held[1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds: to see that it works")
    parser.add_argument("--json", type=Path, default=Path("build/bench/steps.json"), metavar="FILE")
    options = parser.parse_args()
    rounds = 1 if options.quick else 8
    document: dict[str, Any] = {
        "machine": f"{platform.platform()}, Python {platform.python_version()}",
        "bare": round_trips(rounds, numpy=False),
        "numpy": round_trips(rounds, numpy=True),
        "first_step": first_steps(3 if options.quick else 15),
        "state": state(2 if options.quick else 7),
        "held": held_after(500 if options.quick else 10_000),
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(document, indent=1))
    console.print(table_of(document["bare"], "one step, nothing imported"))
    console.print(table_of(document["numpy"], "one step, numpy imported ahead"))
    console.print(state_table(document["state"]))
    first = document["first_step"]
    console.print(
        f"first step of a cached version in a new supervisor: {first['first_step'] * 1e3:.1f} ms, "
        f"{first['first_step'] / first['interpreter']:.2f} x a bare interpreter ({first['interpreter'] * 1e3:.1f} ms)"
    )
    console.print(
        f"after {document['held']['steps']} steps: {document['held']['before']} -> {document['held']['after']}"
    )
    console.print(f"{document['machine']}; all of it in {options.json}")


if __name__ == "__main__":
    main()
