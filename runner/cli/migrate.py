"""`hwe migrate`: the ledger's schema, by itself or as SQL for whoever keeps the database."""

from __future__ import annotations

from typing import Annotated

import typer

from runner.cli.installation import opened
from runner.errors import UsageError
from runner.ledger.database import HEAD, offline_sql
from runner.settings import load_settings


def migrate_command(
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="REVISION", help="With --sql: the schema that is there. Default: none."),
    ] = None,
    *,
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL instead, connecting to nothing.")] = False,
) -> None:
    """Bring the ledger's tables to this release. Every command does that by itself when it has to."""
    if start is not None and not sql:
        raise UsageError("--from goes with --sql: without it, the database itself tells where it is")
    settings = load_settings()
    if sql:
        print(offline_sql(settings.database, start), end="")
        return
    with opened(settings) as installation:
        print(f"{installation.ledger.location} has schema {HEAD}")
