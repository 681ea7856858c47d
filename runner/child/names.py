"""What a function of the project names and would not find: modules that it imports when called, globals, attributes.

Read from its source, and from that of the functions of the project that it names. Run by Python 3.9 to 3.14, standard
library alone. Modules that are named are imported, nothing is called.
"""

import ast
import builtins
import dis
import importlib
import importlib.util
import sys
import types

from . import project
from .decorators import layers, tree_of
from .failures import safe_text

MAX_FUNCTIONS = 1000
MAX_FAULTS = 20

UNKNOWN, MISSING = object(), object()

# What is written below a test of one of these may well be missing here.
TESTS_OF_PLACE = {"TYPE_CHECKING", "version_info", "platform", "implementation"}


def missing_from(functions):
    """[verdict, words] for each name that one of these functions, or one that it names, would not find."""
    queue, seen, faults = list(functions), set(), {}
    while queue and len(seen) < MAX_FUNCTIONS and len(faults) < MAX_FAULTS:
        for function, _, _ in layers(queue.pop(0), [], {}):
            if isinstance(function, types.FunctionType) and function not in seen and is_of_project(function):
                seen.add(function)
                tree = tree_of(function)
                if tree is not None:
                    reader = Reader(function)
                    reader.visit(tree)
                    faults.update(reader.faults)
                    queue += reader.named
    return [[verdict, words] for words, verdict in faults.items()]


def is_of_project(function):
    file = getattr(sys.modules.get(function.__module__), "__file__", None) or ""
    return any(file.startswith(path.rstrip("/") + "/") for path in project.import_paths)


class Reader(ast.NodeVisitor):
    """Looks for the names in the source of one function. `named`: functions that it may call."""

    def __init__(self, function):
        self.function = function
        self.globals = function.__globals__
        self.loaded = globals_of(function.__code__, "LOAD_GLOBAL")  # the others are variables of its own
        self.faults = {}  # the verdict by words
        self.named = []

    def fault(self, verdict, words):
        self.faults["%s %s" % (self.function.__qualname__, words)] = verdict

    def visit_Try(self, node):
        """What is tried may be missing: somebody has thought of that."""
        for child in (*(() if node.handlers else node.body), *node.handlers, *node.orelse, *node.finalbody):
            self.visit(child)

    visit_TryStar = visit_Try  # noqa: N815 - as ast has it

    def visit_If(self, node):
        words = {getattr(item, "attr", getattr(item, "id", "")) for item in ast.walk(node.test)}
        if words.isdisjoint(TESTS_OF_PLACE):
            self.generic_visit(node)

    def visit_Import(self, node):
        for alias in node.names:
            self.imported(alias.name)

    def visit_ImportFrom(self, node):
        name = "." * node.level + (node.module or "")
        try:
            name = importlib.util.resolve_name(name, self.globals.get("__package__") or "")
        except (ImportError, ValueError):
            return
        module = self.imported(name)
        for alias in node.names if module is not None else ():
            item = attribute_of(module, alias.name) if alias.name != "*" else UNKNOWN
            if item is MISSING:
                self.fault("candidate does not import", "imports %s from %s, which is not there" % (alias.name, name))
            self.may_call(item)

    def imported(self, name):
        try:
            return importlib.import_module(name)
        except BaseException as error:
            # What the standard library has on other systems is imported on those.
            if name.partition(".")[0] not in getattr(sys, "stdlib_module_names", ()):
                words = "imports %s: %s: %s" % (name, type(error).__name__, safe_text(error))
                self.fault("candidate does not import", words)
            return None

    def visit_Name(self, node):
        self.may_call(self.resolved(node))

    def visit_Attribute(self, node):
        self.generic_visit(node)
        self.may_call(self.resolved(node))

    def may_call(self, item):
        if item is not UNKNOWN and item is not MISSING:
            self.named.append(item.__init__ if isinstance(item, type) else item)

    def resolved(self, node):
        """What is meant, as far as it can be told without running anything."""
        if isinstance(node, ast.Name) and node.id in self.loaded:
            if node.id in self.globals:
                return self.globals[node.id]
            if not hasattr(builtins, node.id) and not self.is_set_later(node.id):
                self.fault("step missing", "names %s, which is not there" % node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            owner = self.resolved(node.value)
            if isinstance(owner, (type, types.ModuleType)):
                item = attribute_of(owner, node.attr)
                if item is MISSING:
                    owner_name = getattr(owner, "__name__", "?")
                    self.fault("step missing", "names %s of %s, which is not there" % (node.attr, owner_name))
                return item
        return UNKNOWN

    def is_set_later(self, name):
        functions = [item for item in self.globals.values() if isinstance(item, types.FunctionType)]
        return any(name in globals_of(function.__code__, "STORE_GLOBAL") for function in functions)


def globals_of(code, instruction):
    """The globals that a function names in such instructions, with those of the functions inside of it."""
    found = {one.argval for one in dis.get_instructions(code) if one.opname == instruction}
    return found.union(*(globals_of(item, instruction) for item in code.co_consts if isinstance(item, types.CodeType)))


def attribute_of(owner, name):
    """The attribute of a module or class; a module that is not imported yet is UNKNOWN."""
    try:
        return getattr(owner, name)
    except AttributeError:
        pass
    except Exception:
        return UNKNOWN
    try:
        is_module = isinstance(owner, types.ModuleType) and importlib.util.find_spec(owner.__name__ + "." + name)
    except Exception:
        is_module = False
    return UNKNOWN if is_module else MISSING
