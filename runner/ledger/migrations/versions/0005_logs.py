"""The end of what each attempt printed, so that a replay can compare it. Of attempts before there is none."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("workflow_steps", sa.Column("stdout", sa.Text))
    op.add_column("workflow_steps", sa.Column("stderr", sa.Text))
