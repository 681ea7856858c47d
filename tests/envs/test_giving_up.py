"""A build that nobody wants any more ends at once, with all that it started, and leaves nothing."""

import fcntl
import os
import signal
import threading
import time

import pytest

from envs import BuildGivenUp, EnvCache, capture, failed_builds
from tests.support.slow_package import parent_of

BUILD = """
import sys, envs
def say(code_version_hash, phase): print(phase, flush=True)
cache = envs.EnvCache(sys.argv[1], envs.open_store(sys.argv[2]), on_progress=say)
with cache.lease(sys.argv[3]): print("leased", flush=True)
"""


@pytest.fixture
def version(slow, project, store):
    (project / "requirements.txt").write_text(slow.lock)
    captured = capture(project)
    store.put(captured)
    return captured


class Attempt:
    """A lease in a thread of its own."""

    def __init__(self, cache_root, store, version):
        self.unwanted = threading.Event()
        self.phases = []
        self.error = self.environment = None
        self._cache = EnvCache(cache_root, store, on_progress=lambda _hash, phase: self.phases.append(phase))
        self._hash = version.hash
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            with self._cache.lease(self._hash, given_up=self.unwanted.is_set) as self.environment:
                pass
        except BuildGivenUp as error:
            self.error = error

    def reaches(self, phase):
        deadline = time.monotonic() + 60
        while phase not in self.phases:
            assert time.monotonic() < deadline, self.phases
            time.sleep(0.01)

    def ended(self):
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self


def test_a_build_that_is_given_up_ends_with_all_that_it_started_and_leaves_nothing(tmp_path, store, slow, version):
    attempt = Attempt(tmp_path / "cache", store, version)
    builder = slow.wait_for_builder()
    attempt.unwanted.set()
    attempt.ended()
    assert isinstance(attempt.error, BuildGivenUp)
    assert attempt.phases == ["fetch", "verify", "layer", "given up"]
    slow.wait_for_no_builder()
    assert not os.path.exists(f"/proc/{builder}/exe")
    for folder in ("versions", "layers", "trash", "failures"):
        path = tmp_path / "cache" / folder
        assert not path.exists() or os.listdir(path) == []
    slow.open()
    again = Attempt(tmp_path / "cache", store, version).ended()  # at once: it is no failure that has to be waited out
    assert again.environment.missing_part() is None
    assert failed_builds(str(tmp_path / "cache")) == []


def test_who_waits_for_another_builder_says_so_and_can_give_up_or_have_what_that_built(tmp_path, store, slow, version):
    first = Attempt(tmp_path / "cache", store, version)
    slow.wait_for_builder()
    patient, impatient = (Attempt(tmp_path / "cache", store, version) for _ in range(2))
    patient.reaches("wait")
    impatient.reaches("wait")
    impatient.unwanted.set()
    assert isinstance(impatient.ended().error, BuildGivenUp)
    assert impatient.phases == ["wait", "given up"]
    assert slow.builders() != []  # the build of the others goes on
    slow.open()
    assert first.ended().environment == patient.ended().environment
    assert first.phases[-1] == "done"
    assert patient.phases == ["wait", "ready"]


def test_who_waits_for_a_build_that_is_given_up_builds_it(tmp_path, store, slow, version):
    first = Attempt(tmp_path / "cache", store, version)
    slow.wait_for_builder()
    second = Attempt(tmp_path / "cache", store, version)
    second.reaches("wait")
    first.unwanted.set()
    first.ended()
    second.reaches("layer")
    slow.open()
    assert second.ended().environment.missing_part() is None


def test_two_versions_on_one_layer_wait_for_one_builder(tmp_path, store, slow, project, version):
    (project / "orders/steps.py").write_text("N = 2\n")
    other = capture(project)
    store.put(other)
    first = Attempt(tmp_path / "cache", store, version)
    slow.wait_for_builder()
    second = Attempt(tmp_path / "cache", store, other)
    second.reaches("wait")
    assert second.phases == ["fetch", "verify", "layer", "wait"]
    second.unwanted.set()
    assert second.ended().phases[-1] == "given up"
    assert os.listdir(tmp_path / "cache/versions") == [version.hash]
    slow.open()
    assert first.ended().environment.missing_part() is None


def test_an_installer_that_outlives_its_killed_builder_holds_the_lock_until_it_is_done(
    tmp_path, store, slow, version, start
):
    killed = start(BUILD, tmp_path / "cache", store.location, version.hash)
    installer = parent_of(slow.wait_for_builder())
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert os.path.basename(os.readlink(f"/proc/{installer}/exe")) == "uv"
    (layer,) = os.listdir(tmp_path / "cache/layers")
    with open(tmp_path / "cache/locks" / f"layer-{layer}.lock") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    second = Attempt(tmp_path / "cache", store, version)
    second.reaches("wait")
    (tmp_path / "cache/layers" / layer / "of-the-killed-one").touch()
    slow.open()
    environment = second.ended().environment
    assert not (environment.layer_root / "of-the-killed-one").exists()
    assert (environment.layer_root / "lib").is_dir()
    assert second.phases == ["fetch", "verify", "layer", "wait", "venv", "compile", "done"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_ends_the_builder_in_order_ends_the_installer(tmp_path, store, slow, version, start, number):
    code = "import signal\nsignal.signal(signal.SIGHUP, signal.default_int_handler)\n" + BUILD
    builder = start(code, tmp_path / "cache", store.location, version.hash)
    slow.wait_for_builder()
    builder.send_signal(number)
    builder.wait()
    slow.wait_for_no_builder()
    assert os.listdir(tmp_path / "cache/layers") == os.listdir(tmp_path / "cache/versions") == []
