"""`hwe check`: many planted changes at once, each in a package of its own with a run of its own, in one candidate."""

import json
import os
import subprocess
import sys

import planted_code
import planted_libraries
import planted_majors
import planted_pythons
import planted_state
import pytest

from runner.cli.installation import opened, submit
from runner.settings import load_settings

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"

WORKFLOW = """
name: {package}
version: "1"
tasks:
  make:
    operator_type: task
    function: tools.python.run
    args: [{package}.steps.make, 7]
    result_key: made
  pause:
    operator_type: wait
    wait_for: PT10H
    dependencies: [make]
  use:
    operator_type: task
    function: tools.python.run
    args: [{package}.steps.use, "{argument}"]
    dependencies: [pause]
"""


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory, site_at):
    """verdicts(table, …) has every run recorded on the old code and checked against the new: {name: its verdict}.

    `locks` and `pythons`: of the old code and of the new.
    """

    def verdicts(table, locks=(None, None), pythons=(HERE, HERE)):
        site = site_at(tmp_path_factory.mktemp("planted"))
        packages = {name: f"planted_{number}" for number, name in enumerate(table)}
        candidate = site.root / "candidate"
        for root, which, lock, python in zip((site.project, candidate), ("old", "new"), locks, pythons, strict=True):
            for name, package in packages.items():
                for path, text in {"__init__.py": "", **getattr(table[name], which)}.items():
                    file = root / package / path
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(text)
            settings = f'[tool.hwe]\npython = "{python}"\n'
            if lock:
                (root / "lock.txt").write_text(lock)
                settings += 'requirements = "lock.txt"\n'
            (root / "pyproject.toml").write_text(settings)
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("HWE_HOME", str(site.home))
            with opened(load_settings(site.project, captures=True)) as installation:
                for name, package in packages.items():
                    workflow = site.root / f"{package}.yaml"
                    workflow.write_text(WORKFLOW.format(package=package, argument=table[name].argument))
                    submit(installation, workflow, site.project, input_text="{}", run_id=package, policy="artifact")
        with site.worker(), site.ledger() as ledger:
            for package in packages.values():
                site.wait_until(lambda run=package: ledger.status(run) == "waiting")
        document = json.loads(site.hwe("check", candidate, "--json").stdout)
        by_package = {run["run_id"]: run for run in document["runs"]}
        return {name: by_package[package] for name, package in packages.items()}

    return verdicts


@pytest.fixture(scope="module")
def on_state(verdicts):
    return verdicts(planted_state.PLANTED)


@pytest.fixture(scope="module")
def on_code(verdicts):
    return verdicts(planted_code.PLANTED)


@pytest.fixture(scope="module")
def on_libraries(verdicts):
    lock = locked("attrs==26.1.0\nmsgspec==0.22.0\npydantic==2.14.4\n")
    return verdicts(planted_libraries.PLANTED, (lock, lock))


@pytest.fixture(scope="module")
def on_majors(verdicts):
    return verdicts(planted_majors.PLANTED, (locked(planted_majors.THEN), locked(planted_majors.NOW)))


@pytest.fixture(scope="module")
def on_newer(verdicts, both_pythons):
    return verdicts(planted_pythons.RAISED, pythons=both_pythons)


@pytest.fixture(scope="module")
def on_older(verdicts, both_pythons):
    return verdicts(planted_pythons.LOWERED, pythons=both_pythons[::-1])


@pytest.fixture(scope="module")
def on_namesakes(verdicts, both_pythons):
    return verdicts(planted_pythons.NAMESAKES, pythons=(planted_pythons.NEWER, planted_pythons.NEWER))


@pytest.fixture(scope="module")
def both_pythons(need_python):
    for python in (planted_pythons.OLDER, planted_pythons.NEWER):
        need_python(python)
    return planted_pythons.OLDER, planted_pythons.NEWER


def locked(requirements):
    import uv

    done = subprocess.run(
        [uv.find_uv_bin(), "pip", "compile", "--generate-hashes", "--no-header", "--no-annotate", "-q", "-"],
        input=requirements,
        env={**os.environ, "UV_PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"NO PACKAGE INDEX: classes of libraries are not checked: {done.stderr[-300:]}")
    return done.stdout


def judge(planted, run):
    assert run["verdict"] == planted.verdict, run
    found = [finding["detail"] for finding in run["findings"] if finding["verdict"] == planted.verdict]
    assert any(planted.word in detail for detail in found) or planted.verdict == "compatible", run


@pytest.mark.parametrize("change", planted_state.PLANTED)
def test_a_change_of_the_classes_of_recorded_state(on_state, change):
    judge(planted_state.PLANTED[change], on_state[change])


@pytest.mark.parametrize("change", planted_code.PLANTED)
def test_a_change_of_the_functions_of_steps_to_come(on_code, change):
    judge(planted_code.PLANTED[change], on_code[change])


@pytest.mark.parametrize("change", planted_libraries.PLANTED)
def test_a_change_of_classes_that_libraries_make(on_libraries, change):
    judge(planted_libraries.PLANTED[change], on_libraries[change])


@pytest.mark.parametrize("change", planted_majors.PLANTED)
def test_another_major_version_of_dependencies(on_majors, change):
    judge(planted_majors.PLANTED[change], on_majors[change])


@pytest.mark.parametrize("change", planted_pythons.RAISED)
def test_a_newer_python(on_newer, change):
    judge(planted_pythons.RAISED[change], on_newer[change])


@pytest.mark.parametrize("change", planted_pythons.LOWERED)
def test_an_older_python(on_older, change):
    judge(planted_pythons.LOWERED[change], on_older[change])


@pytest.mark.parametrize("change", planted_pythons.NAMESAKES)
def test_modules_that_are_called_like_those_of_python(on_namesakes, change):
    judge(planted_pythons.NAMESAKES[change], on_namesakes[change])
