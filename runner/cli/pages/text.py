"""Text of steps as a page shows it: all of it visible, and not too much. Pure."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from difflib import SequenceMatcher
from typing import NamedTuple

from runner.outcome import StepError

# A screenful or ten; who needs all of a value asks for --json.
MAX_CHARS = 20_000
MIN_CHARS = 1_000
# Of all texts of a page together: what a browser opens at once.
MAX_PAGE_CHARS = 8_000_000
# Lines of two texts that are held against each other; with very many the search takes seconds.
MAX_COMPARED_LINES = 2_000
# Causes and members of an exception; a hostile one may nest a thousand.
MAX_ERRORS = 20
# Of a result, as many as a step process tells of when nobody keeps it from its work.
MAX_DIFFERENCES = 50

# What has no shape, or changes that of its neighbours: controls, direction marks, half surrogate pairs, tags.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
)

# Those that people know by a name. Fonts seldom have the pictures that Unicode has of them.
_NAMES = {0: "NUL", 7: "BEL", 8: "BS", 11: "VT", 12: "FF", 13: "CR", 27: "ESC", 127: "DEL"}


class Shown(NamedTuple):
    """A text and, when not all of it is there, a sentence about that."""

    text: str
    note: str = ""


class Line(NamedTuple):
    """A line of a text that stands beside another one. `differs`: the other one has no such line there."""

    text: str
    differs: bool


class Pair(NamedTuple):
    """Two texts beside each other; None: there is none on that side. `same`: showing one is enough."""

    recorded: Sequence[Line] | None
    replayed: Sequence[Line] | None
    recorded_note: str
    replayed_note: str
    same: bool


class ErrorShown(NamedTuple):
    """An exception of a chain or a group. `relation`: what it is to the first one. `notes`: all of them, in one."""

    relation: str
    heading: Shown
    notes: Shown
    traceback: Shown


class DifferenceShown(NamedTuple):
    """A place where two results differ."""

    path: str
    recorded: str
    replayed: str
    how: str


def visible(text: str) -> str:
    """The same text with every character to be seen: ⟨ESC⟩ for an escape, ⟨U+202E⟩ for what would turn it around."""
    return _UNSEEN.sub(_name, text)


def _name(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"⟨{_NAMES[code]}⟩" if code in _NAMES else f"⟨U+{code:04X}⟩"


def share_of(texts: int) -> int:
    """How long each may be where there are so many."""
    return max(MIN_CHARS, min(MAX_CHARS, MAX_PAGE_CHARS // max(1, texts)))


def beginning(text: str, limit: int = MAX_CHARS) -> Shown:
    """As much of a text as is shown, from its beginning."""
    if len(text) <= limit:
        return Shown(text)
    return Shown(text[:limit], f"{len(text) - limit:,} more characters are left out")


def end(text: str, limit: int = MAX_CHARS) -> Shown:
    """As much of a log as is shown: its end, where it says how it went."""
    if len(text) <= limit:
        return Shown(text)
    return Shown(text[-limit:], f"{len(text) - limit:,} characters before these are left out")


def json_shown(text: str, limit: int = MAX_CHARS, *, is_whole: bool = True) -> Shown:
    """JSON text, indented when it is whole and not too deep for that."""
    if is_whole:
        with contextlib.suppress(ValueError, RecursionError):
            text, is_whole = _indented(json.loads(text), limit)
    shown = text[:limit]
    return Shown(shown, "" if is_whole and shown == text else f"only the first {len(shown):,} characters are shown")


def _indented(value: object, limit: int) -> tuple[str, bool]:
    """The beginning of a value as indented JSON, and whether that is all. Of a large one the rest is never made."""
    parts: list[str] = []
    length = 0
    for part in json.JSONEncoder(ensure_ascii=False, indent=2).iterencode(value):
        if length > limit:
            return "".join(parts), False
        parts.append(part)
        length += len(part)
    return "".join(parts), True


def pair(recorded: Shown | None, replayed: Shown | None, *, marked: bool = True) -> Pair | None:
    """Both texts, line by line; None when there is neither. `marked`: lines that the other one has not are."""
    if recorded is None and replayed is None:
        return None
    notes = (recorded.note if recorded else "", replayed.note if replayed else "")
    then, now = (None if one is None else one.text.split("\n") for one in (recorded, replayed))
    if then is None or now is None or then == now or not marked or max(len(then), len(now)) > MAX_COMPARED_LINES:
        return Pair(_unmarked(then), _unmarked(now), *notes, same=recorded == replayed)
    differing = [True] * len(then), [True] * len(now)
    for first, second, size in SequenceMatcher(None, then, now).get_matching_blocks():
        differing[0][first : first + size] = [False] * size
        differing[1][second : second + size] = [False] * size
    left, right = (
        [Line(line, differs) for line, differs in zip(lines, of, strict=True)]
        for lines, of in zip((then, now), differing, strict=True)
    )
    return Pair(left, right, *notes, same=False)


def _unmarked(lines: Sequence[str] | None) -> Sequence[Line] | None:
    return None if lines is None else [Line(line, differs=False) for line in lines]


def errors_shown(error: dict[str, object] | None, limit: int = MAX_CHARS) -> Sequence[ErrorShown]:
    """An exception, its causes and the members of a group, in the order in which a person asks for them.

    The first one has all of `limit`, the second one half, the third one a third: where a chain is long, its later
    links say the least.
    """
    found: list[ErrorShown] = []
    waiting = [] if error is None else [("", StepError.from_json(error))]
    while waiting and len(found) < MAX_ERRORS:
        relation, one = waiting.pop(0)
        share = max(MIN_CHARS, limit // (1 + len(found)))
        heading = beginning(f"{one.type}: {one.message}" if one.message else one.type, share)
        notes = beginning("\n".join(one.notes), share)
        found.append(ErrorShown(relation, heading, notes, end(one.traceback, share)))
        if one.cause:
            waiting.append(("caused by", one.cause))
        waiting += [("in this group", member) for member in one.exceptions]
    if waiting:
        found.append(ErrorShown("", Shown("…"), Shown("more causes or members of a group are left out"), Shown("")))
    return found


def differences_shown(differences: Sequence[Mapping[str, object]]) -> Sequence[DifferenceShown]:
    """Of what a step process says that differs. It runs the code of users, so any of it may be missing or too much."""
    return [
        DifferenceShown(*(beginning(str(one.get(name, "")), MIN_CHARS).text for name in DifferenceShown._fields))
        for one in differences[:MAX_DIFFERENCES]
    ]


def seconds(count: float | None) -> str:
    """As a person says it: "4 ms", "0.31 s", "2 min 5 s", "3 h 10 min", "2 d 4 h"."""
    if count is None:
        return "–"
    if count < 0.0995:
        return f"{count * 1000:.0f} ms"
    if count < 59.95:
        return f"{count:.2f} s" if count < 9.995 else f"{count:.1f} s"
    whole = round(count)
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def moment(when: datetime | None) -> str:
    """In UTC, to the second."""
    return "–" if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
