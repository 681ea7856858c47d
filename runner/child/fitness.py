"""Tells which objects inside a value their classes would not have made like this: unpickling asks no constructor.

Run by Python 3.9 to 3.14, standard library alone.
"""

import collections
import collections.abc
import dataclasses
import decimal
import dis
import enum
import gc
import sys
import types
import typing

MAX_ITEMS = 500_000
MAX_FAULTS = 1000
MAX_SHOWN_CHARS = 200

# They hold nothing that could be unfit, and most of what there is is one of these.
PLAIN = frozenset({int, float, str, bytes, bool, type(None), complex, decimal.Decimal})

# What refers to a whole program, and is not part of a value.
OUTSIDE = (type, types.ModuleType, types.CodeType, types.BuiltinFunctionType)

AFTER_INIT = ("__init__", "__post_init__", "__attrs_post_init__", "model_post_init")


class Fitness:
    """`faults`: {what: where}, each once, with the first path where it is. `shapes`: see `shape_of`, by class.

    `compiled_by`: the Python that pickled the value, "3.12", if this is another one.
    """

    def __init__(self, compiled_by=None):
        self.compiled_by = compiled_by
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
        if type(value) not in PLAIN and not isinstance(value, OUTSIDE) and id(value) not in self.seen:
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
        self.note_shape(kind, value)
        if isinstance(value, enum.Enum):
            return  # the class made it
        state = getattr(value, "__dict__", None)
        state = state if isinstance(state, dict) else {}
        self.judge(kind, value, state, path)
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
        for name, wanted in self.wanted[kind].items():
            try:
                item = getattr(value, name)
            except AttributeError:
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

    def note_shape(self, kind, value):
        shape = shape_of(kind)
        if shape is None:
            return
        known = self.shapes.setdefault("%s:%s" % (kind.__module__, kind.__qualname__), shape)
        if isinstance(value, enum.Enum):
            members = [value]
            if isinstance(value, enum.Flag):
                members = [
                    one for one in kind.__members__.values() if one.value and one.value & value.value == one.value
                ]
            known["seen"] = sorted({*known.get("seen", ()), *(one.name for one in members if one.name)})

    def fault(self, path, what):
        self.faults.setdefault(what, path)


def shape_of(kind):
    """What must not have changed since a value was pickled by it, or None: only the code of then can tell.

    {"members": {name: value}} of an enumeration that is pickled by value; {"order": names} of what is pickled in order.
    """
    if issubclass(kind, enum.Enum):
        members = {}
        for name, member in kind.__members__.items():
            reduced = member.__reduce_ex__(4)
            if reduced[0] is kind and reduced[1] == (member.value,):
                members[name] = repr(member.value)[:MAX_SHOWN_CHARS]
        return {"members": members}
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return {"order": list(kind._fields)}
    # A dataclass with slots, from Python 3.10 on.
    if getattr(getattr(kind, "__setstate__", None), "__name__", "") == "_dataclass_setstate":
        return {"order": [field.name for field in dataclasses.fields(kind)]}
    return None


def wanted_of(kind):
    """{name: annotation} of what an instance must have, as far as its class declares it or sets it."""
    return {**dict.fromkeys(set_by_init(kind), typing.Any), **with_types(kind, fields_of(kind))}


def fields_of(kind):
    """{name: annotation} of the fields that the class declares; annotations may be text."""
    if dataclasses.is_dataclass(kind):
        return {field.name: field.type for field in dataclasses.fields(kind)}
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        annotations = getattr(kind, "__annotations__", {})
        return {name: annotations.get(name, typing.Any) for name in kind._fields}
    if hasattr(
        kind, "__pydantic_validator__"
    ):  # of pydantic 2, which loads what 1 has pickled, and cannot work with it
        fields = {name: field.annotation for name, field in kind.model_fields.items()}
        return {**fields, "__pydantic_fields_set__": set}
    if hasattr(kind, "__validators__") and isinstance(getattr(kind, "__fields__", None), dict):  # of pydantic 1
        return {name: getattr(field, "annotation", typing.Any) for name, field in kind.__fields__.items()}
    return {attribute.name: attribute.type for attribute in getattr(kind, "__attrs_attrs__", ())}


def with_types(kind, fields):
    try:
        hints = typing.get_type_hints(kind)
    except Exception:  # one of them names what is imported for type checkers alone: then one by one
        hints = {name: evaluated(kind, annotation) for name, annotation in fields.items()}
    # What is no annotation of the class is a type already.
    known = {name: declared if isinstance(declared, type) else typing.Any for name, declared in fields.items()}
    return {name: hints.get(name, known[name]) for name in fields}


def evaluated(kind, annotation):
    def holder():
        pass

    holder.__annotations__ = {"it": annotation}
    try:
        return typing.get_type_hints(holder, vars(sys.modules[kind.__module__]))["it"]
    except Exception:
        return typing.Any


def fits(value, wanted):
    """Whether a value may stand where an annotation is; what cannot be told fits."""
    wanted = getattr(wanted, "__supertype__", wanted)  # of a NewType
    if isinstance(wanted, type) and typing.get_origin(wanted) is None:
        if wanted.__module__ == "typing" or getattr(wanted, "_is_protocol", False):
            return True
        try:
            return isinstance(value, wanted) or (wanted in (float, complex) and isinstance(value, int))
        except TypeError:
            return True
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is typing.Union or type(wanted).__name__ == "UnionType":
        return any(fits(value, one) for one in arguments)
    if origin is typing.Literal:
        return any(type(value) is type(one) and value == one for one in arguments)
    if not isinstance(origin, type):
        return True
    if not fits(value, origin):
        return False
    if isinstance(value, dict) and len(arguments) == 2:
        return all_fit(dict.keys(value), arguments[0]) and all_fit(dict.values(value), arguments[1])
    if isinstance(value, tuple) and arguments and arguments[-1] is not Ellipsis:
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    if isinstance(value, (list, tuple, set, frozenset, collections.deque)) and arguments:
        return all_fit(value, arguments[0])
    return True


def all_fit(items, wanted):
    """One item of each type, since there may be millions."""
    return wanted is typing.Any or all(fits(item, wanted) for item in {type(item): item for item in items}.values())


def shown(annotation):
    is_class = isinstance(annotation, type) and typing.get_origin(annotation) is None
    return annotation.__name__ if is_class else str(annotation)


def set_by_init(kind):
    """The attributes that the constructors of a class give to every instance."""
    names = []
    for method in AFTER_INIT:
        for base in kind.__mro__:
            code = getattr(vars(base).get(method), "__code__", None)
            if code is not None and code.co_argcount:
                names += set_by(code)
                if method not in code.co_names:
                    break  # it does not call those of the classes above
    return names


def set_by(code):
    """The attributes of its first parameter that a function sets whatever happens, in the order of the bytecode."""
    names, on_self, depends_until = [], False, 0
    for instruction in dis.get_instructions(code):
        depends = instruction.offset < depends_until
        if instruction.opcode in dis.hasjrel or instruction.opcode in dis.hasjabs:
            depends_until = max(depends_until, instruction.argval)  # what is jumped over may not happen
        elif instruction.opname.startswith("RETURN"):
            break  # what follows is not reached always, or handles exceptions
        elif instruction.opname == "STORE_ATTR" and on_self and not depends:
            names.append(instruction.argval)
        on_self = instruction.opname.startswith("LOAD_FAST") and last_of(instruction.argval) == code.co_varnames[0]
    return names


def last_of(name):
    return name[-1] if isinstance(name, tuple) else name  # from 3.13 on one instruction may load two


def is_by_value(thing):
    """Whether a function, or a class with some, is not the one that its module has: the pickle brought it along."""
    if isinstance(thing, type) and not any(isinstance(item, types.FunctionType) for item in vars(thing).values()):
        return False
    found = sys.modules.get(thing.__module__)
    for name in thing.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is not thing
