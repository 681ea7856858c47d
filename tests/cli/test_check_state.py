"""`hwe check`: state that loads and means something else, and code that looks broken and is as it always was."""

import json
import shutil
import sys

import pytest


@pytest.fixture(scope="module")
def in_flight(tmp_path_factory, site_at):
    """A run of the project `states` whose step `pay` has failed and waits to be tried again."""
    site = site_at(tmp_path_factory.mktemp("states"))
    site.deploy("states", python=f"{sys.version_info[0]}.{sys.version_info[1]}")
    site.submit("run-1", number=7)
    with site.worker():
        site.wait_for_status("run-1", "waiting")
    return site


@pytest.fixture
def check(in_flight, tmp_path):
    """check(edits, …) runs `hwe check` on a copy of the project with some (file, old, new) edited."""

    def check(edits, *arguments, **environment):
        root = tmp_path / "candidate"
        shutil.copytree(in_flight.project, root)
        for name, old, new in edits:
            text = (root / name).read_text()
            assert old in text
            (root / name).write_text(text.replace(old, new))
        done = in_flight.hwe("check", root, "--json", *arguments, **environment)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    return check


INIT = "self.size = 1\n"

# What is changed, the verdict, and a word of the reason.
# ruff: noqa: E501 - a table
CHANGES = {
    "nothing": ([], "compatible", ""),
    "a comment, where annotations are wrong, locks are not pickled and a decorator adds an argument": (
        [("steps.py", "def make", "# made\ndef make")], "compatible", "",
    ),
    "a new field of an object in slots": (
        [("models.py", "class Inner:\n", "class Inner:\n    vat: int\n"), ("steps.py", "Inner(number)", "Inner(19, number)")],
        "state will not load", "Inner without the 'vat'",
    ),
    "a new field of an object in a deque": (
        [("models.py", "class Queued:\n", "class Queued:\n    vat: int\n"), ("steps.py", "Queued(number)", "Queued(19, number)")],
        "state will not load", "Queued without the 'vat'",
    ),
    "one more slot that __init__ sets": (
        [("models.py", '("inner",)', '("inner", "size")'), ("models.py", "self.inner = inner", "self.inner = inner; self.size = 1")],
        "state will not load", "Slotted without the 'size'",
    ),
    "an attribute after one that depends": ([("models.py", INIT, INIT + "        self.age = 0\n")], "state will not load", "Pool without the 'age'"),
    "an attribute that not all have": (
        [("models.py", INIT, INIT + "        if tags:\n            self.age = 0\n")], "compatible", "",
    ),
    "an attribute that a class above sets": ([("models.py", "self.base = 1", "self.base = self.top = 1")], "state will not load", "Pool without the 'top'"),
    "an attribute that __post_init__ sets": (
        [("models.py", "self.total = sum", "self.count = self.total = sum")], "state will not load", "Order without the 'count'",
    ),
    "a __setstate__ that drops": (
        [("models.py", "vars(self).update(state)", "self.base = 1")], "state will not load", "Pool without the 'size'",
    ),
    "a field with a default that is renamed": ([("models.py", "currency", "coin")], "state will not load", "'currency' that the class no longer has"),
    "a field with a default that is gone": ([("models.py", '    currency: str = "EUR"\n', ""), ("steps.py", '"USD", ', "")], "compatible", ""),
    "the type of items": ([("models.py", "Dict[str, int]", "Dict[str, bytes]")], "state will not load", "Order whose prices is a dict"),
    "the type of a field of a named tuple": ([("models.py", "    x: int", "    x: str")], "state will not load", "Point whose x is a int"),
    "named fields in another order": ([("models.py", "    x: int\n    y: int", "    y: int\n    x: int")], "state will not load", "x, y then, y, x now"),
    "another named field with a default": ([("models.py", "    y: int", "    y: int\n    z: int = 0")], "compatible", ""),
    "a member in the middle of an enumeration": (
        [("models.py", "    LOW = auto()\n", "    LOW = auto()\n    MIDDLE = auto()\n")], "state will not load", "Priority.HIGH, and loads as Priority.MIDDLE",
    ),
    "a member at the end of an enumeration": ([("models.py", "    HIGH = auto()\n", "    HIGH = auto()\n    TOP = auto()\n")], "compatible", ""),
    "members that change places": (
        [("models.py", 'RED = "red"', 'RED = "blue"'), ("models.py", 'BLUE = "blue"', 'BLUE = "red"')], "state will not load", "loads as Colour.RED",
    ),
    "a renamed member": ([("models.py", "BLUE", "NAVY"), ("steps.py", "BLUE", "NAVY")], "compatible", ""),
    "flags by other numbers": ([("models.py", "    READ = auto()", "    SEE = auto()\n    READ = auto()")], "state will not load", "Rights.READ"),
    "what a step has recorded of itself": (
        [("models.py", "self.paid = True", "self.paid = True; self.at = None")], "state will not load", "ctx.step('receipt') of pay",
    ),
    "what a step has recorded of itself, renamed": (
        [("models.py", "class Receipt", "class Bill"), ("steps.py", "Receipt", "Bill")], "state will not load", "ctx.step('receipt') of pay",
    ),
    "what a step has recorded of itself, by another name": (
        [("steps.py", 'ctx.step("receipt"', 'ctx.step("bill"')], "step missing", "nothing is called 'receipt' now: it would be done again",
    ),
    "what a step has recorded of itself, by a constant": (
        [("steps.py", 'ctx.step("receipt"', "ctx.step(models.Part.RECEIPT.value"), ("steps.py", "from models import", "import models\nfrom models import"),
         ("models.py", "class Receipt", "class Part(Enum):\n    RECEIPT = 'receipt'\n\n\nclass Receipt")], "compatible", "",
    ),
    "a decorator that takes less": (
        [("steps.py", "    def inner(*args, **kwargs):\n        return function(*args, **kwargs)", "    def inner(made, paid):\n        return function(made, paid)")],
        "signature", "unexpected keyword argument 'copies'",
    ),
    "one more parameter of what is decorated": ([("steps.py", "def send(made,", "def send(made, to,")], "signature", "send(made, to,"),
    "a class that takes more": ([("steps.py", "class Shop:\n", "class Shop:\n    def __init__(self, name):\n        pass\n\n")], "signature", "'name'"),
    "a step that yields": ([("steps.py", "    return copies", "    yield copies")], "signature", "send yields"),
    "a coroutine": ([("steps.py", "def send", "async def send")], "compatible", ""),
    "a class in place of a function": (
        [("steps.py", "@logged\ndef send(made, paid, copies=1):\n    return copies", "class send:\n    def __init__(self, made, paid, copies=1):\n        pass")],
        "compatible", "",
    ),
    "a variable of the workflow that a step to come is given": ([("workflow.yaml", "copies: 2", "copies: 3")], "definition changed", "variable copies: 2 then, 3 now"),
    "a variable of the workflow that none is given": ([("workflow.yaml", "{copies: 2}", "{copies: 2, more: 3}")], "compatible", ""),
    "another name of the workflow": ([("workflow.yaml", "name: states", "name: others")], "compatible", ""),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_recorded_means_what_it_meant(check, change):
    edits, verdict, reason = CHANGES[change]
    code, document = check(edits)
    assert document["verdicts"] == {verdict: 1}, document
    assert code == (0 if verdict == "compatible" else 1)
    assert any(reason in finding["detail"] for finding in document["runs"][0]["findings"]) or not reason


@pytest.mark.parametrize(
    "edit", [('raise ConnectionError("try again in an hour")', "pass"), ("ConnectionError", "TimeoutError")]
)
def test_a_failed_attempt_may_come_out_otherwise(check, edit):
    code, document = check([("steps.py", *edit)], "--replay")
    assert (code, document["verdicts"]) == (0, {"compatible": 1})


def test_where_the_code_of_then_is_gone_a_doubt_is_no(in_flight, check, tmp_path):
    moved = in_flight.home / "artifacts"
    away = moved.rename(in_flight.home / "artifacts-elsewhere")
    try:
        code, document = check([("steps.py", "def make", "# made\ndef make")], HWE_CACHE_DIR=str(tmp_path / "cache"))
    finally:
        shutil.rmtree(moved)
        away.rename(moved)
    assert (code, document["verdicts"]) == (1, {"state will not load": 1})
