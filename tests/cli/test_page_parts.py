"""What pages are made of: text made visible and cut, bars of a timeline, lines of code that differ."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from envs import capture
from runner.cli.pages import code_changes, page
from runner.cli.pages.code_changes import code_changes as changes_between
from runner.cli.pages.replay_page import MAX_STEPS, replay_page
from runner.cli.pages.text import MAX_ERRORS, Shown, end, errors_shown, json_shown, pair, seconds, visible
from runner.cli.pages.timeline import Scale
from runner.redaction import Redaction
from runner.replay import Replayed


def test_what_has_no_shape_is_named():
    assert visible("plain äöü 漢字 👩\u200d🔬\tand\nlines") == "plain äöü 漢字 👩\u200d🔬\tand\nlines"
    assert visible("\x00\x1b[0m\r\x7f\x85") == "⟨NUL⟩⟨ESC⟩[0m⟨CR⟩⟨DEL⟩⟨U+0085⟩"
    assert visible("a\u202eb\u2066\ud800\ufeff\U000e0041") == "a⟨U+202E⟩b⟨U+2066⟩⟨U+D800⟩⟨U+FEFF⟩⟨U+E0041⟩"


def test_every_text_of_a_template_is_escaped_and_visible():
    hostile = "\"'<\ud800>&"
    rendered = page._environment().from_string('<p title="{{ it }}">{{ it }}{{ "<i>" ~ it }}').render(it=hostile)
    safe = "&#34;&#39;&lt;⟨U+D800⟩&gt;&amp;"
    assert rendered == f'<p title="{safe}">{safe}&lt;i&gt;{safe}'
    rendered.encode()


def test_long_texts_are_cut_where_they_say_least():
    assert json_shown('{"a":1}') == Shown('{\n  "a": 1\n}')
    assert json_shown("[" * 5000 + "]" * 5000).text.startswith("[[[")
    assert json_shown("[1,2", is_whole=False) == Shown("[1,2", "only the first 4 characters are shown")
    assert json_shown(json.dumps(["x" * 10] * 5), 20) == Shown(
        '[\n  "xxxxxxxxxx",\n  ', "only the first 20 characters are shown"
    )
    assert end("a" * 10 + "the end", 7) == Shown("the end", "10 characters before these are left out")


def test_of_two_texts_the_lines_that_differ_are_marked():
    found = pair(Shown("a\nb\nc"), Shown("a\nc\nd"))
    assert [line.text for line in found.recorded if line.differs] == ["b"]
    assert [line.text for line in found.replayed if line.differs] == ["d"]
    assert pair(Shown("a"), Shown("a")).same
    assert not pair(None, Shown("a")).same
    assert pair(None, None) is None


def test_an_exception_without_end_is_cut():
    error = None
    for number in range(200):
        error = {"type": "E", "message": str(number), "cause": error}
    told = errors_shown(error)
    assert len(told) == MAX_ERRORS + 1
    assert (told[0].heading.text, told[1].relation) == ("E: 199", "caused by")
    assert told[-1].notes.text == "more causes or members of a group are left out"


@pytest.mark.parametrize(
    ("count", "told"),
    [(None, "–"), (0.0004, "0 ms"), (0.0312, "31 ms"), (0.5, "0.50 s"), (59.96, "1 min"), (125, "2 min 5 s"),
     (11_400, "3 h 10 min"), (187_200, "2 d 4 h")],
)  # fmt: skip
def test_durations_are_told_as_people_do(count, told):
    assert seconds(count) == told


def test_long_waiting_is_drawn_short():
    scale = Scale([(0, 10), (5, 20), (3600, 3620)])
    assert [scale.percent(time) for time in (-5, 0, 20, 3620, 9999)] == [0, 0, pytest.approx(47.62, abs=0.1), 100, 100]
    [gap] = scale.gaps
    assert (gap.seconds, gap.width) == (3580, pytest.approx(4.76, abs=0.1))
    assert Scale([]).percent(7) == 0
    assert Scale([(0, 0)]).percent(0) == 0
    assert Scale([(0, 10), (11, 20)]).gaps == []


@pytest.fixture
def stored(tmp_path, store):
    def stored(name, **files):
        root = tmp_path / name
        root.mkdir()
        for path, content in files.items():
            (root / path.replace("__", ".")).write_bytes(content)
        version = capture(root)
        store.put(version)
        return version.hash

    return stored


def test_code_is_compared_line_by_line(stored, store):
    lines = [b"line %d\n" % number for number in range(1000)]
    old = stored("old", a__py=b"".join(lines), gone__py=b"x = 1\n", logo__bin=b"\0\1", crlf__py=b"a\n")
    lines[500] = b"changed\n"
    new = stored("new", a__py=b"".join(lines), logo__bin=b"\0\2\3", crlf__py=b"a\r\n", empty__py=b"")
    found = {file.change.path: file for file in changes_between(store, old, new).files}
    assert [(line.sign, line.old_number, line.new_number) for line in found["a.py"].lines] == [
        ("…", None, None), (" ", 498, 498), (" ", 499, 499), (" ", 500, 500), ("-", 501, None), ("+", None, 501),
        (" ", 502, 502), (" ", 503, 503), (" ", 504, 504),
    ]  # fmt: skip
    assert [line.text for line in found["crlf.py"].lines] == ["a", "a\r"]
    assert found["gone.py"].counts == (0, 1)
    assert (found["logo.bin"].note, found["empty.py"].note) == ("not text", "an empty file")


def test_too_much_code_is_cut_and_what_is_not_there_is_said(stored, store, monkeypatch):
    monkeypatch.setattr(code_changes, "MAX_FILES", 2)
    monkeypatch.setattr(code_changes, "MAX_LINES_SHOWN", 10)
    old = stored("old", a__py=b"", b__py=b"", c__py=b"")
    new = stored("new", a__py=b"x\n" * 50, b__py=b"x" * 300_000, c__py=b"x\n")
    found = changes_between(store, old, new)
    assert ([file.note for file in found.files], found.left_out) == (
        ["40 more lines are left out", "too large to be shown here"],
        1,
    )
    assert "is not in" in changes_between(store, "0" * 64, new).problem


def test_changed_packages_are_named_and_their_hashes_are_not_shown(stored, store):
    lock = b"six==%s \\\n    --hash=sha256:" + b"0" * 64 + b"\n"
    old = stored("old", requirements__txt=lock % b"1.16.0")
    new = stored("new", requirements__txt=lock % b"1.17.0")
    found = changes_between(store, old, new)
    assert [str(change) for change in found.requirements] == ["six 1.16.0 → 1.17.0"]
    assert [(file.lines, file.note) for file in found.files] == [((), "its packages are above")]


def history(steps=0):
    now = datetime.now(UTC)
    run = SimpleNamespace(
        run_id="run-1", workflow_name="w", workflow_version="1", status="completed", created_at=now, finished_at=now,
        code_version_hash="a" * 64, input={},
    )  # fmt: skip
    records = [
        SimpleNamespace(
            step_key=f"s{number}", attempt=1, started_at=now, finished_at=now, wall_seconds=0.1,
            code_version_hash="a" * 64,
        )
        for number in range(steps)
    ]  # fmt: skip
    return SimpleNamespace(run=run, steps=records, redacted=Redaction([]))


def rendered(cache, replayed):
    return replay_page(history(len(replayed)), replayed, "same", cache=cache, against=None, how={})


def test_recorded_logs_stand_beside_the_new_ones(cache):
    fields = {"function": "a.b", "code_version_hash": "a" * 64, "verdict": "same", "replayed": "completed"}
    told = rendered(cache, [Replayed("s0", 1, **fields, stdout="now\n", recorded_stdout="then\n", recorded_stderr="")])
    assert "<mark>then</mark>" in told
    assert "<mark>now</mark>" in told
    assert "not recorded" not in told
    alike = Replayed("s0", 1, **fields, stdout="now\n", recorded_stdout="then\n", recorded_stderr="", logs="same")
    assert "<mark>" not in rendered(cache, [alike])  # what differs says where files lie
    told = rendered(cache, [Replayed("s0", 1, **fields, stdout="now\n")])
    assert "not recorded" in told


def test_of_very_many_steps_those_that_say_no_are_shown(cache):
    verdicts = ["same"] * (MAX_STEPS + 5) + ["different"]
    many = [Replayed(f"s{number}", 1, "a.b", "a" * 64, verdict) for number, verdict in enumerate(verdicts)]
    told = rendered(cache, many)
    assert told.count('<details class="item') == MAX_STEPS
    assert "6 attempts are not on this page" in told
    assert f">s{len(many) - 1}</strong>" in told


def test_a_page_of_no_steps_says_so(cache):
    assert "No step is recorded" in rendered(cache, [])


def test_templates_are_not_loaded_before_a_page_is_asked_for():
    program = "import sys, runner.cli.commands; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
