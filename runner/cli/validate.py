"""`hwe validate-code-versions`: for CI, for cron, and for whoever is about to deploy."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from envs import CodeVersion, capture
from runner.cli import ANSWER_IS_NO, render
from runner.cli.installation import Installation, opened
from runner.divergence import relevance_of
from runner.relevance import Relevance
from runner.settings import load_settings
from runner.validation import Validation, VersionReport, validate

# Reading an artifact takes some ten milliseconds, and nobody reads more lines than this.
VERSIONS_LOOKED_INTO = 20
WORKFLOWS_LOOKED_INTO = 10

# Code version → (workflow name, what the change means for it).
Workflows = dict[str, list[tuple[str, Relevance]]]


class FailOn(StrEnum):
    """What makes the answer a no."""

    mismatch = "mismatch"
    missing = "missing"


def validate_command(
    project: Annotated[
        Path, typer.Option("--project", help="Compare with this code. Default: the current directory.")
    ] = Path(),
    fail_on: Annotated[
        list[FailOn] | None,
        typer.Option("--fail-on", help="Exit with 1 only for this; may be given twice. Default: both."),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Tell which code the unfinished runs need, and whether it is this project's and in the artifact store.

    Exits with 0 if every unfinished run matches the project and its artifact is stored, 1 if not, 3 if that cannot be
    told. Nothing is changed or stored.
    """
    with opened(load_settings(project, captures=True)) as installation:
        local = capture(project)
        cache = installation.cache(lambda _hash, _phase: None)
        began = time.perf_counter()
        validation = validate(installation.ledger, installation.store, local.hash, cache.is_ready)
        seconds = time.perf_counter() - began
        location = installation.store.location
        workflows = _relevance(installation, validation, local)
    found = {
        FailOn.mismatch: bool(validation.mismatched),
        FailOn.missing: bool(validation.missing),
    }
    is_no = any(found[what] for what in fail_on or FailOn)
    if as_json:
        render.print_json(
            {**_document(validation, workflows), "ok": not is_no, "store": location, "seconds": round(seconds, 6)}
        )
    else:
        _print(validation, workflows)
    if is_no:
        raise typer.Exit(ANSWER_IS_NO)


def _relevance(installation: Installation, validation: Validation, local: CodeVersion) -> Workflows:
    """For the mismatched versions with the oldest runs, what the change means for each of their workflows."""
    return {
        version.code_version_hash: [
            relevance_of(installation.ledger, installation.store, version.code_version_hash, local, definition)
            for definition in sorted(version.by_definition)[:WORKFLOWS_LOOKED_INTO]
        ]
        for version in validation.mismatched[:VERSIONS_LOOKED_INTO]
    }


def _document(validation: Validation, workflows: Workflows) -> dict[str, Any]:
    return {
        "code_version_hash": validation.local_hash,
        "unfinished_runs": sum(version.runs for version in validation.versions),
        "mismatched_runs": sum(version.runs for version in validation.mismatched),
        "missing_artifacts": len(validation.missing),
        "outcomes": validation.outcomes(),
        "versions": [
            {
                **_version(version, validation.local_hash),
                "workflows": [
                    {"workflow_name": name, "change": found.verdict, "reason": found.reason}
                    for name, found in workflows.get(version.code_version_hash, [])
                ],
            }
            for version in validation.versions
        ],
    }


def _version(version: VersionReport, local_hash: str | None) -> dict[str, Any]:
    return {
        "code_version_hash": version.code_version_hash,
        "runs": version.runs,
        "oldest_run_at": version.oldest.isoformat() if version.oldest else None,
        "policies": version.by_policy,
        "outcomes": version.outcomes(local_hash),
        "artifact_stored": version.artifact_stored,
        "environment_warm": version.environment_warm,
        "matches": version.matches,
    }


def _print(validation: Validation, workflows: Workflows) -> None:
    local = (validation.local_hash or "")[:12]
    if not validation.versions:
        print(f"no run is unfinished; this project is code version {local}")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("code version", "this project", "runs", "oldest", "artifact", "environment", "what happens"):
        table.add_column(column, justify="right" if column == "runs" else "left", overflow="fold")
    now = datetime.now(UTC)
    for version in validation.versions:
        table.add_row(
            version.code_version_hash[:12],
            "[green]matches[/]" if version.matches else "[yellow]differs[/]",
            str(version.runs),
            _age(now, version.oldest),
            "stored" if version.artifact_stored else "[red]MISSING[/]",
            "warm" if version.environment_warm else "cold",
            _told(version.outcomes(validation.local_hash), version),
        )
    # In a pipe a row is one line, however long.
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 10_000).print(table)
    for code_version_hash, found in workflows.items():
        for name, one in found:
            print(f"\n{code_version_hash[:12]} {name}: the code that it calls is {one.verdict}: {one.reason}", end="")
    if workflows:
        print()
    runs = sum(version.runs for version in validation.versions)
    others = sum(version.runs for version in validation.mismatched)
    print(
        f"\n{runs} unfinished runs, {others} of them started on other code than this project ({local}); "
        f"{len(validation.missing)} artifacts are missing"
    )


def _told(outcomes: dict[str, int], version: VersionReport) -> str:
    if set(outcomes) == {"own"}:
        return "runs on its own code"
    words = {"own": "on their own code", "local": "[yellow]on this project's code instead[/]", "fail": "[red]fail[/]"}
    policies = ", ".join(sorted(version.by_policy))
    return ", ".join(f"{runs} {words[outcome]}" for outcome, runs in outcomes.items()) + f" (policy {policies})"


def _age(now: datetime, moment: datetime | None) -> str:
    if moment is None:
        return ""
    seconds = max(0, int((now - moment).total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
