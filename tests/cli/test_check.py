"""`hwe check`: planted changes of a candidate, and the verdict on a run in flight."""

import json
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from runner.check import sample
from runner.engines.highway import PythonTool, Step
from runner.settings import Settings

PROJECTS = Path(__file__).parents[1] / "projects"
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture(scope="module")
def in_flight(tmp_path_factory, site_at):
    """An installation with two runs of the project `verdicts` that have come to their timer."""
    site = site_at(tmp_path_factory.mktemp("in_flight"))
    site.deploy("verdicts")
    (site.project / "pyproject.toml").write_text(
        f'[tool.hwe]\npython = "{sys.version_info[0]}.{sys.version_info[1]}"\n'
    )
    for run_id in ("run-1", "run-2"):
        site.submit(run_id, number=7)
    with site.worker():
        for run_id in ("run-1", "run-2"):
            site.wait_for_status(run_id, "waiting")
    return site


@pytest.fixture
def candidate(in_flight, tmp_path):
    """A copy of the project, to be changed: candidate(path, old, new, …) edits files of it."""
    root = tmp_path / "candidate"
    shutil.copytree(in_flight.project, root)

    def change(*edits):
        for path, old, new in edits:
            file = root / path
            text = file.read_text() if file.exists() else ""
            assert old in text
            file.write_text(text.replace(old, new) if old else text + new)
            if not file.read_text():
                file.unlink()
        return root

    return change


def check(site, candidate, *arguments):
    done = site.hwe("check", candidate, "--json", *arguments)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


MODELS = (PROJECTS / "verdicts" / "models.py").read_text()
WORKFLOW = (PROJECTS / "verdicts" / "workflow.yaml").read_text()
IMPORTS = "from models import Colour, Line, Note, Order, Point"
MOVED = (
    "lines.py",
    "",
    "from dataclasses import dataclass\n\n\n@dataclass\nclass Line:\n    name: str\n    cents: int\n",
)
LINE = "@dataclass\nclass Line:\n    name: str\n    cents: int\n"
TOTAL = "    result = 0.0\n    for line in order.lines:\n        result += line.cents * rate\n"

# What is changed, the verdict, and a word of the reason.
# ruff: noqa: E501 - a table
CHANGES = {
    "nothing": ([], "compatible", ""),
    "a comment": ([("steps.py", "", "# done\n")], "compatible", ""),
    "a renamed module": (
        [("things.py", "", MODELS), ("models.py", MODELS, ""), ("steps.py", "from models", "from things")],
        "state will not load", "models",
    ),
    "a class that moved": (
        [MOVED, ("models.py", LINE, "class Line_:\n    pass\n"), ("models.py", "list[Line]", "list"),
         ("steps.py", IMPORTS, "from lines import Line\nfrom models import Colour, Note, Order, Point")],
        "state will not load", "Line",
    ),
    "a class that moved and is still there": (
        [MOVED, ("models.py", LINE, "from lines import Line\n")], "compatible", "",
    ),
    "a new required field": ([("models.py", "    cents: int\n", "    cents: int\n    vat: int\n"),
                              ("steps.py", ")])", ")])  # vat")], "state will not load", "'vat'"),
    "a new field with a default": (
        [("models.py", "    cents: int\n", "    cents: int\n    vat: int = 19\n")], "compatible", "",
    ),
    "a new field with a factory": (
        [("models.py", "import dataclass", "import dataclass, field"),
         ("models.py", "    currency: str", "    tags: list = field(default_factory=list)\n    currency: str")],
        "state will not load", "'tags'",
    ),
    "a renamed field": ([("models.py", "cents", "amount"), ("steps.py", "cents", "amount")], "state will not load", "'amount'"),
    "a field of another type": (
        [("models.py", "from enum", "from decimal import Decimal\nfrom enum"), ("models.py", "cents: int", "cents: Decimal")],
        "state will not load", "cents is a int",
    ),
    "an attribute that __init__ sets": (
        [("models.py", "self.text = text", "self.text = text\n        self.author = None")], "state will not load", "'author'",
    ),
    "a class with slots": (
        [("models.py", "class Note:\n", "class Note:\n    __slots__ = ('text',)\n\n")], "state will not load", "__dict__",
    ),
    "an enum without a member": (
        [("models.py", '    RED = "red"\n', ""), ("steps.py", "Colour.RED", "Colour.BLUE")], "state will not load", "red",
    ),
    "a named tuple with one more": (
        [("models.py", "    y: int\n", "    y: int\n    z: int\n"), ("steps.py", "Point(1, 2)", "Point(1, 2, 3)")],
        "state will not load", "z",
    ),
    "a class that is gone": (
        [("models.py", "class Point", "class Place"), ("steps.py", "Point", "Place")], "state will not load", "Point",
    ),
    "a frozen class": ([("models.py", "@dataclass\nclass Line", "@dataclass(frozen=True)\nclass Line")], "compatible", ""),
    "a step that is gone": ([("steps.py", "def report", "def _report_")], "step missing", "report"),
    "a renamed step": ([("steps.py", "def charge", "def bill")], "step missing", "charge"),
    "a step of a run's past that is gone": ([("steps.py", "def annotate", "def comment")], "compatible", ""),
    "one more parameter": ([("steps.py", "*, total):", "*, total, vat):")], "signature", "'vat'"),
    "one more parameter with a default": ([("steps.py", "*, total):", "*, total, vat=0):")], "compatible", ""),
    "one parameter less": ([("steps.py", "def report(charged, total)", "def report(charged)")], "signature", "too many"),
    "a renamed keyword": ([("steps.py", "*, total):", "*, amount):")], "signature", "'amount'"),
    "ctx by another name": ([("steps.py", "def charge(ctx,", "def charge(context,")], "signature", "noted"),
    "a step without ctx": ([("steps.py", "def charge(ctx, order", "def charge(order")], "compatible", ""),
    "a module with a mistake": ([("steps.py", "def report(", "def report(:")], "candidate does not import", "SyntaxError"),
    "a module that is not installed": (
        [("steps.py", IMPORTS, f"import nosuch\n{IMPORTS}")], "candidate does not import", "nosuch",
    ),
    "a module that ends the process": (
        [("steps.py", IMPORTS, f"import os\nos._exit(3)\n{IMPORTS}")], "candidate does not import", "code 3",
    ),
    "a preloaded module that ends the process": (
        [("ends.py", "", "import os\nos._exit(3)\n"), ("pyproject.toml", "[tool.hwe]", "[tool.hwe]\npreload = ['ends']")],
        "candidate does not import", "cannot run steps",
    ),
    "a preloaded module that is not there": (
        [("pyproject.toml", "[tool.hwe]", "[tool.hwe]\npreload = ['nosuch']")], "compatible", "",
    ),
    "a module that eats memory": (
        [("steps.py", IMPORTS, f"eaten = []\nwhile True:\n    eaten.append(bytearray(100_000_000))\n{IMPORTS}")],
        "candidate does not import", "",
    ),
    "steps in another order": (
        [("workflow.yaml", "dependencies: [pause]", "dependencies: [report]"),
         ("workflow.yaml", "dependencies: [charge]", "dependencies: [pause]"),
         ("workflow.yaml", '"{{charged}}", ', "1, ")],
        "definition changed", "dependencies",
    ),
    "a step that left the workflow": (
        [("workflow.yaml", WORKFLOW[WORKFLOW.index("  report:"):], "")],
        "definition changed", "no such step",
    ),
    "a step that joined the workflow": (
        [("workflow.yaml", "", WORKFLOW[WORKFLOW.index("  make:"):WORKFLOW.index("  annotate:")].replace("make:", "audit:").replace("order", "audited"))],
        "definition changed", "the run has no such step",
    ),
    "other arguments in the workflow": (
        [("workflow.yaml", 'kwargs: {total: "{{totalled.total}}"}', 'kwargs: {total: "{{totalled.lines}}"}')],
        "definition changed", "kwargs",
    ),
    "a shorter timer": ([("workflow.yaml", "PT1H", "PT1M")], "definition changed", "wait_for"),
    "layout of the workflow": ([("workflow.yaml", "", "\n# the end\n")], "compatible", ""),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_planted_change_gets_its_verdict(in_flight, candidate, change):
    edits, verdict, reason = CHANGES[change]
    code, document = check(in_flight, candidate(*edits))
    assert document["verdicts"] == {verdict: 2}, document
    assert code == (0 if verdict == "compatible" else 1)
    for run in document["runs"]:
        assert run["remaining"] == ["pause", "charge", "report"]
        assert any(reason in finding["detail"] for finding in run["findings"]) or not reason


DIVERGING = {
    "a changed default": [("steps.py", "rate=0.1", "rate=0.2")],
    "float arithmetic": [
        ("steps.py", TOTAL, "    result = sum(line.cents for line in order.lines) * rate * 1.0000000001\n")
    ],
    "a default that state keeps": [("models.py", 'currency: str = "EUR"', 'currency: str = "USD"')],
    "an exception": [("steps.py", "    result = 0.0\n", "    raise ValueError('no')\n")],
    "the order of a list": [
        ("steps.py", 'Line("chair", 1010), Line("table", 2020)', 'Line("table", 2020), Line("chair", 1010)')
    ],
}


@pytest.mark.parametrize("change", DIVERGING)
def test_what_only_running_shows_is_found_by_replaying(in_flight, candidate, change):
    project = candidate(*DIVERGING[change])
    assert check(in_flight, project)[1]["verdicts"] == {"compatible": 2}
    code, document = check(in_flight, project, "--replay")
    assert (code, document["verdicts"]) == (1, {"diverges": 2})


def test_replaying_the_same_code_is_compatible_and_writes_nothing(in_flight, candidate):
    before = in_flight.show("run-1")
    code, document = check(in_flight, candidate(), "--replay")
    assert (code, document["ok"]) == (0, True)
    assert in_flight.show("run-1") == before


def test_a_step_that_never_ends_on_the_candidate_is_ended(in_flight, candidate):
    project = candidate(("steps.py", "    result = 0.0\n", "    while True:\n        pass\n"))
    code, document = check(in_flight, project, "--replay", "--step-timeout", "2", "--run", "run-1")
    assert (code, document["verdicts"]) == (1, {"diverges": 1})
    assert "timed_out now" in document["runs"][0]["findings"][0]["detail"]


def test_tolerance_forgives_floats(in_flight, candidate):
    project = candidate(*DIVERGING["float arithmetic"])
    assert check(in_flight, project, "--replay", "--tolerance", "1e-6")[0] == 0


def test_another_python_is_looked_at_there(in_flight, candidate, pythons):
    other = next((python for python in reversed(pythons) if python != HERE and int(python[2:]) >= 9), None)
    if other is None:
        pytest.skip("ANOTHER PYTHON NOT TESTED: only one is installed")
    edit = ("pyproject.toml", HERE, other)
    assert check(in_flight, candidate(edit))[1]["verdicts"] == {"compatible": 2}


def test_annotations_that_only_a_type_checker_can_evaluate_are_left_alone(in_flight, candidate, need_python):
    need_python("3.14")  # where they are evaluated when somebody asks for them, and not when they are written
    project = candidate(
        ("pyproject.toml", HERE, "3.14"),
        ("steps.py", "total(order, rate=0.1)", "total(order: Orders, rate: float = 0.1) -> Totals"),
        ("models.py", "    x: int", "    x: Width"),
    )
    assert check(in_flight, project)[1]["verdicts"] == {"compatible": 2}


def test_reports_for_ci_and_for_pull_requests(in_flight, candidate, tmp_path):
    project = candidate(("steps.py", "def charge", "def bill"))
    done = in_flight.hwe("check", project, "--junit", tmp_path / "junit.xml", "--markdown", tmp_path / "summary.md")
    assert done.returncode == 1
    assert "2 runs looked at: 2 step missing" in done.stdout
    suite = ET.parse(tmp_path / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "2")
    assert suite[0].find("failure").get("type") == "step missing"
    told = (tmp_path / "summary.md").read_text()
    assert told.startswith("### ❌ This breaks runs in flight")
    assert "| `run-1` | verdicts | `" in told


def test_what_is_left_out_is_said(in_flight, candidate):
    code, document = check(in_flight, candidate(), "--limit", "1")
    assert (code, document["checked"], document["unfinished_runs"]) == (0, 1, 2)
    assert [stratum["runs"] for stratum in document["left_out"]] == [1]
    done = in_flight.hwe("check", candidate(), "--limit", "1")
    assert "1 runs looked at of 2 unfinished, 1 left out: 1 compatible" in done.stdout


def test_without_runs_in_flight_nothing_can_break(site):
    site.deploy("verdicts")
    done = site.hwe("check")
    assert (done.returncode, done.stdout) == (0, "there is no unfinished run: nothing can break\n")


def test_a_candidate_that_cannot_be_built_is_not_a_verdict(in_flight, candidate):
    done = in_flight.hwe("check", candidate(("pyproject.toml", "[tool.hwe]", "[tool.hwe]\nrequirements = 'no.txt'")))
    assert done.returncode in (2, 3)
    assert done.stdout == ""
    assert "no.txt" in done.stderr


def test_a_sample_has_some_of_each_workflow_and_version():
    runs = [(f"a{n}", "a", "1") for n in range(900)] + [(f"b{n}", "b", "1") for n in range(90)]
    runs += [(f"c{n}", "b", "2") for n in range(9)] + [("d", "d", "3")]
    assert sample(runs, 1000) == [run_id for run_id, _, _ in runs]
    chosen = sample(runs, 100)
    assert len(chosen) == len(set(chosen)) == 100
    counts = {letter: sum(run_id[0] == letter for run_id in chosen) for letter in "abcd"}
    assert counts["d"] == 1
    assert counts["c"] >= 1
    assert 80 <= counts["a"] <= 90
    assert len(sample(runs, 2)) == 2


def test_of_a_run_of_another_engine_nothing_is_claimed(site):
    site.deploy("verdicts")
    settings = Settings(home=site.home)
    with PythonTool.open(site.project, settings=settings) as tool:
        tool.run(["steps.report", 1, 2], step=Step("theirs", "theirs", "report"))
    code, document = check(site, site.project)
    assert (code, document["verdicts"]) == (3, {"could not": 1})
    assert "another engine" in document["runs"][0]["findings"][0]["detail"]
