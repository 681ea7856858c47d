"""Whoever is told to stop while an environment is built does not finish it first."""

import os
import signal
import sys

import pytest

from tests.support.slow_package import SlowPackage


@pytest.fixture
def slow(site, tmp_path):
    """A package that the project at the site needs."""
    package = SlowPackage(tmp_path / "slow")
    site.environment |= package.environment
    site.deploy("invoices/v1", python=f"{sys.version_info[0]}.{sys.version_info[1]}")
    (site.project / "requirements.txt").write_text(package.lock)
    return package


def nothing_half_built(site):
    return all(
        not (site.home / "cache" / folder).exists() or os.listdir(site.home / "cache" / folder) == []
        for folder in ("versions", "layers", "trash", "failures")
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("more", [[], ["--zygotes"]])
def test_warm(site, slow, number, more):
    with site.start("warm", *more) as warming:
        slow.wait_for_builder()
        warming.send_signal(number)
        assert warming.wait() == 128 + number
    slow.wait_for_no_builder()
    assert nothing_half_built(site)
    assert "Traceback" not in site.log()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_storing_wheels(site, slow, number, tmp_path):
    site.environment |= {
        "PIP_FIND_LINKS": slow.environment["UV_FIND_LINKS"],
        "TMPDIR": str(tmp_path / "temporary"),
    }
    (tmp_path / "temporary").mkdir()
    with site.start("capture", "--wheels") as storing:
        slow.wait_for_builder()
        storing.send_signal(number)
        assert storing.wait() == 128 + number
    slow.wait_for_no_builder()
    assert not list((tmp_path / "temporary").glob("hwe-*"))
    assert "Traceback" not in site.log()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_and_the_next_one_goes_on(site, slow, number):
    gate = site.root / "open"
    gate.touch()
    site.submit("run-1", number=1, gate=str(gate))
    with site.worker("--drain", "--grace", "1000") as worker:
        slow.wait_for_builder()
        worker.send_signal(number)
        assert worker.wait() == 0
    slow.wait_for_no_builder()
    assert nothing_half_built(site)
    slow.open()
    with site.worker("--drain") as worker:
        assert worker.wait() == 0
    run = site.show("run-1")
    assert run["status"] == "completed"
    assert {step["attempt"] for step in run["steps"]} == {1}


def test_a_run_in_the_foreground(site, slow):
    with site.start("run", "workflow.yaml", "--run-id", "run-1", "--input", '{"number": 1}') as running:
        slow.wait_for_builder()
        running.send_signal(signal.SIGINT)
        assert running.wait() == 1
    slow.wait_for_no_builder()
    assert nothing_half_built(site)
    assert "run run-1 is kept" in site.log()


def test_a_run_that_is_cancelled_while_another_waits_for_the_same_build(site, slow):
    """The build is the other's as well."""
    for name in ("run-1", "run-2"):
        site.submit(name, number=1)
    with site.worker("--drain") as worker:
        builder = slow.wait_for_builder()
        for name in ("run-1", "run-2"):
            site.wait_for_running(name, "issue")
        site.told("cancel", "run-1")
        site.wait_until(lambda: site.step("run-1", "issue")["status"] == "cancelled")
        assert slow.builders() == [builder]
        site.told("cancel", "run-2")
        slow.wait_for_no_builder()
        assert worker.wait() == 0
    assert nothing_half_built(site)
