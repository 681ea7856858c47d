"""`hwe replay --pdb` and `--shell`, at a real terminal."""

import json
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from terminal_session import Session

HWE = Path(sys.executable).parent / "hwe"

STEPS = """import asyncio
import random
import time


def charge(ctx, order, rate=1):
    drawn = random.random()
    ctx.set_variable("seen", order["id"])
    total = order["total"] * rate
    if total > 10:
        raise ValueError(f"{total} is too much, {drawn}")
    return drawn


def spins():
    print("spinning")
    while True:
        time.sleep(0.01)


async def awaits(order):
    await asyncio.sleep(0)
    return order["missing"]


def fine(order):
    listed = [

        order["id"],
    ]
    return listed
"""

TASKS = {
    "fine": {"args": ["steps.fine", "{{inputs}}"]},
    "charge": {"args": ["steps.charge", "{{inputs}}"], "kwargs": {"rate": 2}, "dependencies": ["fine"]},
    "awaits": {"args": ["steps.awaits", "{{inputs}}"]},
    "spins": {"args": ["steps.spins"], "timeout_policy": {"timeout": "PT0.3S"}},
}


def record(site, *names, python=None):
    (site.project / "steps.py").write_text(STEPS)
    # Modules of a debugger, which a project may have too.
    for name in ("pdb", "cmd", "code", "bdb", "readline"):
        (site.project / f"{name}.py").write_text("raise RuntimeError('the one of the project')\n")
    (site.project / "pyproject.toml").write_text(f'[tool.hwe]\npython = "{python}"\n' if python else "")
    for name in names:
        tasks = {
            key: {"operator_type": "task", "function": "tools.python.run", **TASKS[key]}
            for key in ([*TASKS[name].get("dependencies", ()), name])
        }
        (site.project / "workflow.yaml").write_text(json.dumps({"name": name, "tasks": tasks}))
        site.hwe(
            "run", "workflow.yaml", "--run-id", name, "--policy", "artifact", "--input", '{"id": "o-1", "total": 7}'
        )
    return site


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, site_at):
    """Runs named for their last step."""
    return record(site_at(tmp_path_factory.mktemp("recorded")), "charge", "awaits", "spins")


def at_terminal(site, *arguments):
    return Session([HWE, "replay", *arguments], site.project, {**site.environment, "TERM": "dumb"})


@pytest.mark.parametrize("level", ["none", "process", "locked-down"])
def test_a_failed_step_stops_where_it_raised_with_what_it_was_given(recorded, monkeypatch, level):
    if level == "locked-down" and shutil.which("bwrap") is None:
        pytest.skip("LOCKED-DOWN NOT TESTED: there is no bwrap")
    monkeypatch.setitem(recorded.environment, "HWE_SANDBOX", level)
    before = recorded.show("charge")
    error = before["error"]["message"]
    with at_terminal(recorded, "charge", "--pdb", "charge") as session:
        python = session.expect(r"python +(\S+)")[1]
        session.expect("failed then with ValueError")
        session.expect(r"ValueError: 14 is too much")
        session.expect(r"\(Pdb\) ")
        assert session.is_raw()
        session.send("p [order, rate, total, ctx.attempt, str(drawn)]\n")
        told = session.expect(r"\[(.*), 2, 14, 1, \'(.*)\'\]")
        assert told[1] == "{'id': 'o-1', 'total': 7}"
        assert error == f"14 is too much, {told[2]}"
        session.send("import os; print(os.environ.get('TERM'), os.getcwd() == os.environ['HOME'])\n")
        session.expect("None True")
        session.send("q\n")
        session.expect("the step failed: ValueError: 14 is too much")
        assert session.ends() == 0
    assert Path(python).is_file()
    assert recorded.show("charge") == before


def test_it_stops_at_a_line_and_goes_on_from_there(recorded):
    with at_terminal(recorded, "charge", "--pdb", "charge", "--break", "steps.py:9") as session:
        session.expect(r"steps.py\(9\)charge\(\)")
        session.expect(r"\(Pdb\) ")
        session.send("n\n")
        session.expect(r"steps.py\(10\)charge\(\)")
        session.send("total = 1\n")
        session.send("c\n")
        session.expect("the step completed")
        assert session.ends() == 0


def test_a_line_without_code_is_moved_and_a_file_is_found_as_it_is_in_a_checkout(recorded):
    place = str(recorded.project / "steps.py")
    shown = at_terminal(recorded, "charge", "--pdb", "fine", "--break", f"{place.replace('project', 'checkout')}:28")
    with shown as session:
        session.expect("holds no code that runs: stopping at line 29")
        session.expect(r"steps.py\(29\)fine\(\)")
        session.expect(r"\(Pdb\) ")
        session.send("q\n")
        assert session.ends() == 0
    for wrong, told in (("steps.py:999", "no code from that line on"), ("nosuch.py:1", "no such file")):
        with at_terminal(recorded, "charge", "--pdb", "fine", "--break", wrong) as session:
            session.expect(told)
            session.ends()


def test_a_step_that_completes_says_that_there_is_nothing_to_stop_at(recorded):
    with at_terminal(recorded, "charge", "--pdb", "fine") as session:
        session.expect("there is no exception to stop at")
        assert session.ends() == 0


def test_a_coroutine_is_stopped_in_too(recorded):
    with at_terminal(recorded, "awaits", "--pdb", "awaits") as session:
        session.expect(r"steps.py\(23\)awaits\(\)")
        session.expect(r"\(Pdb\) ")
        session.send("p sorted(order)\n")
        session.expect(r"\['id', 'total'\]")
        session.send("q\n")
        assert session.ends() == 0


def test_there_is_no_timeout_and_ctrl_c_goes_to_the_step(recorded):
    with at_terminal(recorded, "spins", "--pdb", "spins") as session:
        session.expect("timed_out then")
        session.expect("spinning")
        time.sleep(1)  # over the step's own 0.3
        session.send("\x03")
        session.expect("KeyboardInterrupt")
        session.expect(r"\(Pdb\) ")
        session.send("where\n")
        session.expect(r"steps.py\(18\)spins\(\)")
        session.send("q\n")
        session.expect("the step failed: KeyboardInterrupt")
        assert session.ends() == 0


def test_a_prompt_has_what_the_step_was_called_with(recorded):
    with at_terminal(recorded, "charge", "--shell", "charge") as session:
        session.expect(r"function\(ctx, \*args, \*\*kwargs\)")
        session.expect(">>> ")
        session.send("[args, kwargs, ctx.step_key, function.__name__]\n")
        session.expect(r"\[\[{'id': 'o-1', 'total': 7}\], {'rate': 2}, 'charge', 'charge'\]")
        session.send("function(ctx, *args, rate=1) < 1, ctx.get_variable('seen')\n")
        session.expect(r"\(True, 'o-1'\)")
        session.expect(">>> ")
        time.sleep(0.2)  # it prompts first and reads then, and hears of a Ctrl-C in between at the next key
        session.send("\x03")
        session.expect("KeyboardInterrupt")
        session.send("function(ctx, *args, **kwargs)\n")
        session.expect("ValueError: 14 is too much")
        session.expect(">>> ")  # or the key comes before anybody reads, and is lost
        session.send("\x04")
        session.expect("nothing of it is recorded")
        assert session.ends() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_as_it_was_however_it_ends(recorded, number):
    with at_terminal(recorded, "spins", "--pdb", "spins") as session:
        session.expect("spinning")
        assert session.is_raw()
        session.process.send_signal(number)
        assert session.ends() == 128 + number


def test_a_step_that_is_killed_gives_the_terminal_back(recorded):
    with at_terminal(recorded, "spins", "--pdb", "spins") as session:
        session.expect("spinning")
        session.send("\x1c")  # Ctrl-\\: also ends what does not heed Ctrl-C
        session.expect("the step crashed: Crashed: the step process was killed by SIGQUIT")
        assert session.ends() == 0


def test_every_python_can_be_debugged(recorded, pythons, tmp_path, site_at):
    for python in pythons:
        if int(python.partition(".")[2]) < 9:
            continue  # not one of those that steps run on
        root = tmp_path / python
        root.mkdir()
        site = record(site_at(root), "charge", python=python)
        with at_terminal(site, "charge", "--pdb", "charge", "--break", "steps.py:9") as session:
            session.expect(r"steps.py\(9\)charge\(\)")
            session.expect(r"\(Pdb\) ")
            session.send("import sys; '%d.%d' % sys.version_info[:2]\n")
            session.expect(f"'{python}'")
            session.send("c\n")
            session.expect("ValueError: 14 is too much")
            session.expect(r"\(Pdb\) ")
            session.send("p rate\nq\n")
            session.expect("\n2\n")
            assert session.ends() == 0


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--pdb", "charge"], 3, "there is no terminal"),
        (["--shell", "charge"], 3, "there is no terminal"),
        (["--pdb", "nosuch"], 2, "has no step 'nosuch'"),
        (["--pdb", "charge", "--attempt", "9"], 2, "has no attempt 9"),
        (["--pdb", "charge", "--shell", "charge"], 2, "choose one"),
        (["--break", "steps.py:1"], 2, "goes with --pdb"),
        (["--pdb", "charge", "--break", "steps.py"], 2, "FILE:LINE"),
        (["--attempt", "1"], 2, "goes with"),
        (["--pdb", "charge", "--json"], 2, "for people"),
    ],
)
def test_what_cannot_be_debugged_is_said(recorded, arguments, code, told):
    done = recorded.hwe("replay", "charge", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr
