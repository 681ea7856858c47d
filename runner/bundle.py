"""One file that holds a run: what is recorded of it, its values and its code, to be replayed anywhere.

A bundle is a ZIP archive without compression: `bundle.json`, which lists every other entry with its digest;
`values/<sha256>`, payloads at rest; `artifacts/<code version hash>`; `files/…`, wheels as a store keeps them. The same
run gives the same bytes. It is verified as a whole before anything of it is used.

Format 2; in format 1 steps had no logs (`stdout`, `stderr`), and parts of them no `attempt`. A reader refuses newer
formats, and reads older ones as long as this project lives: fields are only added, and one that is missing has a
meaning.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, Self, TypeVar, cast, get_type_hints

from pydantic import TypeAdapter

from envs import ArtifactStore, CodeVersionNotFound, StoredArtifact, copy_wheels
from runner.errors import RunnerError, UsageError
from runner.ledger import RunRecord, StepRecord
from runner.payload import Payload
from runner.redaction import Redaction

FORMAT = 2
INDEX = "bundle.json"
FILES = "files/"
MAX_INDEX_BYTES = 256 * 1024**2

T = TypeVar("T", RunRecord, StepRecord)

# What reading a file raises that is no bundle; the last four zipfile, of what only its own list of entries says.
_DAMAGE = (
    *(zipfile.BadZipFile, OSError, KeyError, TypeError, ValueError, AttributeError),
    *(EOFError, RuntimeError, NotImplementedError, struct.error),
)

_EPOCH = (1980, 1, 1, 0, 0, 0)
_CHUNK_BYTES = 1024**2
_MOMENTS = frozenset({"wake_at", "created_at", "updated_at", "finished_at", "started_at"})


class BundleUnusable(RunnerError):
    """A file that is no bundle, is damaged, or is of a newer release."""

    fault = "usage"


def write_bundle(
    file: IO[bytes],
    run: RunRecord,
    steps: Sequence[StepRecord],
    *,
    variables: Iterable[tuple[str, Any, datetime]],
    parts: Mapping[tuple[str, str], tuple[int, bytes]],
    payload: Callable[[bytes], Payload],
    store: ArtifactStore,
    redaction: Redaction,
    wheels: bool = False,
) -> None:
    """Write a run. `payload` resolves a result. `wheels`: with all that the store has for the locks of its versions.

    `variables`: (name, value, when it was set). `parts`: of parts of steps the attempt that did it, and its
    recorded result, by (step key, name).

    Raises what the store raises when an artifact is not there, and what `payload` raises.
    """
    entries: dict[str, dict[str, Any]] = {}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:

        def add(name: str, size: int, content: IO[bytes]) -> None:
            digest = hashlib.sha256()
            with archive.open(_entry(name, size), "w", force_zip64=size > 2**31 - 1) as target:
                while chunk := content.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    target.write(chunk)
            entries[name] = {"sha256": digest.hexdigest(), "size": size}

        def value(result: bytes | None) -> str | None:
            if result is None:
                return None
            whole = payload(result).to_bytes()
            name = f"values/{hashlib.sha256(whole).hexdigest()}"
            if name not in entries:
                add(name, len(whole), io.BytesIO(whole))
            return name

        told_steps = [redaction.of_step({**_plain(step), "result": None}) for step in steps]
        for told, step in zip(told_steps, steps, strict=True):
            told["result"] = None if redaction.hides_step(step.step_key) else value(step.result)
        told_parts = [
            {"step_key": key, "name": name, "attempt": attempt, "result": value(result)}
            for (key, name), (attempt, result) in sorted(parts.items())
            if not redaction.hides_step(key)
        ]
        hashes = sorted({run.code_version_hash, *(step.code_version_hash for step in steps if step.code_version_hash)})
        for code_version_hash in hashes:
            with store.get(code_version_hash) as stored:
                stored.verify()
                stored.file.seek(0)
                add(f"artifacts/{code_version_hash}", stored.size_bytes, stored.file)
                entries[f"artifacts/{code_version_hash}"]["artifact_id"] = stored.artifact_id
            if wheels:
                copy_wheels(code_version_hash, store, _Packed(add))
        index = {
            "format": FORMAT,
            "run": redaction.of_run(_plain(run)),
            "steps": told_steps,
            "variables": [
                {"name": name, "value": redaction.of_variable(name, value), "set_at": set_at.isoformat()}
                for name, value, set_at in variables
            ],
            "parts": told_parts,
            "entries": entries,
            "redacted": redaction.paths,
        }
        text = json.dumps(index, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
        archive.writestr(_entry(INDEX, len(text)), text)


class _Packed:
    """A bundle that is being written, as what `copy_wheels` copies to. See `envs.KeepsFiles`."""

    def __init__(self, add: Callable[[str, int, IO[bytes]], None]) -> None:
        self._add = add
        self._names: list[str] = []

    def put_file(self, name: str, source: BinaryIO) -> None:
        if name not in self._names:  # two versions may have one lock
            size = source.seek(0, io.SEEK_END)
            source.seek(0)
            self._add(FILES + name, size, source)
            self._names.append(name)

    # It starts empty, and what was packed is not read again.
    def open_file(self, name: str) -> BinaryIO | None:  # noqa: ARG002
        return None

    def file_names(self, folder: str) -> Sequence[str]:  # noqa: ARG002
        return []


def _entry(name: str, size: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = 0o644 << 16
    entry.file_size = size
    return entry


def _plain(record: RunRecord | StepRecord) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in vars(record).items()
        if not isinstance(value, bytes)
    }


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
            self._variables = [
                (str(told["name"]), told["value"], _moment(told["set_at"])) for told in self._index["variables"]
            ]
            self._parts = [self._part(told) for told in self._index["parts"]]
            self.redacted = Redaction(self._index["redacted"])
        except _DAMAGE as error:
            self.close()
            raise BundleUnusable(f"{path} is no bundle, or damaged ({error}): export the run again") from error
        except BaseException:
            self.close()
            raise

    def payload(self, result: bytes) -> Payload:
        """The payload of a step's `result`, which here is the name of an entry."""
        return Payload.from_bytes(self._archive.read(result.decode()))

    def variables_before(self, step: StepRecord) -> dict[str, Any]:
        return {name: value for name, value, set_at in self._variables if set_at < step.started_at}

    def substep(self, step_key: str, name: str, attempt: int) -> bytes | None:
        for key, part, done_by, result in self._parts:
            if (key, part) == (step_key, name) and (done_by is None or done_by <= attempt):
                return result
        return None

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
            with self._archive.open(entry) as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]
            if digest != listed[entry.filename]["sha256"] or entry.file_size != listed[entry.filename]["size"]:
                raise ValueError(f"the bytes of {entry.filename} have changed")

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
    return kind(**values)


@lru_cache
def _checker(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment


def check_redactions(
    paths: Sequence[str], run: RunRecord, steps: Sequence[StepRecord], variables: Iterable[str]
) -> Redaction:
    """What `--redact` names. `variables`: those that steps have set. Raises `UsageError` for a path to nothing."""
    redaction = Redaction(paths)
    named = {*variables, *(json.loads(run.definition).get("variables") or ())}
    known = {step.step_key for step in steps}
    for path in paths:
        root, _, rest = path.partition(".")
        if root == "steps" and rest in known:
            continue
        if root == "variables" and rest in named:
            continue
        if root == "input" and redaction.has(run.input, rest):
            continue
        raise UsageError(
            f"--redact {path}: there is no such thing; write input.NAME, variables.NAME or steps.KEY "
            f"(steps: {', '.join(sorted(known)) or 'none'})"
        )
    return redaction
