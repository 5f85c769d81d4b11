"""What each wallet of several owners was last known and allowed to be, and the watch over it.

The first time a wallet is seen it must be exactly what the roster's row says. From then on its
owners and threshold change only by a change that officers approved and we relayed, its code,
handler and extensions never, and each of its nonces is used by something that we sent. Anything
else stops the chain and opens an incident.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection

import sqlalchemy as sa

from chains.base import Chain, SpendKind
from chains.multisig import NotAWallet, WalletState
from core.clock import Clock
from core.errors import Refused
from core.ids import ChainId
from custody import chain_state
from custody.db import Database, Int64, Text, table
from custody.keys.roster import ContractWallet
from custody.keys.wallets import check_pins, read_change
from custody.multisig import rows
from custody.multisig.rows import Proposal, ProposalState

CHANGED = "wallet_changed"
"""The incident of a wallet that is not what it may be."""

wallet_pins = table(
    "wallet_pins",
    sa.Column("chain", Text, sa.ForeignKey("chain_states.chain"), primary_key=True),
    sa.Column("address", Text, primary_key=True),
    sa.Column("owners", Text, nullable=False),
    sa.Column("threshold", Int64, nullable=False),
    sa.Column("first_nonce", Int64, nullable=False),
)


def watch(
    db: Database, chain: Chain, row: ContractWallet, owners: Collection[str], *, clock: Clock
) -> str | None:
    """Judge a wallet at the final block; return what is wrong, after freezing its chain.

    owners: those of the roster. Unavailable: nothing is final, or the node does not say.
    """
    with db.read() as conn:
        final = chain_state.state(conn, row.chain).final
    if final is None or chain.wallets is None:
        return None
    state: WalletState | None = None
    with contextlib.suppress(NotAWallet):  # it may not stand there yet, or no longer
        state = chain.wallets.state(row.address, final)

    def apply(conn: sa.Connection) -> str | None:
        wrong = _judge(conn, row, state, owners)
        if wrong is not None and not chain_state.state(conn, row.chain).frozen:
            detail = f"{row.wallet} {row.address} at {final.height}: {wrong}"
            now_ns = clock.now_ns()
            chain_state.freeze(conn, row.chain, kind=CHANGED, detail=detail, now_ns=now_ns)
        return wrong

    return db.run(apply)


def changed(conn: sa.Connection, done: Proposal) -> None:
    """Note a change of owners that is final."""
    known = _known(conn, done.chain, done.address)
    if known is None:
        return  # never seen before: the first look compares it with the roster
    owners, threshold = _after(done, known[0], known[1])
    conn.execute(
        wallet_pins.update()
        .where(wallet_pins.c.chain == done.chain, wallet_pins.c.address == done.address)
        .values(owners=json.dumps(sorted(owners)), threshold=threshold)
    )


def _judge(
    conn: sa.Connection, row: ContractWallet, state: WalletState | None, owners: Collection[str]
) -> str | None:
    known = _known(conn, row.chain, row.address)
    if state is None:
        return None if known is None else "it does not answer as a wallet any more"
    try:
        check_pins(row, state)
    except Refused as refused:
        return refused.detail
    now = (frozenset(state.owners), state.threshold)
    if known is None:
        if now != (frozenset(owners), row.threshold):
            return "its owners are not those of the roster"
        conn.execute(
            wallet_pins.insert().values(
                chain=row.chain, address=row.address, owners=json.dumps(sorted(state.owners)),
                threshold=state.threshold, first_nonce=state.nonce,
            )
        )  # fmt: skip
        return None
    on_the_way = [
        _after(each, known[0], known[1])
        for each in rows.in_state(conn, row.chain, ProposalState.RELAYED)
        if each.kind is SpendKind.OWNERS and each.address == row.address
    ]
    if now not in [known[:2], *on_the_way]:
        return f"its owners changed to {sorted(state.owners)}, {state.threshold}"
    ours = rows.used_by_us(conn, row.chain, row.address, first=known[2], end=state.nonce)
    if ours != state.nonce - known[2]:
        return f"a nonce below {state.nonce} was used by what we did not send"
    return None


def _known(
    conn: sa.Connection, chain: ChainId, address: str
) -> tuple[frozenset[str], int, int] | None:
    row = conn.execute(
        sa.select(wallet_pins).where(wallet_pins.c.chain == chain, wallet_pins.c.address == address)
    ).one_or_none()
    return (
        None if row is None else (frozenset(json.loads(row.owners)), row.threshold, row.first_nonce)
    )


def _after(change: Proposal, owners: frozenset[str], threshold: int) -> tuple[frozenset[str], int]:
    gone, new, wanted = read_change(change.address, change.intent)
    return (owners - {gone}) | ({new} - {""}), wanted or threshold
