"""What a function reads of its arguments, whatever happens, and would not find there: keys, items, attributes, methods.

Read from its source, one statement after the other, until one may not be run, or may change what the arguments hold.
Run by Python 3.9 to 3.14, standard library alone. Nothing is called.
"""

import ast
import builtins
import inspect
import types

from .annotations import UNKNOWN, Unknown
from .attributes import CONTAINERS, PLAIN, Missing
from .binding import signature_of, unbound
from .constructors import leaves
from .names import is_in_project, is_of_project
from .parts import held_by, is_no_method, item_of
from .syntax import shown, tree_of

MAX_DEPTH = 10  # of functions that hand on what they are given

# Of builtins and containers, what changes nothing that it is given.
PURE = {
    *("all", "any", "bool", "dict", "enumerate", "float", "frozenset", "hash", "int", "isinstance", "iter", "len"),
    *("list", "max", "min", "print", "range", "repr", "reversed", "set", "sorted", "str", "sum", "tuple", "zip"),
}
# Gives nothing that is a part of what it is given.
APART = {"bool", "float", "hash", "int", "isinstance", "len", "repr", "str", "sum"}
READS = {"copy", "count", "get", "index", "items", "keys", "values"}
TOLD = {"debug", "dumps", "error", "format", "info", "join", "warning"}  # to a log, or in a text
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)
NOT_AT_ONCE = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


# In place of what may be a part of what is known, or hold one.
DERIVED = Unknown()


class NotThere(Exception):
    """What is read is not there; why, in words."""


class NobodyKnows(Exception):
    """From here on statements may not be run, or may find something else."""


def unread(function, given, depth=0):
    """What a function reads in vain of what it is `given`, {parameter: value}, in words, or ""."""
    tree = tree_of(function) if isinstance(function, types.FunctionType) and depth < MAX_DEPTH else None
    if tree is None or not isinstance(tree.body[0], (ast.FunctionDef, ast.AsyncFunctionDef)):
        return ""
    try:
        Reading(function, given, depth).statements(tree.body[0].body)
    except NotThere as error:
        return str(error)
    except (NobodyKnows, RecursionError):
        pass
    return ""


class Reading:
    """Of one function. `held`: what its variables hold, as far as that is known."""

    def __init__(self, function, given, depth):
        self.function = function
        self.held = {name: value for name, value in given.items() if is_known(value)}
        self.depth = depth

    def statements(self, statements):
        for statement in statements:
            self.statement(statement)

    def statement(self, node):
        if isinstance(node, (ast.Return, ast.Raise)):
            self.generic(node)
            raise NobodyKnows
        if isinstance(node, ast.Assign):
            value = self.value(node.value)
            for target in node.targets:
                self.assign(target, value, node.value)
        elif isinstance(node, ast.AnnAssign):
            if node.value is not None:
                self.assign(node.target, self.value(node.value), node.value)
        elif isinstance(node, (ast.Expr, ast.Assert)):
            self.value(node.test if isinstance(node, ast.Assert) else node.value)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            if self.names(node):
                raise NobodyKnows
        else:
            self.compound(node)

    def compound(self, node):
        """A statement that is not run as a whole, or whose effects are its own business."""
        if isinstance(node, (ast.If, ast.While)):
            self.value(node.test)
            if isinstance(node.body[0], ast.Raise) and not node.orelse:
                return  # what goes on is what this let through
        elif isinstance(node, ast.AugAssign):
            self.value(node.value)
        elif isinstance(node, ast.For):
            self.first_of(node.iter, node.target, lambda: self.statements(node.body))
        elif isinstance(node, ast.With) and not any(self.may_swallow(item.context_expr) for item in node.items):
            for item in node.items:
                self.value(item.context_expr)
                self.assign(item.optional_vars, UNKNOWN, item.context_expr)
            self.statements(node.body)
            return
        elif isinstance(node, ast.Try) and not node.handlers:
            self.statements([*node.body, *node.finalbody])
            return
        self.unless_told(node)

    def unless_told(self, node):
        """Go on behind what has nothing to do with the arguments."""
        if self.names(node) or leaves(node):
            raise NobodyKnows

    def first_of(self, items, target, look):
        """Look at what is done with the first of some items, if there is one."""
        items = self.operand(items)
        if type(items) in (list, tuple) and items and isinstance(target, ast.Name):
            before = dict(self.held)
            self.assign(target, items[0])
            look()
            self.held = before

    def assign(self, target, value, node=None):
        if isinstance(target, ast.Name):
            if value is UNKNOWN and node is not None and self.names(node) and not is_apart(node):
                value = DERIVED
            self.held.pop(target.id, None)
            if value is not UNKNOWN:
                self.held[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            count = len(target.elts)
            if type(value) not in (list, tuple) or any(isinstance(item, ast.Starred) for item in target.elts):
                value = [UNKNOWN] * count
            if len(value) != count:
                self.miss("takes %s apart into %d" % (shown(node), count), "there are %d" % len(value))
            for item, part in zip(target.elts, value):
                self.assign(item.value if isinstance(item, ast.Starred) else item, part, node)
        elif target is not None and self.names(target):
            raise NobodyKnows

    def value(self, node):
        """What an expression gives, as far as that is known; all that is evaluated for certain is looked at."""
        if isinstance(node, ast.Name):
            return self.held.get(node.id, UNKNOWN)
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Subscript):
            owner = self.operand(node.value)
            key = self.value(node.slice)
            return self.part(node, item_of(owner, key)) if is_known(owner) else owner
        if isinstance(node, ast.Attribute):
            owner = self.value(node.value)
            return self.part(node, held_by(owner, node.attr)) if is_known(owner) else owner
        if isinstance(node, ast.Call):
            return self.call(node)
        if isinstance(node, ast.Await) and isinstance(node.value, ast.Call):
            return self.call(node.value, is_awaited=True)
        if isinstance(node, COMPREHENSIONS):
            self.comprehension(node)
        elif isinstance(node, (ast.BoolOp, ast.IfExp, ast.Compare)):
            self.first_part(node)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            return -node.operand.value if isinstance(node.operand.value, (int, float)) else UNKNOWN
        elif isinstance(node, ast.NamedExpr):
            value = self.value(node.value)
            self.assign(node.target, value, node.value)
            return value
        elif isinstance(node, (ast.Lambda, ast.Yield, ast.YieldFrom)):
            self.unless_told(node)
        else:
            self.generic(node)
        return UNKNOWN

    def generic(self, node):
        look = self.operand if isinstance(node, (ast.BinOp, ast.UnaryOp, ast.FormattedValue)) else self.value
        given = [look(item) for item in ast.iter_child_nodes(node) if isinstance(item, ast.expr)]
        # What is in two places may be changed by way of the other.
        if isinstance(node, (ast.Dict, ast.List, ast.Tuple, ast.Set)) and not all(map(is_unchangeable, given)):
            raise NobodyKnows

    def operand(self, node):
        """The value of what is counted, compared, shown or taken apart, as nobody means to do with a method."""
        value = self.value(node)
        if isinstance(value, types.MethodType):
            self.miss("reads %s" % shown(node), "that is a method")
        return value

    def first_part(self, node):
        """What is evaluated whatever comes of it."""
        if isinstance(node, ast.Compare):
            first, others = [node.left, node.comparators[0]], node.comparators[1:]
        elif isinstance(node, ast.BoolOp):
            first, others = node.values[:1], node.values[1:]
        else:
            first, others = [node.test], [node.body, node.orelse]
        is_of_values = isinstance(node, ast.Compare) and not isinstance(node.ops[0], (ast.Is, ast.IsNot))
        for item in first:
            self.operand(item) if is_of_values else self.value(item)
        self.may_change(others)

    def comprehension(self, node):
        first = node.generators[0]
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        told = first.ifs[:1] or (results if len(node.generators) == 1 else [])
        self.first_of(first.iter, first.target, lambda: [self.value(item) for item in told])
        if told is not results and not all(self.is_pure(item) for item in ast.walk(node) if isinstance(item, ast.Call)):
            raise NobodyKnows
        self.may_change([node])

    def may_change(self, nodes):
        """Give up where a call that may or may not be made could change what is held."""
        for item in (item for node in nodes for item in ast.walk(node)):
            if isinstance(item, (ast.Call, ast.NamedExpr)) and self.names(item) and not self.is_pure(item):
                raise NobodyKnows

    def is_pure(self, node):
        func = getattr(node, "func", None)
        if isinstance(func, ast.Name):
            return func.id in PURE and func.id not in self.function.__globals__ and hasattr(builtins, func.id)
        return isinstance(func, ast.Attribute) and func.attr in READS | TOLD

    def call(self, node, *, is_awaited=False):
        owner = self.value(node.func.value) if isinstance(node.func, ast.Attribute) else UNKNOWN
        method = self.part(node.func, held_by(owner, node.func.attr)) if is_known(owner) else UNKNOWN
        if is_known(owner) and is_no_method(owner, node.func.attr):
            self.miss("calls %s" % shown(node.func), "that is no method")
        args, kwargs = self.given_to(node)
        for called in (method, self.called_by(node.func)):
            if args is not None and is_known(called):
                self.look_into(called, args, kwargs, shown(node.func), is_awaited=is_awaited)
        if not is_unchangeable(owner):
            if type(owner) not in (*CONTAINERS, Unknown) or node.func.attr not in READS:
                raise NobodyKnows
            if type(owner) is dict and node.func.attr == "get" and args and type(args[0]) in (str, int):
                return owner.get(args[0], UNKNOWN)
        elif (args is None or not all(map(is_unchangeable, [*args, *kwargs.values()]))) and not self.is_pure(node):
            raise NobodyKnows
        return UNKNOWN

    def given_to(self, node):
        """The arguments of a call; None, None when nobody knows how many there are."""
        args, kwargs = [], {}
        is_told = True
        for item in node.args:
            if isinstance(item, ast.Starred):
                items = self.value(item.value)
                is_told = is_told and type(items) in (list, tuple)
                args += items if is_told else ()
            else:
                args.append(self.value(item))
        for item in node.keywords:
            value = self.value(item.value)
            if item.arg:
                kwargs[item.arg] = value
            else:
                is_told = is_told and type(value) is dict and all(type(name) is str for name in value)
                kwargs.update(value if is_told else {})
        return (args, kwargs) if is_told else (None, None)

    def called_by(self, node):
        """A function or class of the project that a name stands for."""
        code = self.function.__code__
        if not isinstance(node, ast.Name) or node.id in {*code.co_varnames, *code.co_cellvars, *code.co_freevars}:
            return UNKNOWN
        found = self.function.__globals__.get(node.id)
        return found if isinstance(found, (types.FunctionType, type)) and is_of_project(found) else UNKNOWN

    def look_into(self, called, args, kwargs, name, *, is_awaited):
        why = unbound(called, args, kwargs)
        if why:
            self.miss("calls %s" % name, "it does not take what it is given: %s" % why)
        function = called.__func__ if isinstance(called, types.MethodType) else called
        is_function = isinstance(function, types.FunctionType) and not function.__code__.co_flags & NOT_AT_ONCE
        if is_function and (is_awaited or not inspect.iscoroutinefunction(function)):
            signature = signature_of(called)
            try:
                given = signature.bind(*args, **kwargs).arguments if signature else {}
            except TypeError:
                return
            why = unread(function, given, self.depth + 1)
            if why:
                raise NotThere(why)

    def part(self, node, found):
        """What was found of a part, if there is one."""
        if isinstance(found, Missing):
            self.miss("reads %s" % shown(node), found.why)
        return found

    def miss(self, what, why):
        raise NotThere("%s %s, and %s" % (self.function.__qualname__, what, why))

    def may_swallow(self, node):
        """Whether what is entered may go on after an exception, as contextlib.suppress does, or some of the project."""
        names = [getattr(item, "id", getattr(item, "attr", "")) for item in ast.walk(node)]
        if any(name == "suppress" or name.endswith(("Error", "Exception")) for name in names):
            return True
        while isinstance(node, (ast.Call, ast.Attribute)):
            node = node.func if isinstance(node, ast.Call) else node.value
        found = self.function.__globals__.get(getattr(node, "id", ""))
        is_module = isinstance(found, types.ModuleType) and not is_in_project(found)
        return not is_module and getattr(node, "id", "") != "open"

    def names(self, node):
        """Whether it names something that is held."""
        return any(isinstance(item, ast.Name) and item.id in self.held for item in ast.walk(node))


def is_known(value):
    return not isinstance(value, Unknown)


def is_unchangeable(value):
    return value is UNKNOWN or type(value) in PLAIN


def is_apart(node):
    """Whether an expression gives something of its own, like a number or a text."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in APART
    return isinstance(node, (ast.BinOp, ast.Compare, ast.JoinedStr, ast.UnaryOp))
