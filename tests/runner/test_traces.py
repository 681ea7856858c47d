"""Whether a value still occurs in another one, in JSON, in pickles of any protocol, and in buffers."""

import dataclasses
import json
import pickle
from datetime import date
from decimal import Decimal
from typing import NamedTuple

import pytest

from runner.body import Body
from runner.payload import Payload
from runner.traces import MAX_VALUES, Traces


@dataclasses.dataclass
class Card:
    number: str
    expires_at: date
    limit: int = 0


class Point(NamedTuple):
    name_of_it: str
    score: float


def pickled(value, protocol=5):
    buffers = []
    whole = pickle.dumps(value, protocol, buffer_callback=buffers.append if protocol == 5 else None)
    return Payload(Body.of([whole, *(buffer.raw() for buffer in buffers)]), "3.12.1")


def traces_of(*values, payload=None):
    traces = Traces()
    for value in values:
        traces.add(value)
    if payload is not None:
        traces.add_payload(payload)
    return traces


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ("secret-1", {"note": "the word is secret-1!"}),
        ("secret-1", {"secret-1": None}),
        ({"deep": [["secret-1"]]}, "secret-1"),
        (1234567, [1234567]),
        (1234567, "number 1234567"),
        ("1234567", [[1234567]]),
        (-123456.5, {"a": -123456.5}),
        ("für–dich\n", "für–dich\n"),
        ("\ud800" * 6, "\ud800" * 7),
    ],
)
def test_what_still_occurs_is_found(value, left):
    traces = traces_of(value)
    assert traces.in_json(left)
    assert traces.in_payload(Payload(Body.of([b"."]), "3.12.1", json_text=json.dumps(left)))
    for protocol in range(1, 6):
        assert traces.in_payload(pickled({"in": [left]}, protocol)) or isinstance(left, list | str), protocol


@pytest.mark.parametrize("value", ["short", 12345, True, None, "{{inputs.card}}", {"a_long_name": "x"}, 0.25, []])
def test_what_is_short_or_a_name_is_not_looked_for(value):
    traces = traces_of(value)
    assert not traces
    assert not traces.in_json({"x": [value], "a_long_name": "short 12345 True"})


@pytest.mark.parametrize("protocol", range(6))
def test_of_an_object_its_values_are_looked_for_and_not_its_names(protocol):
    hidden = [Card("4711-0815", date(2031, 1, 2), 1234567), Point("somebody", 0.1234567), {"a_long_key": b"raw-bytes"}]
    traces = traces_of(payload=pickled([hidden, hidden], protocol))
    for left in ("4711-0815", "somebody", 1234567, 0.1234567):
        assert traces.in_json([left]), left
    assert traces.in_payload(pickled({"x": b"..raw-bytes.."}))
    for name in ("number", "expires_at", "a_long_key", "name_of_it", "datetime", __name__, "Card"):
        assert not traces.in_json([name]), name
    assert not traces.in_payload(pickled([Card("x", date(2030, 1, 1)), Point("y", 1), {"a_long_key": Decimal(1)}]))


def test_buffers_outside_of_the_pickle_are_looked_for_and_in():
    hidden = pickled(pickle.PickleBuffer(b"a large array of numbers" * 100))
    traces = traces_of(payload=hidden)
    assert traces.in_payload(hidden)
    assert traces.in_bytes(b"-" + b"a large array of numbers" * 100)
    assert not traces.in_payload(pickled(pickle.PickleBuffer(b"another array" * 100)))
    assert traces_of("secret").in_payload(pickled(pickle.PickleBuffer(b"x" * 100_000 + b"secret")))


def test_a_pickle_that_makes_no_sense_is_read_as_far_as_it_does():
    whole = pickle.dumps(["before-it"])
    for cut in range(len(whole)):
        traces_of(payload=Payload(Body.of([whole[:cut]]), "3.12.1"))
    broken = whole[:-1] + b"\xff" + pickle.dumps(["after-it"])
    traces = traces_of(payload=Payload(Body.of([broken]), "3.12.1"))
    assert traces.in_json("before-it") or not traces


def test_what_is_nested_in_containers_of_every_kind_is_found():
    value = {("nested", 1): [{"set-of-it"}, frozenset({"frozen-set"}), Ellipsis, 2**70, -(2**70), 1.23456e300]}
    for protocol in range(6):
        traces = traces_of(payload=pickled(value, protocol))
        assert all(traces.in_json(left) for left in ("set-of-it", "frozen-set", 2**70, -(2**70), 1.23456e300)), protocol


def test_of_very_many_the_longest_are_kept():
    traces = traces_of([f"text-{number:08}" for number in range(MAX_VALUES)], "a much longer text", "shorty")
    assert traces.limit() == 2
    assert traces.in_json("a much longer text")
    assert not traces.in_json("shorty")
    assert traces.limit() == 0
