"""A cache that was warmed elsewhere and can only be read, and a file system that keeps no locks."""

import os
import subprocess
import sys

import pytest

import envs
from envs import EnvCache, capture, take_inventory

# Leases each version it is given, and says what came of it.
LEASE = """
import sys, subprocess, envs
cache = envs.EnvCache(sys.argv[1], envs.open_store(sys.argv[2]))
for name in sys.argv[3:]:
    try:
        with cache.lease(name) as environment:
            code = "import orders.steps, six; print(orders.steps.price(21))"
            print(subprocess.run([environment.python, "-c", code], capture_output=True, text=True, check=True).stdout)
    except envs.CacheUnusable as error:
        print(error)
"""

# The same in a process where flock fails as it does on a file system without it.
WITHOUT_LOCKS = """
import ctypes, errno, platform, struct
number = {"x86_64": 73, "aarch64": 32}[platform.machine()]
program = b"".join(struct.pack("HBBI", *line) for line in [
    (0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | errno.ENOLCK), (0x06, 0, 0, 0x7FFF0000)
])
buffer = ctypes.create_string_buffer(program)
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, filter, 0, 0) == 0, ctypes.get_errno()
"""


@pytest.fixture
def warmed(project, store, six_lock):
    """Builds one version into a cache there; the hash of it, and of one that is only in the store."""

    def warm(root):
        (project / "requirements.txt").write_text(six_lock)
        names = []
        for line in ("", "NEW = True\n"):
            with (project / "orders/steps.py").open("a") as file:
                file.write(line)
            version = capture(project)
            store.put(version)
            names.append(version.hash)
        with EnvCache(root, store).lease(names[0]):
            pass
        return names

    return warm


def lease(root, store, names, *, prefix=(), before=""):
    done = subprocess.run(
        [*prefix, sys.executable, "-c", before + LEASE, root, store.location, *names],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.stderr == ""
    return done.stdout.split("\n\n")[0], done.stdout


@pytest.mark.parametrize("locks", ["with lock files", "without"])
def test_without_permission_to_write_what_is_built_is_leased(tmp_path, store, warmed, without_privilege, locks):
    root = tmp_path / "cache"
    names = warmed(root)
    if locks == "without":
        for path in (root / "leases").iterdir():
            path.unlink()
    subprocess.run(["chmod", "-R", "a-w,a+rX", root], check=True)
    first, everything = lease(root, store, names, prefix=without_privilege)
    assert first == "42"
    assert f"cannot be written, and code version {names[1]} is not in it" in everything
    assert f"hwe warm {names[1][:12]}" in everything
    subprocess.run(["chmod", "-R", "u+w", root], check=True)


def test_on_a_read_only_mount_it_is_leased_listed_and_not_cleared(store, warmed, small_disk):
    root = small_disk(40 * 1024) / "cache"
    names = warmed(root)
    subprocess.run(["mount", "-o", "remount,ro", root.parent], check=True)
    first, everything = lease(root, store, names)
    assert first == "42"
    assert "cannot be written" in everything
    cache = EnvCache(root, store)
    assert cache.read_only
    with cache.lease(names[0]):
        (listed,) = take_inventory(cache.root).versions
        assert (listed.hash, listed.leased) == (names[0], True)
        assert envs.evict(cache.root, max_bytes=0).versions == []
        assert envs.inspect_environment(cache.root, names[0]).verdict == "sound"
    with pytest.raises(envs.CacheUnusable, match="Read-only file system"):
        envs.evict(cache.root, max_bytes=0)


def test_an_empty_cache_that_cannot_be_written_is_refused(tmp_path, store, without_privilege):
    root = tmp_path / "cache"
    root.mkdir(mode=0o500)
    done = subprocess.run(
        [*without_privilege, sys.executable, "-c", "import sys, envs; envs.EnvCache(sys.argv[1])", root],
        capture_output=True,
        text=True,
    )
    assert "is not writable for this user" in done.stderr


def test_on_a_file_system_without_locks_nothing_is_built_and_it_says_why(tmp_path, store, warmed):
    names = warmed(tmp_path / "elsewhere")
    _, everything = lease(tmp_path / "cache", store, names, before=WITHOUT_LOCKS)
    assert everything.count("keeps no locks") == 2
    assert "put it on a local disk" in everything
    assert list(tmp_path.glob("cache/versions/*")) == []
