"""Recorded results: small ones are bytes for the ledger's `result` column, large ones files beside the database.

A file is named by the SHA-256 of its content, written before the row that refers to it, and never changed. One whose
row was never written (the worker was killed in between) is garbage, and the same file again if the step is repeated.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.body import HAS_MEMFD, Memory
from runner.errors import RunnerError
from runner.outcome import StepOutcome
from runner.payload import Payload, view_at_rest

# Above this a result is a file: databases slow down with large rows, and every reader of a run reads them.
MAX_ROW_BYTES = 1024**2


class ValueLost(RunnerError):
    """A recorded result is gone from its directory, or its bytes have changed."""

    fault = "environment"


class ValuesUnusable(RunnerError):
    """The directory of large results cannot be written or read now; the same may work later."""

    fault = "environment"


class Values:
    """The directory of large results. Made when the first one comes; several processes may use it at once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def at_rest(self, payload: Payload) -> tuple[bytes, str | None]:
        """What the ledger is to hold: the `result`, and the JSON view for `value` unless that is large too.

        Raises `ValuesUnusable`.
        """
        result = payload.to_bytes(MAX_ROW_BYTES, self._keep)
        small = payload.json_text is not None and len(payload.json_text.encode()) <= MAX_ROW_BYTES
        return result, payload.json_text if small else None

    def recorded(self, outcome: StepOutcome) -> dict[str, Any]:
        """What `Ledger.finish_step` is to record of an outcome, by name. Raises `ValuesUnusable`."""
        result, value_json = self.at_rest(outcome.payload) if outcome.payload else (None, None)
        return {
            "status": outcome.status,
            "result": result,
            "value_json": value_json,
            "error": outcome.error.to_json() if outcome.error else None,
            "stdout": outcome.stdout,
            "stderr": outcome.stderr,
            **vars(outcome.usage),
        }

    def payload(self, result: bytes) -> Payload:
        """The payload of a recorded result. Raises `ValueLost`, `ValuesUnusable`, `ProtocolError`."""
        return Payload.from_bytes(result, self._fetch)

    def json_text(self, result: bytes | None) -> str | None:
        """The JSON view of a recorded result, or None when there is none; raises like `payload`."""
        return None if result is None else view_at_rest(result, self._fetch)

    def _path(self, sha256: str) -> Path:
        return self.directory / sha256[:2] / sha256

    def _keep(self, sha256: str, content: memoryview) -> None:
        path = self._path(sha256)
        with self._explained():
            if path.exists() and _has(path, sha256):
                return
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
            try:
                with open(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(temporary, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
            _sync_directory(path.parent)

    def _fetch(self, sha256: str, size: int) -> Memory | bytes:
        """A copy that nobody can change any more, checked after it was made."""
        path = self._path(sha256)
        try:
            with open(path, "rb") as file, self._explained():
                if os.fstat(file.fileno()).st_size != size or not size:
                    raise ValueLost(f"{path} does not have the {size} bytes that were recorded: restore it")
                with mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as mapped, memoryview(mapped) as content:
                    copy: Memory | bytes = Memory.holding([content]) if HAS_MEMFD else bytes(content)
        except FileNotFoundError:
            raise ValueLost(f"a recorded result of {size} bytes is gone from {path}: restore that file") from None
        with copy.view() if isinstance(copy, Memory) else memoryview(copy) as content:
            if hashlib.sha256(content).hexdigest() != sha256:
                raise ValueLost(f"the bytes of {path} have changed: restore that file")
        return copy

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ValuesUnusable(
                f"large results cannot be kept in {self.directory} ({error.strerror or error}): free some space on its "
                "disk, check its owner, or set HWE_VALUES_DIR"
            ) from error


def _has(path: Path, sha256: str) -> bool:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
