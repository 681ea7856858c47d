"""The attributes that the constructors of a class give to every instance, read from their source.

Run by Python 3.9 to 3.14, standard library alone. Nothing is called.
"""

import ast
import inspect
import types
import typing

from .annotations import evaluated
from .syntax import tree_of

AFTER_INIT = ("__init__", "__post_init__", "__attrs_post_init__", "model_post_init")

# What a container is when it is new, it stays: what is a number or None at first may be anything later.
CONTAINERS = {
    **dict.fromkeys((ast.List, ast.ListComp, "list"), list),
    **dict.fromkeys((ast.Dict, ast.DictComp, "dict"), dict),
    **dict.fromkeys((ast.Set, ast.SetComp, "set"), set),
}


def set_by_init(kind):
    """{name: type} of the attributes that the constructors of a class give to every instance, mostly typing.Any."""
    found = {}
    for method in AFTER_INIT:
        for base in kind.__mro__:
            function = vars(base).get(method)
            if isinstance(function, types.FunctionType):
                found.update(set_by(function, kind))
                if method not in inspect.unwrap(function).__code__.co_names:
                    break  # it does not call those of the classes above
    return found


def set_by(function, kind, callers=()):
    """{name: type} of what a method of `kind` sets in its first parameter, whatever happens. `callers`: their codes."""
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    tree = tree_of(function) if code is not None and code.co_argcount and code not in callers else None
    if tree is None or not tree.body or not isinstance(tree.body[0], ast.FunctionDef):
        return {}
    defined_in = function.__qualname__.rpartition(".")[0].rpartition(".")[2]
    return Method(function, kind, defined_in, (*callers, code)).set_by_all(tree.body[0].body)


class Method:
    """One of `kind`, from the class `defined_in`. `callers`: the codes of what calls it, and its own."""

    def __init__(self, function, kind, defined_in, callers):
        code = function.__code__
        self.owner = code.co_varnames[0]
        self.parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        self.locals = {*code.co_varnames, *code.co_cellvars, *code.co_freevars}
        self.globals = function.__globals__
        self.kind = kind
        self.defined_in = defined_in
        self.callers = callers
        self.names = {}  # of the variables of loops, what they are just now

    def set_by_all(self, statements):
        found = {}
        for number, statement in enumerate(statements):
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                continue
            if isinstance(statement, ast.If) and leaves(statement):
                ways = [
                    way if any(map(leaves, way)) else [*way, *statements[number + 1 :]] for way in ways_of(statement)
                ]
                return {**found, **self.set_by_each(*ways)}
            for node in ast.walk(statement):
                for name in self.assigned(node.targets, None) if isinstance(node, ast.Delete) else ():
                    found.pop(name, None)
            found.update(self.set_by(statement))
            if leaves(statement):
                break  # what follows is not reached always
        return found

    def set_by(self, statement):
        """What one statement sets, if it does so in whichever way it goes."""
        if isinstance(statement, ast.Assign):
            targets = [target for target in statement.targets for target in parts_of_target(target)]
            return self.assigned(targets, statement.value if targets == statement.targets else None)
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            found = self.assigned([statement.target], statement.value)
            return {name: self.declared(statement.annotation, told) for name, told in found.items()}
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            return self.set_by_call(statement.value)
        if isinstance(statement, ast.With):
            entered = [item.optional_vars for item in statement.items]
            return {**self.assigned(entered, None), **self.set_by_all(statement.body)}
        if isinstance(statement, ast.If):
            return self.set_by_each(*ways_of(statement))
        if isinstance(statement, ast.For):
            return self.set_by_loop(statement)
        if isinstance(statement, getattr(ast, "Match", ())):  # from Python 3.10 on
            last = statement.cases[-1]
            takes_all = isinstance(last.pattern, ast.MatchAs) and last.pattern.pattern is last.guard is None
            return self.set_by_each(*(case.body for case in statement.cases)) if takes_all else {}
        if isinstance(statement, ast.Try):
            ways = [handler.body for handler in statement.handlers]
            each = self.set_by_each([*statement.body, *statement.orelse], *ways)
            return {**each, **self.set_by_all(statement.finalbody)}
        return {}

    def assigned(self, targets, value):
        found = {}
        for target in targets:
            if isinstance(target, ast.Attribute) and self.is_owner(target.value):
                if target.attr == "__dict__":
                    found.update(self.set_by_items(value))
                else:
                    found[self.stored_as(target.attr)] = type_of(value)
            elif isinstance(target, ast.Subscript) and self.is_state(target.value):
                found.update(dict.fromkeys(self.texts([target.slice]), typing.Any))
        return found

    def declared(self, annotation, otherwise):
        """The type that an annotation names, in a text too: nobody evaluates those of attributes when it is run."""
        name = getattr(annotation, "id", getattr(annotation, "value", None))
        found = evaluated(self.kind, name) if isinstance(name, str) else typing.Any
        return otherwise if found is typing.Any else found

    def set_by_each(self, *ways):
        """What all of these set. One that raises makes no instance."""
        found = [self.set_by_all(way) for way in ways if not way or not isinstance(way[-1], ast.Raise)]
        return {name: one for name, one in found[0].items() if all(name in way for way in found)} if found else {}

    def set_by_loop(self, loop):
        """What a loop over names that stand there sets: in the code, or in a constant of its module or class."""
        found = {}
        items = loop.iter
        is_of_items = isinstance(items, ast.Call) and getattr(items.func, "attr", "") == "items" and not items.args
        name = loop.target.elts[0] if is_of_items and isinstance(loop.target, ast.Tuple) else loop.target
        items = self.known(items.func.value if is_of_items else items)
        if (
            isinstance(name, ast.Name)
            and isinstance(items, (tuple, list, set, frozenset, dict))
            and not any(map(leaves, loop.body))
        ):
            for item in items:
                self.names[name.id] = item
                found.update(self.set_by_all(loop.body))
        return found

    def set_by_call(self, call):
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        owner = getattr(call.func, "value", None)
        is_own = self.is_owner(owner) or (isinstance(owner, ast.Call) and getattr(owner.func, "id", "") == "super")
        if name in ("setattr", "__setattr__"):
            args = call.args if is_own else call.args[1:] if call.args and self.is_owner(call.args[0]) else []
            return dict.fromkeys(self.texts(args[:1]), typing.Any)
        if name == "update" and self.is_state(owner):
            found = {item.arg: type_of(item.value) for item in call.keywords if item.arg}
            return {**found, **(self.set_by_items(call.args[0]) if call.args else {})}
        if self.is_owner(owner):
            method = inspect.getattr_static(self.kind, name, None)
            return set_by(method, self.kind, self.callers) if isinstance(method, types.FunctionType) else {}
        return {}

    def set_by_items(self, node):
        """What a dict sets that becomes the state of the object, or a part of it."""
        if isinstance(node, ast.Dict):
            return dict.fromkeys(self.texts(node.keys), typing.Any)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "dict":
            return {item.arg: type_of(item.value) for item in node.keywords if item.arg}
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "locals":
            return dict.fromkeys(self.parameters, typing.Any)
        known = self.known(node)
        return {name: typing.Any for name in known if isinstance(name, str)} if isinstance(known, dict) else {}

    def texts(self, nodes):
        return [text for text in map(self.known, nodes) if isinstance(text, str)]

    def known(self, node):
        """What is written there, or is a constant of the module or class; None where that cannot be told."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id, None if node.id in self.locals else self.globals.get(node.id))
        if isinstance(node, ast.Attribute) and self.is_owner(node.value):
            return inspect.getattr_static(self.kind, node.attr, None)
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            return None

    def is_state(self, node):
        """Whether this is all that an object holds: `self.__dict__`, or `vars(self)`."""
        if isinstance(node, ast.Call):
            return getattr(node.func, "id", "") == "vars" and len(node.args) == 1 and self.is_owner(node.args[0])
        return isinstance(node, ast.Attribute) and node.attr == "__dict__" and self.is_owner(node.value)

    def is_owner(self, node):
        return isinstance(node, ast.Name) and node.id == self.owner

    def stored_as(self, name):
        is_private = name.startswith("__") and not name.endswith("__")
        return "_%s%s" % (self.defined_in.lstrip("_"), name) if is_private else name


def ways_of(statement):
    return [statement.body, statement.orelse]


def leaves(node):
    """Whether it may end the method, or a loop that it is in."""
    if isinstance(node, (ast.Return, ast.Break, ast.Continue)):
        return True
    if isinstance(node, (ast.For, ast.While)):
        return any(isinstance(item, ast.Return) for item in ast.walk(node))
    return any(leaves(item) for item in ast.iter_child_nodes(node))


def parts_of_target(target):
    return target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]


def type_of(value):
    key = value.func.id if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) else type(value)
    return CONTAINERS.get(key, typing.Any)
