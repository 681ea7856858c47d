"""`uv.lock`, the lock of a whole project as uv keeps it: which of them fix every file, and what they install.

Installed is what the project itself depends on: no group of dependencies (`dev` and the like), no extras.
"""

import errno
import os
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from envs.child_processes import ended_from_outside

if TYPE_CHECKING:
    from packaging.requirements import Requirement

UV_LOCK = "uv.lock"

# What to do about a requirement that is code somewhere else.
INSTEAD = "copy its code into the project, or take it from an index"

_HASH = re.compile(r"(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})")
_UNFIXED = {
    "git": "git",
    "directory": "a directory",
    "editable": "a directory",
    "virtual": "a directory",
}


class UvLockInvalid(ValueError):
    """The rest of a sentence that begins with the lock's name."""


def is_uv_lock(path: str) -> bool:
    """By its name: uv knows no other."""
    return os.path.basename(path) == UV_LOCK


def check_uv_lock(text: str) -> tuple[int, str | None]:
    """How many packages the project needs, and why it cannot be a lock, as the rest of a sentence; None when it can."""
    try:
        root, packages = _parsed(text)
        needed = list(_needed(root, packages))
    except UvLockInvalid as error:
        return 0, str(error)
    return len(needed), next((problem for package in needed if (problem := _problem(package))), None)


def uv_lock_pins(text: str) -> list[tuple[str, str]]:
    """Name and version of every package that the project needs; [] for what is no such lock."""
    try:
        return [(package["name"], str(package.get("version", ""))) for package in _needed(*_parsed(text))]
    except UvLockInvalid:
        return []


def missing_in_uv_lock(text: str, pyproject: dict[str, Any]) -> list[str]:
    """What pyproject.toml depends on and the lock, made before that, has never heard of, or in other versions."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    project = pyproject.get("project")
    declared = project.get("dependencies") if isinstance(project, dict) else None
    try:
        root, packages = _parsed(text)
        wanted = [Requirement(str(line)) for line in declared or ()]
    except (UvLockInvalid, InvalidRequirement, TypeError):
        return []
    # One with a marker that holds nowhere is not among the packages, and one that is not reached no longer counts.
    metadata = root.get("metadata")
    listed = (
        _dependencies({"dependencies": metadata.get("requires-dist", [])}, "") if isinstance(metadata, dict) else []
    )
    reached = {package["name"] for package in _needed(root, packages)}
    missing: set[str] = set()
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        known = [edge for edge in listed if edge["name"] == name]
        if not known and name not in reached:
            missing.add(name)
        elif known and not any(_asks_for(edge, requirement) for edge in known):
            missing.add(f"{name}{requirement.specifier}")
    return sorted(missing)


def _asks_for(edge: dict[str, Any], requirement: "Requirement") -> bool:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if edge.keys() & {"url", "path", *_UNFIXED}:  # [tool.uv.sources] says which, whatever the requirement does
        return True
    try:
        return SpecifierSet(str(edge.get("specifier", ""))) == requirement.specifier
    except InvalidSpecifier:
        return True


def export_uv_lock(text: str, uv: str, python: str, *, as_pylock: bool = False) -> str:
    """The lock as requirements with hashes and markers, or as a pylock.toml, for every machine that it was made for, of
    which this has to be one. `uv`: the program. `python`: the version that they are for.

    It is asked beside a project made up for it, so that nothing but the lock has a say. Raises OSError,
    UvLockInvalid with what uv said.
    """
    root, _ = _parsed(text)
    document = tomllib.loads(text)
    wanted = document.get("requires-python")
    _refuse_elsewhere(wanted, document.get("supported-markers"), python)
    lines = ["[project]", f"name = {_quoted(root['name'])}", 'version = "0"']
    if isinstance(wanted, str):
        lines.append(f"requires-python = {_quoted(wanted)}")
    with tempfile.TemporaryDirectory(prefix="hwe-lock-") as folder:
        for name, content in {"pyproject.toml": "\n".join(lines) + "\n", UV_LOCK: text, "uv.toml": ""}.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8", newline="\n") as file:
                file.write(content)
        command = [uv, "export", "--frozen", "--no-default-groups", "--no-emit-project", "--no-header", "--no-annotate"]
        if as_pylock:
            command += ["--format", "pylock.toml"]
        keep = {key: value for key, value in os.environ.items() if not key.startswith(("UV_", "VIRTUAL_ENV"))}
        environ = keep | {"UV_OFFLINE": "1", "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}
        done = subprocess.run(
            command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    if problem := ended_from_outside(done.returncode):
        raise ChildProcessError(errno.ECHILD, f"uv {problem}", uv)
    if done.returncode:
        raise UvLockInvalid("cannot be read by uv: " + " ".join(done.stderr.split())[-300:])
    return done.stdout


def _refuse_elsewhere(wanted: Any, markers: Any, python: str) -> None:
    """What other machines need is left out by uv: on those, too little would be installed. Raises UvLockInvalid."""
    from packaging.markers import InvalidMarker, Marker
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        if isinstance(wanted, str) and not SpecifierSet(wanted).contains(python, prereleases=True):
            raise UvLockInvalid(f"is for Python {wanted}, and this is {python}: see to [tool.hwe] python")
        here = {"python_full_version": python, "python_version": ".".join(python.split(".")[:2])}
        if isinstance(markers, list) and not any(Marker(str(marker)).evaluate(here) for marker in markers):
            raise UvLockInvalid(f"is for {' or '.join(map(str, markers))} alone: see to [tool.uv] environments")
    except (InvalidSpecifier, InvalidMarker) as error:
        raise UvLockInvalid(f"cannot be read: {error}") from None


def _parsed(text: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The project's own entry, and all."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UvLockInvalid(f"is not TOML ({error})") from None
    if document.get("version") != 1:
        raise UvLockInvalid(f"has the version {document.get('version')!r}, and 1 is what this release reads")
    packages = document.get("package", [])
    if not (isinstance(packages, list) and all(_is_package(package) for package in packages)):
        raise UvLockInvalid("has no list of packages with names and sources")
    for package in packages:
        if "." in (package["source"].get("virtual"), package["source"].get("editable")):
            return package, packages
    raise UvLockInvalid("does not say what the project itself needs: it was made elsewhere; run `uv lock` beside it")


def _is_package(package: Any) -> bool:
    return (
        isinstance(package, dict) and isinstance(package.get("name"), str) and isinstance(package.get("source"), dict)
    )


def _needed(root: dict[str, Any], packages: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Everything that is reached from the project's own dependencies, on whatever machine; each once."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for package in packages:
        by_name.setdefault(package["name"], []).append(package)
    todo = [(root, "")]  # packages, each with one of its extras or none
    seen = set()
    while todo:
        package, extra = todo.pop()
        key = (package["name"], package.get("version"), extra)
        if key in seen:
            continue
        seen.add(key)
        if package is not root and not extra:
            yield package
        for edge in _dependencies(package, extra):
            for other in by_name.get(edge["name"], []):
                if edge.get("version") in (None, other.get("version")):
                    todo += [(other, name) for name in ("", *edge.get("extra", ()))]


def _dependencies(package: dict[str, Any], extra: str) -> list[dict[str, Any]]:
    try:
        found = package["optional-dependencies"][extra] if extra else package["dependencies"]
    except (KeyError, TypeError):
        return []
    return [edge for edge in found if isinstance(edge, dict) and isinstance(edge.get("name"), str)]


def _problem(package: dict[str, Any]) -> str | None:
    name, source = package["name"], package["source"]
    if unfixed := next((key for key in _UNFIXED if key in source), None):
        return f"takes {name} from {_UNFIXED[unfixed]}, which no hash fixes: {INSTEAD}"
    if "path" in source:
        return f"takes {name} from the file {source['path']}, which is outside the lock: {INSTEAD}"
    if "registry" in source and "://" not in str(source["registry"]):
        return f"takes {name} from {source['registry']}, which is outside the lock"
    wheels = package.get("wheels", [])
    files = [*(wheels if isinstance(wheels, list) else [wheels]), *([package["sdist"]] if "sdist" in package else [])]
    if not files:
        return f"names no file of {name}"
    for file in files:
        if not (isinstance(file, dict) and isinstance(file.get("hash"), str) and _HASH.fullmatch(file["hash"])):
            return f"has a file of {name} without a SHA-256, SHA-384 or SHA-512"
    return None


def _quoted(text: str) -> str:
    """As a TOML string; names and versions hold nothing that would need more."""
    if re.fullmatch(r"[\w .,<>=!~*+-]*", text) is None:
        raise UvLockInvalid(f"has the strange name or version {text!a}")
    return f'"{text}"'
