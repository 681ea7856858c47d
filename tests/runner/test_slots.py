"""Turns: however much one version asks for, or is stuck, the others run."""

import threading
import time

import pytest

from runner import Supervisor
from runner.slots import FairSlots, Lanes


def never():
    return False


def wait_until(reached):
    deadline = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_lines_are_served_in_turn_and_each_in_its_order():
    slots, served, threads = FairSlots(1), [], []

    def take(name):
        with slots.one(name[0], never) as got:
            assert got
            served.append(name)

    with slots.one("holder", never):
        for name in ("a1", "a2", "a3", "b1", "c1", "c2"):
            threads.append(threading.Thread(target=take, args=(name,)))
            threads[-1].start()
            wait_until(lambda: sum(map(len, slots._lines.values())) == len(threads))
    for thread in threads:
        thread.join(10)
    assert served == ["a1", "b1", "c1", "a2", "c2", "a3"]
    assert slots._free == 1


def test_who_gives_up_leaves_the_line_and_loses_no_slot():
    slots = FairSlots(1)
    with slots.one("a", never), slots.one("b", lambda: True) as got:
        assert not got
    assert slots._free == 1
    assert not slots._lines


def test_a_stuck_lane_holds_up_no_other():
    lanes, gate = Lanes(2), threading.Event()
    stuck = [lanes.submit("stuck", gate.wait) for _ in range(5)]
    assert lanes.submit("other", lambda: 7).result(10) == 7
    assert not any(future.done() for future in stuck)
    gate.set()
    assert all(future.result(10) for future in stuck)
    wait_until(lambda: not lanes._threads)


def test_closing_cancels_what_waits_and_waits_for_what_runs():
    lanes, gate = Lanes(1), threading.Event()
    runs, waits = lanes.submit("a", gate.wait), lanes.submit("a", gate.wait)
    wait_until(runs.running)
    threading.Timer(0.1, gate.set).start()
    lanes.close()
    assert runs.result(0)
    assert waits.cancelled()


def test_an_error_is_the_futures():
    with pytest.raises(ZeroDivisionError):
        Lanes(1).submit("a", lambda: 1 // 0).result(10)


@pytest.mark.timeout(120)
def test_building_one_version_delays_no_step_of_another(deploy, cache, monkeypatch):
    ready, slow = deploy("imports").hash, deploy("faults").hash
    lease, building, gate = cache.lease, threading.Event(), threading.Event()

    def lease_slowly(code_version_hash, **options):
        if code_version_hash == slow:
            building.set()
            assert gate.wait(60)
        return lease(code_version_hash, **options)

    monkeypatch.setattr(cache, "lease", lease_slowly)
    with Supervisor(cache, slots=2) as supervisor:
        behind = [supervisor.submit(slow, "faults.steps.fine", [index]) for index in range(8)]
        assert building.wait(10)
        for _ in range(3):
            assert supervisor.submit(ready, "ahead.where").result(30).status == "completed"
        assert not any(future.done() for future in behind)
        gate.set()
        assert [future.result(60).unwrap() for future in behind] == list(range(8))


def test_a_step_that_waits_for_its_turn_can_be_cancelled(deploy, cache):
    faults = deploy("faults").hash
    with Supervisor(cache, slots=1) as supervisor:
        holder = supervisor.submit(faults, "faults.steps.sleeps", [3])
        wait_until(lambda: supervisor._slots._free == 0)
        outcome = supervisor.run(faults, "faults.steps.fine", [1], cancelled=lambda: True)
        assert outcome.status == "cancelled"
        assert holder.result(30).status == "completed"
