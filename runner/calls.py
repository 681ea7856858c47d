"""What a step asks of its run through `ctx` while it runs, and what it is answered. Values stay opaque here too."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from runner import wire
from runner.body import Memory, item_at
from runner.errors import ProtocolError, RunnerError
from runner.payload import Payload


class CallRefused(RunnerError):
    """What a step asked for cannot be; it gets the message as an exception, and goes on."""

    fault = "user code"


@dataclass(frozen=True)
class Call:
    """`name` is what is asked; `arguments` are a JSON object; `payload` a value of the step's."""

    name: str
    arguments: dict[str, Any]
    payload: Payload | None = None
    number: int = 0  # which reply is to which call


@dataclass(frozen=True)
class Reply:
    """`value` is JSON; `payload` a recorded value."""

    value: Any = None
    payload: Payload | None = None


Answer = Callable[[Call], Reply]


def outside_of_runs(call: Call) -> Reply:
    """The answer where there is no ledger to ask."""
    raise CallRefused(
        f"ctx.{call.name} needs a run, and this step runs by itself: submit a workflow, or pass what it needs as an "
        "argument"
    )


def read_call(message: wire.Message, memories: Sequence[Memory]) -> Call:
    """The call in a frame. Raises `ProtocolError`."""
    header = message.header
    try:
        arguments = json.loads(bytes(item_at(message.parts, header.get("arguments"))))
    except (ValueError, RecursionError):
        raise ProtocolError("a call without arguments") from None
    if not isinstance(arguments, dict) or not isinstance(header.get("call"), str):
        raise ProtocolError("a call without a name, or whose arguments are no object")
    payload = Payload.from_message(message, memories) if "body" in header else None
    number = header.get("number", 0)
    if type(number) is not int:
        raise ProtocolError("a call whose number is none")
    return Call(header["call"], arguments, payload, number)


def answer_frame(answer: Answer, call: Call) -> tuple[bytes, tuple[Memory, ...]]:
    """The reply to a call as a frame, with the memory that goes with it. A refusal is a reply too."""
    header: dict[str, Any] = {"type": "reply", "number": call.number, "refused": None, "payload": None}
    parts: list[bytes | memoryview] = []
    memories: list[Memory] = []
    value = None
    try:
        reply = answer(call)
    except CallRefused as error:
        header["refused"] = str(error).encode(errors="backslashreplace").decode()
    else:
        value = reply.value
        if reply.payload is not None:
            header["payload"] = {"python": reply.payload.python, **reply.payload.body.pack(parts, memories)}
    parts.append(json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace"))
    header["value"] = len(parts) - 1
    header["memories"] = [memory.size for memory in memories]
    return wire.encode(header, parts), tuple(memories)
