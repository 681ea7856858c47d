"""Promise: the same project gives the same hash on every machine."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys

import pytest

import envs
from envs import capture


@pytest.fixture
def copy(project, tmp_path):
    """The same project written later, in another order, under another umask."""
    files = [p.relative_to(project) for p in project.rglob("*") if p.is_file()]
    target = tmp_path / "elsewhere"
    before = os.umask(0o077)
    try:
        for path in sorted(files, reverse=True):
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            executable = os.access(project / path, os.X_OK) and (project / path).stat().st_mode & 0o100
            (target / path).write_bytes((project / path).read_bytes())
            (target / path).chmod(0o700 if executable else 0o600)
            os.utime(target / path, (1, 1))
    finally:
        os.umask(before)
    return target


def test_two_checkouts_of_one_project_have_one_hash_and_one_artifact(project, copy):
    first, second = capture(project), capture(copy)
    assert first.hash == second.hash
    assert first.artifact_id == second.artifact_id
    assert (first.project, second.project) == ("orders-project", "elsewhere")


def test_the_hash_of_a_known_project_is_pinned(tree, tmp_path):
    tree(
        tmp_path,
        {"a.py": "x = 1\n", "b/c.sh": ("#!\n", 0o755), "pyproject.toml": '[tool.hwe]\npython="3.12"\n'},
    )
    version = capture(tmp_path)
    assert version.manifest.to_bytes().startswith(b'{"files":[["a.py","')
    # Should these ever change, every stored code version of every user has become another one.
    assert version.hash == "e74216fbdbeb6a5c69684aa874b05c93d9035105f3cf1d4b09231b93a0595325"
    assert version.artifact_id == "f235b13953cce36cb92db93064a7a1ea570aca98cada2365dd5c8ed8b7a9678c"


@pytest.mark.parametrize("change", ["byte", "exec bit", "new file", "rename", "python"])
def test_every_change_that_matters_changes_the_hash(project, change):
    before = capture(project).hash
    match change:
        case "byte":
            (project / "orders/steps.py").write_text("def price(n):\n    return n * 3\n")
        case "exec bit":
            (project / "orders/steps.py").chmod(0o744)
        case "new file":
            (project / "orders/empty.py").touch()
        case "rename":
            (project / "orders/steps.py").rename(project / "orders/step.py")
        case "python":
            (project / "pyproject.toml").write_text('[tool.hwe]\npython = "3.13"\n')
    assert capture(project).hash != before


def test_one_requirement_changes_the_hash(project, six_lock):
    hashes = {capture(project).hash}
    (project / "requirements.txt").write_text(six_lock)
    hashes.add(capture(project).hash)
    (project / "requirements.txt").write_text(six_lock.replace("six==1.17.0", "six==1.16.0"))
    hashes.add(capture(project).hash)
    assert len(hashes) == 3


def test_litter_never_counts(project, tree):
    before = capture(project).hash
    tree(
        project,
        {
            "orders/__pycache__/steps.cpython-312.pyc": b"\0",
            "orders/old.pyc": b"\0",
            ".git/config": "",
            "odd-name/pyvenv.cfg": "",
            "odd-name/lib/x.py": "",
            "sub/.git": "gitdir: elsewhere",
            ".env": "SECRET=1",
            ".hwe/cache/x": "",
            "hwe.sqlite-wal": "",
            "hwe.toml": "",
            ".coverage.host.1": "",
            "orders/#steps.py#": "",
            "orders/.steps.py.swp": "",
            "orders/steps.py~": "",
            "x.egg-info/PKG-INFO": "",
        },
    )
    (project / ".venv").symlink_to("/usr")
    (project / "orders/.#steps.py").symlink_to("user@host.1:2")
    assert capture(project).hash == before


def test_include_and_exclude_choose_but_settings_and_lock_always_count(project, tree, six_lock):
    tree(project, {"locks/prod.lock": six_lock, "locks/other": "", "notes/x.md": "", "orders/template.py": ""})
    (project / "pyproject.toml").write_text(
        '[tool.hwe]\npython = "3.12"\nrequirements = "locks/prod.lock"\ninclude = ["/orders/"]\n'
        'exclude = ["template.*", "locks/", "pyproject.toml"]\n'
    )
    paths = [f.path for f in capture(project).manifest.files]
    assert paths == ["locks/prod.lock", "orders/__init__.py", "orders/steps.py", "pyproject.toml"]


def test_a_link_to_a_file_inside_is_that_file(project):
    (project / "alias.py").symlink_to("orders/steps.py")
    files = {f.path: f for f in capture(project).manifest.files}
    assert files["alias.py"].sha256 == files["orders/steps.py"].sha256


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "nowhere", "link"])
def test_symlink_escape_is_refused(project, target):
    (project.parent / "outside").write_text("secret")
    (project / "link").symlink_to(target)
    with pytest.raises(envs.SymlinkEscapes, match="exclude") as caught:
        capture(project)
    assert (caught.value.path, caught.value.target) == ("link", target)
    (project / "pyproject.toml").write_text('[tool.hwe]\npython = "3.12"\nexclude = ["link"]\n')
    assert capture(project)


def test_a_link_to_a_folder_is_refused(project):
    (project / "link").symlink_to("orders")
    with pytest.raises(envs.SymlinkToDirectory):
        capture(project)


@pytest.mark.parametrize(
    ("one", "other"),
    [("a/Data.txt", "a/data.txt"), ("Pkg/x", "pkg/y"), ("größe", "gro\u0308ße"), ("ß", "SS")],
)
def test_case_collision_is_refused(project, tree, one, other):
    tree(project, {one: "1", other: "2"})
    with pytest.raises(envs.CaseCollision):
        capture(project)


@pytest.mark.parametrize("name", [b"a\\b", b"a\nb", b"caf\xe9"])
def test_unusable_name_is_refused(project, name):
    with open(os.path.join(os.fsencode(project), name), "wb"):
        pass
    with pytest.raises(envs.UnusableName):
        capture(project)


def test_names_are_stored_in_one_unicode_form(project, tree):
    tree(project, {"e\u0301.txt": ""})
    assert "\u00e9.txt" in [f.path for f in capture(project).manifest.files]


def test_fifo_and_socket_are_refused(project):
    os.mkfifo(project / "pipe")
    with pytest.raises(envs.UnsupportedFile, match="FIFO"):
        capture(project)
    (project / "pipe").unlink()
    with contextlib.chdir(project), socket.socket(socket.AF_UNIX) as unix:
        unix.bind("s")
        with pytest.raises(envs.UnsupportedFile, match="socket"):
            capture(project)
    (project / "s").unlink()
    (project / "pyproject.toml").unlink()
    os.mkfifo(project / "pyproject.toml")
    with pytest.raises(envs.UnsupportedFile):
        capture(project)


@pytest.mark.parametrize("path", ["orders/steps.py", "orders"])
def test_unreadable_file_is_named(project, without_privilege, path):
    (project / path).chmod(0)
    code = "import sys, envs\ntry: envs.capture(sys.argv[1])\nexcept envs.UnreadableFile as e: print(e.path)"
    command = [*without_privilege, sys.executable, "-c", code, project]
    done = subprocess.run(command, capture_output=True, text=True)
    (project / path).chmod(0o755)
    assert done.stdout.strip() == path, done.stderr


def test_the_python_is_what_the_project_says_and_nothing_when_it_does_not(project):
    (project / "pyproject.toml").unlink()
    version = capture(project)
    assert version.manifest.python is None
    assert b'"python":null' in version.manifest.to_bytes()
    (project / ".python-version").write_text("3.12.1\n")
    assert capture(project).manifest.python == "3.12.1"


def test_editing_the_project_afterwards_does_not_change_what_was_captured(project):
    (project / "big.bin").write_bytes(os.urandom(9 * 1024**2))  # more than is kept in memory
    version = capture(project)
    shutil.rmtree(project)
    with version.open_artifact() as one, version.open_artifact() as other:
        other.read(1000)
        assert (
            envs.StoredArtifact(version.hash, version.artifact_id, version.size_bytes, "", one).verify()
            == version.manifest
        )


def test_an_empty_or_missing_project_is_refused(tmp_path):
    with pytest.raises(envs.ProjectSettingsInvalid):
        capture(tmp_path)
    with pytest.raises(envs.ProjectNotFound):
        capture(tmp_path / "missing")


def test_importing_the_package_stays_light():
    heavy = ("virtualenv", "pathspec", "packaging", "uv", "filelock")
    code = f"import sys, envs; print([m for m in {heavy} if m in sys.modules])"
    root = os.path.dirname(os.path.dirname(envs.__file__))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root}
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_full_directory_for_temporary_files_is_named_as_such(project, tmp_path, monkeypatch):
    (project / "large.bin").write_bytes(os.urandom(9 * 1024**2))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(envs.CacheUnusable, match=r"directory for temporary files .*gone"):
        capture(project)
