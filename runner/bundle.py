"""One file that holds a run, read: what is recorded of it, its values and its code, to be replayed anywhere.

A bundle is a ZIP archive without compression: `bundle.json`, which lists every other entry with its digest;
`values/<sha256>`, payloads at rest; `artifacts/<code version hash>`; `files/…`, wheels as a store keeps them. The same
run gives the same bytes. It is verified as a whole before anything of it is used. `bundling` writes it.

Format 2; in format 1 steps had no logs (`stdout`, `stderr`), and parts of them no `attempt`. Where a variable does not
say which step set it (`step_key`), it was not hidden with that step. A reader refuses newer formats, and reads older
ones as long as this project lives: fields are only added, and one that is missing has a meaning.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import fields
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar, cast, get_type_hints

from pydantic import TypeAdapter

from envs import CodeVersionNotFound, StoredArtifact
from runner.errors import RunnerError
from runner.ledger import RunRecord, StepRecord, VariableRecord
from runner.payload import Payload
from runner.redaction import Redaction

FORMAT = 2
INDEX = "bundle.json"
FILES = "files/"
MAX_INDEX_BYTES = 256 * 1024**2

# Every number that is recorded of a run is within these, which a database, a page and arithmetic can hold.
_MAX_NUMBER = 2**63
_MAX_SECONDS = 1e10
# More causes and members of an exception than a step process tells are not recorded.
_MAX_ERROR_DEPTH = 100
# Names become those of files only in parts that cannot lead out of a folder.
_NAME = re.compile(r"values/[0-9a-f]{64}|artifacts/[0-9a-f]{64}|files(/(?!\.)[^/\\\0]{1,255})+")

T = TypeVar("T", RunRecord, StepRecord, VariableRecord)

# What reading a file raises that is no bundle; the last four zipfile, of what only its own list of entries says.
_DAMAGE = (
    *(zipfile.BadZipFile, OSError, KeyError, TypeError, ValueError, AttributeError),
    *(EOFError, RuntimeError, NotImplementedError, OverflowError, struct.error),
)

_MOMENTS = frozenset({"wake_at", "created_at", "updated_at", "finished_at", "started_at", "set_at"})


class BundleUnusable(RunnerError):
    """A file that is no bundle, is damaged, or is of a newer release."""

    fault = "usage"


class Bundle:
    """A verified bundle, open. It is the history of its run (see runner/replay.py). Close it, or use `with`."""

    def __init__(self, path: Path) -> None:
        """Raises `BundleUnusable`."""
        self.location = str(path)
        self._always_cleanup = ExitStack()
        try:
            self._archive = self._always_cleanup.enter_context(zipfile.ZipFile(path))
            self._index = self._read_index()
            self._verify()
            self.run: RunRecord = _record(RunRecord, self._index["run"])
            json.loads(self.run.definition)
            self.steps: Sequence[StepRecord] = [self._step(told) for told in self._index["steps"]]
            self.variables: Sequence[VariableRecord] = [
                _record(VariableRecord, told) for told in self._index["variables"]
            ]
            self._parts = [self._part(told) for told in self._index["parts"]]
            self.redacted = Redaction(_checker(list[str]).validate_python(self._index["redacted"], strict=True))
        except _DAMAGE as error:
            self.close()
            raise BundleUnusable(f"{path} is no bundle, or damaged ({error}): export the run again") from error
        except BaseException:
            self.close()
            raise

    def payload(self, result: bytes) -> Payload:
        """The payload of a step's `result`, which here is the name of an entry."""
        return Payload.from_bytes(self._archive.read(result.decode()))

    def substep(self, step_key: str, name: str, attempt: int) -> bytes | None:
        for key, part, done_by, result in self._parts:
            if (key, part) == (step_key, name) and (done_by is None or done_by <= attempt):
                return result
        return None

    def parts(self) -> list[tuple[str, bytes]]:
        """(step key, result) of every recorded part of a step."""
        return [(step_key, result) for step_key, _, _, result in self._parts]

    def artifact(self, code_version_hash: str) -> StoredArtifact:
        """One of its artifacts, open. Raises `CodeVersionNotFound`."""
        name = f"artifacts/{code_version_hash}"
        told = self._index["entries"].get(name)
        if told is None:
            raise CodeVersionNotFound(code_version_hash, self.location)
        file = self._unpacked(name)
        return StoredArtifact(code_version_hash, str(told["artifact_id"]), int(told["size"]), self.location, file)

    def open_file(self, name: str) -> BinaryIO | None:
        """A file that a store would keep beside its artifacts; None when it is not there."""
        return self._unpacked(FILES + name) if FILES + name in self._index["entries"] else None

    def file_names(self, folder: str) -> Sequence[str]:
        """The files directly in `folder`."""
        start = f"{FILES}{folder}/"
        names = [name.removeprefix(start) for name in self._index["entries"] if name.startswith(start)]
        return [name for name in names if "/" not in name]

    def _unpacked(self, entry: str) -> BinaryIO:
        """Open, and a file of its own: another bundle may take this one's place meanwhile."""
        file = tempfile.TemporaryFile()  # noqa: SIM115 - who asked for it closes it
        with self._archive.open(entry) as packed:
            shutil.copyfileobj(packed, file)
        file.seek(0)
        return cast("BinaryIO", file)

    @property
    def hashes(self) -> list[str]:
        """The code versions whose artifacts it holds."""
        return [name.partition("/")[2] for name in self._index["entries"] if name.startswith("artifacts/")]

    def _read_index(self) -> dict[str, Any]:
        entry = self._archive.getinfo(INDEX)
        if entry.file_size > MAX_INDEX_BYTES or entry.compress_type != zipfile.ZIP_STORED:
            raise BundleUnusable(f"{self._archive.filename} is no bundle: its index is not one of ours")
        index = json.loads(self._archive.read(entry))
        if type(index["format"]) is not int or index["format"] < 1:
            raise ValueError(f"its format is {index['format']!r}")
        if index["format"] > FORMAT:
            raise BundleUnusable(
                f"{self._archive.filename} is of format {index['format']}, and this release reads up to {FORMAT}: "
                "upgrade hwe-runner to replay it"
            )
        return dict(index)

    def _verify(self) -> None:
        """Every entry is listed, once, and has the bytes that the list says."""
        entries, listed = self._archive.infolist(), self._index["entries"]
        if sorted(entry.filename for entry in entries) != sorted([INDEX, *listed]):
            raise ValueError("its entries are not those that it lists")
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{entry.filename} is compressed")
            if entry.filename == INDEX:
                continue
            if not _NAME.fullmatch(entry.filename):
                raise ValueError(f"{entry.filename!r} is not the name of an entry")
            with self._archive.open(entry) as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]
            if digest != listed[entry.filename]["sha256"] or entry.file_size != listed[entry.filename]["size"]:
                raise ValueError(f"the bytes of {entry.filename} have changed")
            if entry.filename.startswith("artifacts/") and not isinstance(listed[entry.filename]["artifact_id"], str):
                raise ValueError(f"{entry.filename} has no artifact id")

    def _step(self, told: dict[str, Any]) -> StepRecord:
        result = None if told.get("result") is None else self._result(told)
        return _record(StepRecord, {**told, "result": result})

    def _part(self, told: dict[str, Any]) -> tuple[str, str, int | None, bytes]:
        """A part of a step. Which attempt did it is not in format 1: there every attempt gets it."""
        attempt = told.get("attempt")
        return str(told["step_key"]), str(told["name"]), None if attempt is None else int(attempt), self._result(told)

    def _result(self, told: dict[str, Any]) -> bytes:
        """The name of the entry with a recorded result."""
        if told["result"] not in self._index["entries"]:
            raise ValueError(f"the result of {told.get('step_key')} is not there")
        return str(told["result"]).encode()

    def close(self) -> None:
        self._always_cleanup.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _record(kind: type[T], told: dict[str, Any]) -> T:
    """A record out of plain data: what an older format does not have is None, what a newer one adds is ignored."""
    values: dict[str, Any] = {field.name: told.get(field.name) for field in fields(kind)}
    for name in _MOMENTS & set(values):
        if values[name] is not None:
            values[name] = _moment(values[name])
    optional = {field.name for field in fields(kind) if field.default is None}
    for name, annotation in get_type_hints(kind).items():
        if values[name] is not None or name not in optional:
            _checker(annotation).validate_python(values[name], strict=True)
    for name, value in values.items():
        if (type(value) is int and abs(value) >= _MAX_NUMBER) or (
            type(value) is float and not abs(value) < _MAX_SECONDS
        ):
            raise ValueError(f"{name} is no number that anybody recorded")
    if kind is StepRecord:
        _check_error(values["error"])
        if isinstance(given := values["input"], dict):
            _checker(list[Any]).validate_python(given.get("args", []), strict=True)
            _checker(dict[str, Any]).validate_python(given.get("kwargs", {}), strict=True)
    return kind(**values)


def _check_error(error: Any, depth: int = 0) -> None:
    """Raise `ValueError` unless it is told as `runner.outcome.StepError` is, with its causes and members."""
    if error is None:
        return
    if depth == _MAX_ERROR_DEPTH or not isinstance(error, dict) or not isinstance(error.get("exceptions") or [], list):
        raise ValueError("an error is told as none is")
    for other in (error.get("cause"), *(error.get("exceptions") or ())):
        _check_error(other, depth + 1)


@lru_cache
def _checker(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment.astimezone(UTC)
