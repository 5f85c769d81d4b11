"""What the processes tell each other of their health: one row per process in their database."""

from __future__ import annotations

import json
from dataclasses import dataclass

import sqlalchemy as sa

from app.workers import Heartbeats
from core.clock import SECOND_NS, Clock
from custody.db import Database, Int64, Text, table

INTERVAL_NS = 2 * SECOND_NS

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


def step_health(beats: Heartbeats) -> tuple[StepHealth, ...]:
    """Return the steps of this process as they are now."""
    return tuple(
        StepHealth(beat.step, beats.age_ns(beat.step) or 0, beat.outcome, beat.failures, beat.what)
        for beat in beats.all()
    )


def report(db: Database, process: str, beats: Heartbeats, *, clock: Clock) -> int:
    """Write this process's row; return 0, because it is no work that others wait for."""
    steps = [
        [one.step, one.age_ns, one.outcome, one.failures, one.what] for one in step_health(beats)
    ]
    values = {"at_ns": clock.now_ns(), "steps": json.dumps(steps)}

    def apply(conn: sa.Connection) -> None:
        updated = conn.execute(
            process_heartbeats.update()
            .where(process_heartbeats.c.process == process)
            .values(**values)
        )
        if updated.rowcount == 0:
            conn.execute(process_heartbeats.insert().values(process=process, **values))

    db.run(apply)
    return 0


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
