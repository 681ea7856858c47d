"""How a check finds the syntax of a function: the child's program, on every Python that runs it."""

import json
import subprocess
from pathlib import Path

import pytest

from envs import find_interpreters
from runner import child

CHILD = str(Path(child.__path__[0]).parent)

# Every function of some large modules, by its own lines and in the whole file.
COMPARE = """
import argparse, ast, dataclasses, inspect, json, logging, subprocess, sys, tarfile, types, typing, unittest.mock
sys.path.insert(0, sys.argv[1])
from child import syntax

found, whole_files, wrong = 0, 0, []
for module in (argparse, ast, dataclasses, inspect, logging, subprocess, tarfile, typing, unittest.mock):
    items = list(vars(module).values())
    items += [item for kind in items if isinstance(kind, type) for item in vars(kind).values()]
    for function in items:
        if isinstance(function, types.FunctionType) and function.__code__.co_filename == module.__file__:
            code = function.__code__
            expected = syntax.functions_in(module.__file__)[code.co_name, code.co_firstlineno]
            node = syntax.node_by_lines(code)
            found += 1
            whole_files += node is None
            if node is not None and ast.dump(node) != ast.dump(expected):
                wrong.append(function.__qualname__)
            (node,) = syntax.tree_of(function).body
            if ast.dump(getattr(node, "value", node)) != ast.dump(expected):
                wrong.append(function.__qualname__)
print(json.dumps([found, whole_files, wrong]))
"""


@pytest.mark.parametrize("python", ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
def test_the_lines_of_a_function_say_what_its_file_says(pythons, python):
    if python not in pythons:
        pytest.skip(f"Python {python} is not installed on this machine (found: {', '.join(pythons)})")
    path = next(one for one in find_interpreters() if one.version.startswith(f"{python}.")).path
    done = subprocess.run([path, "-W", "error", "-c", COMPARE, CHILD], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found, whole_files, wrong = json.loads(done.stdout)
    assert wrong == []
    assert found > 500
    assert whole_files < found / 100  # of the others, nothing but their own lines was parsed


def of(tmp_path, source, name):
    from runner.child.syntax import tree_of

    file = tmp_path / "module.py"
    file.write_bytes(source)
    names = {}
    exec(compile(source, str(file), "exec"), names)
    return tree_of(names[name])


@pytest.mark.parametrize(
    "source",
    [
        b"def f(a):\n    return dict(\n        a=a,\n" + b"\n" * 30 + b"    )\n",
        b"# coding: latin-1\ndef f(a):\n    return '\xe9', a\n",
        b"f = lambda a: a\n",
        b"if True:\n    def f(a):\n        return '''\nat the margin'''\n",
        b"def make():\n\tdef f(a):\n\t\treturn a\n\treturn f\nf = make()\n",
        b"def f(a):\n    return a\n# the end, without a line's end",
    ],
)
def test_whatever_a_function_looks_like_its_syntax_is_found(tmp_path, source):
    tree = of(tmp_path, source, "f")
    assert len(tree.body) == 1


def test_of_what_was_never_in_a_file_there_is_none():
    from runner.child.syntax import tree_of

    names = {}
    exec("def f(a):\n    return a\n", names)
    assert tree_of(names["f"]) is None
