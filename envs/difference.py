"""What differs between two code versions: pure, from their manifests and, where they are at hand, their locks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from envs.manifest import Manifest
from envs.pylock import pylock_pins
from envs.uv_lock import uv_lock_pins

# How many are named in a line; the rest is a number.
FILES_NAMED = 3
REQUIREMENTS_NAMED = 2

# The beginning of a line of requirements that pins something; `read_lock` has seen to that all of them do.
_PIN = re.compile(r"\s*(?P<name>\w[\w.-]*)\s*(?:\[[^]]*\]\s*)?(?:===?|@)\s*(?P<version>[^\s;\\]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Difference:
    """From an older version to a newer one: sorted paths, and requirements as "six 1.16.0 → 1.17.0".

    requirements: None when the locks differ and their texts were not at hand. python: what each needs, when that
    differs.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    requirements: tuple[str, ...] | None = ()
    python: tuple[str | None, str | None] | None = None

    def summary(self) -> str:
        """One line: three files, two requirements, and how many more."""
        files = [
            *(f"{path} changed" for path in self.changed),
            *(f"{path} added" for path in self.added),
            *(f"{path} removed" for path in self.removed),
        ]
        parts = [_first(files, FILES_NAMED)] if files else []
        if self.requirements is None:
            parts.append("other requirements")
        elif self.requirements:
            parts.append(_first(self.requirements, REQUIREMENTS_NAMED))
        if self.python:
            old, new = (version or "any" for version in self.python)
            parts.append(f"Python {old} → {new}")
        return "; ".join(parts) or "nothing"


@dataclass(frozen=True, slots=True)
class FileChange:
    """One path that is not the same. `kind` "mode": the content is the same, the execute bit is not.

    old_bytes, new_bytes: its sizes, None where it is not there.
    """

    path: str
    kind: Literal["added", "removed", "changed", "mode"]
    old_bytes: int | None
    new_bytes: int | None


@dataclass(frozen=True, slots=True)
class RequirementChange:
    """One package of which the locks name other versions; None: that lock does not name it."""

    name: str
    old: str | None
    new: str | None

    def __str__(self) -> str:
        if self.old is None:
            return f"{self.name} {self.new} added"
        return f"{self.name} removed" if self.new is None else f"{self.name} {self.old} → {self.new}"


def file_changes(old: Manifest, new: Manifest) -> list[FileChange]:
    """Every path that differs, in the order of paths."""
    before = {file.path: file for file in old.files}
    after = {file.path: file for file in new.files}
    changes = []
    for path in sorted(before.keys() | after.keys()):
        was, now = before.get(path), after.get(path)
        if was == now:
            continue
        if was is None or now is None:
            kind: Literal["added", "removed", "changed", "mode"] = "added" if was is None else "removed"
        else:
            kind = "mode" if was.sha256 == now.sha256 else "changed"
        changes.append(FileChange(path, kind, was.size if was else None, now.size if now else None))
    return changes


def requirement_changes(old_lock: str, new_lock: str) -> list[RequirementChange]:
    """The packages whose pins differ between two texts of locks, by name."""
    before, after = _pins(old_lock), _pins(new_lock)
    names = sorted(before.keys() | after.keys())
    return [
        RequirementChange(name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    ]


def difference(old: Manifest, new: Manifest, *, old_lock: str | None = None, new_lock: str | None = None) -> Difference:
    """`old_lock`, `new_lock`: the texts of the locks, wanted only when the digests differ."""
    before = {file.path: (file.sha256, file.executable) for file in old.files}
    after = {file.path: (file.sha256, file.executable) for file in new.files}
    return Difference(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(sorted(path for path in before.keys() & after.keys() if before[path] != after[path])),
        requirements=_requirements(old, new, old_lock, new_lock),
        python=None if old.python == new.python else (old.python, new.python),
    )


def _requirements(old: Manifest, new: Manifest, old_lock: str | None, new_lock: str | None) -> tuple[str, ...] | None:
    if (old.lock and old.lock.sha256) == (new.lock and new.lock.sha256):
        return ()
    if (old.lock and old_lock is None) or (new.lock and new_lock is None):
        return None
    return tuple(str(change) for change in requirement_changes(old_lock or "", new_lock or ""))


def _pins(lock: str) -> dict[str, str]:
    """Name → version, or URL, of everything that a lock of any format names; several, when markers choose one."""
    from packaging.utils import canonicalize_name

    lines = filter(None, map(_PIN.match, lock.splitlines()))
    pairs = pylock_pins(lock) or uv_lock_pins(lock) or [(line["name"], line["version"]) for line in lines]
    pins: dict[str, set[str]] = {}
    for name, version in pairs:
        pins.setdefault(canonicalize_name(name), set()).add(version)
    return {name: " or ".join(sorted(versions)) for name, versions in pins.items()}


def _first(items: Sequence[str], limit: int) -> str:
    more = len(items) - limit
    return ", ".join(items[:limit]) + (f" and {more} more" if more > 0 else "")
