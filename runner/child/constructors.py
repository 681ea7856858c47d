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
    return Method(kind, code.co_varnames[0], defined_in, (*callers, code)).set_by_all(tree.body[0].body)


class Method:
    """One of `kind`, from the class `defined_in`. `owner`: its first parameter. `callers`: their codes and its own."""

    def __init__(self, kind, owner, defined_in, callers):
        self.kind = kind
        self.owner = owner
        self.defined_in = defined_in
        self.callers = callers

    def set_by_all(self, statements):
        found = {}
        for statement in statements:
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                continue
            found.update(self.set_by(statement))
            if any(isinstance(node, ast.Return) for node in ast.walk(statement)):
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
            return self.set_by_each(statement.body, statement.orelse)
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
        is_own = [isinstance(target, ast.Attribute) and self.is_owner(target.value) for target in targets]
        names = [target.attr for target, own in zip(targets, is_own) if own]
        return dict.fromkeys(map(self.stored_as, names), type_of(value))

    def declared(self, annotation, otherwise):
        """The type that an annotation names, in a text too: nobody evaluates those of attributes when it is run."""
        name = getattr(annotation, "id", getattr(annotation, "value", None))
        found = evaluated(self.kind, name) if isinstance(name, str) else typing.Any
        return otherwise if found is typing.Any else found

    def set_by_each(self, *ways):
        """What all of these set. One that raises makes no instance."""
        found = [self.set_by_all(way) for way in ways if not way or not isinstance(way[-1], ast.Raise)]
        return {name: one for name, one in found[0].items() if all(name in way for way in found)} if found else {}

    def set_by_call(self, call):
        if getattr(call.func, "attr", getattr(call.func, "id", "")) in ("setattr", "__setattr__"):
            is_told = len(call.args) > 1 and self.is_owner(call.args[0]) and isinstance(call.args[1], ast.Constant)
            return {call.args[1].value: typing.Any} if is_told else {}
        if isinstance(call.func, ast.Attribute) and self.is_owner(call.func.value):
            method = inspect.getattr_static(self.kind, call.func.attr, None)
            return set_by(method, self.kind, self.callers) if isinstance(method, types.FunctionType) else {}
        return {}

    def is_owner(self, node):
        return isinstance(node, ast.Name) and node.id == self.owner

    def stored_as(self, name):
        is_private = name.startswith("__") and not name.endswith("__")
        return "_%s%s" % (self.defined_in.lstrip("_"), name) if is_private else name


def parts_of_target(target):
    return target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]


def type_of(value):
    key = value.func.id if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) else type(value)
    return CONTAINERS.get(key, typing.Any)
