"""The errors of `runner`: one root, and each says whose fault it is.

What a step did wrong is not an exception here but a `StepOutcome`; it becomes
`StepFailed` only when a caller asks for it with `outcome.unwrap()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from runner.outcome import StepOutcome

Fault = Literal["user code", "sandbox", "environment", "usage", "ours"]


class RunnerError(Exception):
    """Root of every error that `runner` raises on purpose. The message is one line and says what to do."""

    fault: ClassVar[Fault] = "ours"


class UsageError(RunnerError):
    """A caller or a file given by the user asks for something that cannot be."""

    fault = "usage"


class StepFailed(RunnerError):
    """A step ended other than completed. `outcome` tells how."""

    fault = "user code"

    def __init__(self, outcome: StepOutcome) -> None:
        self.outcome = outcome
        error = outcome.error
        detail = f": {error.type}: {error.message}" if error else ""
        super().__init__(f"the step {outcome.function} {outcome.status.replace('_', ' ')}{detail}")


class OpaqueValue(RunnerError):
    """The result is a Python object without a JSON view; only a step of the same version can open it."""

    fault = "usage"

    def __init__(self, function: str) -> None:
        self.function = function
        super().__init__(
            f"the result of {function} is a Python object without a JSON view: pass outcome.payload on to "
            "another step of the same version, or return None, bool, int, float, str, list or dict"
        )


class ProtocolError(RunnerError):
    """Bytes on a pipe that are no frame of ours: the sender is hostile, broken, or of another release."""

    fault = "sandbox"


class ResourcesExhausted(RunnerError):
    """There is no descriptor, or no room on the disk, for one more step. Nothing of the step has happened."""

    fault = "environment"


class ZygoteFailed(RunnerError):
    """The process that forks a version's steps did not start, or died. `log_tail` is what it printed."""

    fault = "environment"

    def __init__(self, code_version_hash: str, reason: str, log_tail: str = "") -> None:
        self.code_version_hash = code_version_hash
        self.reason = reason
        self.log_tail = log_tail
        last_line = log_tail.strip().rsplit("\n", 1)[-1]
        said = f"; its last words: {last_line}" if last_line else ""
        super().__init__(f"code version {code_version_hash[:12]} cannot run steps: {reason}{said}")


class ZygoteGone(ZygoteFailed):
    """It was there, and is no more: another one can be started, and nothing of the step has happened."""


class GivenUp(RunnerError):
    """Whoever waited for a zygote to start does not any more: its run was cancelled, or the step's time is up."""

    fault = "user code"

    def __init__(self, ended_by: Literal["timeout", "cancel"]) -> None:
        self.ended_by = ended_by
        super().__init__(f"given up waiting for a zygote: {ended_by}")


class SandboxUnavailable(RunnerError):
    """The asked level of sandbox cannot be enforced here, and running with less was not asked for."""

    fault = "sandbox"


class SupervisorClosed(RunnerError):
    """`run` or `submit` after `close`."""

    fault = "usage"
