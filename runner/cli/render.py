"""Runs and steps for people and for programs."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from runner.ledger import RunRecord, StepRecord

_PIPE_WIDTH = 10_000

_COLORS = {
    "completed": "green",
    "failed": "red",
    "timed_out": "red",
    "crashed": "red",
    "out_of_memory": "red",
    "cancelled": "yellow",
    "running": "cyan",
    "waiting": "blue",
}


JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def print_json(document: Any, *, compact: bool = False) -> None:
    """The one JSON document of a command, on stdout: UTF-8, whatever the locale is.

    `compact`: in one line, for those of ten thousand rows; indented ones take ten times as long to write.
    """
    sys.stdout.flush()
    text = json.dumps(document, ensure_ascii=False, indent=None if compact else 2)
    sys.stdout.buffer.write((text + "\n").encode(errors="replace"))


def bytes_told(count: int) -> str:
    """In the largest unit of which there is one, as `du -h` has them: "812 B", "4.0 KiB", "1.3 GiB"."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def run_head(run: RunRecord) -> dict[str, Any]:
    """A run as `runs --json` lists it."""
    return {
        "run_id": run.run_id,
        "workflow_name": run.workflow_name,
        "workflow_version": run.workflow_version,
        "status": run.status,
        "code_version_hash": run.code_version_hash,
        "policy": run.policy,
        "policy_source": run.policy_source,
        "project": run.project,
        "input": run.input,
        "output": run.output,
        "error": run.error,
        "created_at": _time(run.created_at),
        "updated_at": _time(run.updated_at),
        "finished_at": _time(run.finished_at),
        "wake_at": _time(run.wake_at),
        "driver": run.driver,
    }


def run_document(run: RunRecord, steps: list[StepRecord]) -> dict[str, Any]:
    """A run as `show --json` prints it."""
    return {**run_head(run), "steps": [_step(step) for step in steps]}


def _step(step: StepRecord) -> dict[str, Any]:
    return {
        "step_key": step.step_key,
        "attempt": step.attempt,
        "function": step.function,
        "status": step.status,
        "code_version_hash": step.code_version_hash,
        "value": step.value,
        "opaque": step.result is not None and not step.has_value,
        "error": step.error,
        "started_at": _time(step.started_at),
        "finished_at": _time(step.finished_at),
        "wake_at": _time(step.wake_at),
        "wall_seconds": step.wall_seconds,
        "cpu_seconds": step.cpu_seconds,
        "max_rss_bytes": step.max_rss_bytes,
        "stdout": step.stdout,
        "stderr": step.stderr,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def print_runs(runs: list[RunRecord], *, status: str | None) -> None:
    """A table, newest first, of the runs in that status."""
    if not runs:
        print(f"no runs are {status}" if status else "no runs yet: 'hwe submit WORKFLOW' makes one")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("run", "workflow", "status", "code version", "policy", "created"):
        table.add_column(column, overflow="fold")
    for run in runs:
        created = run.created_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        version = run.code_version_hash[:12]
        table.add_row(run.run_id, escape(run.workflow_name), _colored(run.status), version, run.policy, created)
    _console().print(table)


def print_run(run: RunRecord, steps: list[StepRecord]) -> None:
    """One run with its steps; says where a step ran on other code than the run started with."""
    console = _console()
    console.print(f"run       {run.run_id}", highlight=False)
    console.print(f"workflow  {run.workflow_name} {run.workflow_version}", markup=False, highlight=False)
    console.print(f"status    {_colored(run.status)}", highlight=False)
    origin = f" from {escape(run.policy_source)}" if run.policy_source else ""
    console.print(f"code      {run.code_version_hash}  (policy {run.policy}{origin})", highlight=False, soft_wrap=True)
    if run.wake_at and run.status == "waiting":
        console.print(f"wakes     {run.wake_at.astimezone():%Y-%m-%d %H:%M:%S}", highlight=False)
    if run.error:
        message = f"{run.error.get('type')}: {run.error.get('message')}"
        console.print("error    ", message, style="red", markup=False, highlight=False, soft_wrap=True)
    if run.output:
        console.print("output   ", json.dumps(run.output, ensure_ascii=False), markup=False, soft_wrap=True)
    if not steps:
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("step", "try", "status", "code", "seconds", "function", "value or error"):
        table.add_column(column, overflow="fold")
    for step in steps:
        version = (step.code_version_hash or "")[:8]
        other = step.code_version_hash not in {None, run.code_version_hash}
        table.add_row(
            escape(step.step_key),
            str(step.attempt),
            _colored(step.status),
            f"[red]{version} other[/]" if other else version,
            "" if step.wall_seconds is None else f"{step.wall_seconds:.3f}",
            escape(step.function or ""),
            escape(_summary(step)),
        )
    console.print()
    console.print(table)
    traceback = (steps[-1].error or {}).get("traceback")
    if run.status == "failed" and traceback:
        console.print(f"\n{steps[-1].step_key}, as it ended:", markup=False, highlight=False)
        console.print(str(traceback).rstrip(), style="dim", markup=False, highlight=False, soft_wrap=True)


def _summary(step: StepRecord, width: int = 60) -> str:
    if step.error:
        text = f"{step.error.get('type')}: {step.error.get('message')}"
    elif step.has_value:
        text = json.dumps(step.value, ensure_ascii=False)
    elif step.result is not None:
        text = "a Python object"
    else:
        text = ""
    return text if len(text) <= width else text[: width - 1] + "…"


def _colored(status: str) -> str:
    return f"[{_COLORS.get(status, 'default')}]{status}[/]"


def _console() -> Console:
    # In a pipe a row is one line, however long.
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
