"""Nothing outlives its supervisor, however either of them ends, and a start that hangs holds nobody up."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runner import Supervisor
from runner.warden import Warden, is_supported

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="WARDEN NOT TESTED: it is of Linux")


def processes_with(mark):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if mark.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def wait_until(reached, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def gone(pids):
    return not any(os.path.exists(f"/proc/{pid}/exe") for pid in pids)


@contextlib.contextmanager
def worker_with(*command):
    with subprocess.Popen(command) as worker:
        try:
            yield worker
        finally:
            worker.kill()


@pytest.fixture
def imports(deploy):
    return deploy("imports").hash


@pytest.fixture
def family(supervisor, imports):
    """The (warden, zygote) of a supervisor, which are the same for all its steps."""
    supervisor.warm(imports, ["ahead.where"])
    zygote = supervisor.run(imports, "ahead.where").unwrap()["zygote"]
    return parent_of(zygote), zygote


def test_zygotes_are_started_by_a_process_of_one_thread_that_knows_no_secrets(family, monkeypatch):
    warden, _ = family
    assert parent_of(warden) == os.getpid()
    assert os.listdir(f"/proc/{warden}/task") == [str(warden)]
    assert Path(f"/proc/{warden}/environ").read_bytes() == b""
    assert Path(f"/proc/{warden}/cmdline").read_bytes().split(b"\0")[4].endswith(b"/runner/child/warden.py")


def test_versions_share_one_warden(supervisor, family, deploy):
    other = supervisor.run(deploy("faults").hash, "faults.steps.sees").unwrap()["ppid"]
    assert parent_of(other) == family[0]
    assert other != family[1]


def open_files(pid):
    """What is open, by path. Some are open for a moment only, and closed before they can be told."""
    files = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            files.add(os.readlink(path))
    assert files
    return files


def test_nothing_of_the_worker_is_open_in_a_warden_or_a_zygote(supervisor, family, imports, tmp_path):
    with open(tmp_path / "secret", "w") as secret:
        os.set_inheritable(secret.fileno(), True)
        os.kill(family[0], signal.SIGKILL)
        wait_until(lambda: gone(family))
        zygote = supervisor.run(imports, "ahead.where").unwrap()["zygote"]
        for pid in (zygote, parent_of(zygote)):
            assert str(tmp_path / "secret") not in open_files(pid)


def test_when_a_zygote_is_killed_what_its_steps_started_dies_too(supervisor, deploy, tmp_path):
    faults, mark = deploy("faults").hash, f"mark-{tmp_path}"
    running = supervisor.submit(faults, "faults.endings.leaves_a_session_of_its_own", [mark])
    wait_until(lambda: processes_with(mark))
    [started] = processes_with(mark)
    os.kill(parent_of(parent_of(started)), signal.SIGKILL)
    wait_until(lambda: gone([started]), 1.0)
    assert running.result().status == "crashed"
    assert supervisor.run(faults, "faults.steps.fine", [1]).unwrap() == 1


def test_when_the_warden_is_killed_all_below_dies_and_the_next_step_has_another(supervisor, family, imports):
    running = supervisor.submit(imports, "time.sleep", [600])
    wait_until(lambda: len(children_of(family[1])) > 1)
    below = [family[1], *children_of(family[1])]
    os.kill(family[0], signal.SIGKILL)
    wait_until(lambda: gone(below), 1.0)
    assert running.result().status == "crashed"
    zygote = supervisor.run(imports, "ahead.where").unwrap()["zygote"]
    assert parent_of(zygote) not in (family[0], os.getpid())


def children_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


HANGING = """
import sys
from envs import EnvCache, open_store
from runner import Supervisor
from runner.warden import Warden
store, cache, version, mark = sys.argv[1:]
Supervisor(EnvCache(cache, open_store(store)), sandbox="none", variables={"HWE_TEST_MARK": mark}).run(
    version, "hangs.where")
"""


def test_when_the_supervisor_is_killed_a_zygote_that_still_imports_dies_with_all_it_started(
    cache, store, imports, tmp_path
):
    mark = f"mark-{tmp_path}"
    with worker_with(sys.executable, "-c", HANGING, store.location, cache.root, imports, mark) as worker:
        wait_until(lambda: left_by_the_module(mark))
        below = family_of(worker)
        assert len(below) == 2
        below += left_by_the_module(mark)
        worker.kill()
        wait_until(lambda: gone(below), 1.0)


def left_by_the_module(mark):
    return [pid for pid in processes_with(mark) if b"time.sleep(300)" in cmdline(pid)]


def family_of(worker):
    """Its warden and that one's zygotes."""
    [warden] = [pid for pid in children_of(worker.pid) if b"/warden.py" in cmdline(pid)]
    return [warden, *children_of(warden)]


def cmdline(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_fork_of_the_host_keeps_nothing_alive(cache, store, imports, tmp_path):
    mark = f"mark-{tmp_path}"
    program = f"import os, threading, time\nthreading.Timer(1, lambda: os.fork() or time.sleep(60)).start()\n{HANGING}"
    command = [sys.executable, "-W", "ignore", "-c", program, store.location, cache.root, imports, mark]
    with worker_with(*command) as worker:
        wait_until(lambda: left_by_the_module(mark) and len(children_of(worker.pid)) == 2)
        below = family_of(worker)
        [forked] = [pid for pid in children_of(worker.pid) if pid not in below]
        worker.kill()
        try:
            wait_until(lambda: gone(below), 1.0)
        finally:
            os.kill(forked, signal.SIGKILL)


def test_a_module_that_hangs_on_import_times_out_and_harms_no_other_step(supervisor, imports):
    for _ in range(2):
        began = time.monotonic()
        outcome = supervisor.run(imports, "hangs.where", timeout_seconds=1)
        assert outcome.status == "timed_out"
        assert 1 <= outcome.usage.wall_seconds < 10
        assert time.monotonic() - began < 10
    assert supervisor.run(imports, "ahead.where", timeout_seconds=30).status == "completed"


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_a_module_that_hangs_on_import_can_be_given_up(cache, imports, how):
    cancelled = threading.Event()
    with Supervisor(cache, sandbox="none") as supervisor:
        calls = [
            supervisor.submit(imports, function, cancelled=cancelled.is_set)
            for function in ("hangs.where", "ahead.where")  # the second waits for the first
        ]
        time.sleep(1)
        began = time.monotonic()
        cancelled.set() if how == "cancel" else supervisor.close()
        assert [call.result(20).status for call in calls] == ["cancelled", "cancelled"]
        assert time.monotonic() - began < 5


def test_on_an_old_kernel_steps_run_without_a_warden(cache, imports, monkeypatch):
    def no_such_call(pid):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", no_such_call)
    is_supported.cache_clear()
    try:
        with Supervisor(cache, sandbox="process") as supervisor:
            zygote = supervisor.run(imports, "ahead.where").unwrap()["zygote"]
            assert parent_of(zygote) == os.getpid()
            outcome = supervisor.run(imports, "time.sleep", [600], timeout_seconds=0.3)
            assert outcome.status == "timed_out"
        wait_until(lambda: gone([zygote]))
    finally:
        is_supported.cache_clear()


def test_a_program_that_cannot_be_started_is_told_and_the_next_one_starts(tmp_path):
    warden = Warden()
    with contextlib.closing(warden), open(tmp_path / "log", "w+b") as output:
        start = functools.partial(warden.start, environment={"A": "b"}, directory=tmp_path, output=output)
        with pytest.raises(OSError, match="No such file"):
            start(["/nonexistent"], pass_fds=[])
        with pytest.raises(OSError, match="No such file"):
            warden.start(["/bin/sh"], environment={}, directory=tmp_path / "gone", pass_fds=[], output=output)
        read_end, write_end = os.pipe()
        program = start(
            ["/bin/sh", "-c", f"ls /proc/$$/fd; env; pwd; echo > /proc/self/fd/{write_end}; exec sleep 60"],
            pass_fds=[write_end],
        )
        os.close(write_end)
        assert os.read(read_end, 10) == b"\n"
        assert program.alive
        program.kill()
        assert program.wait(5)
        assert not program.alive
        program.close()
        os.close(read_end)
        output.seek(0)
        told = output.read().decode().split()
        assert set(told) >= {"0", "1", "2", str(write_end), "A=b", str(tmp_path)}
        assert len([word for word in told if word.isdigit()]) == 4
