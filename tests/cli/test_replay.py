"""`hwe replay`: recorded steps once more, through the command line."""

import json
import shutil
import socket
import sqlite3

import pytest


@pytest.fixture
def recorded(site):
    """A run with retries, variables, parts that are done once, and large and opaque values."""
    site.deploy("context")
    marks = site.root / "marks"  # the one place besides its scratch directory that a step may write to
    marks.mkdir()
    with open(site.project / "pyproject.toml", "a") as settings:
        settings.write(f'[tool.hwe.sandbox]\nwritable = ["{marks}"]\n')
    (site.root / "open").touch()
    run_input = json.dumps({"mark": str(marks / "mark"), "gate": str(site.root / "open")})
    done = site.hwe("run", "workflow.yaml", "--run-id", "run-1", "--policy", "artifact", "--input", run_input)
    assert done.returncode == 0, done.stderr
    return site


def replay(site, *arguments):
    done = site.hwe("replay", "run-1", "--json", *arguments)
    document = json.loads(done.stdout)
    return done.returncode, document, {(step["step_key"], step["attempt"]): step for step in document["steps"]}


def edit(site, old, new):
    path = site.project / "parts.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_every_attempt_comes_out_the_same_and_nothing_is_written(recorded):
    before = recorded.show("run-1"), (recorded.root / "marks" / "mark").read_text()
    for more in ((), ("--live",)):
        code, document, steps = replay(recorded, *more)
        assert (code, document["verdict"]) == (0, "same")
        assert {step["verdict"] for step in steps.values()} == {"same"}
        assert [attempt for key, attempt in steps if key == "flaky"] == [1, 2, 3]
        assert steps["flaky", 1]["replayed_error"]["type"] == "ConnectionError"
    assert (recorded.show("run-1"), (recorded.root / "marks" / "mark").read_text()) == before


def test_results_time_and_memory_are_told_beside_each_other(recorded):
    _, _, steps = replay(recorded, "--step", "charge")
    charged = steps["charge", 1]
    assert charged["recorded_value"] == charged["replayed_value"] == [1, 2]
    for name in ("wall_seconds", "cpu_seconds", "max_rss_bytes"):
        assert charged[name] > 0
        assert charged[f"recorded_{name}"] > 0
    told = recorded.hwe("replay", "run-1", "--step", "charge").stdout
    assert "peak memory" in told
    assert told.count(" → ") == 4  # of the heading, and three of the step
    assert told.count(" MiB") == 2


def test_results_too_large_to_show_are_not_in_the_document(recorded):
    _, _, steps = replay(recorded, "--step", "text")
    assert (steps["text", 1]["verdict"], steps["text", 1]["replayed_value"]) == ("same", None)


def test_it_replays_after_the_project_is_gone(recorded):
    shutil.rmtree(recorded.project)
    recorded.project.mkdir()
    assert replay(recorded)[0] == 0


def test_steps_can_be_chosen(recorded):
    assert list(replay(recorded, "--step", "flaky")[2]) == [("flaky", 1), ("flaky", 2), ("flaky", 3)]
    assert list(replay(recorded, "--from", "lengths")[2]) == [("lengths", 1), ("length", 1)]
    done = recorded.hwe("replay", "run-1", "--step", "nosuch")
    assert (done.returncode, done.stdout) == (2, "")
    assert "has no step 'nosuch'; recorded are charge, flaky" in done.stderr


def test_against_another_version_it_says_what_differs_and_where(recorded):
    edit(recorded, "return [first.amount, second.amount]", "return [first.amount, second.amount + 0.5]")
    edit(recorded, 'return {"blob": bytearray(size)}', 'return {"blob": bytearray(size), "more": 1}')
    edit(recorded, 'raise ConnectionError("try again")', 'raise TimeoutError("try again")')
    code, document, steps = replay(recorded, "--against", ".")
    assert (code, document["verdict"]) == (1, "different")
    assert {key for (key, _), step in steps.items() if step["verdict"] == "different"} == {"charge", "blob", "flaky"}
    charged = {"path": "result[1]", "recorded": "2", "replayed": "2.5", "how": "a builtins.int became a builtins.float"}
    assert steps["charge", 1]["differences"] == [charged]
    assert steps["blob", 1]["differences"][0]["path"] == "result['more']"
    assert "ConnectionError: try again then, now TimeoutError: try again" in steps["flaky", 1]["detail"]
    assert steps["flaky", 3]["verdict"] == "same"
    told = recorded.hwe("replay", "run-1", "--against", ".", "--step", "charge")
    assert told.returncode == 1
    assert "different" in told.stdout
    assert "result[1]" in told.stdout


def test_a_step_that_is_gone_in_the_other_version_is_said(recorded):
    edit(recorded, "def length(value):", "def size(value):")
    code, _, steps = replay(recorded, "--against", ".", "--step", "length")
    assert code == 1
    assert "FunctionNotFound: parts has no 'length'" in steps["length", 1]["detail"]


def test_steps_have_no_network_and_no_secrets_unless_asked_for(site):
    site.deploy("context")
    marks = site.root / "marks"  # the one place besides its scratch directory that a step may write to
    marks.mkdir()
    with open(site.project / "pyproject.toml", "a") as settings:
        settings.write(f'[tool.hwe.sandbox]\nwritable = ["{marks}"]\n')
    (site.project / "parts.py").write_text(
        "import os, socket\n"
        "def reach(port):\n"
        "    try:\n"
        "        socket.create_connection(('127.0.0.1', port), timeout=5).close()\n"
        "        return 'reached'\n"
        "    except OSError as error:\n"
        "        return type(error).__name__\n"
        "def secret():\n"
        "    return os.environ.get('SECRET_OF_MINE')\n"
    )
    task = {"operator_type": "task", "function": "tools.python.run"}
    tasks = {
        "reach": {**task, "args": ["parts.reach", "{{inputs.port}}"]},
        "secret": {**task, "args": ["parts.secret"]},
    }
    (site.project / "workflow.yaml").write_text(json.dumps({"name": "reach", "tasks": tasks}))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = site.hwe("run", "workflow.yaml", "--run-id", "run-1", "--input", json.dumps({"port": port}))
        assert done.returncode == 0, done.stderr
        code, _, steps = replay(site)
        assert code == 1
        assert steps["reach", 1]["differences"][0]["recorded"] == "'reached'"
        assert steps["secret", 1]["verdict"] == "same"
        code, _, steps = replay(site, "--allow-network")
        assert code == 0
        site.environment["SECRET_OF_MINE"] = "s"
        assert replay(site, "--allow-network")[0] == 0
        code, _, steps = replay(site, "--allow-network", "--env", "SECRET_OF_MINE")
        assert steps["secret", 1]["differences"][0]["replayed"] == "'s'"
    missing = site.hwe("replay", "run-1", "--env", "NO_SUCH_VARIABLE")
    assert missing.returncode == 2


def test_what_cannot_be_replayed_is_said(recorded):
    artifacts = recorded.home / "artifacts"
    artifacts.rename(recorded.root / "aside")
    shutil.rmtree(recorded.home / "cache")
    code, document, steps = replay(recorded, "--step", "charge")
    assert (code, document["verdict"]) == (3, "could not")
    assert steps["charge", 1]["verdict"] == "could not"


PRINTS = """
import os, sys, warnings

class Order:
    pass

def prints(number):
    print("one")
    print("number", number)
    print(Order(), os.getcwd(), "nul \\0 and \\udcff".encode(errors="surrogateescape"), file=sys.stderr)
    warnings.warn("told with the path of this file")
    return number
"""


@pytest.fixture
def printed(site):
    """A run of one step that prints to both streams, also where it runs and an address."""
    (site.project / "parts.py").write_text(PRINTS)
    task = {"operator_type": "task", "function": "tools.python.run", "args": ["parts.prints", 7]}
    (site.project / "workflow.yaml").write_text(json.dumps({"name": "prints", "tasks": {"prints": task}}))
    done = site.hwe("run", "workflow.yaml", "--run-id", "run-1", "--policy", "artifact")
    assert done.returncode == 0, done.stderr
    return site


def test_what_is_printed_is_recorded_and_compared(printed):
    recorded = printed.step("run-1", "prints")
    assert recorded["stdout"] == "one\nnumber 7\n"
    assert "UserWarning: told with the path" in recorded["stderr"]
    printed.environment["HWE_CACHE_DIR"] = str(printed.root / "another cache")  # so that paths are others
    code, _, steps = replay(printed)
    told = steps["prints", 1]
    assert (code, told["verdict"], told["logs"], told["detail"]) == (0, "same", "same", "")
    assert (told["recorded_stdout"], told["recorded_stderr"]) == (recorded["stdout"], recorded["stderr"])
    edit(printed, '"number", number', '"total", number')
    code, document, steps = replay(printed, "--against", ".")
    assert (code, document["verdict"], steps["prints", 1]["logs"]) == (1, "different", "different")
    assert steps["prints", 1]["detail"].startswith("stdout differs in line 2: 'number 7' then, 'total 7' now")
    code, _, steps = replay(printed, "--against", ".", "--ignore-logs")
    assert (code, steps["prints", 1]["verdict"], steps["prints", 1]["logs"]) == (0, "same", "ignored")


def test_runs_recorded_without_logs_replay_and_say_so(printed):
    with sqlite3.connect(printed.home / "hwe.sqlite") as database:
        database.execute("UPDATE workflow_steps SET stdout = NULL, stderr = NULL")
    code, _, steps = replay(printed)
    told = steps["prints", 1]
    assert (code, told["verdict"], told["logs"], told["recorded_stdout"]) == (0, "same", "not recorded", None)
    assert "what 1 attempt printed is not recorded" in printed.told("replay", "run-1")


PARTS = """
def charge(ctx):
    print("before")
    try:
        return ctx.step("charge", bank, ctx.attempt)
    finally:
        print("after")

def bank(attempt):
    print("the bank, on attempt", attempt)
    if attempt == 1:
        raise ConnectionError("not now")
    return attempt
"""


def test_a_part_is_done_again_in_the_attempts_before_it_succeeded_and_left_out_after(site):
    (site.project / "parts.py").write_text(PARTS)
    task = {"operator_type": "task", "function": "tools.python.run", "args": ["parts.charge"]}
    task["retry_policy"] = {"max_retries": 1, "delay": "PT0.01S"}
    (site.project / "workflow.yaml").write_text(json.dumps({"name": "parts", "tasks": {"charge": task}}))
    assert site.hwe("run", "workflow.yaml", "--run-id", "run-1", "--policy", "artifact").returncode == 0
    code, _, steps = replay(site)
    assert (code, [step["logs"] for step in steps.values()]) == (0, ["same", "same"])
    assert steps["charge", 1]["stdout"] == "before\nthe bank, on attempt 1\nafter\n"
    assert steps["charge", 2]["stdout"] == "before\nafter\n"
    assert steps["charge", 2]["recorded_stdout"] == "before\nthe bank, on attempt 2\nafter\n"
    site.told("export", "run-1", site.root / "run.hwe")
    assert site.hwe("replay", site.root / "run.hwe").returncode == 0


def test_one_step_and_all_from_one_on_are_two_questions(recorded):
    done = recorded.hwe("replay", "run-1", "--step", "charge", "--from", "text")
    assert (done.returncode, "leave one of them out" in done.stderr) == (2, True)
