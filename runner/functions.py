"""Whether the functions that a workflow names exist in a project, read from its source without importing it.

Only a clear no is an error: a module that builds its names at run time, or lives in a dependency, is left to
the step itself to find.
"""

from __future__ import annotations

import ast
import difflib
import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import PurePosixPath

from runner.errors import UsageError


class FunctionNotInProject(UsageError):
    """A workflow names a function that the project does not have. `near` lists names that come close."""

    def __init__(self, function: str, reason: str, near: list[str]) -> None:
        self.function = function
        self.near = near
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        super().__init__(f"function {function!r}: {reason}{hint}")


_SUFFIXES = {".py", ".so", ".pyd"}


def check_functions(
    functions: Iterable[str], files: Collection[str], read: Callable[[str], bytes], *, has_lock: bool
) -> None:
    """Raise `FunctionNotInProject` for the first function that cannot be there.

    `files` are the project's paths (POSIX, relative), `read` gives the bytes of one. `has_lock` tells whether
    a module that is not in the project may come from a dependency.
    """
    modules = _modules(files)
    for function in functions:
        module, separator, attributes = function.partition(":")
        if not separator:
            module, _, attributes = function.rpartition(".")
        if not module or not attributes:
            raise FunctionNotInProject(function, "write package.module.function", [])
        path = modules.get(module)
        if path is not None:
            if path.endswith(".py"):
                _check_name(function, attributes.split(".")[0], path, read(path), modules)
        elif not (module in modules or _comes_from_elsewhere(module, modules, has_lock=has_lock)):
            near = difflib.get_close_matches(module, modules, n=2)
            raise FunctionNotInProject(function, f"the project has no module {module!r}", near)


def _modules(files: Collection[str]) -> dict[str, str]:
    """Dotted module names and the files that define them, without a src/ folder in front."""
    found: dict[str, str] = {}
    for name in files:
        path = PurePosixPath(name)
        if path.suffix not in _SUFFIXES:
            continue
        parts = list(path.with_name(path.name.partition(".")[0]).parts)
        if parts[-1] == "__init__":
            parts.pop()
        if parts[:1] == ["src"] and "src/__init__.py" not in files:
            parts = parts[1:]
        if parts:
            found[".".join(parts)] = name
    return found


def _comes_from_elsewhere(module: str, modules: Collection[str], *, has_lock: bool) -> bool:
    top = module.partition(".")[0]
    if any(name == top or name.startswith(top + ".") for name in modules):
        return False
    return has_lock or top in sys.stdlib_module_names


def _check_name(function: str, name: str, path: str, source: bytes, modules: Collection[str]) -> None:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # perhaps of a newer Python than ours, or made by a program; the step will tell
    names = _names_bound(tree)
    if names is None or name in names or f"{function.rpartition('.')[0]}.{name}" in modules:
        return
    near = difflib.get_close_matches(name, names, n=2)
    raise FunctionNotInProject(function, f"{path} defines no {name!r}", near)


def _names_bound(tree: ast.Module) -> set[str] | None:
    """The names that a module binds at its top level, or None when they cannot be known from the source."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            return None
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif node.id in {"globals", "locals", "setattr", "exec", "vars"}:
                return None
        elif isinstance(node, ast.Attribute) and node.attr in {"__dict__", "modules"}:
            return None
    return None if "__getattr__" in names else names
