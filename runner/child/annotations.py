"""What the annotations of a class say, and whether a value may stand there.

Run by Python 3.9 to 3.14, standard library alone.
"""

import collections
import sys
import typing


class Unknown:
    """What is not known yet, like the result of a step that has not run: whatever a template asks of it is there."""

    def __getattr__(self, name):
        return self

    def __str__(self):
        return "<not known yet>"


UNKNOWN = Unknown()


def with_types(kind, fields):
    """{name: type} of {name: annotation}, of a class or a function; typing.Any for what cannot be evaluated."""
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
    if isinstance(value, Unknown):
        return True
    wanted = getattr(wanted, "__supertype__", wanted)  # of a NewType
    if hasattr(wanted, "__required_keys__"):  # of a TypedDict
        return isinstance(value, dict) and wanted.__required_keys__ <= value.keys()
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
