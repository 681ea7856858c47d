"""Run each step of a durable workflow in a fresh interpreter of exactly the code its run started with."""

from runner.errors import (
    OpaqueValue,
    RunnerError,
    SandboxUnavailable,
    StepFailed,
    SupervisorClosed,
    UsageError,
)
from runner.outcome import StepError, StepOutcome, Usage
from runner.payload import Payload
from runner.supervisor import Supervisor

__all__ = [
    "OpaqueValue",
    "Payload",
    "RunnerError",
    "SandboxUnavailable",
    "StepError",
    "StepFailed",
    "StepOutcome",
    "Supervisor",
    "SupervisorClosed",
    "Usage",
    "UsageError",
]
