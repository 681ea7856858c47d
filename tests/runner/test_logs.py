"""What was printed then and now, compared line by line."""

import pytest

from runner.logs import difference

HASH = "ab" * 32


@pytest.mark.parametrize(
    ("recorded", "replayed"),
    [
        ("", ""),
        ("one\ntwo\n", "one\ntwo\n"),
        ("a\\x00b \\udcff", "a\0b \udcff"),
        ("<Order object at 0x7f5e1c2b3a40>", "<Order object at 0x55d0aa>"),
        (
            f"/a/cache/versions/{HASH}/project/m.py:3: UserWarning",
            f"/b c/../versions/{HASH}/project/m.py:3: UserWarning",
        ),
        ("/usr/lib/python3.12/json/x.py:3: Warning", "/opt/py/lib/python3.12/json/x.py:3: Warning"),
        ("in /tmp/hwe-run-abc/scratch/1/2", "in /var/tmp/hwe-run-x_1/scratch/30/4"),
        (
            'Current thread 0x00007f12 (most recent call first):\n  File "<hwe child program>", line 1 in perform\nend',
            "Current thread 0x00007f99 (most recent call first):\nend",
        ),
        ('  File "/tmp/hwe-run-abc/bootstrap.py", line 703 in perform\nend', "end"),
        ('  File "/tmp/hwe-run-abc/child/step.py", line 73 in perform\nend', "end"),
        ('  File "<hwe child program>/step.py", line 73 in perform\nend', "end"),
    ],
)
def test_where_things_lie_is_no_difference(recorded, replayed):
    assert difference(recorded, replayed) is None


@pytest.mark.parametrize(
    ("recorded", "replayed", "told"),
    [
        ("a\nb\n", "a\nc\n", "line 2: 'b' then, 'c' now"),
        ("a", "a\nb", "line 2: nothing then, 'b' now"),
        ("a\nb", "a", "line 2: 'b' then, nothing now"),
        ("a\n", "a", "line 2: '' then, nothing now"),
        ("crc 0x7f5e1c2b", "crc 0x7f5e1c2c", "line 1: 'crc 0x7f5e1c2b' then, 'crc 0x7f5e1c2c' now"),
        ("x" * 200, "y", f"line 1: {'x' * 79 + '…'!r} then, 'y' now"),
    ],
)
def test_the_first_line_that_differs_is_told(recorded, replayed, told):
    assert str(difference(recorded, replayed)) == told


def test_an_attempt_that_was_ended_may_have_come_further():
    assert difference("1\n2\n3\n", "1\n2\n3\n4\n5", cut_short=True) is None
    assert difference("1\n2\n3\n", "1\n2\n", cut_short=True) is None
    assert difference("1\n2\n", "", cut_short=True) is None
    assert difference("1\n2\n3\n", "1\nx\n3\n", cut_short=True).line == 2


def test_what_was_not_done_again_may_be_missing():
    assert difference("1\npart\n2\n", "1\n2\n", with_gaps=True) is None
    assert difference("part\n", "", with_gaps=True) is None
    assert difference("1\n2\n", "1\n2\n", with_gaps=True) is None
    assert str(difference("1\npart\n2\n", "1\n3\n", with_gaps=True)) == "line 2: 'part' then, '3' now"
    assert difference("1\n2\n", "2\n1\n", with_gaps=True) is not None
