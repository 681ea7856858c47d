"""A version whose wheels are stored can be installed when no index has them any more."""

import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest

import envs
from envs import EnvCache, capture, copy_version, copy_wheels, open_store, store_wheels
from envs.wheels import Wheel, put_wheel
from tests.envs.test_installing import wheel

# Published as source alone, and with a test of pip's own in it: it has to be built.
DOCOPT = "docopt==0.6.2 --hash=sha256:49b3a825280bd66b3aa83585ef59c4a8c82f2c8a522dbe754a8bc8d08c85c491\n"


@pytest.fixture
def locked(project, store, six_lock):
    """A version with a lock of a wheel and a source distribution, in the store with its wheels."""
    (project / "requirements.txt").write_text(six_lock + DOCOPT)
    version = capture(project)
    store.put(version)
    told = []
    try:
        wheels = store_wheels(store, version.hash, on_progress=told.append)
    except envs.IndexUnreachable as error:
        pytest.skip(f"NO PACKAGE INDEX: wheels are not tested: {error}")
    assert any("six" in line for line in told)
    return version, wheels


@pytest.fixture
def nothing_elsewhere(monkeypatch, tmp_path):
    """An index that is gone, and a machine that never installed anything."""
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/simple")
    for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty-uv-cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_NO_CONFIG", "1")


def imports(environment):
    code = "import six, docopt; print(six.__version__, docopt.__version__)"
    done = subprocess.run([environment.python, "-c", code], capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_a_layer_is_installed_without_an_index(locked, store, tmp_path, nothing_elsewhere):
    version, wheels = locked
    assert [(wheel.file.split("-")[0], wheel.built) for wheel in wheels.wheels] == [("docopt", True), ("six", False)]
    for offline in (False, True):
        cache = EnvCache(tmp_path / f"cache-{offline}", store, offline=offline)
        with cache.lease(version.hash) as environment:
            assert imports(environment) == ["1.17.0", "0.6.2"]
            # As installed from anywhere else, and nothing left of how.
            assert not list(environment.layer_root.rglob("direct_url.json"))
            assert not (environment.layer_root / ".hwe-wheels").exists()


def test_without_them_it_cannot(project, store, six_lock, tmp_path, nothing_elsewhere):
    (project / "requirements.txt").write_text(six_lock)
    version = capture(project)
    store.put(version)
    with pytest.raises(envs.EnvironmentBuildFailed), EnvCache(tmp_path / "cache", store).lease(version.hash):
        pass


def test_again_changes_nothing_and_repairs_what_is_damaged(locked, store):
    version, wheels = locked
    told = []
    assert store_wheels(store, version.hash, on_progress=told.append) == wheels
    assert told == []
    damaged, missing = (path_of(store, wheel) for wheel in wheels.wheels)
    damaged.write_bytes(b"PK")
    missing.unlink()
    again = store_wheels(store, version.hash)
    assert [wheel.file for wheel in again.wheels] == [wheel.file for wheel in wheels.wheels]
    assert store_wheels(store, version.hash, on_progress=told.append) == again
    assert told == []


def path_of(store, wheel):
    from pathlib import Path

    return Path(store.location) / "wheels" / wheel.sha256[:2] / f"{wheel.sha256}.whl"


def list_of(store, wheels):
    from pathlib import Path

    return Path(store.location) / "wheel-lists" / wheels.lock_sha256 / f"{wheels.target}.json"


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda store, wheels: path_of(store, wheels.wheels[1]).write_bytes(b"PK"), "six.* is not what its hash says"),
        (lambda store, wheels: path_of(store, wheels.wheels[1]).unlink(), "six.* is missing"),
        (lambda store, wheels: list_of(store, wheels).write_bytes(b"{"), "cannot be read"),
        (lambda store, wheels: list_of(store, wheels).write_text('{"format":2,"wheels":[]}'), "format 2"),
        (
            lambda store, wheels: list_of(store, wheels).rename(list_of(store, wheels).with_name("cp39-plan9.json")),
            "for cp39-plan9, and this is cp",
        ),
    ],
)
def test_what_is_wrong_with_them_is_told_and_never_installed(locked, store, tmp_path, nothing_elsewhere, harm, told):
    version, wheels = locked
    harm(store, wheels)
    with (
        pytest.raises(envs.EnvironmentBuildFailed, match=told) as caught,
        EnvCache(tmp_path / "cache", store).lease(version.hash),
    ):
        pass
    assert "hwe capture --wheels" in str(caught.value) or "format 2" in str(caught.value)


def test_a_list_cannot_smuggle_in_what_the_lock_does_not_have(locked, store, tmp_path, nothing_elsewhere):
    version, wheels = locked
    path = list_of(store, wheels)
    document = json.loads(path.read_text())
    # As it would be if the one that was built claimed to come from the index.
    document["wheels"][0]["built"] = False
    path.write_text(json.dumps(document))
    with (
        pytest.raises(envs.EnvironmentBuildFailed, match=r"docopt.* is not in the lock"),
        EnvCache(tmp_path / "cache", store).lease(version.hash),
    ):
        pass
    for file in ("../six-1.17.0-py3-none-any.whl", "-r-1-py3-none-any.whl", "six.whl"):
        document["wheels"][1]["file"] = file
        path.write_text(json.dumps(document))
        with (
            pytest.raises(envs.EnvironmentBuildFailed, match="cannot be read"),
            EnvCache(tmp_path / "cache", store, retry_failed=True).lease(version.hash),
        ):
            pass


def test_damaged_ones_are_no_harm_while_there_is_an_index(locked, store, tmp_path):
    version, wheels = locked
    path_of(store, wheels.wheels[0]).write_bytes(b"PK")
    with EnvCache(tmp_path / "cache", store).lease(version.hash) as environment:
        assert imports(environment) == ["1.17.0", "0.6.2"]


def test_they_are_copied_with_their_version(locked, store, tmp_path, nothing_elsewhere):
    version, wheels = locked
    other = open_store(tmp_path / "other")
    assert copy_version(version.hash, store, other)
    assert copy_wheels(version.hash, store, other) == list(wheels.wheels)
    assert copy_wheels(version.hash, store, other) == []
    with EnvCache(tmp_path / "cache", other).lease(version.hash) as environment:
        assert imports(environment) == ["1.17.0", "0.6.2"]


def test_a_version_without_a_lock_has_none(version, store):
    assert store_wheels(store, version.hash) is None


def test_a_lock_that_no_index_has_is_told(project, store, six_lock):
    (project / "requirements.txt").write_text(re.sub("sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, six_lock))
    version = capture(project)
    store.put(version)
    with pytest.raises(envs.EnvironmentBuildFailed, match=r"getting the wheels.*Expected sha256 0{64}"):
        store_wheels(store, version.hash)
    assert list(store.file_names("wheels")) == []


@pytest.mark.parametrize("name", ["pylock.toml", "uv.lock"])
def test_every_format_of_lock(project, store, tmp_path, name, nothing_elsewhere, monkeypatch):
    import uv

    table = '[project]\nname = "demo"\nversion = "1"\nrequires-python = ">=3.9"\ndependencies = ["six==1.17.0"]\n'
    python = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(table + python)
    command = ["lock"] if name == "uv.lock" else ["pip", "compile", "pyproject.toml", "-o", "pylock.toml"]
    with monkeypatch.context() as patched:
        for variable in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_NO_CONFIG"):
            patched.delenv(variable)
        done = subprocess.run([uv.find_uv_bin(), *command, "-q"], cwd=project, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"NO PACKAGE INDEX: {name} is not tested: {done.stderr[-300:]}")
        version = capture(project)
        assert version.manifest.lock.path == name
        store.put(version)
        (wheel,) = store_wheels(store, version.hash).wheels
    assert (wheel.file, wheel.built) == ("six-1.17.0-py2.py3-none-any.whl", False)
    with EnvCache(tmp_path / "cache", store).lease(version.hash) as environment:
        done = subprocess.run([environment.python, "-c", "import six"], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def of_a_folder(project, store, tmp_path, monkeypatch):
    """A version whose lock has one package of a folder by that hash alone; without its wheels yet."""

    def deploy(algorithm, form):
        packages = tmp_path / "packages"
        packages.mkdir()
        wheel(packages, "thing", {"thing.py": "WHO = 1\n"})
        (path,) = packages.iterdir()
        digest = hashlib.new(algorithm, path.read_bytes()).hexdigest()
        if form == "pylock.toml":
            text = (
                'lock-version = "1.0"\ncreated-by = "hand"\n[[packages]]\nname = "thing"\nversion = "1.0"\n'
                f'wheels = [{{ url = "https://index.example/{path.name}", hashes = {{ {algorithm} = "{digest}" }} }}]\n'
            )
        else:
            text = f"thing==1.0 --hash={algorithm}:{digest}\n"
        (project / form).write_text(text)
        version = capture(project)
        store.put(version)
        with monkeypatch.context() as patched:
            for name in ("UV_FIND_LINKS", "PIP_FIND_LINKS"):
                patched.setenv(name, str(packages))
            patched.setenv("UV_NO_INDEX", "1")
            (kept,) = store_wheels(store, version.hash).wheels
        assert (kept.file, kept.built) == (path.name, False)
        return version, kept

    return deploy


@pytest.mark.parametrize("form", ["requirements.txt", "pylock.toml"])
@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_a_lock_without_sha256_is_installed_from_them(of_a_folder, store, tmp_path, nothing_elsewhere, algorithm, form):
    version, _ = of_a_folder(algorithm, form)
    other = envs.DirectoryStore(tmp_path / "other")
    envs.copy_version(version.hash, store, other)
    envs.copy_wheels(version.hash, store, other)
    for number, where in enumerate((store, other)):
        with EnvCache(tmp_path / f"cache-{number}", where, offline=True).lease(version.hash) as environment:
            assert subprocess.run([environment.python, "-c", "import thing"]).returncode == 0


def test_nor_can_a_list_smuggle_something_into_a_lock_without_sha256(of_a_folder, store, tmp_path, nothing_elsewhere):
    version, kept = of_a_folder("sha512", "requirements.txt")
    evil = tmp_path / "evil"
    evil.mkdir()
    wheel(evil, "thing", {"thing.py": "WHO = 'somebody else'\n"})
    (path,) = evil.iterdir()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    put_wheel(store, Wheel(False, kept.file, digest, path.stat().st_size), str(path))
    (listed,) = Path(store.location, "wheel-lists").rglob("*.json")
    listed.write_text(listed.read_text().replace(kept.sha256, digest))
    with pytest.raises(envs.EnvironmentBuildFailed, match=r"thing-1\.0-py3-none-any\.whl is not in the lock"):
        EnvCache(tmp_path / "cache", store, offline=True).lease(version.hash).__enter__()
