"""Code that runs before any step asks for it is confined as well: preloaded modules, and .pth files at the start."""

import pytest


@pytest.fixture
def reported(tmp_path):
    """A directory that code of a project may write to, and a file that it may not."""
    out = tmp_path / "out"
    out.mkdir()
    return out, tmp_path / "victim"


TRY = """
try:
    open({victim!r}, "w")
    told = "wrote"
except OSError:
    told = "refused"
open({out!r} + "/{name}", "w").write(told)
"""


def test_a_preloaded_module_is_confined(attack_with, reported):
    out, victim = reported
    attack = attack_with(f'writable = ["{out}"]', TRY.format(victim=str(victim), out=str(out), name="preload"))
    attack.supervisor.warm(attack.hash, ["attacks.where"])  # no step: the zygote imports it
    assert (out / "preload").read_text() == "refused"
    assert not victim.exists()


def test_a_pth_file_of_the_environment_is_confined(attack_with, cache, reported):
    out, victim = reported
    attack = attack_with(f'writable = ["{out}"]')
    with cache.lease(attack.hash) as environment:
        [site] = environment.root.glob("lib/python*/site-packages")
        code = TRY.format(victim=str(victim), out=str(out), name="pth")
        (site / "early.pth").write_text(f"import sys; exec({code!r})\n")
        assert attack("where").status == "completed"
    assert (out / "pth").read_text() == "refused"
    assert not victim.exists()


MODULES = {
    "hangs": ("import time; time.sleep(600)", "timed_out"),
    "crashes": ("import os; os.abort()", "crashed"),
    "leaves": ("import os; os._exit(0)", "crashed"),
    "starts threads": (
        "import threading, time; threading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
        "completed",
    ),
    "forks": ("import os, time\nif os.fork() == 0: time.sleep(600)", "completed"),
    "patches os.fork": ("import os; os.fork = lambda: 1 / 0", "completed"),
    "patches os._exit": ("import os; os._exit = lambda *_: None", "completed"),
    "patches os.read and os.write": ("import os; os.read = os.write = lambda *_: b''", "completed"),
    "patches select and signal": ("import select, signal; select.poll = signal.signal = None", "completed"),
    "patches json and pickle": (
        "import json, pickle; json.loads = json.dumps = pickle.dumps = pickle.loads = None",
        "completed",
    ),
    "closes all descriptors": ("import os; os.closerange(3, 1000)", "crashed"),
    "fills the path": ("import sys; sys.path[:] = []; sys.modules.clear()", "failed, crashed"),
}


@pytest.mark.parametrize("what", MODULES)
def test_whatever_a_module_does_on_import_ends_in_an_outcome_and_harms_no_other_version(attack_with, deploy, what):
    code, expected = MODULES[what]
    attack = attack_with("", f"\n{code}\n")
    for _ in range(2):
        outcome = attack("where", timeout_seconds=3)
        assert outcome.status in expected.split(", "), outcome
    assert attack.supervisor.run(deploy("faults").hash, "faults.steps.fine", [1]).unwrap() == 1
