"""Recorded results: small ones in the row, large ones in files named by their digest."""

import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

from runner.body import Body
from runner.payload import Payload
from runner.values import MAX_ROW_BYTES, ValueLost, Values, ValuesUnusable

LARGE = os.urandom(1024) * (MAX_ROW_BYTES // 1024 + 1)


def payload(data=b"small", json_text=None):
    return Payload(Body.of([data]), "3.12.1", json_text=json_text)


@pytest.fixture
def values(tmp_path):
    return Values(tmp_path / "values")


def files(values):
    return sorted(path for path in values.directory.rglob("*") if path.is_file())


@pytest.mark.parametrize("data", [b"small", LARGE])
@pytest.mark.parametrize("text", [None, "[1]", json.dumps("x" * 2 * MAX_ROW_BYTES)])
def test_a_result_comes_back_as_it_was(values, data, text):
    result, value = values.at_rest(payload(data, text))
    large_text = text is not None and len(text) > MAX_ROW_BYTES
    assert len(result) < MAX_ROW_BYTES
    assert len(files(values)) == (data is LARGE) + large_text
    assert value == (None if large_text else text)
    again = values.payload(result)
    assert (bytes(again.body.view()), again.json_text, again.python) == (data, text, "3.12.1")
    assert values.json_text(result) == text


def test_the_view_is_read_without_the_body(values):
    result, _ = values.at_rest(payload(LARGE, "[1]"))
    files(values)[0].unlink()
    assert values.json_text(result) == "[1]"
    with pytest.raises(ValueLost, match="gone from"):
        values.payload(result)


def test_the_same_content_is_one_file(values):
    for _ in range(3):
        values.at_rest(payload(LARGE))
    assert len(files(values)) == 1


@pytest.mark.parametrize("change", ["flip", "shorten", "empty"])
def test_a_changed_file_is_found(values, change):
    result, _ = values.at_rest(payload(LARGE))
    path = files(values)[0]
    data = bytearray(path.read_bytes())
    data[777] ^= 1
    path.write_bytes({"flip": data, "shorten": data[:-1], "empty": b""}[change])
    with pytest.raises(ValueLost, match="restore"):
        values.payload(result)


def test_a_half_written_file_of_that_name_is_replaced(values):
    values.at_rest(payload(LARGE))
    files(values)[0].write_bytes(b"half")
    result, _ = values.at_rest(payload(LARGE))
    assert bytes(values.payload(result).body.view()) == LARGE


def test_a_full_disk_is_said_and_leaves_nothing(small_disk):
    values = Values(small_disk(512) / "values")
    with pytest.raises(ValuesUnusable, match=r"No space left.*free some space"):
        values.at_rest(payload(LARGE))
    assert files(values) == []


def test_kill_9_while_writing_leaves_nothing_that_is_taken_for_a_value(values):
    program = f"""
import os, sys
from pathlib import Path
from runner.body import Body
from runner.payload import Payload
from runner.values import Values
values = Values(Path({str(values.directory)!r}))
print("ready", flush=True)
while True:
    values.at_rest(Payload(Body.of([os.urandom(64) * 100_000]), "3.12.1"))
"""
    for delay in (0.01, 0.03, 0.06, 0.1):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    named = [path for path in files(values) if not path.name.startswith(".")]
    assert named
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in named)


def write_and_read(directory, barrier):
    values = Values(directory)
    barrier.wait(30)
    result, _ = values.at_rest(payload(LARGE))
    assert bytes(values.payload(result).body.view()) == LARGE


def test_many_write_the_same_value_at_once(values):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(6)
    writers = [context.Process(target=write_and_read, args=(values.directory, barrier)) for _ in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 6
    assert len(files(values)) == 1
