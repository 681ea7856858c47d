"""The ledger's first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "code_versions",
        sa.Column("code_version_hash", sa.String(64), primary_key=True),
        sa.Column("artifact_id", sa.String(64), nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("python", sa.Text),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("manifest", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
    )
    op.create_index("ix_code_versions_artifact_id", "code_versions", ["artifact_id"])
    op.create_table(
        "workflow_runs",
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
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("driver", sa.Text),
        sa.Column("wake_at", sa.DateTime),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("updated_at", sa.DateTime, nullable=False),
        sa.Column("finished_at", sa.DateTime),
    )
    op.create_index("ix_workflow_runs_status_version", "workflow_runs", ["status", "code_version_hash"])
    op.create_index("ix_workflow_runs_created_at", "workflow_runs", ["created_at"])
    op.create_table(
        "workflow_steps",
        sa.Column("run_id", sa.String(128), sa.ForeignKey("workflow_runs.run_id"), primary_key=True),
        sa.Column("step_key", sa.String(255), primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("function", sa.Text),
        sa.Column("code_version_hash", sa.String(64)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("input", sa.Text),
        sa.Column("result", sa.LargeBinary),
        sa.Column("value", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("wake_at", sa.DateTime),
        sa.Column("started_at", sa.DateTime, nullable=False),
        sa.Column("finished_at", sa.DateTime),
        sa.Column("wall_seconds", sa.Float),
        sa.Column("cpu_seconds", sa.Float),
        sa.Column("max_rss_bytes", sa.BigInteger),
    )


def downgrade() -> None:
    for table in ("workflow_steps", "workflow_runs", "code_versions"):
        op.drop_table(table)
