"""A step reaches no process but its own, and none of its own outlives it."""

import os
import signal
import subprocess
import sys
import time

import pytest


@pytest.fixture
def victim():
    """A process of the same user, outside."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    yield process
    process.kill()
    process.wait()


def pids_with(mark):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if mark.encode() in file.read().split(b"\0"):
                    found.append(int(pid))
        except OSError:
            pass
    return found


@pytest.mark.parametrize("number", [0, signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP])
def test_no_signal_leaves_the_step(attack, victim, number):
    attack.refused("kill", victim.pid, int(number))
    assert victim.poll() is None


@pytest.mark.parametrize("how", ["kill_group", "signal_by_pidfd", "take_descriptor"])
def test_no_other_way_reaches_a_process_outside(attack, victim, how):
    attack.refused(how, victim.pid)
    assert victim.poll() is None


@pytest.mark.parametrize("how", ["ptrace", "read_memory", "list_descriptors", "oom_score"])
def test_the_worker_cannot_be_looked_into(attack, how):
    attack.refused(how, os.getpid())


@pytest.mark.parametrize("name", ["environ", "mem", "maps", "auxv", "cwd", "root/etc/hostname"])
def test_the_workers_environ_and_memory_cannot_be_read(attack, name):
    attack.refused("read_proc", os.getpid(), name)


@pytest.mark.parametrize("how", ["limit_other", "renice"])
def test_other_processes_cannot_be_starved(attack, victim, how):
    attack.refused(how, victim.pid)
    assert os.getpriority(os.PRIO_PROCESS, victim.pid) == os.getpriority(os.PRIO_PROCESS, 0)


def test_the_zygote_survives_its_steps(attack):
    attack.refused("kill_parent")
    parent = attack.supervisor.run(attack.hash, "os.getppid").unwrap()
    assert attack.supervisor.run(attack.hash, "os.getppid").unwrap() == parent


def test_a_signal_to_all_reaches_nobody_not_even_siblings(attack):
    received = []
    before = signal.signal(signal.SIGURG, lambda *_: received.append(1))
    try:
        running = attack.start("endure")
        time.sleep(1)
        assert attack("kill_everything").status == "completed"
        assert running.result().unwrap() == 0
    finally:
        signal.signal(signal.SIGURG, before)
    assert received == []


@pytest.mark.parametrize("how", ["new_session", "new_group", "subprocess_new_session", "clear_death_signal"])
def test_the_ways_out_of_the_process_group_are_closed(attack, how):
    attack.refused(how)


@pytest.mark.parametrize("how", ["", "setsid", "setpgid"])
def test_a_daemon_does_not_outlive_its_step(attack, tmp_path, how):
    mark = f"{tmp_path}-daemon"
    assert attack("escape", mark, how).unwrap() == "left"
    assert pids_with(mark) == []


def test_a_process_that_changes_its_pid_all_the_time_does_not_outlive_its_step(attack, tmp_path):
    mark = f"{tmp_path}-rotating"
    assert attack("rotate", mark).status == "completed"
    time.sleep(0.2)
    assert pids_with(mark) == []


def test_ignoring_sigterm_is_of_no_use(attack):
    began = time.monotonic()
    outcome = attack("ignore_sigterm", timeout_seconds=0.5)
    assert (outcome.status, outcome.exit_signal) == ("timed_out", signal.SIGKILL)
    assert time.monotonic() - began < 20
