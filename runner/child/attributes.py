"""The attributes of modules, classes and objects, as far as they can be told without running anything.

Run by Python 3.9 to 3.14, standard library alone.
"""

import dis
import importlib.util
import inspect
import types

from .annotations import UNKNOWN
from .failures import safe_text

PLAIN = (type(None), bool, int, float, complex, str, bytes)
CONTAINERS = (dict, list, tuple, set, frozenset)

# They look into the object and its class, and nowhere else.
_GETTERS = {kind.__getattribute__ for kind in (object, *PLAIN, *CONTAINERS, BaseException, types.SimpleNamespace)}


class Missing:
    """In place of what is not there. `why`: in words."""

    def __init__(self, why):
        self.why = why


def attribute_of(owner, name):
    """The attribute of a module or class, or what is `Missing`; a module that is not imported yet is UNKNOWN."""
    try:
        return getattr(owner, name)
    except AttributeError:
        why = "which is not there"
    except Exception as error:  # a module may say in its own way what became of a name
        why = "%s: %s" % (type(error).__name__, safe_text(error))
    try:
        is_module = isinstance(owner, types.ModuleType) and importlib.util.find_spec(owner.__name__ + "." + name)
    except Exception:
        is_module = False
    return UNKNOWN if is_module else Missing(why)


def method_of(receiver, name):
    """A method of an object, or what is `Missing`; UNKNOWN, what is no method, or may be there in another way."""
    item = inspect.getattr_static(receiver, name, UNKNOWN)
    if isinstance(item, types.FunctionType) and name not in getattr(receiver, "__dict__", ()):
        return types.MethodType(item, receiver)
    kind = type(receiver)
    if item is UNKNOWN and looks_up_as_usual(kind) and not hasattr(kind, name) and not may_be_set_by(kind, name):
        return Missing("which is not there")
    return UNKNOWN


def looks_up_as_usual(kind):
    """Whether the attributes of its objects are those that they hold and those of their class."""
    has_its_own = any("__getattr__" in vars(base) for base in kind.__mro__)  # hasattr would find that of a metaclass
    return kind.__getattribute__ in _GETTERS and not has_its_own


def may_be_set_by(kind, name):
    """Whether a method of the class sets such an attribute, or one that nobody knows the name of."""
    return any(may_be_set_in(vars(base), name) for base in kind.__mro__)


def may_be_set_in(namespace, name, or_any=True):
    """As `may_be_set_by`, by the functions of a class or module, and those of its classes."""
    return any(sets(code, name, or_any) for code in codes_in(namespace))


def sets(code, name, or_any):
    """Whether code sets such an attribute, or one that nobody knows the name of."""
    if or_any and not {"setattr", "__setattr__", "__dict__", "vars"}.isdisjoint(code.co_names):
        return True
    return any(one.opname == "STORE_ATTR" and one.argval == name for one in dis.get_instructions(code))


def codes_in(namespace):
    """The code of all functions of a class or module, of its classes, and of what is made inside of them."""
    for item in list(namespace.values()):
        if isinstance(item, type) and item.__module__ == namespace.get("__name__"):
            yield from codes_in(vars(item))
        function = item.fget if isinstance(item, property) else getattr(item, "__func__", item)
        if isinstance(function, types.FunctionType):
            yield from with_inner(inspect.unwrap(function).__code__)


def with_inner(code):
    yield code
    for item in code.co_consts:
        if isinstance(item, types.CodeType):
            yield from with_inner(item)
