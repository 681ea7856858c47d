"""Promises: gc removes the least recently used, and never what is leased, pinned or being built."""

import contextlib
import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from envs import EnvCache, capture, evict, inspect_environment, inspect_layer, take_inventory

DAY = 86400.0


@pytest.fixture
def cache(tmp_path, store):
    return EnvCache(tmp_path / "cache", store)


@pytest.fixture
def build(cache, project, store):
    """Builds versions of the project: by number, last used so many days ago, with this lock."""

    def build(number, days=0.0, lock=None):
        (project / "orders/steps.py").write_text(f"N = {number}\n")
        if lock:
            (project / "requirements.txt").write_text(lock)
        else:
            (project / "requirements.txt").unlink(missing_ok=True)
        version = capture(project)
        store.put(version)
        with cache.lease(version.hash):
            pass
        then = time.time() - days * DAY
        os.utime(cache.lease_path(version.hash), (then, then))
        return version.hash

    return build


def built(cache):
    return {version.hash for version in take_inventory(cache.root).versions}


def test_the_inventory_knows_sizes_uses_and_leases(cache, build, six_lock):
    first, second = build(1, days=3, lock=six_lock), build(2, lock=six_lock)
    with cache.lease(second) as environment:
        inventory = take_inventory(cache.root)
        # The second one has links to bytecode that is counted for the first.
        du = subprocess.run(["du", "-s", "-B1", environment.root.with_name(first)], capture_output=True, text=True)
        layer_du = subprocess.run(["du", "-s", "-B1", environment.layer_root], capture_output=True, text=True)
    found = {version.hash: version for version in inventory.versions}
    assert (found[first].leased, found[second].leased) == (False, True)
    assert found[first].last_used == pytest.approx(time.time() - 3 * DAY, abs=60)
    assert found[second].last_used == pytest.approx(time.time(), abs=60)
    # The marker itself is written after it was measured.
    assert found[first].own_bytes == pytest.approx(int(du.stdout.split()[0]), abs=8192)
    assert found[second].own_bytes < found[first].own_bytes
    (layer,) = inventory.layers
    assert layer.key == found[first].layer == found[second].layer == environment.layer_root.name
    assert layer.versions == 2
    assert layer.bytes == pytest.approx(int(layer_du.stdout.split()[0]), abs=8192)
    assert inventory.total_bytes == found[first].own_bytes + found[second].own_bytes + layer.bytes


def test_a_lease_notes_the_use_when_it_begins_and_when_it_ends(cache, build):
    name = build(1, days=5)
    with cache.lease(name):
        assert take_inventory(cache.root).versions[0].last_used > time.time() - 60
        os.utime(cache.lease_path(name), (0, 0))
    assert take_inventory(cache.root).versions[0].last_used > time.time() - 60


def test_what_is_too_old_goes_with_the_layer_that_nobody_else_has(cache, build, six_lock):
    old, young = build(1, days=40, lock=six_lock), build(2, days=20)
    told = evict(cache.root, max_age_seconds=30 * DAY, dry_run=True)
    assert ([one.hash for one in told.versions], len(told.layers)) == ([old], 1)
    assert built(cache) == {old, young}
    before = take_inventory(cache.root).total_bytes
    done = evict(cache.root, max_age_seconds=30 * DAY)
    assert ([one.hash for one in done.versions], len(done.layers)) == ([old], 1)
    assert built(cache) == {young}
    assert done.freed_bytes == before - take_inventory(cache.root).total_bytes
    # Bytecode that the younger one links to is left; nobody knows beforehand.
    assert 0.9 * told.freed_bytes < done.freed_bytes <= told.freed_bytes
    for folder in ("layers", "trash"):
        assert os.listdir(os.path.join(cache.root, folder)) == []
    assert not [name for name in os.listdir(os.path.join(cache.root, "leases")) if old in name or "layer" in name]
    with cache.lease(old) as environment:  # and can be had again
        assert subprocess.run([environment.python, "-c", "import orders.steps, six"]).returncode == 0


def test_the_least_recently_used_goes_until_the_rest_fits(cache, build):
    names = [build(number, days=10 - number) for number in range(4)]
    sizes = {version.hash: version.own_bytes for version in take_inventory(cache.root).versions}
    shared = sizes[names[0]] - sizes[names[1]]  # bytecode of what did not change
    limit = sizes[names[2]] + sizes[names[3]] + shared
    done = evict(cache.root, max_bytes=limit)
    assert [one.hash for one in done.versions] == names[:2]
    assert (done.reached, done.left_bytes, built(cache)) == (True, limit, set(names[2:]))
    assert take_inventory(cache.root).shared_bytes == shared
    done = evict(cache.root, max_bytes=limit - 1)
    assert ([one.hash for one in done.versions], done.reached) == ([names[2]], True)


def test_an_environment_in_use_or_needed_is_never_evicted(cache, build):
    leased, pinned, free = build(1, days=90), build(2, days=80), build(3, days=1)
    with cache.lease(leased) as environment:
        os.utime(cache.lease_path(leased), (0, 0))
        done = evict(cache.root, max_bytes=0, max_age_seconds=DAY, pinned={pinned})
        assert subprocess.run([environment.python, "-c", "import orders.steps"]).returncode == 0
    assert [one.hash for one in done.versions] == [free]
    assert (done.leased, done.pinned, done.reached) == ([leased], [pinned], False)
    assert built(cache) == {leased, pinned}


def test_without_limits_only_what_nobody_can_use_goes(cache, build, six_lock):
    name = build(1, days=1000, lock=six_lock)
    spare = build(2, days=1000)
    for half in ("versions/" + "a" * 64, "layers/" + "b" * 64):
        os.makedirs(os.path.join(cache.root, half, "bin"))
    os.makedirs(os.path.join(cache.root, "trash", "half"))
    done = evict(cache.root)
    assert (done.versions, done.layers, done.unfinished) == ([], [], 2)
    assert built(cache) == {name, spare}
    shutil.rmtree(os.path.join(cache.root, "versions", name))
    assert len(evict(cache.root).layers) == 1
    assert os.listdir(os.path.join(cache.root, "trash")) == []


def test_a_build_in_progress_keeps_its_layer_and_its_directory(cache, build, project, store, six_lock):
    """gc comes when the layer is there, no environment stands on it yet, and the build goes on."""
    first = build(1, lock=six_lock)
    (project / "orders/steps.py").write_text("N = 2\n")
    version = capture(project)
    store.put(version)
    seen = []

    def clear(_hash, phase):
        if phase == "compile":
            seen.append(evict(cache.root, max_age_seconds=0.0))

    with EnvCache(cache.root, store, on_progress=clear).lease(version.hash) as environment:
        assert environment.missing_part() is None
    assert [one.hash for one in seen[0].versions] == [first]
    assert (seen[0].layers, seen[0].unfinished) == ([], 0)


RACE = """
import sys, time, subprocess, random, envs
cache = envs.EnvCache(sys.argv[1], envs.open_store(sys.argv[2]))
end, count = time.monotonic() + float(sys.argv[3]), 0
while time.monotonic() < end:
    with cache.lease(random.choice(sys.argv[4:])) as environment:
        if random.random() < 0.3:
            subprocess.run([environment.python, "-c", "import orders.steps, six"], check=True)
        assert environment.missing_part() is None
    count += 1
print(count)
"""


def test_gc_racing_leases_never_takes_an_environment_away(cache, build, store, start, six_lock):
    names = [build(number, lock=six_lock) for number in range(4)]
    seconds = 8.0
    processes = [start(RACE, cache.root, store.location, seconds, *names) for _ in range(3)]
    end, evicted, layers = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        done = evict(cache.root, max_bytes=0)
        take_inventory(cache.root)
        evicted += len(done.versions)
        layers += len(done.layers)
    for process in processes:
        out, err = process.communicate()
        assert (process.returncode, err) == (0, "")
        assert int(out) > 3
    assert evicted > 5


def test_what_gc_takes_between_build_and_lease_is_built_once_more(cache, build, store):
    name = build(1)
    evict(cache.root, max_bytes=0)
    built_and_gone = []

    def gc_when_built(code_version_hash, phase):
        if phase == "done" and not built_and_gone:
            built_and_gone.extend(evict(cache.root, max_bytes=0).versions)

    with EnvCache(cache.root, store, on_progress=gc_when_built).lease(name) as environment:
        assert environment.missing_part() is None
    assert [version.hash for version in built_and_gone] == [name]


def test_lists_that_race_with_rebuilds_are_no_reason_to_fail(cache, build):
    """Looking whether a lease is held takes it for a moment, which must not look like a user."""
    name = build(1)
    stop = threading.Event()

    def look():
        while not stop.is_set():
            take_inventory(cache.root)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(20):
            python = os.path.join(cache.root, "versions", name, "bin", "python")
            os.unlink(python)
            os.symlink("/nowhere/python3", python)
            with cache.lease(name) as environment:  # notices, and builds it again
                assert environment.missing_part() is None
    finally:
        stop.set()
        thread.join()


# Takes the inventory and makes a plan to remove everything; prints how often the file system was asked for what.
COUNT = """
import sys, time, collections
from envs import take_inventory
from envs.eviction import plan_eviction
asked = collections.Counter()
sys.addaudithook(lambda event, args: asked.update([event]))
inventory = take_inventory(sys.argv[1])
plan = plan_eviction(inventory, now=time.time(), max_bytes=0, pinned=sys.argv[2:])
print(len(inventory.versions), len(plan.versions), asked["open"], asked["os.listdir"] + asked["os.scandir"])
"""


def test_list_and_plan_open_two_files_for_each_and_walk_through_none(cache, build, start):
    name = build(1)
    root = os.path.join(cache.root, "versions")
    with open(os.path.join(root, name, ".hwe-environment.json"), encoding="utf-8") as file:
        marker = json.load(file)
    count = 1000
    for number in range(count):
        other = f"{number:064x}"
        os.makedirs(os.path.join(root, other, "project/deep"))
        with open(os.path.join(root, other, ".hwe-environment.json"), "w", encoding="utf-8") as file:
            json.dump({**marker, "hash": other}, file)
        with open(cache.lease_path(other), "w", encoding="utf-8"):
            pass
    out, err = start(COUNT, cache.root, name).communicate()
    assert err == ""
    listed, planned, opened, walked = map(int, out.split())
    assert (listed, planned) == (count + 1, count)
    assert opened <= 2 * count + 50
    assert walked <= 10


def test_what_was_found_damaged_is_counted_and_cleared_after_a_month_or_for_room(cache, build):
    names = [build(number) for number in range(3)]
    for name in names[:2]:
        Path(cache.root, "versions", name, "project/orders/steps.py").unlink()
        assert inspect_environment(cache.root, name).verdict == "quarantined"
    old, young = sorted(Path(cache.root, "quarantine").iterdir(), key=lambda path: path.name.startswith(names[1]))
    month = 31 * 24 * 3600
    os.utime(old, (time.time() - month, time.time() - month))
    inventory = take_inventory(cache.root)
    assert [one.name for one in inventory.quarantined] == sorted([old.name, young.name])
    assert inventory.total_bytes > inventory.own_bytes + inventory.shared_bytes + 4096
    assert evict(cache.root, dry_run=True).quarantined == 1
    assert old.exists()
    assert evict(cache.root).quarantined == 1
    assert [path.name for path in young.parent.iterdir()] == [young.name]
    done = evict(cache.root, max_bytes=take_inventory(cache.root).total_bytes - 1)
    assert (done.quarantined, done.versions, done.reached) == (1, [], True)
    assert list(young.parent.iterdir()) == []
    assert cache.is_ready(names[2])


def test_folders_of_a_cache_may_be_on_another_disk(cache, build, six_lock, small_disk):
    disk = small_disk(32 * 1024)
    for folder in ("versions", "layers"):
        (disk / folder).mkdir()
        Path(cache.root, folder).symlink_to(disk / folder)
    names = [build(number, days=9 - number, lock=six_lock) for number in range(3)]
    inventory = take_inventory(cache.root)
    assert len(inventory.versions) == 3
    assert (len(inventory.layers), inventory.unfinished) == (1, [])
    layer = inventory.layers[0].key
    (disk / "versions" / names[0] / ".hwe-environment.json").unlink()  # as a killed build leaves it
    with cache.lease(names[2]):
        done = evict(cache.root, max_age_seconds=1)
        assert ([one.hash for one in done.versions], done.unfinished) == (names[1:2], 1)
    assert os.listdir(disk / "versions/.trash") == []
    assert take_inventory(cache.root).unfinished == []
    next((disk / "layers").rglob("six.py")).unlink()
    assert inspect_layer(cache.root, layer).verdict == "quarantined"
    assert list(Path(cache.root, "quarantine").glob(f"{layer}-*/lib"))
    with cache.lease(names[0]) as environment:
        assert subprocess.run([environment.python, "-c", "import six, orders.steps"]).returncode == 0
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.utime(cache.lease_path(name), (0, 0))
    assert evict(cache.root, max_age_seconds=1).left_bytes < 1024 * 1024
    assert {path.name for folder in ("versions", "layers") for path in (disk / folder).iterdir()} == {".trash"}
