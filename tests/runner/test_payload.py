"""Payloads: opaque at rest and on the way."""

import pytest

from runner import wire
from runner.body import Body
from runner.errors import ProtocolError, UsageError
from runner.payload import Payload, pickle_arguments

# Unpickling these bytes would end the test run.
DATA = b"\x80\x05cos\n_exit\nK\x07\x85R."


def payload(json_text=None):
    return Payload(Body.of([DATA]), "3.12.1", json_text=json_text)


@pytest.mark.parametrize("json_text", [None, '{"a": [1, "é"]}', "null"])
def test_a_payload_at_rest_comes_back_as_it_was(json_text):
    stored = payload(json_text).to_bytes()
    assert Payload.from_bytes(stored) == payload(json_text)
    assert Payload.from_bytes(stored).has_json == (json_text is not None)


def test_a_changed_byte_at_rest_is_found():
    stored = bytearray(payload("[1]").to_bytes())
    position = bytes(stored).index(b"_exit")
    stored[position] ^= 1
    with pytest.raises(ProtocolError, match="hash to"):
        Payload.from_bytes(bytes(stored))


@pytest.mark.parametrize("stored", [b"", b"HWE1", DATA, b"\0" * 64])
def test_what_is_no_payload_is_refused(stored):
    with pytest.raises(ProtocolError):
        Payload.from_bytes(stored)


@pytest.mark.parametrize("view", [b"{", b"\xff", b"[" * 100_000])
def test_a_json_view_that_does_not_parse_is_refused(view):
    body = {"segments": [len(DATA)], "part": 0}
    header = {"type": "outcome", "codec": "pickle5", "python": "3.12.1", "json": 1, "body": body}
    with pytest.raises(ProtocolError, match="does not parse"):
        Payload.from_message(wire.decode(wire.encode(header, (DATA, view))))


def test_an_unknown_codec_is_refused_by_name():
    frame = wire.encode({"type": "payload", "codec": "pickle9"}, (DATA, b""))
    with pytest.raises(ProtocolError, match="pickle9"):
        Payload.from_bytes(frame)


def test_payloads_inside_arguments_stay_closed():
    inner = payload()
    body, payloads = pickle_arguments([{"x": [inner]}], {"y": inner})
    assert payloads == [inner, inner]
    assert DATA not in body.content


def test_an_argument_that_cannot_be_pickled_is_the_callers_fault():
    with pytest.raises(UsageError, match="generator"):
        pickle_arguments([(n for n in range(3))], {})
