"""The ledger's part of ctx: variables and parts, written only by who drives the run."""

import json
import threading

import pytest

from runner.body import Body
from runner.calls import Call, CallRefused
from runner.definition import load_definition
from runner.ledger import Fenced, Ledger
from runner.payload import Payload
from runner.step_context import MAX_VARIABLE_BYTES, StepCalls
from runner.values import Values

TASK = {"operator_type": "task", "function": "tools.python.run", "args": ["m.f"], "task_id": "a"}
DEFINITION = load_definition(json.dumps({"name": "demo", "tasks": {"a": TASK}}), source_name="demo")


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(f"sqlite:///{tmp_path}/hwe.sqlite") as ledger:
        ledger.store_code_version(
            "ab" * 32, artifact_id="cd" * 32, project="demo", python=None, size_bytes=1, manifest_json="{}"
        )
        ledger.create_run("run-1", DEFINITION, code_version_hash="ab" * 32, policy="warn", input={})
        yield ledger


@pytest.fixture
def driven(ledger, tmp_path):
    """The calls of a step under a new epoch, which ends the one before."""

    def driven(attempt=1, step_key="a"):
        epoch = ledger.claim("run-1", "driver")
        return StepCalls(ledger, Values(tmp_path / "values"), "run-1", epoch, step_key, attempt, {"given": 1})

    return driven


def call(calls, asked, payload=None, /, **arguments):
    return calls(Call(asked, arguments, payload))


def get(calls, name):
    return call(calls, "get_variable", name=name).value


def payload(data):
    return Payload(Body.of([data]), "3.12.1")


def test_the_last_value_counts_and_all_are_kept(driven, ledger):
    calls = driven()
    assert (get(calls, "given"), get(calls, "x")) == ([True, 1], [False, None])
    for value in (1, {"a": [None]}, "\ud800"):
        call(calls, "set_variable", name="x", value=value)
    call(calls, "set_variable", name="given", value=None)
    assert (get(calls, "given"), get(calls, "x")) == ([True, None], [True, "\ud800"])
    assert list(ledger.contexts.variables("run-1")) == ["x", "given"]


def test_who_was_fenced_off_sets_nothing_and_records_nothing(driven):
    former, current = driven(), driven()
    with pytest.raises(Fenced):
        call(former, "set_variable", name="x", value=1)
    with pytest.raises(Fenced):
        call(former, "record_step", payload(b"former"), name="part")
    assert get(current, "x") == [False, None]
    assert call(current, "step", name="part").payload is None


def test_a_part_is_recorded_once_for_all_attempts_of_its_step(driven):
    call(driven(attempt=1), "record_step", payload(b"first"), name="part")
    second = driven(attempt=2)
    call(second, "record_step", payload(b"second"), name="part")
    assert bytes(call(second, "step", name="part").payload.body.view()) == b"first"
    assert call(driven(step_key="b"), "step", name="part").payload is None


def test_a_cancelled_run_takes_nothing_more(driven, ledger):
    calls = driven()
    ledger.cancel("run-1")
    with pytest.raises(Fenced):
        call(calls, "set_variable", name="x", value=1)


@pytest.mark.parametrize(
    ("asked", "arguments", "message"),
    [
        ("get_variable", {}, "needs a name"),
        ("get_variable", {"name": 7}, "needs a name"),
        ("set_variable", {"name": "x" * 201}, "needs a name of 1 to 200"),
        ("set_variable", {"name": "x", "value": "y" * MAX_VARIABLE_BYTES}, "over the limit"),
        ("emit_event", {"name": "x"}, "not known to this worker"),
        ("record_step", {"name": "x"}, "not known to this worker"),
    ],
)
def test_what_cannot_be_is_refused(driven, asked, arguments, message):
    with pytest.raises(CallRefused, match=message):
        call(driven(), asked, **arguments)


def test_what_is_recorded_of_a_run_is_of_one_moment(driven, ledger):
    call(driven(), "set_variable", name="x", value=1)
    with ledger.snapshot():
        before = ledger.run("run-1").epoch
        writes = threading.Thread(target=lambda: call(driven(attempt=2), "set_variable", name="x", value=2))
        writes.start()
        writes.join()
        assert ledger.run("run-1").epoch == before
        assert ledger.contexts.variables("run-1") == {"x": 1}
    recorded = ledger.recorded("run-1")
    assert recorded.run.epoch == before + 1
    assert [(given.name, given.value, given.step_key) for given in recorded.variables] == [("x", 1, "a"), ("x", 2, "a")]
