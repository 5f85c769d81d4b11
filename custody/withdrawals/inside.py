"""Withdrawals to another customer of ours: settled in the engine, without a chain transaction.

The intent names the wallet `inside`, which has no key: no signature can be made for it, and what
names another wallet is never settled here. So a withdrawal is paid inside or on chain, never both.

    settle  ->  funding Capture (sender)   withdrawing -> in_transit:inside, fee
            ->  funding Credit (receiver)  in_transit:inside -> balance

Both rows and the end of the withdrawal are one transaction, and their numbers follow each other:
after a crash anywhere the engine still applies both, each once. The Credit cannot be refused,
because the Capture before it took at least as much out of the asset's supply.

The address is believed to be a customer's only with the signer's attestation: whoever writes into
our tables cannot make somebody's address his own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from core.clock import Clock
from core.errors import Corrupt, Reason, Refused, Unavailable
from core.ids import AssetNo, ChainId, CustomerNo, WithdrawalId
from custody import audit_log, chain_state, funding, velocity
from custody.db import Amount, Database, Int64, Text, append_only, next_number, table
from custody.funding import FundingKind
from custody.spending.drive import Note, Problem
from custody.wallets import addresses
from custody.withdrawals import approvals, states
from custody.withdrawals.releasing import Gate, Ready
from custody.withdrawals.states import Withdrawal, WithdrawalState, WithdrawalVerb

WALLET = states.INSIDE
"""What the intent and the policy's input name as paying wallet (DestinationKind.OWN_CUSTOMER)."""
BATCH_MAX = 20
SETTLED_MAX = 100

inside_transfers = table(
    "inside_transfers",
    sa.Column("withdrawal_id", Text, sa.ForeignKey("withdrawals.withdrawal_id"), primary_key=True),
    sa.Column("transfer_no", Int64, nullable=False, unique=True),
    sa.Column("sender_no", Int64, sa.ForeignKey("customers.customer_no"), nullable=False),
    sa.Column("receiver_no", Int64, sa.ForeignKey("customers.customer_no"), nullable=False),
    sa.Column("asset_no", Int64, sa.ForeignKey("assets.asset_no"), nullable=False),
    sa.Column("address", Text, nullable=False),
    sa.Column("amount", Amount, nullable=False),
    sa.Column("fee", Amount, nullable=False),
    sa.Column("at_ns", Int64, nullable=False),
    sa.Index("ix_inside_transfers_receiver", "receiver_no", "transfer_no"),
    sa.CheckConstraint("sender_no <> receiver_no", name="two_customers"),
)
append_only(inside_transfers)


@dataclass(frozen=True, slots=True)
class InsideTransfer:
    """One settled withdrawal between two customers. The receiver gets amount, the fee is ours."""

    withdrawal_id: WithdrawalId
    transfer_no: int
    sender_no: CustomerNo
    receiver_no: CustomerNo
    asset_no: AssetNo
    address: str
    amount: int
    fee: int
    at_ns: int


def settle(
    conn: sa.Connection, row: Withdrawal, *, attestation_key: bytes, now_ns: int
) -> InsideTransfer:
    """Pay an approved withdrawal to its receiver and end it, in one transaction.

    The caller has judged that it may be released. Refused: intent_mismatch (another wallet pays
    it), illegal_transition, own_address (no other customer's address), bad_attestation.
    """
    intent = approvals.intent_of(row)
    if intent.wallet != WALLET:
        raise Refused(Reason.INTENT_MISMATCH, f"{row.withdrawal_id} is paid by {intent.wallet}")
    receiver = addresses.find(conn, row.chain, row.destination)
    if receiver is None or receiver.customer_no in (None, row.customer_no):
        raise Refused(Reason.OWN_ADDRESS, f"{row.destination} is no other customer's address")
    assert receiver.customer_no is not None
    addresses.check_shown(receiver, network=intent.network, attestation_key=attestation_key)
    done = states.advance(conn, row, WithdrawalVerb.SETTLE, now_ns=now_ns)
    velocity.release(conn, row.withdrawal_id, now_ns)
    made = InsideTransfer(
        withdrawal_id=row.withdrawal_id,
        transfer_no=next_number(conn, "inside_transfer"),
        sender_no=row.customer_no,
        receiver_no=receiver.customer_no,
        asset_no=row.asset_no,
        address=row.destination,
        amount=row.amount,
        fee=row.fee,
        at_ns=now_ns,
    )
    values = {c.name: getattr(made, c.name) for c in inside_transfers.c}
    conn.execute(inside_transfers.insert().values(**values))
    for kind, customer_no, amount in (
        (FundingKind.CAPTURE, made.sender_no, made.amount + made.fee),
        (FundingKind.RECEIVE, made.receiver_no, made.amount),
    ):
        funding.put(
            conn, kind, customer_no=customer_no, asset_no=made.asset_no, amount=amount,
            cause_id=made.withdrawal_id,
        )  # fmt: skip
    audit_log.record(
        conn, actor="platform", action="withdrawal.settle_inside", subject=done.withdrawal_id,
        detail={"receiver": f"customer:{made.receiver_no}"}, at_ns=now_ns,
    )  # fmt: skip
    return made


def step(
    db: Database,
    chain: ChainId,
    *,
    may: Gate,
    attestation_key: Callable[[], bytes],
    clock: Clock,
    note: Note,
) -> int:
    """Settle approved withdrawals of a chain's addresses between customers; return how many.

    One that may not be released now stays approved and does not stop the others.
    """
    with db.read() as conn:
        if chain_state.state(conn, chain).frozen:
            return 0
    settled = 0
    for row in _approved(db, chain):

        def apply(conn: sa.Connection, row: Withdrawal = row) -> bool:
            found = may.release(conn, row)
            if found.ready is Ready.GO:
                settle(conn, found.row, attestation_key=attestation_key(), now_ns=clock.now_ns())
            return found.ready is Ready.GO

        try:
            may.look(db, row)
            settled += db.run(apply)
        except (Refused, Unavailable) as error:
            note(Problem(row.withdrawal_id, str(error)))
        if settled == SETTLED_MAX:
            break
    return settled


def _approved(db: Database, chain: ChainId) -> Iterator[Withdrawal]:
    """Yield every approved one in the order of the requests: who waits stands in nobody's way."""
    after = 0
    while True:
        with db.read() as conn:
            page = states.in_states(
                conn, [WithdrawalState.APPROVED], chain=chain, wallet=WALLET, after=after,
                limit=BATCH_MAX,
            )  # fmt: skip
        yield from page
        if len(page) < BATCH_MAX:
            return
        after = page[-1].request_no


def of_withdrawal(conn: sa.Connection, withdrawal_id: WithdrawalId) -> InsideTransfer | None:
    """Return how a withdrawal was settled inside; None when it was not."""
    row = conn.execute(
        sa.select(inside_transfers).where(inside_transfers.c.withdrawal_id == withdrawal_id)
    ).one_or_none()
    return None if row is None else _transfer(row)


def booked(conn: sa.Connection, withdrawal_id: str, *, receiver_no: int) -> InsideTransfer:
    """Return what settlement books for a receiver's credit. Corrupt: it was never settled."""
    found = of_withdrawal(conn, WithdrawalId(withdrawal_id))
    if found is None or found.receiver_no != receiver_no:
        raise Corrupt(f"{withdrawal_id} was not settled with customer {receiver_no}")
    return found


def received(
    conn: sa.Connection, customer_no: CustomerNo, *, after: int = 0, limit: int = 100
) -> list[InsideTransfer]:
    """Return what a customer got from other customers, oldest first."""
    query = (
        sa.select(inside_transfers)
        .where(
            inside_transfers.c.receiver_no == customer_no, inside_transfers.c.transfer_no > after
        )
        .order_by(inside_transfers.c.transfer_no)
        .limit(limit)
    )
    return [_transfer(row) for row in conn.execute(query)]


def settled_ids(conn: sa.Connection) -> frozenset[str]:
    """Return the ids of every withdrawal that was settled inside."""
    return frozenset(conn.execute(sa.select(inside_transfers.c.withdrawal_id)).scalars())


def _transfer(row: sa.Row[tuple[object, ...]]) -> InsideTransfer:
    return InsideTransfer(**{c.name: getattr(row, c.name) for c in inside_transfers.c})
