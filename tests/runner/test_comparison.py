"""How a replay compares values: the child's program, as it is loaded there."""

import functools
import operator
import pickle
import re
import runpy
from pathlib import Path

import pytest

from runner import child

differences = runpy.run_path(str(Path(child.__path__[0]) / "comparison.py"))["differences"]


class Thing:
    """Equal to itself alone, like most objects."""

    def __init__(self, value):
        self.value = value


NAN = float("nan")
SHARED = "a text"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({Thing(1), Thing(2)}, {Thing(2), Thing(1)}),
        ({Thing(1): "x"}, {Thing(1): "x"}),
        ({NAN, 1.0}, {float("nan"), 1.0}),
        (functools.partial(max, Thing(1)), functools.partial(max, Thing(1))),
        (functools.partial(max, SHARED, SHARED), functools.partial(max, SHARED, "".join(list(SHARED)))),
        (operator.itemgetter(1, 2), operator.itemgetter(1, 2)),
        (re.compile("a"), re.compile("a")),
        (ValueError("no", 1), ValueError("no", 1)),
    ],
)
def test_what_is_alike_is_no_difference(old, new):
    assert differences(old, pickle.loads(pickle.dumps(new)), 0.0) == []


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ({Thing(1), Thing(2)}, {Thing(1), Thing(3)}, "result{"),
        ({Thing(1): "x"}, {Thing(1): "y"}, "result["),
        (functools.partial(max, 1), functools.partial(max, 2), "result.__reduce__()"),
        (functools.partial(max, 1), functools.partial(min, 1), "result.__reduce__()"),
        (operator.itemgetter(1), operator.itemgetter(2), "result.__reduce__()"),
        (re.compile("a"), re.compile("b"), "result.__reduce__()"),
        (ValueError("no", 1), ValueError("no", 2), "result.args[1]"),
    ],
)
def test_what_differs_is_told_with_its_path(old, new, where):
    found = differences(old, new, 0.0)
    assert found
    assert found[0]["path"].startswith(where)
