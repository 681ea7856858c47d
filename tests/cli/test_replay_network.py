"""The promise that replaying a run touches no network unless asked to, held against a server that counts."""

import contextlib
import json
import socket
import threading

import pytest

STEPS = """
import socket
import subprocess
import sys

import six

def reaches(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return "reached"
    except OSError:
        return "cut off"

def reaches_from_below(port):
    code = f"import socket; socket.create_connection(('127.0.0.1', {port}), timeout=5)"
    return subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL).returncode
"""
SIX = """six==1.17.0 \\
    --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274 \\
    --hash=sha256:ff70335d468e7eb6ec65b95b99d3a2836546063f63acc5171de367e834932a81
"""


class Server:
    """Counts who connects, and hangs up. `visits` gives what came since it was asked last."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._count = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        while True:
            connection, _ = self._listener.accept()
            with connection, contextlib.suppress(OSError):
                if connection.recv(3) == b"end":
                    return
            self._count += 1

    def visits(self):
        count, self._count = self._count, 0
        return count

    def close(self):
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(b"end")
        self._thread.join()
        self._listener.close()


@pytest.fixture
def server():
    with contextlib.closing(Server()) as server:
        yield server


@pytest.fixture
def recorded(site, server):
    """A run whose steps reached the server, with a lock whose wheels are stored; from now on it also is the index."""
    (site.project / "steps.py").write_text(STEPS)
    (site.project / "requirements.txt").write_text(SIX)
    names = {"itself": "steps.reaches", "below": "steps.reaches_from_below"}
    tasks = {
        name: {"operator_type": "task", "function": "tools.python.run", "args": [function, server.port]}
        for name, function in names.items()
    }
    (site.project / "workflow.yaml").write_text(json.dumps({"name": "reaches", "tasks": tasks}))
    site.told("capture", "--wheels")
    site.told("run", "workflow.yaml", "--run-id", "run-1", "--policy", "artifact")
    assert [step["value"] for step in site.show("run-1")["steps"]] == ["reached", 0]
    assert server.visits() == 2
    as_index(site, server)
    return site


def as_index(site, server):
    site.environment |= {
        "UV_DEFAULT_INDEX": f"http://127.0.0.1:{server.port}/simple",
        "UV_CACHE_DIR": str(site.root / "uv"),
        "UV_HTTP_RETRIES": "0",
        "UV_NO_CONFIG": "1",
    }


def replay(site, *arguments, **environment):
    done = site.hwe("replay", *arguments, "--json", **environment)
    document = json.loads(done.stdout)
    return document["verdict"], [step["replayed_value"] for step in document["steps"]]


@pytest.mark.network
def test_replaying_a_run_touches_no_network_unless_asked_to(recorded, server, tmp_path, site_at):
    site = recorded
    cut_off = ("different", ["cut off", 1])
    assert replay(site, "run-1") == cut_off
    assert replay(site, "run-1", HWE_CACHE_DIR=str(tmp_path / "cache")) == cut_off  # builds, out of stored wheels
    site.told("export", "run-1", tmp_path / "whole.hwe", "--wheels")
    (tmp_path / "elsewhere").mkdir()
    elsewhere = site_at(tmp_path / "elsewhere")
    as_index(elsewhere, server)
    assert replay(elsewhere, tmp_path / "whole.hwe") == cut_off
    assert server.visits() == 0

    assert replay(site, "run-1", "--allow-network") == ("same", ["reached", 0])
    assert server.visits() == 2


@pytest.mark.network
def test_what_is_neither_built_nor_stored_is_asked_of_the_index_and_only_that(recorded, server, tmp_path, site_at):
    recorded.told("export", "run-1", tmp_path / "code.hwe")
    (tmp_path / "elsewhere").mkdir()
    elsewhere = site_at(tmp_path / "elsewhere")
    as_index(elsewhere, server)
    assert replay(elsewhere, tmp_path / "code.hwe") == ("could not", [None, None])
    assert server.visits() > 0
