"""The parts of a recorded value, items and attributes, as far as they can be told without running anything.

Run by Python 3.9 to 3.14, standard library alone.
"""

import functools
import inspect
import types

from .annotations import UNKNOWN
from .attributes import CONTAINERS, PLAIN, Missing, looks_up_as_usual, method_of
from .names import is_of_project


def item_of(owner, key):
    """`owner[key]`, or what is `Missing`; UNKNOWN, where only code of its own can tell."""
    kind = type(owner)
    if type(key) not in (str, int):
        return UNKNOWN
    if kind in PLAIN and kind not in (str, bytes):
        return Missing("that is %s" % named(owner))
    if issubclass(kind, dict) and kind.__getitem__ is dict.__getitem__ and not hasattr(kind, "__missing__"):
        return dict.__getitem__(owner, key) if dict.__contains__(owner, key) else Missing("there is no %r" % (key,))
    if kind in (list, tuple, str):
        if type(key) is str:
            return Missing("that is %s" % named(owner))
        is_there = -len(owner) <= key < len(owner)
        return owner[key] if is_there else Missing("that is %s of %d" % (named(owner), len(owner)))
    return UNKNOWN


def held_by(owner, name):
    """An attribute of an object, or a method of it, or what is `Missing`; UNKNOWN as of `item_of`."""
    kind = type(owner)
    if kind in PLAIN or kind in CONTAINERS:
        return UNKNOWN if hasattr(kind, name) else Missing("that is %s" % named(owner))
    if not is_of_project(kind):
        return UNKNOWN
    item = inspect.getattr_static(owner, name, UNKNOWN)
    if item is UNKNOWN and looks_up_as_usual(kind) and not hasattr(kind, name):
        return Missing("a %s has no %r" % (kind.__qualname__, name))
    if isinstance(item, types.FunctionType):
        method = method_of(owner, name)
        return method if isinstance(method, types.MethodType) else UNKNOWN
    is_held = item is not UNKNOWN and getattr(owner, "__dict__", {}).get(name, UNKNOWN) is item
    return item if is_held else UNKNOWN


def is_no_method(owner, name):
    """Whether an attribute is a plain value, or gives one: what was a method may be a property now."""
    item = inspect.getattr_static(owner, name, UNKNOWN)
    is_property = isinstance(item, (property, functools.cached_property))
    return is_of_project(type(owner)) and (is_property or type(item) in (*PLAIN, *CONTAINERS))


def named(value):
    return "None" if value is None else "a %s" % type(value).__name__
