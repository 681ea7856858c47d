"""`hwe replay --html`: recorded beside replayed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from envs import EnvCache
from runner.cli.pages import page
from runner.cli.pages.code_changes import MAX_LINES, MAX_PAIRS, CodeChanges, code_changes
from runner.cli.pages.surroundings import version_shown
from runner.cli.pages.text import (
    MIN_CHARS,
    DifferenceShown,
    ErrorShown,
    Pair,
    Shown,
    beginning,
    differences_shown,
    end,
    errors_shown,
    json_shown,
    pair,
    share_of,
)
from runner.cli.pages.timeline import Gap, Scale
from runner.ledger import StepRecord
from runner.replay import MAX_JSON_CHARS, History, Replayed, Verdict

# What a browser shows without waiting; the rest is in --json.
MAX_STEPS = 1_000
# Each is drawn in every row. Of more than these, a timeline would be all hatching: their number is told instead.
MAX_GAPS_DRAWN = 12

_TEXTS_OF_A_STEP = 8  # a value, a traceback and two streams, then and now
VERDICTS: tuple[Verdict, ...] = ("different", "could not", "same", "not replayed")


@dataclass(frozen=True)
class StepShown:
    """One attempt as the page tells of it. `left`, `recorded_width` and `replayed_width` in percent of the timeline."""

    number: int
    one: Replayed
    is_open: bool
    detail: Shown
    differences: Sequence[DifferenceShown]
    differences_left_out: int
    started_at: datetime | None
    offset_seconds: float | None
    recorded_seconds: float | None
    recorded_version: str | None
    left: float
    recorded_width: float
    replayed_width: float
    value: Pair | None
    recorded_errors: Sequence[ErrorShown]
    replayed_errors: Sequence[ErrorShown]
    stdout: Pair | None
    stderr: Pair | None

    @property
    def waited(self) -> bool:
        """A timer: its bar is of waiting, not of work."""
        return self.one.function is None


def replay_page(
    history: History,
    replayed: Sequence[Replayed],
    verdict: str,
    *,
    cache: EnvCache,
    against: str | None,
    how: Mapping[str, str],
) -> str:
    """The text of the page. `how`: the circumstances of the replay, as a person would say them."""
    run = history.run
    chosen = _chosen(replayed)
    steps, gaps = steps_shown(history, chosen, share_of(_TEXTS_OF_A_STEP * len(chosen)))
    versions: dict[str, list[str]] = {run.code_version_hash: ["what the run started with"]}
    for step in history.steps:
        if step.code_version_hash and step.code_version_hash not in versions:
            versions[step.code_version_hash] = ["what steps of it really ran on"]
    older = [name for name in versions if name != (against or run.code_version_hash)]
    if against:
        versions.setdefault(against, []).append("what it was replayed on")
    counts = Counter(one.verdict for one in replayed)
    return page.render(
        "replay.html",
        run=run,
        run_input=_json_of(history),
        verdict=verdict,
        against=against,
        counts=[(name, counts[name]) for name in VERDICTS if counts[name]],
        steps=steps,
        left_out=len(replayed) - len(chosen),
        gaps=gaps,
        gaps_drawn=gaps if len(gaps) <= MAX_GAPS_DRAWN else (),
        how=how,
        redacted=history.redacted.paths,
        versions=[version_shown(cache.store, cache, name, *roles) for name, roles in versions.items()],
        changes=_changes(cache, older, against or run.code_version_hash, versions),
        changes_left_out=max(0, len(older) - MAX_PAIRS),
    )


def _json_of(history: History) -> Shown:
    return json_shown(json.dumps(history.run.input, ensure_ascii=False))


def _changes(
    cache: EnvCache, older: Sequence[str], newer: str, versions: Mapping[str, Sequence[str]]
) -> list[CodeChanges]:
    if cache.store is None:
        return []
    chosen = older[:MAX_PAIRS]
    lines = MAX_LINES // max(1, len(chosen))
    return [code_changes(cache.store, name, newer, versions[name][0], max_lines=lines) for name in chosen]


def _chosen(replayed: Sequence[Replayed]) -> Sequence[Replayed]:
    """As many as a page holds, in their order; those that say no are kept first."""
    if len(replayed) <= MAX_STEPS:
        return replayed
    ranked = sorted(range(len(replayed)), key=lambda index: (replayed[index].verdict == "same", index))
    return [replayed[index] for index in sorted(ranked[:MAX_STEPS])]


def steps_shown(history: History, replayed: Sequence[Replayed], limit: int) -> tuple[list[StepShown], Sequence[Gap]]:
    """Attempts as a page tells of them, and where nothing ran. `limit`: characters of each text."""
    records = {(step.step_key, step.attempt): step for step in history.steps}
    begun = min((step.started_at for step in history.steps), default=None)
    times = [_times(records.get((one.step_key, one.attempt)), begun) for one in replayed]
    spans = [
        (offset, offset + max(recorded or 0.0, one.wall_seconds or 0.0))
        for one, (offset, recorded) in zip(replayed, times, strict=True)
        if offset is not None and one.function is not None
    ]
    scale = Scale(spans)
    found = []
    for number, (one, (offset, recorded)) in enumerate(zip(replayed, times, strict=True), 1):
        left = scale.percent(offset or 0.0)
        record = records.get((one.step_key, one.attempt))
        differences = differences_shown(one.differences)
        found.append(
            StepShown(
                number=number,
                one=one,
                is_open=one.verdict in {"different", "could not"},
                detail=beginning(one.detail, MIN_CHARS),
                differences=differences,
                differences_left_out=len(one.differences) - len(differences),
                started_at=record.started_at if record else None,
                offset_seconds=offset,
                recorded_seconds=recorded,
                recorded_version=record.code_version_hash if record else None,
                left=left,
                recorded_width=0.0 if offset is None else scale.percent(offset + (recorded or 0.0)) - left,
                replayed_width=0.0 if offset is None else scale.percent(offset + (one.wall_seconds or 0.0)) - left,
                value=pair(_value(one.recorded_json, limit), _value(one.replayed_json, limit)),
                recorded_errors=errors_shown(one.recorded_error, limit),
                replayed_errors=errors_shown(one.replayed_error, limit),
                stdout=_log(one, one.recorded_stdout, one.stdout, limit),
                stderr=_log(one, one.recorded_stderr, one.stderr, limit),
            )
        )
    return found, scale.gaps


def _times(step: StepRecord | None, begun: datetime | None) -> tuple[float | None, float | None]:
    """Seconds from the beginning of the run to that of the attempt, and what it took."""
    if step is None or begun is None:
        return None, None
    took = step.wall_seconds
    if took is None and step.finished_at:
        took = (step.finished_at - step.started_at).total_seconds()
    return (step.started_at - begun).total_seconds(), took


def _value(text: str | None, limit: int) -> Shown | None:
    return None if text is None else json_shown(text, limit, is_whole=len(text) < MAX_JSON_CHARS)


def _log(one: Replayed, recorded: str | None, replayed: str, limit: int) -> Pair | None:
    """What was printed then and now. Where files lie may differ in logs that count as the same: that is not marked."""
    if not recorded and not replayed:
        return None
    then = None if recorded is None else end(recorded, limit)
    return pair(then, end(replayed, limit), marked=one.logs != "same")
