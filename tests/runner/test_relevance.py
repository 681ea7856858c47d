"""Whether a change can reach a workflow's functions; in doubt, nobody is told that it cannot."""

import pytest

from envs import Difference
from runner.relevance import Release, relevance

FILES = {
    "orders/__init__.py": "",
    "orders/steps.py": "import json\nfrom orders.rates import RATE\nfrom . import tax as t\n\ndef price(): ...\n",
    "orders/rates.py": "RATE = 1\n",
    "orders/tax/__init__.py": "from .tables import *\n",
    "orders/tax/tables.py": "",
    "orders/report.py": "from orders import steps\n",
    "space/deep/late.py": "def f():\n    import lazy\n",
    "lazy.py": "",
    "data.csv": "1",
}


def judge(change, functions=("orders.steps.price",), files=FILES, **difference):
    """`change`: path → new text, or None for removed."""
    new = {**files, **change}
    new = {path: text for path, text in new.items() if text is not None}
    found = Difference(
        added=tuple(sorted(new.keys() - files.keys())),
        removed=tuple(sorted(files.keys() - new.keys())),
        changed=tuple(sorted(path for path in new.keys() & files.keys() if new[path] != files[path])),
        **difference,
    )
    releases = [Release(tuple(one), lambda path, one=one: one[path].encode()) for one in (files, new)]
    return relevance(functions, found, *releases)


@pytest.mark.parametrize(
    "path",
    ["orders/__init__.py", "orders/steps.py", "orders/rates.py", "orders/tax/__init__.py", "orders/tax/tables.py"],
)
def test_what_the_functions_import_counts(path):
    found = judge({path: "x = 1\n"})
    assert (found.verdict, path in found.reason) == ("changed", True)


def test_imports_inside_of_functions_and_below_namespaces_count():
    assert judge({"lazy.py": "x = 1"}, ["space.deep.late.f"]).verdict == "changed"
    assert judge({"lazy.py": "x = 1"}, ["space.deep.late:Class.f"]).verdict == "changed"


def test_a_src_folder_is_looked_into():
    files = {f"src/{path}": text for path, text in FILES.items()}
    assert judge({"src/orders/tax/tables.py": "x = 1"}, files=files).verdict == "changed"
    assert judge({"src/orders/report.py": "x = 1"}, files=files).verdict == "unchanged"


def test_what_they_do_not_import_does_not():
    assert judge({"orders/report.py": "x = 1\n", "lazy.py": None, "other.py": ""}).verdict == "unchanged"


@pytest.mark.parametrize("change", [{"json.py": ""}, {"json/__init__.py": ""}, {"orders/rates.py": None}])
def test_a_file_that_comes_or_goes_below_a_name_that_is_imported_counts(change):
    assert judge(change).verdict == "changed"


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"data.csv": "2"}, {}),
        ({"native.so": "x"}, {}),
        ({"lazy.py": "x"}, {"requirements": None}),
        ({"lazy.py": "x"}, {"requirements": ("six 1 → 2",)}),
        ({"lazy.py": "x"}, {"python": ("3.11", "3.12")}),
    ],
)
def test_what_may_matter_is_unknown(change, difference):
    assert judge(change, **difference).verdict == "unknown"


@pytest.mark.parametrize(
    "source",
    [
        "import importlib\nimportlib.import_module(name)\n",
        "__import__('lazy')\n",
        "exec(text)\n",
        "from runpy import run_path as r\nx = eval\n",
        "def (broken\n",
        "x = '\0'\n",
    ],
)
def test_dynamic_imports_and_what_cannot_be_parsed_are_unknown(source):
    files = {**FILES, "orders/rates.py": source}
    assert judge({"lazy.py": "x = 1"}, files=files).verdict == "unknown"


def test_functions_that_are_not_among_the_files_are_unknown():
    assert judge({"lazy.py": "x"}, ["nowhere.f"]).verdict == "unknown"
    assert judge({"lazy.py": "x"}, ["print"]).verdict == "unknown"
