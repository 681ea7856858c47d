"""Records runs of the orders example that wait after their third step, and checks a candidate against all of them.

    make bench-runs     or     .venv/bin/python scripts/bench/checks.py [--runs 1000] [--json FILE]

The candidate is the code that the runs started on with one function changed, and its environment is built before the
clock starts. Exit code 0 when every verdict is the right one.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from recording import hwe, measured, record


def wait_after_three(workflow: Path) -> None:
    """price, discount and tax are recorded; then the customer takes a month to pay."""
    document = yaml.safe_load(workflow.read_text())
    tasks = document["tasks"]
    tasks["discount"]["dependencies"] = ["price"]
    tasks["hold"] |= {"wait_for": "P30D", "dependencies": ["tax"]}
    tasks["charge"]["dependencies"] = ["hold"]
    workflow.write_text(yaml.safe_dump(document, sort_keys=False))


def timed(home: Path, project: Path, *options: str) -> tuple[float, dict[str, int]]:
    """Seconds, and how many runs got each verdict."""
    began = time.monotonic()
    document = json.loads(hwe(home, project, "check", "--json", *options, fails=True))
    return time.monotonic() - began, document["verdicts"]


def measure(runs: int) -> dict[str, Any]:
    """Record, change the code, check."""
    with tempfile.TemporaryDirectory(prefix="hwe-checks-") as root:
        home, project = Path(root) / "home", Path(root) / "project"
        record(home, project, runs, wait_after_three, until=("waiting",))
        steps = project / "orders" / "steps.py"
        code = steps.read_text()
        told: dict[str, Any] = {}
        for name, changed, options in (
            ("fits", code.replace("charging", "now charging"), []),
            ("a parameter more", code.replace("def charge(ctx, order)", "def charge(ctx, order, currency)"), []),
            ("steps run again", code.replace("charging", "now charging"), ["--replay"]),
        ):
            assert changed != code
            steps.write_text(changed)
            timed(home, project, "--limit", "1")  # builds it
            seconds, verdicts = timed(home, project, *options)
            told[name] = {"seconds": round(seconds, 2), "verdicts": verdicts}
        return told


def main() -> None:
    told = measured(__doc__, measure)
    given = [set(one["verdicts"]) for one in told.values()]
    sys.exit(0 if given == [{"compatible"}, {"signature"}, {"compatible"}] else 1)


if __name__ == "__main__":
    main()
