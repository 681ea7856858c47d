"""How a replay compares values: the child's program, on every Python that runs it."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import cloudpickle
import compared_values
import pytest

from envs import find_interpreters
from runner import child

CHILD, CLOUDPICKLE = (str(Path(package.__path__[0]).parent) for package in (child, cloudpickle))


def judged(python, *suites):
    """How many pairs were compared, and which of them wrongly."""
    command = [python, "-W", "error", compared_values.__file__, CHILD, CLOUDPICKLE, *suites]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    return told["pairs"], told["wrong"]


@pytest.mark.parametrize("python", ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
def test_what_pickle_keeps_is_compared_and_nothing_else(pythons, python):
    if python not in pythons:
        pytest.skip(f"Python {python} is not installed on this machine (found: {', '.join(pythons)})")
    found = next(one for one in find_interpreters() if one.version.startswith(f"{python}."))
    pairs, wrong = judged(found.path, "pairs", "tolerated")
    assert wrong == []
    assert pairs > 200


@pytest.mark.parametrize("suites", [["arrays", "tolerated_arrays"], ["frames"]])
def test_arrays_and_frames_are_compared_by_their_contents(missing, suites):
    if importlib.util.find_spec("pandas") is None:
        missing("THE COMPARISON OF ARRAYS AND FRAMES IS NOT TESTED: no pandas; run: make extras")
    pairs, wrong = judged(sys.executable, *suites)
    assert wrong == []
    assert pairs > 30
