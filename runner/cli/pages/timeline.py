"""Where the bars of a timeline lie. Pure.

A run that waited for three days and worked for two seconds has its work on the page, not its waiting: idle times that
would take more than a share of the width are drawn as a narrow gap, and very many of them narrower still.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

# Of the time in which something ran: a gap longer than the first share is drawn as wide as the second.
_LONG_GAP = 0.15
_DRAWN_GAP = 0.05
# All gaps together, of the same: however often a run waited, two thirds of the width are of its work.
_DRAWN_GAPS = 0.5


@dataclass(frozen=True)
class Gap:
    """An idle time that is drawn shorter than it was. Percent of the width, and what it really took."""

    left: float
    width: float
    seconds: float


class Scale:
    """Maps seconds since the beginning to percent of the width."""

    def __init__(self, spans: Iterable[tuple[float, float]]) -> None:
        busy = _merged(spans)
        total = sum(end - begin for begin, end in busy) or 1.0
        self._times = [busy[0][0] if busy else 0.0]
        self._places = [0.0]
        gaps: list[tuple[float, float, float]] = []
        long_gaps = sum(later[0] - earlier[1] > _LONG_GAP * total for earlier, later in pairwise(busy))
        drawn = min(_DRAWN_GAP, _DRAWN_GAPS / max(1, long_gaps)) * total
        for begin, end in busy:
            idle = begin - self._times[-1]
            if idle > 0:
                is_long = idle > _LONG_GAP * total
                width = drawn if is_long else idle
                if is_long:
                    gaps.append((self._places[-1], width, idle))
                self._go_to(begin, width)
            self._go_to(end, end - begin)
        self._whole = self._places[-1] or 1.0
        self.gaps: Sequence[Gap] = [
            Gap(100 * left / self._whole, 100 * width / self._whole, idle) for left, width, idle in gaps
        ]

    def _go_to(self, time: float, width: float) -> None:
        self._times.append(time)
        self._places.append(self._places[-1] + width)

    def percent(self, time: float) -> float:
        """Where that moment is; those before and after the whole are at its ends."""
        index = bisect_right(self._times, time)
        if index == 0:
            return 0.0
        if index == len(self._times):
            return 100.0 * self._places[-1] / self._whole
        before, after = self._times[index - 1], self._times[index]
        share = (time - before) / (after - before)
        place = self._places[index - 1] + share * (self._places[index] - self._places[index - 1])
        return 100.0 * place / self._whole


def _merged(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((begin, end))
    return merged
