"""What is done ahead of a step: modules imported, processes forked, and what is idle let go."""

import logging
import os
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from envs import EnvironmentBroken, capture
from runner import RunnerError, Supervisor, versions, zygote
from runner.child_files import PROGRAM


@pytest.fixture
def imports(deploy):
    return deploy("imports").hash


def wait_until(reached):
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_module_of_a_function_is_imported_before_forking(supervisor, imports):
    seen = supervisor.run(imports, "ahead.where").unwrap()
    assert seen["imported_by"] == seen["zygote"] != seen["pid"]


def test_a_module_that_is_asked_for_later_is_imported_by_a_successor(supervisor, imports):
    first = supervisor.run(imports, "ahead.where").unwrap()
    seen = supervisor.run(imports, "later.where").unwrap()
    assert seen["imported_by"] == seen["pid"]

    def is_ahead():
        seen.update(supervisor.run(imports, "later.where").unwrap())
        return seen["imported_by"] == seen["zygote"]

    wait_until(is_ahead)
    assert seen["zygote"] != first["zygote"]
    wait_until(lambda: not os.path.exists(f"/proc/{first['zygote']}"))
    assert supervisor.run(imports, "ahead.where").unwrap()["imported_by"] == seen["zygote"]


def test_warming_imports_the_modules_of_the_functions_that_are_named(supervisor, imports):
    supervisor.warm(imports, ["ahead.where", "later.where"])
    for module in ("ahead", "later"):
        seen = supervisor.run(imports, f"{module}.where").unwrap()
        assert seen["imported_by"] == seen["zygote"]


def test_a_module_that_starts_threads_is_imported_by_each_step_and_named(supervisor, imports, caplog):
    supervisor.warm(imports, ["ahead.where", "threaded.where"])
    for _ in range(2):
        seen = supervisor.run(imports, "threaded.where").unwrap()
        assert (seen["imported_by"], seen["threads"]) == (seen["pid"], 2)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 1
    assert "importing threaded starts threads" in told[0]
    seen = supervisor.run(imports, "ahead.where").unwrap()
    assert seen["imported_by"] == seen["zygote"]


@pytest.mark.parametrize(
    ("module", "status", "message"),
    [("leaves", "crashed", "exited with code 3"), ("raises", "failed", "no configuration")],
)
def test_a_module_that_cannot_be_imported_fails_its_own_steps_alone(supervisor, imports, module, status, message):
    for _ in range(2):
        outcome = supervisor.run(imports, f"{module}.where")
        assert outcome.status == status
        assert message in outcome.error.message
    assert supervisor.run(imports, "ahead.where").status == "completed"


def test_processes_kept_ready_follow_the_demand(supervisor, deploy, monkeypatch):
    monkeypatch.setattr(zygote, "LESSEN_SECONDS", 0.3)
    faults = deploy("faults").hash
    pid = supervisor.run(faults, "faults.steps.sees").unwrap()["ppid"]
    wait_until(lambda: len(children_of(pid)) == 1)
    futures = [supervisor.submit(faults, "faults.steps.sleeps", [0.5]) for _ in range(4)]
    assert {future.result().status for future in futures} == {"completed"}
    wait_until(lambda: len(children_of(pid)) > 1)
    wait_until(lambda: len(children_of(pid)) == 1)


def test_an_idle_zygote_retires_and_gives_its_environment_back(cache, deploy, monkeypatch):
    monkeypatch.setattr(versions, "TICK_SECONDS", 0.1)
    monkeypatch.setattr(versions, "IDLE_SECONDS", 0.5)
    faults = deploy("faults").hash
    with Supervisor(cache, sandbox="none") as supervisor:
        busy = supervisor.submit(faults, "faults.steps.calls", [time.sleep, 1.5])
        pid = supervisor.run(faults, "faults.steps.sees").unwrap()["ppid"]
        assert busy.result().status == "completed"  # older than that, and not idle
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"))
        assert supervisor.run(faults, "faults.steps.fine", [1]).unwrap() == 1


def test_only_so_many_zygotes_are_kept(cache, deploy, monkeypatch):
    monkeypatch.setattr(versions, "TICK_SECONDS", 0.1)
    monkeypatch.setattr(versions, "MAX_ZYGOTES", 1)
    with Supervisor(cache, sandbox="none") as supervisor:
        pids = []
        for name in ("one", "two"):
            project = deploy("faults", root=name)
            (project.path / "name.txt").write_text(name)
            pids.append(supervisor.run(project.capture(), "faults.steps.sees").unwrap()["ppid"])
        wait_until(lambda: not os.path.exists(f"/proc/{pids[0]}"))
        assert os.path.exists(f"/proc/{pids[1]}")


def test_an_environment_that_was_removed_under_an_idle_version_is_built_again(supervisor, cache, deploy):
    faults = deploy("faults").hash
    assert supervisor.run(faults, "faults.steps.fine", [1]).unwrap() == 1
    shutil.rmtree(Path(cache.root) / "versions")
    assert supervisor.run(faults, "faults.endings.pid_and_parent").status == "completed"
    assert cache.is_ready(faults)


def test_what_a_step_writes_to_a_file_opened_ahead_is_not_lost(supervisor, imports):
    supervisor.warm(imports, ["journal.note"])
    outcome = supervisor.run(imports, "journal.note", ["noted"])
    assert outcome.status == "completed"
    assert outcome.stdout == "noted"


def test_what_steps_hold_does_not_pile_up_while_there_is_no_pause(supervisor, imports):
    supervisor.run(imports, "ahead.where").unwrap()
    with ThreadPoolExecutor(2) as callers:
        list(callers.map(lambda _: supervisor.run(imports, "ahead.where").unwrap(), range(300)))
    # A step holds five; eight processes may be kept ready, and two be on the way.
    assert len(os.listdir("/proc/self/fd")) < 150


def compiled(cache):
    return sorted(Path(cache.root, "child").rglob("*.pyc"))


def test_the_child_program_is_compiled_once_for_each_python(cache, deploy, pythons):
    children = [python for python in pythons if int(python.split(".")[1]) >= 9]
    with Supervisor(cache) as supervisor:
        for python in children:
            version = deploy("imports", python=python, root=python).hash
            assert supervisor.run(version, "ahead.where").status == "completed"
    assert sorted({path.parent.name for path in compiled(cache)}) == sorted(children)
    assert len(compiled(cache)) == len(children) * len(list(PROGRAM.parent.glob("*.py")))


@pytest.mark.parametrize("name", ["bootstrap.pyc", "frames.pyc"])
@pytest.mark.parametrize("damage", [b"", b"\0" * 64, b"half", None])
def test_a_damaged_compiled_program_is_replaced(cache, imports, damage, name):
    with Supervisor(cache) as supervisor:
        supervisor.warm(imports)
    (path,) = (path for path in compiled(cache) if path.name == name)
    whole = path.read_bytes()
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(whole[:100] if damage == b"half" else damage)
    for _ in range(2):
        with Supervisor(cache) as supervisor:
            assert supervisor.run(imports, "ahead.where").status == "completed"
    assert path.read_bytes()[16:] == whole[16:]  # the first 16 have the time of its making


def test_a_cache_that_takes_no_compiled_program_runs_without(cache, imports):
    with cache.lease(imports):
        pass
    Path(cache.root, "child").write_text("in the way")
    with Supervisor(cache) as supervisor:
        assert supervisor.run(imports, "ahead.where").status == "completed"


@pytest.fixture
def waiting(slow, cache, tmp_path):
    """A version whose environment takes until the slow package is open."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(f'[tool.hwe]\npython = "{sys.version_info[0]}.{sys.version_info[1]}"\n')
    (project / "requirements.txt").write_text(slow.lock)
    (project / "steps.py").write_text("def one():\n    return 1\n")
    version = capture(project)
    cache.store.put(version)
    return version.hash


def test_a_build_goes_on_for_as_long_as_any_step_waits_for_it(supervisor, cache, slow, waiting):
    unwanted = [threading.Event() for _ in range(2)]
    steps = [supervisor.submit(waiting, "steps.one", cancelled=event.is_set) for event in unwanted]
    builder = slow.wait_for_builder()
    unwanted[0].set()
    unwanted[1].set()
    assert [step.result().status for step in steps] == ["cancelled"] * 2
    slow.wait_for_no_builder()
    unwanted = [threading.Event() for _ in range(2)]
    steps = [supervisor.submit(waiting, "steps.one", cancelled=event.is_set) for event in unwanted]
    builder = slow.wait_for_builder()
    unwanted[0].set()
    assert steps[0].result().status == "cancelled"
    assert slow.builders() == [builder]
    slow.open()
    assert steps[1].result().unwrap() == 1


def test_closing_ends_what_is_being_built(cache, slow, waiting):
    supervisor = Supervisor(cache, "none")
    step = supervisor.submit(waiting, "steps.one")
    problems = []

    def warm():
        try:
            supervisor.warm(waiting)
        except RunnerError as error:
            problems.append(type(error).__name__)

    thread = threading.Thread(target=warm)
    thread.start()
    slow.wait_for_builder()
    supervisor.close()
    assert step.result().status == "cancelled"
    thread.join()
    assert problems == ["GivenUp"]
    slow.wait_for_no_builder()
    assert os.listdir(Path(cache.root, "layers")) == os.listdir(Path(cache.root, "versions")) == []
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "hwe-build"])


def test_an_environment_that_lost_a_part_is_not_rebuilt_under_the_steps_that_run_in_it(supervisor, cache, deploy):
    faults = deploy("faults").hash
    enough = threading.Event()
    with cache.lease(faults) as environment:
        marker = environment.root / ".hwe-environment.json"
    step = supervisor.submit(faults, "faults.steps.sleeps", [60], cancelled=enough.is_set)
    version = supervisor._versions.get(faults)
    wait_until(lambda: version._users)
    before = os.stat(environment.root).st_ino
    marker.unlink()
    with pytest.raises(EnvironmentBroken, match="in use, so it is not rebuilt"):
        supervisor.run(faults, "faults.steps.fine")
    assert os.stat(environment.root).st_ino == before
    enough.set()
    assert step.result().status == "cancelled"
    wait_until(lambda: not version._users)
    assert supervisor.run(faults, "faults.steps.fine").status == "completed"
    assert marker.exists()
