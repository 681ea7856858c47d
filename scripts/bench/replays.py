"""Records runs of the orders example with random inputs, and replays all of them elsewhere.

    make bench-runs     or     .venv/bin/python scripts/bench/replays.py [--runs 1000] [--json FILE]

Elsewhere: another installation, to which the ledger and the store were copied. Its cache is empty, it belongs to
another user when this is run by root, and reaches no network where namespaces allow that: dependencies come from the
store, in which `hwe capture --wheels` put them. Exit code 0 when every run comes out the same.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recording import HWE, REPOSITORY, VOUCHERS, hwe, measured, record

NOBODY = 65534

# What a replay may take: the steps' own time and half of it, and so much more for each step.
ALLOWED_FACTOR, ALLOWED_MILLISECONDS = 1.5, 2.0


def short(workflow: Path) -> None:
    """Nobody waits for a customer to pay."""
    workflow.write_text(workflow.read_text().replace("wait_for: PT5S", "wait_for: PT0.01S"))


def move(home: Path, elsewhere: Path) -> list[str]:
    """Copy what is recorded; returns the command `hwe` as somebody else runs it there."""
    elsewhere.mkdir(mode=0o700)
    for name in ("hwe.sqlite", "artifacts", "values"):
        path = home / name
        if path.is_dir():
            shutil.copytree(path, elsewhere / name)
        elif path.exists():
            shutil.copy(path, elsewhere / name)
    if os.geteuid() != 0 or shutil.which("setpriv") is None or shutil.which("unshare") is None:
        return [str(HWE)]
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    alone = ["unshare", "--net"] if _runs(["unshare", "--net", "true"]) else []
    for path in (elsewhere.parent, elsewhere, *elsewhere.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    # The interpreter of this environment may be in somebody's home, where others do not come.
    paths = f"PYTHONPATH={REPOSITORY}:{sysconfig.get_path('purelib')}:{sysconfig.get_path('platlib')}"
    system = f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
    for command in ([sys.executable], ["env", paths, system]):
        if _runs([*user, "env", *command, "-c", ("import runner.cli.commands, subprocess, sys, virtualenv, uv; "
                  "uv.find_uv_bin(); subprocess.run([sys.executable, '-c', ''], check=True)")]):  # fmt: skip
            return [*alone, *user, "env", *command, "-c", "from runner.cli import main; main()"]
    print("not as another user, who can run no Python that has what this one has", file=sys.stderr)
    for path in (elsewhere.parent, elsewhere, *elsewhere.rglob("*")):
        os.chown(path, 0, 0)
    return [*alone, str(HWE)]


def _runs(command: Sequence[str]) -> bool:
    return not subprocess.run(command, capture_output=True, check=False, cwd="/").returncode


def measure(runs: int) -> dict[str, Any]:
    """Record, move, replay; what came of it."""
    with tempfile.TemporaryDirectory(prefix="hwe-replays-") as root:
        os.chmod(root, 0o755)  # noqa: S103 - somebody else is to find the way
        home, away = Path(root) / "home", Path(root) / "away"
        began = time.monotonic()
        vouchers = (*VOUCHERS, "NO-SUCH-VOUCHER")  # that one fails
        record(home, Path(root) / "project", runs, short, until=("completed", "failed"), vouchers=vouchers)
        recorded_seconds = time.monotonic() - began
        away.mkdir(mode=0o755)
        elsewhere = away / "home"
        command = move(home, elsewhere)
        began = time.monotonic()
        hwe(elsewhere, away, "replay", "run-00000", command=command)
        first_seconds = time.monotonic() - began
        began = time.monotonic()
        document = json.loads(hwe(elsewhere, away, "replay", "--all", "-j", "1", "--json", command=command, fails=True))
        seconds = time.monotonic() - began
        began = time.monotonic()
        at_once = json.loads(hwe(elsewhere, away, "replay", "--all", "--json", command=command, fails=True))
        seconds_at_once = time.monotonic() - began
    steps = [step for run in document["runs"] for step in run["steps"] if step["replayed"]]
    own = sum(step["wall_seconds"] for step in steps)
    per_step, own_per_step = 1000 * seconds / len(steps), 1000 * own / len(steps)
    return {
        "runs": len(document["runs"]),
        "verdicts": document["verdicts"],
        "verdicts_at_once": at_once["verdicts"],
        "steps": len(steps),
        "elsewhere_as": "another user" if "setpriv" in command else "the same user",
        "network": "unshared" if "unshare" in command else "not used",
        "recorded_seconds": round(recorded_seconds, 1),
        "first_seconds": round(first_seconds, 2),
        "seconds": round(seconds, 2),
        "seconds_at_once": round(seconds_at_once, 2),  # one run for each core
        "ms_per_step": round(per_step, 2),
        "ms_per_step_at_once": round(1000 * seconds_at_once / len(steps), 2),
        "own_ms_per_step": round(own_per_step, 2),
        "allowed_ms_per_step": round(ALLOWED_FACTOR * own_per_step + ALLOWED_MILLISECONDS, 2),
        "different": [run for run in document["runs"] if run["verdict"] != "same"][:5],
    }


def main() -> None:
    told = measured(__doc__, measure)
    sys.exit(0 if {*told["verdicts"], *told["verdicts_at_once"]} == {"same"} else 1)


if __name__ == "__main__":
    main()
