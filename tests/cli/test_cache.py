"""`hwe cache list | gc | verify` as an operator has it."""

import json
import os
import time

import pytest

from envs import EnvCache, open_store
from runner.cli.cache import parse_age, parse_size
from runner.errors import UsageError


@pytest.fixture
def cache(site):
    """The cache of the site, with the versions v1 and v2 of a project in it; an unfinished run needs v1."""
    site.deploy("invoices/v1")
    site.submit("run-1", customer="acme")
    site.hashes = [site.told("capture")]
    site.deploy("invoices/v2")
    site.hashes.append(site.told("capture"))
    cache = EnvCache(site.home / "cache", open_store(str(site.home / "artifacts")))
    for name in site.hashes:
        with cache.lease(name):
            pass
        os.utime(cache.lease_path(name), (time.time() - 90 * 86400,) * 2)
    return cache


def test_the_list_tells_sizes_leases_and_pins(site, cache):
    first, second = site.hashes
    with cache.lease(second):
        told = site.json("cache", "list")
        text = site.told("cache", "list")
    rows = {row["code_version_hash"]: row for row in told["versions"]}
    assert list(rows) == [first, second]  # the least recently used first
    assert (rows[first]["unfinished_runs"], rows[first]["leased"]) == (1, False)
    assert (rows[second]["unfinished_runs"], rows[second]["leased"]) == (0, True)
    assert rows[first]["own_bytes"] > 10_000
    shared = told["shared_bytes"]
    assert told["total_bytes"] == rows[first]["own_bytes"] + rows[second]["own_bytes"] + shared
    assert "1 unfinished run" in text
    assert "a lease" in text


def test_gc_keeps_what_an_unfinished_run_needs(site, cache):
    first, second = site.hashes
    told = site.json("cache", "gc", "--max-age", "30d", "--dry-run")
    assert [row["code_version_hash"] for row in told["versions"]] == [second]
    assert (told["pinned"], told["dry_run"]) == ([first], True)
    assert set(cache.hashes()) == {first, second}
    done = site.hwe("cache", "gc", "--max-size", "1K")
    assert done.returncode == 1  # what has to stay is larger
    assert "still larger than --max-size" in done.stderr
    assert "1 unfinished runs need" in done.stdout
    assert list(cache.hashes()) == [first]
    site.told("cancel", "run-1")
    assert "1 environments" in site.told("cache", "gc", "--max-size", "1K")
    assert list(cache.hashes()) == []
    assert "no environments here yet" in site.told("cache", "list")


def test_verify_puts_a_damaged_environment_aside(site, cache):
    first, second = site.hashes
    assert "2 environments read, 0 of them" in site.told("cache", "verify")
    os.unlink(site.home / "cache/versions" / first / "project/acme/billing/data/rate.txt")
    with cache.lease(first):
        done = site.hwe("cache", "verify", "--json")
    assert done.returncode == 1
    told = {row["code_version_hash"]: row for row in json.loads(done.stdout)["versions"]}
    assert told[first]["verdict"] == "damaged"
    assert told[second]["verdict"] == "sound"
    done = site.hwe("cache", "verify", first[:8])
    assert done.returncode == 1
    assert "acme/billing/data/rate.txt is missing: moved to" in done.stderr
    assert list(cache.hashes()) == [second]


@pytest.mark.parametrize("name", [".hwe-manifest.json", "pyvenv.cfg"])
def test_verify_goes_on_after_what_cannot_be_read(site, cache, without_privilege, name):
    first, second = site.hashes
    (site.home / "cache/versions" / first / name).chmod(0)
    done = site.hwe("cache", "verify", prefix=without_privilege)
    assert done.returncode == 1
    assert f"{name} cannot be read (Permission denied): moved to" in done.stderr
    assert "2 environments read, 1 of them not what was built" in done.stdout
    assert list(cache.hashes()) == [second]


def test_sizes_and_ages():
    assert [parse_size(text) for text in ("5G", "500M", "1.5 GiB", "77", "2kb")] == [
        5 * 1024**3,
        500 * 1024**2,
        1536 * 1024**2,
        77,
        2048,
    ]
    assert [parse_age(text) for text in ("30d", "12h", "90m", "45s", "2w")] == [2592000, 43200, 5400, 45, 1209600]
    for bad in ("", "5X", "-1G", "G", "five", "9" * 400, "9" * 5000 + "d"):
        with pytest.raises(UsageError, match="is not a size"):
            parse_size(bad)
        with pytest.raises(UsageError, match="is not an age"):
            parse_age(bad)


def test_wrong_usage_is_refused_in_one_line(site):
    for command, reason in (
        (["gc", "--max-size", "lots"], "is not a size"),
        (["gc", "--max-age", "5"], "is not an age"),
        (["verify", "abc"], "8 digits or more"),
        (["verify", "0" * 8], "no environment here begins so"),
    ):
        done = site.hwe("cache", *command)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert reason in done.stderr
