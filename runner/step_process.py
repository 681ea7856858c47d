"""The supervisor's end of one step process: its pipes, its scratch directory, and a hold on the process itself."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import multiprocess

from runner.channel import Channel
from runner.descendants import Descendants
from runner.errors import ProtocolError, ResourcesExhausted


class Parent(Protocol):
    """The zygote, as far as a step process needs it."""

    @property
    def shares_pids(self) -> bool:
        """Whether the pids of its step processes mean the same processes here."""

    @property
    def descendants(self) -> Descendants:
        """Who is alive below it."""

    def signal_step(self, pid: int, number: int) -> None:
        """Signal the step's whole process group."""

    def kill(self) -> None:
        """End everything below it, when signals are not passed on."""


class StepProcess:
    """A forked process that waits for its one request. The descriptors are this side's ends, all non-blocking."""

    def __init__(self, parent: Parent, scratch: Path, channel: int, stdout: int, stderr: int, exit_pipe: int) -> None:
        self.parent = parent
        self.channel = Channel(channel, namespace=not parent.shares_pids)
        self.stdout, self.stderr, self.exit_pipe = stdout, stderr, exit_pipe
        self.scratch = scratch
        self.pid: int | None = None  # as its zygote knows it
        self._pid_here: int | None = None
        # Readable once the process is dead, whoever reaps it. None where the system has none, or before `greet`.
        self.pidfd: int | None = None
        for descriptor in (stdout, stderr, exit_pipe):
            # Only this side's ends: a child with non-blocking pipes silently loses what it prints in a hurry.
            os.set_blocking(descriptor, False)

    def close(self) -> None:
        """Give back the descriptors and the scratch directory. A process still waiting for a request exits."""
        self.channel.close()
        for descriptor in (self.stdout, self.stderr, self.exit_pipe, self.pidfd):
            if descriptor is not None:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        if self._pid_here is not None:
            self.parent.descendants.forget(self._pid_here)
        try:
            self.scratch.rmdir()
        except OSError:  # the step left something in it
            shutil.rmtree(self.scratch, ignore_errors=True)

    @property
    def alive(self) -> bool:
        """Whether the process still waits for its request: nothing has ended."""
        poll = select.poll()
        poll.register(self.exit_pipe, select.POLLIN)
        return not poll.poll(0)

    def met(self, pid: int) -> None:
        """Its first words have come, which tell its pid."""
        self.pid = pid
        here = pid if self.parent.shares_pids else self.channel.sender
        if here is None:
            return
        self._pid_here = here
        self.parent.descendants.know(here)
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):  # it died at once, or the kernel is older than 5.3
                self.pidfd = os.pidfd_open(here)

    def greet(self, timeout_seconds: float) -> None:
        """Wait for its first words ahead of its request, so that nobody has to wait for them later."""
        poll = select.poll()
        poll.register(self.channel, select.POLLIN)
        if poll.poll(timeout_seconds * 1000):
            with contextlib.suppress(OSError, ProtocolError):  # it will be found out when a request is handed over
                for message, _ in self.channel.receive() or ():
                    self.met(int(message.header["pid"]))


@contextlib.contextmanager
def pipes() -> Iterator[tuple[list[int], list[int]]]:
    """The ends, here and there, of a step process's channel, stdout, stderr and notice of its exit.

    Those for there are closed afterwards, those for here when something goes wrong. Raises `ResourcesExhausted`.
    """
    ours: list[int] = []
    theirs: list[int] = []
    try:
        try:
            for connection, ends in zip(multiprocess.Pipe(duplex=True), (ours, theirs), strict=True):
                with connection:
                    ends.append(os.dup(connection.fileno()))  # ours to close: the conversation needs it non-blocking
            for _ in ("stdout", "stderr", "exit"):
                read_end, write_end = os.pipe()
                ours.append(read_end)
                theirs.append(write_end)
        except OSError as error:  # too many are open here, which is no fault of the zygote's
            advice = "raise ulimit -n, or ask for fewer steps at a time"
            raise ResourcesExhausted(f"there is no descriptor for one more step: {error}; {advice}") from error
        yield ours, theirs
    except BaseException:
        for descriptor in ours:
            os.close(descriptor)
        raise
    finally:
        for descriptor in theirs:
            os.close(descriptor)
