"""`hwe copy-artifacts`: from one store to another, before a move or as a backup."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from envs import EnvsError, copy_version, copy_wheels, open_store
from runner.cli import COULD_NOT, complain, render


def copy_command(
    source: Annotated[str, typer.Argument(help="Address of the store to copy from.")],
    target: Annotated[str, typer.Argument(help="Address of the store to copy to.")],
    versions: Annotated[
        list[str] | None, typer.Option("--version", help="Only this code version; may be given many times.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Copy artifacts, with their wheels, from the store SOURCE to the store TARGET. What is there is left as it is.

    Each is verified before it is put. One that cannot be copied is told, the others are copied all the same, and the
    exit code is 3.
    """
    here, there = open_store(source), open_store(target)
    copied: list[str] = []
    skipped: list[str] = []
    failed: list[str] = []
    wheels: set[str] = set()
    for name in [here.resolve(version) for version in versions] if versions else sorted(here.list()):
        try:
            is_new = copy_version(name, here, there)
            wheels.update(wheel.sha256 for wheel in copy_wheels(name, here, there))
            (copied if is_new else skipped).append(name)
        except EnvsError as error:
            failed.append(name)
            complain(str(error))
    if as_json:
        render.print_json({"copied": copied, "skipped": skipped, "failed": failed, "wheels": len(wheels)})
    else:
        print(f"{len(copied)} copied from {here.location} to {there.location}, {len(skipped)} were there", end="")
        print(f"; {len(wheels)} wheels" if wheels else "", end="")
        print(f", {len(failed)} could not be copied" if failed else "")
    if failed:
        sys.stdout.flush()
        raise typer.Exit(COULD_NOT)
