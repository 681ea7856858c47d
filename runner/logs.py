"""What an attempt printed then and now, compared line by line. Pure.

What says where something lies, in files or in memory, is not compared: it differs from machine to machine and from
process to process, whatever the code does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from typing import NamedTuple

from runner.streams import writable

# A line is told in a sentence; the whole of it is in --json.
_SHOWN_CHARS = 80

# A path may hold spaces where it is clear that it is one: first in a line, as warnings have it, or in quotes.
_PATH = r"(?:(?:^|(?<=[\"']))/[^\"']*?|/[^\s\"']*?)"
_NOT_COMPARED = (
    (re.compile(rf"{_PATH}/hwe-run-\w+/scratch/\d+(/\d+)?"), "<scratch>"),
    (re.compile(rf"{_PATH}/versions/[0-9a-f]{{64}}/"), "<environment>/"),
    (re.compile(rf"{_PATH}/lib(64)?/python3\.\d+/"), "<library>/"),
    (re.compile(r"(?<= at )0x[0-9a-f]{6,16}(?=>)"), "0x…"),  # of <an object at 0x7f5e…>
    (re.compile(r"(?<=[Tt]hread )0x[0-9a-f]{6,16}"), "0x…"),  # as faulthandler names threads
)
# Frames of the child program in what faulthandler writes: another release has others.
_OURS = re.compile(r'File "(<hwe [^"]*|[^"]*/hwe-run-\w+/(?:child/)?[^"/]+\.py)"')


class LogDifference(NamedTuple):
    """The first line that differs, counted from 1; None where there is none."""

    line: int
    recorded: str | None
    replayed: str | None

    def __str__(self) -> str:
        then, now = (_shown(line) for line in (self.recorded, self.replayed))
        return f"line {self.line}: {then} then, {now} now"


def difference(
    recorded: str, replayed: str, *, cut_short: bool = False, with_gaps: bool = False
) -> LogDifference | None:
    """Where the log of a replayed attempt comes out otherwise. `recorded` is as the ledger has it.

    `cut_short`: the attempt was ended from outside, so one log may say more than the other. `with_gaps`: lines of then
    may be missing now, since what printed them was not done again.
    """
    then, now = list(_lines(recorded)), list(_lines(writable(replayed)))
    if cut_short:
        # The line at which it was ended may be there in part.
        least = max(0, min(len(then), len(now)) - 1)
        then, now = then[:least], now[:least]
    if with_gaps:
        then = _without_gaps(then, now)
    for number, (old, new) in enumerate(zip_longest(then, now), 1):
        if old != new:
            return LogDifference(number, old, new)
    return None


def _without_gaps(then: list[str], now: list[str]) -> list[str]:
    """`then` without the lines that stand before one of `now`, in its order; the rest of it where there is none."""
    left: list[str] = []
    position = 0
    for line in now:
        try:
            position = then.index(line, position) + 1
        except ValueError:
            return left + then[position:]
        left.append(line)
    return left


def _lines(text: str) -> Iterator[str]:
    return (comparable(line) for line in text.split("\n") if not _OURS.search(line))


def comparable(line: str) -> str:
    """A line without what says where something lies."""
    for pattern, instead in _NOT_COMPARED:
        line = pattern.sub(instead, line)
    return line


def _shown(line: str | None) -> str:
    if line is None:
        return "nothing"
    return repr(line if len(line) <= _SHOWN_CHARS else line[: _SHOWN_CHARS - 1] + "…")
