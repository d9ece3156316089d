"""How Alembic runs the migrations: within the transaction of the connection that it is given."""

from __future__ import annotations

from alembic import context

from holdfast.vault.catalog.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
)
context.run_migrations()
