"""A page stays one that a browser opens and a person reads, whatever a run is like and its steps say."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from envs import capture
from runner.cli.pages.code_changes import code_changes
from runner.cli.pages.replay_page import MAX_GAPS_DRAWN, replay_page
from runner.cli.pages.text import MAX_CHARS, MAX_DIFFERENCES
from runner.cli.pages.timeline import Scale
from runner.redaction import Redaction
from runner.replay import Replayed

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
ONE = Replayed("s0", 1, "a.b", "a" * 64, "different", replayed="completed", wall_seconds=0.1)


@pytest.fixture
def rendered(cache):
    """The page of such attempts, one after the other, each beginning `every_seconds` after the one before it."""

    def rendered(attempts, every_seconds=1.0, took_seconds=0.1):
        run = SimpleNamespace(
            run_id="run-1", workflow_name="w", workflow_version="1", status="completed", created_at=BEGUN,
            finished_at=BEGUN, code_version_hash="a" * 64, input={},
        )  # fmt: skip
        records = [
            SimpleNamespace(
                step_key=one.step_key, attempt=1, started_at=BEGUN + timedelta(seconds=number * every_seconds),
                finished_at=BEGUN, wall_seconds=took_seconds, code_version_hash="a" * 64,
            )
            for number, one in enumerate(attempts)
        ]  # fmt: skip
        history = SimpleNamespace(run=run, steps=records, redacted=Redaction([]))
        return replay_page(history, attempts, "different", cache=cache, against=None, how={})

    return rendered


def test_however_often_a_run_waited_most_of_the_width_is_of_its_work():
    scale = Scale([(3600 * number, 3600 * number + 1) for number in range(500)])
    assert len(scale.gaps) == 499
    assert sum(gap.width for gap in scale.gaps) < 34
    assert scale.percent(1) - scale.percent(0) == pytest.approx(100 * 2 / 3 / 500, rel=0.01)


def test_gaps_without_number_are_told_and_not_drawn(rendered):
    few = rendered([replace(ONE, step_key=f"s{number}") for number in range(MAX_GAPS_DRAWN + 1)], every_seconds=60)
    assert few.count('<i class="gap"') == MAX_GAPS_DRAWN * (MAX_GAPS_DRAWN + 1)
    many = rendered([replace(ONE, step_key=f"s{number}") for number in range(1000)], every_seconds=60)
    assert "nothing ran</span>" not in many
    assert '<i class="gap"' not in many
    assert "999 gaps, the longest of 59.9 s" in many
    assert len(many) < 4_000_000


def test_what_a_step_process_tells_may_lack_anything_and_be_too_much(rendered):
    """It runs the code of users, which can write to the same descriptor."""
    for difference in ({}, {"path": "result"}, {"path": {"a": [1]}, "recorded": None, "replayed": ["x"], "how": 3}):
        assert "What differs in the result" in rendered([replace(ONE, differences=[difference])])
    long = {"path": "p" * 10_000, "recorded": "r" * 10_000, "replayed": "", "how": ""}
    told = rendered([replace(ONE, differences=[long] * (MAX_DIFFERENCES + 950), detail="d" * 140_000)])
    assert "950 more are left out" in told
    assert "139,000 more characters are left out" in told
    assert len(told) < 300_000


def test_an_exception_that_says_too_much_is_cut(rendered):
    error = {"type": "E", "message": "m" * 70_000, "notes": ["n" * 70_000] * 100, "traceback": "t" * 70_000}
    for _ in range(10):
        error = {**error, "cause": error}
    told = rendered([replace(ONE, recorded_error=error, replayed_error=error)])
    assert len(told) < 12 * MAX_CHARS * 4
    assert "more characters are left out" in told


def test_of_a_project_written_anew_not_all_lines_are_shown(tmp_path, store):
    versions = []
    for name in ("old", "new"):
        root = tmp_path / name
        root.mkdir()
        for number in range(4):
            (root / f"{number}.py").write_text(f"{name}\n" * 100)
        versions.append(capture(root))
        store.put(versions[-1])
    old, new = (version.hash for version in versions)
    found = code_changes(store, old, new, max_lines=250).files
    assert [len(file.lines) for file in found] == [200, 50, 0, 0]
    assert [file.note for file in found] == ["", "150 more lines are left out", *["its lines are left out"] * 2]
    assert found[1].counts == (100, 100)


@pytest.mark.parametrize("width", [320, 360])
def test_a_timeline_of_long_times_fits_a_narrow_window(browser, rendered, tmp_path, width):
    page = tmp_path / "replay.html"
    names = ["s" * 90, *(f"s{number}" for number in range(20))]
    attempts = [replace(ONE, step_key=name, wall_seconds=86_399.0) for name in names]
    page.write_text(rendered(attempts, every_seconds=250_000, took_seconds=35_940.0))
    browser.open(page, width=width)
    browser.run("for (const one of document.querySelectorAll('details')) { one.open = true; }")
    wide, room = browser.run("const page = document.documentElement; return [page.scrollWidth, page.clientWidth]")
    assert wide == room
