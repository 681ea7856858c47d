"""What differs in the code of two versions, line by line, out of their stored artifacts."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import NamedTuple

from envs import ArtifactStore, EnvsError, FileChange, RequirementChange, file_changes, requirement_changes
from runner.cli.diff import Side, stored_side

# A page is read by a person: past these, `hwe diff` and a checkout are better tools.
MAX_PAIRS = 5
MAX_FILES = 100
MAX_FILE_BYTES = 256 * 1024
MAX_FILE_LINES = 5_000
MAX_LINES_SHOWN = 400
MAX_LINE_CHARS = 1_000
# Of all files of all pairs: a project that was formatted anew has its files on the page, and not all of its lines.
MAX_LINES = 10_000
_CONTEXT_LINES = 3


class DiffLine(NamedTuple):
    """`sign`: "+", "-", " ", or "…" where lines that are the same are left out. Numbers as in the files."""

    sign: str
    old_number: int | None
    new_number: int | None
    text: str


@dataclass(frozen=True)
class FileDiff:
    """One path that differs. `note`: why there are no lines, or not all of them. `counts`: lines added and removed."""

    change: FileChange
    lines: Sequence[DiffLine] = ()
    note: str = ""
    counts: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class CodeChanges:
    """From one version to another. `left_out`: files that differ and are only counted. `problem`: why nothing is known.

    `why`: what the older one is to the reader, in a few words.
    """

    old: str
    new: str
    why: str = ""
    files: Sequence[FileDiff] = ()
    left_out: int = 0
    requirements: Sequence[RequirementChange] = ()
    lock_differs: bool = False
    python: tuple[str | None, str | None] | None = None
    problem: str = ""


def code_changes(store: ArtifactStore, old: str, new: str, why: str = "", *, max_lines: int = MAX_LINES) -> CodeChanges:
    """What differs between two stored versions. What cannot be read is said, not raised."""
    try:
        with contextlib.ExitStack() as open_files:
            before = open_files.enter_context(stored_side(store, old))
            after = open_files.enter_context(stored_side(store, new))
            return replace(_changes(before, after, max_lines), why=why)
    except (EnvsError, OSError) as error:
        return CodeChanges(old, new, why, problem=str(error))


def _changes(before: Side, after: Side, max_lines: int) -> CodeChanges:
    old, new = before.manifest, after.manifest
    lock_differs = (old.lock and old.lock.sha256) != (new.lock and new.lock.sha256)
    requirements = requirement_changes(before.lock_text, after.lock_text) if lock_differs else []
    locks = {lock.path for lock in (old.lock, new.lock) if lock} if requirements else set()
    changes = file_changes(old, new)
    files: list[FileDiff] = []
    for change in changes[:MAX_FILES]:
        if change.path in locks:
            files.append(FileDiff(change, note="its packages are above"))
            continue
        files.append(_diff(before, after, change, min(MAX_LINES_SHOWN, max_lines)))
        max_lines -= len(files[-1].lines)
    return CodeChanges(
        old=old.code_version_hash,
        new=new.code_version_hash,
        files=files,
        left_out=max(0, len(changes) - MAX_FILES),
        requirements=requirements,
        lock_differs=lock_differs,
        python=None if old.python == new.python else (old.python, new.python),
    )


def _diff(before: Side, after: Side, change: FileChange, max_lines: int) -> FileDiff:
    if change.kind == "mode":
        return FileDiff(change, note="the execute bit")
    if max_lines == 0:
        return FileDiff(change, note="its lines are left out")
    if max(change.old_bytes or 0, change.new_bytes or 0) > MAX_FILE_BYTES:
        return FileDiff(change, note="too large to be shown here")
    then = _lines(before.read(change.path) if change.old_bytes is not None else b"")
    now = _lines(after.read(change.path) if change.new_bytes is not None else b"")
    if then is None or now is None:
        return FileDiff(change, note="not text")
    if max(len(then), len(now)) > MAX_FILE_LINES:
        return FileDiff(change, note="too long to be shown here")
    lines = _unified(then, now)
    if not lines:
        return FileDiff(change, note="an empty file")
    left_out = len(lines) - max_lines
    note = f"{left_out:,} more lines are left out" if left_out > 0 else ""
    counts = sum(line.sign == "+" for line in lines), sum(line.sign == "-" for line in lines)
    return FileDiff(change, lines[:max_lines], note, counts)


def _lines(data: bytes) -> list[str] | None:
    """The lines of a text, or None for what is none. Line ends stay visible where they are not the usual ones."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if "\0" in text:
        return None
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else [*lines[:-1], lines[-1] + "  (no line end)"]


def _unified(then: Sequence[str], now: Sequence[str]) -> list[DiffLine]:
    found: list[DiffLine] = []
    for group in SequenceMatcher(None, then, now).get_grouped_opcodes(_CONTEXT_LINES):
        if found or group[0][1] or group[0][3]:
            found.append(DiffLine("…", None, None, ""))
        for tag, old_from, old_to, new_from, new_to in group:
            if tag == "equal":
                numbers = zip(range(old_from, old_to), range(new_from, new_to), strict=True)
                found += [DiffLine(" ", old + 1, new + 1, _cut(then[old])) for old, new in numbers]
                continue
            found += [DiffLine("-", number + 1, None, _cut(then[number])) for number in range(old_from, old_to)]
            found += [DiffLine("+", None, number + 1, _cut(now[number])) for number in range(new_from, new_to)]
    return found


def _cut(line: str) -> str:
    return line if len(line) <= MAX_LINE_CHARS else line[:MAX_LINE_CHARS] + "…"
