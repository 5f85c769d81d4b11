"""What must hold besides where the world spends coins."""

from __future__ import annotations

from collections.abc import Iterator

from core.errors import Unavailable
from custody import chain_state
from custody.db import Database
from custody.spending import claims, rows
from custody.spending.rows import SpendState
from indexers import reconcile
from tests.simulation.invariants import Bench
from tests.simulation.machine import CHAIN


def coins_once(bench: Bench) -> Iterator[str]:
    """I9: a spend uses what it holds, and no coin is used by two, unless one ended without it."""
    if not bench.machine.world.laws.spends_coins:
        return
    users: dict[str, str] = {}
    with bench.db.read() as conn:
        for spend in rows.all_of(conn, CHAIN):
            attempts = rows.attempts(conn, spend.spend_id)
            names: set[str] = set()
            for attempt in attempts:
                decoded = bench.chain.decode(attempt.payload, sender=spend.source)
                names |= {one.outpoint for one in decoded.inputs}
            if spend.state in rows.IN_FLIGHT:
                for name in sorted(names - set(claims.of(conn, spend.spend_id))):
                    yield f"I9: {spend.spend_id} uses {name} and does not hold it"
            if spend.state in (SpendState.CONFIRMED, SpendState.FAILED):
                ended = bench.machine.world.paid_out({one.tx_id for one in attempts})
                used = {name for receipt in ended.values() for name in receipt.used}
                names = used or names
            for name in sorted(names):
                if name in users:
                    yield f"I9: {name} was given to {users[name]} and to {spend.spend_id}"
                users[name] = spend.spend_id


def coins_equal_chain(bench: Bench) -> Iterator[str]:
    """I5 by address: the coins that were followed are what the node says."""
    with bench.db.read() as conn:
        state = chain_state.state(conn, CHAIN)
    if state.frozen or state.final is None or not bench.machine.world.has(state.final):
        return
    try:
        result = reconcile.reconcile(bench.db, bench.chain)
    except Unavailable:
        return
    for stray in result.strays:
        yield f"I5: coins of {stray.address}: {stray.coins}, on chain {stray.on_chain}"


def held_coins(db: Database) -> frozenset[str]:
    """Return the coins that spends on their way hold."""
    with db.read() as conn:
        return claims.held_in_flight(conn, CHAIN)
