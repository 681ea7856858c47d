"""How many runs of each code version have not ended, counted as they come and go, so that nobody has to count a
million of them; and where the policy of a run came from.

Triggers count, not the code: whatever writes a run, of this release or another, is counted in its own transaction.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

UNFINISHED = "('pending', 'running', 'waiting')"
KEY = "code_version_hash, definition_hash, policy"


def upgrade() -> None:
    op.add_column("workflow_runs", sa.Column("policy_source", sa.Text))
    # With the time behind it, the same index also knows the oldest run of each version.
    op.drop_index("ix_workflow_runs_status_version", "workflow_runs")
    op.create_index(
        "ix_workflow_runs_status_version_created", "workflow_runs", ["status", "code_version_hash", "created_at"]
    )
    op.create_table(
        "unfinished_runs",
        sa.Column("code_version_hash", sa.String(64), primary_key=True),
        sa.Column("definition_hash", sa.String(64), primary_key=True),
        sa.Column("policy", sa.String(16), primary_key=True),
        sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("runs", sa.BigInteger, nullable=False),
    )
    # The triggers first: on PostgreSQL making one keeps writers out until the end of the migration.
    for statement in ON_POSTGRESQL if op.get_context().dialect.name == "postgresql" else ON_SQLITE:
        op.execute(statement)
    op.execute(
        f"INSERT INTO unfinished_runs ({KEY}, shard, runs) SELECT {KEY}, 0, count(*) FROM workflow_runs "  # noqa: S608
        f"WHERE status IN {UNFINISHED} GROUP BY {KEY}"
    )


def _sqlite_trigger(event: str, condition: str, row: str, change: str) -> str:
    # Not an upsert: inside a trigger the conflict clause of the outer statement takes its place.
    name = event.split(maxsplit=1)[0].lower()
    return f"""
CREATE TRIGGER count_unfinished_runs_{name} AFTER {event} ON workflow_runs WHEN {condition}
BEGIN
  INSERT OR IGNORE INTO unfinished_runs ({KEY}, shard, runs)
  VALUES ({row}.code_version_hash, {row}.definition_hash, {row}.policy, 0, 0);
  UPDATE unfinished_runs SET runs = runs + ({change})
  WHERE code_version_hash = {row}.code_version_hash AND definition_hash = {row}.definition_hash
    AND policy = {row}.policy AND shard = 0;
END"""  # noqa: S608


ON_SQLITE = (
    _sqlite_trigger("INSERT", f"NEW.status IN {UNFINISHED}", "NEW", "1"),
    _sqlite_trigger(
        "UPDATE OF status",
        f"(OLD.status IN {UNFINISHED}) <> (NEW.status IN {UNFINISHED})",
        "NEW",
        f"CASE WHEN NEW.status IN {UNFINISHED} THEN 1 ELSE -1 END",
    ),
    _sqlite_trigger("DELETE", f"OLD.status IN {UNFINISHED}", "OLD", "-1"),
)


def _changes(*sources: tuple[str, str]) -> str:
    return " UNION ALL ".join(
        f"SELECT {KEY}, {change} AS change FROM {rows} WHERE status IN {UNFINISHED}"  # noqa: S608
        for rows, change in sources
    )


def _count(changes: str) -> str:
    # Sorted, so that two transactions that change several rows take their locks in one order.
    return f"""
    INSERT INTO unfinished_runs AS counted ({KEY}, shard, runs)
    SELECT {KEY}, mod(pg_backend_pid(), 8), sum(change) FROM ({changes}) AS changes
    GROUP BY {KEY} HAVING sum(change) <> 0 ORDER BY {KEY}
    ON CONFLICT ({KEY}, shard) DO UPDATE SET runs = counted.runs + excluded.runs;"""  # noqa: S608


# Per statement, not per row: loading a million runs in one statement is one change of each counter. In eight shards,
# so that workers that end runs of one version at the same time seldom wait for each other.
ON_POSTGRESQL = (
    f"""
CREATE FUNCTION hwe_count_unfinished_runs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN {_count(_changes(("new_rows", "1")))}
  ELSIF TG_OP = 'UPDATE' THEN {_count(_changes(("new_rows", "1"), ("old_rows", "-1")))}
  ELSE {_count(_changes(("old_rows", "-1")))}
  END IF;
  RETURN NULL;
END $$""",
    *(
        f"CREATE TRIGGER count_unfinished_runs_{event.lower()} AFTER {event} ON workflow_runs REFERENCING {tables} "
        "FOR EACH STATEMENT EXECUTE FUNCTION hwe_count_unfinished_runs()"
        for event, tables in (
            ("INSERT", "NEW TABLE AS new_rows"),
            ("UPDATE", "NEW TABLE AS new_rows OLD TABLE AS old_rows"),
            ("DELETE", "OLD TABLE AS old_rows"),
        )
    ),
)
