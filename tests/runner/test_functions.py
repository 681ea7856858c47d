"""Whether a project has the functions that a workflow names, told from its source."""

import pytest

from runner.functions import FunctionNotInProject, check_functions

FILES = {
    "orders/__init__.py": b"from orders.steps import price as quick\n",
    "orders/steps.py": b"""
import json
from decimal import *
def price(order): ...
""",
    "orders/plain.py": b"""
import os.path as where
def price(order): ...
async def later(): ...
class Till:
    def charge(self): ...
total = price
if total:
    def conditional(): ...
""",
    "orders/dynamic.py": b"globals()['made'] = print\n",
    "orders/fast.cpython-312-x86_64-linux-gnu.so": b"\x7fELF",
    "orders/local.py": b"locals()['made'] = print\n",
    "orders/registered.py": b"import sys\nsys.modules[__name__].made = print\n",
    "orders/generated.py": b"x = " + b"1+" * 100_000 + b"1\ndef price(): ...\n",
    "orders/lazy.py": b"def __getattr__(name): ...\n",
    "orders/broken.py": b"def price(:\n",
    "src/inner/work.py": b"def run(): ...\n",
    "space/deep/module.py": b"def run(): ...\n",
    "orders/data.txt": b"",
}


def check(*functions, has_lock=False):
    check_functions(functions, FILES, FILES.__getitem__, has_lock=has_lock)


@pytest.mark.parametrize(
    "function",
    [
        "orders.plain.price",
        "orders.plain.later",
        "orders.plain:Till.charge",
        "orders.plain.total",
        "orders.plain.conditional",
        "orders.plain.where",
        "orders.quick",
        "orders.steps.Decimal",  # a star import: anything may be there
        "orders.dynamic.made",
        "orders.lazy.anything",
        "orders.fast.price",
        "orders.local.made",
        "orders.registered.made",
        "orders.generated.price",
        "orders.broken.price",  # perhaps of a newer Python than ours
        "inner.work.run",
        "space.deep.module.run",
        "json.dumps",
    ],
)
def test_what_may_be_there_is_let_through(function):
    check(function)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("orders.plain.prise", "orders/plain.py defines no 'prise'; did you mean price"),
        ("orders.plain:Til.charge", "did you mean Till"),
        ("orders.plane.price", r"no module 'orders.plane'; did you mean orders\.plain"),
        ("elsewhere.price", "no module 'elsewhere'"),
        ("price", "write package.module.function"),
        ("orders.plain.", "write package.module.function"),
        ("inner.work.walk", "defines no 'walk'"),
    ],
)
def test_a_clear_no_is_told_with_what_comes_near(function, said):
    with pytest.raises(FunctionNotInProject, match=said):
        check(function)


def test_a_module_of_a_dependency_is_let_through_where_there_is_a_lock():
    check("elsewhere.price", has_lock=True)
    with pytest.raises(FunctionNotInProject):
        check("orders.missing.price", has_lock=True)
