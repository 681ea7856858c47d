"""What `ctx` does for a step that is replayed: variables as they were, parts as they were recorded, nothing kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from runner.calls import Call, CallRefused, Reply
from runner.ledger import StepRecord
from runner.payload import Payload


class Parts(Protocol):
    """Where the recorded parts of steps are. See `runner.replay.History`."""

    def payload(self, result: bytes) -> Payload: ...

    def substep(self, step_key: str, name: str, attempt: int) -> bytes | None: ...


@dataclass
class ReplayedCalls:
    """Answers the calls of one replayed attempt. `variables`: as it found them; `hidden`: those that were redacted.

    `left_out` are the parts that are recorded, and so not done. `redacted` are the hidden variables it asked for: it
    cannot go on as it did.
    """

    parts: Parts
    step: StepRecord
    variables: dict[str, Any]
    hidden: set[str]
    left_out: list[str] = field(default_factory=list)
    redacted: list[str] = field(default_factory=list)

    def __call__(self, call: Call) -> Reply:
        """Raises `CallRefused`."""
        name = call.arguments.get("name")
        if not isinstance(name, str):
            raise CallRefused(f"ctx.{call.name} needs a name")
        match call.name:
            case "get_variable":
                if name in self.hidden:
                    self.redacted.append(name)
                    raise CallRefused(f"the variable {name!r} was redacted")
                return Reply([name in self.variables, self.variables.get(name)])
            case "set_variable":
                self.variables[name] = call.arguments.get("value")
                self.hidden.discard(name)
            case "step":
                recorded = self.parts.substep(self.step.step_key, name, self.step.attempt)
                if recorded is not None:
                    self.left_out.append(name)
                return Reply(payload=None if recorded is None else self.parts.payload(recorded))
            case "record_step":
                pass
            case _:
                raise CallRefused(f"ctx.{call.name} is not known here")
        return Reply()
