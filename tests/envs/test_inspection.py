"""Promise: an environment that is not what was built is found and put aside, never under somebody who runs in it."""

import errno
import os
import shutil
import subprocess

import pytest

import envs
from envs import DirectoryStore, EnvCache, capture, evict, inspect_environment, inspect_layer
from envs.file_lists import file_problem, sampled_problem
from envs.manifest import FileEntry


@pytest.fixture
def cache(tmp_path, store):
    return EnvCache(tmp_path / "cache", store)


@pytest.fixture
def root(cache, version):
    with cache.lease(version.hash) as environment:
        return environment.root


def append(path, text):
    mode = path.stat().st_mode
    path.chmod(0o644)
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)
    path.chmod(mode)


def in_place(path, old, new):
    data = path.read_bytes()
    assert old in data
    path.chmod(0o644)
    path.write_bytes(data.replace(old, new))
    path.chmod(0o444)


DAMAGES = {
    "orders/steps.py has another content": lambda p: in_place(p / "orders/steps.py", b"n * 2", b"n * 3"),
    "orders/steps.py has 41 bytes instead of 31": lambda p: append(p / "orders/steps.py", "import os\n"),
    "orders/steps.py is missing": lambda p: (p / "orders/steps.py").unlink(),
    "orders/json.py does not belong to it": lambda p: (p / "orders/json.py").touch(),
    "bin/tool is not executable": lambda p: (p / "bin/tool").chmod(0o444),
    "data/größe.txt is executable": lambda p: (p / "data/größe.txt").chmod(0o555),
    "orders/away does not belong to it": lambda p: (p / "orders/away").symlink_to("/etc"),
    "its bytecode is not what was compiled": lambda p: append(
        next((p / "orders/__pycache__").glob("steps*.pyc")), "\0"
    ),
}


@pytest.mark.parametrize("problem", DAMAGES)
def test_what_differs_is_found_and_put_aside(cache, version, root, problem):
    assert inspect_environment(cache.root, version.hash).verdict == "sound"
    DAMAGES[problem](root / "project")
    found = inspect_environment(cache.root, version.hash)
    assert found.verdict == "quarantined"
    assert problem in found.problems
    assert os.path.dirname(found.moved_to) == os.path.join(cache.root, "quarantine")
    assert os.path.isdir(os.path.join(found.moved_to, "project"))
    assert inspect_environment(cache.root, version.hash) is None
    with cache.lease(version.hash) as environment:  # built again
        code = "import orders.steps as s; print(s.price(4))"
        assert subprocess.run([environment.python, "-c", code], capture_output=True).stdout == b"8\n"
    assert inspect_environment(cache.root, version.hash).verdict == "sound"


def test_what_is_damaged_time_and_again_is_put_aside_each_time(cache, version):
    for _ in range(3):  # within one second
        with cache.lease(version.hash) as environment:
            (environment.project / "orders/steps.py").unlink()
        assert inspect_environment(cache.root, version.hash).verdict == "quarantined"
    assert len(os.listdir(os.path.join(cache.root, "quarantine"))) == 3


@pytest.mark.parametrize("marker", [b"[]", b"{", b"{}"])
def test_a_layer_whose_marker_is_damaged_is_put_aside(cache, on_layer, marker):
    (name,), layer = on_layer(1)
    (layer / ".hwe-layer.json").write_bytes(marker)
    with cache.lease(name):
        assert inspect_layer(cache.root, layer.name).verdict == "damaged"
    assert inspect_layer(cache.root, layer.name).verdict == "quarantined"
    with cache.lease(name):
        assert inspect_layer(cache.root, layer.name).verdict == "sound"


@pytest.mark.parametrize("marker", ["", '{"schema": 2}'])
def test_one_that_only_another_release_can_read_is_never_taken_from_under_it(cache, version, root, marker):
    with cache.lease(version.hash):
        before = os.stat(root).st_ino
        (root / ".hwe-environment.json").write_text(marker)
        with pytest.raises(envs.EnvironmentDamaged, match=r"cannot be read by this release.*in use"):
            cache.lease(version.hash).__enter__()
        assert os.stat(root).st_ino == before
    with cache.lease(version.hash) as environment:
        assert environment.missing_part() is None


def test_a_cache_that_was_copied_without_its_locks_is_read(cache, on_layer):
    (name,), layer = on_layer(1)
    for inspect, which in ((inspect_environment, name), (inspect_layer, layer.name)):
        shutil.rmtree(os.path.join(cache.root, "leases"))
        assert inspect(cache.root, which).verdict == "sound"


def test_running_in_it_is_no_damage(cache, version):
    with cache.lease(version.hash) as environment:
        for options in ([], ["-O"], ["-B"]):
            subprocess.run([environment.python, *options, "-c", "import orders.steps"], check=True)
        assert inspect_environment(cache.root, version.hash).verdict == "sound"


def test_what_somebody_runs_in_is_told_and_left(cache, version, root):
    with cache.lease(version.hash):
        (root / "project/orders/steps.py").unlink()
        found = inspect_environment(cache.root, version.hash)
        assert (found.verdict, found.moved_to) == ("damaged", None)
        assert root.is_dir()
    assert inspect_environment(cache.root, version.hash).verdict == "quarantined"


def test_a_changed_manifest_does_not_pass_for_the_one_that_the_hash_names(cache, version, root):
    path = root / ".hwe-manifest.json"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"steps.py", b"steqs.py"))
    found = inspect_environment(cache.root, version.hash)
    assert (found.verdict, found.problems) == (
        "quarantined",
        (".hwe-manifest.json is not that of this code version",),
    )


def test_an_environment_of_an_older_release_is_compared_with_its_artifact(cache, version, root, store, tmp_path):
    import json

    (root / ".hwe-manifest.json").unlink()
    marker = json.loads((root / ".hwe-environment.json").read_bytes())
    del marker["compiled_sha256"], marker["size_bytes"]
    (root / ".hwe-environment.json").write_text(json.dumps(marker))
    assert inspect_environment(cache.root, version.hash).verdict == "unknown"
    assert inspect_environment(cache.root, version.hash, DirectoryStore(tmp_path / "other")).verdict == "unknown"
    assert inspect_environment(cache.root, version.hash, store).verdict == "sound"
    shutil.rmtree(root / "project/data")
    assert inspect_environment(cache.root, version.hash, store).verdict == "quarantined"


@pytest.fixture
def on_layer(cache, project, store, six_lock):
    """Builds versions with the same lock; gives the layer below."""

    def build(numbers):
        (project / "requirements.txt").write_text(six_lock)
        names = []
        for number in range(numbers):
            (project / "orders/number.py").write_text(f"NUMBER = {number}\n")
            version = capture(project)
            store.put(version)
            names.append(version.hash)
            with cache.lease(version.hash) as environment:
                layer = environment.layer_root
        return names, layer

    return build


def six_of(layer):
    (path,) = layer.rglob("six.py")
    return path


LAYER_DAMAGES = {
    "six.py has another content": lambda layer: in_place(six_of(layer), b"import", b"IMPORT"),
    "six.py is missing": lambda layer: six_of(layer).unlink(),
    "evil.pth does not belong to it": lambda layer: (six_of(layer).parent / "evil.pth").touch(),
    ".pyc has another content": lambda layer: in_place(next(layer.rglob("six*.pyc")), b"six", b"xis"),
    ".pyc does not belong to it": lambda layer: (six_of(layer).parent / "__pycache__/json.cpython-311.pyc").touch(),
    "pyvenv.cfg is missing": lambda layer: (layer / "pyvenv.cfg").unlink(),
    "json.py does not belong to it": lambda layer: (six_of(layer).parent / "json.py").symlink_to("/dev/null"),
    ".hwe-files.json is not what was written": lambda layer: in_place(layer / ".hwe-files.json", b"six", b"xis"),
    ".hwe-files.json is not what": lambda layer: (layer / ".hwe-files.json").unlink(),
}


@pytest.mark.parametrize("problem", LAYER_DAMAGES)
def test_a_layer_that_differs_is_put_aside_with_what_stands_on_it(cache, on_layer, problem):
    names, layer = on_layer(2)
    assert inspect_layer(cache.root, layer.name).verdict == "sound"
    LAYER_DAMAGES[problem](layer)
    found = inspect_layer(cache.root, layer.name)
    assert found.verdict == "quarantined"
    assert any(problem in told for told in found.problems), found.problems
    assert not layer.exists()
    assert [cache.is_ready(name) for name in names] == [False, False]
    for name in names:
        with cache.lease(name) as environment:
            assert subprocess.run([environment.python, "-c", "import six, orders.number"], check=False).returncode == 0
    assert inspect_layer(cache.root, layer.name).verdict == "sound"


def test_a_layer_that_somebody_runs_on_is_told_and_left(cache, on_layer):
    names, layer = on_layer(2)
    with cache.lease(names[1]):
        six_of(layer).unlink()
        found = inspect_layer(cache.root, layer.name)
        assert (found.verdict, found.moved_to) == ("damaged", None)
        assert layer.is_dir()
        assert cache.is_ready(names[0])
    assert inspect_layer(cache.root, layer.name).verdict == "quarantined"


def test_what_is_left_beside_bytecode_is_no_damage_to_a_layer(cache, on_layer):
    (name,), layer = on_layer(1)
    with cache.lease(name) as environment:
        subprocess.run([environment.python, "-O", "-c", "import six"], check=True)
    (six_of(layer).parent / "__pycache__/six.numba.nbi").touch()
    assert inspect_layer(cache.root, layer.name).verdict == "sound"


def test_nothing_of_a_layer_can_be_written_once_it_is_finished(on_layer):
    _, layer = on_layer(1)
    files = [path for path in layer.rglob("*") if path.is_file() and not path.is_symlink()]
    ours = {".hwe-layer.json", ".hwe-files.json"}
    assert len(files) > 5
    assert [path for path in files if path.name not in ours and path.stat().st_mode & 0o222] == []


def leases_until(cache, name, stop):
    """Leases, as steps do one after the other, until `stop` says so; it must come to that."""
    for _ in range(2000):
        with cache.lease(name) as environment:
            if stop(environment):
                return environment
    raise AssertionError("it was never found")


def test_damage_is_found_by_leases_and_mended(cache, on_layer):
    (name,), layer = on_layer(1)
    project = cache.lease(name)
    with project as environment:
        source = environment.project / "orders/steps.py"
    in_place(source, b"n * 2", b"n * 3")
    leases_until(cache, name, lambda environment: b"n * 2" in (environment.project / "orders/steps.py").read_bytes())
    assert any(path.startswith(name) for path in os.listdir(os.path.join(cache.root, "quarantine")))
    in_place(six_of(layer), b"import", b"IMPORT")
    leases_until(cache, name, lambda environment: b"IMPORT" not in six_of(layer).read_bytes())
    assert any(path.startswith(layer.name) for path in os.listdir(os.path.join(cache.root, "quarantine")))


def test_damage_under_somebody_who_runs_in_it_is_told(cache, on_layer):
    (name,), _ = on_layer(1)
    with cache.lease(name) as environment:
        in_place(environment.project / "orders/steps.py", b"n * 2", b"n * 3")
        with pytest.raises(envs.EnvironmentDamaged, match=r"orders/steps.py has another content.*in use"):
            leases_until(cache, name, lambda _: False)
        assert b"n * 3" in (environment.project / "orders/steps.py").read_bytes()


def test_every_file_of_a_list_is_looked_at_by_and_by(cache, on_layer, tmp_path):
    _, layer = on_layer(1)
    listed = layer / ".hwe-files.json"
    (tmp_path / "empty").mkdir()
    missing = {sampled_problem(str(tmp_path / "empty"), str(listed)) for _ in range(3000)}
    everything = {f"{path.relative_to(layer)} is missing" for path in layer.rglob("*") if path.is_file()}
    links = {f"bin/{name} is missing" for name in os.listdir(layer / "bin") if (layer / "bin" / name).is_symlink()}
    ours = {".hwe-layer.json is missing", ".hwe-files.json is missing"}
    assert missing - {None} == everything - links - ours
    assert sampled_problem(str(layer), str(tmp_path / "nothing")) is None


def test_an_environment_whose_layer_is_gone_is_not_sound(cache, project, store, six_lock):
    (project / "requirements.txt").write_text(six_lock)
    version = capture(project)
    store.put(version)
    with cache.lease(version.hash) as environment:
        (environment.layer_root / ".hwe-layer.json").unlink()
        found = inspect_environment(cache.root, version.hash)
        assert found.verdict == "damaged"  # in use
        assert "the layer that it stands on" in found.problems[0]
    assert inspect_environment(cache.root, version.hash).verdict == "quarantined"


@pytest.mark.parametrize("folder", ["leases", "locks", "trash", "logs"])
def test_a_cache_that_was_copied_without_a_folder_is_listed_verified_cleared_and_built_in(cache, version, root, folder):
    shutil.rmtree(os.path.join(cache.root, folder), ignore_errors=True)
    assert inspect_environment(cache.root, version.hash).verdict == "sound"
    evict(cache.root, max_bytes=0)
    assert not root.exists()
    shutil.rmtree(os.path.join(cache.root, folder), ignore_errors=True)
    with cache.lease(version.hash) as environment:
        assert environment.root == root


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_damage(cache, version, root):
    (root / "project/orders/steps.py").chmod(0)
    found = inspect_environment(cache.root, version.hash)
    assert found.verdict == "quarantined"
    assert found.problems == ("orders/steps.py cannot be read (Permission denied)",)


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE])
def test_a_disk_that_gives_a_file_no_more_is_damage_and_too_many_open_files_are_none(monkeypatch, root, number):
    file = FileEntry("x", "0" * 64, 0, executable=False)
    path = root / "x"
    path.touch(mode=0o444)

    def fail(*_arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("hashlib.file_digest", fail)
    if number == errno.EIO:
        assert file_problem(str(path), file, path.stat()) == "cannot be read (Input/output error)"
    else:
        with pytest.raises(OSError, match="Too many open files"):
            file_problem(str(path), file, path.stat())
