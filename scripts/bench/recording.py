"""Runs of the orders example with random inputs, recorded for what is measured with them."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from runner.cli.installation import opened, submit
from runner.settings import load_settings

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / "examples" / "orders" / "v1"
HWE = Path(sys.executable).parent / "hwe"
# In which every recorded run must have come to where it is wanted.
PATIENCE_SECONDS = 600


VOUCHERS = ("WELCOME5", "SORRY10")


def random_order(number: int, source: random.Random, vouchers: Sequence[str]) -> dict[str, Any]:
    lines = [
        {
            "sku": f"SKU-{source.randrange(1000)}",
            "quantity": source.randint(1, 9),
            "unit_price": round(source.uniform(0.5, 200), 2),
        }
        for _ in range(source.randint(1, 12))
    ]
    order: dict[str, Any] = {"number": f"A-{number}", "lines": lines}
    if source.random() < 0.4:
        order["voucher"] = source.choice(vouchers)
    return order


def record(
    home: Path,
    project: Path,
    runs: int,
    edit: Callable[[Path], None],
    *,
    until: Sequence[str],
    vouchers: Sequence[str] = VOUCHERS,
) -> None:
    """So many runs, driven until each is in one of those statuses. `edit` gets the project's workflow.yaml first."""
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("__pycache__"))
    workflow = project / "workflow.yaml"
    edit(workflow)
    hwe(home, project, "capture", "--wheels")
    source = random.Random(7)  # noqa: S311 - the same orders each time
    os.environ["HWE_HOME"] = str(home)
    with opened(load_settings(project, captures=True)) as installation:
        for number in range(runs):
            order = json.dumps({"order": random_order(number, source, vouchers)})
            submit(installation, workflow, project, input_text=order, run_id=f"run-{number:05}", policy="artifact")
        worker = subprocess.Popen(
            [str(HWE), "worker"], cwd=project, env=_environment(home, project), stderr=subprocess.DEVNULL
        )
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while any(run.status not in until for run in installation.ledger.runs(limit=runs)):
                if worker.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"the worker (exit code {worker.poll()}) did not bring every run to {' or '.join(until)}")
                time.sleep(0.2)
        finally:
            worker.terminate()
            worker.wait()


def hwe(home: Path, directory: Path, *arguments: str, command: Sequence[str] = (), fails: bool = False) -> str:
    """What a command of ours prints. Ends this program when it fails, unless it may."""
    done = subprocess.run(
        [*(command or [str(HWE)]), *arguments],
        cwd=directory,
        env=_environment(home, directory),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and not fails:
        sys.exit(f"hwe {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def measured(description: str | None, measure: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
    """What `measure` tells of so many runs as the command line says, which is also printed."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    told = measure(options.runs)
    text = json.dumps(told, indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    print(text)
    return told


def _environment(home: Path, directory: Path) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HWE_")}
    return {**environment, "HWE_HOME": str(home), "HOME": str(directory)}
