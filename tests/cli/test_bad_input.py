"""Bad input: one line that says what to do, exit code 2 or 3, and nothing stored."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from envs import open_store

WRONG_USAGE, COULD_NOT = 2, 3


HWE = Path(sys.executable).parent / "hwe"


@pytest.fixture
def site(site):
    """With release 1 deployed, and its code version and one run stored."""
    site.deploy("invoices/v1")
    site.submit("here", number=1, gate="x")
    return site


def stored(site):
    with site.ledger() as ledger:
        runs = [run.run_id for run in ledger.runs()]
    with sqlite3.connect(site.home / "hwe.sqlite") as connection:
        versions = connection.execute("SELECT code_version_hash FROM code_versions").fetchall()
    connection.close()
    files = sorted(str(path.relative_to(site.home)) for path in (site.home / "artifacts").rglob("*"))
    return runs, versions, files


def refused(site, done, code, *told):
    lines = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("hwe: ")
    assert "Traceback" not in done.stderr
    for text in told:
        assert text in lines[0]
    assert done.stdout == ""


def pyproject(text):
    def change(site):
        (site.project / "pyproject.toml").write_text(text)

    return change


def files(content):
    def change(site):
        for path, text in content.items():
            (site.project / path).parent.mkdir(parents=True, exist_ok=True)
            (site.project / path).write_text(text)

    return change


def link(target):
    def change(site):
        (site.root / "secret.txt").write_text("x")
        (site.project / "acme/link.txt").symlink_to(target.format(root=site.root))

    return change


BAD_PROJECTS = {
    "requirements that are not pinned": (
        files({"requirements.txt": "six>=1\n"}),
        WRONG_USAGE,
        ["six>=1", "uv pip compile", "--generate-hashes"],
    ),
    "requirements without hashes": (
        files({"requirements.txt": "six==1.17.0\n"}),
        WRONG_USAGE,
        ["six", "uv pip compile", "--generate-hashes"],
    ),
    "dependencies that nothing locks": (
        pyproject('[project]\nname = "x"\nversion = "1"\ndependencies = ["six"]\n'),
        WRONG_USAGE,
        ["uv pip compile", "--generate-hashes pyproject.toml"],
    ),
    "a lock that is not there": (pyproject('[tool.hwe]\nrequirements = "no.txt"\n'), WRONG_USAGE, ["no.txt"]),
    "a Python that is not installed": (
        pyproject('[tool.hwe]\npython = "3.11.99"\n'),
        COULD_NOT,
        ["3.11.99", "found: 3.", "uv python install 3.11.99"],
    ),
    "a Python that nobody supports": (pyproject('[tool.hwe]\npython = "2.7"\n'), WRONG_USAGE, ["2.7", "3.9 to 3.14"]),
    "a setting that does not exist": (pyproject('[tool.hwe]\npyton = "3.12"\n'), WRONG_USAGE, ["pyton", "python"]),
    "settings that are not TOML": (pyproject("[tool.hwe\n"), WRONG_USAGE, ["pyproject.toml", "line 1"]),
    "a link out of the project": (link("{root}/secret.txt"), WRONG_USAGE, ["acme/link.txt", "secret.txt", "exclude"]),
    "a link to nowhere": (link("nowhere"), WRONG_USAGE, ["acme/link.txt", "nowhere"]),
    "two names that differ only by case": (
        files({"acme/Data.txt": "", "acme/data.TXT": ""}),
        WRONG_USAGE,
        ["acme/Data.txt", "acme/data.TXT", "rename"],
    ),
}


@pytest.mark.parametrize("what", BAD_PROJECTS)
def test_a_project_that_cannot_be_kept_is_refused(site, what):
    change, code, told = BAD_PROJECTS[what]
    before = stored(site)
    change(site)
    refused(site, site.hwe("submit", "workflow.yaml"), code, *told)
    if code == WRONG_USAGE:  # what another machine may be able to run is captured
        refused(site, site.hwe("capture"), code, *told)
        refused(site, site.hwe("worker", "--drain"), code, *told)
    assert stored(site) == before


def test_an_unreadable_file_is_refused(site, without_privilege):
    before = stored(site)
    (site.project / "acme/billing/steps.py").chmod(0)
    done = site.hwe("capture", prefix=without_privilege)
    refused(site, done, WRONG_USAGE, "acme/billing/steps.py", "make it readable", "exclude")
    assert stored(site) == before


def task(function="acme.billing.steps.issue", **more):
    return {"operator_type": "task", "function": "tools.python.run", "args": [function, 1, 2], **more}


def workflow(**tasks):
    return json.dumps({"name": "bad", "version": "1", "tasks": tasks})


BAD_WORKFLOWS = {
    "a function that does not exist": (workflow(a=task("acme.billing.steps.isue")), ["isue", "did you mean issue"]),
    "a module that does not exist": (workflow(a=task("acme.biling.steps.issue")), ["did you mean acme.billing.steps"]),
    "a cycle": (
        workflow(a=task(dependencies=["b"]), b=task(dependencies=["c"]), c=task(dependencies=["a"])),
        ["cycle", "a", "b", "c"],
    ),
    "a task that waits for itself": (workflow(a=task(dependencies=["a"])), ["cycle"]),
    "a dependency that does not exist": (workflow(alpha=task(), b=task(dependencies=["alhpa"])), ["alhpa", "alpha"]),
    "an operator of another release": (workflow(a={"operator_type": "foreach", "items": "{{x}}"}), ["foreach"]),
    "a tool of another release": (workflow(a={**task(), "function": "tools.shell.run"}), ["tools.shell.run"]),
    "a template that names nothing": (workflow(a=task("acme.billing.steps.issue", kwargs={"x": "{{nope}}"})), ["nope"]),
    "a key with a typing error": (workflow(a=task(dependencis=[])), ["dependencis", "dependencies"]),
    "not YAML": ("{", ["bad.yaml"]),
    "nothing": ("", ["bad.yaml"]),
    "a list": ("[1, 2]", ["bad.yaml"]),
    "no tasks": (workflow(), ["tasks"]),
    "a very deep nest": ("[" * 5000, ["bad.yaml"]),
    "an alias bomb": (
        "a: &a [x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 8)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        ["bad.yaml", "100000 values"],
    ),
}


@pytest.mark.parametrize("what", BAD_WORKFLOWS)
def test_a_workflow_that_cannot_run_is_refused(site, what):
    text, told = BAD_WORKFLOWS[what]
    before = stored(site)
    (site.root / "bad.yaml").write_text(text)
    refused(site, site.hwe("submit", site.root / "bad.yaml"), WRONG_USAGE, *told)
    assert stored(site) == before


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["submit", "workflow.yaml", "--input", "{amount: 7}"], WRONG_USAGE, ["not JSON", "--input '{\"amount\": 7}'"]),
        (["submit", "workflow.yaml", "--input", "NaN"], WRONG_USAGE, ["not JSON", "NaN"]),
        (["submit", "workflow.yaml", "--input", r'"\ud800"'], WRONG_USAGE, ["not JSON", "surrogate"]),
        (["submit", "workflow.yaml", "--input", "@nowhere.json"], WRONG_USAGE, ["nowhere.json"]),
        (["submit", "workflow.yaml", "--input", "[" * 100_000], WRONG_USAGE, ["not JSON"]),
        (["submit", "nowhere.yaml"], WRONG_USAGE, ["nowhere.yaml"]),
        (["submit", "acme"], WRONG_USAGE, ["acme"]),
        (["submit", "workflow.yaml", "--project", "nowhere"], WRONG_USAGE, ["nowhere", "directory"]),
        (["submit", "workflow.yaml", "--run-id", "../x"], WRONG_USAGE, ["../x", "letters"]),
        (["run", "workflow.yaml", "--run-id", "here", "--input", "{}"], WRONG_USAGE, ["here", "--run-id"]),
        (["submit", "workflow.yaml", "--run-id", "here", "--input", "{}"], WRONG_USAGE, ["here", "--run-id"]),
        (["show", "hree"], WRONG_USAGE, ["hree", "did you mean here"]),
        (["show", "no"], WRONG_USAGE, ["'no'", "hwe runs"]),
        (["resume", "no"], WRONG_USAGE, ["'no'", "hwe runs"]),
        (["cancel", "no"], WRONG_USAGE, ["'no'", "hwe runs"]),
        (["resume", "here"], WRONG_USAGE, ["here", "pending"]),
        (["capture", "nowhere"], WRONG_USAGE, ["nowhere", "directory"]),
        (["capture", "workflow.yaml"], WRONG_USAGE, ["workflow.yaml", "directory"]),
    ],
)
def test_a_command_that_cannot_be_carried_out_is_refused(site, arguments, code, told):
    before = stored(site)
    refused(site, site.hwe(*arguments), code, *told)
    assert stored(site) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit"],
        ["submit", "workflow.yaml", "--policy", "lenient"],
        ["nonsense"],
        ["worker", "--slots", "0"],
        ["runs", "--status", "finished"],
    ],
)
def test_a_command_line_that_does_not_parse_says_how_it_is_written(site, arguments):
    before = stored(site)
    done = site.hwe(*arguments)
    assert (done.returncode, done.stdout) == (WRONG_USAGE, "")
    assert "Usage: hwe" in done.stderr
    assert stored(site) == before


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("HWE_STRICT_CODE_VERSIONING", "lenient", ["lenient", "HWE_STRICT_CODE_VERSIONING", "artifact"]),
        ("HWE_SANDBOX", "tight", ["tight", "HWE_SANDBOX", "process"]),
        ("HWE_DATABASE_URL", "nonsense", ["nonsense", "HWE_DATABASE_URL"]),
        ("HWE_ARTIFACT_STORE", "gopher://x", ["gopher", "file:///"]),
        ("HWE_HOME", "state", ["'home'", "inside the project", ".hwe"]),
    ],
)
def test_a_setting_that_cannot_be_is_refused(site, name, value, told):
    before = stored(site)
    done = site.hwe("submit", "workflow.yaml", **{name: value})
    refused(site, done, done.returncode, *told)
    assert done.returncode in (WRONG_USAGE, COULD_NOT)
    assert stored(site) == before


def test_a_database_that_is_not_ours_is_left_as_it_is(site):
    theirs = site.root / "theirs.sqlite"
    with sqlite3.connect(theirs) as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
    connection.close()
    before, bytes_before = stored(site), theirs.read_bytes()
    done = site.hwe("submit", "workflow.yaml", HWE_DATABASE_URL=f"sqlite:///{theirs}")
    refused(site, done, COULD_NOT, str(theirs), "HWE_DATABASE_URL")
    assert (stored(site), theirs.read_bytes()) == (before, bytes_before)


@pytest.mark.parametrize("kibibytes", [16, 250, 330, 400])  # full at another moment each time
def test_a_full_disk_is_told_and_leaves_nothing_half_written(site, small_disk, kibibytes):
    (site.project / "large.bin").write_bytes(os.urandom(300 * 1024))
    disk = small_disk(kibibytes)
    submit = ["submit", "workflow.yaml", "--run-id", "late"]
    refused(site, site.hwe(*submit, HWE_HOME=str(disk)), COULD_NOT, "free some")
    store = open_store(str(disk / "artifacts"))
    for code_version_hash in store.list():
        with store.get(code_version_hash) as artifact:
            artifact.verify()
    subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
    assert json.loads(site.hwe("runs", "--json", HWE_HOME=str(disk)).stdout) == []
    assert site.hwe(*submit, HWE_HOME=str(disk)).stdout == "late\n"


def test_an_artifact_whose_bytes_were_changed_fails_the_run_and_nothing_of_it_runs(site):
    artifact = max((p for p in (site.home / "artifacts").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    site.deploy("invoices/v2")  # a worker whose own project has that hash would put the artifact right
    changed = bytearray(artifact.read_bytes())
    changed[len(changed) // 2] ^= 1
    artifact.chmod(0o600)
    artifact.write_bytes(changed)
    with site.worker("--drain") as worker:
        assert worker.wait() == 0
    error = site.show("here")["error"]
    assert error["type"] == "ArtifactCorrupt"
    assert "nothing of it was used" in error["message"]
    assert not (site.home / "cache/versions").exists() or not os.listdir(site.home / "cache/versions")


def test_reading_commands_run_from_anywhere_also_above_and_inside_the_home(site):
    site.told("submit", "workflow.yaml", "--run-id", "run-1", "--input", '{"number": 1}')
    for folder in (site.root, site.home, "/"):
        done = subprocess.run(
            [HWE, "show", "run-1", "--json"], cwd=folder, env=site.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
