"""`hwe diff`: why two hashes are not the same."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from envs import (
    ArtifactStore,
    FileChange,
    Manifest,
    RequirementChange,
    capture,
    file_changes,
    read_stored_file,
    requirement_changes,
)
from envs import read_file as read_artifact_file
from runner.cli import ANSWER_IS_NO, render
from runner.cli.installation import Installation, opened
from runner.settings import load_settings

# What is looked into to tell line ends from content: each look reads through an artifact, and where so many files
# differ the answer is another one.
FILES_LOOKED_INTO = 50
LOOKED_INTO_BYTES = 1024**2

_SIGNS = {"added": "[green]+[/]", "removed": "[red]-[/]", "changed": "[yellow]~[/]", "mode": "[yellow]x[/]"}
_NOTES = {"mode": "execute bit", "line_ends": "line ends only"}


@dataclass(frozen=True)
class Side:
    """One of the two. `given`: what the user called it. `read`: the content of one of its files."""

    given: str
    manifest: Manifest
    read: Callable[[str], bytes]

    @property
    def lock_text(self) -> str:
        lock = self.manifest.lock
        return "" if lock is None else self.read(lock.path).decode("utf-8-sig", "replace")

    def document(self) -> dict[str, Any]:
        """What --json has of it."""
        return {
            "given": self.given,
            "code_version_hash": self.manifest.code_version_hash,
            "files": len(self.manifest.files),
            "bytes": self.manifest.size_bytes,
            "python": self.manifest.python,
            "lock": self.manifest.lock and self.manifest.lock.path,
        }


@dataclass(frozen=True)
class Findings:
    """`line_ends`: the changed files that would be the same with the same line ends."""

    files: list[FileChange]
    line_ends: list[str]
    requirements: list[RequirementChange]
    lock_differs: bool


def diff_command(
    old: Annotated[str, typer.Argument(metavar="HASH|PROJECT", help="A code version, or the directory of a project.")],
    new: Annotated[str, typer.Argument(metavar="HASH|PROJECT", help="What to compare it with.")],
    *,
    as_json: render.JsonOption = False,
) -> None:
    """Tell what differs between two code versions: files, locked requirements, Python.

    A project is taken as it is now, and nothing is stored. Hashes may be given by 8 digits or more. Exit code 1: they
    differ.
    """
    with opened(load_settings(Path())) as installation, contextlib.ExitStack() as open_files:
        before = open_files.enter_context(_side(installation, old))
        after = open_files.enter_context(_side(installation, new))
        found = _compare(before, after)
    differs = before.manifest.code_version_hash != after.manifest.code_version_hash
    if as_json:
        render.print_json(_document(before, after, found, same=not differs))
    else:
        _print(before, after, found, same=not differs)
    if differs:
        raise typer.Exit(ANSWER_IS_NO)


@contextlib.contextmanager
def _side(installation: Installation, given: str) -> Iterator[Side]:
    if Path(given).is_dir():
        version = capture(given)
        with version.open_artifact() as file:
            manifest = version.manifest
            yield Side(given, manifest, lambda path: read_artifact_file(file, manifest, path, version.artifact_id))
        return
    with stored_side(installation.store, installation.full_hash(given), given) as side:
        yield side


@contextlib.contextmanager
def stored_side(store: ArtifactStore, code_version_hash: str, given: str = "") -> Iterator[Side]:
    """A version out of a store, verified, for as long as its files are to be read. Raises what the store raises."""
    with store.get(code_version_hash) as stored:
        manifest = stored.verify()
        yield Side(given or code_version_hash, manifest, lambda path: read_stored_file(stored, manifest, path))


def _compare(before: Side, after: Side) -> Findings:
    old, new = before.manifest, after.manifest
    changes = file_changes(old, new)
    candidates = [
        change.path
        for change in changes
        if change.kind == "changed" and max(change.old_bytes or 0, change.new_bytes or 0) <= LOOKED_INTO_BYTES
    ][:FILES_LOOKED_INTO]
    lock_differs = (old.lock and old.lock.sha256) != (new.lock and new.lock.sha256)
    return Findings(
        files=changes,
        line_ends=[path for path in candidates if _plain(before.read(path)) == _plain(after.read(path))],
        requirements=requirement_changes(before.lock_text, after.lock_text) if lock_differs else [],
        lock_differs=lock_differs,
    )


def _plain(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n")


def _document(before: Side, after: Side, found: Findings, *, same: bool) -> dict[str, Any]:
    old, new = before.manifest, after.manifest
    return {
        "same": same,
        "old": before.document(),
        "new": after.document(),
        "files": [{**asdict(change), "line_ends_only": change.path in found.line_ends} for change in found.files],
        "requirements": [asdict(change) for change in found.requirements],
        "lock_differs": found.lock_differs,
        "python": None if old.python == new.python else {"old": old.python, "new": new.python},
    }


def _print(before: Side, after: Side, found: Findings, *, same: bool) -> None:
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 10_000, highlight=False)
    for side in (before, after):
        size = render.bytes_told(side.manifest.size_bytes)
        told = f"{side.manifest.code_version_hash[:12]}  {len(side.manifest.files)} files, {size}  {escape(side.given)}"
        console.print(told, soft_wrap=True)
    if same:
        console.print("the same")
        return
    if found.files:
        console.print("\nfiles", style="bold")
        table = Table.grid(padding=(0, 2))
        for change in found.files:
            note = _NOTES.get("line_ends" if change.path in found.line_ends else change.kind, "")
            table.add_row(f"  {_SIGNS[change.kind]} {escape(change.path)}", _sizes(change), note)
        console.print(table)
    if found.lock_differs:
        console.print("\nrequirements", style="bold")
        for requirement in found.requirements:
            console.print(f"  {requirement}", markup=False)
        if not found.requirements:
            console.print("  the same versions, but other hashes, options or comments in the lock")
    old, new = before.manifest, after.manifest
    if old.python != new.python:
        told = " → ".join(version or "any" for version in (old.python, new.python))
        console.print(f"\n[bold]Python[/] {told}")


def _sizes(change: FileChange) -> str:
    if change.old_bytes is None or change.new_bytes is None:
        return f"{change.old_bytes if change.new_bytes is None else change.new_bytes} bytes"
    if change.old_bytes == change.new_bytes:
        return f"{change.new_bytes} bytes, as before"
    return f"{change.old_bytes} → {change.new_bytes} bytes"
