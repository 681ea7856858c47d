"""Run by Alembic, on the connection that runner.ledger.database gives it."""

from alembic import context

from runner.ledger.database import REVISION_TABLE
from runner.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=REVISION_TABLE,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
