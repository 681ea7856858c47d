"""One step, from the request to the death of its process: who may end it when, and how that is found out."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from runner import wire
from runner.body import Memory
from runner.calls import Answer, answer_frame, read_call
from runner.ending import EndedBy, Ending
from runner.errors import ProtocolError
from runner.memory_kills import count_memory_kills
from runner.request import StepRequest
from runner.step_process import StepProcess
from runner.streams import LineStream

# Between SIGTERM and SIGKILL: enough to flush a log or roll back a transaction, short enough that a cancelled
# run is seen to stop.
TERMINATION_GRACE_SECONDS = 2.0

# A process that has sent its outcome has nothing left to do but exit; after SIGKILL the kernel needs moments.
EXIT_GRACE_SECONDS = 5.0

# How often a running step asks whether its run has been cancelled.
CANCEL_POLL_SECONDS = 0.25

# A call waits for its reply, so there are as many as a step has threads that ask.
MAX_UNREAD_REPLIES = 100

_ORPHAN_POLL_SECONDS = 0.02

_READ_BYTES = 64 * 1024


class Conversation:
    """What has been sent, what has come, and who wants the process to end."""

    def __init__(
        self,
        step: StepProcess,
        request: StepRequest,
        stdout: LineStream,
        stderr: LineStream,
        timeout_seconds: float | None,
        cancelled: Callable[[], bool] | None,
        answer: Answer,
    ) -> None:
        self.step = step
        self.channel = step.channel.fileno()
        step.channel.put(request.frame, request.memories)
        self.streams = {step.stdout: stdout, step.stderr: stderr}
        self.cancelled = cancelled
        self.answer = answer
        self.memory_kills = count_memory_kills()
        self.started = time.monotonic()
        self.deadline = None if timeout_seconds is None else self.started + timeout_seconds
        self.poll = select.poll()
        self.open: set[int] = set()
        self.exit_notice = b""
        self.is_dead = False
        self.ending = Ending()
        self.escalation: Iterator[float] | None = None
        self.escalate_at: float | None = None
        self.orphaned_at: float | None = None

    def attend(self) -> Ending:
        """Converse until the process and all it started are dead."""
        try:
            return self._attend()
        except BaseException:  # `cancelled` raised, or Ctrl-C: nobody would look after the process any more
            if self.step.pid is None:
                self.step.greet(EXIT_GRACE_SECONDS)
            if self.step.pid is None:
                self.step.parent.kill()
            else:
                self.step.parent.signal_step(self.step.pid, signal.SIGKILL)
            raise

    def _attend(self) -> Ending:
        step = self.step
        self._send()  # before anything else: from here on, the step is at work
        self._watch(self.channel, select.POLLIN | (select.POLLOUT if step.channel.has_unsent else 0))
        for descriptor in (*self.streams, step.exit_pipe):
            self._watch(descriptor, select.POLLIN)
        if step.pidfd is not None:
            self._watch(step.pidfd, select.POLLIN)
        while not self._is_over():
            patience = self._patience()
            for descriptor, events in self.poll.poll(None if patience is None else patience * 1000):
                self._handle(descriptor, events)
            self._press()
        # What was written before the death is still in the pipes. Grandchildren are dead by now, so this ends.
        for descriptor in list(self.open):
            while descriptor in self.open and descriptor != step.pidfd and self._read(descriptor):
                pass
        return self._conclude()

    def _watch(self, descriptor: int, events: int) -> None:
        self.poll.register(descriptor, events)
        self.open.add(descriptor)

    def _forget(self, descriptor: int) -> None:
        self.poll.unregister(descriptor)
        self.open.discard(descriptor)

    def _is_over(self) -> bool:
        """Whether the process is dead, and all it started."""
        if self.is_dead:
            # The short way: it has answered and is dead, and we can see for ourselves that it left nothing.
            if self.ending.message is not None and self.step.parent.descendants.has_no_orphans():
                return True
            self.is_dead = False  # the zygote looks after it, and says when it is done
        if self.step.exit_pipe in self.open:
            return False
        if self.exit_notice or self.channel not in self.open:
            return True
        # The zygote died first, which kills the process too.
        if self.orphaned_at is None:
            self.orphaned_at = time.monotonic()
        return time.monotonic() - self.orphaned_at > EXIT_GRACE_SECONDS

    def _patience(self) -> float | None:
        """Seconds until something must be done although nothing arrived."""
        if self.orphaned_at is not None:
            return _ORPHAN_POLL_SECONDS
        now = time.monotonic()
        own_deadline = self.deadline if self.escalation is None else None
        moments = [moment for moment in (self.escalate_at, own_deadline) if moment is not None]
        patience = max(0.0, min(moments) - now) if moments else None
        if self.cancelled is not None and self.escalation is None:
            return CANCEL_POLL_SECONDS if patience is None else min(patience, CANCEL_POLL_SECONDS)
        return patience

    def _handle(self, descriptor: int, events: int) -> None:
        if descriptor == self.channel and events & select.POLLOUT:
            self._send()
            if not self.step.channel.has_unsent:
                self.poll.modify(descriptor, select.POLLIN)
        if descriptor == self.step.pidfd:
            self.is_dead = True
            self._forget(descriptor)
            # What it said last is in the pipe already, perhaps not yet taken.
            while self.channel in self.open and self._read(self.channel):
                pass
        elif events & ~select.POLLOUT and descriptor in self.open:
            self._read(descriptor)

    def _send(self) -> None:
        try:
            self.step.channel.send()
        except OSError:
            self.step.channel.give_up_sending()  # it died; the exit pipe will say how
            self.ending.request_unread = True

    def _read(self, descriptor: int) -> bool:
        """Take what is there; False when there is nothing more to come from this descriptor for now or ever."""
        if descriptor == self.channel:
            return self._receive()
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._forget(descriptor)
            return False
        if descriptor in self.streams:
            self.streams[descriptor].feed(data)
        else:
            self.exit_notice += data
        return True

    def _receive(self) -> bool:
        try:
            messages = self.step.channel.receive()
            for message, memories in messages or ():
                self._take(message, memories)
                self._press()  # however many there are, time is up when it is up
        except BlockingIOError:
            return False
        except ProtocolError as error:
            self.ending.protocol_error = str(error)
            self._forget(self.channel)
            self._end("itself", grace_seconds=0.0)
            return False
        except OSError as error:
            # The kernel says so of a socket whose other end closed with data unread: what we sent.
            self.ending.request_unread |= error.errno == errno.ECONNRESET
            messages = None
        if messages is None:
            self._forget(self.channel)
        return messages is not None

    def _take(self, message: wire.Message, memories: Sequence[Memory]) -> None:
        step = self.step
        if message.type == "ready" and step.pid is None and type(message.header.get("pid")) is int:
            step.met(message.header["pid"])
            if step.pidfd is not None:
                self._watch(step.pidfd, select.POLLIN)
        elif message.type == "outcome" and step.pid is not None and self.ending.message is None:
            self.ending.was_heard = True
            self.ending.message, self.ending.memories = message, memories
            self.ending.wall_seconds = time.monotonic() - self.started
            if self.escalation is None:
                self._end("itself", grace_seconds=EXIT_GRACE_SECONDS, first=None)
        elif message.type == "call" and step.pid is not None and self.ending.message is None:
            self.ending.was_heard = True
            if step.channel.unsent_messages > MAX_UNREAD_REPLIES:
                raise ProtocolError("a step process asks and asks, and does not read the replies")
            step.channel.put(*answer_frame(self.answer, read_call(message, memories)))
            self._send()
            if step.channel.has_unsent:
                self.poll.modify(self.channel, select.POLLIN | select.POLLOUT)
        else:
            raise ProtocolError(f"a step process sent {message.type!r} out of turn")

    def _press(self) -> None:
        """End the process when its time is up, its run is cancelled, or it did not heed the last signal."""
        now = time.monotonic()
        if self.escalation is not None:
            if self.escalate_at is not None and now >= self.escalate_at:
                self.escalate_at = now + next(self.escalation)
        elif self.deadline is not None and now >= self.deadline:
            self._end("timeout", grace_seconds=TERMINATION_GRACE_SECONDS)
        elif self.cancelled is not None and self.cancelled():
            self._end("cancel", grace_seconds=TERMINATION_GRACE_SECONDS)

    def _end(self, ended_by: EndedBy, *, grace_seconds: float, first: int | None = signal.SIGTERM) -> None:
        if self.ending.ended_by == "itself":  # a frame that breaks the rules after a timeout changes nothing
            self.ending.ended_by = ended_by
        self.escalation = self._escalate(first if grace_seconds else signal.SIGKILL, grace_seconds)
        self.escalate_at = time.monotonic() + next(self.escalation)

    def _escalate(self, first: int | None, grace_seconds: float) -> Iterator[float]:
        """Terminate, wait, kill, wait, and at last end the whole zygote. Yields how long to wait each time."""
        step = self.step
        for _ in range(100):
            if step.pid is not None:
                break
            yield EXIT_GRACE_SECONDS / 100  # it is being forked and has not said its pid yet
        if first is not None and step.pid is not None:
            step.parent.signal_step(step.pid, first)
            yield grace_seconds or EXIT_GRACE_SECONDS
        elif first is None:
            yield grace_seconds
        if step.pid is not None:
            step.parent.signal_step(step.pid, signal.SIGKILL)
            yield EXIT_GRACE_SECONDS
        while True:
            step.parent.kill()  # it does not pass signals on: it is hung
            yield EXIT_GRACE_SECONDS

    def _conclude(self) -> Ending:
        ending = self.ending
        ending.wall_seconds = ending.wall_seconds or time.monotonic() - self.started
        ending.stdout, ending.stderr = (stream.finish() for stream in self.streams.values())
        notice = _exit_notice(self.exit_notice)
        if notice is None and self.is_dead and ending.message is not None:
            notice = _own_account(ending.message.header)
        if notice is not None:
            ending.wait_status, ending.cpu_seconds, ending.max_rss_bytes = notice
            if ending.wait_status == signal.SIGKILL:
                ending.killed_for_memory = count_memory_kills() > self.memory_kills
        return ending


def _exit_notice(data: bytes) -> tuple[int, float, int] | None:
    """What the zygote said of the death; None when it died itself in the middle of it, or before."""
    try:
        notice = json.loads(data)
        return int(notice["status"]), float(notice["cpu_seconds"]), int(notice["max_rss_bytes"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def _own_account(header: dict[str, Any]) -> tuple[int, float, int] | None:
    """A step's own account of what it cost, in its outcome, after which it does nothing but exit."""
    cpu_seconds, max_rss_bytes = header.get("cpu_seconds"), header.get("max_rss_bytes")
    if type(cpu_seconds) is float and type(max_rss_bytes) is int:
        return 0, cpu_seconds, max_rss_bytes
    return 0, 0.0, 0
