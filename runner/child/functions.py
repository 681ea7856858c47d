"""Finding the function of a step, and calling it."""

import importlib
import sys

from . import project
from .project import import_past_project


class FunctionNotFound(Exception):
    """The named function does not exist in this code version."""


def find_function(name):
    """The callable named `pkg.module.func` or `pkg.module:Class.method`."""
    module_name, separator, attributes = name.partition(":")
    if not separator:
        module_name, _, attributes = name.rpartition(".")
    if not module_name or not attributes:
        raise FunctionNotFound("%r names no function: write package.module.function" % name)
    try:
        target = imported(module_name) or importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise  # the module is there, and something that it imports is missing
        parent = sys.modules.get(error.name.rpartition(".")[0])
        raise FunctionNotFound(
            "no module named %r in this code version%s" % (error.name, near(error.name, module_names(parent)))
        ) from None
    for attribute in attributes.split("."):
        owner = target
        try:
            target = getattr(owner, attribute)
        except AttributeError:
            names = [n for n in dir(owner) if not n.startswith("_") and callable(getattr(owner, n, None))]
            where = getattr(owner, "__name__", module_name)
            raise FunctionNotFound("%s has no %r%s" % (where, attribute, near(attribute, names))) from None
        if isinstance(owner, type) and is_instance_method(owner, attribute):
            target = getattr(owner(), attribute)
    if not callable(target):
        raise FunctionNotFound("%s is a %s, not a function" % (name, type(target).__name__))
    return target


def imported(name):
    """The module if it is there whole: asking the import system costs more than the rest of finding a function."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    return None if spec is None or getattr(spec, "_initializing", False) else module


def is_instance_method(owner, attribute):
    for base in owner.__mro__:
        if attribute in vars(base):
            return hasattr(vars(base)[attribute], "__code__")
    return False


def module_names(parent):
    pkgutil = import_past_project("pkgutil")
    prefix = parent.__name__ + "." if parent is not None else ""
    paths = parent.__path__ if parent is not None else project.import_paths
    return [prefix + module.name for module in pkgutil.iter_modules(paths)]


def near(name, names):
    difflib = import_past_project("difflib")
    close = difflib.get_close_matches(name, names, n=3) or sorted(names)[:5]
    return "; did you mean %s?" % " or ".join(close) if close else ""


def takes_context(function):
    """Whether the first parameter is named ctx. By hand: inspect costs more than a whole step."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    bound = getattr(function, "__self__", None) is not None
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is None:
        return False
    names = code.co_varnames[: code.co_argcount][1 if bound else 0 :]
    return names[:1] == ("ctx",)


def call(function, args, kwargs):
    result = function(*args, **kwargs)
    if hasattr(result, "__await__"):
        result = import_past_project("asyncio").run(finish(result))
    return result


async def finish(awaitable):
    return await awaitable
