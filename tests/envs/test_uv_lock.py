"""A uv.lock is a lock like any other, if it fixes every file of what the project itself needs."""

import re
import subprocess
import sys

import pytest
import uv

from envs import EnvCache, EnvironmentBuildFailed, UnlockedRequirements, capture, requirement_changes, store_wheels
from envs.requirements_lock import read_lock, without_project
from envs.uv_lock import check_uv_lock, export_uv_lock, missing_in_uv_lock, uv_lock_pins

SHA = "0" * 64
PROJECT = """
[project]
name = "Demo.Project"
version = "1"
requires-python = ">=3.9"
dependencies = ["six"{more}]

[project.optional-dependencies]
fast = ["toolz"]

[dependency-groups]
dev = ["iniconfig"]
"""


@pytest.fixture(scope="session")
def locked(tmp_path_factory):
    """A real one: the text of a uv.lock of that project."""
    folder = tmp_path_factory.mktemp("uv")
    (folder / "pyproject.toml").write_text(PROJECT.format(more=""))
    done = subprocess.run([uv.find_uv_bin(), "lock", "-q"], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"NO PACKAGE INDEX: uv.lock is not installed: {done.stderr[-300:]}")
    return (folder / "uv.lock").read_text()


def test_what_the_project_needs_is_installed_and_no_more(tmp_path, project, store, locked):
    (project / "pyproject.toml").write_text(PROJECT.format(more=""))
    (project / "uv.lock").write_text(locked)
    version = capture(project)
    assert version.manifest.lock.path == "uv.lock"
    store.put(version)
    with EnvCache(tmp_path / "cache", store).lease(version.hash) as environment:
        code = "import six, importlib.util as u; print(six.__file__, u.find_spec('toolz'), u.find_spec('iniconfig'))"
        done = subprocess.run([environment.python, "-c", code], capture_output=True, text=True)
        path, *others = done.stdout.split()
        assert path.startswith(str(environment.layer_root))
        assert others == ["None", "None"]
        (log,) = (tmp_path / "cache/logs").iterdir()
        assert "--require-hashes" in log.read_text()


def test_a_version_of_the_project_itself_is_not_its_dependency(project, locked):
    (project / "pyproject.toml").write_text(PROJECT.format(more=""))
    (project / "uv.lock").write_text(locked)
    ((name, pinned),) = uv_lock_pins(locked)
    assert name == "six"
    assert [str(change) for change in requirement_changes(locked, "six==0.1\n")] == [f"six {pinned} → 0.1"]


def test_a_hash_in_it_is_checked(tmp_path, project, store, locked):
    import re

    (project / "uv.lock").write_text(re.sub("sha256:[0-9a-f]{64}", f"sha256:{SHA}", locked))
    version = capture(project)
    store.put(version)
    with (
        pytest.raises(EnvironmentBuildFailed, match=r"[Hh]ash"),
        EnvCache(tmp_path / "cache", store).lease(version.hash),
    ):
        pass


@pytest.mark.parametrize(
    ("now", "says"), [('"six", "Requests>=2"', "requests;"), ('"six==1.16.0", "toolz"', "six==1.16.0, toolz;")]
)
def test_one_that_is_older_than_the_project_is_refused(project, locked, now, says):
    (project / "uv.lock").write_text(locked.replace('"toolz"', '"other"'))
    (project / "pyproject.toml").write_text(PROJECT.format(more="").replace('"six"', now))
    with pytest.raises(UnlockedRequirements, match=rf"older than pyproject\.toml, which depends on {says}.*uv lock"):
        capture(project)


LISTED = (
    'version = 1\n[[package]]\nname = "demo"\nsource = { virtual = "." }\n[package.metadata]\nrequires-dist = [%s]\n'
)


@pytest.mark.parametrize(
    ("listed", "declared"),
    [
        ('{ name = "a-b", specifier = ">=1.0a1,<2" }', "A.B[x] < 2.0, >= 1.0.alpha1 ; python_version > '3'"),
        ('{ name = "a", specifier = ">1" }, { name = "a", marker = "extra == \'x\'" }', "a>1"),
        ('{ name = "a", git = "https://x/y" }', "a>=3"),
        ('{ name = "a", url = "https://x/a.whl" }', "a @ https://x/a.whl"),
        ('{ name = "a", specifier = "==1.*" }', "a==1.*"),
        ('{ name = "a" }', "a"),
    ],
)
def test_the_same_requirements_in_other_words_are_no_news(listed, declared):
    assert missing_in_uv_lock(LISTED % listed, {"project": {"dependencies": [declared]}}) == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            'requires-python = ">=3.99"',
            r"uv.lock is for Python >=3.99, and this is 3\.\d+\.\d+: see to \[tool.hwe\] python",
        ),
        ("supported-markers = [\"sys_platform == 'none'\"]", "is for sys_platform == 'none' alone"),
    ],
)
def test_one_that_was_made_for_elsewhere_installs_nothing(tmp_path, project, store, locked, line, says):
    (project / "uv.lock").write_text(re.sub("^requires-python.*$", lambda _: line, locked, flags=re.MULTILINE))
    version = capture(project)
    store.put(version)
    with pytest.raises(EnvironmentBuildFailed, match=says), EnvCache(tmp_path / "cache", store).lease(version.hash):
        pass
    with pytest.raises(EnvironmentBuildFailed, match=says):
        store_wheels(store, version.hash)


ROOT = 'version = 1\n[[package]]\nname = "demo"\nversion = "1"\nsource = { virtual = "." }\n'
NEEDS = ROOT + 'dependencies = [{ name = "six" }]\n[[package]]\nname = "six"\nversion = "1"\n'
REGISTRY = 'source = { registry = "https://index.example/simple" }\n'
WRONG = {
    "is not TOML": "version = ",
    "the version 2": "version = 2",
    "no list of packages": "version = 1\npackage = [1]",
    "made elsewhere": 'version = 1\n[[package]]\nname = "a"\nsource = { virtual = "other" }\n',
    "six from git": NEEDS + 'source = { git = "https://x/y#0" }\n',
    "six from a directory, which no hash fixes: copy its code": NEEDS + 'source = { editable = "six" }\n',
    "six from the file six.whl, which is outside the lock: copy its code": NEEDS + 'source = { path = "six.whl" }\n',
    "six from ./wheels, which is outside": NEEDS + 'source = { registry = "./wheels" }\n',
    "names no file of six": NEEDS + REGISTRY,
    "file of six without": NEEDS + REGISTRY + 'wheels = [{ url = "u" }]\n',
    "a file of six without a SHA-256": NEEDS + REGISTRY + 'sdist = { url = "u", hash = "md5:00" }\n',
}


@pytest.mark.parametrize("problem", WRONG)
def test_what_fixes_nothing_is_refused_and_says_how_to_lock(project, problem):
    (project / "uv.lock").write_text(WRONG[problem])
    with pytest.raises(UnlockedRequirements) as caught:
        capture(project)
    assert problem in str(caught.value)
    assert "uv lock" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_only_a_group_or_an_unasked_extra_needs_may_come_from_anywhere(project):
    ours = ROOT + '[package.dev-dependencies]\ndev = [{ name = "tool" }]\n[package.optional-dependencies]\n'
    ours += 'fast = [{ name = "tool" }]\n[[package]]\nname = "tool"\nsource = { git = "https://x/y#0" }\n'
    (project / "uv.lock").write_text(ours)
    assert capture(project).manifest.lock is None


def test_the_extras_of_what_is_needed_are_needed():
    text = ROOT + 'dependencies = [{ name = "a", extra = ["x"] }, { name = "b" }]\n'
    text += f'[[package]]\nname = "a"\nversion = "1"\n{REGISTRY}dependencies = [{{ name = "b" }}]\n'
    text += 'optional-dependencies = { x = [{ name = "c" }], y = [{ name = "d" }] }\n'
    text += f'wheels = [{{ url = "u", hash = "sha256:{SHA}" }}]\n'
    for name in ("b", "c", "d"):
        # In a circle, too.
        text += f'[[package]]\nname = "{name}"\nversion = "1"\n{REGISTRY}dependencies = [{{ name = "a" }}]\n'
        text += f'sdist = {{ url = "u", hash = "sha256:{SHA}" }}\n'
    assert check_uv_lock(text) == (3, None)
    assert sorted(name for name, _ in uv_lock_pins(text)) == ["a", "b", "c"]


PACKAGE = """
[project]
name = "demo"
version = "1"
requires-python = ">=3.9"
dependencies = ["six"]

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[tool.hwe]
python = "{python}"
"""


@pytest.mark.parametrize("form", ["uv.lock", "requirements.txt"])
def test_a_lock_that_lists_the_project_itself_installs_what_that_needs(tmp_path, project, store, locked, form):
    (project / "pyproject.toml").write_text(PACKAGE.format(python=f"{sys.version_info[0]}.{sys.version_info[1]}"))
    subprocess.run([uv.find_uv_bin(), "lock", "-q"], cwd=project, check=True)
    assert 'source = { editable = "." }' in (project / "uv.lock").read_text()
    if form != "uv.lock":
        subprocess.run([uv.find_uv_bin(), "export", "--frozen", "-q", "-o", form], cwd=project, check=True)
        assert "-e ." in (project / form).read_text().splitlines()
    version = capture(project)
    assert version.manifest.lock.path == form
    store.put(version)
    (wheel,) = store_wheels(store, version.hash).wheels
    assert wheel.file.startswith("six-")
    with EnvCache(tmp_path / "cache", store).lease(version.hash) as environment:
        code = "import six, orders.steps; print(orders.steps.__file__)"
        done = subprocess.run([environment.python, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.startswith(str(environment.project))
        assert not list(environment.layer_root.rglob("demo*"))


@pytest.mark.parametrize(
    "line", ["-e .", "--editable .", "--editable=.", "-e ./", ".", "./", "-e file:.", ".[fast, more]", "-e .  # this"]
)
def test_the_project_itself_is_no_requirement(line):
    assert read_lock("requirements.txt", f"{line}\n".encode()) is None
    assert without_project(f"a\n{line}\n    # via x\nb") == "a\n    # via x\nb"


@pytest.mark.parametrize("line", ["-e ..", "../x", "./x", "-e .x", "-e./y"])
def test_another_directory_is_refused(line):
    with pytest.raises(UnlockedRequirements):
        read_lock("requirements.txt", f"{line}\n".encode())


def test_a_uv_that_was_killed_says_nothing_against_the_lock(tmp_path):
    killed = tmp_path / "uv"
    killed.write_text("#!/bin/sh\nkill -KILL $$\n")
    killed.chmod(0o755)
    with pytest.raises(ChildProcessError, match="SIGKILL"):
        export_uv_lock(ROOT, str(killed), "3.12.1")
