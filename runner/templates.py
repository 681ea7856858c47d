"""The `{{templates}}` of a workflow, read but never rendered: that happens in the child, where the types exist."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

from runner.definition import Definition, Task
from runner.errors import UsageError

# The same expressions as in the child program. A root is what stands before the first dot or bracket.
_TEMPLATE = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}|\$\{\s*([^{}]+?)\s*\}")
_KEY = re.compile(r"[^.\[\]\s'\"]+")
_ROOT = re.compile(r"[^.\[\]\s]+")

# Names that are always there; a workflow's variables and the results of earlier tasks join them.
ALWAYS = frozenset({"inputs", "workflow", "ENV"})


class UnknownReference(UsageError):
    """A template refers to what nothing before it produces."""


def references(value: Any) -> set[str]:
    """The root names of all templates inside a JSON value: {"priced"} for "{{priced.total}} EUR"."""
    return set(_roots(value))


def expressions(value: Any) -> list[list[str]]:
    """All templates inside a JSON value, each as its keys: ["priced", "lines", "0"] for "{{priced.lines[0]}}"."""
    return [_KEY.findall(text) for text in _texts(value)]


def check_references(definition: Definition) -> None:
    """Raise `UnknownReference` for the first template that will not have a value when its task runs."""
    for task in definition.tasks.values():
        if not isinstance(task, Task):
            continue
        known = ALWAYS | set(definition.variables) | _results_before(definition, task.task_id)
        for root in sorted(references([list(task.args), dict(task.kwargs)])):
            if root in known:
                continue
            near = difflib.get_close_matches(root, known, n=2)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known here: {', '.join(sorted(known))}"
            raise UnknownReference(
                f"task {task.task_id!r} uses {{{{{root}}}}}, which no task before it produces; {hint}"
            )


def _results_before(definition: Definition, task_id: str) -> set[str]:
    """The result keys of all tasks that are done when this one starts."""
    keys: set[str] = set()
    todo = list(definition.tasks[task_id].dependencies)
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        node = definition.tasks[name]
        if isinstance(node, Task) and node.result_key:
            keys.add(node.result_key)
        todo.extend(node.dependencies)
    return keys


def _roots(value: Any) -> Iterator[str]:
    for text in _texts(value):
        root = _ROOT.match(text)
        if root:
            yield root.group()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        for match in _TEMPLATE.finditer(value):
            yield match.group(1) or match.group(2)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
