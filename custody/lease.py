"""The lease of the engine: at most one process leads, and each leadership has its own epoch.

One row. Whoever takes it raises the epoch by one; the journal's segments and the projector's writes
carry that epoch, so what an old leader still does has no effect. A holder renews while it lives and
asks `check` before it answers anybody; a successor waits until the lease has expired, unless it
knows that the holder is dead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import sqlalchemy as sa

from core.clock import SECOND_NS, Clock
from core.errors import Corrupt, InUse, Unavailable
from custody.db import Database, Int64, Text, table

DURATION_NS = 10 * SECOND_NS
MARGIN_PARTS = 5
"""A holder stops believing in its lease when a fifth of it is left: clocks are not equally fast."""
POLL_NS = SECOND_NS // 10

engine_lease = table(
    "engine_lease",
    sa.Column("lease_no", Int64, primary_key=True, autoincrement=False),
    sa.Column("epoch", Int64, nullable=False),
    sa.Column("holder", Text, nullable=False),
    sa.Column("expires_at_ns", Int64, nullable=False),
    sa.CheckConstraint("lease_no = 1", name="only_one"),
)


class LeaseLost(Unavailable):
    """Another process leads, or may lead by now: this one must stop."""


class LeaseHeld(InUse):
    """Another process leads and lives; nothing was taken."""


def _no(_holder: str) -> bool:
    return False


class Lease:
    """A lease that was taken. Thread-safe."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        *,
        epoch: int,
        holder: str,
        duration_ns: int,
        since_ns: int,
    ) -> None:
        self.epoch = epoch
        self.holder = holder
        self._db = db
        self._clock = clock
        self._duration_ns = duration_ns
        self._lock = threading.Lock()
        self._believed_until_ns = since_ns + duration_ns - duration_ns // MARGIN_PARTS
        self._lost: str | None = None

    def check(self) -> None:
        """Return while this process leads; asks no database. LeaseLost: it may not any more."""
        if self._lost is not None:
            raise LeaseLost(self._lost)
        if self._clock.monotonic_ns() >= self._believed_until_ns:
            raise LeaseLost(f"epoch {self.epoch}: the lease was not renewed in time")

    def renew(self) -> None:
        """Prolong the lease. LeaseLost: it is another's. Unavailable: not now; ask again soon."""
        asked_ns = self._clock.monotonic_ns()

        def apply(conn: sa.Connection) -> int:
            return conn.execute(
                engine_lease.update()
                .where(engine_lease.c.epoch == self.epoch)
                .values(expires_at_ns=self._clock.now_ns() + self._duration_ns)
            ).rowcount

        if self._db.run(apply) != 1:
            self._lost = f"epoch {self.epoch} is over"
            raise LeaseLost(self._lost)
        with self._lock:
            until_ns = asked_ns + self._duration_ns - self._duration_ns // MARGIN_PARTS
            self._believed_until_ns = max(self._believed_until_ns, until_ns)

    def release(self) -> None:
        """Let a successor begin at once; the epoch stays used up."""
        self._lost = f"epoch {self.epoch}: released"

        def apply(conn: sa.Connection) -> None:
            conn.execute(
                engine_lease.update()
                .where(engine_lease.c.epoch == self.epoch)
                .values(expires_at_ns=0)
            )

        self._db.run(apply)


def take(
    db: Database,
    *,
    holder: str,
    clock: Clock,
    duration_ns: int = DURATION_NS,
    wait_ns: int = 0,
    is_dead: Callable[[str], bool] = _no,
) -> Lease:
    """Take the lease in a new epoch, waiting at most wait_ns for an old one to expire.

    `is_dead(holder)` may say that a holder certainly does not live any more. LeaseHeld: it lives.
    """
    deadline_ns = clock.monotonic_ns() + wait_ns
    while True:
        since_ns = clock.monotonic_ns()
        epoch, other = db.run(lambda conn: _try(conn, holder, clock, duration_ns, is_dead))
        if epoch:
            return Lease(
                db, clock, epoch=epoch, holder=holder, duration_ns=duration_ns, since_ns=since_ns
            )
        if clock.monotonic_ns() >= deadline_ns:
            raise LeaseHeld(f"another engine process leads: {other}")
        clock.sleep(POLL_NS)


def still_held(conn: sa.Connection, epoch: int) -> None:
    """Return when an epoch is the newest one, and keep it so until this transaction ends.

    LeaseLost: a newer one began, and nothing of the old one may be written. Corrupt: there is none.
    """
    found = conn.execute(
        sa.select(engine_lease.c.epoch).with_for_update(read=True)
    ).scalar_one_or_none()
    if found is None or found < epoch:
        raise Corrupt(f"epoch {epoch} was never given")
    if found != epoch:
        raise LeaseLost(f"epoch {epoch} is over: epoch {found} leads")


def _try(
    conn: sa.Connection,
    holder: str,
    clock: Clock,
    duration_ns: int,
    is_dead: Callable[[str], bool],
) -> tuple[int, str]:
    """Return the new epoch, or 0 and who holds the lease."""
    row = conn.execute(sa.select(engine_lease)).one_or_none()
    expires_at_ns = clock.now_ns() + duration_ns
    if row is None:
        conn.execute(
            engine_lease.insert().values(
                lease_no=1, epoch=1, holder=holder, expires_at_ns=expires_at_ns
            )
        )
        return 1, holder
    if row.expires_at_ns > clock.now_ns() and not is_dead(row.holder):
        return 0, row.holder
    epoch = row.epoch + 1
    conn.execute(
        engine_lease.update()
        .where(engine_lease.c.epoch == row.epoch)
        .values(epoch=epoch, holder=holder, expires_at_ns=expires_at_ns)
    )
    return epoch, holder
