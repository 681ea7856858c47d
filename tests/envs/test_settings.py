import pickle

import pytest

import envs
from envs import capture, read_project_settings
from envs.requirements_lock import read_lock

HASH = "--hash=sha256:" + "0" * 64


def settings_of(tmp_path, text):
    (tmp_path / "pyproject.toml").write_text(text)
    return read_project_settings(tmp_path)


def test_all_settings_are_read(tmp_path):
    (tmp_path / "deps.lock").touch()
    text = (
        '[tool.hwe]\npython="3.12"\nrequirements="deps.lock"\ninclude=["a"]\nexclude=["b"]\npreload=["a.b"]\n'
        'database_url="x"\n[tool.hwe.sandbox]\nlevel="process"\n'
    )
    assert settings_of(tmp_path, text) == envs.ProjectSettings("3.12", "deps.lock", ("a",), ("b",), ("a.b",))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('pyton="3.12"', "did you mean `python`"),
        ("python=3.12", 'string such as "3.12"'),
        ('python=">=3.12"', "string such as"),
        ('include="a"', "list of strings"),
        ('preload=["a b"]', "not the name of a module"),
        ('requirements="../x"', "relative path inside"),
        ('requirements="missing.txt"', "no file missing.txt"),
        ("= 1", "not valid TOML"),
    ],
)
def test_a_wrong_setting_is_explained_in_one_line(tmp_path, line, says):
    with pytest.raises(envs.ProjectSettingsInvalid, match=says) as caught:
        settings_of(tmp_path, f"[tool.hwe]\n{line}\n")
    assert "\n" not in str(caught.value)
    assert caught.value.fault == "project"


def test_a_python_that_is_not_supported_is_refused(tmp_path):
    with pytest.raises(envs.PythonUnsupported, match=r"3\.9 to 3\.14"):
        settings_of(tmp_path, '[tool.hwe]\npython="2.7"\n')


@pytest.mark.parametrize("text", ["system\n", "pypy3.10\n", "# nothing\n", ""])
def test_a_python_version_file_for_other_tools_is_ignored(tmp_path, text):
    (tmp_path / ".python-version").write_text(text)
    assert read_project_settings(tmp_path).python is None


@pytest.mark.parametrize(
    ("lock", "says"),
    [
        ("six\n", "not pinned"),
        ("# ok\nsix>=1 " + HASH, "line 2.*not pinned"),
        ("six==1.* " + HASH, "not pinned"),
        ("six==1.17.0", "no --hash"),
        ("six==1.17.0 --hash=md5:00", "not SHA-256"),
        ("-r other.txt", "outside the lock"),
        ("-cother.txt", "outside the lock"),
        ("-e ../other", "outside the lock"),
        ("--find-links ./wheels", "option that a lock cannot have"),
        ("six at home", "cannot be read"),
        ("./six.whl", "is a path, and not in the lock: copy its code into the project, or take it from an index"),
        ("vendor/six-1.17.0-py3-none-any.whl " + HASH, "is a path"),
        ("../six", "is a path"),
        ("six @ https://example.org/six.whl", "no --hash"),
        ("six @ git+https://example.org/six@1.17 " + HASH, "no hash fixes: copy its code into the project"),
        ("six @ file:///srv/six.whl " + HASH, "outside the lock: copy its code"),
    ],
)
def test_an_unlocked_requirement_is_named_with_the_command_that_locks_it(lock, says):
    with pytest.raises(envs.UnlockedRequirements, match=says) as caught:
        read_lock("requirements.txt", lock.encode())
    assert "mv requirements.txt requirements.in && uv pip compile --generate-hashes" in str(caught.value)


def test_a_lock_reads_the_same_with_either_line_end():
    text = f"# made by uv\nsix==1.17.0 \\\n    {HASH} \\\n    {HASH}\n    # via x\n"
    text += f"b==1 ; python_version < '4' {HASH}\n"
    unix = read_lock("requirements.txt", text.encode())
    assert unix == read_lock("requirements.txt", b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert unix is not None


def test_a_lock_without_requirements_is_no_lock():
    assert read_lock("requirements.txt", b"# nothing\n\n") is None


@pytest.mark.parametrize(
    ("files", "command"),
    [
        (
            {"pyproject.toml": '[project]\nname="x"\ndependencies=["six"]\n'},
            "uv pip compile --generate-hashes pyproject.toml",
        ),
        ({"pyproject.toml": '[project]\nname="x"\ndependencies=["six"]\n', "poetry.lock": ""}, "poetry export"),
        ({"pyproject.toml": '[project]\nname="x"\ndependencies=["six"]\n', "uv.lock": ""}, "uv lock"),
        ({"poetry.lock": ""}, "poetry export"),
        ({"Pipfile.lock": "{}"}, "pipenv requirements --hash"),
        ({"requirements.txt": "six\n"}, "mv requirements.txt requirements.in"),
    ],
)
def test_a_project_that_needs_packages_without_a_lock_is_told_the_command(tmp_path, tree, files, command):
    tree(tmp_path, files)
    with pytest.raises(envs.UnlockedRequirements) as caught:
        capture(tmp_path)
    assert command in str(caught.value)


def test_a_project_without_dependencies_needs_no_lock(tmp_path, tree):
    tree(tmp_path, {"pyproject.toml": '[project]\nname="x"\ndependencies=[]\n', "poetry.lock": "", "x.py": ""})
    assert capture(tmp_path).manifest.lock is None


def test_errors_survive_a_trip_to_another_process():
    error = pickle.loads(pickle.dumps(envs.PythonNotFound("3.14", ["3.11.2"])))
    assert isinstance(error, envs.PythonNotFound)
    assert error.found == ("3.11.2",)
    assert "uv python install 3.14" in str(error)
