"""Steps, and every way they end, on real processes."""

import os
import subprocess
import sys
import threading
import time

import pytest

from runner import OpaqueValue, StepFailed, Supervisor, SupervisorClosed, UsageError
from runner.payload import Payload


@pytest.fixture
def faults(deploy):
    return deploy("faults").hash


def processes_with(mark):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if mark.encode() in file.read().split(b"\0"):
                    found.append(int(pid))
        except OSError:
            pass
    return found


def test_every_step_runs_in_a_process_of_its_own(supervisor, faults):
    first = supervisor.run(faults, "faults.steps.sees").unwrap()
    second = supervisor.run(faults, "faults.steps.sees").unwrap()
    assert first["pid"] != second["pid"]
    assert os.getpid() not in {first["pid"], first["ppid"]}
    assert first["ppid"] == second["ppid"]


def test_a_class_instance_passes_between_steps_without_being_opened(supervisor, faults):
    boxed = supervisor.run(faults, "faults.steps.boxed", [{"a": 1}])
    assert isinstance(boxed.payload, Payload)
    with pytest.raises(OpaqueValue):
        _ = boxed.value
    assert supervisor.run(faults, "faults.steps.unboxed", [boxed.payload]).unwrap() == {"a": 1}
    nested = supervisor.run(faults, "faults.steps.fine", [{"inside": [boxed.payload]}])
    assert nested.status == "completed"


def test_lambdas_are_state_too(supervisor, faults):
    function = supervisor.run(faults, "faults.steps.returns_lambda")
    assert supervisor.run(faults, "faults.steps.calls", [function.payload, 4]).unwrap() == 5


def test_the_supervisor_never_unpickles_what_a_child_sent(supervisor, faults):
    # Loading these bytes raises; storing, hashing and passing them on does not.
    outcome = supervisor.run(faults, "faults.steps.returns_unloadable")
    assert outcome.status == "completed"
    again = Payload.from_bytes(outcome.payload.to_bytes())
    assert again == outcome.payload
    used = supervisor.run(faults, "faults.steps.fine", [outcome.payload])
    assert used.status == "failed"
    assert used.error.type == "ArgumentNotLoadable"


@pytest.mark.parametrize(
    ("function", "args", "kind", "message"),
    [
        ("raises_own_init", [], "NeedsTwo", "two"),
        ("raises_hostile", [], "Hostile", "cannot be shown"),
        ("raises_cycle", [], "ValueError", "a"),
        ("exits", [0], "SystemExit", "0"),
        ("exits", ["text"], "SystemExit", "text"),
        ("recurses", [], "RecursionError", "recursion"),
        ("returns_generator_inside", [], "ResultNotPicklable", r"result['rows'][1] is a generator"),
        ("fien", [], "FunctionNotFound", "did you mean fine"),
        ("fine", [1, 2, 3], "TypeError", "positional argument"),
    ],
)
def test_what_a_step_raises_is_told_as_plain_data(supervisor, faults, function, args, kind, message):
    outcome = supervisor.run(faults, f"faults.steps.{function}", args)
    assert outcome.status == "failed"
    assert outcome.error.type == kind
    assert message in outcome.error.message
    with pytest.raises(StepFailed) as failure:
        outcome.unwrap()
    assert failure.value.outcome is outcome
    assert supervisor.run(faults, "faults.steps.fine", [1]).unwrap() == 1


def test_causes_are_kept(supervisor, faults):
    error = supervisor.run(faults, "faults.steps.raises_chained").error
    assert (error.type, error.cause.type) == ("ValueError", "KeyError")
    assert "raises_chained" in error.traceback
    assert "<hwe" not in error.traceback
    assert "step.py" not in error.traceback


@pytest.mark.parametrize(
    ("function", "args", "exit_code", "exit_signal"),
    [
        ("leaves", [0], 0, None),
        ("leaves", [7], 7, None),
        ("crashes", [], None, 11),
        ("kills_itself", [], None, 9),
    ],
)
def test_a_crash_is_told_apart(supervisor, faults, function, args, exit_code, exit_signal):
    outcome = supervisor.run(faults, f"faults.steps.{function}", args)
    assert (outcome.status, outcome.exit_code, outcome.exit_signal) == ("crashed", exit_code, exit_signal)
    if function == "crashes":
        assert "in crashes" in outcome.stderr
    assert supervisor.run(faults, "faults.steps.fine", [1]).unwrap() == 1


@pytest.mark.parametrize("function", ["sleeps", "ignores_sigterm"])
def test_a_timeout_ends_the_step(supervisor, faults, function):
    outcome = supervisor.run(faults, f"faults.steps.{function}", [600], timeout_seconds=0.5)
    assert outcome.status == "timed_out"
    assert outcome.exit_signal == (15 if function == "sleeps" else 9)


def test_a_step_can_be_cancelled(supervisor, faults):
    wanted = threading.Event()
    threading.Timer(0.3, wanted.set).start()
    outcome = supervisor.run(faults, "faults.steps.sleeps", [600], cancelled=wanted.is_set)
    assert outcome.status == "cancelled"


def test_when_a_step_is_reported_done_nothing_it_started_is_alive(supervisor, faults):
    mark = f"mark-{os.getpid()}-{time.monotonic_ns()}"
    assert supervisor.run(faults, "faults.steps.leaves_children", [mark]).status == "completed"
    assert processes_with(mark) == []


def test_output_is_kept_and_logged_line_by_line(supervisor, faults, caplog):
    caplog.set_level("INFO", logger="hwe.step")
    outcome = supervisor.run(faults, "faults.steps.speaks", [3])
    assert outcome.stdout == "line 0\nline 1\nline 2\nfrom a grandchild\n"
    assert outcome.stderr == "from C, as it were\n"
    record = next(record for record in caplog.records if "line 1" in record.getMessage())
    assert (record.stream, record.version, record.step) == ("stdout", faults, "faults.steps.speaks")


def test_a_flood_of_output_loses_only_what_is_over_the_cap(supervisor, faults):
    outcome = supervisor.run(faults, "faults.steps.speaks", [50_000])
    assert outcome.status == "completed"
    assert outcome.stdout.endswith("line 49999\nfrom a grandchild\n")


def test_closed_streams_harm_nothing(supervisor, faults):
    assert supervisor.run(faults, "faults.steps.closes_streams").unwrap() == "done"


def test_a_step_that_forges_frames_is_killed(supervisor, faults):
    outcome = supervisor.run(faults, "faults.steps.writes_garbage", timeout_seconds=30)
    assert outcome.status == "crashed"
    assert "protocol" in outcome.error.message
    assert supervisor.run(faults, "faults.steps.fine", [1]).unwrap() == 1


def test_a_child_sees_neither_the_secrets_nor_the_descriptors_nor_the_packages(supervisor, faults, deploy, monkeypatch):
    monkeypatch.setenv("WORKER_SECRET", "hunter2")
    with open("/dev/zero", "rb") as inherited:
        os.set_inheritable(inherited.fileno(), True)
        seen = supervisor.run(faults, "faults.steps.sees").unwrap()
    assert "hunter2" not in str(seen["environment"])
    own = ("socket:", "/proc/")
    # libffi, once ctypes is imported, holds its own file open where it is built with static trampolines.
    assert not [name for name in seen["descriptors"] if not name.startswith(own) and "/libffi.so" not in name]
    assert not [path for path in seen["path"] if path.startswith(os.path.dirname(os.path.dirname(sys.executable)))]
    shapes = deploy("shapes")
    assert supervisor.run(shapes.hash, "runner.supervisors_packages").unwrap() == []


@pytest.mark.parametrize("module", ["runner", "envs", "json", "select"])
def test_a_user_module_may_be_called_like_one_of_ours_or_of_the_standard_library(supervisor, deploy, module):
    if module in sys.builtin_module_names:
        pytest.skip(f"A MODULE CALLED {module} NOT TESTED: this Python has its own one built in, which always wins")
    shapes = deploy("shapes").hash
    name, path = supervisor.run(shapes, f"{module}.name").unwrap()
    assert (name, path.endswith(f"/project/{module}.py")) == (module, True)
    assert supervisor.run(shapes, "uses_json.dumped", [1]).unwrap() == "mine"


def test_namespace_packages_relative_imports_and_package_data(supervisor, deploy):
    shapes = deploy("shapes").hash
    invoice = supervisor.run(shapes, "acme.billing.steps.issue", ["A-1"], {"cents": 5})
    more = supervisor.run(shapes, "acme.billing.steps.add", [invoice.payload, 6])
    assert supervisor.run(shapes, "acme.billing.steps.total", [more.payload]).value == {
        "number": "A-1",
        "cents": 11,
    }
    assert supervisor.run(shapes, "acme.billing.steps.rates").unwrap() == ["7", "19"]
    assert supervisor.run(shapes, "acme.billing.steps:Biller.bill", [4]).unwrap() == 8
    assert supervisor.run(shapes, "acme.billing.steps:Biller.name").unwrap() == "Biller"
    assert supervisor.run(shapes, "acme.billing.steps:Biller.vat", [10]).unwrap() == 2
    assert supervisor.run(shapes, "acme.billing.steps.context").unwrap() == [None, None, 1, shapes]


@pytest.mark.parametrize("python", ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
def test_steps_run_on_the_python_that_their_version_needs(supervisor, deploy, need_python, python):
    need_python(python)
    shapes = deploy("shapes", python=python).hash
    assert supervisor.run(shapes, "acme.billing.steps.python").unwrap() == python
    invoice = supervisor.run(shapes, "acme.billing.steps.issue", ["A-1"])
    assert supervisor.run(shapes, "acme.billing.steps.total", [invoice.payload]).unwrap()["number"] == "A-1"
    assert supervisor.run(shapes, "json.name").unwrap()[0] == "json"


def test_old_runs_never_share_a_process_with_new_code(supervisor, deploy):
    project = deploy("faults")
    old = project.hash
    (project.path / "faults" / "steps.py").write_text(
        "import os, sys\ndef sees():\n    return {'pid': os.getpid(), 'ppid': os.getppid(), 'path': sys.path}\n"
    )
    new = project.capture()
    before, after = (supervisor.run(version, "faults.steps.sees").unwrap() for version in (old, new))
    assert before["ppid"] != after["ppid"]
    assert old in str(before["path"])
    assert new in str(after["path"])
    assert old not in str(after["path"])
    assert supervisor.run(old, "faults.steps.fine", [3]).unwrap() == 3
    assert supervisor.run(new, "faults.steps.fine", [3]).error.type == "FunctionNotFound"


def test_the_scratch_directory_is_the_steps_own_and_goes_with_it(supervisor, faults):
    assert supervisor.run(faults, "faults.steps.scratch").unwrap() == ["note.txt"]
    assert supervisor.run(faults, "faults.steps.scratch").unwrap() == ["note.txt"]


def test_a_dead_zygote_is_replaced(supervisor, faults):
    zygote = supervisor.run(faults, "faults.steps.sees").unwrap()["ppid"]
    os.kill(zygote, 9)
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{zygote}/exe") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert supervisor.run(faults, "faults.steps.fine", [1]).unwrap() == 1


def test_submit_and_async_do_what_run_does(supervisor, faults):
    import asyncio

    futures = [supervisor.submit(faults, "faults.steps.fine", [number]) for number in range(10)]
    assert [future.result().unwrap() for future in futures] == list(range(10))
    assert asyncio.run(supervisor.run_async(faults, "faults.steps.waits", [5])).unwrap() == 5


def test_close_leaves_no_process_no_descriptor_and_no_directory(cache, faults):
    before = set(os.listdir("/proc/self/fd"))
    supervisor = Supervisor(cache, sandbox="none")
    seen = supervisor.run(faults, "faults.steps.sees").unwrap()
    supervisor.close()
    supervisor.close()
    assert not os.path.exists(f"/proc/{seen['ppid']}")
    assert not os.path.exists(seen["cwd"])
    assert len(os.listdir("/proc/self/fd")) == len(before)
    with pytest.raises(SupervisorClosed):
        supervisor.run(faults, "faults.steps.fine")


def test_when_the_supervisor_is_killed_everything_under_it_dies(tmp_path, cache, faults):
    program = f"""
import sys
from envs import EnvCache, open_store
from runner import Supervisor
supervisor = Supervisor(EnvCache({str(tmp_path / "cache")!r}, open_store({str(tmp_path / "artifacts")!r})))
print(supervisor.run({faults!r}, "faults.steps.sees").unwrap()["ppid"], flush=True)
supervisor.run({faults!r}, "faults.steps.sleeps", [600])
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as worker:
        zygote = int(worker.stdout.readline())
        children = []
        while len(children) < 2:
            with open(f"/proc/{zygote}/task/{zygote}/children") as listing:
                children = listing.read().split()
        worker.kill()
    deadline = time.monotonic() + 1
    alive = [zygote, *map(int, children)]
    while alive and time.monotonic() < deadline:
        alive = [pid for pid in alive if os.path.exists(f"/proc/{pid}/exe")]
        time.sleep(0.01)
    assert alive == []


def test_what_cannot_be_asked_for_is_refused(cache, supervisor, faults):
    with pytest.raises(UsageError, match="sandbox level"):
        Supervisor(cache, sandbox="strong")
    with pytest.raises(UsageError, match="argument"):
        supervisor.run(faults, "faults.steps.fine", [threading.Lock()])
    with pytest.raises(UsageError, match="timeout"):
        supervisor.run(faults, "faults.steps.fine", timeout_seconds=0)
    assert {guarantee.state for guarantee in supervisor.guarantees} >= {"enforced", "absent"}
