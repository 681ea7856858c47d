"""What came of one step, as plain data that is safe to log, store and show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from runner.errors import OpaqueValue, StepFailed

if TYPE_CHECKING:
    from runner.payload import Payload

# Of what a child tells of an exception. It keeps to less by itself; a hostile one need not.
MAX_TEXT_CHARS = 70_000
MAX_LISTED = 100

Status = Literal["completed", "failed", "timed_out", "cancelled", "crashed", "out_of_memory"]


@dataclass(frozen=True)
class StepError:
    """An exception told in words. Made in the child from the live object, so no class is needed to read it.

    `exceptions` are the members of an exception group.
    """

    type: str
    message: str
    module: str = ""
    traceback: str = ""
    notes: tuple[str, ...] = ()
    cause: StepError | None = None
    exceptions: tuple[StepError, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A dict of the fields, causes nested; what the ledger's `error` columns hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> StepError:
        """The inverse of `to_json`, lenient about types since the data may come from a child."""
        if not isinstance(data, dict):
            return cls(type="Unreadable", message=_text(data))
        cause = data.get("cause")
        return cls(
            type=_text(data.get("type", "Unreadable")),
            message=_text(data.get("message", "")),
            module=_text(data.get("module", "")),
            traceback=_text(data.get("traceback", "")),
            notes=tuple(_text(note) for note in _listed(data.get("notes"))),
            cause=cls.from_json(cause) if isinstance(cause, dict) else None,
            exceptions=tuple(cls.from_json(member) for member in _listed(data.get("exceptions"))),
        )


def _listed(value: Any) -> Sequence[Any]:
    return value[:MAX_LISTED] if isinstance(value, list | tuple) else ()


def _text(value: Any) -> str:
    """Text that any database, log and terminal takes: half a surrogate pair is written out."""
    return str(value)[:MAX_TEXT_CHARS].encode(errors="backslashreplace").decode()


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
    comparison: dict[str, Any] | None = None  # with the recorded result, in a replay
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
