"""What a function of the project names and would not find: modules that it imports when called, globals, attributes.

Read from its source, and from that of the functions of the project that it names. Run by Python 3.9 to 3.14, standard
library alone. Modules that are named are imported, nothing is called.
"""

import ast
import builtins
import collections
import dis
import enum
import importlib
import importlib.util
import sys
import types

from . import project
from .annotations import UNKNOWN
from .attributes import Missing, attribute_of, codes_in, may_be_set_in, method_of
from .binding import unbound
from .decorators import layers
from .failures import safe_text
from .syntax import shown, tree_of

MAX_FUNCTIONS = 1000
MAX_FAULTS = 20
MAX_DEPTH = 4  # of containers in which a text may stand

EMPTY_CELL = types.CellType()

# What is written below a test of one of these may well be missing here.
TESTS_OF_PLACE = {
    *("TYPE_CHECKING", "version_info", "platform", "implementation", "os.name"),
    *("hasattr", "find_spec", "VERSION", "__version__"),
}


def missing_from(functions):
    """[verdict, words] for each name that one of these functions, or one that it names, would not find."""
    queue, seen, faults = list(functions), set(), {}
    while queue and len(seen) < MAX_FUNCTIONS and len(faults) < MAX_FAULTS:
        called = queue.pop(0)
        for function in (layer.function for layer in layers(called, [], {})):
            if isinstance(function, types.FunctionType) and function not in seen and is_of_project(function):
                seen.add(function)
                tree = tree_of(function)
                if tree is not None:
                    reader = Reader(function, tree, getattr(called, "__self__", None))
                    try:
                        reader.visit(tree)
                    except RecursionError:
                        pass  # of an expression of hundreds of parts: so much has been read
                    faults.update(reader.faults)
                    queue += reader.named
    return [[verdict, words] for words, verdict in faults.items()]


def is_of_project(thing):
    return is_in_project(sys.modules.get(thing.__module__))


def is_in_project(module):
    file = getattr(module, "__dict__", {}).get("__file__") or ""
    return any(file.startswith(path.rstrip("/") + "/") for path in project.import_paths)


def modules_of_project():
    return [module for module in list(sys.modules.values()) if is_in_project(module)]


def is_said(text):
    """Whether such a text stands in a function of the project, or in what its modules and classes have names for."""
    for module in modules_of_project():
        classes = [item for item in list(vars(module).values()) if isinstance(item, type)]
        if any(text in texts_in(vars(owner).values()) for owner in (module, *classes)):
            return True
        if any(text in texts_in(code.co_consts) for code in codes_in(vars(module))):
            return True
    return False


def texts_in(items, depth=0):
    """The texts among some items, and in those that are containers or members of an enumeration."""
    found = set()
    for item in list(items) if depth < MAX_DEPTH else ():
        if isinstance(item, enum.Enum):
            found |= texts_in([item.value], depth + 1)
        elif type(item) is str:
            found.add(item)
        elif type(item) in (tuple, list, set, frozenset):
            found |= texts_in(item, depth + 1)
        elif type(item) is dict:
            found |= texts_in([*item, *item.values()], depth + 1)
    return found


class Reader(ast.NodeVisitor):
    """Looks for the names in the source of one function, its `tree`. `named`: functions that it may call.

    `receiver`: the object whose method it is, or None.
    """

    def __init__(self, function, tree, receiver):
        self.function = function
        self.globals = function.__globals__
        self.bound = names_bound_in(tree.body)
        # The others are variables of its own, or of a function inside of it.
        self.loaded = globals_of(function.__code__, "LOAD_GLOBAL") - self.bound.keys()
        self.local = {}  # its receiver and what it imports itself, by name, if a name means the same all over it
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
            if not self.bound[name] and cell != EMPTY_CELL:
                self.local[name] = cell.cell_contents
        if receiver is not None and function.__code__.co_argcount:
            self.binds(function.__code__.co_varnames[0], receiver)
        self.faults = {}  # the verdict by words
        self.named = []
        self.called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}

    def fault(self, verdict, words):
        self.faults["%s %s" % (self.function.__qualname__, words)] = verdict

    def visit_Try(self, node):
        """What is tried may be missing: somebody has thought of that."""
        for child in (*(() if node.handlers else node.body), *node.handlers, *node.orelse, *node.finalbody):
            self.visit(child)

    visit_TryStar = visit_Try  # noqa: N815 - as ast has it

    def visit_If(self, node):
        """Of what is tested for, also in an expression, one way or the other is for another place."""
        test = getattr(node, "test", node)
        items = [item for item in ast.walk(test) if isinstance(item, (ast.Name, ast.Attribute))]
        words = {getattr(item, "attr", getattr(item, "id", "")) for item in items} | set(map(shown, items))
        if words.isdisjoint(TESTS_OF_PLACE):
            self.generic_visit(node)

    visit_IfExp = visit_BoolOp = visit_If  # noqa: N815 - as ast has it

    def visit_Import(self, node):
        for alias in node.names:
            module = self.imported(alias.name)
            if module is not None:
                root = sys.modules.get(alias.name.partition(".")[0], UNKNOWN)
                self.binds(alias.asname or alias.name.partition(".")[0], module if alias.asname else root)

    def visit_ImportFrom(self, node):
        name = "." * node.level + (node.module or "")
        try:
            name = importlib.util.resolve_name(name, self.globals.get("__package__") or "")
        except (ImportError, ValueError):
            return
        module = self.imported(name)
        for alias in node.names if module is not None and node.names[0].name != "*" else ():
            item = attribute_of(module, alias.name)
            if isinstance(item, Missing):
                self.fault("candidate does not import", "imports %s from %s, %s" % (alias.name, name, item.why))
            if item is UNKNOWN:
                item = self.imported("%s.%s" % (name, alias.name)) or UNKNOWN
            self.binds(alias.asname or alias.name, item)
            self.may_call(item)

    def binds(self, name, item):
        if self.bound[name] == 1:
            self.local[name] = item

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

    def visit_Call(self, node):
        self.generic_visit(node)
        is_told = not any(isinstance(item, ast.Starred) for item in node.args)
        if is_told and all(item.arg for item in node.keywords):
            why = unbound(self.resolved(node.func), [None] * len(node.args), {item.arg: None for item in node.keywords})
            if why:
                self.fault("signature", "calls %s with what it does not take: %s" % (shown(node.func), why))

    def may_call(self, item):
        if item is not UNKNOWN and not isinstance(item, Missing):
            self.named.append(item.__init__ if isinstance(item, type) else item)

    def resolved(self, node):
        """What is meant, as far as it can be told without running anything."""
        if isinstance(node, ast.Name) and node.id in self.local:
            return self.local[node.id]
        if isinstance(node, ast.Name) and node.id in self.loaded:
            if node.id in self.globals:
                return self.globals[node.id]
            if not hasattr(builtins, node.id) and not self.is_set_later(node.id):
                self.fault("step missing", "names %s, which is not there" % node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            owner = self.resolved(node.value)
            if isinstance(owner, (type, types.ModuleType)):
                item = attribute_of(owner, node.attr)
                if isinstance(item, Missing):
                    owner_name = getattr(owner, "__name__", "?")
                    self.fault("step missing", "names %s of %s, %s" % (node.attr, owner_name, item.why))
                return item
            if is_of_project(type(owner)) or type(owner) is types.SimpleNamespace:
                item = method_of(owner, node.attr)
                if isinstance(item, Missing) and (id(node) in self.called or not self.may_be_set(owner, node.attr)):
                    verb = "calls" if id(node) in self.called else "names"
                    told = (verb, node.attr, type(owner).__name__, item.why)
                    self.fault("step missing", "%s %s of a %s, %s" % told)
                return item
        return UNKNOWN

    def may_be_set(self, owner, name):
        """Whether some function of the project sets such an attribute in whatever it is given."""
        at_hand = {self.function.__module__, type(owner).__module__}
        return any(may_be_set_in(vars(one), name, one.__name__ in at_hand) for one in modules_of_project())

    def is_set_later(self, name):
        functions = [item for item in self.globals.values() if isinstance(item, types.FunctionType)]
        return any(name in globals_of(function.__code__, "STORE_GLOBAL") for function in functions)


def globals_of(code, instruction):
    """The globals that a function names in such instructions, with those of the functions inside of it."""
    found = {one.argval for one in dis.get_instructions(code) if one.opname == instruction}
    return found.union(*(globals_of(item, instruction) for item in code.co_consts if isinstance(item, types.CodeType)))


def names_bound_in(statements):
    """How often each name is bound in a function or in one inside of it, besides its own."""
    names = []
    for node in (node for statement in statements for node in ast.walk(statement) if node not in statements):
        if isinstance(node, ast.alias):
            names.append(node.asname or node.name.partition(".")[0])
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.append(node.id)
        elif not isinstance(node, ast.keyword):  # an argument, a function or class, an exception, a pattern
            names += [getattr(node, field, None) for field in ("arg", "name", "rest")]
    return collections.Counter(names)
