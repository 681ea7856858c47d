"""`hwe warm`: environments before they are needed. For deploy hooks, container builds and cron."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from envs import capture
from runner.cli import ANSWER_IS_NO, ended_by_sigterm, render, set_up_logging
from runner.cli.installation import Installation, opened
from runner.cli.progress import Reporter, reporter
from runner.settings import load_settings
from runner.supervisor import Supervisor
from runner.warming import Warmed, Warmer, functions_of

# A build is at times the disk's, the network's or the processor's: one for each core keeps all of them busy.
DEFAULT_JOBS = os.cpu_count() or 1

# Of an installer's log: uv says what is wrong in fewer, after naming what it has resolved.
LOG_LINES = 20


def warm_command(
    versions: Annotated[
        list[str] | None, typer.Argument(metavar="[HASH]...", help="Code versions, 8 digits or more of each.")
    ] = None,
    project: Annotated[
        Path | None,
        typer.Option(
            "--project",
            help="Store this code and build it. Default, when nothing else is asked for: the current directory.",
        ),
    ] = None,
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=1, help="Build so many at once.")] = DEFAULT_JOBS,
    *,
    active: Annotated[bool, typer.Option("--active", help="All versions that unfinished runs started on.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="All versions in the artifact store.")] = False,
    zygotes: Annotated[
        bool, typer.Option("--zygotes", help="Also start each version once and import what its steps will.")
    ] = False,
    as_json: render.JsonOption = False,
) -> None:
    """Build environments before anybody waits for them.

    One that cannot be built is told at the end, and the others are built all the same. Exit code 1: some could not.
    """
    set_up_logging(verbose=False)
    if project is None and not (versions or active or everything):
        project = Path()
    with ended_by_sigterm(), opened(load_settings(project or Path(), captures=project is not None)) as installation:
        wanted = _wanted(installation, versions or [], project, active=active, everything=everything)
        warmed = _warm(installation, wanted, jobs, zygotes=zygotes)
    order = {name: number for number, name in enumerate(wanted)}
    warmed.sort(key=lambda one: order[one.code_version_hash])
    failed = [one for one in warmed if one.status == "failed"]
    if as_json:
        render.print_json(_document(warmed))
    else:
        _print(warmed, failed)
    if failed:
        sys.stdout.flush()
        raise typer.Exit(ANSWER_IS_NO)


def _wanted(
    installation: Installation, versions: list[str], project: Path | None, *, active: bool, everything: bool
) -> list[str]:
    """The hashes asked for, each once, those that runs wait for first."""
    found: dict[str, None] = {}
    if active:
        found.update(dict.fromkeys(one.code_version_hash for one in installation.ledger.census()))
    for given in versions:
        # A whole hash need not be in the store: its environment may be there all the same.
        found[given.lower() if len(given) == 64 else installation.full_hash(given)] = None
    if project is not None:
        version = capture(project)
        installation.keep(version)
        found[version.hash] = None
    if everything:
        found.update(dict.fromkeys(sorted(installation.store.list())))
    return list(found)


def _warm(installation: Installation, wanted: list[str], jobs: int, *, zygotes: bool) -> list[Warmed]:
    with contextlib.ExitStack() as always_cleanup:
        told = always_cleanup.enter_context(reporter())
        warmer = Warmer(str(installation.settings.cache), installation.store, told.building)
        supervisor, functions = None, None
        if zygotes:
            level = installation.settings.sandbox
            supervisor = always_cleanup.enter_context(Supervisor(warmer.cache, level, slots=1))
            functions = functions_of(installation.ledger, installation.ledger.census())
        warmed: list[Warmed] = []
        warming = warmer.warm(wanted, jobs=jobs, supervisor=supervisor, functions=functions)
        for one in always_cleanup.enter_context(contextlib.closing(warming)):
            warmed.append(one)
            _report(told, one, len(warmed), wanted)
        return warmed


def _report(told: Reporter, one: Warmed, number: int, wanted: Collection[str]) -> None:
    detail = f"{one.status} in {one.seconds:.2f} s" if one.status != "failed" else f"failed: {one.error}"
    told.say(f"{number}/{len(wanted)} environment {one.code_version_hash[:12]} {detail}")


def _document(warmed: list[Warmed]) -> dict[str, Any]:
    statuses = [one.status for one in warmed]
    return {
        "built": statuses.count("built"),
        "ready": statuses.count("ready"),
        "failed": statuses.count("failed"),
        "versions": [asdict(one) for one in warmed],
    }


def _print(warmed: list[Warmed], failed: list[Warmed]) -> None:
    if failed:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for column in ("code version", "failed in", "why"):
            table.add_column(column, overflow="fold")
        for one in failed:
            table.add_row(one.code_version_hash[:12], one.failed_in or "", escape(one.error or ""))
        Console(file=sys.stdout, width=None if sys.stdout.isatty() else 10_000, highlight=False).print(table)
        for path in dict.fromkeys(one.log_path for one in failed if one.log_path):
            _print_log(path)
    statuses = [one.status for one in warmed]
    print(f"{statuses.count('built')} built, {statuses.count('ready')} were ready, {len(failed)} failed")


def _print_log(path: str) -> None:
    with contextlib.suppress(OSError):
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
        print(f"\n{path}" + (f", its last {LOG_LINES} lines" if len(lines) > LOG_LINES else ""))
        for line in lines[-LOG_LINES:]:
            print(f"    {line}")
        print()
