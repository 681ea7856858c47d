"""Tells whether what is recorded of a run fits this code: its values load, its functions are there, arguments bind.

Loaded ahead when a check may ask for it; run by Python 3.9 to 3.14, standard library alone. It runs
in the candidate's own environment, where the classes are. Nothing of the run is called: what user code runs here is
that of imports and of unpickling.

`inspect` returns findings, {"step", "verdict", "detail"}, where verdict is one of "candidate does not import", "step
missing", "state will not load", "signature".
"""

import collections.abc
import dataclasses
import decimal
import dis
import inspect as _inspect
import typing

from .functions import FunctionNotFound, find_function, takes_context
from .templates import Scope, render

MAX_FINDINGS = 20
MAX_ITEMS = 100_000
MAX_DEPTH = 100


class Unknown:
    """The result of a step that has not run yet: whatever a template asks of it is there, and as unknown."""

    def __getattr__(self, name):
        return self

    def __str__(self):
        return "<not known yet>"


UNKNOWN = Unknown()


def inspect(template, payloads):
    """Findings on all steps of `template`: {"steps", "scope", "results", "pending", "same_code"}."""
    scope = Scope(template["scope"], template["results"], payloads)
    scope.names.update(dict.fromkeys(template["pending"], UNKNOWN))
    findings = []
    unsound = set()
    for name in template["results"]:
        for detail in faults_of_value(name, template["results"][name], payloads, template["same_code"]):
            unsound.add(name)
            findings += [{"step": step["key"], "verdict": "state will not load", "detail": detail}
                         for step in template["steps"] if name in step["uses"]]  # fmt: skip
    for step in template["steps"]:
        verdict, detail = fault_of_step(step, scope, not unsound.isdisjoint(step["uses"]))
        if verdict:
            findings.append({"step": step["key"], "verdict": verdict, "detail": detail})
    return findings[:MAX_FINDINGS]


def faults_of_value(name, index, payloads, same_code):
    try:
        value = payloads.load(index)
    except BaseException as error:
        cause = error.__cause__ or error
        return ["{{%s}}: %s: %s" % (name, type(cause).__name__, text_of(cause))]
    try:
        # What does not fit its own class was so already, and is nobody's change.
        return [] if same_code else ["{{%s}}%s" % (name, fault) for fault in Unfit().find(value)]
    except BaseException as error:
        return ["{{%s}} cannot be looked into: %s: %s" % (name, type(error).__name__, text_of(error))]


def fault_of_step(step, scope, is_unsound):
    """The (verdict, detail) of the first thing that is wrong with a step, or (None, "")."""
    try:
        function = find_function(step["function"])
    except FunctionNotFound as error:
        return "step missing", text_of(error)
    except BaseException as error:
        return "candidate does not import", "%s: %s: %s" % (step["function"], type(error).__name__, text_of(error))
    if is_unsound:
        return None, ""  # said already
    try:
        args = render(step["args"], scope)
        kwargs = render(step["kwargs"], scope)
    except BaseException as error:
        return "state will not load", text_of(error)
    if takes_context(function):
        args = [None, *args]
    try:
        signature = _inspect.signature(function)
    except (TypeError, ValueError):
        return "signature", "%s does not tell what it takes" % step["function"]
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        return "signature", "%s%s: %s" % (step["function"], signature, error)
    return None, ""


class Unfit:
    """Objects inside a value that their classes would not have made like this: unpickling asks no constructor."""

    def __init__(self):
        self.seen = {}
        self.faults = []
        self.left = MAX_ITEMS

    def find(self, value):
        self.look(value, "", 0)
        return self.faults

    def look(self, value, path, depth):
        kind = type(value)
        if kind in PLAIN or depth > MAX_DEPTH or id(value) in self.seen or len(self.faults) >= 5:
            return
        self.left -= 1
        if self.left < 0:
            return
        self.seen[id(value)] = value  # kept, so that no other object gets its id
        if issubclass(kind, dict):
            for key, item in dict.items(value):
                self.look(item, "%s[%.50r]" % (path, key), depth + 1)
        elif issubclass(kind, (list, tuple, set, frozenset)):
            for index, item in enumerate(value):
                self.look(item, "%s[%d]" % (path, index), depth + 1)
        fields = fields_of(kind)
        state = getattr(value, "__dict__", None)
        if fields is None and isinstance(state, dict) and not reduces_itself(kind):
            fields = dict.fromkeys(set_by_init(kind), typing.Any)
        for name, wanted in (fields or {}).items():
            try:
                item = getattr(value, name)
            except AttributeError:
                where = "%s is a %s" % (path or " ", kind.__qualname__)
                self.faults.append("%s without the %r that the class has now" % (where, name))
                continue
            if not fits(item, wanted):
                told = wanted.__name__ if isinstance(wanted, type) else str(wanted)
                self.faults.append("%s.%s is a %s, and the class says %s now" % (path, name, type(item).__name__, told))
        if isinstance(state, dict):
            for name, item in list(state.items()):
                self.look(item, "%s.%s" % (path, name), depth + 1)


PLAIN = frozenset({int, float, str, bytes, bool, type(None), complex, decimal.Decimal})


def fields_of(kind):
    """{name: annotation} of what an instance must have, or None where the class does not declare it."""
    if dataclasses.is_dataclass(kind):
        return with_types(kind, [field.name for field in dataclasses.fields(kind)])
    for declared, mark in (
        ("model_fields", "__pydantic_validator__"),
        ("__fields__", "__validators__"),
    ):  # pydantic 2, 1
        found = getattr(kind, declared, None)
        if isinstance(found, collections.abc.Mapping) and hasattr(kind, mark):
            return with_types(kind, list(found))
    found = getattr(kind, "__attrs_attrs__", None)
    if found is not None:
        return with_types(kind, [attribute.name for attribute in found])
    return None


def with_types(kind, names):
    try:
        hints = typing.get_type_hints(kind)
    except Exception:
        hints = {}
    return {name: hints.get(name, typing.Any) for name in names}


def fits(value, wanted):
    """Whether a value may stand where an annotation is; what cannot be told fits."""
    if isinstance(wanted, type) and wanted.__module__ != "typing" and not getattr(wanted, "_is_protocol", False):
        try:
            return isinstance(value, wanted) or (wanted in (float, complex) and isinstance(value, int))
        except TypeError:
            return True
    if typing.get_origin(wanted) is typing.Union or type(wanted).__name__ == "UnionType":
        return any(fits(value, one) for one in typing.get_args(wanted))
    origin = typing.get_origin(wanted)
    if isinstance(origin, type) and origin in (list, dict, set, frozenset, tuple):
        return isinstance(value, origin)
    return True


def reduces_itself(kind):
    """Whether the class has its own way of being pickled, and so may make what is missing."""
    own = ("__setstate__", "__reduce__", "__reduce_ex__", "__getattr__", "__getnewargs__", "__getnewargs_ex__")
    return any(name in vars(base) for base in kind.__mro__[:-1] for name in own)


def set_by_init(kind):
    """The attributes that __init__ gives to every instance: those that it sets before it can do anything else."""
    code = getattr(kind.__init__, "__code__", None)
    if code is None or not code.co_varnames:
        return []
    names, on_self = [], False
    for instruction in dis.get_instructions(code):
        if instruction.opname.startswith(("POP_JUMP", "JUMP_IF", "FOR_ITER", "RETURN", "RAISE", "SETUP", "SEND")):
            break  # from here on it depends
        if instruction.opname == "STORE_ATTR" and on_self:
            names.append(instruction.argval)
        on_self = instruction.opname.startswith("LOAD_FAST") and last_of(instruction.argval) == code.co_varnames[0]
    return names


def last_of(name):
    return name[-1] if isinstance(name, tuple) else name  # from 3.13 on one instruction may load two


def text_of(error):
    try:
        return str(error)[:1000]
    except BaseException as failure:
        return "<its message cannot be shown: %s>" % type(failure).__name__
