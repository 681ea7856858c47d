"""What is random in a step repeats in a replay, and differs from step to step."""

import shutil
from pathlib import Path

import pytest

from runner.request import StepContext

LOCK = Path(__file__).parents[2] / "scripts/bench/projects/numpy/requirements.txt"
CONTEXTS = [
    StepContext(run_id="a", step_key="x", attempt=1),
    StepContext(run_id="b", step_key="x", attempt=1),
    StepContext(run_id="a", step_key="y", attempt=1),
    StepContext(run_id="a", step_key="x", attempt=2),
]


def draws(supervisor, version, function="ahead.draw", contexts=CONTEXTS):
    return [supervisor.run(version, function, context=context).unwrap() for context in contexts]


@pytest.mark.parametrize("function", ["ahead.draw", "late.draw"])
def test_the_same_attempt_draws_the_same_and_any_other_draws_something_else(supervisor, deploy, function):
    seeds = deploy("seeds").hash
    first = draws(supervisor, seeds, function)
    assert draws(supervisor, seeds, function) == first
    assert len({str(drawn) for drawn in first}) == len(CONTEXTS)


@pytest.mark.network
def test_numpy_is_seeded_too(supervisor, deploy):
    project = deploy("seeds")
    shutil.copy(LOCK, project.path / "requirements.txt")
    seeds = project.capture()
    first = draws(supervisor, seeds)
    assert draws(supervisor, seeds) == first
    assert len({drawn[1] for drawn in first}) == len(CONTEXTS)
    # Without a run there is nothing to repeat; a fork must not inherit the zygote's state for all that.
    apart = draws(supervisor, seeds, contexts=[StepContext()] * 3)
    assert len({drawn[1] for drawn in apart}) == 3


def test_a_project_can_turn_it_off(supervisor, deploy):
    project = deploy("seeds")
    (project.path / "pyproject.toml").write_text("[tool.hwe]\nseed = false\n")
    seeds = project.capture()
    assert draws(supervisor, seeds) != draws(supervisor, seeds)


def test_hashes_of_strings_repeat(supervisor, deploy):
    seeds = deploy("seeds").hash
    assert len({str(supervisor.run(seeds, "ahead.words").unwrap()) for _ in range(3)}) == 1


def test_a_module_of_the_project_that_is_called_random_is_left_alone(supervisor, deploy):
    project = deploy("seeds")
    (project.path / "random.py").write_text("def random():\n    return 4\n")
    assert draws(supervisor, project.capture(), "ahead.draw") == [[4]] * len(CONTEXTS)
    assert draws(supervisor, project.capture(), "late.draw") == [4] * len(CONTEXTS)
