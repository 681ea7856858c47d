"""`hwe capture`: the code of a project into the store."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from envs import WheelList, capture, store_wheels
from runner.cli import ended_by_sigterm, render
from runner.cli.installation import opened
from runner.cli.progress import reporter
from runner.settings import load_settings


def capture_command(
    project: Annotated[Path, typer.Argument(help="Directory of the code.")] = Path(),
    *,
    wheels: Annotated[
        bool, typer.Option("--wheels", help="Also store every wheel that the lock installs on this system and Python.")
    ] = False,
    as_json: render.JsonOption = False,
) -> None:
    """Store the code of PROJECT as it is now and print its code version hash.

    With --wheels its dependencies can be installed for ever, whatever becomes of the package index.
    """
    with ended_by_sigterm(), opened(load_settings(project, captures=True)) as installation:
        version = capture(project)
        installation.keep(version)
        document: dict[str, Any] = {
            "code_version_hash": version.hash,
            "artifact_id": version.artifact_id,
            "project": version.project,
            "python": version.manifest.python,
            "files": len(version.manifest.files),
            "bytes": sum(entry.size for entry in version.manifest.files),
        }
        if wheels:
            with reporter() as told:
                kept = store_wheels(
                    installation.store, version.hash, on_progress=lambda line: told.say(f"wheels: {line}")
                )
                told.say(_summary(kept))
            document["wheels"] = [asdict(wheel) for wheel in kept.wheels] if kept else []
    if as_json:
        render.print_json(document)
    else:
        print(version.hash)


def _summary(kept: WheelList | None) -> str:
    if kept is None:
        return "wheels: the project has no lock, so there are none to store"
    size = render.bytes_told(sum(wheel.size_bytes for wheel in kept.wheels))
    built = [wheel.file for wheel in kept.wheels if wheel.built]
    more = f"; built from source: {', '.join(built)}" if built else ""
    return f"wheels: {len(kept.wheels)} stored for {kept.target}, {size}{more}"
