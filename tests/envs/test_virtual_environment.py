"""An environment is the one that virtualenv would make in that place."""

import os
import shutil
import stat
import subprocess
import sys

import pytest

from envs import virtual_environment
from envs.interpreters import find_interpreter
from envs.settings import SUPPORTED_MINORS
from envs.virtual_environment import create_virtual_environment


def tree(root):
    """Path → mode, and what is in it."""
    found = {}
    for folder, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            content = os.readlink(path) if stat.S_ISLNK(mode) else ""
            if stat.S_ISREG(mode):
                with open(path, "rb") as file:
                    content = file.read()
            found[os.path.relpath(path, root)] = (mode, content)
    return found


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_what_is_repeated_is_what_virtualenv_makes_there(tmp_path, pythons, umask):
    app_data, place = str(tmp_path / "virtualenv"), tmp_path / "environment with a space"
    before = os.umask(umask)
    try:
        for python in [python for python in pythons if int(python.split(".")[1]) in SUPPORTED_MINORS]:
            interpreter = find_interpreter(python)
            os.mkdir(tmp_path / python)
            create_virtual_environment(str(tmp_path / python), interpreter, app_data)  # makes the model
            site_packages = virtual_environment._run_virtualenv(str(place), interpreter, app_data)
            unwanted = virtual_environment._UNWANTED
            wanted = {path: what for path, what in tree(place).items() if os.path.basename(path) not in unwanted}
            shutil.rmtree(place)
            place.mkdir()
            assert create_virtual_environment(str(place), interpreter, app_data) == site_packages
            assert tree(place) == wanted, python
            shutil.rmtree(place)
    finally:
        os.umask(before)


def test_virtualenv_is_asked_once(tmp_path):
    code = (
        "import os, sys; from envs.interpreters import find_interpreter\n"
        "from envs.virtual_environment import create_virtual_environment\n"
        "os.mkdir(sys.argv[1]); create_virtual_environment(sys.argv[1], find_interpreter(None), sys.argv[2])\n"
        "print('virtualenv' in sys.modules)"
    )
    told = []
    for name in ("first", "second"):
        command = [sys.executable, "-c", code, str(tmp_path / name), str(tmp_path / "virtualenv")]
        told.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
        assert subprocess.run([tmp_path / name / "bin/python", "-c", "import json"], check=False).returncode == 0
    assert told == ["True", "False"]


def test_a_damaged_model_is_made_again(tmp_path):
    app_data, interpreter = str(tmp_path / "virtualenv"), find_interpreter(None)
    for name in ("a", "b"):
        os.mkdir(tmp_path / name)
    create_virtual_environment(str(tmp_path / "a"), interpreter, app_data)
    (model,) = (tmp_path / "virtualenv/models").iterdir()
    sound = model.read_bytes()
    model.write_bytes(sound.replace(b"bin/python", b"bin/pythom"))
    create_virtual_environment(str(tmp_path / "b"), interpreter, app_data)
    assert tree(tmp_path / "a").keys() == tree(tmp_path / "b").keys()
    assert b"bin/pythom" not in model.read_bytes()
