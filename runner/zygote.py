"""The supervisor's end of a zygote: one process per code version, which forks that version's step processes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import multiprocess
from multiprocess import reduction

from runner import wire
from runner.errors import ProtocolError, ZygoteFailed
from runner.step_process import StepProcess

# Preloaded modules are imported before the zygote says hello. Large scientific stacks on a cold disk take tens
# of seconds; a module that hangs on import must not hang the worker.
START_TIMEOUT_SECONDS = 120.0

# After its control socket is closed a zygote kills its steps and exits.
CLOSE_GRACE_SECONDS = 2.0

BOOTSTRAP = Path(__file__).parent / "child" / "bootstrap.py"


@dataclass(frozen=True)
class Launch:
    """Everything a zygote is started with. `environment` is complete: nothing is inherited."""

    code_version_hash: str
    python: Path
    import_paths: tuple[Path, ...]
    preload: tuple[str, ...]
    environment: Mapping[str, str]


class ChildFiles:
    """The supervisor's private directory: the child program, the copy of cloudpickle, and scratch directories.

    A copy, because the child's path must not lead to the packages of the supervisor, and because an upgrade
    of the worker's own packages must not reach into a running version.
    """

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="hwe-"))
        self.support = self.root / "support"
        self.bootstrap = self.root / "bootstrap.py"
        self.scratch = self.root / "scratch"
        import cloudpickle  # late: a third of a bare interpreter's start

        shutil.copy(BOOTSTRAP, self.bootstrap)
        source = Path(cloudpickle.__file__).parent
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, self.support / "cloudpickle", ignore=ignored)
        self.scratch.mkdir()

    def close(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.root, ignore_errors=True)


class Zygote:
    """A running zygote. Thread-safe; `take` hands out a step process that is already forked and waiting."""

    def __init__(self, launch: Launch, files: ChildFiles) -> None:
        self.launch = launch
        self.python = ""
        self._files = files
        self._lock = threading.Lock()
        self._spares: deque[StepProcess] = deque()
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`, and below on failure
        self._control, theirs = multiprocess.Pipe(duplex=True)
        try:
            self._process = self._start(theirs.fileno())
        except BaseException:
            self._control.close()
            self._log.close()
            raise
        finally:
            theirs.close()
        try:
            self._greet()
            self._spares.append(self._spawn())
        except BaseException:
            self.close()
            raise

    def _start(self, control_fd: int) -> subprocess.Popen[bytes]:
        launch = self.launch
        config = {
            "control_fd": control_fd,
            "import_paths": [str(path) for path in launch.import_paths],
            "support_path": str(self._files.support),
            "preload": list(launch.preload),
        }
        # -s: no user site. -I would also drop PYTHONHASHSEED, which a replay needs; -P only exists from 3.11 on,
        # and the bootstrap does the same by hand. -B: an environment is never written to.
        command = [str(launch.python), "-s", "-B", str(self._files.bootstrap), json.dumps(config)]
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[control_fd],
                env=dict(launch.environment),
                cwd=self._files.root,
                start_new_session=True,  # a Ctrl-C at the worker's terminal is the supervisor's to handle
            )
        except OSError as error:
            raise ZygoteFailed(launch.code_version_hash, f"its interpreter does not start: {error}") from error

    def _greet(self) -> None:
        """Wait for the zygote's hello and check that we speak the same protocol."""
        version = self.launch.code_version_hash
        if not self._control.poll(START_TIMEOUT_SECONDS):
            reason = f"its modules took longer than {START_TIMEOUT_SECONDS:.0f} s to import"
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

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def take(self) -> StepProcess:
        """A waiting step process, which the caller closes. Another one is forked while this one works.

        Raises `ZygoteFailed` when the zygote is gone.
        """
        with self._lock:
            step = None
            while self._spares and step is None:
                step = self._spares.popleft()
                if not step.alive:
                    step.close()
                    step = None
            return step or self._spawn()

    def replenish(self) -> None:
        """Have the next step process forked. Called after a request is handed over, so as not to delay it."""
        with self._lock, contextlib.suppress(ZygoteFailed):
            if not self._spares:
                self._spares.append(self._spawn())

    def signal_step(self, pid: int, number: int) -> None:
        """Signal a step's process group, through its parent: only there its pid cannot have been reused."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._control.send_bytes(wire.encode({"type": "signal", "pid": pid, "signal": int(number)}))

    def _spawn(self) -> StepProcess:
        ours: list[int] = []
        theirs: list[int] = []
        scratch = Path(tempfile.mkdtemp(dir=self._files.scratch))
        try:
            channel, their_channel = multiprocess.Pipe(duplex=True)
            ours.append(_detach(channel))
            theirs.append(_detach(their_channel))
            for _ in ("stdout", "stderr", "exit"):
                read_end, write_end = os.pipe()
                ours.append(read_end)
                theirs.append(write_end)
            self._control.send_bytes(wire.encode({"type": "spawn", "scratch": str(scratch)}))
            _send_descriptors(self._control.fileno(), theirs)
        except BaseException as error:
            for descriptor in ours:
                os.close(descriptor)
            shutil.rmtree(scratch, ignore_errors=True)
            if isinstance(error, OSError | ValueError):
                raise ZygoteFailed(
                    self.launch.code_version_hash, f"its zygote is gone: {error}", self.log_tail()
                ) from error
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        return StepProcess(self, scratch, *ours)

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
            self._control.close()
        try:
            self._process.wait(CLOSE_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def child_environment(bin_directories: Sequence[Path]) -> dict[str, str]:
    """The whole environment of a child: nothing of the worker's own, whose secrets are there."""
    search_path = [*(str(directory) for directory in bin_directories), "/usr/local/bin", "/usr/bin", "/bin"]
    return {
        "PATH": os.pathsep.join(search_path),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONHASHSEED": "0",  # sets and dicts of strings iterate alike in a replay
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        **_library_path(),
    }


@cache
def _library_path() -> dict[str, str]:
    """LD_LIBRARY_PATH when the worker has one: an interpreter built against libraries in odd places needs it."""
    value = os.environ.get("LD_LIBRARY_PATH")
    return {"LD_LIBRARY_PATH": value} if value and sys.platform.startswith("linux") else {}


def _detach(connection: multiprocess.connection.Connection) -> int:
    """The descriptor of a connection, now ours to close: the conversation needs it non-blocking."""
    descriptor = os.dup(connection.fileno())
    connection.close()
    return descriptor


def _send_descriptors(control_fd: int, descriptors: Sequence[int]) -> None:
    import socket

    with socket.socket(fileno=os.dup(control_fd)) as control:
        reduction.sendfds(control, list(descriptors))
