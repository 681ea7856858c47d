"""The ledger: the one truth about runs, their steps, and the code they started with."""

from runner.ledger.census import VersionCensus
from runner.ledger.errors import (
    DatabaseNotOurs,
    Fenced,
    LedgerError,
    LedgerUnavailable,
    RunExists,
    RunNotFound,
    RunNotInState,
)
from runner.ledger.ledger import Ledger
from runner.ledger.presence import DatabasePresence
from runner.ledger.reader import EXTERNAL
from runner.ledger.records import CodeVersionRecord, RecordedRun, RunRecord, StepRecord, VariableRecord

__all__ = [
    "EXTERNAL",
    "CodeVersionRecord",
    "DatabaseNotOurs",
    "DatabasePresence",
    "Fenced",
    "Ledger",
    "LedgerError",
    "LedgerUnavailable",
    "RecordedRun",
    "RunExists",
    "RunNotFound",
    "RunNotInState",
    "RunRecord",
    "StepRecord",
    "VariableRecord",
    "VersionCensus",
]
