"""How a step ended, and what that makes its outcome. Whatever the child claims is checked or kept opaque."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from runner.body import Memory, item_at
from runner.errors import ProtocolError
from runner.outcome import Status, StepError, StepOutcome, Usage
from runner.payload import Payload
from runner.request import StepRequest
from runner.wire import Message

_EXIT_CHANNEL_LOST = 74  # see the child program

EndedBy = Literal["itself", "timeout", "cancel"]


@dataclass
class Ending:
    """How a step ended. `wait_status` is as `os.wait4` gives it; None when the zygote died first."""

    ended_by: EndedBy = "itself"
    message: Message | None = None
    memories: Sequence[Memory] = ()  # that came with the message
    protocol_error: str | None = None
    wait_status: int | None = None
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    max_rss_bytes: int = 0
    request_unread: bool = False  # something that was sent to it was not read
    was_heard: bool = False  # it has asked or answered something, so it had taken the request
    killed_for_memory: bool = False  # the kernel killed something for want of memory meanwhile
    stdout: str = ""
    stderr: str = ""

    @property
    def died_waiting(self) -> bool:
        """Whether it died by itself before it took the request, so that another one may take it."""
        return self.request_unread and not self.was_heard and self.ended_by == "itself"


def outcome_of(
    ending: Ending, request: StepRequest, code_version_hash: str, timeout_seconds: float | None
) -> StepOutcome:
    """How the conversation ended, as an outcome. Whatever the child claims is checked or kept opaque."""
    status: Status | None = None
    payload, error = None, None
    exit_code, exit_signal = _how_it_exited(ending.wait_status)
    message = ending.message
    if ending.protocol_error is None and message is not None:
        try:
            status, payload, error = _read_outcome(message, ending.memories)
        except ProtocolError as problem:
            status, error = "crashed", StepError("ProtocolError", str(problem))
    if status is None or (status == "failed" and ending.ended_by != "itself"):
        status, error = _told_by_its_end(ending, exit_code, exit_signal, timeout_seconds)
    return StepOutcome(
        status=status,
        function=request.function,
        code_version_hash=code_version_hash,
        payload=payload,
        error=error,
        stdout=ending.stdout,
        stderr=ending.stderr,
        comparison=_comparison_in(message),
        usage=Usage(ending.wall_seconds, ending.cpu_seconds, ending.max_rss_bytes),
        exit_signal=exit_signal,
        exit_code=exit_code,
    )


def _told_by_its_end(
    ending: Ending, exit_code: int | None, exit_signal: int | None, timeout_seconds: float | None
) -> tuple[Status, StepError]:
    """What became of a step that said nothing, or only what being told to end made it say."""
    if ending.ended_by == "timeout":
        return "timed_out", StepError("TimedOut", f"the step was ended after its {timeout_seconds:g} seconds")
    if ending.ended_by == "cancel":
        return "cancelled", StepError("Cancelled", "the step was ended because its run was cancelled")
    if exit_signal == signal.SIGKILL and ending.killed_for_memory:
        message = "the kernel killed the step because memory ran out: give it more, or less to do"
        return "out_of_memory", StepError("OutOfMemory", message)
    last_words = _last_words(ending, exit_code, exit_signal)
    return "crashed", StepError("Crashed", last_words, traceback=_faulthandler_stack(ending.stderr))


def _read_outcome(message: Message, memories: Sequence[Memory]) -> tuple[Status, Payload | None, StepError | None]:
    status = message.header.get("status")
    if status == "completed":
        return "completed", Payload.from_message(message, memories), None
    if status == "failed" and len(message.parts) == 1:
        try:
            return "failed", None, StepError.from_json(json.loads(bytes(message.parts[0])))
        except (ValueError, RecursionError):
            raise ProtocolError("a step's error is not JSON") from None
    raise ProtocolError(f"a step reported the status {status!r}")


def _comparison_in(message: Message | None) -> dict[str, Any] | None:
    """How the result compares with the recorded one, in the child's words. Lenient: it only informs."""
    if message is None or "comparison" not in message.header:
        return None
    try:
        told = json.loads(bytes(item_at(message.parts, message.header["comparison"])))
    except (ProtocolError, ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _how_it_exited(wait_status: int | None) -> tuple[int | None, int | None]:
    """The (exit code, signal) of a wait status; one of them is None."""
    if wait_status is None:
        return None, None
    code = os.waitstatus_to_exitcode(wait_status)
    return (code, None) if code >= 0 else (None, -code)


def _faulthandler_stack(stderr: str) -> str:
    """What the interpreter wrote of a fatal signal, the last that a crashed step says."""
    _, found, stack = stderr.rpartition("Fatal Python error: ")
    return found + stack


def _last_words(ending: Ending, exit_code: int | None, exit_signal: int | None) -> str:
    if ending.protocol_error is not None:
        return f"the step process broke the protocol and was killed: {ending.protocol_error}"
    if exit_signal is not None:
        try:
            name = signal.Signals(exit_signal).name
        except ValueError:
            name = f"signal {exit_signal}"
        return f"the step process was killed by {name}; the end of its stderr may say why"
    if exit_code == _EXIT_CHANNEL_LOST:
        return "the step closed descriptors that it had not opened, and with them the way of its result"
    if exit_code is not None:
        return f"the step process exited with code {exit_code} without reporting a result"
    return "the zygote of this version died, and the step with it"
