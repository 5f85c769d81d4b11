"""Velocity: what every bucket's window holds, exact to the unit and to the nanosecond.

A reservation counts from `reserve` until its window after `release` (the payment's first
signature), or until `free` (nothing can be paid any more). For every t the sum of what counts at t
stays within the cap of each charge that was accepted (but what left a window and is held again,
because what was signed of it is dead, is back in it):

    reserved ........................ released ......... released + window
    |------------------- counts -----------------------|

Each key has one running total per window; rows that left the window leave the sum, once each, so a
call costs a fixed number of statements and reads only rows that left since the last one. `left_ns`
of a total says which: released rows at or before it are out. When the clock steps back they come in
again, so a sum never trusts a clock that it has seen later.

One lock for all: `take_turn`. What another transaction changed after ours began is never missed: on
PostgreSQL the turn's number is written, so a snapshot that is older than the last turn cannot
commit (Contended: run again), and under READ COMMITTED everything after it reads what is there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import sqlalchemy as sa

from core.errors import Corrupt, Reason, Refused
from core.money import require_int
from custody.db import Amount, Int64, Text, dialect_of, next_number, sum_amount, table
from custody.policy.decision import Charge

TURN = "velocity_turn"
CHARGES_MAX = 256
"""Most keys of one owner: every statement stays small."""

velocity_reservations = table(
    "velocity_reservations",
    sa.Column("owner", Text, primary_key=True),
    sa.Column("key", Text, primary_key=True),
    sa.Column("amount", Amount, nullable=False),
    sa.Column("reserved_at_ns", Int64, nullable=False),
    sa.Column("released_at_ns", Int64),
    sa.Column("freed_at_ns", Int64),
    sa.Index("ix_velocity_reservations_key", "key", "released_at_ns"),
)

velocity_totals = table(
    "velocity_totals",
    sa.Column("key", Text, primary_key=True),
    sa.Column("window_ns", Int64, primary_key=True, autoincrement=False),
    sa.Column("total", Amount, nullable=False),
    sa.Column("left_ns", Int64, nullable=False),
    sa.CheckConstraint("window_ns > 0", name="window"),
)
"""Of every key and window that was ever asked for: what counts."""


@dataclass(slots=True)
class _Total:
    """A running total while it is worked on; `stored` is its row, None when there is none yet."""

    key: str
    total: int
    left_ns: int
    stored: tuple[int, int] | None


_Window: TypeAlias = tuple[str, int]
"""A key and the length of its window in nanoseconds."""
_Totals: TypeAlias = dict[_Window, _Total]
_Held: TypeAlias = Mapping[str, sa.Row[Any]]


def take_turn(conn: sa.Connection) -> None:
    """Wait until no other transaction works on velocity, until ours ends.

    Every verb here does it. Called before anything else of a transaction, nobody has to run again;
    later, Contended when somebody was faster.
    """
    if dialect_of(conn) == "postgresql":
        # LOCK takes no snapshot: what comes next reads what the transaction before us left.
        conn.execute(sa.text("LOCK TABLE velocity_totals IN SHARE ROW EXCLUSIVE MODE"))
    next_number(conn, TURN)


def reserve(
    conn: sa.Connection, charges: Sequence[Charge], *, owner: str, now_ns: int
) -> tuple[Charge, ...]:
    """Reserve every charge for an owner, or none; return those that would be exceeded.

    A window whose sum would pass the cap, or an amount above it, is exceeded. The same charges of
    an owner again change nothing. Refused: exists_with_other_content, too_large (more than 256).
    """
    wanted = _by_key(charges)
    take_turn(conn)
    held = _held(conn, owner)
    if held:
        same = {key: row.amount for key, row in held.items()}
        if same != wanted or any(row.freed_at_ns is not None for row in held.values()):
            raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, f"velocity of {owner}")
        return ()
    totals = _totals(conn, _windows(charges), wanted, now_ns)
    exceeded = _exceeded(charges, wanted, totals, {})
    if not exceeded and wanted:
        conn.execute(
            velocity_reservations.insert(),
            [
                {"owner": owner, "key": key, "amount": amount, "reserved_at_ns": now_ns}
                for key, amount in wanted.items()
            ],
        )
        _add(totals, wanted)
    _store(conn, totals)
    return exceeded


def used(
    conn: sa.Connection, charges: Sequence[Charge], now_ns: int, *, but: str = ""
) -> Mapping[str, int]:
    """Return what owners other than `but` hold in the window of each charge's key. Writes nothing.

    To look at; only `reserve` and `reprice` can promise that it still holds.
    """
    wanted = _by_key(charges)
    totals = _totals(conn, _windows(charges), wanted, now_ns)
    own = _held(conn, but) if but else {}
    return {
        key: totals[key, window_ns].total - _counted(own.get(key), totals[key, window_ns])
        for key, window_ns in _windows(charges)
    }


def reprice(
    conn: sa.Connection, charges: Sequence[Charge], *, owner: str, now_ns: int
) -> tuple[Charge, ...]:
    """Give an owner's reservations new amounts before its release, as fresh prices say.

    Return the charges that would be exceeded; then nothing is changed. A key that the owner does
    not hold yet is reserved, one that is not named stays as it is. Refused: illegal_transition
    (released or freed), too_large.
    """
    wanted = _by_key(charges)
    take_turn(conn)
    held = _held(conn, owner)
    if any(row.released_at_ns is not None or row.freed_at_ns is not None for row in held.values()):
        raise Refused(Reason.ILLEGAL_TRANSITION, f"velocity of {owner} is released")
    totals = _totals(conn, _windows(charges), wanted, now_ns)
    exceeded = _exceeded(charges, wanted, totals, held)
    if not exceeded:
        _write_amounts(conn, owner, wanted, held, now_ns)
        _add(
            totals,
            {
                key: amount - (held[key].amount if key in held else 0)
                for key, amount in wanted.items()
            },
        )
    _store(conn, totals)
    return exceeded


def release(conn: sa.Connection, owner: str, now_ns: int) -> None:
    """Let an owner's windows run out from now on: its payment got its first signature.

    Again, or of an owner that holds nothing: changes nothing.
    """
    take_turn(conn)
    keys = [
        key
        for key, row in _held(conn, owner).items()
        if row.released_at_ns is None and row.freed_at_ns is None
    ]
    if not keys:
        return
    # A clock that stepped back would else release behind what has left the sums already.
    _store(conn, _totals(conn, set(), keys, now_ns))
    mine = velocity_reservations.c.owner == owner
    unreleased = velocity_reservations.c.released_at_ns.is_(None)
    conn.execute(
        velocity_reservations.update()
        .where(mine, unreleased, velocity_reservations.c.freed_at_ns.is_(None))
        .values(released_at_ns=now_ns)
    )


def hold_again(conn: sa.Connection, owner: str, now_ns: int) -> None:
    """Take an owner's release back: what was signed is proven dead, and it will be paid otherwise.

    It counts as from its reservation, until it is released once more. Of one that holds nothing,
    was freed or is not released: changes nothing.
    """
    take_turn(conn)
    held = {
        key: row
        for key, row in _held(conn, owner).items()
        if row.released_at_ns is not None and row.freed_at_ns is None
    }
    if not held:
        return
    totals = _totals(conn, set(), held, now_ns)
    for each in totals.values():
        each.total += int(held[each.key].amount) - _counted(held[each.key], each)
    conn.execute(
        velocity_reservations.update()
        .where(
            velocity_reservations.c.owner == owner, velocity_reservations.c.freed_at_ns.is_(None)
        )
        .values(released_at_ns=None)
    )
    _store(conn, totals)


def free(conn: sa.Connection, owner: str, now_ns: int) -> None:
    """Give back what an owner holds, at once: it was rejected, expired or is proven dead.

    Again, or of an owner that holds nothing: changes nothing.
    """
    take_turn(conn)
    held = {key: row for key, row in _held(conn, owner).items() if row.freed_at_ns is None}
    if not held:
        return
    totals = _totals(conn, set(), held, now_ns)
    for each in totals.values():
        each.total -= _counted(held[each.key], each)
    conn.execute(
        velocity_reservations.update()
        .where(
            velocity_reservations.c.owner == owner, velocity_reservations.c.freed_at_ns.is_(None)
        )
        .values(freed_at_ns=now_ns)
    )
    _store(conn, totals)


def _by_key(charges: Sequence[Charge]) -> dict[str, int]:
    """Return what is charged to each key; a key that stands twice is charged twice."""
    wanted: defaultdict[str, int] = defaultdict(int)
    for charge in charges:
        require_int(charge.amount)
        require_int(charge.cap, "cap")
        assert charge.window_ns > 0
        wanted[charge.key] += charge.amount
    if len(wanted) > CHARGES_MAX:
        raise Refused(Reason.TOO_LARGE, f"at most {CHARGES_MAX} buckets of one request")
    return dict(wanted)


def _windows(charges: Iterable[Charge]) -> set[_Window]:
    return {(charge.key, charge.window_ns) for charge in charges}


def _exceeded(
    charges: Sequence[Charge],
    wanted: Mapping[str, int],
    totals: _Totals,
    held: _Held,
) -> tuple[Charge, ...]:
    """Return the charges whose cap would be passed when `wanted` takes the place of `held`."""
    return tuple(
        charge
        for charge in charges
        if (found := totals[charge.key, charge.window_ns]).total
        - _counted(held.get(charge.key), found)
        + wanted[charge.key]
        > charge.cap
    )


def _held(conn: sa.Connection, owner: str) -> _Held:
    mine = velocity_reservations.c.owner == owner
    return {row.key: row for row in conn.execute(sa.select(velocity_reservations).where(mine))}


def _counted(row: sa.Row[Any] | None, total: _Total) -> int:
    """Return what of a reservation is in a total now."""
    if row is None or row.freed_at_ns is not None:
        return 0
    is_in = row.released_at_ns is None or row.released_at_ns > total.left_ns
    return int(row.amount) if is_in else 0


def _totals(
    conn: sa.Connection, windows: set[_Window], keys: Iterable[str], now_ns: int
) -> _Totals:
    """Return every total of some keys as of now, those of new windows summed up afresh."""
    listed = sorted(keys)
    out, edge = _moved(now_ns), sa.literal(now_ns, Int64) - velocity_totals.c.window_ns
    query = sa.select(velocity_totals, out.label("out")).where(velocity_totals.c.key.in_(listed))
    rows = conn.execute(query).all()
    back: dict[_Window, int] = {}
    if any(row.left_ns > now_ns - row.window_ns for row in rows):  # the clock stepped back
        back_query = sa.select(
            velocity_totals.c.key, velocity_totals.c.window_ns, _moved(now_ns, came_back=True)
        ).where(velocity_totals.c.key.in_(listed), velocity_totals.c.left_ns > edge)
        back = {(key, window_ns): moved for key, window_ns, moved in conn.execute(back_query)}
    totals = {}
    for row in rows:
        window = (row.key, row.window_ns)
        total = row.total - row.out + back.get(window, 0)
        if total < 0:
            raise Corrupt(f"velocity of {row.key} is less than what left it")
        stored = (row.total, row.left_ns)
        totals[window] = _Total(row.key, total, now_ns - row.window_ns, stored)
    for key, window_ns in sorted(windows - totals.keys()):
        totals[key, window_ns] = _fresh(conn, key, window_ns, now_ns)
    return totals


def _moved(now_ns: int, *, came_back: bool = False) -> sa.ScalarSelect[int]:
    """Return, beside a total, what left it since it was last moved, or comes back to it."""
    rows, left = velocity_reservations.c, velocity_totals.c.left_ns
    edge = sa.literal(now_ns, Int64) - velocity_totals.c.window_ns
    low, high = (edge, left) if came_back else (left, edge)
    return (
        sa.select(sum_amount(rows.amount))
        .where(
            rows.key == velocity_totals.c.key,
            rows.released_at_ns > low,
            rows.released_at_ns <= high,
            rows.freed_at_ns.is_(None),
        )
        .scalar_subquery()
    )


def _fresh(conn: sa.Connection, key: str, window_ns: int, now_ns: int) -> _Total:
    """Sum up a window that nobody asked for before, so that a new policy begins with the truth."""
    rows = velocity_reservations.c
    edge = now_ns - window_ns
    counts = sa.or_(rows.released_at_ns.is_(None), rows.released_at_ns > edge)
    query = sa.select(sum_amount(rows.amount)).where(
        rows.key == key, rows.freed_at_ns.is_(None), counts
    )
    return _Total(key, conn.execute(query).scalar_one(), edge, None)


def _add(totals: _Totals, amounts: Mapping[str, int]) -> None:
    """Add each key's amount to the totals of all its windows."""
    for each in totals.values():
        each.total += amounts[each.key]


def _store(conn: sa.Connection, totals: _Totals) -> None:
    """Write the totals that are new or changed."""
    new, changed = [], []
    for (key, window_ns), each in totals.items():
        values = {"total": each.total, "left_ns": each.left_ns}
        if each.stored is None:
            new.append({"key": key, "window_ns": window_ns, **values})
        elif each.stored != (each.total, each.left_ns):
            changed.append({"of_key": key, "of_window": window_ns, **values})
    if new:
        conn.execute(velocity_totals.insert(), new)
    if changed:
        mine = velocity_totals.c.key == sa.bindparam("of_key")
        update = velocity_totals.update().where(
            mine, velocity_totals.c.window_ns == sa.bindparam("of_window")
        )
        conn.execute(update, changed)


def _write_amounts(
    conn: sa.Connection,
    owner: str,
    wanted: Mapping[str, int],
    held: _Held,
    now_ns: int,
) -> None:
    changed = [
        {"of_owner": owner, "of_key": key, "new_amount": amount}
        for key, amount in wanted.items()
        if key in held and held[key].amount != amount
    ]
    if changed:
        conn.execute(
            velocity_reservations.update()
            .where(
                velocity_reservations.c.owner == sa.bindparam("of_owner"),
                velocity_reservations.c.key == sa.bindparam("of_key"),
            )
            .values(amount=sa.bindparam("new_amount")),
            changed,
        )
    new = [
        {"owner": owner, "key": key, "amount": amount, "reserved_at_ns": now_ns}
        for key, amount in wanted.items()
        if key not in held
    ]
    if new:
        conn.execute(velocity_reservations.insert(), new)
