"""What steps ask of their run through ctx: variables, and parts of a step that are done once."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "workflow_variables",
        sa.Column("run_id", sa.String(128), sa.ForeignKey("workflow_runs.run_id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("step_key", sa.String(255), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("set_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "workflow_substeps",
        sa.Column("run_id", sa.String(128), sa.ForeignKey("workflow_runs.run_id"), primary_key=True),
        sa.Column("step_key", sa.String(255), primary_key=True),
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("result", sa.LargeBinary, nullable=False),
        sa.Column("value", sa.Text),
        sa.Column("recorded_at", sa.DateTime, nullable=False),
    )
