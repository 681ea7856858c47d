"""What comes of replaying one recorded attempt, and how it is judged. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from runner.ledger import StepRecord
from runner.logs import comparable, difference
from runner.outcome import StepError, StepOutcome
from runner.payload import Payload

Verdict = Literal["same", "different", "not replayed", "could not"]
Logs = Literal["", "same", "different", "not recorded", "ignored"]

# Of the JSON view of a result: a page and a terminal show less, and a replay of a thousand steps holds all of them.
MAX_JSON_CHARS = 64 * 1024

# Ended from outside, at a moment that is another one each time.
_CUT_SHORT = {"timed_out", "out_of_memory"}


@dataclass(frozen=True)
class Replayed:
    """What came of one recorded attempt. `detail` is one line; `differences` are of the result, by path.

    `same_bytes`: the result is pickled alike too. `recorded` and `replayed` are statuses. `recorded_stdout` and
    `recorded_stderr` are None where a release before this one has recorded the attempt. `logs`: "same", "different",
    "not recorded", "ignored", or "" when nothing was run. `recorded_json` and `replayed_json`: the results as JSON
    text, its first `MAX_JSON_CHARS`; None where there is none. CPU and memory are of the step process, None where none
    was run or nothing was recorded.
    """

    step_key: str
    attempt: int
    function: str | None
    code_version_hash: str | None
    verdict: Verdict
    detail: str = ""
    recorded: str = ""
    replayed: str = ""
    same_bytes: bool | None = None
    differences: Sequence[dict[str, Any]] = ()
    recorded_error: dict[str, Any] | None = None
    replayed_error: dict[str, Any] | None = None
    wall_seconds: float | None = None
    recorded_wall_seconds: float | None = None
    cpu_seconds: float | None = None
    recorded_cpu_seconds: float | None = None
    max_rss_bytes: int | None = None
    recorded_max_rss_bytes: int | None = None
    recorded_json: str | None = None
    replayed_json: str | None = None
    stdout: str = ""
    stderr: str = ""
    recorded_stdout: str | None = None
    recorded_stderr: str | None = None
    logs: Logs = ""


def judged(
    step: StepRecord,
    version: str,
    outcome: StepOutcome,
    expected: Payload | None = None,
    *,
    ignore_logs: bool = False,
    with_gaps: bool = False,
) -> Replayed:
    """How the outcome of a replay compares with what is recorded. `expected`: the recorded result, if it had one.

    `with_gaps`: parts of the step were not done again, so what those printed then is not in the log now.
    """
    verdict: Verdict = "different"
    comparison = outcome.comparison or {}
    found = [item for item in comparison.get("differences") or () if isinstance(item, dict)]
    if outcome.status != step.status:
        detail = f"{step.status} then, {outcome.status} now{_said(outcome.error)}"
    elif outcome.status == "completed":
        if comparison.get("same_bytes") is True or (comparison and not found):
            verdict, detail = "same", ""
        elif found:
            detail = (
                f"the result differs in {len(found)} place{'s' * (len(found) > 1)}, first at {found[0].get('path')}"
            )
        else:
            verdict, detail = "could not", "the recorded result is not there to compare with"
    elif _identity(step.error) == _identity(outcome.error.to_json() if outcome.error else None):
        verdict, detail = "same", ""
    else:
        then = step.error or {}
        detail = f"{then.get('type')}: {then.get('message')} then, now{_said(outcome.error)}"
    replayed = without_logs(step, version, verdict, detail, outcome, found, expected)
    return (
        replace(replayed, logs="ignored") if ignore_logs else _with_logs(step, outcome, replayed, with_gaps=with_gaps)
    )


def _with_logs(step: StepRecord, outcome: StepOutcome, replayed: Replayed, *, with_gaps: bool) -> Replayed:
    """The same, having compared what was printed."""
    pairs = {"stdout": (step.stdout, outcome.stdout), "stderr": (step.stderr, outcome.stderr)}
    if None in {step.stdout, step.stderr}:
        return replace(replayed, logs="not recorded")
    if outcome.status != step.status:
        return replayed  # an attempt that ends otherwise prints something else: one difference, not two
    found = {
        stream: difference(then, now, cut_short=outcome.status in _CUT_SHORT, with_gaps=with_gaps)
        for stream, (then, now) in pairs.items()
        if then is not None
    }
    told = [f"{stream} differs in {where}" for stream, where in found.items() if where is not None]
    if not told:
        return replace(replayed, logs="same")
    detail = "; ".join(filter(None, [replayed.detail, *told]))
    return replace(replayed, verdict="different", detail=detail, logs="different")


def _said(error: StepError | None) -> str:
    return f" {error.type}: {error.message}" if error else ""


def _identity(error: dict[str, Any] | None) -> object:
    """What makes an error the same: its type, its message and its causes; not where something lies."""
    if error is None:
        return None
    members = [_identity(member) for member in error.get("exceptions") or ()]
    message = comparable(str(error.get("message")))
    return error.get("module"), error.get("type"), message, _identity(error.get("cause")), members


def without_logs(
    step: StepRecord,
    version: str | None,
    verdict: Verdict,
    detail: str,
    outcome: StepOutcome | None = None,
    differences: Sequence[dict[str, Any]] = (),
    expected: Payload | None = None,
) -> Replayed:
    """An attempt and its verdict; without an outcome, of an attempt that was not run."""
    recorded_json = expected.json_text if expected else None
    if recorded_json is None and step.has_value:
        recorded_json = json.dumps(step.value, ensure_ascii=False)
    return Replayed(
        step_key=step.step_key,
        attempt=step.attempt,
        function=step.function,
        code_version_hash=version,
        verdict=verdict,
        detail=detail,
        recorded=step.status,
        replayed=outcome.status if outcome else "",
        same_bytes=(outcome.comparison or {}).get("same_bytes") is True if outcome and outcome.payload else None,
        differences=differences,
        recorded_error=step.error,
        replayed_error=outcome.error.to_json() if outcome and outcome.error else None,
        wall_seconds=outcome.usage.wall_seconds if outcome else None,
        recorded_wall_seconds=step.wall_seconds,
        cpu_seconds=outcome.usage.cpu_seconds if outcome else None,
        recorded_cpu_seconds=step.cpu_seconds,
        max_rss_bytes=outcome.usage.max_rss_bytes if outcome else None,
        recorded_max_rss_bytes=step.max_rss_bytes,
        recorded_json=_cut(recorded_json),
        replayed_json=_cut(outcome.payload.json_text) if outcome and outcome.payload else None,
        stdout=outcome.stdout if outcome else "",
        stderr=outcome.stderr if outcome else "",
        recorded_stdout=step.stdout,
        recorded_stderr=step.stderr,
    )


def _cut(text: str | None) -> str | None:
    return text and text[:MAX_JSON_CHARS]
