"""What the processes tell each other of their health: one row per process in their database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from custody.db import Database, Int64, Text, table

process_heartbeats = table(
    "process_heartbeats",
    sa.Column("process", Text, primary_key=True),
    sa.Column("at_ns", Int64, nullable=False),
    sa.Column("steps", Text, nullable=False),
)


@dataclass(frozen=True, slots=True)
class StepHealth:
    """One step as its process last saw it."""

    step: str
    age_ns: int
    outcome: str
    failures: int
    what: str


@dataclass(frozen=True, slots=True)
class ProcessHealth:
    """One process; age_ns counts from its last report."""

    process: str
    age_ns: int
    steps: tuple[StepHealth, ...]


def report(db: Database, process: str, steps: Sequence[StepHealth], *, now_ns: int) -> None:
    """Write a process's row."""
    rows = [[one.step, one.age_ns, one.outcome, one.failures, one.what] for one in steps]
    values = {"at_ns": now_ns, "steps": json.dumps(rows)}

    def apply(conn: sa.Connection) -> None:
        updated = conn.execute(
            process_heartbeats.update()
            .where(process_heartbeats.c.process == process)
            .values(**values)
        )
        if updated.rowcount == 0:
            conn.execute(process_heartbeats.insert().values(process=process, **values))

    db.run(apply)


def processes(conn: sa.Connection, *, now_ns: int) -> list[ProcessHealth]:
    """Return every process that ever reported, by name."""
    query = sa.select(process_heartbeats).order_by(process_heartbeats.c.process)
    return [
        ProcessHealth(
            row.process,
            max(0, now_ns - row.at_ns),
            tuple(StepHealth(*step) for step in json.loads(row.steps)),
        )
        for row in conn.execute(query)
    ]
