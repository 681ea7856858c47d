"""How a class makes an object out of what was pickled of it, as far as unpickling does not notice that this changed.

Only the code of then can tell: it is asked the same, and the two are compared in runner/inspection.py. Run by
Python 3.9 to 3.14, standard library alone.
"""

import dataclasses
import enum

MAX_EXAMPLES = 5  # of a class: how it puts one together is how it puts all together
MAX_NAMES = 100
MAX_SHOWN_CHARS = 200


def shape_of(kind):
    """What must not have changed, besides "examples".

    {"members": {name: value}} of an enumeration that is pickled by value; {"order": names} of what is pickled in order;
    {"items_of": type} of what is pickled item by item.
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
    if hasattr(kind, "__struct_fields__"):  # of msgspec
        return {"order": list(kind.__struct_fields__)}
    # A dataclass with slots, from Python 3.10 on.
    if getattr(getattr(kind, "__setstate__", None), "__name__", "") == "_dataclass_setstate":
        return {"order": [field.name for field in dataclasses.fields(kind)]}
    return {"items_of": next((base.__name__ for base in (dict, list, set) if issubclass(kind, base)), "")}


def note_members(shape, value):
    """Add to the shape of an enumeration which of its members a value is: "seen"."""
    members = [value]
    if isinstance(value, enum.Flag):
        members = [
            one for one in type(value).__members__.values() if one.value and one.value & value.value == one.value
        ]
    shape["seen"] = sorted({*shape.get("seen", ()), *(one.name for one in members if one.name)})


def note_example(shape, value, path, names, is_plain):
    """Add to the shape of a class what one of its objects holds under which name: "examples", the first few.

    `names`: of its fields. `is_plain` tells whether an item may be shown: nothing else is asked for its text.
    """
    examples = shape.setdefault("examples", [])
    if len(examples) >= MAX_EXAMPLES:
        return
    held = {}
    for name in names:
        try:
            held[name] = getattr(value, name)
        except Exception:
            pass  # it is not there, which is said elsewhere
    held.update(state_of(value) or {})
    for base in (str, bytes, int, float):
        if isinstance(value, base):
            held[""] = base(value)
    told = {}
    for name in sorted(map(str, held))[:MAX_NAMES]:
        item = held.get(name)
        if isinstance(item, enum.Enum):
            told[name] = "%s.%s" % (type(item).__qualname__, item.name)
        elif is_plain(item):
            told[name] = repr(item)[:MAX_SHOWN_CHARS]
    examples.append([path, told])


def state_of(value):
    """The attributes that an object has, in slots too, or None when it has none to look at."""
    found = {}
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__"):
                # A private name is stored under the name of its class.
                real = "_%s%s" % (kind.__name__.lstrip("_"), name) if name.startswith("__") else name
                if hasattr(value, real):
                    found[name] = getattr(value, real)
    try:
        found.update(vars(value))
    except TypeError:
        return found or None
    return found
