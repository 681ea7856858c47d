"""Writes a run into one file: what is recorded of it, its values and its code. The format is told in `bundle`."""

from __future__ import annotations

import difflib
import hashlib
import io
import json
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import IO, Any, BinaryIO

from envs import ArtifactStore, copy_wheels
from runner.bundle import FILES, FORMAT, INDEX
from runner.errors import UsageError
from runner.ledger import RecordedRun, RunRecord, StepRecord, VariableRecord
from runner.payload import Payload
from runner.redaction import Redaction

_EPOCH = (1980, 1, 1, 0, 0, 0)
_CHUNK_BYTES = 1024**2
_SHOWN_PATHS = 30


def write_bundle(
    file: IO[bytes],
    recorded: RecordedRun,
    *,
    payload: Callable[[bytes], Payload],
    store: ArtifactStore,
    redaction: Redaction,
    wheels: bool = False,
) -> None:
    """Write a run. `payload` resolves a result. `wheels`: with all that the store has for the locks of its versions.

    Raises what the store raises when an artifact is not there, and what `payload` raises.
    """
    run, steps = recorded.run, recorded.steps
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
            for (key, name), (attempt, result) in sorted(recorded.parts.items())
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
                {**_plain(given), "value": redaction.of_variable(given.name, given.value, given.step_key)}
                for given in recorded.variables
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


def _plain(record: RunRecord | StepRecord | VariableRecord) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in vars(record).items()
        if not isinstance(value, bytes)
    }


def check_redactions(paths: Sequence[str], recorded: RecordedRun) -> Redaction:
    """What `--redact` names. Raises `UsageError` for a path to nothing, saying what there is."""
    definition = json.loads(recorded.run.definition)
    there = [
        *_paths_in(recorded.run.input),
        *(f"variables.{name}" for name in definition.get("variables") or ()),
        *(f"variables.{given.name}" for given in recorded.variables),
        *(f"steps.{step.step_key}" for step in recorded.steps),
    ]
    for path in paths:
        if path not in there:
            near = difflib.get_close_matches(path, there, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            listed = list(dict.fromkeys(there))
            more = f" and {len(listed) - _SHOWN_PATHS} more" if len(listed) > _SHOWN_PATHS else ""
            raise UsageError(
                f"--redact {path}: there is no such thing{hint}: there are {', '.join(listed[:_SHOWN_PATHS])}{more}"
            )
    return Redaction(paths)


def _paths_in(value: Any, path: str = "input") -> Iterator[str]:
    """The paths of everything inside a JSON value, the shortest ones first. A key with a dot has none."""
    waiting = deque([(path, value)])
    while waiting:
        path, value = waiting.popleft()
        yield path
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        waiting += [(f"{path}.{key}", item) for key, item in items if "." not in str(key)]
