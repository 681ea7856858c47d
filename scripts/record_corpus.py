"""Records runs of all kinds and exports them to tests/corpus, where they stay: every later release must replay them.

    .venv/bin/python scripts/record_corpus.py [PYTHON …]     # the minor versions to record on; else all that are here

Run once for each new format of bundles; what is there already is never recorded again. To record with another release,
put it first on PYTHONPATH. The verdicts to expect are those written below, not those of a first replay.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from envs import find_interpreters
from runner.bundle import FORMAT

CORPUS = Path(__file__).parents[1] / "tests" / "corpus"
PROJECT = CORPUS.parent / "projects" / "corpus"
INDEX = CORPUS / "index.json"
PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")

# On every Python; the others say nothing about the interpreter, and take turns.
EVERYWHERE = ("completed", "failed")

_HANGS_AFTER_SECONDS = 60


def task(function: str, *args: Any, **more: Any) -> dict[str, Any]:
    return {"operator_type": "task", "function": "tools.python.run", "args": [f"steps.{function}", *args], **more}


def wait(duration: str) -> dict[str, Any]:
    return {"operator_type": "wait", "wait_for": duration}


# Tasks, each after the one before, and the verdict of each attempt that is not "same".
SCENARIOS: dict[str, tuple[dict[str, dict[str, Any]], dict[str, str]]] = {
    "completed": (
        {
            "draw": task("draw", "{{inputs.count}}", result_key="drawn"),
            "receipt": task("receipt", "{{drawn}}", kwargs={"currency": "{{currency}}"}, result_key="receipt"),
            "pause": wait("PT0.01S"),
            "summarize": task("summarize", "{{receipt}}", "{{issued}}", "for {{inputs.name}}", result_key="summary"),
            "later": task("later", "{{summary}}"),
            "close": {**task(""), "args": ["steps:Shop.close", "{{workflow.run_id}}"]},
        },
        {"pause#1": "not replayed"},
    ),
    "retried": ({"flaky": task("flaky", retry_policy={"max_retries": 2, "delay": "PT0.01S"})}, {}),
    "part_retried": ({"charge": task("charge", retry_policy={"max_retries": 1, "delay": "PT0.01S"})}, {}),
    "failed": ({"draw": task("draw", 2), "fails": task("fails"), "never": task("draw", 1)}, {}),
    "timed_out": ({"sleeps": task("sleeps", timeout_policy={"timeout": "PT0.5S"})}, {}),
    "crashed": ({"crashes": task("crashes")}, {}),
    "left": ({"leaves": task("leaves")}, {}),
    "resumed": ({"draw": task("draw", 1), "second_time": task("second_time")}, {}),
    "cancelled": ({"draw": task("draw", 3), "sleeps": task("sleeps")}, {"sleeps#1": "not replayed"}),
    "versions": (
        {"first": task("version"), "pause": wait("PT1S"), "second": task("version")},
        {"pause#1": "not replayed"},
    ),
    "redacted": (
        {"draw": task("draw", "{{inputs.count}}", result_key="drawn"), "receipt": task("receipt", "{{drawn}}")},
        {"draw#1": "not replayed", "receipt#1": "not replayed"},
    ),
}

# What a bundle of format 1 does not say: which attempt did a part. So the one that failed in it gets its result.
IN_FORMAT_1 = {"part_retried": {"charge#1": "different"}}


class Installation:
    """One in a directory of its own, with a copy of the corpus's project."""

    def __init__(self, root: Path, python: str) -> None:
        self.project = root / "project"
        self.workflow = root / "workflow.json"  # beside it: runs of one Python share their code
        shutil.copytree(PROJECT, self.project, ignore=shutil.ignore_patterns("__pycache__"))
        (self.project / "pyproject.toml").write_text(f'[tool.hwe]\npython = "{python}"\n')
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HWE_")}
        self.environment = {**kept, "HWE_HOME": str(root / "home")}
        self.command = [sys.executable, "-c", "from runner.cli import main; main()"]

    def hwe(self, *arguments: str, expected: int = 0) -> str:
        done = subprocess.run(
            [*self.command, *arguments],
            cwd=self.project,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != expected:
            sys.exit(f"hwe {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def work_until(self, reached: Callable[[dict[str, Any]], bool], run_id: str) -> subprocess.Popen[bytes]:
        """A worker that is at work, once the run is so far."""
        worker = subprocess.Popen(
            [*self.command, "worker"], cwd=self.project, env=self.environment, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + _HANGS_AFTER_SECONDS
        while not reached(json.loads(self.hwe("show", run_id, "--json"))):
            if time.monotonic() > deadline:
                worker.kill()
                sys.exit(f"the run {run_id} does not come so far")
        return worker

    def end(self, worker: subprocess.Popen[bytes]) -> None:
        worker.send_signal(signal.SIGTERM)
        worker.wait(_HANGS_AFTER_SECONDS)

    def submit(self, run_id: str, policy: str = "artifact") -> None:
        self.hwe(
            "submit", str(self.workflow), "--project", ".", "--run-id", run_id, "--policy", policy, "--input", RUN_INPUT
        )


RUN_INPUT = json.dumps({"count": 4, "name": "Zoë", "card": "4711"})


def record(scenario: str, python: str, root: Path) -> Path:
    """The bundle of one run of that kind."""
    here = Installation(root, python)
    tasks, _ = SCENARIOS[scenario]
    names = list(tasks)
    chained = {
        name: {**told, "dependencies": names[index - 1 : index]} for index, (name, told) in enumerate(tasks.items())
    }
    workflow = {"name": scenario, "version": "1", "variables": {"currency": "CHF", "issued": 0}, "tasks": chained}
    here.workflow.write_text(json.dumps(workflow))
    policy = "warn" if scenario == "versions" else "artifact"
    here.submit(scenario, policy)
    if scenario == "cancelled":
        worker = here.work_until(lambda run: run["steps"][-1:] and run["steps"][-1]["step_key"] == "sleeps", scenario)
        here.hwe("cancel", scenario)
        here.end(worker)
    elif scenario == "versions":
        here.end(here.work_until(lambda run: run["status"] == "waiting", scenario))
        steps = here.project / "steps.py"
        steps.write_text(steps.read_text().replace("return 1", "return 2"))
        here.hwe("worker", "--drain")
    else:
        here.hwe("worker", "--drain")
    if scenario == "resumed":
        here.hwe("resume", scenario)
        here.hwe("worker", "--drain")
    target = root / "run.hwe"
    redactions = ["--redact", "input.card", "--redact", "steps.draw"] if scenario == "redacted" else []
    here.hwe("export", scenario, str(target), *redactions)
    return target


def main() -> None:
    here = {".".join(found.version.split(".")[:2]) for found in find_interpreters()}
    wanted = sys.argv[1:] or [python for python in PYTHONS if python in here]
    if absent := sorted(set(wanted) - here):
        sys.exit(f"no Python {', '.join(absent)} here")
    index = json.loads(INDEX.read_text()) if INDEX.exists() else []
    known = {told["file"] for told in index}
    others = [scenario for scenario in SCENARIOS if scenario not in EVERYWHERE]
    planned = [(scenario, python) for scenario in EVERYWHERE for python in wanted]
    planned += [(scenario, wanted[number % len(wanted)]) for number, scenario in enumerate(others)]
    for scenario, python in planned:
        name = f"format-{FORMAT}/{scenario}-{python}.hwe"
        if name in known or (
            any(told["format"] == FORMAT and told["scenario"] == scenario for told in index)
            and (scenario not in EVERYWHERE)
        ):
            continue
        with tempfile.TemporaryDirectory(prefix="hwe-corpus-") as root:
            bundle = record(scenario, python, Path(root))
            target = CORPUS / name
            target.parent.mkdir(exist_ok=True)
            shutil.copy(bundle, target)
            target.chmod(0o644)
        digest = hashlib.sha256(target.read_bytes()).hexdigest()
        index.append(
            {
                "file": name,
                "sha256": digest,
                "format": FORMAT,
                "python": python,
                "scenario": scenario,
                "otherwise": SCENARIOS[scenario][1] | (IN_FORMAT_1.get(scenario, {}) if FORMAT == 1 else {}),
            }
        )
        INDEX.write_text(json.dumps(index, indent=1) + "\n")
        print(name, target.stat().st_size, flush=True)


if __name__ == "__main__":
    main()
