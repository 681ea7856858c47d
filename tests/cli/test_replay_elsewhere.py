"""The small editions of scripts/bench/replays.py and checks.py: what is recorded here comes out the same elsewhere."""

import importlib
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts" / "bench"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setenv("HWE_HOME", "")  # which the scripts set, and which is as it was when the test ends
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module


@pytest.mark.slow
@pytest.mark.network
def test_runs_with_random_inputs_replay_the_same_for_another_user_without_network_and_cache(script):
    told = script("replays").measure(12)
    assert told["verdicts"] == {"same": 12}, told["different"]
    assert told["steps"] > 30


@pytest.mark.slow
@pytest.mark.network
def test_many_runs_in_flight_get_the_same_verdict(script):
    told = script("checks").measure(6)
    assert [one["verdicts"] for one in told.values()] == [{"compatible": 6}, {"signature": 6}, {"compatible": 6}]
