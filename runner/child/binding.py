"""Whether a call binds, and whether what it gives is of the types that the function asks for.

Run by Python 3.9 to 3.14, standard library alone. Nothing is called.
"""

import inspect
import sys
import types
import typing

from .annotations import fits, shown, with_types
from .decorators import layers


def signature_of(function):
    """What one function takes, whatever it wraps, or None where it does not tell."""
    try:
        return inspect.signature(function, follow_wrapped=False, **_UNEVALUATED)
    except (TypeError, ValueError):
        return None


def unbound(called, args, kwargs):
    """Why a call does not bind, or "": where a decorator passes on what it gets, also what lies behind it."""
    if inspect.isabstract(called):
        return "it is abstract, and lacks %s" % ", ".join(sorted(called.__abstractmethods__))
    if isinstance(called, type):
        called, args = constructor_of(called), [None, *args]
    if not isinstance(called, (types.FunctionType, types.MethodType)):
        return ""
    for layer in layers(called, args, kwargs):
        signature = signature_of(layer.function)
        try:
            if signature is not None:
                signature.bind(*layer.args, **layer.kwargs)
        except TypeError as error:
            return str(error)
    return ""


def constructor_of(kind):
    """What takes the arguments that a class is called with; None if its metaclass takes them.

    Not the signature of the class: that of a pydantic model leaves out what the model takes and ignores.
    """
    if type(kind).__call__ is not type.__call__:
        return None
    return kind.__init__ if isinstance(kind.__init__, types.FunctionType) else kind.__new__


def mistyped(function, bound):
    """The first of the bound arguments that is not what its annotation says: (name, type, annotation), or None."""
    parameters = bound.signature.parameters
    declared = {
        name: parameters[name].annotation
        for name in bound.arguments
        if parameters[name].annotation is not inspect.Parameter.empty
        and parameters[name].kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    }
    for name, wanted in with_types(function, declared).items() if declared else ():
        if wanted is not typing.Any and not fits(bound.arguments[name], wanted):
            return name, type(bound.arguments[name]).__name__, shown(wanted)
    return None


def annotations_left_alone():
    """For inspect.signature: from Python 3.14 on annotations are evaluated when somebody asks for them, and may name
    what is imported for type checkers alone.
    """
    if sys.version_info < (3, 14):
        return {}
    import annotationlib

    return {"annotation_format": annotationlib.Format.FORWARDREF}


_UNEVALUATED = annotations_left_alone()
