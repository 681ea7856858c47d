"""State of any size, from step to step: out of band, in sealed memory, without the supervisor's reading it."""

import gc
import hashlib
import os
import pickle

import pytest

from runner import Supervisor
from runner.body import MAX_INLINE_BYTES, Body, Memory
from runner.errors import ProtocolError, UsageError
from runner.payload import Payload

MIB = 1024**2


@pytest.fixture
def blobs(deploy):
    return deploy("state").hash


class Buffer:
    """A caller's array: it pickles out of band, and is a Blob in the step."""

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        return bytearray, (pickle.PickleBuffer(self.data),)


@pytest.mark.parametrize("size", [16, 32 * 1024, MAX_INLINE_BYTES, 2 * MIB, 64 * MIB])
def test_a_buffer_of_any_size_goes_from_step_to_step(supervisor, blobs, size):
    made = supervisor.run(blobs, "blobs.make", [size])
    assert made.status == "completed", made.error
    assert size <= made.payload.size < size + 4096
    assert isinstance(made.payload.body.content, Memory) == (made.payload.size > MAX_INLINE_BYTES)
    first, second = (supervisor.run(blobs, "blobs.digest", [made.payload]).unwrap() for _ in range(2))
    assert first == second


def test_a_step_may_write_to_what_it_was_given_and_nobody_else_sees_it(supervisor, blobs):
    for size in (32 * 1024, 2 * MIB):
        made = supervisor.run(blobs, "blobs.make", [size]).payload
        before = supervisor.run(blobs, "blobs.digest", [made]).unwrap()
        assert supervisor.run(blobs, "blobs.change", [made]).unwrap() != before[0]
        assert supervisor.run(blobs, "blobs.digest", [made]).unwrap() == before


def test_many_large_values_go_into_one_step(supervisor, blobs):
    made = [supervisor.run(blobs, "blobs.make", [128 * 1024]).payload for _ in range(6)]
    digests = supervisor.run(blobs, "blobs.digest", made * 50).unwrap()  # 300: more than the kernel passes at a time
    assert digests == digests[:6] * 50
    assert len(set(digests)) == 6


def test_several_buffers_of_one_value_stay_apart(supervisor, blobs):
    made = supervisor.run(blobs, "blobs.make", [100_000, 3]).payload
    assert len(made.body.segments) == 4


def test_a_callers_buffer_is_handed_over_in_memory(supervisor, blobs):
    data = bytearray(os.urandom(1024) * 4096)
    assert supervisor.run(blobs, "blobs.length", [Buffer(data)]).unwrap() == len(data)


def test_large_values_that_are_no_buffers_rest_in_memory_too(supervisor, blobs):
    made = supervisor.run(blobs, "blobs.text", [3 * MIB])
    assert isinstance(made.payload.body.content, Memory)
    assert made.value == "x" * (3 * MIB)
    assert supervisor.run(blobs, "blobs.length", [made.payload]).unwrap() == 3 * MIB
    assert supervisor.run(blobs, "blobs.length", ["y" * (5 * MIB)]).unwrap() == 5 * MIB


def test_what_nobody_refers_to_is_given_back(supervisor, blobs):
    def held():
        gc.collect()
        return len([fd for fd in os.listdir("/proc/self/fd") if "hwe-value" in link(fd)])

    def link(fd):
        try:
            return os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            return ""

    before = held()
    made = [supervisor.run(blobs, "blobs.make", [MIB]).payload for _ in range(5)]
    supervisor.run(blobs, "blobs.digest", made).unwrap()
    assert held() == before + 5
    del made
    assert held() == before


@pytest.mark.parametrize("kind", ["unsealed", "shorter", "pipe", "file", "nothing", "huge", "other segments"])
def test_memory_that_is_not_what_a_step_says_is_refused(supervisor, blobs, kind):
    outcome = supervisor.run(blobs, "blobs.sends", [kind])
    assert outcome.status == "crashed"
    assert outcome.payload is None
    assert "memory" in outcome.error.message or "segments" in outcome.error.message
    assert supervisor.run(blobs, "blobs.digest", []).unwrap() == []


def test_memory_that_is_what_a_step_says_is_taken(supervisor, blobs):
    assert supervisor.run(blobs, "blobs.sends", ["honest"]).status == "completed"


def test_sealed_memory_cannot_be_changed():
    memory = Memory.holding([b"x" * 5000])
    for change in (lambda: os.write(memory.fileno(), b"y"), lambda: os.truncate(memory.fileno(), 1)):
        with pytest.raises(PermissionError):
            change()
    assert bytes(memory.view()) == b"x" * 5000


@pytest.mark.parametrize("scale", [1, 100_000])
def test_a_body_is_the_same_bytes_on_the_heap_and_in_memory(scale):
    body = Body.of([b"a" * 5, b"b" * scale, b"c"])
    start = -(-(64 + scale) // 64) * 64
    assert bytes(body.view()) == b"a" * 5 + bytes(59) + b"b" * scale + bytes(start - 64 - scale) + b"c"
    assert isinstance(body.content, Memory) == (scale > 1)
    payload = Payload(body, "3.12.1")
    assert payload.sha256 == hashlib.sha256(body.view()).hexdigest()
    assert bytes(Payload.from_bytes(payload.to_bytes()).body.view()) == bytes(body.view())


@pytest.mark.parametrize(
    "said", [None, {}, {"segments": [3]}, {"segments": [3], "part": 1}, {"segments": [2], "part": 0}]
)
@pytest.mark.parametrize("more", [{}, {"segments": []}, {"segments": [-1, 4]}, {"segments": [True, 2], "part": 0}])
def test_a_body_that_does_not_fit_is_refused(said, more):
    wrong = None if said is None else {**said, **more}
    with pytest.raises(ProtocolError):
        Body.unpack(wrong, [memoryview(b"abc")], [])


def test_a_value_over_the_limit_is_refused_before_it_is_copied(monkeypatch):
    monkeypatch.setattr("runner.body.MAX_BODY_BYTES", 1000)
    with pytest.raises(UsageError, match="over the limit"):
        Body.of([b"x" * 1001])


def test_state_moves_between_pythons(deploy, cache, pythons):
    with Supervisor(cache) as supervisor:
        made = None
        for python in (python for python in pythons if int(python.split(".")[1]) >= 9):
            version = deploy("state", python=python, root=python).hash
            made = supervisor.run(version, "blobs.make", [MIB]).payload if made is None else made
            assert supervisor.run(version, "blobs.describe", [made]).unwrap()["size"] == MIB
