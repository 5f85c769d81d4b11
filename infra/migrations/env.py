"""What alembic runs to run the revisions: on the connection it was handed, in its transaction."""

from __future__ import annotations

from alembic import context

from custody.db import metadata
from infra.migrations.run import CONNECTION

connection = context.config.attributes[CONNECTION]
# The metadata is here for its naming convention; revisions never look at today's tables.
context.configure(connection=connection, target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
