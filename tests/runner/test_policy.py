"""The policy of DESIGN.md, every cell of the table."""

import pytest

from runner.policy import ArtifactMissing, CodeVersionMismatch, Decision, Mode, decide

PINNED, LOCAL = "a" * 64, "b" * 64


def decided(mode, *, local, stored):
    try:
        return decide(
            Mode(mode), local_hash=local, pinned_hash=PINNED, artifact_stored=lambda: stored, run_id="r", looked_in="s3"
        )
    except (CodeVersionMismatch, ArtifactMissing) as error:
        return type(error)


LOCAL_SILENT = Decision("local", LOCAL)
LOCAL_WARNED = Decision("local", LOCAL, warn=True)
MATCHING = Decision("local", PINNED)
STORED = Decision("stored", PINNED)


@pytest.mark.parametrize(
    ("mode", "matching", "mismatch_stored", "mismatch_missing"),
    [
        ("disabled", MATCHING, LOCAL_SILENT, LOCAL_SILENT),
        ("warn", MATCHING, LOCAL_WARNED, LOCAL_WARNED),
        ("strict", MATCHING, CodeVersionMismatch, CodeVersionMismatch),
        ("artifact", STORED, STORED, ArtifactMissing),
    ],
)
def test_the_table(mode, matching, mismatch_stored, mismatch_missing):
    assert decided(mode, local=PINNED, stored=True) == matching
    assert decided(mode, local=LOCAL, stored=True) == mismatch_stored
    assert decided(mode, local=LOCAL, stored=False) == mismatch_missing


@pytest.mark.parametrize("mode", ["disabled", "warn", "strict"])
def test_a_worker_without_a_project_cannot_run_local_code(mode):
    assert decided(mode, local=None, stored=True) is CodeVersionMismatch


def test_a_worker_without_a_project_runs_stored_code():
    assert decided("artifact", local=None, stored=True) == STORED


@pytest.mark.parametrize("mode", ["disabled", "warn", "strict"])
def test_the_store_is_asked_only_when_the_answer_depends_on_it(mode):
    def never():
        raise AssertionError("asked")

    for local in (PINNED, LOCAL):
        try:
            decide(Mode(mode), local_hash=local, pinned_hash=PINNED, artifact_stored=never)
        except CodeVersionMismatch:
            assert (mode, local) == ("strict", LOCAL)


def test_the_errors_say_what_to_do_and_where_was_looked():
    missing = ArtifactMissing("run-1", PINNED, "file:///var/lib/hwe")
    assert all(word in str(missing) for word in ("run-1", PINNED, "file:///var/lib/hwe", "hwe resume run-1"))
    mismatch = CodeVersionMismatch("run-1", PINNED, LOCAL)
    assert all(word in str(mismatch) for word in ("run-1", PINNED, LOCAL, "hwe resume run-1"))
