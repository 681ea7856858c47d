"""Golden bytes: the codec of the supervisor and the one of the child write and read the same."""

import struct

import pytest

from runner import wire
from runner.child import frames as child
from runner.child.templates import Scope, TemplateError, render
from runner.errors import ProtocolError


def frame(header: bytes, body: bytes = b"") -> bytes:
    return b"HWE1" + struct.pack("!I", len(header)) + header + body


CASES = [
    ({"type": "ready", "pid": 7}, (), frame(b'{"parts":[],"pid":7,"type":"ready"}')),
    (
        {"type": "outcome", "name": "\u00e9"},
        (b"ab", b"", b"\x00c"),
        frame('{"name":"é","parts":[2,0,2],"type":"outcome"}'.encode(), b"ab\x00c"),
    ),
]


@pytest.mark.parametrize(("header", "parts", "golden"), CASES)
def test_both_codecs_write_the_golden_bytes(header, parts, golden):
    assert wire.encode(header, parts) == golden
    assert child.encode(header, parts) == struct.pack("!i", len(golden)) + golden
    assert wire.with_length(golden) == struct.pack("!i", len(golden)) + golden


@pytest.mark.parametrize(("header", "parts", "golden"), CASES)
def test_both_codecs_read_the_golden_bytes(header, parts, golden):
    message = wire.decode(golden)
    expected = {**header, "parts": [len(part) for part in parts]}
    assert message.header == expected
    assert tuple(map(bytes, message.parts)) == parts
    child_header, child_parts = child.decode(golden)
    assert child_header == expected
    assert tuple(map(bytes, child_parts)) == parts


def test_the_layout_is_that_of_multiprocess_connections():
    import os

    import multiprocess

    ours, theirs = multiprocess.Pipe()
    with ours, theirs:
        ours.send_bytes(CASES[1][2])
        header, parts = child.read_frame(theirs.fileno())
        assert header["type"] == "outcome"
        assert bytes(parts[2]) == b"\x00c"
        os.write(theirs.fileno(), child.encode({"type": "hello"}))
        assert wire.decode(ours.recv_bytes()).type == "hello"


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"HWE1",
        b"HWE2" + frame(b'{"type":"x","parts":[]}')[4:],
        b"HWE1" + struct.pack("!I", 2**32 - 1) + b"{}",
        frame(b"not json"),
        frame(b"[1]"),
        frame(b'{"parts":[]}'),
        frame(b'{"type":"x","parts":[1]}'),
        frame(b'{"type":"x","parts":[-1,1]}'),
        frame(b'{"type":"x","parts":[true]}', b"a"),
        frame(b'{"type":"x","parts":"1"}', b"a"),
        frame(b"[" * 30_000),
    ],
)
def test_what_is_no_frame_of_ours_is_a_protocol_error(bad):
    with pytest.raises(ProtocolError):
        wire.decode(bad)


def test_a_header_over_its_limit_is_refused_by_the_writer():
    with pytest.raises(ProtocolError, match="limit"):
        wire.encode({"type": "x", "name": "y" * wire.MAX_HEADER_BYTES})


def test_frames_arrive_whole_however_the_stream_is_cut():
    golden = wire.with_length(CASES[0][2]) + wire.with_length(CASES[1][2])
    for size in range(1, len(golden) + 1):
        reader = wire.FrameReader()
        frames = [f for start in range(0, len(golden), size) for f in reader.feed(golden[start : start + size])]
        assert frames == [CASES[0][2], CASES[1][2]]


@pytest.mark.parametrize("length", [struct.pack("!iQ", -1, 2**63), struct.pack("!i", -2), struct.pack("!i", 101)])
def test_a_length_over_the_limit_is_refused_before_it_is_held(length):
    with pytest.raises(ProtocolError):
        wire.FrameReader(max_frame_bytes=100).feed(length)


class Invoice:
    cents = 5


SCOPE_CASES = [
    ("{{inputs.amount}}", 7),
    ("${inputs.amount}", 7),
    ("{{ inputs.amount }} EUR", "7 EUR"),
    ("{{inputs.amount}}{{inputs.amount}}", "77"),
    ("{{inputs.items[1]}}", "b"),
    ("{{inputs.items.0}}", "a"),
    ("{{inputs['odd key']}}", 1),
    ("{{invoice.cents}}", 5),
    (["{{inputs.amount}}", {"k": "{{inputs.items}}"}], [7, {"k": ["a", "b"]}]),
    ("no template {x}", "no template {x}"),
    ("{{word}}", "{{inputs.amount}}"),
]


@pytest.fixture
def scope():
    inputs = {"amount": 7, "items": ["a", "b"], "odd key": 1}
    names = {"inputs": inputs, "word": "{{inputs.amount}}", "invoice": Invoice()}
    return Scope(names, {}, None)


@pytest.mark.parametrize(("template", "value"), SCOPE_CASES)
def test_templates_render(scope, template, value):
    assert render(template, scope) == value


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{imputs.amount}}", "did you mean inputs"),
        ("{{inputs.amuont}}", "did you mean amount"),
        ("{{inputs.items[9]}}", "2 items"),
        ("{{invoice.__class__}}", "has no '__class__'"),
    ],
)
def test_a_template_without_a_value_names_near_misses(scope, template, says):
    with pytest.raises(TemplateError, match=says):
        render(template, scope)
