import os
import random
import signal
import stat
import time

import pytest

import envs
from envs import DirectoryStore, capture, open_store

PUT_FOR_EVER = """
import sys, envs
version = envs.capture(sys.argv[1])
print("ready", flush=True)
for number in range(100_000):
    envs.DirectoryStore(f"{sys.argv[2]}/{number}").put(version)
"""


def artifact_file(store, version):
    return os.path.join(store.location, "artifacts", version.artifact_id[:2], version.artifact_id + ".zip")


def test_what_was_put_is_had(store, version):
    store.put(version)
    assert store.has(version.hash)
    assert list(store.list()) == [version.hash]
    assert store.resolve(version.hash[:8]) == version.hash
    with store.get(version.hash) as stored:
        assert stored.artifact_id == version.artifact_id
        assert stored.verify() == version.manifest
    assert isinstance(store, envs.ArtifactStore)


def test_what_nobody_put_is_not_found_and_the_place_is_named(tmp_path):
    store = DirectoryStore(tmp_path / "nothing")
    assert not store.has("0" * 64)
    assert list(store.list()) == []
    with pytest.raises(envs.CodeVersionNotFound, match="nothing"):
        store.get("0" * 64)
    with pytest.raises(envs.CodeVersionNotFound):
        store.resolve("0" * 8)
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("text", ["", "../../etc/passwd", "0" * 63, "0" * 64 + "\n", "G" * 64, "A" * 64])
def test_what_is_no_hash_never_becomes_a_path(store, text):
    for ask in (store.get, store.has):
        with pytest.raises(envs.HashInvalid):
            ask(text)


def test_an_ambiguous_prefix_is_refused(store, version):
    folder = os.path.join(store.location, "versions", version.hash[:2])
    with open(os.path.join(folder, version.hash[:10] + "0" * 54), "w"):
        pass
    with pytest.raises(envs.AmbiguousHash, match="give more digits"):
        store.resolve(version.hash[:8])
    assert store.resolve(version.hash) == version.hash
    with pytest.raises(envs.HashInvalid):
        store.resolve(version.hash[:7])


def test_a_put_repairs_what_was_damaged(store, version):
    path = artifact_file(store, version)
    os.chmod(path, 0o600)
    with open(path, "r+b") as file:
        file.seek(50)
        file.write(b"!")
    with store.get(version.hash) as stored, pytest.raises(envs.ArtifactCorrupt):
        stored.verify()
    store.put(version)
    with store.get(version.hash) as stored:
        stored.verify()
    os.unlink(path)
    assert not store.has(version.hash)
    with pytest.raises(envs.ArtifactCorrupt, match="missing"):
        store.get(version.hash)
    store.put(version)
    assert store.has(version.hash)


def test_a_damaged_pointer_is_explained(store, version):
    pointer = os.path.join(store.location, "versions", version.hash[:2], version.hash)
    for text in ("", "[]", '{"format":1,"artifact_id":"../../x","size_bytes":1}', '{"format":9}'):
        with open(pointer, "w") as file:
            file.write(text)
        assert not store.has(version.hash)
        with pytest.raises(envs.ArtifactCorrupt):
            store.get(version.hash)
    store.put(version)
    assert store.has(version.hash)


def test_folders_are_closed_to_others(store, version):
    for folder, _, _ in os.walk(store.location):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700


def test_a_killed_put_leaves_nothing_that_is_taken_for_an_artifact(project, tmp_path, start):
    version = capture(project)
    for round_ in range(8):
        process = start(PUT_FOR_EVER, project, tmp_path / str(round_))
        process.stdout.readline()
        time.sleep(random.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for name in os.listdir(tmp_path / str(round_)):
            store = DirectoryStore(tmp_path / str(round_) / name)
            if store.has(version.hash):
                with store.get(version.hash) as stored:
                    stored.verify()
            assert list(store.list()) in ([], [version.hash])
        store.put(version)
        assert store.has(version.hash)


def test_many_processes_put_one_version(project, tmp_path, start):
    code = "import sys, envs; envs.open_store(sys.argv[2]).put(envs.capture(sys.argv[1]))"
    processes = [start(code, project, tmp_path / "store") for _ in range(8)]
    for process in processes:
        assert process.communicate()[1] == ""
    store = DirectoryStore(tmp_path / "store")
    with store.get(capture(project).hash) as stored:
        stored.verify()
    assert os.listdir(tmp_path / "store" / "incoming") == []


def test_addresses(tmp_path):
    assert open_store(f"file://{tmp_path}/a%20b").location == f"{tmp_path}/a b"
    assert open_store(tmp_path).location == str(tmp_path)
    with pytest.raises(envs.StoreNotSupported) as caught:
        open_store("ftp://key:secret@host/x")
    assert "secret" not in str(caught.value)
    with pytest.raises(envs.StoreUnusable, match="three slashes"):
        open_store("file://relative/path")
    (tmp_path / "file").touch()
    with pytest.raises(envs.StoreUnusable, match="not a directory"):
        open_store(tmp_path / "file")
