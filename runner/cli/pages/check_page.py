"""`hwe check --html`: which runs in flight would break on a candidate, where, and what differs in the code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envs import EnvCache
from runner.check import VERDICTS
from runner.cli.check_reports import summary
from runner.cli.pages import page
from runner.cli.pages.code_changes import MAX_LINES, MAX_PAIRS, code_changes
from runner.cli.pages.surroundings import version_shown
from runner.cli.pages.text import MIN_CHARS, Shown, beginning

# Rows that a browser shows without waiting; the rest is in --json. Runs that break come first.
MAX_RUNS = 2_000
MAX_PROBLEMS = 50
_RUNS_NAMED = 3


@dataclass(frozen=True)
class Problem:
    """What is found of the same step in the same words, and in how many runs. `named`: the first of them."""

    verdict: str
    step_key: str
    detail: Shown
    workflow_name: str
    runs: int
    named: Sequence[str]


def check_page(
    document: Mapping[str, Any], *, cache: EnvCache, versions: Mapping[str, int], how: Mapping[str, str]
) -> str:
    """The text of the page. `document`: what `--json` prints. `versions`: how many unfinished runs started on each."""
    candidate = document["code_version_hash"]
    runs = sorted(document["runs"], key=lambda run: (VERDICTS.index(run["verdict"]), run["workflow_name"]))
    problems = _problems(runs)
    others = sorted((name for name in versions if name != candidate), key=lambda name: (-versions[name], name))
    store = cache.store
    chosen = [] if store is None else others[:MAX_PAIRS]
    lines = MAX_LINES // max(1, len(chosen))
    changes = [
        code_changes(store, name, candidate, _why(versions[name]), max_lines=lines)
        for name in chosen
        if store is not None
    ]
    return page.render(
        "check.html",
        document=document,
        summary=summary(dict(document)),
        counts=[(name, document["verdicts"][name]) for name in VERDICTS if document["verdicts"].get(name)],
        problems=problems[:MAX_PROBLEMS],
        problems_left_out=max(0, len(problems) - MAX_PROBLEMS),
        runs=runs[:MAX_RUNS],
        runs_left_out=max(0, len(runs) - MAX_RUNS),
        short=_short,
        how=how,
        versions=[version_shown(store, cache, candidate, "the candidate")],
        changes=changes,
        changes_left_out=max(0, len(others) - MAX_PAIRS),
    )


def _why(runs: int) -> str:
    return "what 1 run in flight started on" if runs == 1 else f"what {runs:,} runs in flight started on"


def _short(text: str) -> Shown:
    return beginning(text, MIN_CHARS)


def _problems(runs: Sequence[Mapping[str, Any]]) -> list[Problem]:
    """What is found, the worst first; what many runs have in common is told once."""
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for run in runs:
        for finding in run["findings"]:
            key = (finding["verdict"], finding["step_key"], finding["detail"], run["workflow_name"])
            found.setdefault(key, []).append(run["run_id"])
    counted = [
        Problem(verdict, step, _short(detail), workflow, len(Counter(ids)), list(dict.fromkeys(ids))[:_RUNS_NAMED])
        for (verdict, step, detail, workflow), ids in found.items()
    ]
    return sorted(counted, key=lambda one: (VERDICTS.index(one.verdict), -one.runs))
