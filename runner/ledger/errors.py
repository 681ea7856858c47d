"""What can go wrong with the ledger."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from runner.errors import RunnerError, UsageError


class LedgerError(RunnerError):
    """Root of the ledger's errors."""

    fault = "environment"


class LedgerUnavailable(LedgerError):
    """The database cannot be opened, read or written right now."""


class DatabaseNotOurs(LedgerError):
    """What the URL names is no ledger, or one of a newer release. Nothing in it was changed."""


class RunNotFound(UsageError):
    """No run has that id, or several begin with it."""

    def __init__(self, run_id: str, known: Iterable[str]) -> None:
        self.run_id = run_id
        near = difflib.get_close_matches(run_id, list(known), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "'hwe runs' lists them"
        super().__init__(f"there is no run {run_id!r} in this ledger: {hint}")


class RunExists(UsageError):
    """The id is taken by a run of other content."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(
            f"run {run_id!r} exists already, with another workflow, code or input: choose another --run-id"
        )


class RunNotInState(UsageError):
    """The run is in a status from which this cannot be done."""


class Fenced(LedgerError):
    """Another driver has taken the run over, or it was cancelled: what this one did is not recorded."""

    def __init__(self, run_id: str, epoch: int) -> None:
        self.run_id, self.epoch = run_id, epoch
        super().__init__(f"run {run_id} is no longer driven under epoch {epoch}: nothing was recorded")
