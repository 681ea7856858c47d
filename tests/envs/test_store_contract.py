"""What every store promises, tried on each kind."""

import importlib.util
import io
import json
import os
import random
import signal
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import s3_server

import envs
from envs import capture, copy_version, open_store
from envs.manifest import canonical_json

MANY = 10_000

PUT = "import sys, envs; envs.open_store(sys.argv[2]).put(envs.capture(sys.argv[1]))"
ASK = "import sys, envs; assert [*envs.open_store(sys.argv[2]).list()] == [sys.argv[1]]"
PUT_FOR_EVER = """
import sys, envs
version = envs.capture(sys.argv[1])
print("ready", flush=True)
for number in range(100_000):
    envs.open_store(sys.argv[2].replace("/artifacts", f"/artifacts-{number}", 1)).put(version)
"""


class Directory:
    """`address`, and what lies behind it by the names of ObjectStore and DirectoryStore, which are the same."""

    def __init__(self, root, monkeypatch):
        self.root = root / "artifacts"
        self.address = str(self.root)
        self.reading = open_store(self.address)

    def write(self, path, data):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_bytes(data)

    def read(self, path):
        return (self.root / path).read_bytes()

    def remove(self, path):
        (self.root / path).unlink()

    def write_pointers(self, names, data):
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda name: self.write(pointer_path(name), data), names))

    def without_permission(self):
        if os.geteuid() == 0:
            # Root writes everywhere but there; a file in place of a folder is refused to root as well.
            return open_store("/proc/1/artifacts")
        self.root.mkdir(exist_ok=True)
        self.root.chmod(0o500)
        return open_store(self.address)


class Shard(Directory):
    """A DataShard table; pointers are rows of it."""

    def __init__(self, root, monkeypatch):
        self.root = root / "artifacts"
        self.address = f"datashard://{self.root}"

    def write(self, path, data):
        if path.startswith("versions/"):
            self.write_pointers([path.rpartition("/")[2]], data)
        else:
            super().write(path, data)

    def write_pointers(self, names, data):
        """In one commit. What is no pointer becomes a row that names no artifact."""
        from datashard import create_table

        try:
            said = {"artifact_id": "", "size_bytes": 0, **json.loads(data)}
        except (ValueError, TypeError):
            said = {"artifact_id": "", "size_bytes": 0}
        store = open_store(self.address)
        row = {"artifact_id": said["artifact_id"], "size_bytes": said["size_bytes"], "stored_at": time.time_ns()}
        self.root.mkdir(exist_ok=True)
        table = create_table(store._table_path, store._schema())
        table.append_records([{"code_version_hash": name, **row} for name in names])

    def without_permission(self):
        if os.geteuid() == 0:
            return open_store("datashard:///proc/1/artifacts")
        super().without_permission()
        return open_store(self.address)


class Bucket:
    def __init__(self, server, monkeypatch):
        import obstore

        self._obstore, self._monkeypatch, self._server = obstore, monkeypatch, server
        self._bucket = f"bucket-{uuid.uuid4().hex[:12]}"
        self._client = server.store(self._bucket)
        self._as("writer")
        obstore.put(self._client, "made", b"")
        self.address = server.address(self._bucket)

    def _as(self, user):
        for name, value in self._server.environment(user).items():
            self._monkeypatch.setenv(name, value)

    def write(self, path, data):
        self._obstore.put(self._client, f"artifacts/{path}", data)

    def read(self, path):
        return bytes(self._obstore.get(self._client, f"artifacts/{path}").bytes())

    def write_pointers(self, names, data):
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda name: self.write(pointer_path(name), data), names))

    def remove(self, path):
        self._obstore.delete(self._client, f"artifacts/{path}")

    def without_permission(self):
        self._as("reader")
        return open_store(self.address)


@pytest.fixture(scope="session")
def s3(missing):
    weed = s3_server.binary()
    if weed is None or importlib.util.find_spec("obstore") is None:
        missing("S3 STORES NOT TESTED: obstore or SeaweedFS is not installed: make extras")
    server = s3_server.S3Server(weed)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def datashard(missing):
    if importlib.util.find_spec("datashard") is None:
        missing("DATASHARD STORES NOT TESTED: it is not installed: make extras")


@pytest.fixture(params=["directory", "datashard", "s3"])
def place(request, tmp_path, monkeypatch):
    if request.param == "directory":
        return Directory(tmp_path, monkeypatch)
    if request.param == "datashard":
        request.getfixturevalue("datashard")
        return Shard(tmp_path, monkeypatch)
    return Bucket(request.getfixturevalue("s3"), monkeypatch)


@pytest.fixture
def store(place):
    return open_store(place.address)


@pytest.fixture
def version(project):
    return capture(project)


def artifact_path(version):
    return f"artifacts/{version.artifact_id[:2]}/{version.artifact_id}.zip"


def pointer_path(code_version_hash):
    return f"versions/{code_version_hash[:2]}/{code_version_hash}"


def intact(store, version):
    with store.get(version.hash) as stored:
        return stored.verify() == version.manifest


def test_what_was_put_is_had(store, version):
    assert isinstance(store, envs.ArtifactStore)
    assert not store.has(version.hash)
    assert list(store.list()) == []
    for ask in (lambda: store.get(version.hash), lambda: store.resolve(version.hash[:8])):
        with pytest.raises(envs.CodeVersionNotFound):
            ask()
    for _ in range(2):
        store.put(version)
    assert store.has(version.hash)
    assert list(store.list()) == [version.hash]
    assert store.resolve(version.hash[:8].upper()) == version.hash
    assert intact(store, version)


def test_processes_put_one_version_at_once(store, version, project, place, start):
    processes = [start(PUT, project, place.address) for _ in range(8)]
    for process in processes:
        assert process.communicate() == ("", "")
    assert intact(store, version)
    assert list(store.list()) == [version.hash]


def test_processes_that_end_right_after_they_asked_end_well(store, version, place, start):
    store.put(version)
    processes = [start(ASK, version.hash, place.address) for _ in range(16)]
    for process in processes:
        assert (*process.communicate(), process.returncode) == ("", "", 0)


def test_a_killed_put_leaves_nothing_that_is_taken_for_an_artifact(version, project, place, start):
    process = start(PUT_FOR_EVER, project, place.address)
    process.stdout.readline()
    time.sleep(random.random() * 0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for number in range(100_000):
        store = open_store(place.address.replace("/artifacts", f"/artifacts-{number}", 1))
        if not store.has(version.hash):
            break
        assert intact(store, version)
    store.put(version)  # over what the kill left
    assert intact(store, version)


def test_corrupted_bytes_are_noticed_and_a_put_repairs_them(store, version, place):
    store.put(version)
    data = place.read(artifact_path(version))
    for damage in (data[:50] + b"!" + data[51:], data[:-1], data + b"x", b""):
        place.write(artifact_path(version), damage)
        with pytest.raises(envs.ArtifactCorrupt), store.get(version.hash) as stored:
            stored.verify()
        store.put(version)
        assert intact(store, version)
    place.remove(artifact_path(version))
    assert not store.has(version.hash)
    with pytest.raises(envs.ArtifactCorrupt, match="missing"):
        store.get(version.hash)
    store.put(version)
    assert intact(store, version)


def test_a_leftover_without_a_pointer_is_not_trusted(store, version, place):
    place.write(artifact_path(version), b"left by somebody")
    store.put(version)
    assert intact(store, version)


@pytest.mark.parametrize("pointer", [b"", b"[]", b'{"format":1,"artifact_id":"../../x","size_bytes":1}', b"\xff{"])
def test_a_damaged_pointer_is_explained_and_repaired(store, version, place, pointer):
    store.put(version)
    place.write(pointer_path(version.hash), pointer)
    assert not store.has(version.hash)
    with pytest.raises(envs.ArtifactCorrupt):
        store.get(version.hash)
    store.put(version)
    assert intact(store, version)


def test_lost_permission_is_told_with_advice(version, place):
    store = place.without_permission()
    with pytest.raises(envs.StoreUnusable, match=r"writable|credentials|see to that") as caught:
        store.put(version)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ten_thousand_versions_are_listed(store, place):
    pointer = canonical_json({"artifact_id": "0" * 64, "e_tag": None, "format": 1, "size_bytes": 1})
    names = [f"{number * 2654435761 % 2**256:064x}" for number in range(1, MANY + 1)]
    place.write_pointers(names, pointer)
    assert sorted(store.list()) == sorted(names)
    with pytest.raises(envs.AmbiguousHash):
        store.resolve("0" * 8)


def test_versions_are_copied_between_stores_and_verified_on_the_way(store, version, place, tmp_path):
    other = open_store(tmp_path / "other")
    other.put(version)
    assert copy_version(version.hash, other, store)
    assert intact(store, version)
    assert not copy_version(version.hash, other, store)
    place.write(artifact_path(version), b"damaged")
    third = open_store(tmp_path / "third")
    with pytest.raises(envs.ArtifactCorrupt):
        copy_version(version.hash, store, third)
    assert not third.has(version.hash)


# --- what is of remote stores only ---


@pytest.fixture
def bucket(s3, monkeypatch):
    return Bucket(s3, monkeypatch)


def test_a_verified_copy_spares_the_way_and_is_made_again_when_it_is_damaged(bucket, version, tmp_path):
    remote = open_store(bucket.address)
    remote.put(version)
    store = open_store(bucket.address, copies=tmp_path / "copies")
    assert store.location == remote.location
    assert intact(store, version)
    bucket.write(artifact_path(version), b"damaged later")
    assert intact(store, version)
    (copy,) = (tmp_path / "copies").rglob("*.zip")
    copy.chmod(0o600)
    copy.write_bytes(b"damaged too")
    with pytest.raises(envs.ArtifactCorrupt):
        store.get(version.hash)
    store.put(version)
    assert intact(store, version)
    assert (tmp_path / "copies").stat().st_mode & 0o077 == 0


def test_a_store_that_is_away_still_has_what_was_copied(bucket, version, tmp_path, unused_endpoint):
    near = open_store(bucket.address, copies=tmp_path / "copies")
    near.put(version)
    assert intact(near, version)
    away = open_store(f"s3://bucket/x?endpoint={unused_endpoint}&region=us-east-1", copies=tmp_path / "copies")
    assert away.has(version.hash)
    assert intact(away, version)
    with pytest.raises(envs.StoreUnusable, match="can be reached"):
        away.has("0" * 64)


@pytest.fixture
def unused_endpoint():
    import socket

    with socket.socket() as taken:  # bound and not listening: refused at once
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_an_artifact_of_many_parts(bucket, project, tmp_path):
    (project / "large.bin").write_bytes(os.urandom(40 * 1024**2))
    version = capture(project)
    store = open_store(bucket.address)
    for _ in range(2):
        store.put(version)
    assert intact(store, version)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("s3://key:secret@bucket/x", "do not belong in an address"),
        ("s3://bucket/x?colour=red", "knows no option"),
        ("gs://bucket/x?endpoint=http://x", "knows no option"),
    ],
)
def test_addresses_that_cannot_be(s3, address, told):
    with pytest.raises(envs.StoreUnusable, match=told) as caught:
        open_store(address)
    assert "secret" not in str(caught.value)


# --- what is of DataShard only ---


@pytest.fixture
def shard(datashard, tmp_path, monkeypatch):
    return Shard(tmp_path, monkeypatch)


def test_metadata_does_not_grow_with_the_square_of_the_appends(shard, version, monkeypatch):
    from envs.stores import datashard as stores

    monkeypatch.setattr(stores, "CLEAN_UP_EVERY", 10)
    store = open_store(shard.address)
    for number in range(35):
        shard.write(pointer_path(version.hash), b'{"artifact_id":"%064x"}' % number)
        store.put(version)  # which repairs it, with another commit
    assert len(store._datashard.load_table(store._table_path).snapshots()) <= 12
    assert intact(store, version)


def test_a_table_whose_bytes_changed_says_so(shard, version):
    store = open_store(shard.address)
    store.put(version)
    for path in (shard.root / "table").rglob("*.parquet"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    with pytest.raises(envs.StoreUnusable, match=r"table is damaged.*restore it") as caught:
        store.get(version.hash)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["datashard://host/x", "datashard://relative", "datashard:///x?a=b"])
def test_datashard_addresses_that_cannot_be(datashard, address):
    with pytest.raises(envs.StoreUnusable, match="three slashes"):
        open_store(address)


def test_files_are_kept_beside_the_artifacts(store, version):
    assert isinstance(store, envs.KeepsFiles)
    assert store.open_file("wheels/ab/one.whl") is None
    assert list(store.file_names("wheels/ab")) == []
    for data in (b"first", b"second" * 100_000):
        store.put_file("wheels/ab/one.whl", io.BytesIO(data))
        with store.open_file("wheels/ab/one.whl") as file:
            assert file.read() == data
            assert file.seek(0) == 0
    store.put_file("wheels/ab/two.whl", io.BytesIO(b""))
    store.put_file("wheels/abc/three.whl", io.BytesIO(b""))
    assert list(store.file_names("wheels/ab")) == ["one.whl", "two.whl"]
    assert list(store.list()) == []
    store.put(version)
    assert list(store.list()) == [version.hash]


def test_files_that_cannot_be_kept_are_told(place):
    with pytest.raises(envs.StoreUnusable, match=r"writable|credentials|see to that"):
        place.without_permission().put_file("wheels/ab/one.whl", io.BytesIO(b"not kept"))
