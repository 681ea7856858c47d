"""`pylock.toml`, the lock format of PEP 751: which of them fix every file that will be installed."""

import os
import re
import tomllib
from collections.abc import Collection, Iterator
from typing import Any

from envs.uv_lock import INSTEAD

_NAME = re.compile(r"pylock(\.[^.]+)?\.toml")
_MEMBERSHIP = re.compile(
    r"""(?P<quote>["'])(?P<name>[\w.-]+)(?P=quote)\s+(?P<is_not>not\s+)?in\s+(?P<kind>extras|dependency_groups)\b"""
)
_HEX_DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}


def is_pylock(path: str) -> bool:
    """By its name, which the format prescribes."""
    return _NAME.fullmatch(os.path.basename(path)) is not None


def check_pylock(text: str) -> tuple[int, str | None]:
    """How many packages it names, and why it cannot be a lock, as the rest of a sentence; None when it can."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        return 0, f"is not TOML ({error})"
    version = document.get("lock-version")
    if not (isinstance(version, str) and version.split(".")[0] == "1"):
        return 0, f"has the lock-version {version!r}, and 1.0 is what this release reads"
    packages = document.get("packages", [])
    if not (isinstance(packages, list) and all(isinstance(package, dict) for package in packages)):
        return 0, "has no list of packages"
    return len(packages), next((problem for package in packages if (problem := _problem(package))), None)


def pylock_pins(text: str) -> list[tuple[str, str]]:
    """Name and version of every package, or where it is from; [] for what is no such lock."""
    if check_pylock(text)[1]:
        return []
    packages = tomllib.loads(text).get("packages", [])
    return [(package["name"], str(package.get("version") or next(_files(package))["url"])) for package in packages]


def pylock_requirements(text: str) -> str:
    """One that `check_pylock` finds nothing wrong with, as requirements with hashes."""
    lines = []
    document = tomllib.loads(text)
    groups = set(document.get("default-groups", ()))
    for package in document.get("packages", []):
        files = list(_files(package))
        by_url = "archive" in package or "version" not in package
        pin = f" @ {files[0]['url']}" if by_url else f"=={package['version']}"
        marker = f" ; {_without_groups(package['marker'], groups)}" if "marker" in package else ""
        hashes = {f"{name}:{file['hashes'][name]}" for file in files for name in _HEX_DIGITS if name in file["hashes"]}
        lines.append(f"{package['name']}{pin}{marker} " + " ".join(f"--hash={value}" for value in sorted(hashes)))
    return "\n".join(lines) + "\n"


def _without_groups(marker: str, groups: Collection[str]) -> str:
    """A marker as requirements can have it: they know neither extras, of which none is wanted, nor groups."""

    def settled(found: re.Match[str]) -> str:
        is_wanted = found["kind"] == "dependency_groups" and found["name"] in groups
        return 'python_version >= "0"' if is_wanted != bool(found["is_not"]) else 'python_version < "0"'

    return _MEMBERSHIP.sub(settled, marker)


def _problem(package: dict[str, Any]) -> str | None:
    name = package.get("name")
    if not isinstance(name, str):
        return "has a package without a name"
    if isinstance(directory := package.get("directory"), dict) and directory.get("path") in (".", "./"):
        return f"lists {name}, the project itself, which no hash fixes: leave it out (uv export --no-emit-project)"
    for source in ("vcs", "directory"):
        if source in package:
            return f"takes {name} from a {source}, which no hash fixes: {INSTEAD}"
    files = list(_files(package))
    if not files:
        return f"names no file of {name}"
    for file in files:
        if not isinstance(file, dict):
            return f"has an entry of {name} that is not a table"
        if "url" not in file:
            return f"takes {name} from {file.get('path') or 'nowhere'!r}, which is outside the lock: {INSTEAD}"
        if not _is_hashed(file.get("hashes")):
            return f"has a file of {name} without a SHA-256, SHA-384 or SHA-512"
    return None


def _files(package: dict[str, Any]) -> Iterator[Any]:
    for key in ("sdist", "archive"):
        if key in package:
            yield package[key]
    wheels = package.get("wheels", [])
    yield from wheels if isinstance(wheels, list) else [wheels]


def _is_hashed(hashes: Any) -> bool:
    return isinstance(hashes, dict) and any(
        isinstance(digest := hashes.get(algorithm), str) and re.fullmatch(rf"[0-9a-f]{{{digits}}}", digest)
        for algorithm, digits in _HEX_DIGITS.items()
    )
