"""What is installed follows from the lock, not from which package was installed faster."""

import base64
import hashlib
import subprocess
import zipfile

import pytest

from envs import EnvCache, EnvironmentBuildFailed, capture, inspect_layer


def wheel(folder, name, files):
    """A wheel of `name` 1.0 in `folder`; the line of a lock that pins it."""
    about = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files = files | {f"{name}-1.0.dist-info/{path}": text for path, text in about.items()}
    record = [f"{name}-1.0.dist-info/RECORD,,"]
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(text)}")
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in {**files, f"{name}-1.0.dist-info/RECORD": "\n".join(record) + "\n"}.items():
            archive.writestr(member, text)
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def test_of_packages_that_ship_one_file_the_last_by_name_has_it_in_every_build(tmp_path, project, store, monkeypatch):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    lock = [
        wheel(wheels, "zulu", {"common.py": "WHO = 'zulu'\n", "LICENSE": "MIT\n"}),
        wheel(wheels, "alpha", {"common.py": "WHO = 'alpha'\n" + "#" * 500_000, "LICENSE": "MIT\n"}),
        wheel(wheels, "mike", {"LICENSE": "MIT\n"}),  # the same in all is no quarrel
    ]
    monkeypatch.setenv("UV_FIND_LINKS", str(wheels))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    (project / "requirements.txt").write_text("".join(lock))
    version = capture(project)
    store.put(version)
    for number in range(3):
        cache = EnvCache(tmp_path / f"cache-{number}", store)
        with cache.lease(version.hash) as environment:
            code = "import common; print(common.WHO)"
            assert subprocess.run([environment.python, "-c", code], capture_output=True, text=True).stdout == "zulu\n"
            assert inspect_layer(cache.root, environment.layer_root.name).verdict == "sound"
        (log,) = (tmp_path / f"cache-{number}/logs").iterdir()
        again = [line.split()[-2] for line in log.read_text().splitlines() if "--reinstall-package" in line]
        assert again == ["alpha", "zulu"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PYTHONPYCACHEPREFIX", "{}/elsewhere"),
        ("PYTHONOPTIMIZE", "2"),
        ("UV_LINK_MODE", "symlink"),
        ("UV_WORKING_DIR", "{}"),
        ("UV_CACHE_DIR", "cache-of-uv"),
        ("UV_CONFIG_FILE", "uv.toml"),
    ],
)
def test_what_a_user_set_for_other_work_makes_no_other_layer(tmp_path, project, store, monkeypatch, name, value):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (project / "requirements.txt").write_text(wheel(wheels, "alpha", {"alpha.py": "WHO = 'alpha'\n"}))
    monkeypatch.setenv("UV_FIND_LINKS", str(wheels))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv(name, value.format(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "uv.toml").touch()
    version = capture(project)
    store.put(version)
    with EnvCache(tmp_path / "cache", store).lease(version.hash) as environment:
        (source,) = environment.layer_root.rglob("alpha.py")
        assert not (environment.layer_root / "cache-of-uv").exists()
        assert not source.is_symlink()
        (bytecode,) = (source.parent / "__pycache__").glob("alpha.*.pyc")
        assert ".opt-" not in bytecode.name


def test_whose_hash_is_another_is_told_in_the_one_line(tmp_path, project, store, monkeypatch):
    line = wheel(tmp_path, "alpha", {"alpha.py": ""})
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    (project / "requirements.txt").write_text(line.partition("sha256:")[0] + "sha256:" + "0" * 64 + "\n")
    version = capture(project)
    store.put(version)
    with pytest.raises(EnvironmentBuildFailed, match=r"alpha==1\.0.*Expected.*sha256:0000"):
        EnvCache(tmp_path / "cache", store).lease(version.hash).__enter__()
