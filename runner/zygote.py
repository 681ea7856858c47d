"""The supervisor's end of a zygote: one process per code version, which forks that version's step processes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import multiprocess

from runner import wire
from runner.child_files import ChildFiles
from runner.descendants import Descendants
from runner.errors import GivenUp, ProtocolError, ResourcesExhausted, ZygoteFailed, ZygoteGone
from runner.step_process import StepProcess, pipes
from runner.warden import Program, Warden

# Preloaded modules are imported before the zygote says hello. Large scientific stacks on a cold disk take tens
# of seconds; a module that hangs on import must not hang the worker.
START_TIMEOUT_SECONDS = 120.0

# How often a caller who waits for that is asked whether it still wants to.
ASK_SECONDS = 0.2

# After its control socket is closed a zygote kills its steps and exits.
CLOSE_GRACE_SECONDS = 2.0

# Step processes of one version that are kept waiting, at most: each is some megabytes that nobody uses.
MAX_READY = 8

# One less is kept ready after so long without a request, so that a burst leaves no crowd behind.
LESSEN_SECONDS = 5.0

# A process that has been forked says so within a millisecond; on a machine under heavy load, in this time.
GREET_SECONDS = 1.0


@dataclass(frozen=True)
class Launch:
    """Everything a zygote is started with. `environment` is complete: nothing is inherited."""

    code_version_hash: str
    python: Path
    import_paths: tuple[Path, ...]
    program: Path  # the child program, compiled for that Python if it can be kept so
    preload: tuple[str, ...]
    seed: bool
    network: bool
    comparing: bool  # with recorded results, for a replay
    environment: Mapping[str, str]
    scratches: Path  # of its own: code that it preloads may write to all of it
    confinement: Mapping[str, Any] | None = None  # what the child holds itself to; see runner/sandbox/
    wrapper: tuple[str, ...] = ()  # the command that runs it in namespaces of its own
    memory_bytes: int | None = None  # what it, and each of its steps, may have at most


@dataclass(frozen=True)
class Patience:
    """How long a caller waits for a zygote's start. `given_up` is asked a few times a second."""

    seconds: float = START_TIMEOUT_SECONDS
    given_up: Callable[[], bool] = bool  # False


class Zygote:
    """A running zygote. Thread-safe; `take` hands out a step process that is already forked and waiting."""

    def __init__(self, launch: Launch, files: ChildFiles, warden: Warden, patience: Patience | None = None) -> None:
        """Raises `ZygoteFailed`, or `GivenUp` when whoever waits does not want to any more."""
        self.launch = launch
        self.python = ""
        self._files = files
        self._lock = threading.Lock()
        self._spares: deque[StepProcess] = deque()
        self._wanted = 1
        self._coming = 0
        self.has_served = False  # whether a step of its has answered
        self.used_at = self._lessened_at = time.monotonic()
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`, and below on failure
        self._control, theirs = multiprocess.Pipe(duplex=True)
        self._control_socket = socket.socket(fileno=os.dup(self._control.fileno()))  # passes descriptors
        try:
            self._process = self._start(warden, theirs.fileno())
            self.descendants = Descendants(self._process.pid if self.shares_pids else None)
        except BaseException:
            self._hang_up()
            self._log.close()
            raise
        finally:
            theirs.close()
        try:
            self._greet(patience or Patience())
            self._add_spare()
        except GivenUp:
            self.kill()
            self.close()
            raise
        except BaseException:
            self.close()
            raise

    def _start(self, warden: Warden, control_fd: int) -> Program:
        launch = self.launch
        config = {
            "control_fd": control_fd,
            "import_paths": [str(path) for path in launch.import_paths],
            "support_path": str(self._files.support),
            "preload": list(launch.preload),
            "parent": None if launch.wrapper else warden.pid,
            "seed": launch.seed,
            "network": launch.network,
            "comparing": launch.comparing,
            "memory_bytes": launch.memory_bytes,
        }
        if launch.confinement is not None:
            config["confinement"] = {**launch.confinement, "scratches": str(self.launch.scratches)}
        # -s: no user site. -I would also drop PYTHONHASHSEED, which a replay needs; -P only exists from 3.11 on,
        # and the bootstrap does the same by hand. -B: an environment is never written to. -S: code of site-packages,
        # in .pth files, runs at the start; the bootstrap lets it when it is confined.
        command = [
            str(launch.python),
            "-s",
            "-S",
            "-B",
            str(launch.program),
            json.dumps(config),
        ]
        try:
            return warden.start(
                [*launch.wrapper, *command],
                environment=launch.environment,
                directory=self._files.root,
                pass_fds=[control_fd],
                output=self._log,
            )
        except OSError as error:
            raise ZygoteFailed(launch.code_version_hash, f"its interpreter does not start: {error}") from error

    def _greet(self, patience: Patience) -> None:
        """Wait for the zygote's hello and check that we speak the same protocol."""
        version = self.launch.code_version_hash
        deadline = time.monotonic() + patience.seconds
        while not self._control.poll(min(ASK_SECONDS, max(0.0, deadline - time.monotonic()))):
            if patience.given_up():
                raise GivenUp("cancel")
            if time.monotonic() >= deadline and not self._control.poll(0):
                self.kill()
                if patience.seconds < START_TIMEOUT_SECONDS:
                    raise GivenUp("timeout")
                reason = f"its modules took longer than {patience.seconds:g} s to import"
                raise ZygoteFailed(version, reason, self.log_tail())
        try:
            hello = wire.decode(self._control.recv_bytes(wire.MAX_HEADER_BYTES * 2))
        except (EOFError, OSError, ProtocolError) as error:
            self._process.wait()
            detail = f"the interpreter ended before the handshake ({type(error).__name__})"
            raise ZygoteFailed(version, detail, self.log_tail()) from error
        if hello.type != "hello" or hello.header.get("protocol") != wire.PROTOCOL:
            raise ZygoteFailed(version, f"the child program speaks another protocol than {wire.PROTOCOL}")
        self.python = str(hello.header.get("python"))
        self.preload_errors = dict(hello.header.get("preload_errors") or {})
        self.threaded = tuple(hello.header.get("threaded") or ())
        self.unconfined = tuple(hello.header.get("unconfined") or ())

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.alive

    def take(self) -> StepProcess:
        """A waiting step process, which the caller closes. Raises `ZygoteGone` when the zygote died."""
        with self._lock:
            self.used_at = time.monotonic()
            while self._spares:
                step = self._spares.pop()  # the last comer: those that wait longer have rehearsed by then
                if step.alive:
                    return step
                step.close()
            # Demand is higher than what was kept ready.
            self._wanted = min(self._wanted + 1, MAX_READY)
            try:
                return self._spawn()
            except ZygoteFailed as error:
                self.kill()  # so that nobody takes it for alive
                self._process.wait()
                raise ZygoteGone(self.launch.code_version_hash, error.reason, error.log_tail) from error

    def tidy(self) -> bool:
        """Fork a process if more should be ready, or let go of one if fewer should; whether it forked."""
        with contextlib.suppress(ZygoteFailed, ResourcesExhausted):
            if self._add_spare():
                return True
        with self._lock:
            now = time.monotonic()
            if self._wanted > 1 and now - max(self.used_at, self._lessened_at) > LESSEN_SECONDS:
                self._lessened_at = now
                self._wanted -= 1
                if len(self._spares) > self._wanted:
                    self._spares.popleft().close()
        return False

    def _add_spare(self) -> bool:
        """Fork one process more to be ready, if one is missing."""
        with self._lock:
            if self._control.closed or len(self._spares) + self._coming >= self._wanted:
                return False
            step = self._spawn()
            self._coming += 1
        step.greet(GREET_SECONDS)
        with self._lock:
            self._coming -= 1
            if self._control.closed:
                step.close()
            else:
                self._spares.append(step)
        return True

    @property
    def shares_pids(self) -> bool:
        """Whether the pids that it tells mean the same processes here: in a namespace of its own they do not."""
        return not self.launch.wrapper

    def signal_step(self, pid: int, number: int) -> None:
        """Signal a step's process group, through its parent: only there its pid cannot have been reused."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._control.send_bytes(wire.encode({"type": "signal", "pid": pid, "signal": int(number)}))

    def _spawn(self) -> StepProcess:
        try:
            scratch = self._files.new_scratch(self.launch.scratches)
        except OSError as error:
            advice = "free some space in the directory for temporary files, or set TMPDIR"
            raise ResourcesExhausted(f"there is no room for one more step: {error}; {advice}") from error
        try:
            with pipes() as (ours, theirs):
                self._control.send_bytes(wire.encode({"type": "spawn", "scratch": str(scratch)}))
                self._pass(theirs)
        except BaseException as error:
            shutil.rmtree(scratch, ignore_errors=True)
            if isinstance(error, OSError | ValueError):
                raise ZygoteFailed(
                    self.launch.code_version_hash, f"its zygote is gone: {error}", self.log_tail()
                ) from error
            raise
        return StepProcess(self, scratch, *ours)

    def _pass(self, descriptors: list[int]) -> None:
        """Hand descriptors over. The counterpart of the child's `receive_descriptors`.

        Not multiprocess.reduction.sendfds: whether that one waits for an answer depends on the Python that it runs on,
        from 3.14 on it does, and here each side has a Python of its own.
        """
        socket.send_fds(self._control_socket, [b"D"], descriptors)
        if sys.platform == "darwin":
            self._control_socket.recv(1)  # closed before it has been received, a descriptor is lost there

    def log_tail(self, max_bytes: int = 4096) -> str:
        """The last of what the zygote itself printed, imports of preloaded modules included."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), max_bytes, max(0, size - max_bytes)).decode("utf-8", "replace")

    def kill(self) -> None:
        """End the zygote and, by the death signal of its children, every step of this version."""
        self._process.kill()

    def close(self) -> None:
        """End the zygote and its spares, and give everything back. Steps in progress are killed."""
        with self._lock:
            for step in self._spares:
                step.close()
            self._spares.clear()
            self._hang_up()
        if not self._process.wait(CLOSE_GRACE_SECONDS):
            self.kill()
            self._process.wait()
        self._process.close()
        self._log.close()

    def _hang_up(self) -> None:
        self._control_socket.close()
        self._control.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
