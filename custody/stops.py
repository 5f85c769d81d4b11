"""Stops on the platform's side: what officers paused and froze, and whether the signer knows.

A pause is placed by one officer and lifted by a quorum; what it meets waits. A freeze lasts for a
fixed time that nobody can shorten; what it meets is blocked. The signer obeys the same statements
by its own book (custody.keys.stop_book): rows here stop the platform from asking, and show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from core.clock import Clock
from core.errors import Reason, Refused, Unavailable
from core.ids import ChainId, CustomerNo
from custody import audit_log, catalogue, chain_state
from custody.db import Bytes, Database, Int64, Text, next_number, table
from custody.keys.roster import Roster
from custody.keys.service import KeyService
from custody.keys.statement import StatementKind
from custody.keys.stop_order import (
    PLATFORM,
    SignedStop,
    StopOrder,
    chain_scope,
    decode_own,
    encode_signed,
    order_of,
    reaches,
    scopes_over,
    verify_stop,
)
from custody.policy.request import Finding, Verdict

BATCH_MAX = 100

stops = table(
    "stops",
    sa.Column("stop_no", Int64, primary_key=True, autoincrement=False),
    sa.Column("stop_id", Text, nullable=False, unique=True),
    sa.Column("kind", Text, nullable=False),
    sa.Column("scope", Text, nullable=False),
    sa.Column("placed_by", Text, nullable=False),
    sa.Column("placed_at_ns", Int64, nullable=False),
    sa.Column("until_ns", Int64),
    sa.Column("lifted_by", Text),
    sa.Column("lifted_at_ns", Int64),
    sa.Column("told_at_ns", Int64),
    sa.Column("because", Text, nullable=False),
    sa.Column("paper", Bytes, nullable=False),
    sa.CheckConstraint("(kind = 'freeze') = (until_ns IS NOT NULL)", name="until"),
    sa.CheckConstraint("kind = 'pause' OR lifted_at_ns IS NULL", name="only_pauses_are_lifted"),
    sa.Index("ix_stops_scope", "scope"),
    sa.Index("ix_stops_told", "told_at_ns"),
)
"""Every order that was taken, resumptions too. `paper` is what the signer is told."""


@dataclass(frozen=True, slots=True)
class Stop:
    """One order as it was taken."""

    stop_no: int
    order: StopOrder
    placed_by: tuple[str, ...]
    placed_at_ns: int
    lifted_by: str | None
    lifted_at_ns: int | None
    told_at_ns: int | None
    """When the signer took it; None: not yet."""

    def holds(self, now_ns: int) -> bool:
        """Return whether it stops anything now."""
        if self.order.kind is StatementKind.FREEZE:
            return now_ns < self.order.until_ns
        return self.order.kind is StatementKind.PAUSE and self.lifted_at_ns is None


def findings(
    conn: sa.Connection,
    *,
    customer_no: CustomerNo | None,
    chain: ChainId,
    asset_key: str,
    now_ns: int,
) -> tuple[Finding, ...]:
    """Return every stop that covers a payment now; customer_no None: our own transfer.

    paused and frozen (a customer who owes us, a chain after a deep reorganisation) wait; a freeze,
    code freeze, blocks. Refused: unknown_customer, unknown_chain.
    """
    found = []
    customers = () if customer_no is None else (customer_no,)
    if customer_no is not None and catalogue.customer(conn, customer_no).frozen:
        found.append(Finding(Verdict.WAIT, "frozen", f"customer {customer_no}"))
    if chain_state.state(conn, chain).frozen:
        found.append(Finding(Verdict.WAIT, "frozen", f"chain {chain}"))
    scopes = scopes_over(chain, asset_key, customers)
    for stop in _over(conn, scopes, now_ns):
        detail = f"{stop.order.scope} by {stop.order.order_id}"
        if stop.order.kind is StatementKind.PAUSE:
            found.append(Finding(Verdict.WAIT, "paused", detail))
        else:
            found.append(Finding(Verdict.BLOCK, "freeze", detail))
    return tuple(found)


def is_halted(conn: sa.Connection, chain: ChainId, now_ns: int) -> bool:
    """Return whether everything on a chain is stopped."""
    return bool(_over(conn, {PLATFORM, chain_scope(chain)}, now_ns))


def refuse_if_stopped(
    conn: sa.Connection,
    *,
    chain: ChainId,
    asset_key: str,
    customer_no: CustomerNo | None = None,
    now_ns: int,
) -> None:
    """Refused: paused, when a pause or a freeze covers a payment; the signer is not even asked."""
    customers = () if customer_no is None else (customer_no,)
    for stop in _over(conn, scopes_over(chain, asset_key, customers), now_ns):
        raise Refused(Reason.PAUSED, f"{stop.order.scope} by {stop.order.order_id}")


def receive(
    conn: sa.Connection, signed: SignedStop, *, roster: Roster, by: str, now_ns: int
) -> Stop:
    """Take a pause, a freeze or a resumption; the same one again changes nothing.

    Refused: exists_with_other_content, unknown_chain, unknown_asset, unknown_customer, not_found
    (a resumption of a pause that is not here), illegal_transition (of a freeze), intent_mismatch
    (of a pause outside of its scope), and as custody.keys.stop_order.verify_stop.
    """
    order = order_of(signed.statement)
    known = find(conn, order.order_id)
    if known is not None:
        if known.order != order:
            raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, order.order_id)
        return known
    persons = verify_stop(roster, signed, now_ns=now_ns)
    check_scope(conn, order.scope)
    conn.execute(
        stops.insert().values(
            stop_no=next_number(conn, "stop_no"),
            stop_id=order.order_id,
            kind=order.kind.value,
            scope=order.scope,
            placed_by=" ".join(persons),
            placed_at_ns=now_ns,
            until_ns=order.until_ns if order.kind is StatementKind.FREEZE else None,
            because=order.because,
            paper=encode_signed(signed),
        )
    )
    for lifted in order.lifts:
        _lift(conn, lifted, by=order, now_ns=now_ns)
    audit_log.record(
        conn, actor=by, action=f"stop.{order.kind.value}", subject=order.scope,
        detail={
            "stop": order.order_id, "officers": " ".join(persons), "because": order.because,
            "until_ns": str(order.until_ns), "lifts": " ".join(order.lifts),
        },
        at_ns=now_ns,
    )  # fmt: skip
    taken = find(conn, order.order_id)
    assert taken is not None
    return taken


def check_scope(conn: sa.Connection, scope: str) -> None:
    """Return when there is what a scope names. Refused: unknown_chain, _asset, _customer."""
    kind, _, rest = scope.partition(":")
    if kind == "customer":
        catalogue.customer(conn, CustomerNo(int(rest)))
    elif kind == "chain":
        chain_state.state(conn, ChainId(rest))
    elif kind == "asset":
        chain, _, asset_key = rest.partition("/")
        if catalogue.asset_by_key(conn, ChainId(chain), asset_key) is None:
            raise Refused(Reason.UNKNOWN_ASSET, rest)


def find(conn: sa.Connection, stop_id: str) -> Stop | None:
    """Return an order by its id."""
    row = conn.execute(sa.select(stops).where(stops.c.stop_id == stop_id)).one_or_none()
    return None if row is None else _stop(row)


def listed(
    conn: sa.Connection, *, now_ns: int, only_in_force: bool, after: int = 0, limit: int = BATCH_MAX
) -> list[Stop]:
    """Return orders in the order they were taken: all of them, or the stops in force."""
    query = sa.select(stops).where(stops.c.stop_no > after).order_by(stops.c.stop_no).limit(limit)
    if only_in_force:
        query = query.where(_in_force(now_ns))
    return [_stop(row) for row in conn.execute(query)]


def mark_told(conn: sa.Connection, stop_id: str, *, now_ns: int) -> None:
    """Note that the signer took an order."""
    conn.execute(
        stops.update()
        .where(stops.c.stop_id == stop_id, stops.c.told_at_ns.is_(None))
        .values(told_at_ns=now_ns)
    )


def step(
    db: Database,
    signer: KeyService,
    roster: Roster,
    *,
    clock: Clock,
    note: Callable[[str, str], None],
) -> int:
    """Tell the signer what it was not told yet, and take over what it was told without us.

    Return how many orders moved either way. note(stop id, why) hears of what neither side takes.
    """
    moved = 0
    with db.read() as conn:
        untold = conn.execute(
            sa.select(stops.c.stop_id, stops.c.paper)
            .where(stops.c.told_at_ns.is_(None))
            .order_by(stops.c.stop_no)
            .limit(BATCH_MAX)
        ).all()
    for row in untold:
        try:
            signer.obey(decode_own(row.paper))
        except Refused as refused:
            if refused.reason is not Reason.APPROVAL_EXPIRED:
                note(row.stop_id, str(refused))
                continue
        except Unavailable as error:
            note(row.stop_id, error.what)
            return moved
        _mark_told(db, row.stop_id, clock)
        moved += 1
    return moved + _take_over(db, signer, roster, clock, note)


def _mark_told(db: Database, stop_id: str, clock: Clock) -> None:
    db.run(lambda conn: mark_told(conn, stop_id, now_ns=clock.now_ns()))


def _take_over(
    db: Database,
    signer: KeyService,
    roster: Roster,
    clock: Clock,
    note: Callable[[str, str], None],
) -> int:
    try:
        obeyed = signer.stops()
    except Unavailable:
        return 0  # whoever needs a signature says so; nothing is stopped by knowing it later
    taken = 0
    for signed in obeyed:
        order_id = signed.statement.statement_id
        with db.read() as conn:
            if find(conn, order_id) is not None:
                continue

        def apply(conn: sa.Connection, signed: SignedStop = signed) -> None:
            now_ns = clock.now_ns()
            receive(conn, signed, roster=roster, by="signer", now_ns=now_ns)
            mark_told(conn, signed.statement.statement_id, now_ns=now_ns)

        try:
            db.run(apply)
        except Refused as refused:
            note(order_id, str(refused))
        else:
            taken += 1
    return taken


def _lift(conn: sa.Connection, stop_id: str, *, by: StopOrder, now_ns: int) -> None:
    pause = find(conn, stop_id)
    if pause is None:
        raise Refused(Reason.NOT_FOUND, f"there is no pause {stop_id}")
    if pause.order.kind is not StatementKind.PAUSE:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{stop_id} is no pause; a freeze ends by itself")
    if not reaches(by.scope, pause.order.scope):
        raise Refused(Reason.INTENT_MISMATCH, f"{stop_id} is of {pause.order.scope}")
    conn.execute(
        stops.update()
        .where(stops.c.stop_id == stop_id, stops.c.lifted_at_ns.is_(None))
        .values(lifted_at_ns=now_ns, lifted_by=by.order_id)
    )


def _in_force(now_ns: int) -> sa.ColumnElement[bool]:
    is_pause = stops.c.kind == StatementKind.PAUSE.value
    return sa.or_(sa.and_(is_pause, stops.c.lifted_at_ns.is_(None)), stops.c.until_ns > now_ns)


def _over(conn: sa.Connection, scopes: frozenset[str] | set[str], now_ns: int) -> list[Stop]:
    query = sa.select(stops).where(stops.c.scope.in_(sorted(scopes)), _in_force(now_ns))
    return [_stop(row) for row in conn.execute(query.order_by(stops.c.stop_no))]


def _stop(row: sa.Row[tuple[object, ...]]) -> Stop:
    return Stop(
        stop_no=row.stop_no,
        order=order_of(decode_own(row.paper).statement),
        placed_by=tuple(row.placed_by.split()),
        placed_at_ns=row.placed_at_ns,
        lifted_by=row.lifted_by,
        lifted_at_ns=row.lifted_at_ns,
        told_at_ns=row.told_at_ns,
    )
