"""A large project that nobody touched is not read again, and one that somebody did touch always is."""

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

import envs
from envs import DirectoryStore, capture
from envs.stat_cache import MIN_FILES, RACY_NS

NOT_RACY_SECONDS = RACY_NS / 1e9 + 0.1

# Prints the hash, and how many files below the project it has opened.
CAPTURE = """
import sys, envs
project, cache = sys.argv[1:]
opened = set()
sys.addaudithook(lambda event, args: opened.add(str(args[0])) if event == "open" else None)
version = envs.capture(project, stat_cache=cache)
print(version.hash, sum(path.startswith(project) for path in opened))
"""


@pytest.fixture
def large(project):
    for number in range(MIN_FILES):
        folder = project / f"pkg{number % 7}"
        folder.mkdir(exist_ok=True)
        (folder / f"module{number}.py").write_text(f"NUMBER = {number:04}\n")
    return project


@pytest.fixture
def captured(large, tmp_path, start):
    """Captures in a process of its own: the hash, and how many of the project's files were read."""

    def capture():
        out, err = start(CAPTURE, large, tmp_path / "captures").communicate()
        assert err == ""
        code_version_hash, opened = out.split()
        return code_version_hash, int(opened)

    return capture


def test_what_nobody_touched_is_not_read_again(captured, large):
    time.sleep(NOT_RACY_SECONDS)
    first, opened = captured()
    assert opened > MIN_FILES
    again, opened = captured()
    assert again == first == capture(large, reread=True).hash
    assert opened < 10  # pyproject.toml, and whether there is a lock
    # A checkout of the same bytes: all is read, and known from then on.
    for path in large.rglob("*.py"):
        os.utime(path)
    time.sleep(NOT_RACY_SECONDS)
    again, opened = captured()
    assert (again, opened > MIN_FILES) == (first, True)
    again, opened = captured()
    assert (again, opened < 10) == (first, True)


def rewritten_as_if_nothing_was(path):
    """Other bytes, as many, and the time that it had."""
    status = path.stat()
    path.write_text(path.read_text().replace("NUMBER", "REBMUN"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replaced(path):
    other = path.with_suffix(".new")
    other.write_text("NUMBER = 9999\n")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    os.rename(other, path)


def linked(path):
    elsewhere = path.with_name("elsewhere.py")
    os.rename(path, elsewhere)
    elsewhere.write_text("NUMBER = 8888\n")
    path.symlink_to("elsewhere.py")


CHANGES = {
    "one byte": lambda project: (project / "pkg0/module0.py").write_text("NUMBER = 0001\n"),
    "one byte, same times": lambda project: rewritten_as_if_nothing_was(project / "pkg1/module1.py"),
    "another file in its place": lambda project: replaced(project / "pkg2/module2.py"),
    "a link in its place": lambda project: linked(project / "pkg3/module3.py"),
    "one more": lambda project: (project / "pkg0/zzz.py").write_text(""),
    "one less": lambda project: (project / "pkg0/module0.py").unlink(),
    "another name": lambda project: (project / "pkg0/module0.py").rename(project / "pkg0/module0x.py"),
    "an execute bit": lambda project: (project / "pkg0/module0.py").chmod(0o755),
    "another Python": lambda project: (project / "pyproject.toml").write_text('[tool.hwe]\npython = "3.13"\n'),
    "a Python named elsewhere": lambda project: [
        (project / "pyproject.toml").write_text("[tool.hwe]\n"),
        (project / ".python-version").write_text("3.12\n"),
    ],
    "a pattern": lambda project: (project / "pyproject.toml").write_text('[tool.hwe]\nexclude = ["pkg6/"]\n'),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("seconds", [0, NOT_RACY_SECONDS], ids=["at once", "later"])
def test_every_change_is_seen(large, tmp_path, change, seconds):
    kept = tmp_path / "captures"
    first = capture(large, stat_cache=kept).hash
    time.sleep(seconds)
    assert capture(large, stat_cache=kept).hash == first
    CHANGES[change](large)
    changed = capture(large, stat_cache=kept)
    assert changed.hash != first
    assert changed.hash == capture(large, reread=True).hash


def test_a_lock_that_is_wanted_all_at_once_is_asked_for(large, tmp_path):
    kept = tmp_path / "captures"
    capture(large, stat_cache=kept)
    with (large / "pyproject.toml").open("a") as file:
        file.write('[project]\nname = "x"\ndependencies = ["six"]\n')
    with pytest.raises(envs.UnlockedRequirements):
        capture(large, stat_cache=kept)


def test_the_artifact_of_what_was_not_read_is_there_all_the_same(large, tmp_path):
    kept = tmp_path / "captures"
    first, again = (capture(large, stat_cache=kept) for _ in range(2))
    assert first == again
    with first.open_artifact() as one, again.open_artifact() as other:
        assert one.read() == other.read()
    store = DirectoryStore(tmp_path / "other-store")
    store.put(capture(large, stat_cache=kept))
    with store.get(first.hash) as stored:
        assert stored.verify() == first.manifest


def test_an_artifact_of_what_was_changed_in_between_is_refused(large, tmp_path):
    kept = tmp_path / "captures"
    capture(large, stat_cache=kept)
    again = capture(large, stat_cache=kept)
    (large / "pkg0/module0.py").write_text("NUMBER = 1\n")
    with pytest.raises(envs.ProjectChanged, match="try again"):
        DirectoryStore(tmp_path / "store").put(again)


def damages(data):
    _, _, body = data.partition(b"\n")
    yield b""
    yield data[: len(data) // 2]
    yield data.replace(b"0", b"1", 3)
    for other in (b"[]", body.replace(b'"schema":1', b'"schema":2'), body.replace(b'"stats":[', b'"stats":[1,')):
        yield hashlib.sha256(other).hexdigest().encode() + b"\n" + other


def test_damage_to_what_is_kept_costs_time_alone(large, tmp_path):
    kept = tmp_path / "captures"
    first = capture(large, stat_cache=kept).hash
    (path,) = kept.iterdir()
    for damaged in damages(path.read_bytes()):
        path.write_bytes(damaged)
        assert capture(large, stat_cache=kept).hash == first
    path.unlink()
    path.mkdir()
    assert capture(large, stat_cache=kept).hash == first


def test_nothing_is_kept_of_small_projects_or_inside_of_one(project, large, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    (small / "a.py").write_text("")
    capture(small, stat_cache=tmp_path / "captures")
    assert not (tmp_path / "captures").exists()
    inside = capture(large, stat_cache=large / "captures")
    assert not (large / "captures").exists()
    assert capture(large, stat_cache=tmp_path / "captures").hash == inside.hash


def test_the_place_is_that_of_the_installation(large, tmp_path, monkeypatch):
    monkeypatch.setenv("HWE_HOME", str(tmp_path / "home"))
    capture(large)
    (kept,) = (tmp_path / "home/captures").iterdir()
    assert kept.stat().st_mode & 0o077 == 0 or kept.parent.stat().st_mode & 0o077 == 0
    assert json.loads(kept.read_bytes().partition(b"\n")[2])["schema"] == 2


def test_what_is_kept_does_not_pile_up(large, tmp_path, monkeypatch):
    monkeypatch.setattr("envs.stat_cache.MAX_SNAPSHOTS", 2)
    kept = tmp_path / "captures"
    roots = []
    for number in range(4):
        root = tmp_path / f"clone{number}"
        large.rename(root)
        roots.append(root)
        capture(root, stat_cache=kept)
        large = root
    assert len(list(kept.iterdir())) == 2
    assert (kept / hashlib.sha256(os.fsencode(str(Path(roots[-1]).resolve()))).hexdigest()).exists()
