"""What came of one step, as plain data that is safe to log, store and show."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from runner.errors import OpaqueValue, StepFailed

if TYPE_CHECKING:
    from runner.payload import Payload

Status = Literal["completed", "failed", "timed_out", "cancelled", "crashed", "out_of_memory"]


@dataclass(frozen=True)
class StepError:
    """An exception told in words. Made in the child from the live object, so no class is needed to read it."""

    type: str
    message: str
    module: str = ""
    traceback: str = ""
    notes: tuple[str, ...] = ()
    cause: StepError | None = None

    def to_json(self) -> dict[str, Any]:
        """A dict of the fields, causes nested; what the ledger's `error` columns hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> StepError:
        """The inverse of `to_json`, lenient about types since the data may come from a child."""
        if not isinstance(data, dict):
            return cls(type="Unreadable", message=str(data)[:500])
        cause = data.get("cause")
        notes = data.get("notes") or ()
        return cls(
            type=str(data.get("type", "Unreadable")),
            message=str(data.get("message", "")),
            module=str(data.get("module", "")),
            traceback=str(data.get("traceback", "")),
            notes=tuple(str(note) for note in notes) if isinstance(notes, list | tuple) else (),
            cause=cls.from_json(cause) if isinstance(cause, dict) else None,
        )


@dataclass(frozen=True)
class Usage:
    """What a step cost. CPU and memory are the kernel's account of the step process and its waited-for children."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    max_rss_bytes: int = 0


@dataclass(frozen=True)
class StepOutcome:
    """How a step ended. `payload` is set exactly when `status` is "completed"."""

    status: Status
    function: str
    code_version_hash: str
    payload: Payload | None = None
    error: StepError | None = None
    stdout: str = ""
    stderr: str = ""
    usage: Usage = field(default_factory=Usage)
    exit_signal: int | None = None
    exit_code: int | None = None

    @property
    def value(self) -> Any:
        """The JSON view of the result. Raises `OpaqueValue` when it has none, `StepFailed` without a result."""
        if self.payload is None:
            raise StepFailed(self)
        if not self.payload.has_json:
            raise OpaqueValue(self.function)
        return self.payload.json()

    def unwrap(self) -> Any:
        """`value` of a completed step; otherwise raises `StepFailed` carrying this outcome."""
        if self.status != "completed":
            raise StepFailed(self)
        return self.value
