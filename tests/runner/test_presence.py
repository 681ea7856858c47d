"""Who is alive, told by kernel locks of real processes."""

import signal
import subprocess
import sys

import pytest

from runner.presence import Presence

PROGRAM = """
import sys, pathlib
from runner.presence import Presence
presence = Presence(pathlib.Path(sys.argv[1]))
print(presence.id, flush=True)
sys.stdin.read()
presence.close()
"""


@pytest.fixture
def colleague(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process, process.stdout.readline().strip()
    process.kill()
    process.communicate()


def test_a_killed_driver_is_dead_at_once_and_a_living_one_is_not(tmp_path, colleague):
    process, their_id = colleague
    mine = Presence(tmp_path)
    assert mine.is_alive(mine.id)
    assert mine.is_alive(their_id)
    assert list(mine.dead()) == []
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not mine.is_alive(their_id)
    assert list(mine.dead()) == [their_id]
    mine.forget(their_id)
    assert list(mine.dead()) == []
    assert not mine.is_alive(their_id)
    mine.close()


def test_a_driver_that_left_in_good_order_leaves_nothing(tmp_path, colleague):
    process, their_id = colleague
    process.communicate("")
    mine = Presence(tmp_path)
    assert list(mine.dead()) == []
    assert not mine.is_alive(their_id)
    assert not mine.is_alive(None)
    mine.close()
    assert list(tmp_path.iterdir()) == []
