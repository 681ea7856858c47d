"""The tables of the ledger, for SQLite and PostgreSQL alike."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa


class Moment(sa.types.TypeDecorator[datetime]):
    """An aware time, stored in UTC. SQLite has no zones, so they are taken off on the way in and put on again."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Any) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, _dialect: Any) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


metadata = sa.MetaData()

code_versions = sa.Table(
    "code_versions",
    metadata,
    sa.Column("code_version_hash", sa.String(64), primary_key=True),
    sa.Column("artifact_id", sa.String(64), nullable=False, index=True),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("python", sa.Text),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("manifest", sa.Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
)

# `input`, `output`, `value` and `error` hold JSON as text. SQL's NULL means that there is none; the JSON value null
# is the text 'null'.
workflow_runs = sa.Table(
    "workflow_runs",
    metadata,
    sa.Column("run_id", sa.String(128), primary_key=True),
    sa.Column("workflow_name", sa.Text, nullable=False),
    sa.Column("workflow_version", sa.Text, nullable=False),
    sa.Column("definition", sa.Text, nullable=False),
    sa.Column("definition_hash", sa.String(64), nullable=False),
    sa.Column("code_version_hash", sa.String(64), sa.ForeignKey("code_versions.code_version_hash"), nullable=False),
    sa.Column("project", sa.Text),
    sa.Column("policy", sa.String(16), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("input", sa.Text, nullable=False),
    sa.Column("output", sa.Text),
    sa.Column("error", sa.Text),
    # Raised by whoever begins to drive the run; a step is recorded only under the epoch that started it.
    sa.Column("epoch", sa.Integer, nullable=False),
    # Raised by resume: what failed in an earlier generation counts no longer.
    sa.Column("generation", sa.Integer, nullable=False),
    # Who drove it last, or is to drive it; None while any worker may take it.
    sa.Column("driver", sa.Text),
    sa.Column("wake_at", Moment),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    sa.Column("finished_at", Moment),
    # In words, where the policy was set: "--policy", a variable, a file.
    sa.Column("policy_source", sa.Text),
    sa.Index("ix_workflow_runs_status_version_created", "status", "code_version_hash", "created_at"),
    sa.Index("ix_workflow_runs_created_at", "created_at"),
)

workflow_steps = sa.Table(
    "workflow_steps",
    metadata,
    sa.Column("run_id", sa.String(128), sa.ForeignKey("workflow_runs.run_id"), primary_key=True),
    sa.Column("step_key", sa.String(255), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    # The order of recording within the run: of the end of a step, and while it runs, of its start.
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("function", sa.Text),
    sa.Column("code_version_hash", sa.String(64)),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("input", sa.Text),
    sa.Column("result", sa.LargeBinary),
    sa.Column("value", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("wake_at", Moment),
    sa.Column("started_at", Moment, nullable=False),
    sa.Column("finished_at", Moment),
    sa.Column("wall_seconds", sa.Float),
    sa.Column("cpu_seconds", sa.Float),
    sa.Column("max_rss_bytes", sa.BigInteger),
    # The end of what the attempt printed. NULL: it has not ended, or ended under a release that did not keep it.
    sa.Column("stdout", sa.Text),
    sa.Column("stderr", sa.Text),
)

# Every value that a variable has had, in order: a replay asks what it was at the time.
workflow_variables = sa.Table(
    "workflow_variables",
    metadata,
    sa.Column("run_id", sa.String(128), sa.ForeignKey("workflow_runs.run_id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("step_key", sa.String(255), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("set_at", Moment, nullable=False),
)

# Parts of a step that its attempts do once between them.
workflow_substeps = sa.Table(
    "workflow_substeps",
    metadata,
    sa.Column("run_id", sa.String(128), sa.ForeignKey("workflow_runs.run_id"), primary_key=True),
    sa.Column("step_key", sa.String(255), primary_key=True),
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("result", sa.LargeBinary, nullable=False),
    sa.Column("value", sa.Text),
    sa.Column("recorded_at", Moment, nullable=False),
)

# Who drives runs. On PostgreSQL a worker is alive as long as its session holds the lock on its id; see `presence`.
workers = sa.Table(
    "workers",
    metadata,
    sa.Column("worker_id", sa.String(255), primary_key=True),
    sa.Column("started_at", Moment, nullable=False),
)

# How many runs have not ended. Kept by triggers, see migration 0004; to be summed over the shards.
unfinished_runs = sa.Table(
    "unfinished_runs",
    metadata,
    sa.Column("code_version_hash", sa.String(64), primary_key=True),
    sa.Column("definition_hash", sa.String(64), primary_key=True),
    sa.Column("policy", sa.String(16), primary_key=True),
    sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("runs", sa.BigInteger, nullable=False),
)
