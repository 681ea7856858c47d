"""What a cache of many versions costs: a lease, list and gc, and the capture of many files that nobody touched.

    make bench-cache     or     .venv/bin/python scripts/bench/cache.py [--quick] [--json FILE]

Every environment is really built, from a project of which one line changes. Figures are medians; absolute ones do not
travel: go by how they grow, and by the ratio of a capture to the bare look at the files that it cannot do without.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from envs import CodeVersion, EnvCache, capture, evict, open_store, take_inventory

ROUNDS = 7
LEASES = 50
# Building waits for compilers, which are processes of their own.
BUILDERS = os.cpu_count() or 1
# No limit that anything reaches: gc looks at everything and removes nothing.
ENOUGH_BYTES = 1024**5
console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)


def seconds(call: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """Median."""
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def versions_of(project: Path, numbers: range) -> list[CodeVersion]:
    project.mkdir(exist_ok=True)
    versions = []
    for number in numbers:
        (project / "app.py").write_text(f"RELEASE = {number}\n")
        versions.append(capture(project))
    return versions


def measure_cache(root: Path, counts: list[int]) -> dict[int, dict[str, float]]:
    """How many environments → microseconds: of building one, of leasing one, of list and gc for each."""
    store = open_store(root / "artifacts")
    cache = EnvCache(root / "cache", store)
    hashes: list[str] = []
    found = {}

    def build(version: CodeVersion) -> str:
        store.put(version)
        with cache.lease(version.hash):
            return version.hash

    def lease() -> None:
        for name in hashes[:: max(1, len(hashes) // LEASES)]:
            with cache.lease(name):
                pass

    for count in counts:
        started, before = time.perf_counter(), len(hashes)
        with ThreadPoolExecutor(BUILDERS) as pool:
            hashes += pool.map(build, versions_of(root / "project", range(before, count)))
        building = time.perf_counter() - started
        assert len(take_inventory(cache.root).versions) == count
        assert evict(cache.root, max_bytes=ENOUGH_BYTES).versions == []
        leased = len(hashes[:: max(1, len(hashes) // LEASES)])
        found[count] = {
            "building": building / (count - before) * 1e6,
            "lease": seconds(lease) / leased * 1e6,
            "list": seconds(lambda: take_inventory(cache.root)) / count * 1e6,
            "gc": seconds(lambda: evict(cache.root, max_bytes=ENOUGH_BYTES)) / count * 1e6,
        }
        console.print(f"{count} environments, {building:.0f} s of building")
    return found


def look(folder: str) -> int:
    """The status of every file: what nobody who is to notice a change can do without."""
    files = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                files += look(entry.path)
            else:
                entry.stat(follow_symlinks=False)
                files += 1
    return files


def measure_capture(root: Path, files: int) -> dict[str, float]:
    """Milliseconds for a project of so many files: read whole, unchanged, and the bare look."""
    project = root / "large"
    for number in range(files):
        folder = project / f"package{number // 100}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"module{number}.py").write_text(f"NUMBER = {number}\n" * 20)
    captures = root / "captures"
    whole = seconds(lambda: capture(project, reread=True), 3)
    time.sleep(2.5)  # what was written in the moment of a capture is read again: see envs.stat_cache
    capture(project, stat_cache=captures)
    unchanged, bare = [], []
    for _ in range(ROUNDS):  # in turns
        unchanged.append(seconds(lambda: capture(project, stat_cache=captures), 1))
        bare.append(seconds(lambda: look(str(project)), 1))
    assert look(str(project)) == files
    return {
        "files": files,
        "whole": whole * 1e3,
        "unchanged": statistics.median(unchanged) * 1e3,
        "bare look": statistics.median(bare) * 1e3,
    }


def start_of_an_interpreter() -> float:
    """Milliseconds: by it, the speed of machines can be compared."""
    command = [sys.executable, "-I", "-S", "-c", "pass"]
    return seconds(lambda: subprocess.run(command, check=True), 21) * 1e3


def table_of(found: dict[int, dict[str, float]]) -> Table:
    table = Table(title="microseconds", box=None, header_style="bold", title_justify="left")
    table.add_column("environments", justify="right")
    for title in ("building one", "a lease", "list, for each", "gc, for each"):
        table.add_column(title, justify="right")
    for count, taken in found.items():
        cells = (f"{taken[name]:,.1f}" for name in ("building", "lease", "list", "gc"))
        table.add_row(f"{count:,}", *cells)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="few of everything: to see that it works")
    parser.add_argument("--json", type=Path, default=Path("build/bench/cache.json"), metavar="FILE")
    options = parser.parse_args()
    machine = f"{platform.platform()}, Python {platform.python_version()}"
    with tempfile.TemporaryDirectory() as folder:
        captured = measure_capture(Path(folder), 1_000 if options.quick else 10_000)
        found = measure_cache(Path(folder), [10, 100] if options.quick else [10, 1_000, 10_000])
    started = start_of_an_interpreter()
    console.print(table_of(found))
    console.print(
        f"capture of {captured['files']:,} files: {captured['whole']:.0f} ms; when none changed "
        f"{captured['unchanged']:.1f} ms, {captured['unchanged'] / captured['bare look']:.1f} x a bare look at them "
        f"({captured['bare look']:.1f} ms)"
    )
    document = {"machine": machine, "cache": found, "capture": captured, "interpreter_ms": started}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(document, indent=1))
    console.print(f"{machine}, whose bare interpreter starts in {started:.1f} ms; all of it in {options.json}")


if __name__ == "__main__":
    main()
