"""The supervisor's end of one step process: its pipes, and the conversation that ends with its death."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import selectors
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from runner import wire
from runner.errors import ProtocolError
from runner.memory_kills import count_memory_kills
from runner.streams import LineStream

# Between SIGTERM and SIGKILL: enough to flush a log or roll back a transaction, short enough that a cancelled
# run is seen to stop.
TERMINATION_GRACE_SECONDS = 2.0

# A process that has sent its outcome has nothing left to do but exit; after SIGKILL the kernel needs moments.
EXIT_GRACE_SECONDS = 5.0

# How often a running step asks whether its run has been cancelled.
CANCEL_POLL_SECONDS = 0.25

_ORPHAN_POLL_SECONDS = 0.02

_READ_BYTES = 1024 * 1024

EndedBy = Literal["itself", "timeout", "cancel"]


class Signaller(Protocol):
    """Sends a signal to the process group of a step, and can end everything below it when that fails."""

    def signal_step(self, pid: int, number: int) -> None: ...

    def kill(self) -> None: ...


@dataclass
class Ending:
    """How a conversation ended. `wait_status` is as `os.wait4` gives it; None when the zygote died first."""

    ended_by: EndedBy = "itself"
    message: wire.Message | None = None
    protocol_error: str | None = None
    wait_status: int | None = None
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    max_rss_bytes: int = 0
    request_unread: bool = False  # it died before it took the request, so nothing of the step has happened
    killed_for_memory: bool = False  # the kernel killed something for want of memory meanwhile
    stdout: str = ""
    stderr: str = ""

    @property
    def died_waiting(self) -> bool:
        """Whether it died by itself before it took the request, so that another one may take it."""
        return self.request_unread and self.ended_by == "itself"


class StepProcess:
    """A forked process that waits for its one request. `descriptors` are this side's ends, all non-blocking."""

    def __init__(
        self, signaller: Signaller, scratch: Path, channel: int, stdout: int, stderr: int, exit_pipe: int
    ) -> None:
        self.signaller = signaller
        self.channel, self.stdout, self.stderr, self.exit_pipe = channel, stdout, stderr, exit_pipe
        self.scratch = scratch
        for descriptor in (channel, stdout, stderr, exit_pipe):
            # Only this side's ends: a child with non-blocking pipes silently loses what it prints in a hurry.
            os.set_blocking(descriptor, False)

    def close(self) -> None:
        """Give back the descriptors and the scratch directory. A process still waiting for a request exits."""
        for descriptor in (self.channel, self.stdout, self.stderr, self.exit_pipe):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        shutil.rmtree(self.scratch, ignore_errors=True)

    @property
    def alive(self) -> bool:
        """Whether the process still waits for its request: nothing has come, and nothing has ended."""
        poll = select.poll()
        poll.register(self.exit_pipe, select.POLLIN)
        return not poll.poll(0)

    def perform(
        self,
        frame: bytes,
        *,
        stdout: LineStream,
        stderr: LineStream,
        timeout_seconds: float | None,
        cancelled: Callable[[], bool] | None,
    ) -> Ending:
        """Hand over the request and attend until the process is dead, whatever it does."""
        return _Conversation(self, frame, stdout, stderr, timeout_seconds, cancelled).attend()


class _Conversation:
    """The state of one `perform`: what has been sent, what has come, and who wants the process to end."""

    def __init__(
        self,
        step: StepProcess,
        frame: bytes,
        stdout: LineStream,
        stderr: LineStream,
        timeout_seconds: float | None,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        self.step = step
        self.unsent = memoryview(wire.with_length(frame))
        self.streams = {step.stdout: stdout, step.stderr: stderr}
        self.cancelled = cancelled
        self.memory_kills = count_memory_kills()
        self.started = time.monotonic()
        self.deadline = None if timeout_seconds is None else self.started + timeout_seconds
        self.reader = wire.FrameReader()
        self.pid: int | None = None
        self.exit_notice = b""
        self.ending = Ending()
        self.escalation: Iterator[float] | None = None
        self.escalate_at: float | None = None
        self.orphaned_at: float | None = None

    def attend(self) -> Ending:
        step = self.step
        with selectors.DefaultSelector() as selector:
            selector.register(step.channel, selectors.EVENT_READ | selectors.EVENT_WRITE)
            for descriptor in (*self.streams, step.exit_pipe):
                selector.register(descriptor, selectors.EVENT_READ)
            while not self._is_over(selector):
                for key, events in selector.select(self._patience()):
                    self._handle(selector, key.fd, events)
                self._press()
            # What was written before the death is still in the pipes. Grandchildren are dead by now, so this ends.
            for descriptor in [key.fd for key in list(selector.get_map().values())]:
                while descriptor in selector.get_map() and self._read(selector, descriptor):
                    pass
        return self._conclude()

    def _is_over(self, selector: selectors.BaseSelector) -> bool:
        """Whether the process is dead: the zygote has said so, or died first, which kills the process too."""
        open_ends = selector.get_map()
        if self.step.exit_pipe in open_ends:
            return False
        if self.exit_notice or self.step.channel not in open_ends:
            return True
        if self.orphaned_at is None:
            self.orphaned_at = time.monotonic()
        return time.monotonic() - self.orphaned_at > EXIT_GRACE_SECONDS

    def _patience(self) -> float | None:
        """Seconds until something must be done although nothing arrived."""
        if self.orphaned_at is not None:
            return _ORPHAN_POLL_SECONDS
        now = time.monotonic()
        moments = [moment for moment in (self.escalate_at, self._own_deadline()) if moment is not None]
        patience = max(0.0, min(moments) - now) if moments else None
        if self.cancelled is not None and self.escalation is None:
            return CANCEL_POLL_SECONDS if patience is None else min(patience, CANCEL_POLL_SECONDS)
        return patience

    def _own_deadline(self) -> float | None:
        return self.deadline if self.escalation is None else None

    def _handle(self, selector: selectors.BaseSelector, descriptor: int, events: int) -> None:
        if descriptor == self.step.channel and events & selectors.EVENT_WRITE:
            self._send(selector)
        if events & selectors.EVENT_READ and descriptor in selector.get_map():
            self._read(selector, descriptor)

    def _send(self, selector: selectors.BaseSelector) -> None:
        channel = self.step.channel
        try:
            self.unsent = self.unsent[os.write(channel, self.unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self.unsent = memoryview(b"")  # it died; the exit pipe will say how
            self.ending.request_unread = True
        if not self.unsent:
            selector.modify(channel, selectors.EVENT_READ)

    def _read(self, selector: selectors.BaseSelector, descriptor: int) -> bool:
        """Take what is there; False when there is nothing more to come from this descriptor for now or ever."""
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            data = b""
            # The kernel says so of a socket whose other end closed with data unread: what we sent.
            if descriptor == self.step.channel and error.errno == errno.ECONNRESET:
                self.ending.request_unread = True
        if not data:
            selector.unregister(descriptor)
            return False
        if descriptor in self.streams:
            self.streams[descriptor].feed(data)
        elif descriptor == self.step.channel:
            self._receive(selector, data)
        else:
            self.exit_notice += data
        return True

    def _receive(self, selector: selectors.BaseSelector, data: bytes) -> None:
        try:
            for frame in self.reader.feed(data):
                self._take(wire.decode(frame))
        except ProtocolError as error:
            self.ending.protocol_error = str(error)
            selector.unregister(self.step.channel)
            self._end("itself", grace_seconds=0.0)

    def _take(self, message: wire.Message) -> None:
        if message.type == "ready" and self.pid is None and type(message.header.get("pid")) is int:
            self.pid = message.header["pid"]
        elif message.type == "outcome" and self.pid is not None and self.ending.message is None:
            self.ending.message = message
            self.ending.wall_seconds = time.monotonic() - self.started
            if self.escalation is None:
                self._end("itself", grace_seconds=EXIT_GRACE_SECONDS, first=None)
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
        for _ in range(100):
            if self.pid is not None:
                break
            yield EXIT_GRACE_SECONDS / 100  # it is being forked and has not said its pid yet
        if first is not None and self.pid is not None:
            self.step.signaller.signal_step(self.pid, first)
            yield grace_seconds or EXIT_GRACE_SECONDS
        elif first is None:
            yield grace_seconds
        if self.pid is not None:
            self.step.signaller.signal_step(self.pid, signal.SIGKILL)
            yield EXIT_GRACE_SECONDS
        while True:
            self.step.signaller.kill()  # it does not pass signals on: it is hung
            yield EXIT_GRACE_SECONDS

    def _conclude(self) -> Ending:
        ending = self.ending
        ending.wall_seconds = ending.wall_seconds or time.monotonic() - self.started
        ending.stdout, ending.stderr = (stream.finish() for stream in self.streams.values())
        notice = _exit_notice(self.exit_notice)
        if notice is not None:
            ending.wait_status = notice["status"]
            if notice["status"] == signal.SIGKILL:
                ending.killed_for_memory = count_memory_kills() > self.memory_kills
            ending.cpu_seconds = notice["cpu_seconds"]
            ending.max_rss_bytes = notice["max_rss_bytes"]
        return ending


def _exit_notice(data: bytes) -> dict[str, Any] | None:
    """What the zygote said of the death; None when it died itself in the middle of it, or before."""
    try:
        notice = json.loads(data)
        return {
            "status": int(notice["status"]),
            "cpu_seconds": float(notice["cpu_seconds"]),
            "max_rss_bytes": int(notice["max_rss_bytes"]),
        }
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
