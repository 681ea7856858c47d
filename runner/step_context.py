"""What `ctx` does for a step of a run: the ledger's side of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.calls import Call, CallRefused, Reply
from runner.ledger import Ledger
from runner.values import Values

# A name is a key in the ledger.
MAX_NAME_CHARS = 200

# A variable is read and written whole each time; more belongs in results.
MAX_VARIABLE_BYTES = 1024**2


@dataclass(frozen=True)
class StepCalls:
    """Answers the calls of one attempt of one step. `initial` are the variables that the workflow begins with."""

    ledger: Ledger
    values: Values
    run_id: str
    epoch: int
    step_key: str
    attempt: int
    initial: Mapping[str, Any]

    def __call__(self, call: Call) -> Reply:
        """Raises `CallRefused`, `Fenced`, and what the ledger raises when it cannot be reached."""
        name = call.arguments.get("name")
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARS or not _is_text(name):
            raise CallRefused(f"ctx.{call.name} needs a name of 1 to {MAX_NAME_CHARS} characters in UTF-8")
        match call.name:
            case "get_variable":
                variables = {**self.initial, **self.ledger.contexts.variables(self.run_id)}
                return Reply([name in variables, variables.get(name)])
            case "set_variable":
                return self._set_variable(name, call.arguments.get("value"))
            case "step":
                result = self.ledger.contexts.substep(self.run_id, self.step_key, name)
                return Reply(payload=None if result is None else self.values.payload(result))
            case "record_step" if call.payload is not None:
                result, value_json = self.values.at_rest(call.payload)
                self.ledger.contexts.record_substep(
                    self.run_id, self.epoch, self.step_key, self.attempt, name, result=result, value_json=value_json
                )
                return Reply()
            case _:
                raise CallRefused(f"ctx.{call.name} is not known to this worker")

    def _set_variable(self, name: str, value: Any) -> Reply:
        text = json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace")
        if len(text) > MAX_VARIABLE_BYTES:
            raise CallRefused(
                f"variable {name!r} has {len(text)} bytes, over the limit of {MAX_VARIABLE_BYTES}: return large "
                "values as results"
            )
        self.ledger.contexts.set_variable(self.run_id, self.epoch, self.step_key, self.attempt, name, text.decode())
        return Reply()


def _is_text(name: str) -> bool:
    """Whether a database takes it: half a surrogate pair is none."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
