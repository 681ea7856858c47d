"""Promise: an environment that is not what was built is found and put aside, never under somebody who runs in it."""

import os
import shutil
import subprocess

import pytest

from envs import DirectoryStore, EnvCache, inspect_environment


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
