"""Calls that are made at the same time: their order, their errors, and what is left when nobody wants the rest."""

import threading

import pytest

from runner.side_by_side import side_by_side

WAIT_SECONDS = 20


def never():
    raise AssertionError("nothing went wrong")


@pytest.mark.parametrize("jobs", [1, 2, 7])
def test_results_come_in_order(jobs):
    assert list(side_by_side(lambda number: -number, range(50), jobs, give_up=never)) == [-n for n in range(50)]


def test_the_first_may_wait_for_the_second():
    second = threading.Event()

    def call(number):
        if number == 0:
            return second.wait(WAIT_SECONDS)
        second.set()
        return number

    assert list(side_by_side(call, [0, 1], 2, give_up=never)) == [True, 1]


def test_of_many_items_few_are_begun_ahead_of_one_that_takes_long():
    gate, begun = threading.Event(), []

    def call(number):
        begun.append(number)
        return number or gate.wait(WAIT_SECONDS)

    results = side_by_side(call, range(1000), 2, give_up=never)
    threading.Timer(0.2, gate.set).start()
    next(results)
    assert len(begun) < 20
    assert sum(results) == sum(range(1000))


@pytest.mark.parametrize("ends", ["an error", "nobody wants the rest"])
def test_calls_in_progress_are_given_up(ends):
    given_up, running = threading.Event(), threading.Event()

    def call(number):
        if number == 0:
            running.wait(WAIT_SECONDS)
            if ends == "an error":
                raise ValueError("no")
            return number
        running.set()
        assert given_up.wait(WAIT_SECONDS)
        return number

    results = side_by_side(call, range(3), 2, give_up=given_up.set)
    if ends == "an error":
        with pytest.raises(ValueError, match="no"):
            next(results)
    else:
        assert next(results) == 0
        results.close()
    assert given_up.is_set()
