"""Whether a change can reach the functions of a workflow: pure, from two lists of files and the source text of modules.

It reads imports as they are written and never imports anything, since that would run the user's code. What cannot be
seen that way is "unknown", never "unchanged": it informs people, and loosens no mode.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from envs import Difference
from runner.request import module_of

# Whoever calls one of these can import what no import statement names.
_DYNAMIC = frozenset(
    {
        *("__import__", "import_module", "exec", "eval", "exec_module", "load_module", "run_module", "run_path"),
        *("walk_packages", "iter_modules", "entry_points", "find_spec", "resolve_name", "locate"),
    }
)

_NAMED = 3

# Where modules may begin; a project's src/ folder is on the child's path too.
_ROOTS = ("", "src/")


@dataclass(frozen=True)
class Relevance:
    """`verdict`: whether what the functions import "changed"; `reason`: in words, why."""

    verdict: Literal["changed", "unchanged", "unknown"]
    reason: str


@dataclass
class Release:
    """The paths of a version's files, and how to read one of them."""

    paths: Collection[str]
    read: Callable[[str], bytes]


@dataclass
class _Reach:
    files: set[str] = field(default_factory=set)
    doubts: list[str] = field(default_factory=list)


def relevance(functions: Iterable[str], found: Difference, old: Release, new: Release) -> Relevance:
    """What `found`, the difference from `old` to `new`, means for `functions`."""
    wanted = sorted({module_of(function) for function in functions})
    before, after = _reach(wanted, old), _reach(wanted, new)
    touched = {*found.changed, *found.added, *found.removed}
    if hit := sorted(touched & (before.files | after.files)):
        more = f" and {len(hit) - _NAMED} more" if len(hit) > _NAMED else ""
        return Relevance("changed", "they import " + ", ".join(hit[:_NAMED]) + more)
    if found.python or found.requirements is None or found.requirements:
        return Relevance("unknown", "the requirements or the Python differ")
    if data := sorted(path for path in touched if not path.endswith(".py")):
        return Relevance("unknown", f"files that are no modules differ: {', '.join(data[:_NAMED])}")
    if doubts := before.doubts + after.doubts:
        return Relevance("unknown", doubts[0])
    return Relevance("unchanged", f"none of the {len(after.files)} modules that they import differs")


def _reach(modules: list[str], release: Release) -> _Reach:
    """Every file that importing `modules` can execute."""
    reach = _Reach()
    for module in modules:
        if not _is_there(module, release):
            reach.doubts.append(f"there is no module {module} among the files")
    todo = list(modules)
    seen: set[str] = set()
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        for path in _files(module, release):
            if path not in reach.files:
                reach.files.add(path)
                todo.extend(_imports(path, release, reach.doubts))
    return reach


def _is_there(module: str, release: Release) -> bool:
    folder = module.replace(".", "/")
    return any(f"{root}{folder}{end}" in release.paths for root in _ROOTS for end in (".py", "/__init__.py"))


def _files(module: str, release: Release) -> Iterator[str]:
    """The module's own file, and those of the packages above it, which are executed first."""
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        folder = "/".join(parts[:end])
        for path in (f"{root}{folder}{ending}" for root in _ROOTS for ending in ("/__init__.py", ".py")):
            if path in release.paths:
                yield path


def _imports(path: str, release: Release, doubts: list[str]) -> Iterator[str]:
    try:
        tree = ast.parse(release.read(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        doubts.append(f"{path} cannot be parsed here")
        return
    package = path.rpartition("/")[0].removeprefix("src/")
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                above = package.split("/")[: len(package.split("/")) - level + 1] if level and package else []
                base = ".".join([*above, *([module] if module else [])])
                yield base
                for alias in names:
                    if alias.name == "*":
                        yield from _submodules(base, release)
                    else:
                        yield f"{base}.{alias.name}"
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in _DYNAMIC:
                doubts.append(f"{path} may import what it does not name ({name})")


def _submodules(package: str, release: Release) -> Iterator[str]:
    """What `from package import *` may name in `__all__`."""
    folder = package.replace(".", "/") + "/"
    for path in (path.removeprefix("src/") for path in release.paths):
        if path.startswith(folder) and path.endswith(".py"):
            yield path.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")
