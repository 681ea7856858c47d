"""`hwe replay RUN --pdb STEP` and `--shell STEP`: one recorded step once more, with a person in it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from envs import EnvCache
from runner.errors import UsageError
from runner.ledger import StepRecord
from runner.outcome import StepOutcome
from runner.replay import Replay
from runner.request import Debugging
from runner.terminal import Terminal


@dataclass(frozen=True)
class Asked:
    """What the options ask for. `breaks`: (file, line)."""

    step_key: str
    shell: bool
    attempt: int | None
    breaks: tuple[tuple[str, int], ...]


def asked(pdb: str | None, shell: str | None, breaks: list[str], attempt: int | None) -> Asked | None:
    """What the options ask for together, or None. Raises `UsageError`."""
    if pdb is not None and shell is not None:
        raise UsageError("--pdb and --shell are two ways into a step: choose one")
    if breaks and pdb is None:
        raise UsageError("--break goes with --pdb STEP")
    name = pdb if pdb is not None else shell
    if name is None:
        if attempt is not None:
            raise UsageError("--attempt goes with --pdb STEP or --shell STEP")
        return None
    return Asked(name, shell is not None, attempt, tuple(_place(text) for text in breaks))


def _place(text: str) -> tuple[str, int]:
    name, _, line = text.rpartition(":")
    if not name or not line.isascii() or not line.isdecimal() or int(line) < 1:
        raise UsageError(f"--break {text}: write FILE:LINE, as in orders/steps.py:12")
    return Path(name).as_posix(), int(line)


def debug(replay: Replay, cache: EnvCache, wanted: Asked) -> None:
    """Run the step with a person in it. Raises `NoTerminal`, and what the replay raises."""
    step = replay.attempt_of(wanted.step_key, wanted.attempt)
    mode: Literal["shell", "break", "post mortem"]
    mode = "shell" if wanted.shell else "break" if wanted.breaks else "post mortem"
    terminal = Terminal()
    version = replay.against or step.code_version_hash
    if version is not None:
        with cache.lease(version) as environment:
            print(f"python  {environment.python}\ncode    {environment.project}")
    print(f"step    {step.step_key}, attempt {step.attempt}: {_told(step)}", flush=True)
    with terminal:
        term = os.environ.get("TERM", "dumb")
        outcome = replay.debug(step, Debugging(mode, terminal.other_end, wanted.breaks, term))
    print(f"the step {_ended(outcome)}; nothing of it is recorded")
    sys.stdout.flush()


def _told(step: StepRecord) -> str:
    said = f" with {step.error.get('type')}: {step.error.get('message')}" if step.error else ""
    return f"{step.status} then{said}"


def _ended(outcome: StepOutcome) -> str:
    if outcome.error is None:
        return outcome.status
    return f"{outcome.status}: {outcome.error.type}: {outcome.error.message}"
