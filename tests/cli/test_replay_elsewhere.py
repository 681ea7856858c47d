"""The small edition of scripts/bench/replays.py: runs that are recorded here come out the same elsewhere."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench" / "replays.py"


@pytest.mark.slow
@pytest.mark.network
def test_runs_with_random_inputs_replay_the_same_for_another_user_without_network_and_cache(monkeypatch):
    monkeypatch.setenv("HWE_HOME", "")  # which the script sets, and which is as it was when the test ends
    spec = importlib.util.spec_from_file_location("replays", SCRIPT)
    replays = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(replays)
    told = replays.measure(12)
    assert told["verdicts"] == {"same": 12}, told["different"]
    assert told["steps"] > 30
