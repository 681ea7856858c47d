"""What must not leave with a bundle, by path: `input.card.number`, `variables.token`, `steps.charge`. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from runner.templates import expressions

HIDDEN = "<redacted>"
_HIDDEN_ERROR = {"type": HIDDEN, "module": "", "message": HIDDEN}


class Redaction:
    """Hides values. A step that is hidden keeps its status and its times; its input, result, error and log are gone."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = sorted(set(paths))
        split = [path.split(".") for path in self.paths]
        self._input = [parts[1:] for parts in split if parts[0] == "input"]
        self._variables = {".".join(parts[1:]) for parts in split if parts[0] == "variables"}
        self._steps = {".".join(parts[1:]) for parts in split if parts[0] == "steps"}

    def hides_step(self, step_key: str | None) -> bool:
        """Whether what came of a step is hidden."""
        return step_key in self._steps

    def of_run(self, told: dict[str, Any]) -> dict[str, Any]:
        """A run as plain data. Its output holds results of steps, so it goes with the first of them.

        Its error is that of a step, and the values that variables begin with are in its definition.
        """
        hidden, definition, error = told["input"], told["definition"], told["error"]
        for parts in self._input:
            hidden = _hide(hidden, parts)
        if self._variables:
            document = json.loads(definition)
            variables = document.get("variables") or {}
            document["variables"] = {name: self.of_variable(name, value) for name, value in variables.items()}
            definition = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
        if error and self.hides_step(error.get("step_key")):
            error = {**_HIDDEN_ERROR, "step_key": error["step_key"]}
        output = HIDDEN if self._steps else told["output"]
        return {**told, "input": hidden, "definition": definition, "error": error, "output": output}

    def of_step(self, told: dict[str, Any]) -> dict[str, Any]:
        """An attempt of a step as plain data."""
        if not self.hides_step(told["step_key"]):
            return told
        error = told["error"] and _HIDDEN_ERROR
        gone = dict.fromkeys(("input", "value", "stdout", "stderr"))
        return {**told, **gone, "has_value": False, "error": error}

    def of_variable(self, name: str, value: Any) -> Any:
        """The value of a variable."""
        return HIDDEN if name in self._variables else value

    @staticmethod
    def has(value: Any, path: str) -> bool:
        """Whether there is something at that path inside a JSON value."""
        for part in path.split("."):
            if isinstance(value, dict) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
                value = value[int(part)]
            else:
                return False
        return True

    def needed_by(self, templates: Any) -> str | None:
        """The first hidden path that templates inside a JSON value refer to, or None."""
        for path in expressions(templates):
            root, *rest = path
            if root == "inputs" and any(_overlap(rest, parts) for parts in self._input):
                return "input." + ".".join(rest)
            if root in self._variables:
                return f"variables.{root}"
        return None


def _overlap(wanted: Sequence[str], hidden: Sequence[str]) -> bool:
    return all(one == other for one, other in zip(wanted, hidden, strict=False))


def _hide(value: Any, parts: Sequence[str]) -> Any:
    if not parts:
        return HIDDEN
    head, *rest = parts
    if isinstance(value, dict) and head in value:
        return {**value, head: _hide(value[head], rest)}
    if isinstance(value, list) and head.isdigit() and int(head) < len(value):
        return [_hide(item, rest) if index == int(head) else item for index, item in enumerate(value)]
    return value
