"""Promises: one build for any number of processes; kill -9 leaves nothing; what is in use is locked."""

import fcntl
import os
import random
import signal
import subprocess
import threading
import time

import pytest

import envs
from envs import EnvCache, capture, evict
from envs.locks import exclusive
from envs.trash import discard

BUILD = """
import sys, envs
def say(code_version_hash, phase): print(phase, flush=True)
cache = envs.EnvCache(sys.argv[1], envs.open_store(sys.argv[2]), on_progress=say)
with cache.lease(sys.argv[3]) as environment:
    import subprocess
    subprocess.run([environment.python, "-c", "import orders.steps"], check=True)
    print("leased", flush=True)
    if len(sys.argv) > 4: sys.stdin.read()
"""


def is_locked(cache, version):
    with open(os.path.join(cache.root, "leases", f"{version.hash}.lock"), "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_two_hundred_processes_asking_for_one_version_build_it_once(tmp_path, store, project, start):
    count = 200
    version = capture(project)
    store.put(version)
    processes = [start(BUILD, tmp_path / "cache", store.location, version.hash) for _ in range(count)]
    said = []
    for process in processes:
        out, err = process.communicate()
        assert err == ""
        said += out.split()
    assert said.count("done") == said.count("fetch") == 1
    assert said.count("leased") == count


def test_fifty_processes_asking_for_ten_versions_build_each_once(tmp_path, store, project, start):
    hashes = []
    for number in range(10):
        (project / "orders/steps.py").write_text(f"NUMBER = {number}\n")
        version = capture(project)
        store.put(version)
        hashes.append(version.hash)
    processes = [start(BUILD, tmp_path / "cache", store.location, hashes[number % 10]) for number in range(50)]
    said = []
    for process in processes:
        out, err = process.communicate()
        assert err == ""
        said += out.split()
    assert said.count("done") == said.count("fetch") == 10
    assert said.count("leased") == 50
    cache = EnvCache(tmp_path / "cache")
    for number, name in enumerate(hashes):
        with cache.lease(name) as environment:
            asked = [environment.python, "-c", "import orders.steps; print(orders.steps.NUMBER)"]
            assert subprocess.run(asked, check=True, capture_output=True, text=True).stdout == f"{number}\n"


def test_threads_asking_for_one_version_build_it_once(tmp_path, store, version):
    phases, environments = [], []
    cache = EnvCache(tmp_path / "cache", store, on_progress=lambda _hash, phase: phases.append(phase))

    def ask():
        with cache.lease(version.hash) as environment:
            environments.append(environment)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(environments) == 20
    assert phases.count("done") == 1


def kill_rounds(cache_root, store, version, start, rounds, seconds):
    for _ in range(rounds):
        process = start(BUILD, cache_root, store.location, version.hash)
        process.stdout.readline()  # the build has begun
        time.sleep(random.random() * seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        cache = EnvCache(cache_root, store)
        if cache.is_ready(version.hash):
            # Finished before the kill: whole, or not there.
            with cache.lease(version.hash) as environment:
                subprocess.run([environment.python, "-c", "import orders.steps"], check=True)
                root = environment.root
            discard(cache.root, root)
    return EnvCache(cache_root, store)


def test_killed_build_leaves_no_environment(tmp_path, store, version, start):
    cache = kill_rounds(tmp_path / "cache", store, version, start, 25, 0.15)
    with cache.lease(version.hash) as environment:
        subprocess.run([environment.python, "-c", "import orders.steps"], check=True)
    assert os.listdir(os.path.join(cache.root, "versions")) == [version.hash]


def test_killed_build_leaves_no_layer(tmp_path, store, project, six_lock, start):
    (project / "requirements.txt").write_text(six_lock)
    (project / "orders/steps.py").write_text("import six\nassert six.__version__\n")
    version = capture(project)
    store.put(version)
    for number in range(8):
        kill_rounds(tmp_path / f"cache{number % 2}", store, version, start, 1, 0.5)
    with EnvCache(tmp_path / "cache0", store).lease(version.hash) as environment:
        subprocess.run([environment.python, "-c", "import orders.steps"], check=True)


def test_a_lease_is_held_by_the_kernel_and_dropped_with_its_process(tmp_path, store, version, start):
    cache = EnvCache(tmp_path / "cache", store)
    process = start(BUILD, cache.root, store.location, version.hash, "stay", stdin=subprocess.PIPE)
    while process.stdout.readline() != "leased\n":
        assert process.poll() is None
    assert is_locked(cache, version)
    with cache.lease(version.hash):  # shared with others
        assert is_locked(cache, version)
    assert is_locked(cache, version)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not is_locked(cache, version)


def test_a_lease_may_end_in_another_thread(tmp_path, store, version):
    cache = EnvCache(tmp_path / "cache", store)
    lease = cache.lease(version.hash)
    lease.__enter__()
    with pytest.raises(RuntimeError):
        lease.__enter__()
    thread = threading.Thread(target=lease.release)
    thread.start()
    thread.join()
    lease.release()
    assert not is_locked(cache, version)


def test_a_child_does_not_inherit_the_lease(tmp_path, store, version):
    cache = EnvCache(tmp_path / "cache", store)
    with cache.lease(version.hash) as environment:
        child = subprocess.Popen(
            [environment.python, "-c", "print(flush=True); input()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False,
        )  # fmt: skip
    try:
        child.stdout.readline()
        assert not is_locked(cache, version)
    finally:
        child.communicate(b"\n")


# Leases a cached version; prints how many files were opened, directories listed and processes started for that.
COUNT = """
import sys, collections, envs
cache = envs.EnvCache(sys.argv[1])
with cache.lease(sys.argv[2]): pass
asked = collections.Counter()
sys.addaudithook(lambda event, args: asked.update([event]))
with cache.lease(sys.argv[2]): pass
print(asked["open"], asked["os.listdir"] + asked["os.scandir"], asked["subprocess.Popen"])
"""


def test_what_a_cached_lease_costs_does_not_grow_with_the_cache(tmp_path, store, version, start):
    cache = EnvCache(tmp_path / "cache", store)
    with cache.lease(version.hash):
        pass
    for others in (0, 500):
        for number in range(others):
            os.makedirs(os.path.join(cache.root, "versions", f"{number:064x}", "project"))
        out, err = start(COUNT, cache.root, version.hash).communicate()
        assert err == ""
        opened, listed, started = (int(count) for count in out.split())
        # Which file a lease looks at is drawn by chance, and one of them takes an open more than another.
        assert (opened <= 6, listed, started) == (True, 0, 0)


@pytest.mark.parametrize("text", ["", "..", "../x", "0" * 63, "Z" * 64])
def test_what_is_no_hash_never_becomes_a_path(tmp_path, store, text):
    with pytest.raises(envs.HashInvalid):
        EnvCache(tmp_path / "cache", store).lease(text)


def test_an_environment_is_finished_even_when_reporting_it_fails(tmp_path, store, version):
    def report(_hash, phase):
        if phase == "done":
            raise ZeroDivisionError

    with (
        pytest.raises(ZeroDivisionError),
        EnvCache(tmp_path / "cache", store, on_progress=report).lease(version.hash),
    ):
        pass
    with EnvCache(tmp_path / "cache").lease(version.hash) as environment:
        subprocess.run([environment.python, "-c", "import orders"], check=True)


def test_an_empty_cache_that_many_use_at_once_is_never_found_half_made(tmp_path, store, version):
    """Each round is a new cache: what can go wrong happens once in some dozens of them."""
    errors = []

    def ask(cache, gate):
        gate.wait()
        try:
            os.close(cache._take_lease(cache.lease_path(version.hash), cache._path(version.hash)))
            with exclusive(os.path.join(cache.root, "locks/any.lock")):
                pass
        except Exception as error:
            errors.append(error)

    for number in range(60):
        cache = EnvCache(tmp_path / f"cache{number}", store)
        gate = threading.Barrier(8)
        threads = [threading.Thread(target=ask, args=(cache, gate)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []


@pytest.fixture
def on_one_layer(tmp_path, store, project, six_lock):
    """Two versions with one lock, not built yet."""
    (project / "requirements.txt").write_text(six_lock)
    versions = []
    for number in range(2):
        (project / "orders/steps.py").write_text(f"import six\nNUMBER = {number}\n")
        versions.append(capture(project))
        store.put(versions[-1])
    return EnvCache(tmp_path / "cache", store), *versions


def runs(environment):
    return subprocess.run([environment.python, "-c", "import orders.steps"]).returncode == 0


@pytest.mark.parametrize("harm", [os.unlink, lambda path: os.truncate(path, 0)], ids=["lost", "damaged"])
def test_a_layer_in_use_is_never_rebuilt_in_place_whatever_became_of_its_marker(on_one_layer, harm):
    cache, first, second = on_one_layer
    with cache.lease(first.hash) as environment:
        (six,) = environment.layer_root.rglob("six.py")
        before = six.stat().st_ino
        harm(environment.layer_root / ".hwe-layer.json")
        with cache.lease(second.hash) as beside:
            assert runs(beside)
            assert beside.layer_root.name == f"{environment.layer_root.name}-2"
            evict(cache.root, max_bytes=0)
            assert runs(environment)
            assert runs(beside)
        assert six.stat().st_ino == before
    evict(cache.root, max_bytes=0)  # nobody runs on either now
    for name in (first.hash, second.hash):
        with cache.lease(name) as environment:
            assert runs(environment)
    assert len({path.name for path in environment.layer_root.parent.iterdir()}) == 1


@pytest.mark.parametrize("harm", [os.unlink, lambda path: os.truncate(path, 0)], ids=["lost", "damaged"])
def test_an_environment_in_use_is_never_rebuilt_or_evicted_whatever_became_of_its_marker(on_one_layer, harm):
    cache, first, _ = on_one_layer
    with cache.lease(first.hash) as environment:
        harm(environment.root / ".hwe-environment.json")
        with pytest.raises(envs.EnvironmentDamaged, match="in use"):
            cache.lease(first.hash).__enter__()
        evict(cache.root, max_bytes=0)
        assert runs(environment)
    with cache.lease(first.hash) as environment:
        assert runs(environment)
        assert environment.missing_part() is None


def test_what_a_killed_build_left_is_no_environment_in_use_however_many_look_at_it(tmp_path, store, version):
    cache = EnvCache(tmp_path / "cache", store)
    (tmp_path / "cache/versions" / version.hash).mkdir(parents=True)
    stop = threading.Event()
    errors = []

    def look():
        try:
            while not stop.is_set():
                with cache.lease(version.hash):
                    pass
        except envs.EnvsError as error:
            errors.append(error)

    threads = [threading.Thread(target=look) for _ in range(50)]
    for thread in threads:
        thread.start()
    with cache.lease(version.hash) as environment:
        assert runs(environment)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
