"""ctx: what a step may ask of its run while it runs."""

import time

import pytest

from runner.calls import Call, CallRefused, Reply, answer_frame, read_call
from runner.errors import ProtocolError
from runner.request import StepContext, with_values
from runner.wire import decode, encode


@pytest.fixture
def parts(deploy):
    return deploy("context").hash


class Memory:
    """Answers as a ledger does, in a dict."""

    def __init__(self):
        self.variables, self.recorded, self.calls = {}, {}, []

    def __call__(self, call):
        self.calls.append(call.name)
        name = call.arguments["name"]
        match call.name:
            case "get_variable":
                return Reply([name in self.variables, self.variables.get(name)])
            case "set_variable":
                self.variables[name] = call.arguments["value"]
            case "step":
                return Reply(payload=self.recorded.get(name))
            case "record_step":
                self.recorded[name] = call.payload
        return Reply()


def run(supervisor, version, function, *args, answer):
    request = with_values(function, args, {}, StepContext(step_key="a", code_version_hash=version))
    return supervisor.perform(version, request, answer=answer)


def test_a_part_that_is_recorded_is_not_done_again(supervisor, parts, tmp_path):
    memory, gate = Memory(), tmp_path / "gate"
    gate.touch()
    for _ in range(3):
        outcome = run(supervisor, parts, "parts.charge", str(tmp_path / "mark"), str(gate), answer=memory)
        assert outcome.value == [1, 2]
    assert (tmp_path / "mark").read_text() == "xx"
    assert sorted(memory.recorded) == ["charge", "charge#2"]


def test_variables(supervisor, parts):
    memory = Memory()
    memory.variables["total"] = 40
    assert run(supervisor, parts, "parts.count", 2, answer=memory).value == 42
    assert memory.variables == {"total": 42, "seen": ["a"]}


def test_large_parts_pass_in_memory(supervisor, parts):
    memory = Memory()
    for _ in range(2):
        assert run(supervisor, parts, "parts.large", 300_000, answer=memory).value == [300_000] * 2
    assert memory.recorded["text"].size > 300_000


def test_threads_of_a_step_may_ask_at_the_same_time(supervisor, parts):
    assert run(supervisor, parts, "parts.many", 50, answer=Memory()).value == list(range(50))


def test_a_short_sleep(supervisor, parts):
    assert supervisor.run(parts, "parts.naps").value == "rested"


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("sleep", "ValueError: ctx.sleep(3600) would hold a process for that long: write a wait operator"),
        ("object", "TypeError: variable 'x' is given a Receipt: variables are JSON"),
        ("nan key", "TypeError: variable 'x' is given a dict"),
        ("coroutine", "TypeError: ctx.step('c') got a coroutine function"),
        ("lock", "ResultNotPicklable: the result cannot be pickled: result is a generator"),
        ("db", "ContextUnavailable: ctx.db_connection is not available in a step process: a connection cannot cross"),
        ("event", "ContextUnavailable: ctx.wait_for_event is not available in a step process: events are operators"),
    ],
)
def test_what_cannot_be_says_what_to_do(supervisor, parts, what, message):
    assert run(supervisor, parts, "parts.tries", what, answer=Memory()).value.startswith(message)


@pytest.mark.parametrize("what", ["get", "step"])
def test_a_step_without_a_run_is_told_so(supervisor, parts, what):
    assert "needs a run, and this step runs by itself" in supervisor.run(parts, "parts.tries", [what]).value


def test_a_ledger_that_cannot_answer_ends_the_step(supervisor, parts):
    class Unreachable(Exception):
        pass

    def answer(call):
        raise Unreachable

    with pytest.raises(Unreachable):
        run(supervisor, parts, "parts.tries", "get", answer=answer)
    assert supervisor.run(parts, "parts.text", [3]).value == "xxx"


def test_a_call_and_its_reply_are_frames():
    header = {"type": "call", "call": "get_variable", "arguments": 0}
    call = read_call(decode(encode(header, [b'{"name": "x"}'])), [])
    assert call == Call("get_variable", {"name": "x"})
    frame, memories = answer_frame(lambda _: Reply([True, 1]), call)
    assert (bytes(decode(frame).parts[0]), memories) == (b"[true, 1]", ())

    def refuse(_):
        raise CallRefused("no")

    assert decode(answer_frame(refuse, call)[0]).header["refused"] == "no"


@pytest.mark.parametrize(
    ("header", "parts"),
    [
        ({"call": "x"}, [b"{}"]),
        ({"call": "x", "arguments": 1}, [b"{}"]),
        ({"call": "x", "arguments": 0}, [b"[" * 100_000]),
        ({"call": "x", "arguments": 0}, [b"[]"]),
        ({"call": 1, "arguments": 0}, [b"{}"]),
        ({"arguments": 0}, [b"{}"]),
        ({"call": "x", "arguments": 0, "body": 7}, [b"{}"]),
    ],
)
def test_a_call_that_is_none_is_refused(header, parts):
    with pytest.raises(ProtocolError):
        read_call(decode(encode({"type": "call", **header}, parts)), [])


def test_a_step_that_dies_while_it_asks_is_not_run_again(supervisor, parts, tmp_path):
    def answer(call):
        time.sleep(0.4)
        return Reply([False, None])

    outcome = run(supervisor, parts, "parts.dies_asking", str(tmp_path / "mark"), answer=answer)
    assert (outcome.status, outcome.exit_code) == ("crashed", 7)
    assert (tmp_path / "mark").read_text() == "x"


def test_a_thread_that_still_asks_when_the_step_returns_harms_nothing(supervisor, parts, tmp_path):
    for _ in range(5):
        outcome = run(supervisor, parts, "parts.leaves_an_asker", str(tmp_path / "mark"), answer=Memory())
        assert outcome.status == "completed", outcome.error
    assert (tmp_path / "mark").read_text() == "xxxxx"


def test_a_reply_whose_caller_was_interrupted_goes_to_nobody_else(supervisor, parts):
    def answer(call):
        if call.arguments["name"] == "slow":
            time.sleep(0.5)
        return Reply([True, call.arguments["name"].upper()])

    assert run(supervisor, parts, "parts.interrupted", answer=answer).value == ["A", "B"]


def test_a_forked_child_cannot_ask(supervisor, parts):
    outcome = run(supervisor, parts, "parts.asks_in_a_fork", answer=Memory())
    assert outcome.value == "ContextUnavailable: a process that the step has forked cannot ask anything of the run"


def test_a_part_that_failed_is_done_under_its_own_name(supervisor, parts, tmp_path):
    memory = Memory()
    for _ in range(2):
        outcome = run(supervisor, parts, "parts.tries_again", str(tmp_path / "mark"), answer=memory)
        assert outcome.value == "done"
    assert (tmp_path / "mark").read_text() == "xx"  # one failed, one did not; the second time neither
    assert list(memory.recorded) == ["charge"]


def test_names_with_numbers_are_names_of_their_own(supervisor, parts):
    assert run(supervisor, parts, "parts.numbered", answer=Memory()).value == [1, 2, 3]


def test_a_flood_of_calls_ends_in_time(supervisor, parts):
    request = with_values("parts.floods", (), {}, StepContext(step_key="a", code_version_hash=parts))
    started = time.monotonic()
    outcome = supervisor.perform(parts, request, timeout_seconds=0.5, answer=lambda _: Reply("x" * 1_000_000))
    assert outcome.status in {"timed_out", "crashed"}
    assert time.monotonic() - started < 10
