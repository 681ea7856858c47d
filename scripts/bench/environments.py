"""An environment for a version of a project against the peers, in one run, taking turns.

    make bench-environments     or     .venv-bench/bin/python scripts/bench/environments.py [--quick] [--json FILE]

Ours is timed from `capture` of the project to a leased environment. Figures are medians; absolute ones do not travel,
ratios do. The table of cold caches downloads each time, so it says as much about the index as about the contestants.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uv
from rich.console import Console
from rich.table import Table

from envs import EnvCache, capture, evict, open_store, take_inventory

HERE = Path(__file__).resolve().parent
LOCKS = {"small": HERE / "locks/small.txt", "large": HERE / "locks/large.txt"}
OURS, PIP, UV, ISOLATE = "hwe", "virtualenv + pip", "uv venv + uv pip sync", "isolate, virtualenv"
CONTESTANTS = (OURS, PIP, UV, ISOLATE)
console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)


class Bench:
    """A project with a lock, and a place for what everybody builds and keeps."""

    def __init__(self, root: Path, lock: Path, files: int = 40) -> None:
        self.root = root
        self.project = root / "project"
        (self.project / "app").mkdir(parents=True)
        shutil.copy(lock, self.project / "requirements.txt")
        for number in range(files):
            (self.project / f"app/module{number}.py").write_text(source(number))
        self.store = open_store(root / "artifacts")
        # Whoever makes a file on ext4 passes by every inode freed in the last minutes: what can stay, stays.
        self._removes = lock == LOCKS["large"]
        self._number = 0
        self._restart_caches()

    def _restart_caches(self) -> None:
        """Of wheels: those of uv and pip."""
        self.environ = {
            **os.environ,
            "UV_CACHE_DIR": tempfile.mkdtemp(dir=self.root),
            "PIP_CACHE_DIR": tempfile.mkdtemp(dir=self.root),
            "UV_LINK_MODE": "copy",
            "UV_NO_PROGRESS": "1",
            "PIP_QUIET": "2",
        }
        os.environ.update(self.environ)  # ours is called in this process

    def change_code(self) -> None:
        """What a deploy does most of the time."""
        self._number += 1
        (self.project / "app/module0.py").write_text(source(0) + f"RELEASE = {self._number}\n")

    def new_place(self) -> Path:
        self._number += 1
        return self.root / f"place{self._number}"

    def build(self, contestant: str, cache: Path | None = None) -> float:
        """Seconds until its environment for the project as it is now can be used. `cache`: ours, to be kept."""
        place = self.new_place()
        lock = self.project / "requirements.txt"
        started = time.perf_counter()
        if contestant == OURS:
            version = capture(self.project)
            self.store.put(version)
            with EnvCache(cache or place, self.store).lease(version.hash):
                pass
        elif contestant == PIP:
            self._run(sys.executable, "-m", "virtualenv", "-q", place)
            self._run(place / "bin/python", "-m", "pip", "install", "-q", "--require-hashes", "-r", lock)
            shutil.copytree(self.project, place / "project")
        elif contestant == UV:
            self._run(uv.find_uv_bin(), "venv", "-q", place)
            sync = ("pip", "sync", "-q", "--compile-bytecode", "--require-hashes", "--python", place / "bin/python")
            self._run(uv.find_uv_bin(), *sync, lock)
            shutil.copytree(self.project, place / "project")
        else:
            self._isolate(place)
        took = time.perf_counter() - started
        if cache is None and self._removes:
            shutil.rmtree(place)
        return took

    def _run(self, *command: Any) -> None:
        subprocess.run([str(part) for part in command], check=True, env=self.environ, stdout=subprocess.DEVNULL)

    def _isolate(self, place: Path) -> None:
        # In a process of its own: it changes what others in this one would see.
        pins = [
            line.split(";")[0].rstrip(" \\").strip()
            for line in (self.project / "requirements.txt").read_text().splitlines()
            if "==" in line and not line.startswith(" ")
        ]
        self._run(sys.executable, "-c", _ISOLATE, place, *pins)

    def floor(self) -> float:
        """Seconds to copy the project's files and compile them: what nobody who does both can be faster than."""
        place = self.new_place()
        started = time.perf_counter()
        shutil.copytree(self.project, place)
        self._run(sys.executable, "-I", "-S", "-m", "compileall", "-q", place)
        return time.perf_counter() - started


_ISOLATE = """
import sys
from pathlib import Path
from isolate.backends.settings import IsolateSettings
from isolate.backends.virtualenv import VirtualPythonEnvironment
settings = IsolateSettings(cache_dir=Path(sys.argv[1]))
VirtualPythonEnvironment.from_config({"requirements": sys.argv[2:]}, settings).create()
"""


def source(number: int) -> str:
    """Some 2 KiB of plausible code."""
    functions = (
        f"def step_{number}_{i}(order, rate=0.{i + 1}):\n    return order * rate + {i}\n\n\n" for i in range(30)
    )
    return '"""A module."""\n\n\n' + "".join(functions)


def in_turns(rounds: int, calls: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Median seconds of each, in another order each round."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name in random.sample(list(calls), len(calls)):
            taken[name].append(calls[name]())
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def measure(lock: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Scenario → contestant → median seconds."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), lock)

        def cold(name: str) -> float:
            bench._restart_caches()  # noqa: SLF001 - the same file
            return bench.build(name)

        def changed(name: str, cache: Path | None = None) -> float:
            bench.change_code()
            return bench.build(name, cache)

        found = {"cold": in_turns(1, {name: lambda name=name: cold(name) for name in CONTESTANTS})}  # type: ignore[misc]
        for name in CONTESTANTS:
            bench.build(name)  # now all caches are warm
        found["warm"] = in_turns(rounds, {name: lambda name=name: bench.build(name) for name in CONTESTANTS})  # type: ignore[misc]
        kept = Path(folder) / "kept"
        changed(OURS, kept)
        calls = {name: lambda name=name: changed(name) for name in (PIP, UV)}  # type: ignore[misc]
        found["code"] = in_turns(
            rounds, {OURS: lambda: changed(OURS, kept), "copying and compiling": bench.floor, **calls}
        )
        again = {OURS: lambda: bench.build(OURS, kept), "lease alone": lambda: lease(bench, kept)}
        found["cached"] = in_turns(rounds * 20, again)
    return found


def lease(bench: Bench, kept: Path) -> float:
    """Seconds, of a version that is there."""
    name = next(iter(bench.store.list()))
    cache = EnvCache(kept, bench.store)
    with cache.lease(name):
        pass
    started = time.perf_counter()
    with cache.lease(name):
        pass
    return time.perf_counter() - started


def on_disk(path: Path) -> int:
    """Bytes that a directory takes, files with several links counted once."""
    told = subprocess.run(["du", "-sk", str(path)], check=True, capture_output=True, text=True)
    return int(told.stdout.split()[0]) * 1024


def disk(counts: list[int]) -> dict[str, Any]:
    """Bytes on disk for so many versions of one project with the small lock."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), LOCKS["small"])
        kept = Path(folder) / "kept"
        place = Path(folder) / "uv-one"
        bench.build(UV)
        bench._run(uv.find_uv_bin(), "venv", "-q", place)  # noqa: SLF001 - the same file
        sync = ("pip", "sync", "-q", "--compile-bytecode", "--python", place / "bin/python")
        bench._run(uv.find_uv_bin(), *sync, bench.project / "requirements.txt")  # noqa: SLF001
        shutil.copytree(bench.project, place / "project")
        ours = {}
        for number in range(1, max(counts) + 1):
            bench.change_code()
            bench.build(OURS, kept)
            if number in counts:
                ours[number] = on_disk(kept)
        inventory = take_inventory(str(kept))
        evicted = evict(str(kept), max_bytes=0)
        return {
            "hwe": ours,
            "one venv": on_disk(place),
            "files of the project": on_disk(bench.project),
            "a further version": statistics.median(version.own_bytes for version in inventory.versions),
            "evicted": len(evicted.versions),
        }


def table_of(lock: str, found: dict[str, dict[str, float]]) -> Table:
    table = Table(title=f"lock: {lock}; milliseconds", box=None, header_style="bold", title_justify="left")
    table.add_column("")
    for title in ("cold wheel cache", "warm wheel cache", "code alone changed", "already cached"):
        table.add_column(title, justify="right")
    names = list(dict.fromkeys(name for seconds in found.values() for name in seconds))
    for name in names:
        cells = []
        for scenario in ("cold", "warm", "code", "cached"):
            seconds = found[scenario].get(name)
            ratio = "" if seconds is None or name == OURS else f"  {seconds / found[scenario][OURS]:.2f} x"
            cells.append("" if seconds is None else f"{seconds * 1e3:.2f}{ratio}")
        table.add_row(name, *cells)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="the small lock, one round: to see that it works")
    parser.add_argument("--json", type=Path, default=Path("build/bench/environments.json"), metavar="FILE")
    options = parser.parse_args()
    machine = f"{platform.platform()}, Python {platform.python_version()}"
    document: dict[str, Any] = {"machine": machine, "locks": {}}
    for name, lock in LOCKS.items():
        if options.quick and name == "large":
            continue
        document["locks"][name] = measure(lock, 1 if options.quick else 7 if name == "small" else 3)
        console.print(table_of(name, document["locks"][name]))
    document["disk"] = disk([1, 10] if options.quick else [1, 10, 100, 1000])
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(document, indent=1))
    sizes = document["disk"]
    for count, taken in sizes["hwe"].items():
        times = sizes["one venv"] * count / taken
        console.print(f"{count} versions: {taken / 1024**2:.1f} MiB; a venv for each takes {times:.1f} x that")
    console.print(
        f"a further version: {sizes['a further version'] / 1024:.0f} KiB; "
        f"its files alone: {sizes['files of the project'] / 1024:.0f} KiB"
    )
    console.print(f"{machine}; all of it in {options.json}")


if __name__ == "__main__":
    main()
