"""`hwe export`: a run in one file, to be replayed anywhere."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated

import typer

from envs import ArtifactStore, store_wheels
from runner.bundling import check_redactions, write_bundle
from runner.cli import render
from runner.cli.installation import opened
from runner.cli.progress import reporter
from runner.errors import UsageError
from runner.settings import load_settings

HERE = Path()


def export_command(
    run_id: Annotated[str, typer.Argument(metavar="RUN")],
    target: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write the bundle; must not exist.")],
    *,
    redact: Annotated[
        list[str] | None,
        typer.Option(
            "--redact",
            metavar="PATH",
            help="Leave out input.card.number, variables.NAME, or steps.KEY with all that came of it; repeatable.",
        ),
    ] = None,
    wheels: Annotated[
        bool,
        typer.Option("--wheels", help="With the wheels of its locks for this system, fetched if need be."),
    ] = False,
    as_json: render.JsonOption = False,
) -> None:
    """Write RUN, its recorded values and its code into one FILE, for `hwe replay FILE` on any machine.

    Neither a database nor a store is needed there, and with --wheels no package index. The same run gives the same
    bytes.
    """
    if target.exists():
        raise UsageError(f"{target} is there already: choose another name, or remove it")
    with opened(load_settings(HERE)) as installation:
        ledger = installation.ledger
        run = ledger.run(run_id)
        steps = ledger.steps(run.run_id)
        variables = ledger.contexts.all_variables(run.run_id)
        redaction = check_redactions(redact or [], run, steps, [name for name, _, _ in variables])
        if wheels:
            _fetch_wheels(installation.store, {run.code_version_hash, *(step.code_version_hash for step in steps)})
        with _whole(target) as descriptor, open(descriptor, "w+b", closefd=False) as file:
            write_bundle(
                file,
                run,
                steps,
                variables=variables,
                parts=ledger.contexts.all_substeps(run.run_id),
                payload=installation.values.payload,
                store=installation.store,
                redaction=redaction,
                wheels=wheels,
            )
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.seek(0, os.SEEK_END)
    if as_json:
        told = {"run_id": run.run_id, "file": str(target), "bytes": size, "sha256": digest}
        render.print_json({**told, "redacted": redaction.paths})
    else:
        print(f"{target}: run {run.run_id}, {size} bytes, sha256 {digest}")


def _fetch_wheels(store: ArtifactStore, hashes: Collection[str | None]) -> None:
    with reporter() as told:
        for code_version_hash in sorted(filter(None, hashes)):
            store_wheels(store, code_version_hash, on_progress=lambda line: told.say(f"wheels: {line}"))


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[int]:
    """The descriptor of a file that gets its name when it is complete, and not at all otherwise."""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}") from error
    try:
        yield descriptor
        os.fsync(descriptor)
        os.link(temporary, target)  # fails if somebody was faster
    except FileExistsError:
        raise UsageError(f"{target} is there already: choose another name, or remove it") from None
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}") from error
    finally:
        os.close(descriptor)
        os.unlink(temporary)
