"""What a step process is asked to do, as one frame."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from runner import wire
from runner.body import Body, Memory
from runner.errors import ProtocolError, UsageError
from runner.payload import Payload, pickle_arguments


@dataclass(frozen=True)
class StepContext:
    """What the step learns of its run through `ctx`, and what its log lines are tagged with."""

    run_id: str | None = None
    workflow_name: str | None = None
    step_key: str | None = None
    attempt: int = 1
    code_version_hash: str | None = None

    @property
    def seed(self) -> str | None:
        """What random numbers are seeded with, in hex: differs from step to step, not from replay to replay."""
        if self.run_id is None:
            return None
        identity = json.dumps([self.run_id, self.step_key, self.attempt])
        return hashlib.sha256(identity.encode()).hexdigest()


@dataclass(frozen=True)
class Expected:
    """The recorded result of a step that is replayed, and how far floats may be from it."""

    payload: Payload
    tolerance: float = 0.0


@dataclass(frozen=True)
class Debugging:
    """How a step is to be stopped in, on a terminal; see runner/child/debugging.py and runner/terminal.py.

    `terminal`: the step's end of it. `breaks`: (file, line); `term`: its kind, as TERM has it.
    """

    mode: Literal["post mortem", "break", "shell"]
    terminal: Memory
    breaks: tuple[tuple[str, int], ...] = ()
    term: str = "dumb"


@dataclass(frozen=True)
class StepRequest:
    """One call of one function. `frame` is complete but for the length in front; `memories` go with it.

    `modules`: what is worth importing ahead for this request and those that follow it.
    """

    function: str
    context: StepContext
    frame: bytes
    memories: tuple[Memory, ...]
    modules: tuple[str, ...]


def module_of(function: str) -> str:
    """The module in "package.module.function" or "package.module:Class.method"."""
    module, separator, _ = function.partition(":")
    return module if separator else function.rpartition(".")[0]


def with_values(
    function: str, args: Sequence[object], kwargs: Mapping[str, object], context: StepContext
) -> StepRequest:
    """A request whose arguments are the caller's own Python values, with payloads anywhere among them."""
    pickled, payloads = pickle_arguments(list(args), dict(kwargs))
    named = [("", payload) for payload in payloads]
    return _request(function, "pickled", pickled, named, context)


def with_templates(
    function: str,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    *,
    scope: Mapping[str, object],
    results: Mapping[str, Payload],
    context: StepContext,
    siblings: Iterable[str] = (),
    expected: Expected | None = None,
    debugging: Debugging | None = None,
) -> StepRequest:
    """A request whose arguments are JSON with `{{templates}}`, rendered in the child where the types exist.

    `scope` maps names to JSON values (`inputs`, `workflow`, the workflow's variables); `results` maps each
    `result_key` that the arguments refer to, to its recorded payload. `siblings`: the workflow's other functions.
    `expected`: what to compare the result with, in the child. `debugging`: the step is stopped in.
    """
    template = {
        "args": list(args),
        "kwargs": dict(kwargs),
        "scope": dict(scope),
        "results": {name: index for index, name in enumerate(results)},
    }
    text = json.dumps(template, ensure_ascii=False).encode(errors="backslashreplace")  # as JSON escapes it
    named = list(results.items())
    return _request(function, "template", Body.of([text]), named, context, siblings, expected, debugging=debugging)


def to_inspect(
    template: Mapping[str, object], results: Mapping[str, Payload], functions: Iterable[str], context: StepContext
) -> StepRequest:
    """A request that runs no function: what of these recorded results does not fit, see runner/child/inspection.py."""
    text = json.dumps(template, ensure_ascii=False).encode(errors="backslashreplace")
    return _request("", "template", Body.of([text]), list(results.items()), context, functions, kind="inspect")


def _request(
    function: str,
    form: str,
    arguments: Body,
    payloads: Sequence[tuple[str, Payload]],
    context: StepContext,
    siblings: Iterable[str] = (),
    expected: Expected | None = None,
    kind: str = "run",
    debugging: Debugging | None = None,
) -> StepRequest:
    parts: list[bytes | memoryview] = []
    memories: list[Memory] = []
    header: dict[str, Any] = {
        "type": kind,
        "function": function,
        "arguments": {"form": form, **arguments.pack(parts, memories)},
        "context": vars(context),
        "seed": context.seed,
        "payloads": [
            {"name": name, "python": payload.python, **payload.body.pack(parts, memories)} for name, payload in payloads
        ],
    }
    if expected is not None:
        header["expected"] = {"tolerance": expected.tolerance, **expected.payload.body.pack(parts, memories)}
    if debugging is not None:
        header["debug"] = {
            "mode": debugging.mode,
            "breaks": debugging.breaks,
            "terminal": len(memories),
            "term": debugging.term,
        }
        memories.append(debugging.terminal)
    header["memories"] = [memory.size for memory in memories]
    try:
        frame = wire.encode(header, parts)
    except ProtocolError as error:
        raise UsageError(f"what the step is asked does not fit: {error}") from None
    except UnicodeEncodeError:
        raise UsageError(f"the function {function!r} or its context holds half a surrogate pair") from None
    modules = tuple(dict.fromkeys(filter(None, map(module_of, (function, *siblings)))))
    return StepRequest(function, context, frame, tuple(memories), modules)
