"""The seam to the database: exact columns, tables that refuse nonsense, honest transactions.

SQLite (one machine) and PostgreSQL do the same. A verb is a function of one open connection;
`Database.run` opens the transaction, re-runs the *whole* function when another transaction was in
the way, and turns what the driver says into the errors of `core.errors`:

    Contended        (an Unavailable) another was in the way; nothing was done, run it again
    Unavailable      locked, dead, full or refusing; nothing was done
    OutcomeUnknown   the connection died during COMMIT; look the effect up by its id first
    Corrupt          the database says that its own files are damaged
    IntegrityError   SQLAlchemy's own: a constraint or trigger of ours said no; `violated` names it
"""

from custody.db.columns import (
    AMOUNT_MAX,
    Amount,
    Bytes,
    Flag,
    Int64,
    Text,
    read_amount,
    sum_amount,
)
from custody.db.database import Database, TransactionHooks
from custody.db.failures import Contended, violated
from custody.db.schema import (
    Dialect,
    amount_check,
    append_only,
    append_only_ddl,
    counters,
    dialect_of,
    metadata,
    next_number,
    next_numbers,
    schema_objects,
    table,
    triggers,
)

__all__ = [
    "AMOUNT_MAX",
    "Amount",
    "Bytes",
    "Contended",
    "Database",
    "Dialect",
    "Flag",
    "Int64",
    "Text",
    "TransactionHooks",
    "amount_check",
    "append_only",
    "append_only_ddl",
    "counters",
    "dialect_of",
    "metadata",
    "next_number",
    "next_numbers",
    "read_amount",
    "schema_objects",
    "sum_amount",
    "table",
    "triggers",
    "violated",
]
