"""Takes a value apart into what pickle keeps of it, so that two can be compared without asking either for an opinion.

Run by Python 3.9 to 3.14, standard library only, like bootstrap.py. No `__eq__` of a user's is called: one that
compares a key alone, or that lies, says nothing of what the next step will find. What a class says that pickle
should keep (`__reduce_ex__`, `copyreg`) is asked, as pickle would.
"""

import array
import collections
import copyreg
import dis
import sys
import types

# What is compared as it is. Of these very types: a subclass may carry more.
ATOMS = {type(None), bool, int, float, complex, str, bytes, bytearray, type(Ellipsis), type(NotImplemented)}
EQUAL_IS_SAME = {bool, int, str, bytes}
FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType)
# What Python itself puts into a class, or says of where its source stood.
NOT_OF_THE_AUTHOR = {"__dict__", "__weakref__", "__firstlineno__", "__static_attributes__", "_abc_impl"}
NAMED = "named"  # the kind of what is found by its name
ARGUMENTS = ".__reduce__()[1]"
MAX_WHOLE_DEPTH = 5


class Parts:
    """A value, one level deep."""

    __slots__ = ("array", "kind", "listed", "members", "named", "pairs")

    def __init__(self, kind, named=(), listed=None, pairs=None, members=None, array=None):
        self.kind = kind  # hashable: parts of two kinds have no place in common
        self.named = dict(named)  # label, as in ".name": value; in whatever order
        self.listed = listed  # values by position
        self.pairs = pairs  # keys and values, in their order
        self.members = members  # values in no order
        self.array = array  # of numpy


def parts_of(value):
    """The parts of what is none of the ATOMS."""
    kind = type(value)
    if kind is list or kind is tuple:
        return Parts(kind, listed=value)
    if kind is dict:
        return Parts(kind, pairs=list(value.items()))
    if kind is set or kind is frozenset:
        return Parts(kind, members=list(value))
    if kind is types.ModuleType:
        return Parts((NAMED, value.__name__))
    if issubclass(kind, (type, *FUNCTIONS)):
        name = name_in_module(value)
        if name is not None:
            return Parts((NAMED, name))
        if issubclass(kind, type):
            return parts_of_class(value)
    if kind is types.FunctionType:
        return parts_of_function(value)
    if kind is types.CodeType:
        return parts_of_code(value)
    if kind is types.CellType:
        return Parts(kind, {".cell_contents": value.cell_contents} if has_contents(value) else {})
    if kind is array.array:
        return Parts((kind, value.typecode), listed=value)
    if kind.__module__ == "uuid" and kind.__name__ == "UUID":
        return Parts(kind, {ARGUMENTS: str(value)})  # its number tells nobody anything
    if "numpy" in sys.modules:
        from . import arrays

        found = arrays.parts_of(value)
        if found is not None:
            return found
    return parts_of_reduction(value)


def parts_of_reduction(value):
    """The parts of an object of any class, by what pickle would write of it."""
    kind = type(value)
    reduced = reduction_of(value)
    if type(reduced) is str:
        return Parts((NAMED, "%s.%s" % (getattr(value, "__module__", None), reduced)))
    make, args, state, items, pairs, setter = (*reduced, *[None] * (6 - len(reduced)))
    if make is copyreg.__newobj__ and args[0] is kind:
        make, args = kind, args[1:]
    parts = Parts(kind, {**arguments_of(value, args), **attributes_of(value, state)})
    if make is not kind:  # nearly always an object is made by its class
        parts.named[".__reduce__()[0]"] = make
    if setter is not None:
        parts.named[".__reduce__()[5]"] = setter
    if issubclass(kind, (set, frozenset)) and len(args) == 1 and type(args[0]) is list:
        parts.members = parts.named.pop("")  # in whatever order they came
    if items is not None:
        parts.listed = list(items)
    if pairs is not None:
        parts.pairs = list(pairs)
    return parts


def reduction_of(value):
    kind = type(value)
    # What has no way of its own to be pickled has left by cloudpickle.
    library = sys.modules.get("cloudpickle")
    for table in (copyreg.dispatch_table, getattr(getattr(library, "Pickler", None), "dispatch_table", {})):
        if kind in table:
            return table[kind](value)
    return value.__reduce_ex__(4)


def arguments_of(value, args):
    """What an object is made from, by label: where a reader would look for it."""
    kind = type(value)
    if issubclass(kind, BaseException):
        return {".args": args}
    fields = getattr(kind, "_fields", ()) if issubclass(kind, tuple) else ()
    if len(fields) == len(args) > 0:
        return {".%s" % name: item for name, item in zip(fields, args)}
    if len(args) == 1 and type(args[0]) in (dict, list, tuple):
        return {"": args[0]}  # a Counter, a subclass of tuple
    return {"%s[%d]" % (ARGUMENTS, index): item for index, item in enumerate(args)}


def attributes_of(value, state):
    """What is put into an object once it is made, by label."""
    slots = None
    if type(state) is tuple and len(state) == 2 and all(part is None or type(part) is dict for part in state):
        state, slots = state
    if type(state) is list:
        fields = getattr(type(value), "__dataclass_fields__", ())  # frozen ones with slots leave theirs as a list
        if len(fields) == len(state):
            state = dict(zip(fields, state))
    if state is not None and type(state) is not dict:
        return {".__reduce__()[2]": state}
    found = {**(state or {}), **(slots or {})}
    inner = found.get("__dict__")  # of a pydantic model
    if type(inner) is dict and not inner.keys() & found.keys():
        found.update(found.pop("__dict__"))
    return {".%s" % (name,): item for name, item in found.items()}


def name_in_module(value):
    """How a class or function is found again, or None when it is not: one made in a function, a lambda."""
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None)
    found = sys.modules.get(module) if type(module) is str else None
    for part in name.split(".") if type(name) is str else ():
        found = getattr(found, part, None)
    return "%s.%s" % (module, name) if found is value else None


def parts_of_function(function):
    """Of a function that travels as its code: also the globals that it uses, as cloudpickle keeps them."""
    return Parts(
        types.FunctionType,
        {
            ".__qualname__": function.__qualname__,
            ".__code__": function.__code__,
            ".__defaults__": function.__defaults__,
            ".__kwdefaults__": function.__kwdefaults__,
            ".__closure__": function.__closure__,
            ".__dict__": function.__dict__,
            ".__globals__": {
                name: function.__globals__[name]
                for name in sorted(globals_used_by(function.__code__))
                if name in function.__globals__
            },
        },
    )


def globals_used_by(code):
    found = {step.argval for step in dis.get_instructions(code) if step.opname.endswith("_GLOBAL")}
    return found.union(*[globals_used_by(inner) for inner in code.co_consts if type(inner) is types.CodeType])


def parts_of_code(code):
    """Not where its source stood: that is another directory on each machine."""
    names = ("co_code", "co_consts", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_flags")
    counts = ("co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_name")
    named = {".%s" % name: getattr(code, name) for name in names + counts}
    named[".co_exceptiontable"] = getattr(code, "co_exceptiontable", b"")
    return Parts(types.CodeType, named)


def parts_of_class(kind):
    """Of a class that travels as its code."""
    described = (types.GetSetDescriptorType, types.MemberDescriptorType)
    named = {
        ".%s" % name: item
        for name, item in vars(kind).items()
        if name not in NOT_OF_THE_AUTHOR and not isinstance(item, described)
    }
    return Parts((type(kind), "class"), {**named, ".__bases__": kind.__bases__, ".__qualname__": kind.__qualname__})


def has_contents(cell):
    try:
        cell.cell_contents  # noqa: B018 - asking is how one finds out
    except ValueError:
        return False
    return True


def hashes_by_value(kind):
    """Whether a class hashes by contents, and so promises that those never change."""
    return kind.__hash__ is not None and kind.__hash__ is not object.__hash__


def is_whole(value, parts=None, depth=0):
    """Whether a value is told as one where it differs: Decimal('1.1') has no parts that anyone would speak of."""
    if type(value) in ATOMS:
        return True
    if depth == MAX_WHOLE_DEPTH:
        return False
    if type(value) is tuple:
        return depth > 0 and all(is_whole(item, depth=depth + 1) for item in value)
    parts = parts or parts_of(value)
    if type(parts.kind) is tuple and parts.kind[0] is NAMED:
        return True
    return (
        type(value).__repr__ is not object.__repr__
        and parts.listed is parts.pairs is parts.members is parts.array is None
        and len(parts.named) > 0
        and all(label.startswith(ARGUMENTS) or label == ".__reduce__()[0]" for label in parts.named)
        and all(is_whole(item, depth=depth + 1) for item in parts.named.values())
    )


def fingerprint(value, above=()):
    """A hashable that is the same for values that pickle keeps alike: which key of one dict is which of another."""
    kind = type(value)
    if kind in ATOMS:
        return kind, fingerprint_of_atom(value)
    if id(value) in above:
        return "above", len(above) - above.index(id(value))
    above = (*above, id(value))
    parts = parts_of(value)
    members = collections.Counter(fingerprint(item, above) for item in parts.members or ())
    return (
        # A class that travels as its code is another one in each pickle.
        name_of(parts.kind) if parts.kind is kind else parts.kind,
        frozenset((label, fingerprint(item, above)) for label, item in parts.named.items()),
        tuple(fingerprint(item, above) for item in parts.listed or ()),
        tuple((fingerprint(key, above), fingerprint(item, above)) for key, item in parts.pairs or ()),
        frozenset(members.items()),
        None if parts.array is None else (str(parts.array.dtype), parts.array.shape, parts.array.tobytes()),
    )


def plainly_same(old, new):
    """Whether two are the same at first sight. Most are: a list of a million is looked through in a moment."""
    kind = type(old)
    if old is new:
        return True
    return kind is type(new) and (kind in EQUAL_IS_SAME or (kind is float and old != 0)) and old == new


def fingerprint_of_atom(value):
    if type(value) is float:
        return "nan" if value != value else value.hex()  # noqa: PLR0124 - what NaN is known by
    if type(value) is complex:
        return fingerprint_of_atom(value.real), fingerprint_of_atom(value.imag)
    return bytes(value) if type(value) is bytearray else value


def name_of(kind):
    return "%s.%s" % (kind.__module__, kind.__qualname__)
