"""A lock that cannot be installed is not tried again by everybody who wants it."""

import json
import os
import pickle
import re
import threading
import time
from pathlib import Path

import pytest

from envs import CacheUnusable, EnvCache, EnvironmentBuildFailed, capture, failed_builds
from envs.errors import build_failed
from envs.failures import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Failure, refuse_if_failing, remember

# No index has a file with this hash, and offline there is none at all.
NOT_INSTALLABLE = "six==1.17.0 --hash=sha256:" + "0" * 64 + "\n"


@pytest.fixture
def version(project, store):
    (project / "requirements.txt").write_text(NOT_INSTALLABLE)
    captured = capture(project)
    store.put(captured)
    return captured


@pytest.fixture
def layers():
    """The phases "layer" that were reported: how often an installation was begun."""
    return []


@pytest.fixture
def cache(tmp_path, store, layers):
    return EnvCache(tmp_path / "cache", store, on_progress=lambda _hash, phase: phase == "layer" and layers.append(1))


def failed_lease(cache, version):
    with pytest.raises(EnvironmentBuildFailed) as caught, cache.lease(version.hash):
        pass
    return caught.value


def test_fifty_leases_try_a_lock_that_cannot_be_installed_once(cache, version, layers):
    errors = []

    def ask():
        try:
            cache.lease(version.hash).__enter__()
        except EnvironmentBuildFailed as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 50
    assert len(layers) == 1
    assert [error.retry_at is None for error in errors].count(True) == 1
    for error in errors:
        assert Path(error.log_path).parent == Path(cache.root, "logs")
        assert "six" in Path(error.log_path).read_text()
    message = next(str(error) for error in errors if error.retry_at)
    assert "\n" not in message
    assert re.search(r"so since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, after 1 try; not tried again before", message)
    assert "hwe warm" in message


def test_another_version_with_that_lock_is_told_the_same(cache, version, project, store, layers):
    first = failed_lease(cache, version)
    (project / "orders/steps.py").write_text("N = 2\n")
    other = capture(project)
    store.put(other)
    second = failed_lease(cache, other)
    assert (second.log_tail, second.log_path, second.since) == (first.log_tail, first.log_path, first.since)
    assert len(layers) == 1
    assert second.retry_at is not None
    assert pickle.loads(pickle.dumps(second)).retry_at == second.retry_at


def test_who_retries_tries_once_and_the_pause_doubles(cache, version, store, layers):
    first = failed_lease(cache, version)
    again = EnvCache(cache.root, store, retry_failed=True)
    second = failed_lease(again, version)
    assert (second.tries, second.since, second.retry_at) == (2, first.since, None)
    third = failed_lease(again, version)
    assert (third.tries, third.retry_at is None) == (2, False)
    (failure,) = failed_builds(cache.root)
    assert failure.retry_at - failure.last == 2 * FIRST_PAUSE_SECONDS


def age(cache, seconds):
    """As if so much time had passed."""
    (path,) = Path(cache.root, "failures").iterdir()
    note = json.loads(path.read_bytes())
    path.write_text(json.dumps({**note, "last": note["last"] - seconds, "since": note["since"] - seconds}))


def test_it_is_tried_again_when_the_pause_is_over_and_forgotten_when_it_succeeds(
    cache, project, store, six_lock, layers, monkeypatch
):
    (project / "requirements.txt").write_text(six_lock)
    version = capture(project)
    store.put(version)
    with monkeypatch.context() as patch:  # an index that is down
        patch.setenv("UV_OFFLINE", "1")
        patch.setenv("UV_NO_CACHE", "1")
        patch.setenv("UV_NO_INDEX", "1")
        patch.setenv("UV_FIND_LINKS", "")
        failed_lease(cache, version)
    failed_lease(cache, version)
    assert len(layers) == 1
    age(cache, FIRST_PAUSE_SECONDS + 1)
    with cache.lease(version.hash) as environment:
        assert environment.missing_part() is None
    assert len(layers) == 2
    assert failed_builds(cache.root) == []
    assert os.listdir(os.path.join(cache.root, "failures")) == []


def test_the_pause_has_an_end(tmp_path):
    def failure(tries):
        return Failure("layer-x", 0.0, 100.0, tries, "installing", "no", None)

    pauses = [failure(tries).retry_at - 100 for tries in (1, 2, 3, 8, 100_000)]
    assert (
        pauses == [FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS, 4 * FIRST_PAUSE_SECONDS] + [LONGEST_PAUSE_SECONDS] * 2
    )


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"last": "soon"}'])
def test_a_note_that_cannot_be_read_or_is_of_the_future_stands_in_nobodys_way(tmp_path, note):
    refuse_if_failing(tmp_path, "layer-x")
    remember(tmp_path, "layer-x", EnvironmentBuildFailed("installing", "no", None))
    with pytest.raises(EnvironmentBuildFailed):
        refuse_if_failing(tmp_path, "layer-x")
    path = tmp_path / "failures/layer-x.json"
    future = json.dumps({**json.loads(path.read_bytes()), "last": time.time() + 3600})
    for text in (note, future):
        path.write_text(text)
        refuse_if_failing(tmp_path, "layer-x")


def test_offline_installs_what_the_machine_has_and_says_what_it_has_not(
    tmp_path, cache, project, store, six_lock, monkeypatch
):
    (project / "requirements.txt").write_text(six_lock)
    version = capture(project)
    store.put(version)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    offline = EnvCache(tmp_path / "other", store, offline=True)
    error = failed_lease(offline, version)
    assert "six" in str(error)
    assert failed_builds(offline.root) == []
    with cache.lease(version.hash):  # leaves the wheel in uv's cache
        pass
    with offline.lease(version.hash) as environment:
        assert environment.missing_part() is None


def test_an_installer_that_was_killed_says_nothing_against_the_lock(tmp_path, project, store, six_lock, monkeypatch):
    (project / "requirements.txt").write_text(six_lock)
    version = capture(project)
    store.put(version)
    cache = EnvCache(tmp_path / "cache", store)
    killed = tmp_path / "uv"
    killed.write_text("#!/bin/sh\necho Installed 1 package\nkill -KILL $$\n")
    killed.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setattr("uv.find_uv_bin", lambda: str(killed))
        with pytest.raises(CacheUnusable, match="ended by SIGKILL, as the kernel does when memory is short; see to"):
            cache.lease(version.hash).__enter__()
    assert failed_builds(cache.root) == []
    with cache.lease(version.hash) as environment:
        assert environment.layer_root


@pytest.mark.parametrize(
    "said",
    [
        "cause: error decoding response body | cause: error reading a body from connection | cause: end of file",
        "cause: HTTP status client error (429 Too Many Requests) for url (https://index.example/simple/six/)",
    ],
)
def test_half_an_answer_of_the_index_is_the_machines_fault(said):
    assert build_failed("installing", said, None).fault == "machine"
    assert build_failed("installing", "cause: HTTP status client error (404 Not Found)", None).fault == "project"


def test_what_the_installer_says_is_not_broken_to_the_width_of_a_terminal(tmp_path, store, version, monkeypatch):
    told = []
    for width in ("20", "500"):
        monkeypatch.setenv("COLUMNS", width)
        told.append(failed_lease(EnvCache(tmp_path / width, store), version).log_tail)
    assert told[0] == told[1]
