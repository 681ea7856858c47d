"""`hwe replay RUN… --html`: several runs on one page, an overview and what differs in each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from envs import EnvCache
from runner.cli.pages import page
from runner.cli.pages.replay_page import VERDICTS, StepShown, steps_shown
from runner.cli.pages.surroundings import VersionShown, version_shown
from runner.cli.pages.text import MIN_CHARS, Shown, beginning
from runner.cli.replay_runs import RunReplayed

# What a browser shows without waiting; the rest is in --json. Of attempts, those that came out the same are only named.
MAX_RUNS = 2_000
MAX_STEPS = 1_000
MAX_NAMED = 50
MAX_VERSIONS = 20


@dataclass(frozen=True)
class RunShown:
    """One run as the page tells of it. `same`: the attempts that came out so, by name. `detail`: what says no first."""

    number: int
    name: str
    verdict: str
    workflow_name: str
    status: str
    code_version_hash: str
    counts: Sequence[tuple[str, int]]
    same: Sequence[str]
    steps: Sequence[StepShown]
    steps_left_out: int
    remaining: Sequence[str]
    redacted: Sequence[str]
    detail: Shown


class RunsPage:
    """Gathers run after run, while what each came from is open."""

    def __init__(self, cache: EnvCache, against: str | None) -> None:
        self._cache = cache
        self._against = against
        self._runs: list[RunShown] = []
        self._counts = Counter[str]()
        self._steps_left = MAX_STEPS
        self._versions: dict[str, VersionShown] = {}
        self._more_versions: set[str] = set()

    def add(self, told: RunReplayed) -> None:
        """A run, when all of it is known."""
        self._counts[told.verdict] += 1
        if told.verdict == "same" and self._counts["same"] > MAX_RUNS:
            return
        number, history = self._counts.total(), told.history
        if history is None:
            gone = RunShown(
                number, told.name, told.verdict, "", "", "", (), (), (), 0, (), (), _short(str(told.problem))
            )
            self._runs.append(gone)
            return
        run = history.run
        self._add_version(self._against or run.code_version_hash)
        counts = Counter(one.verdict for one in told.steps)
        named = [one for one in told.steps if one.verdict == "same"]
        others = [one for one in told.steps if one.verdict != "same"]
        shown = others[: self._steps_left]
        self._steps_left -= len(shown)
        first = next((one for one in others if one.verdict == told.verdict), None)
        self._runs.append(
            RunShown(
                number=number,
                name=run.run_id,
                verdict=told.verdict,
                workflow_name=run.workflow_name,
                status=run.status,
                code_version_hash=run.code_version_hash,
                counts=[(name, counts[name]) for name in VERDICTS if counts[name]],
                same=[_name(one.step_key, one.attempt) for one in named[:MAX_NAMED]]
                + [f"{len(named) - MAX_NAMED} more"] * (len(named) > MAX_NAMED),
                steps=steps_shown(history, shown, MIN_CHARS)[0],
                steps_left_out=len(others) - len(shown),
                remaining=told.remaining,
                redacted=history.redacted.paths,
                detail=_short(f"{first.step_key}: {first.detail}" if first else ""),
            )
        )

    def _add_version(self, code_version_hash: str) -> None:
        if code_version_hash in self._versions:
            return
        if len(self._versions) == MAX_VERSIONS:
            self._more_versions.add(code_version_hash)
            return
        role = "what all were replayed on" if self._against else "what runs started on"
        self._versions[code_version_hash] = version_shown(self._cache.store, self._cache, code_version_hash, role)

    def render(self, verdict: str, how: Mapping[str, str]) -> str:
        """The text of the page."""
        runs = self._runs
        if len(runs) > MAX_RUNS:
            ranked = sorted(runs, key=lambda run: (run.verdict == "same", run.number))
            runs = sorted(ranked[:MAX_RUNS], key=lambda run: run.number)
        total = self._counts.total()
        return page.render(
            "replays.html",
            verdict=verdict,
            against=self._against,
            total=total,
            counts=[(name, self._counts[name]) for name in VERDICTS if self._counts[name]],
            runs=runs,
            left_out=total - len(runs),
            how=how,
            versions=list(self._versions.values()),
            versions_left_out=len(self._more_versions),
        )


def _name(step_key: str, attempt: int) -> str:
    return f"{step_key} (attempt {attempt})" if attempt > 1 else step_key


def _short(text: str) -> Shown:
    return beginning(text, MIN_CHARS)
