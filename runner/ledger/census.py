"""Which code versions the unfinished runs need, in a time that does not depend on how many runs there are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from runner.ledger.tables import Moment, unfinished_runs, workflow_runs

UNFINISHED = ("pending", "running", "waiting")


@dataclass(frozen=True)
class VersionCensus:
    """The unfinished runs of one code version: how many, under which policies and of which workflow definitions
    (by hash), and since when the oldest one is there.
    """

    code_version_hash: str
    runs: int
    oldest: datetime | None
    by_policy: dict[str, int]
    by_definition: dict[str, int]


def take_census(connection: sa.Connection) -> list[VersionCensus]:
    """One for each version that an unfinished run needs, the one with the oldest run first."""
    policies: dict[str, dict[str, int]] = {}
    definitions: dict[str, dict[str, int]] = {}
    for version, definition, policy, runs in connection.execute(counts_query()):
        _add(policies.setdefault(version, {}), policy, int(runs))
        _add(definitions.setdefault(version, {}), definition, int(runs))
    oldest = {version: min(filter(None, times), default=None) for version, *times in connection.execute(oldest_query())}
    found = [
        VersionCensus(version, sum(counts.values()), oldest.get(version), counts, definitions[version])
        for version, counts in policies.items()
    ]
    return sorted(found, key=lambda census: (census.oldest is None, census.oldest, census.code_version_hash))


def counts_query() -> sa.Select[Any]:
    """Reads the counters, of which there are as many as versions times definitions times policies (times shards)."""
    columns = unfinished_runs.c
    runs = sa.func.sum(columns.runs)
    key = (columns.code_version_hash, columns.definition_hash, columns.policy)
    return sa.select(*key, runs).group_by(*key).having(runs > 0)


def oldest_query() -> sa.Select[Any]:
    """For each version and unfinished status one step down the index (status, code_version_hash, created_at)."""
    versions = sa.select(unfinished_runs.c.code_version_hash).distinct().subquery("versions")
    columns = workflow_runs.c
    first = [
        sa.select(sa.type_coerce(sa.func.min(columns.created_at), Moment))
        .where(columns.status == status, columns.code_version_hash == versions.c.code_version_hash)
        .scalar_subquery()
        for status in UNFINISHED
    ]
    return sa.select(versions.c.code_version_hash, *first)


def _add(counts: dict[str, int], key: str, runs: int) -> None:
    counts[key] = counts.get(key, 0) + runs
