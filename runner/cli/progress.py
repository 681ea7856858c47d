"""What a person sees while runs are driven: a live table on a terminal, one plain line per event in a pipe."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table

from envs import FINAL_PHASES
from runner.advance import Progress
from runner.cli import give_up_stderr

_FINAL = {"completed", "failed", "cancelled"}

_IN_WORDS = {"wait": "waiting for another builder"}  # other phases of a build are words already


class Reporter(Protocol):
    """Takes what happens, from any thread."""

    def say(self, text: str) -> None: ...

    def progress(self, event: Progress) -> None: ...

    def building(self, code_version_hash: str, phase: str) -> None: ...


class PlainReporter:
    """One line per event on stderr."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        # Whoever read this may be gone, which is no business of the runs.
        with self._lock, contextlib.suppress(OSError, ValueError):
            try:
                print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
            except BrokenPipeError:
                give_up_stderr()

    def progress(self, event: Progress) -> None:
        what = f"step {event.step_key} " if event.step_key else ""
        detail = f": {event.detail}" if event.detail else ""
        self.say(f"run {event.run_id} {what}{event.status.replace('_', ' ')}{detail}")

    def building(self, code_version_hash: str, phase: str) -> None:
        self.say(f"environment {code_version_hash[:12]}: {_IN_WORDS.get(phase, phase)}")


class LiveReporter:
    """A table of the runs in progress; what has ended scrolls by above it."""

    def __init__(self, console: Console) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, tuple[str, str, float]] = {}
        self._spinner = Spinner("dots")
        self.live = Live(console=console, get_renderable=self._table, refresh_per_second=8, transient=True)

    def say(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # the terminal may be gone
            self.live.console.print(text, markup=False, highlight=False)

    def progress(self, event: Progress) -> None:
        with self._lock:
            if event.step_key is None and event.status in _FINAL:
                self._rows.pop(event.run_id, None)
            else:
                self._rows[event.run_id] = (event.step_key or "", event.status, time.monotonic())
        if event.status not in {"running", "waiting"}:
            what = f"step {event.step_key} " if event.step_key else ""
            detail = f": {event.detail}" if event.detail else ""
            self.say(f"run {event.run_id} {what}{event.status.replace('_', ' ')}{detail}")

    def building(self, code_version_hash: str, phase: str) -> None:
        key = f"environment {code_version_hash[:12]}"
        with self._lock:
            if phase in FINAL_PHASES:
                self._rows.pop(key, None)
            else:
                self._rows[key] = (_IN_WORDS.get(phase, phase), "building", time.monotonic())

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        with self._lock:
            for name, (step, status, since) in self._rows.items():
                table.add_row(self._spinner, name, escape(step), status, f"{time.monotonic() - since:.0f} s")
        return table


@contextlib.contextmanager
def reporter() -> Iterator[Reporter]:
    """The reporter that fits stderr."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield PlainReporter()
        return
    live = LiveReporter(console)
    with live.live:
        yield live
