"""Versions with the same source share its bytecode, and each runs its own."""

import dataclasses
import os
import subprocess
import sys

import pytest

from envs import EnvCache, capture, evict, inspect_environment, take_inventory
from envs.bytecode import Compilation, compiled_digest
from envs.interpreters import find_interpreter

SOURCE = (
    "import sys\n\n\ndef fail():\n    raise ValueError(__file__)\n\n\ndef me():\n    return sys._getframe().f_code\n"
)


@pytest.fixture
def cache(tmp_path, store):
    return EnvCache(tmp_path / "cache", store)


@pytest.fixture
def build(cache, project, store):
    """A version with this number, and beside it a module that stays the same."""
    (project / "orders/same.py").write_text(SOURCE)

    def build(number):
        (project / "orders/steps.py").write_text(f"NUMBER = {number}\n")
        version = capture(project)
        store.put(version)
        with cache.lease(version.hash) as environment:
            return environment

    return build


def bytecode(environment, name):
    (path,) = (environment.project / "orders/__pycache__").glob(f"{name}.*.pyc")
    return path


def kept(cache):
    return sorted(path for folder, _, names in os.walk(cache.root + "/bytecode") for path in names)


def run(environment, code):
    done = subprocess.run([environment.python, "-c", code], capture_output=True, text=True, cwd="/")
    return done.stdout.strip(), done.stderr


def test_what_did_not_change_is_not_compiled_again(build, cache):
    first, second = build(1), build(2)
    assert os.path.samefile(bytecode(first, "same"), bytecode(second, "same"))
    assert not os.path.samefile(bytecode(first, "steps"), bytecode(second, "steps"))
    for environment, number in ((first, 1), (second, 2)):
        assert run(environment, "import orders.steps; print(orders.steps.NUMBER)") == (str(number), "")
        assert inspect_environment(cache.root, environment.hash).verdict == "sound"
    assert len(kept(cache)) == 4  # __init__, same, and steps twice
    assert bytecode(first, "same").stat().st_mode & 0o222 == 0


def test_each_says_where_it_is_itself(build):
    for environment in (build(1), build(2)):
        here = str(environment.project / "orders/same.py")
        assert run(environment, "import orders.same as s; print(s.me().co_filename)") == (here, "")
        _, err = run(environment, "import orders.same as s; s.fail()")
        assert f'File "{here}", line 5, in fail\n    raise ValueError(__file__)' in err
        assert run(environment, "import orders.same as s; print(s.__cached__)")[0].startswith(str(environment.project))


def test_it_is_read_and_never_looked_at_again(build):
    environment = build(1)
    out, _ = run(environment, "import sys; sys.flags; import orders.steps; print(orders.steps.NUMBER)")
    source = environment.project / "orders/steps.py"
    source.chmod(0o644)
    source.write_text("NUMBER = 'changed'\n")
    assert run(environment, "import orders.steps; print(orders.steps.NUMBER)") == (out, "")


def test_a_file_that_does_not_compile_harms_nobody(build, project):
    (project / "orders/template.py").write_text("def {{ name }}():\n")
    (project / "orders/nulls.py").write_bytes(b"a = '\0'\n")
    for number in (1, 2):
        environment = build(number)
        assert run(environment, "import orders.steps; print(orders.steps.NUMBER)") == (str(number), "")
        assert list((environment.project / "orders/__pycache__").glob("template*")) == []


def test_where_the_compiler_dies_an_import_compiles(project, tmp_path):
    files = capture(project).manifest.files
    dead = dataclasses.replace(find_interpreter(None), path="/bin/false")
    with Compilation(str(tmp_path), str(project), files, dead, 2) as compilation:
        compilation.begin()
        assert compilation.finish() == (0, compiled_digest(str(project)))
    assert list(project.rglob("*.pyc")) == []


def test_the_digest_that_is_noted_is_that_of_the_files(build, cache, project):
    for path in ("a/b.py", "a-b/c.py", "top.py", "a/c/d.py"):  # in another order as text
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(f"PATH = {path!r}\n")
    for number in (1, 2):
        assert inspect_environment(cache.root, build(number).hash).verdict == "sound"


def test_damaged_bytecode_is_given_to_nobody(build, cache):
    first = build(1)
    path = bytecode(first, "same")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:20])
    second = build(2)
    assert not os.path.samefile(path, bytecode(second, "same"))
    assert run(second, "import orders.same; print(1)") == ("1", "")
    assert inspect_environment(cache.root, first.hash).verdict == "quarantined"
    assert inspect_environment(cache.root, second.hash).verdict == "sound"


def test_what_nobody_links_to_any_more_goes_with_gc(build, cache):
    first, second = build(1), build(2)
    inventory = take_inventory(cache.root)
    disk = int(subprocess.run(["du", "-s", "-B1", cache.root], capture_output=True, text=True).stdout.split()[0])
    assert (inventory.shared_bytes, inventory.total_bytes <= disk) == (0, True)
    with cache.lease(second.hash):
        done = evict(cache.root, max_bytes=0)
    assert [version.hash for version in done.versions] == [first.hash]
    assert len(kept(cache)) == 3
    assert take_inventory(cache.root).shared_bytes > 0
    assert done.freed_bytes == inventory.total_bytes - take_inventory(cache.root).total_bytes
    evict(cache.root, max_bytes=0)
    assert kept(cache) == []
    assert take_inventory(cache.root).total_bytes == 0


def test_each_interpreter_has_its_own(build, cache, project, pythons):
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    other = next((python for python in pythons if python != here and int(python.split(".")[1]) >= 9), None)
    if other is None:
        pytest.skip(f"BYTECODE OF ANOTHER PYTHON NOT TESTED: there is only {here}")
    first = build(1)
    (project / "pyproject.toml").write_text(f'[tool.hwe]\npython = "{other}"\n')
    second = build(1)
    assert bytecode(first, "same").name != bytecode(second, "same").name
    assert run(second, "import orders.same; print(1)") == ("1", "")
    assert len(os.listdir(cache.root + "/bytecode")) == 2


def test_many_versions_of_one_project_take_little_more_than_their_files(build, cache, project):
    for number in range(40):
        (project / f"orders/module{number}.py").write_text(f"N = {number}\n" + SOURCE * 8)
    build(1)
    sizes = [take_inventory(cache.root).total_bytes]
    for number in (2, 3):
        build(number)
        sizes.append(take_inventory(cache.root).total_bytes)
    files = int(subprocess.run(["du", "-s", "-B1", project], capture_output=True, text=True).stdout.split()[0])
    assert max(sizes[1] - sizes[0], sizes[2] - sizes[1]) <= 1.2 * files + 64 * 1024


# How often an object is referred to leaves its marks in the bytes: what they mean is compared.
COMPARE = """
import marshal, py_compile, sys
name, source, ours, theirs = sys.argv[1:]
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
py_compile.compile(source, theirs, name, doraise=True, invalidation_mode=mode)
ours, theirs = (open(path, "rb").read() for path in (ours, theirs))
same = ours[:16] == theirs[:16] and marshal.loads(ours[16:]) == marshal.loads(theirs[16:])
print("same" if same else "different")
"""


def test_it_is_what_the_standard_library_would_write(build, project, pythons, tmp_path):
    (project / "orders/marché.py").write_bytes("# coding: latin-1\nWHERE = 'Nîmes'\r\n".encode("latin-1"))
    (project / "orders/annotated.py").write_text("from __future__ import annotations\n\ndef f(a: B): assert a, 'b'\n")
    for minor in range(9, 15):
        if f"3.{minor}" not in pythons:
            continue
        (project / "pyproject.toml").write_text(f'[tool.hwe]\npython = "3.{minor}"\n')
        environment = build(1)
        for name in ("marché", "annotated", "same"):
            source = str(environment.project / f"orders/{name}.py")
            arguments = [f"orders/{name}.py", source, str(bytecode(environment, name)), str(tmp_path / "other.pyc")]
            command = [environment.python, "-I", "-S", "-c", COMPARE, *arguments]
            assert subprocess.run(command, check=True, capture_output=True).stdout == b"same\n", (minor, name)
        assert run(environment, "import orders.marché as m; print(ascii(m.WHERE))") == ("'N\\xeemes'", "")


@pytest.mark.parametrize("letters", [226, 227, 228, 231, 232, 251])
def test_a_module_whose_name_leaves_no_room_for_that_of_its_bytecode_is_imported_all_the_same(build, project, letters):
    name = "m" + "x" * letters
    (project / f"{name}.py").write_text("NUMBER = 7\n")
    environment = build(1)
    done = subprocess.run([environment.python, "-c", f"import {name}; print({name}.NUMBER)"], capture_output=True)
    assert done.stdout == b"7\n", done.stderr
