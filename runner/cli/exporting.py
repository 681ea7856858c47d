"""`hwe export`: a run in one file, to be replayed anywhere."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Collection, Iterator
from io import BufferedRandom
from pathlib import Path
from typing import Annotated

import typer

from envs import ArtifactStore, store_wheels
from runner.bundle import Bundle
from runner.bundling import check_redactions, write_bundle
from runner.cli import complain, ended_by_sigterm, render
from runner.cli.installation import opened
from runner.cli.progress import reporter
from runner.errors import UsageError
from runner.leftovers import leftovers, redacted_values
from runner.settings import load_settings
from runner.traces import Traces

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
    if os.path.lexists(target):
        raise UsageError(f"{target} is there already: choose another name, or remove it")
    with ended_by_sigterm(), opened(load_settings(HERE)) as installation:
        recorded = installation.ledger.recorded(run_id)
        run, payload = recorded.run, installation.values.payload
        redaction = check_redactions(redact or [], recorded)
        if wheels:
            hashes = {run.code_version_hash, *(step.code_version_hash for step in recorded.steps)}
            _fetch_wheels(installation.store, hashes)
        with _whole(target) as (file, temporary):
            write_bundle(file, recorded, payload=payload, store=installation.store, redaction=redaction, wheels=wheels)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.seek(0, os.SEEK_END)
            still_in = _leftovers(temporary, redacted_values(recorded, redaction, payload)) if redact else []
    if as_json:
        told = {"run_id": run.run_id, "file": str(target), "bytes": size, "sha256": digest}
        render.print_json({**told, "redacted": redaction.paths, "still_in": still_in})
    else:
        print(f"{target}: run {run.run_id}, {size} bytes, sha256 {digest}")


def _leftovers(path: Path, traces: Traces) -> list[str]:
    """Where what was redacted still is, having warned of it."""
    if forgotten := traces.limit():
        complain(f"of what was redacted the {forgotten} shortest texts and numbers were not looked for in the rest")
    with Bundle(path) as bundle:
        still_in = leftovers(bundle, traces)
    if still_in:
        complain(
            f"what was redacted, or some of it, is still in {', '.join(still_in)}: other steps were given it or made "
            "it anew; look there, and redact those too"
        )
    return still_in


def _fetch_wheels(store: ArtifactStore, hashes: Collection[str | None]) -> None:
    with reporter() as told:
        for code_version_hash in sorted(filter(None, hashes)):
            store_wheels(store, code_version_hash, on_progress=lambda line: told.say(f"wheels: {line}"))


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[tuple[BufferedRandom, Path]]:
    """A file, open, and where it is until it gets its name: when it is complete, and not at all otherwise."""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:50]}.")
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}") from error
    try:
        with open(descriptor, "w+b") as file:
            yield file, Path(temporary)
            file.flush()
            os.fsync(descriptor)
            os.link(temporary, target)  # fails if somebody was faster
    except FileExistsError:
        raise UsageError(f"{target} is there already: choose another name, or remove it") from None
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}") from error
    finally:
        os.unlink(temporary)
