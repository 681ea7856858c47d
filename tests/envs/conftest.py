"""Real projects, real stores, real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from envs import DirectoryStore, capture

REPOSITORY = Path(__file__).resolve().parents[2]


def write_tree(root, files):
    """files: path → text or bytes, or (content, mode)."""
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        data, mode = content if isinstance(content, tuple) else (content, 0o644)
        target.write_bytes(data if isinstance(data, bytes) else data.encode())
        target.chmod(mode)
    return root


@pytest.fixture(scope="session")
def tree():
    return write_tree


@pytest.fixture
def project(tmp_path):
    """A small project pinned to the Python that runs the tests."""
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return write_tree(
        tmp_path / "orders-project",
        {
            "pyproject.toml": f'[tool.hwe]\npython = "{python}"\n',
            "orders/__init__.py": "",
            "orders/steps.py": "def price(n):\n    return n * 2\n",
            "data/größe.txt": "42\n",
            "bin/tool": ("#!/bin/sh\necho tool\n", 0o755),
        },
    )


@pytest.fixture
def store(tmp_path):
    return DirectoryStore(tmp_path / "store")


@pytest.fixture
def version(project, store):
    captured = capture(project)
    store.put(captured)
    return captured


@pytest.fixture(scope="session")
def six_lock():
    """A real lock of one small package, with its hashes."""
    import uv

    done = subprocess.run(
        [uv.find_uv_bin(), "pip", "compile", "--generate-hashes", "--no-header", "--no-annotate", "-q", "-"],
        input="six==1.17.0\n",
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"NO PACKAGE INDEX: layers are not tested: {done.stderr[-300:]}")
    return done.stdout


@pytest.fixture
def start():
    """Start Python code in a process of its own, with the package importable. Whatever is left is killed."""
    processes = []

    def run(code, *args, **options):
        environ = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
        options = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "env": environ,
        } | options
        process = subprocess.Popen([sys.executable, "-c", code, *map(str, args)], **options)
        processes.append(process)
        return process

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr, process.stdin):
            if stream:
                stream.close()
