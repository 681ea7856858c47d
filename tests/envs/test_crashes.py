"""After a power failure a marker may be on the disk, and files that were written before it not."""

import os
import subprocess

import pytest

from envs import EnvCache, capture

ANOTHER_BOOT = "b1e6a0f4-0000-4000-8000-000000000000"


@pytest.fixture
def phases():
    return []


@pytest.fixture
def cache(tmp_path, store, phases):
    return EnvCache(tmp_path / "cache", store, on_progress=lambda _hash, phase: phases.append(phase))


@pytest.fixture
def crashed(cache, project, store, six_lock, phases):
    """A version that was built before the machine went down."""
    (project / "requirements.txt").write_text(six_lock)
    version = capture(project)
    store.put(version)
    with cache.lease(version.hash) as environment:
        pass
    for root in (environment.root, environment.layer_root):
        assert (root / ".hwe-boot").is_symlink()
        (root / ".hwe-boot").unlink()
        (root / ".hwe-boot").symlink_to(ANOTHER_BOOT)
    phases.clear()
    return version, environment


def lose(path):
    """As a file is found whose content was not written down."""
    path.chmod(0o644)
    os.truncate(path, 0)


def runs(environment):
    code = "import six, orders.steps; print(six.__version__, orders.steps.price(4))"
    done = subprocess.run([environment.python, "-c", code], capture_output=True, text=True)
    return done.stdout == "1.17.0 8\n"


def test_the_first_lease_after_a_restart_looks_at_all_of_it_once(cache, crashed, phases):
    version, before = crashed
    with cache.lease(version.hash) as environment:
        assert runs(environment)
    assert phases == []  # not built again
    assert not (before.root / ".hwe-boot").is_symlink()
    assert not (before.layer_root / ".hwe-boot").is_symlink()


@pytest.mark.parametrize(
    "part", ["root/**/hwe.pth", "root/project/orders/steps.py", "root/**/steps*.pyc", "layer/**/six.py"]
)
def test_what_did_not_reach_the_disk_is_built_again(cache, crashed, phases, part):
    version, before = crashed
    folder, _, pattern = part.partition("/")
    (path,) = (before.layer_root if folder == "layer" else before.root).glob(pattern)
    lose(path)
    with cache.lease(version.hash) as environment:
        assert runs(environment)
    assert phases[-1] == "done"


def test_another_version_does_not_build_on_a_layer_that_did_not_reach_the_disk(cache, crashed, project, store):
    _, before = crashed
    (path,) = before.layer_root.rglob("six.py")
    lose(path)
    (project / "data/another.txt").touch()
    version = capture(project)
    store.put(version)
    with cache.lease(version.hash) as environment:
        assert runs(environment)


def test_what_was_settled_needs_no_look(cache, version):
    with cache.lease(version.hash) as environment:
        assert (environment.root / ".hwe-boot").is_symlink()
    cache.settle()
    assert not (environment.root / ".hwe-boot").is_symlink()
