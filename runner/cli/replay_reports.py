"""What `hwe replay` prints: the document of --json, and the same for people."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from runner.cli import complain, render
from runner.cli.replay_runs import RunReplayed
from runner.ledger import RunRecord
from runner.replay import MAX_JSON_CHARS, Replayed

_STYLES = {"same": "green", "different": "red", "could not": "red", "not replayed": "dim"}
_SHOWN_DIFFERENCES = 10
_SHOWN_COSTS = 40

# So many brackets nest no deeper than can be written, and looking closer takes a while.
_SURELY_SHALLOW = 200


def document(run: RunRecord, replayed: Sequence[Replayed], verdict: str, against: str | None) -> dict[str, Any]:
    """What --json has of one run."""
    return {
        "run_id": run.run_id,
        "workflow_name": run.workflow_name,
        "status": run.status,
        "code_version_hash": run.code_version_hash,
        "against": against,
        "verdict": verdict,
        "steps": [
            {
                **{name: value for name, value in vars(one).items() if not name.endswith("_json")},
                "differences": list(one.differences),
                "recorded_value": _value(one.recorded_json),
                "replayed_value": _value(one.replayed_json),
            }
            for one in replayed
        ],
    }


def _value(text: str | None) -> Any:
    """A result as JSON. None too when it is longer than a replay keeps, or too deep to write inside the document."""
    if text is None or len(text) >= MAX_JSON_CHARS:
        return None
    value = json.loads(text)
    if text.count("[") + text.count("{") > _SURELY_SHALLOW:
        try:
            json.dumps([[[[value]]]], indent=2)  # deeper than it will be
        except RecursionError:
            return None
    return value


def console() -> Console:
    """Where the report of a replay goes."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200, highlight=False)


def print_step(one: Replayed) -> None:
    """One attempt, and where its result differs."""
    out = console()
    style = _STYLES[one.verdict]
    attempt = f" (attempt {one.attempt})" if one.attempt > 1 else ""
    detail = f": {one.detail}" if one.detail else ""
    out.print(f"[{style}]{one.verdict:12}[/] {escape(one.step_key)}{attempt}{escape(detail)}", soft_wrap=True)
    if not one.differences:
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("", "where", "recorded", "replayed", ""):
        table.add_column(column, overflow="fold")
    for found in one.differences[:_SHOWN_DIFFERENCES]:
        table.add_row(" " * 12, *(escape(str(found.get(name, ""))) for name in ("path", "recorded", "replayed", "how")))
    out.print(table)
    if len(one.differences) > _SHOWN_DIFFERENCES:
        out.print(f"{'':13}and {len(one.differences) - _SHOWN_DIFFERENCES} more; --json has them", style="dim")


def print_costs(replayed: Sequence[Replayed]) -> None:
    """Time and memory then and now, of every attempt that was run. It is never a difference of the code."""
    ran = [one for one in replayed if one.replayed]
    if not ran:
        return
    table = Table(box=None, pad_edge=False, header_style="dim", style="dim")
    table.add_column("step, then → now")
    for column in ("status", "seconds", "CPU seconds", "peak memory"):
        table.add_column(column, overflow="fold")
    for one in ran[:_SHOWN_COSTS]:
        table.add_row(
            escape(one.step_key) + (f" (attempt {one.attempt})" if one.attempt > 1 else ""),
            one.recorded if one.recorded == one.replayed else f"{one.recorded} → {one.replayed}",
            f"{_seconds(one.recorded_wall_seconds)} → {_seconds(one.wall_seconds)}",
            f"{_seconds(one.recorded_cpu_seconds)} → {_seconds(one.cpu_seconds)}",
            f"{_memory(one.recorded_max_rss_bytes)} → {_memory(one.max_rss_bytes)}",
        )
    out = console()
    out.print()
    out.print(table)
    if len(ran) > _SHOWN_COSTS:
        out.print(f"and {len(ran) - _SHOWN_COSTS} more; --json has them", style="dim")
    out.print()


def _seconds(count: float | None) -> str:
    return "?" if count is None else f"{count:.3f}"


def _memory(count: int | None) -> str:
    return render.bytes_told(count) if count else "?"


class Told:
    """Tells of run after run, for people at once and for programs at the end. `is_one`: there is but one.

    `together`: the document of --json is of all runs, and not that of the one.
    """

    def __init__(self, against: str | None, *, is_one: bool, together: bool, as_json: bool, may_write: bool) -> None:
        self._against = against
        self._is_one = is_one
        self._together = together
        self._as_json = as_json
        self._may_write = may_write
        self._counts = Counter[str]()
        self._documents: list[dict[str, Any]] = []

    @property
    def verdict(self) -> str:
        """Of all runs together."""
        return "different" if self._counts["different"] else "same" if set(self._counts) == {"same"} else "could not"

    def step(self, one: Replayed) -> None:
        """A step of the one run, as soon as it is known."""
        if not self._as_json:
            print_step(one)

    def run(self, told: RunReplayed) -> None:
        """A run, when all of it is known."""
        self._counts[told.verdict] += 1
        if told.history is None:
            complain(f"{told.name}: {told.problem}")
            if self._as_json:
                unknown = {"run_id": told.name, "verdict": told.verdict, "detail": str(told.problem), "steps": []}
                self._documents.append(unknown)
            return
        run = told.history.run
        if self._as_json:
            of_run = document(run, told.steps, told.verdict, self._against)
            self._documents.append({**of_run, "remaining": told.remaining})
            return
        if self._is_one:
            print_costs(told.steps)
        else:
            for one in told.steps:
                if one.verdict in {"different", "could not"}:
                    print_step(one)
        print_verdict(run, told.steps, told.verdict, self._against)
        if self._is_one:
            print_how_far(told.steps, told.remaining, may_write=self._may_write)

    def end(self) -> None:
        """All of them together."""
        if self._as_json:
            together = {"verdict": self.verdict, "verdicts": dict(self._counts), "runs": self._documents}
            render.print_json(together if self._together else self._documents[0])
        elif not self._is_one:
            counted = ", ".join(f"{count} {name}" for name, count in sorted(self._counts.items())) or "there are none"
            console().print(f"{self._counts.total()} runs: [bold]{self.verdict}[/] ({counted})")


def print_verdict(run: RunRecord, replayed: Sequence[Replayed], verdict: str, against: str | None) -> None:
    """One line on the whole."""
    counts = {name: sum(one.verdict == name for one in replayed) for name in _STYLES}
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no step is recorded"
    versions = {one.code_version_hash for one in replayed if one.replayed}
    where = "on the code of each" + (f", {len(versions)} versions" if len(versions) > 1 else "")
    where = f"on {against[:12]}" if against else where
    console().print(f"run {run.run_id} ({run.status}), {where}: [bold]{verdict}[/] ({told})", soft_wrap=True)


def print_how_far(replayed: Sequence[Replayed], remaining: Sequence[str], *, may_write: bool) -> None:
    """What is not compared, and why."""
    notes = []
    if remaining:
        notes.append(f"not recorded, as the run did not come so far: {', '.join(remaining)}")
    if without := sum(one.logs == "not recorded" for one in replayed):
        told = "what 1 attempt printed is" if without == 1 else f"what {without} attempts printed is"
        notes.append(f"{told} not recorded, so it is not compared: an earlier release ran them")
    if not may_write and any((one.replayed_error or {}).get("type") == "PermissionError" for one in replayed):
        notes.append(
            "steps of a replay write to their scratch directories alone: --allow-writes grants what was granted"
        )
    for note in notes:
        console().print(escape(note), style="dim", soft_wrap=True)
