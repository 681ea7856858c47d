"""A pylock.toml is a lock like any other, if it fixes every file."""

import subprocess

import pytest
import uv
from packaging.requirements import Requirement

from envs import EnvCache, UnlockedRequirements, capture, requirement_changes
from envs.pylock import pylock_requirements

SHA = "0" * 64


@pytest.fixture(scope="session")
def six_pylock(tmp_path_factory):
    """A real one."""
    folder = tmp_path_factory.mktemp("pylock")
    done = subprocess.run(
        [uv.find_uv_bin(), "pip", "compile", "-q", "-", "-o", "pylock.toml"],
        cwd=folder,
        input="six==1.17.0\n",
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"NO PACKAGE INDEX: pylock.toml is not installed: {done.stderr[-300:]}")
    return (folder / "pylock.toml").read_text()


def test_it_is_installed_as_it_says(tmp_path, project, store, six_pylock):
    (project / "pylock.toml").write_text(six_pylock)
    version = capture(project)
    assert version.manifest.lock.path == "pylock.toml"
    store.put(version)
    with EnvCache(tmp_path / "cache", store).lease(version.hash) as environment:
        code = "import six; print(six.__version__, six.__file__)"
        done = subprocess.run([environment.python, "-c", code], capture_output=True, text=True)
        told, path = done.stdout.split()
        assert told == "1.17.0"
        assert path.startswith(str(environment.layer_root))
        (log,) = (tmp_path / "cache/logs").iterdir()
        assert "--require-hashes" in log.read_text()


def test_as_requirements_it_has_the_default_groups_and_no_extras(six_pylock):
    """As pdm writes them."""
    groups = 'extras = ["x"]\ndependency-groups = ["default", "dev"]\ndefault-groups = ["default"]\n\n[[packages]]'
    text = six_pylock.replace("[[packages]]", groups, 1)
    for marker, is_wanted in {
        """'"default" in dependency_groups'""": True,
        """'"dev" in dependency_groups or sys_platform == "none"'""": False,
        """\"'x' not in extras and 'dev' not in dependency_groups\"""": True,
        """'"default" not in dependency_groups or "x" in extras'""": False,
    }.items():
        (line,) = pylock_requirements(text.replace('name = "six"', f'name = "six"\nmarker = {marker}')).splitlines()
        assert Requirement(line.split(" --hash")[0]).marker.evaluate() == is_wanted


def test_a_hash_in_it_is_checked(tmp_path, project, store, six_pylock):
    import re

    import envs

    (project / "pylock.toml").write_text(re.sub('sha256 = "[0-9a-f]{64}"', f'sha256 = "{SHA}"', six_pylock))
    version = capture(project)
    store.put(version)
    with (
        pytest.raises(envs.EnvironmentBuildFailed, match=r"[Hh]ash"),
        EnvCache(tmp_path / "cache", store).lease(version.hash),
    ):
        pass


def test_requirements_come_first(project, six_lock, six_pylock):
    (project / "pylock.toml").write_text(six_pylock)
    (project / "requirements.txt").write_text(six_lock)
    assert capture(project).manifest.lock.path == "requirements.txt"
    (project / "pyproject.toml").write_text('[tool.hwe]\nrequirements = "pylock.toml"\n')
    assert capture(project).manifest.lock.path == "pylock.toml"
    assert requirement_changes(six_lock, six_pylock) == []


HEAD = 'lock-version = "1.0"\n'
SIX = '[[packages]]\nname = "six"\nversion = "1.0"\n'
WRONG = {
    "is not TOML": "lock-version = ",
    "lock-version None": SIX,
    "lock-version '2.0'": 'lock-version = "2.0"',
    "no list of packages": HEAD + "packages = 1",
    "without a name": HEAD + '[[packages]]\nversion = "1"',
    "names no file of six": HEAD + SIX,
    "from a vcs": HEAD + SIX + 'vcs = {type = "git", url = "x", commit-id = "y"}',
    "from a directory": HEAD + SIX + 'directory = {path = "../six"}',
    "the project itself, which no hash fixes: leave it out": HEAD + SIX + 'directory = {path = ".", editable = true}',
    "outside the lock: copy its code": HEAD + SIX + f'sdist = {{path = "six.tar.gz", hashes = {{sha256 = "{SHA}"}}}}',
    "without a SHA-256": HEAD + SIX + 'wheels = [{url = "u", hashes = {md5 = "00"}}]',
    "of six without a SHA-256": HEAD + SIX + 'wheels = [{url = "u", hashes = {sha256 = "00"}}]',
    "not a table": HEAD + SIX + "wheels = [1]",
}


@pytest.mark.parametrize("problem", WRONG)
def test_what_fixes_nothing_is_refused_and_says_how_to_lock(project, problem):
    (project / "pylock.toml").write_text(WRONG[problem])
    with pytest.raises(UnlockedRequirements) as caught:
        capture(project)
    assert problem in str(caught.value)
    assert "-o pylock.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_packages_there_is_nothing_to_install(project):
    (project / "pylock.toml").write_text(HEAD + "packages = []\n")
    assert capture(project).manifest.lock is None
