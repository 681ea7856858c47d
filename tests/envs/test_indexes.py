"""Packages come from the indexes that the project and its lock name, unless the user of the machine names others."""

import base64
import functools
import http.server
import subprocess
import sys
import threading

import pytest
import uv

from envs import EnvCache, EnvironmentBuildFailed, capture, store_wheels
from envs.indexes import Indexes, named_indexes
from tests.envs.test_installing import wheel

CREDENTIALS = "reader:s3cr3t-w0rd"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files, for those who have the credentials."""

    def do_GET(self):
        wanted = "Basic " + base64.b64encode(CREDENTIALS.encode()).decode()
        if self.headers.get("Authorization") != wanted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="packages"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, *_):
        pass


class Index:
    def __init__(self, folder, name, content):
        packages = folder / "simple" / name
        packages.mkdir(parents=True)
        self.pin = wheel(packages, name, {f"{name}.py": content})
        (file,) = (path.name for path in packages.iterdir())
        (packages / "index.html").write_text(f'<a href="{file}#sha256={self.pin.strip()[-64:]}">{file}</a>')
        handler = functools.partial(Handler, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever).start()
        self.place = f"127.0.0.1:{self._server.server_address[1]}/simple"
        self.url = f"http://{self.place}"
        self.url_with_credentials = f"http://{CREDENTIALS}@{self.place}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def indexes(tmp_path, monkeypatch):
    """Two with a package of the same name and version, which is not the same."""
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    found = [Index(tmp_path / name, "twofold", f"WHO = '{name}'\n") for name in ("one", "two")]
    yield found
    for index in found:
        index.close()


PYPROJECT = """
[project]
name = "demo"
version = "1"
requires-python = ">=3.9"
dependencies = ["twofold"]

[tool.hwe]
python = "{python}"

[tool.uv.sources]
twofold = {{ index = "two" }}

[[tool.uv.index]]
name = "one"
url = "{one}"

[[tool.uv.index]]
name = "two"
url = "{two}"
explicit = true
"""


def write(project, one, two):
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    (project / "pyproject.toml").write_text(PYPROJECT.format(python=python, one=one, two=two))


def leased(tmp_path, store, version):
    """What the package says of itself, and the log of the installation."""
    with EnvCache(tmp_path / "cache", store).lease(version.hash) as environment:
        code = "import twofold; print(twofold.WHO)"
        told = subprocess.run([environment.python, "-c", code], capture_output=True, text=True, check=True).stdout
    (log,) = (tmp_path / "cache/logs").iterdir()
    return told.strip(), log.read_text()


@pytest.mark.parametrize("how", ["variables", "url"])
def test_a_uv_lock_is_installed_from_the_index_that_it_names(tmp_path, project, store, indexes, monkeypatch, how):
    one, two = indexes
    if how == "url":
        write(project, one.url_with_credentials, two.url_with_credentials)
    else:
        write(project, one.url, two.url)
        for name in ("ONE", "TWO"):
            monkeypatch.setenv(f"UV_INDEX_{name}_USERNAME", CREDENTIALS.partition(":")[0])
            monkeypatch.setenv(f"UV_INDEX_{name}_PASSWORD", CREDENTIALS.partition(":")[2])
    subprocess.run([uv.find_uv_bin(), "lock", "-q"], cwd=project, check=True)
    assert CREDENTIALS not in (project / "uv.lock").read_text()
    version = capture(project)
    store.put(version)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "another"))
    told, log = leased(tmp_path, store, version)
    assert told == "two"
    assert two.url in log
    assert "s3cr3t" not in log


def test_requirements_are_installed_from_the_indexes_of_the_project(tmp_path, project, store, indexes):
    one, _ = indexes
    write(project, one.url_with_credentials, "http://127.0.0.1:9/simple")
    pyproject = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(pyproject.partition('[[tool.uv.index]]\nname = "two"')[0])
    (project / "requirements.txt").write_text(one.pin)
    version = capture(project)
    store.put(version)
    (kept,) = store_wheels(store, version.hash).wheels
    assert kept.file.startswith("twofold-1.0")
    told, log = leased(tmp_path, store, version)
    assert told == "one"
    assert "s3cr3t" not in log


def test_those_of_the_user_come_instead(tmp_path, project, store, indexes, monkeypatch):
    one, two = indexes
    write(project, one.url_with_credentials, two.url_with_credentials)
    subprocess.run([uv.find_uv_bin(), "lock", "-q"], cwd=project, check=True)
    version = capture(project)
    store.put(version)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "another"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", one.url_with_credentials)
    with pytest.raises(EnvironmentBuildFailed, match="Computed") as caught:
        leased(tmp_path, store, version)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("lock", "pyproject", "found"),
    [
        ("", None, Indexes()),
        ("six==1 --hash=sha256:00", b"\xff", Indexes()),
        ("", b'[tool]\nuv = { index = [1, { url = 1 }, { url = "./here" }] }', Indexes()),
        ("", b'[[tool.uv.index]]\nurl = "https://a/b"\ndefault = true', Indexes(default="https://a/b")),
        ("", b'[[tool.uv.index]]\nname = "x"\nurl = "https://a/b/"', Indexes(others=("x=https://a/b/",))),
        ('[[package]]\nname = "a"\nsource = { registry = "https://pypi.org/simple" }', None, Indexes()),
        (
            '[[package]]\nname = "a"\nsource = { registry = "https://a/b" }',
            b'[[tool.uv.index]]\nname = "x"\nurl = "https://me:it@a/b/"',
            Indexes(others=("x=https://me:it@a/b/",), exact=True),
        ),
        ('[[packages]]\nname = "a"\nindex = "https://a/b"', None, Indexes(others=("https://a/b",), exact=True)),
        ('[[packages]]\nname = "a"\nindex = "file:///b"', None, Indexes()),
    ],
)
def test_which_are_named(lock, pyproject, found):
    assert named_indexes(lock, pyproject) == found
    assert "me:it" not in found.told()
