"""What must not leave with a bundle, by path: `input.card.number`, `variables.token`, `steps.charge`. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from runner.templates import expressions

HIDDEN = "<redacted>"
_INDEX = re.compile(r"-?[0-9]{1,9}")
_HIDDEN_ERROR = {"type": HIDDEN, "module": "", "message": HIDDEN}


class Redaction:
    """Hides values. A step that is hidden keeps its status and its times; its input, result, error and log are gone.

    So are its parts, and the variables that it set: they came from it.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = sorted(set(paths))
        split = [path.split(".") for path in self.paths]
        self.input_paths = [parts[1:] for parts in split if parts[0] == "input"]
        self._variables = {".".join(parts[1:]) for parts in split if parts[0] == "variables"}
        self._steps = {".".join(parts[1:]) for parts in split if parts[0] == "steps"}

    def hides_step(self, step_key: str | None) -> bool:
        """Whether what came of a step is hidden."""
        return step_key in self._steps

    def hides_variable(self, name: str, step_key: str | None = None) -> bool:
        """Whether the value is hidden that a variable began with, or that a step gave to it."""
        return name in self._variables or self.hides_step(step_key)

    def of_run(self, told: dict[str, Any]) -> dict[str, Any]:
        """A run as plain data. Its output holds results of steps, so it goes with the first of them.

        Its error is that of a step. The values that variables begin with, and what steps are given, are in its
        definition.
        """
        hidden, error = told["input"], told["error"]
        for parts in self.input_paths:
            hidden = _hide(hidden, parts)
        if error and self.hides_step(error.get("step_key")):
            error = {**_HIDDEN_ERROR, "step_key": error["step_key"]}
        output = HIDDEN if self._steps else told["output"]
        definition = self._of_definition(told["definition"]) if self._steps | self._variables else told["definition"]
        return {**told, "input": hidden, "definition": definition, "error": error, "output": output}

    def _of_definition(self, definition: str) -> str:
        document = json.loads(definition)
        if variables := document.get("variables"):
            document["variables"] = {name: self.of_variable(name, value) for name, value in variables.items()}
        for task_id in self._steps & document["tasks"].keys():
            task = document["tasks"][task_id]
            task["args"] = (task.get("args") or [])[:1]  # the function's name
            task["kwargs"] = {name: pin for name, pin in (task.get("kwargs") or {}).items() if name == "artifact_id"}
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False)

    def of_step(self, told: dict[str, Any]) -> dict[str, Any]:
        """An attempt of a step as plain data."""
        if not self.hides_step(told["step_key"]):
            return told
        error = told["error"] and _HIDDEN_ERROR
        gone = dict.fromkeys(("input", "value", "stdout", "stderr"))
        return {**told, **gone, "has_value": False, "error": error}

    def of_variable(self, name: str, value: Any, step_key: str | None = None) -> Any:
        """The value that a variable began with, or that a step gave to it."""
        return HIDDEN if self.hides_variable(name, step_key) else value

    def needed_by(self, templates: Any, variables: AbstractSet[str]) -> str | None:
        """The first hidden path that templates inside a JSON value refer to, or None. `variables`: the hidden ones."""
        for path in expressions(templates):
            root, rest = path[:1], path[1:]
            if root == ["inputs"] and any(_overlap(rest, parts) for parts in self.input_paths):
                return ".".join(["input", *rest])
            if not variables.isdisjoint(root):
                return f"variables.{root[0]}"
        return None


def inside(value: Any, path: Sequence[str]) -> Any:
    """What is at that path inside a JSON value. Raises `KeyError`."""
    for part in path:
        if isinstance(value, dict):
            value = value[part]
        elif isinstance(value, list) and (index := _index(part)) is not None and -len(value) <= index < len(value):
            value = value[index]
        else:
            raise KeyError(part)
    return value


def _index(part: str) -> int | None:
    """As templates have it: from the end when negative."""
    return int(part) if _INDEX.fullmatch(part) else None


def _overlap(wanted: Sequence[str], hidden: Sequence[str]) -> bool:
    hidden = " ".join(hidden).split()  # as `expressions` does with keys that have blanks
    return all(_may_be_one(one, other) for one, other in zip(wanted, hidden, strict=False))


def _may_be_one(wanted: str, hidden: str) -> bool:
    """The same key, or the same place of a list: of one from its end nobody here knows the length."""
    if wanted == hidden:
        return True
    one, other = _index(wanted), _index(hidden)
    return one is not None and other is not None and (one == other or one < 0 or other < 0)


def _hide(value: Any, parts: Sequence[str]) -> Any:
    if not parts:
        return HIDDEN
    head, *rest = parts
    if isinstance(value, dict) and head in value:
        return {**value, head: _hide(value[head], rest)}
    if isinstance(value, list) and (place := _index(head)) is not None:
        place += len(value) * (place < 0)
        return [_hide(item, rest) if index == place else item for index, item in enumerate(value)]
    return value
