"""Environments and layers, on every Python that is here."""

import contextlib
import glob
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import envs
from envs import EnvCache, capture, find_interpreter, find_interpreters
from envs.interpreters import probe


def run(environment, code):
    done = subprocess.run([environment.python, "-c", code], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def phases():
    return []


@pytest.fixture
def cache(tmp_path, store, phases):
    return EnvCache(tmp_path / "cache", store, on_progress=lambda _hash, phase: phases.append(phase))


def left_in(cache, name):
    folder = os.path.join(cache.root, name)
    return os.listdir(folder) if os.path.isdir(folder) else []


def test_an_environment_runs_the_captured_code(cache, version, project, phases):
    shutil.rmtree(project)
    with cache.lease(version.hash) as environment:
        assert run(environment, "import orders.steps; print(orders.steps.price(21))") == "42"
        assert environment.root == Path(cache.root) / "versions" / version.hash
        assert (environment.root / "pyvenv.cfg").is_file()
        assert environment.import_paths == (environment.project,)
        assert environment.layer_root is None
    assert phases == ["fetch", "verify", "venv", "compile", "done"]
    assert stat.S_IMODE(os.stat(cache.root).st_mode) == 0o700
    assert cache.is_ready(version.hash)
    assert list(cache.hashes()) == [version.hash]


def test_the_second_lease_needs_no_store(cache, version, phases, tmp_path):
    with cache.lease(version.hash):
        pass
    phases.clear()
    with EnvCache(cache.root).lease(version.hash) as environment:
        assert environment.hash == version.hash
    assert phases == []
    with (
        pytest.raises(envs.CodeVersionNotFound, match="no artifact store"),
        EnvCache(tmp_path / "x").lease("0" * 64),
    ):
        pass


@pytest.mark.parametrize("python", ["3.9", "3.10", "3.12", "3.13", "3.14"])
def test_environments_of_other_pythons(cache, store, project, tree, need_python, python):
    need_python(python)
    wanted = find_interpreter(python)
    tree(
        project,
        {"pyproject.toml": f'[tool.hwe]\npython = "{python}"\n', "src/lib.py": "X = 5", "bad.py": "{{x}}"},
    )
    version = capture(project)
    store.put(version)
    with cache.lease(version.hash) as environment:
        assert environment.interpreter_version == wanted.version
        code = "import sys, lib, orders.steps as s; print('%d.%d.%d' % sys.version_info[:3], lib.X, s.__cached__)"
        said, value, cached = run(environment, code).split()
        assert (said, value) == (wanted.version, "5")
        with open(cached, "rb") as file:
            assert file.read(8)[4] == 1  # unchecked hash: nobody looks at the source's time
        assert environment.import_paths[1] == environment.project / "src"


def with_lock(project, store, lock):
    (project / "requirements.txt").write_text(lock)
    version = capture(project)
    store.put(version)
    return version


def test_two_versions_with_one_lock_share_a_layer(cache, store, project, six_lock, phases):
    first = with_lock(project, store, six_lock)
    with cache.lease(first.hash) as environment:
        assert run(environment, "import six; print(six.__version__)") == "1.17.0"
        layer = environment.layer_root
        assert environment.bin_directories == (environment.root / "bin", layer / "bin")
        assert not [n for n in os.listdir(environment.root / "bin") if "pip" in n]
    (project / "orders/steps.py").write_text("import six\n")
    second = with_lock(project, store, six_lock)
    with cache.lease(second.hash) as environment:
        assert environment.layer_root == layer
        assert run(environment, "import orders.steps") == ""
    assert left_in(cache, "layers") == [os.path.basename(layer)]


def test_a_pth_file_of_the_layer_counts(cache, store, project, six_lock):
    version = with_lock(project, store, six_lock)
    with cache.lease(version.hash) as environment:
        site_packages = os.path.dirname(run(environment, "import six; print(six.__file__)"))
        with open(os.path.join(site_packages, "nested.pth"), "w") as file:
            file.write("import sys; sys.nested = 1\n")
        assert run(environment, "import sys; print(sys.nested)") == "1"


def test_a_wrong_hash_builds_nothing(cache, store, project):
    version = with_lock(project, store, "six==1.17.0 --hash=sha256:" + "0" * 64 + "\n")
    with pytest.raises(envs.EnvironmentBuildFailed) as caught, cache.lease(version.hash):
        pass
    message = str(caught.value)
    assert "ash" in message
    assert "\n" not in message
    assert os.path.isfile(caught.value.log_path)
    assert left_in(cache, "versions") == left_in(cache, "layers") == left_in(cache, "trash") == []


def test_a_corrupt_artifact_builds_nothing(cache, store, version, phases):
    path = os.path.join(store.location, "artifacts", version.artifact_id[:2], version.artifact_id + ".zip")
    with open(path, "r+b") as file:
        file.write(b"XX")
    with pytest.raises(envs.ArtifactCorrupt), cache.lease(version.hash):
        pass
    assert phases == ["fetch", "verify", "failed"]
    assert left_in(cache, "versions") == []


def test_a_lock_that_is_not_the_one_in_the_manifest_never_reaches_the_shared_layer(cache, tmp_path, six_lock):
    import hashlib
    import io

    from envs.artifact import ArtifactWriter
    from envs.manifest import FileEntry, Lock, Manifest

    out = io.BytesIO()
    writer = ArtifactWriter(out)
    evil = six_lock.replace("1.17.0", "1.16.0").encode()
    sha256, size = writer.add("requirements.txt", False, iter([evil]))
    lock = Lock("requirements.txt", hashlib.sha256(six_lock.encode()).hexdigest())
    manifest = Manifest((FileEntry("requirements.txt", sha256, size, False),), lock, None)
    writer.finish(manifest)

    class Hostile:
        hash = manifest.code_version_hash
        artifact_id = hashlib.sha256(out.getvalue()).hexdigest()
        size_bytes = len(out.getvalue())

        def open_artifact(self):
            return io.BytesIO(out.getvalue())

    cache.store.put(Hostile())
    with pytest.raises(envs.ArtifactCorrupt, match="lock"), cache.lease(manifest.code_version_hash):
        pass
    assert left_in(cache, "layers") == []


def test_a_python_that_is_missing_is_named_with_how_to_get_it(cache, store, project):
    (project / "pyproject.toml").write_text('[tool.hwe]\npython = "3.12.99"\n')
    version = capture(project)
    store.put(version)
    with pytest.raises(envs.PythonNotFound, match=r"uv python install 3\.12\.99"), cache.lease(version.hash):
        pass
    assert left_in(cache, "versions") == []


def break_interpreter(environment):
    os.unlink(environment.python)
    os.symlink("/nowhere/python3", environment.python)


def test_an_environment_whose_python_is_gone_is_rebuilt_when_nobody_runs_in_it(cache, version):
    with cache.lease(version.hash) as environment:
        break_interpreter(environment)
        with pytest.raises(envs.EnvironmentBroken), cache.lease(version.hash):
            pass
    with cache.lease(version.hash) as environment:
        assert run(environment, "print(1)") == "1"


@pytest.fixture
def own_python(tmp_path, monkeypatch):
    """An installation of Python that is ours to patch: its "3.x", and how to."""
    minor = next(m for m in ("3.12", "3.13", "3.11", "3.10") if m != f"{sys.version_info[0]}.{sys.version_info[1]}")
    try:
        theirs = find_interpreter(minor)
    except envs.PythonNotFound as error:
        pytest.skip(f"PATCHED INTERPRETERS NOT TESTED: {error}")
    prefix = os.path.dirname(os.path.dirname(theirs.path))
    library = tmp_path / "python" / "lib" / f"python{minor}"
    leave = shutil.ignore_patterns("site-packages", "test", "__pycache__", "_sysconfigdata*")
    shutil.copytree(f"{prefix}/lib/python{minor}", library, copy_function=os.symlink, ignore=leave)
    (data,) = glob.glob(f"{prefix}/lib/python{minor}/_sysconfigdata*.py")
    (tmp_path / "python/bin").mkdir()
    python = tmp_path / "python/bin" / f"python{minor}"
    shutil.copy(theirs.path, python)
    configuration = library / os.path.basename(data)
    configuration.write_text(Path(data).read_text())
    monkeypatch.setenv("PATH", f"{python.parent}:{os.environ['PATH']}")

    def patch(*, is_another_build=True):
        if is_another_build:
            with configuration.open("a") as file:
                file.write("build_time_vars['SOABI'] += '-patched'\n")
        os.utime(python)

    return minor, python, patch


def test_a_patched_python_gets_a_layer_of_its_own_and_never_under_somebody(cache, store, project, six_lock, own_python):
    minor, python, patch = own_python
    (project / "pyproject.toml").write_text(f'[tool.hwe]\npython = "{minor}"\n')
    version = with_lock(project, store, six_lock)
    with cache.lease(version.hash) as before:
        assert before.interpreter == python
        patch()
        # As it is, as long as somebody runs in it: the minor version is the same.
        with EnvCache(cache.root, store).lease(version.hash) as meanwhile:
            assert meanwhile == before
            assert run(meanwhile, "import six, orders.steps; print(1)") == "1"
    with cache.lease(version.hash) as after:
        assert after.interpreter == python
        assert after.layer_root != before.layer_root
        assert before.layer_root.is_dir()
        assert run(after, "import six, orders.steps; print(1)") == "1"
    with cache.lease(version.hash) as again:
        assert again == after


def test_the_same_build_installed_once_more_changes_nothing(cache, store, project, own_python):
    minor, _, patch = own_python
    (project / "pyproject.toml").write_text(f'[tool.hwe]\npython = "{minor}"\n')
    version = capture(project)
    store.put(version)
    with cache.lease(version.hash) as before:
        inode = os.stat(before.root).st_ino
    patch(is_another_build=False)
    with cache.lease(version.hash) as after:
        assert os.stat(after.root).st_ino == inode


def test_an_environment_without_its_layer_is_rebuilt(cache, store, project, six_lock):
    version = with_lock(project, store, six_lock)
    with cache.lease(version.hash) as environment:
        shutil.rmtree(environment.layer_root)
    with cache.lease(version.hash) as environment:
        assert run(environment, "import six; print(1)") == "1"


@pytest.mark.parametrize("put", [shutil.move, lambda here, there: shutil.copytree(here, there, symlinks=True)])
def test_a_cache_that_was_moved_or_copied_never_runs_what_is_where_it_was(cache, store, project, six_lock, put):
    version = with_lock(project, store, six_lock)
    code = "import orders, six; print(orders.__file__, six.__file__)"
    with cache.lease(version.hash):
        pass
    put(cache.root, f"{cache.root}-elsewhere")
    elsewhere = EnvCache(f"{cache.root}-elsewhere", store)
    with elsewhere.lease(version.hash) as environment:
        paths = run(environment, code).split()
        assert [path for path in paths if not path.startswith(elsewhere.root + os.sep)] == []
        assert (environment.layer_root / "bin/python").exists()
    assert len(left_in(elsewhere, "layers")) == 2
    assert len(envs.evict(elsewhere.root).layers) == 1


def test_a_directory_that_merely_exists_is_no_environment(cache, version):
    root = os.path.join(cache.root, "versions", version.hash)
    for marker in (None, "", "{}", json.dumps({"schema": 1, "hash": "0" * 64})):
        shutil.rmtree(root, ignore_errors=True)
        os.makedirs(root + "/bin")
        if marker is not None:
            with open(root + "/.hwe-environment.json", "w") as file:
                file.write(marker)
        assert not cache.is_ready(version.hash)
        with cache.lease(version.hash) as environment:
            assert run(environment, "import orders; print(1)") == "1"


def lease_on(mount, store, version):
    """The error of a first lease in a new cache, or None. Checks that nothing unfinished is left."""
    cache = EnvCache(mount / "cache", store)
    problem = None
    try:
        with cache.lease(version.hash) as environment:
            assert run(environment, "import six, orders.steps; print(1)") == "1"
    except envs.CacheUnusable as error:
        problem = error
        assert left_in(cache, "versions") == left_in(cache, "trash") == []
        for name in left_in(cache, "layers"):  # finished before the disk was full
            assert os.path.exists(os.path.join(cache.root, "layers", name, ".hwe-layer.json"))
    return problem


def test_a_full_disk_is_said_plainly_and_leaves_nothing(store, project, six_lock, small_disk):
    version = with_lock(project, store, six_lock)
    sizes = range(8, 328, 16)  # full at another moment of the build each time
    problems = [p for size in sizes if (p := lease_on(small_disk(size), store, version))]
    assert 5 < len(problems) < len(sizes)
    assert all("no space left" in str(problem) for problem in problems)


def test_a_full_store_is_said_plainly(version, small_disk):
    mount = small_disk(64)
    small = envs.DirectoryStore(mount / "store")
    with open(mount / "filler", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    with pytest.raises(envs.StoreUnusable, match="no space left"):
        small.put(version)


def test_a_cache_that_others_could_write_is_refused(tmp_path):
    (tmp_path / "open").mkdir()
    for mode in (0o777, 0o1777, 0o770):
        (tmp_path / "open").chmod(mode)
        with pytest.raises(envs.CacheUnusable, match="chmod go-w"):
            EnvCache(tmp_path / "open")
    (tmp_path / "file").touch()
    with pytest.raises(envs.CacheUnusable, match="not a directory"):
        EnvCache(tmp_path / "file")
    with pytest.raises(envs.CacheUnusable, match="cannot be on PATH"):
        EnvCache(tmp_path / "a:b")
    with pytest.raises(envs.CacheUnusable, match="not UTF-8"):
        EnvCache(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    (tmp_path / "link").symlink_to("open")
    with pytest.raises(envs.CacheUnusable, match="symbolic link; name the directory itself"):
        EnvCache(tmp_path / "link")
    if os.geteuid() == 0:
        (tmp_path / "theirs").mkdir()
        os.chown(tmp_path / "theirs", 65534, 65534)
        with pytest.raises(envs.CacheUnusable, match="another user"):
            EnvCache(tmp_path / "theirs")


def test_a_cache_is_for_its_user_alone(tmp_path, store, version):
    (tmp_path / "made").mkdir(mode=0o755)
    for name in ("made", "new"):
        root = tmp_path / name
        with EnvCache(root, store).lease(version.hash):
            pass
        directories = [root, *(path for path in root.iterdir() if path.is_dir())]
        assert [path for path in directories if path.stat().st_mode & 0o777 != 0o700] == []


def test_a_shortage_of_descriptors_does_not_hide_the_python_ever_after(start, tmp_path, store, version):
    code = """
import resource, sys
from envs import CacheUnusable, DirectoryStore, EnvCache
cache = EnvCache(sys.argv[1], DirectoryStore(sys.argv[2]))
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
for limit in range(5, 12):
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        cache.lease(sys.argv[3]).__enter__()
    except CacheUnusable as error:
        print(error)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
with cache.lease(sys.argv[3]):
    print("leased")
"""
    out, err = start(code, tmp_path / "cache", store.location, version.hash).communicate()
    assert err == ""
    *problems, last = out.splitlines()
    assert last == "leased"
    assert problems
    assert all("Too many open files" in problem for problem in problems)


def test_the_pythons_of_this_machine_are_found():
    found = find_interpreters()
    assert probe(os.path.realpath(find_interpreter(None).path)) in found
    assert len({i.path for i in found}) == len(found)
    newest = find_interpreter(".".join(found[0].version.split(".")[:2]))
    assert newest.version == found[0].version
    with pytest.raises(envs.PythonUnsupported):
        find_interpreter("3.7")
    with pytest.raises(envs.PythonNotFound) as caught:
        find_interpreter("3.11.99")
    assert found[0].version in caught.value.found


def test_an_interpreter_that_was_killed_while_it_was_asked_is_asked_again(tmp_path, monkeypatch):
    python = tmp_path / "python3.12"
    python.write_text(f'#!/bin/sh\n[ -e {tmp_path}/once ] && exec {sys.executable} "$@"\nkill -KILL $$\n')
    python.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ChildProcessError, match="SIGKILL"):
        find_interpreter("3.12.99")
    assert find_interpreters()  # the others are there
    (tmp_path / "once").touch()
    assert probe(str(python)).version == ".".join(map(str, sys.version_info[:3]))
    with pytest.raises(envs.PythonNotFound):
        find_interpreter("3.12.99")


def test_a_python_that_is_gone_itself_is_named():
    error = envs.PythonNotFound("/opt/worker/bin/python3.11", ["3.12.1"])
    assert "the Python that runs this, /opt/worker/bin/python3.11, is gone" in str(error)
    assert "install" not in str(error)
