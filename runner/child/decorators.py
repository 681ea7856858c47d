"""What a decorated function passes its arguments on to: the signature that is seen is not always the one that binds.

Read from the source of the decorator, which is not run. By Python 3.9 to 3.14, standard library alone.
"""

import ast
import functools
import inspect
import types
import typing

from .annotations import UNKNOWN
from .syntax import tree_of

MAX_LAYERS = 20

CHANGES = ()  # instead of what is passed on: nobody can tell


class Layer(typing.NamedTuple):
    """`is_passed_on`: the arguments are those of the call, besides what decorators add. Else they may be converted."""

    function: typing.Any
    args: list
    kwargs: dict
    is_passed_on: bool


def layers(function, args, kwargs):
    """The layers that a call reaches, from outside in, as far as that can be told.

    What a decorator adds is UNKNOWN.
    """
    found, is_passed_on = [], True
    if isinstance(function, types.MethodType):
        function, args = function.__func__, [function.__self__, *args]
    while len(found) < MAX_LAYERS:
        found.append(Layer(function, args, kwargs, is_passed_on))
        passed = passed_on_by(function)
        if passed is None and hasattr(function, "__wrapped__"):
            passed = inspect.unwrap(function), 0, ()  # it says so, and mostly that is true
            is_passed_on = False
        if not passed:
            break
        function, positional, keywords = passed
        args, kwargs = [*[UNKNOWN] * positional, *args], {**dict.fromkeys(keywords, UNKNOWN), **kwargs}
    return found


def passed_on_by(function):
    """(what it calls with what it gets, how many arguments it adds before, keywords that it adds), None or CHANGES."""
    if isinstance(function, functools.partial):
        return function.func, len(function.args), function.keywords
    if isinstance(function, types.FunctionType):
        called = function
        try:
            held = inspect.getclosurevars(function).nonlocals
        except (TypeError, ValueError):
            return None
    else:
        called, held = type(function).__call__, getattr(function, "__dict__", {})
        if not isinstance(called, types.FunctionType):  # made in C, as what functools.lru_cache returns
            return None
    rest, options = names_of_rest(called.__code__)
    # Reading source takes longer than all else: not of the many that cannot pass anything on.
    tree = tree_of(called) if rest or options else None
    if tree is None:
        return None
    own = called.__code__.co_argcount - (called is not function)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            given = [item.value for item in node.args if isinstance(item, ast.Starred)]
            given += [item.value for item in node.keywords if item.arg is None]
            inner, before = called_by(node, held)
            if inner is not None and {getattr(item, "id", "") for item in given} & {rest, options}:
                keywords = [item.arg for item in node.keywords if item.arg]
                changes = before < own or changed_in(tree, rest, options)
                return CHANGES if changes else (inner, before - own, keywords)
    return None


def called_by(node, held):
    """(what is called, how many arguments stand before the rest), of what is `held` by name; None if none of that is.

    It may be handed on with its arguments, to an executor for one.
    """
    before = [item for item in node.args if not isinstance(item, ast.Starred)]
    for number, item in enumerate([node.func, *before]):
        inner = held.get(getattr(item, "id", getattr(item, "attr", None)))
        if callable(inner):
            return inner, len(before) - number
    return None, 0


def names_of_rest(code):
    """The names of *args and **kwargs; None for one that a function does not have."""
    names = list(code.co_varnames[code.co_argcount + code.co_kwonlyargcount :])
    rest = names.pop(0) if code.co_flags & inspect.CO_VARARGS else None
    return rest, names[0] if code.co_flags & inspect.CO_VARKEYWORDS else None


def changed_in(tree, *names):
    """Whether something is done to one of these but passing it on, or depends on it: then nobody knows what happens."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.If, ast.IfExp)) and any(
            getattr(item, "id", "") in names for item in ast.walk(node.test)
        ):
            return True
        if isinstance(node, (ast.Attribute, ast.Subscript)) and getattr(node.value, "id", "") in names:
            return True
        if isinstance(node, ast.Name) and node.id in names and not isinstance(node.ctx, ast.Load):
            return True
    return False


def hands_on_alone(function):
    """Whether a decorator does nothing with the arguments but hand them on, and nothing about what is raised then."""
    if isinstance(function, functools.partial):
        return True
    tree = tree_of(function) if isinstance(function, types.FunctionType) else None
    if tree is None:
        return False
    nodes = list(ast.walk(tree))
    named = [node.id for node in nodes if isinstance(node, ast.Name)]
    is_once = all(named.count(name) <= 1 for name in names_of_rest(function.__code__))
    return is_once and not any(isinstance(node, (ast.Try, ast.With, ast.AsyncWith)) for node in nodes)
