"""Tells which objects inside a value their classes would not have made like this: unpickling asks no constructor.

Run by Python 3.9 to 3.14, standard library alone.
"""

import collections
import collections.abc
import dataclasses
import decimal
import enum
import functools
import gc
import inspect as _inspect
import sys
import types
import typing

from .annotations import fits, shown, with_types
from .constructors import set_by_init
from .shapes import note_example, note_members, shape_of

MAX_ITEMS = 500_000
MAX_FAULTS = 1000

# They hold nothing that could be unfit, and most of what there is is one of these.
PLAIN = frozenset({int, float, str, bytes, bool, type(None), complex, decimal.Decimal})

# What refers to a whole program, and is not part of a value.
OUTSIDE = (type, types.ModuleType, types.CodeType, types.BuiltinFunctionType)


class Fitness:
    """`faults`: {what: where}, each once, with the first path where it is. `shapes`: see shapes.py, by class.

    `compiled_by`: the Python that pickled the value, "3.12", if this is another one. `names`: how the pickle calls what
    it names, by id.
    """

    def __init__(self, compiled_by=None, names=()):
        self.compiled_by = compiled_by
        self.names = dict(names)
        self.faults = {}
        self.shapes = {}
        self.wanted = {}  # by class: what its instances must have
        self.seen = {}
        self.queue = collections.deque()

    def look_into(self, value):
        """In breadth, so that what is far down in a large part does not keep the others from being seen."""
        self.add(value, "")
        while self.queue and len(self.seen) < MAX_ITEMS and len(self.faults) < MAX_FAULTS:
            self.look(*self.queue.popleft())

    def add(self, value, path):
        # What the pickle found by its name is as the module has it.
        is_named = id(value) in self.names
        is_outside = is_named or isinstance(value, OUTSIDE)
        if is_named and not isinstance(value, type):
            self.shapes[self.names[id(value)]] = {"callable": callable(value)}
        if type(value) not in PLAIN and not is_outside and id(value) not in self.seen:
            self.seen[id(value)] = value  # kept, so that no other object gets its id
            self.queue.append((value, path))

    def look(self, value, path):
        kind = type(value)
        if self.compiled_by and is_by_value(value if kind is types.FunctionType else kind):
            self.fault(path, "is code that Python %s has compiled" % self.compiled_by)
        if kind is types.FunctionType:
            if is_by_value(value):
                for item in (value.__defaults__, value.__kwdefaults__, *(value.__closure__ or ())):
                    self.add(item, path)
            return
        shape = self.shape_of(kind)
        if isinstance(value, enum.Enum):
            note_members(shape, value)
            if isinstance(value, enum.Flag):
                self.judge_flags(kind, value, path)
            return  # the class made it
        state = getattr(value, "__dict__", None)
        state = state if isinstance(state, dict) else {}
        self.judge(kind, value, state, path)
        if kind.__module__ != "builtins":
            note_example(shape, value, path, self.wanted[kind], lambda item: type(item) in PLAIN)
        if issubclass(kind, dict):
            for key, item in dict.items(value):
                self.add(key, path)
                self.add(item, "%s[%.50r]" % (path, key) if type(item) not in PLAIN else path)
        elif issubclass(kind, (list, tuple)):
            for index, item in enumerate(value):
                self.add(item, "%s[%d]" % (path, index) if type(item) not in PLAIN else path)
        for name, item in list(state.items()):
            self.add(item, "%s.%s" % (path, name))
        for name in set(self.wanted[kind]).difference(state):
            self.add(getattr(value, name, None), "%s.%s" % (path, name))
        if kind.__module__.partition(".")[0] == "numpy" and getattr(value, "dtype", "") == "O":
            self.add(value.tolist(), path)  # of these numpy does not tell
        for item in gc.get_referents(value):
            if item is not state:
                self.add(item, path)

    def judge(self, kind, value, state, path):
        """What this object is without, and what of it is of another type."""
        if kind not in self.wanted:
            self.wanted[kind] = wanted_of(kind)
        name_of_kind = kind.__qualname__
        if isinstance(value, (functools.partial, collections.defaultdict)):
            self.judge_call(value, path)
        for name, wanted in self.wanted[kind].items():
            try:
                item = getattr(value, name)
            except Exception:  # whatever its __getattr__ raises
                self.fault(path, "is a %s without the %r that the class has now" % (name_of_kind, name))
                continue
            if not fits(item, wanted):
                told = (name_of_kind, name, type(item).__name__, shown(wanted))
                self.fault(path, "is a %s whose %s is a %s, and the class says %s now" % told)
        if dataclasses.is_dataclass(kind) and state:
            left_over = [name for name in state if not hasattr(kind, name) and name not in self.wanted[kind]]
            for name, wanted in self.wanted[kind].items():
                renamed = [old for old in left_over if name not in state and fits(state[old], wanted)]
                if renamed and hasattr(kind, name):
                    told = (name_of_kind, renamed[0], name)
                    self.fault(path, "is a %s with a %r that the class no longer has, and its %r is a default" % told)

    def judge_flags(self, kind, value, path):
        """Flags of an IntFlag may be without names."""
        named = functools.reduce(int.__or__, (member.value for member in kind.__members__.values()), 0)
        if value.value > 0 and value.value & ~named:
            self.fault(
                path, "is a %s of %d, and no member is %d" % (kind.__qualname__, value.value, value.value & ~named)
            )

    def judge_call(self, value, path):
        """What is to be called with arguments that are recorded too, or with none."""
        is_partial = isinstance(value, functools.partial)
        function = value.func if is_partial else value.default_factory
        if not isinstance(function, (types.FunctionType, types.MethodType, type)):
            return
        try:
            signature = _inspect.signature(function)
            signature.bind_partial(*value.args, **value.keywords) if is_partial else signature.bind()
        except TypeError as error:
            self.fault(path, "is to be called with what %s does not take: %s" % (function.__qualname__, error))
        except ValueError:
            pass  # it does not tell what it takes

    def shape_of(self, kind):
        name = self.names.get(id(kind)) or "%s:%s" % (kind.__module__, kind.__qualname__)
        if name not in self.shapes:
            self.shapes[name] = shape_of(kind)
        return self.shapes[name]

    def fault(self, path, what):
        self.faults.setdefault(what, path)


def wanted_of(kind):
    """{name: annotation} of what an instance must have, as far as its class declares it or sets it."""
    return {**set_by_init(kind), **with_types(kind, fields_of(kind))}


def fields_of(kind):
    """{name: annotation} of the fields that the class declares; annotations may be text."""
    if dataclasses.is_dataclass(kind):
        return {field.name: field.type for field in dataclasses.fields(kind)}
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        try:
            annotations = getattr(kind, "__annotations__", {})
        except Exception:  # evaluated here, from Python 3.14 on: one of them is imported for type checkers alone
            annotations = {}
        return {name: annotations.get(name, typing.Any) for name in kind._fields}
    if hasattr(
        kind, "__pydantic_validator__"
    ):  # of pydantic 2, which loads what 1 has pickled, and cannot work with it
        fields = {name: field.annotation for name, field in kind.model_fields.items()}
        private = dict.fromkeys(kind.__private_attributes__, typing.Any)
        return {**fields, **private, "__pydantic_fields_set__": set}
    if hasattr(kind, "__validators__") and isinstance(getattr(kind, "__fields__", None), dict):  # of pydantic 1
        return {name: getattr(field, "annotation", typing.Any) for name, field in kind.__fields__.items()}
    if hasattr(kind, "__struct_fields__"):  # of msgspec
        return dict.fromkeys(kind.__struct_fields__, typing.Any)
    return {attribute.name: attribute.type for attribute in getattr(kind, "__attrs_attrs__", ())}


def is_by_value(thing):
    """Whether a function, or a class with some, is not the one that its module has: the pickle brought it along."""
    if isinstance(thing, type) and not any(isinstance(item, types.FunctionType) for item in vars(thing).values()):
        return False
    found = sys.modules.get(thing.__module__)
    for name in thing.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is not thing
