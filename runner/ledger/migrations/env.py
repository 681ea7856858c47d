"""Run by Alembic, for runner.ledger.database: on the connection that it gives, or to write SQL down."""

from typing import Any

from alembic import context

from runner.ledger.database import REVISION_TABLE
from runner.ledger.tables import metadata

settings: dict[str, Any] = {"target_metadata": metadata, "version_table": REVISION_TABLE, "transactional_ddl": True}
if context.is_offline_mode():
    context.configure(
        dialect_name=context.config.attributes["dialect"],
        literal_binds=True,
        output_buffer=context.config.output_buffer,
        **settings,
    )
else:
    context.configure(connection=context.config.attributes["connection"], **settings)
with context.begin_transaction():
    context.run_migrations()
