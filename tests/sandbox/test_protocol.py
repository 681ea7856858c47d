"""What a step may send to its supervisor: whatever it is, the next step runs."""

import json
import struct

import pytest


def frame(header, content=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    body = b"HWE1" + struct.pack("!I", len(text)) + text + content
    return struct.pack("!i", len(body)) + body


FRAMES = {
    "of 2^63 bytes": struct.pack("!iQ", -1, 2**63),
    "of a negative length": struct.pack("!i", -7) + b"x" * 16,
    "with a bad magic": struct.pack("!i", 16) + b"EVIL" + b"\0" * 12,
    "of deep JSON": frame(b"[" * 60_000),
    "of no JSON": frame(b"{"),
    "of a type that is not there": frame({"type": "spawn", "parts": []}),
    "with parts that are not there": frame({"type": "outcome", "status": "completed", "parts": [10**12]}),
    "with a header that is longer than itself": struct.pack("!i", 12) + b"HWE1" + struct.pack("!I", 2**31) + b"xxxx",
    "with a second ready": frame({"type": "ready", "pid": 1, "parts": []}),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_that_breaks_the_rules_ends_the_step_alone(attack, name):
    outcome = attack("send_bytes", FRAMES[name].hex(), timeout_seconds=30)
    assert outcome.status == "crashed"
    assert "protocol" in outcome.error.message or outcome.error.type == "ProtocolError", outcome.error
    assert attack("ordinary").unwrap() == 42


def test_half_a_frame_is_no_result(attack):
    outcome = attack("send_bytes", (struct.pack("!i", 5000) + b"HWE1").hex(), timeout_seconds=2)
    assert outcome.status in {"timed_out", "crashed"}
    assert attack("ordinary").unwrap() == 42


def test_a_pickle_bomb_is_stored_and_never_run(attack, tmp_path):
    target = tmp_path / "exploded"
    outcome = attack("pickle_bomb", str(target))
    assert outcome.status == "completed"
    assert outcome.payload.to_bytes()
    assert not target.exists()
    # Handed to another step it goes off there, where it may do what a step may.
    assert attack("ordinary", outcome.payload).status == "failed"
    assert not target.exists()
