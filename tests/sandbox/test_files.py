"""A step changes nothing but its own scratch directory, and reads nothing but what it runs on."""

import os
import time

import pytest

from runner.errors import SandboxUnavailable

CHANGES = [
    "write",
    "append",
    "truncate",
    "rename",
    "rename_into_scratch",
    "replace",
    "unlink",
    "hardlink_out",
    "hardlink_in",
    "symlink_in",
    "write_through_symlink",
    "mkdir",
    "mkfifo",
    "setxattr",
    "write_through_proc",
    "write_through_descriptor",
]


def snapshot(folder):
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.is_symlink() and path.readlink(),  # a note of ours is a link that leads nowhere
            path.read_bytes() if path.is_file() else None,
        )
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def other_version(cache, deploy):
    """The environment of a code version that is none of the step's business."""
    with cache.lease(deploy("faults").hash) as environment:
        yield environment


@pytest.mark.parametrize("change", CHANGES)
def test_another_versions_environment_cannot_be_changed(attack, other_version, change):
    before = snapshot(other_version.root)
    attack.refused(change, str(other_version.project / "faults" / "steps.py"))
    assert snapshot(other_version.root) == before


@pytest.mark.parametrize("look", ["read", "list_directory"])
def test_another_versions_code_cannot_be_read(attack, other_version, look):
    attack.refused(look, str(other_version.project / "faults" / "steps.py"))


@pytest.mark.parametrize("change", ["write", "append", "truncate", "unlink", "replace", "read"])
def test_the_workers_files_are_out_of_reach(attack, tmp_path, change):
    ledger = tmp_path / "hwe.sqlite"
    ledger.write_text("records")
    attack.refused(change, str(ledger))
    assert ledger.read_text() == "records"


def test_password_hashes_cannot_be_read(attack):
    attack.refused("read", "/etc/shadow")


@pytest.mark.parametrize("drop", ["drop_pth", "drop_pyc", "patch_own_source", "patch_interpreter"])
def test_nothing_is_left_in_the_own_environment_for_the_next_step(attack, cache, drop):
    with cache.lease(attack.hash) as environment:
        before = snapshot(environment.root)
        attack.refused(drop)
        assert snapshot(environment.root) == before


def test_a_siblings_scratch_can_neither_be_read_nor_written(attack):
    running = attack.start("leave_secret")
    scratches = []
    deadline = time.monotonic() + 30
    while not scratches and time.monotonic() < deadline:
        scratches = list(attack.supervisor._versions._files.scratch.rglob("secret"))
        time.sleep(0.02)
    [secret] = scratches
    attack.refused("read", str(secret))
    attack.refused("write", str(secret))
    attack.refused("siblings")
    assert running.result().status == "completed"


@pytest.mark.parametrize("change", ["chmod", "utime"])
def test_known_gap_modes_and_times_of_the_workers_files_can_be_changed(attack, tmp_path, change):
    # docs/security.md names it: Landlock has no right for it. If this fails, the gap is closed: say so there.
    victim = tmp_path / "victim"
    victim.touch(mode=0o600)
    if attack.level == "locked-down":
        attack.refused(change, str(victim))  # it is not there
        attack.refused(change, os.__file__)  # on a read-only mount
    else:
        assert attack(change, str(victim)).status == "completed"
    assert victim.read_text() == ""


def test_what_a_step_may_do_works(attack):
    assert attack("ordinary").unwrap() == 42


def test_a_project_may_ask_for_more_to_read_and_write(attack_with, tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    out.mkdir()
    (data / "in").write_text("four")
    attack = attack_with(f'readable = ["{data}"]\nwritable = ["{out}"]')
    assert attack("read", str(data / "in")).unwrap() == 4
    assert attack("write", str(out / "file")).status == "completed"
    attack.refused("write", str(data / "in"))
    assert (out / "file").read_text() == "mine"


def test_a_project_may_not_ask_for_other_versions(attack_with, tmp_path):
    attack = attack_with(f'readable = ["{tmp_path}"]')
    with pytest.raises(SandboxUnavailable, match="ask for less"):
        attack("ordinary")
