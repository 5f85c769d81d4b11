"""What goes out over the seam: an intended transaction, its bytes, what they do, what became of it.

chains.base offers all of it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from chains.multisig import Relayed
from core.errors import Reason, Refused
from core.ids import ChainId


@dataclass(frozen=True, slots=True)
class BlockRef:
    """One block, named by height and hash together."""

    height: int
    hash: str


class SpendKind(enum.StrEnum):
    """Why an outgoing transaction exists."""

    WITHDRAWAL = "withdrawal"
    SWEEP = "sweep"
    TOP_UP = "top_up"
    CANCELLATION = "cancellation"
    """Spends the nonce (or the coin) back to ourselves: the declared spend can never land."""
    DELEGATION = "delegation"
    """Moves nothing: an account of ours begins to run the code of a contract in the roster."""
    ROTATION = "rotation"
    """Moves a wallet's money from retired keys to the wallet's present ones."""
    OWNERS = "owners"
    """Moves nothing: a wallet of several owners gets another one, or another threshold."""
    BATCH = "batch"
    """Carries out several withdrawals of one asset, each for itself: one may fail alone."""


@dataclass(frozen=True, slots=True)
class SpendItem:
    """One withdrawal inside a batch: whom it pays and how much, in the batch's asset."""

    cause_id: str
    destination: str
    amount: int


BATCH_ITEMS_MAX = 64
"""Withdrawals in one batch, on any chain."""


@dataclass(frozen=True, slots=True)
class SpendIntent:
    """What one outgoing transaction may do, and all it may do.

    Officers sign its hash (custody.keys.intent).
    """

    spend_id: str
    kind: SpendKind
    cause_id: str
    """The withdrawal, or the sweep job, this spend carries out."""
    chain: ChainId
    network: str
    asset_key: str
    source: str
    destination: str
    amount: int
    fee_max: int
    """Most native units the transaction may cost in fees, over all replacements."""
    items: tuple[SpendItem, ...] = ()
    """Of a batch, and of nothing else: what it pays, in this order. Its destination is its own
    source, its amount the sum of all."""


def check_batch(intent: SpendIntent) -> None:
    """Return when a batch is one. Refused: intent_mismatch, zero_amount, same_account."""
    if intent.destination != intent.source:
        raise Refused(Reason.INTENT_MISMATCH, "a batch is sent to its own source")
    if not intent.items or sum(one.amount for one in intent.items) != intent.amount:
        raise Refused(Reason.INTENT_MISMATCH, "the amount of a batch is the sum of its items")
    if len({one.cause_id for one in intent.items}) != len(intent.items):
        raise Refused(Reason.INTENT_MISMATCH, "a withdrawal stands in a batch twice")
    for one in intent.items:
        if one.amount <= 0:
            raise Refused(Reason.ZERO_AMOUNT, one.cause_id)
        if one.destination == intent.source:
            raise Refused(Reason.SAME_ACCOUNT, one.cause_id)


@dataclass(frozen=True, slots=True)
class Coin:
    """A coin of ours, which one transaction uses up. Only on chains that spend coins."""

    outpoint: str
    """Its name: the transaction that made it, and where in there."""
    owner: str
    """Address whose key must sign."""
    amount: int


@dataclass(frozen=True, slots=True)
class FeeRate:
    """Price of one unit of transaction space, in native units.

    The most we pay and the tip inside it.
    """

    max_rate: int
    tip_rate: int


@dataclass(frozen=True, slots=True)
class UnsignedTx:
    """A built transaction: `payload` is its unsigned serialisation.

    `digest` the 32 bytes to sign.
    """

    chain: ChainId
    sender: str
    nonce: int
    payload: bytes
    digest: bytes
    fee_max: int


@dataclass(frozen=True, slots=True)
class Effect:
    """One movement of money that a transaction would cause."""

    asset_key: str
    destination: str
    amount: int


@dataclass(frozen=True, slots=True)
class Input:
    """One coin that a transaction spends, with its amount proven by the transaction it comes from.

    Only on chains that spend coins.
    """

    outpoint: str
    owner: str
    """Address whose key must sign."""
    amount: int
    digest: bytes
    """The 32 bytes that this input's signature signs."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a payload does, read from its bytes by code that is not the builder's.

    `effects` are all of its outputs, change included.
    """

    network: str
    nonce: int
    """0 on chains that spend coins."""
    effects: tuple[Effect, ...]
    fee_max: int
    digest: bytes
    """The bytes to sign; where inputs are signed one by one, what names the transaction."""
    inputs: tuple[Input, ...] = ()
    source_is_contract: bool = False
    """The sender is a contract wallet; a key that is one of its owners signs, the nonce is its."""
    is_batch: bool = False
    """Its effects happen one by one, and one that fails undoes no other."""
    runs_own_code: bool = False
    """What it does depends on the code that its sender runs (ChainReader.delegate_of)."""
    relayed: Relayed | None = None
    """The effects are those of a wallet's transaction that travels inside this one."""
    ticket: str = ""
    """What it uses up, on chains where that is neither a number nor a coin: a value that stands on
    the chain until one transaction, whether it succeeds or fails, replaces it."""
    signers: tuple[str, ...] = ()
    """Who signs `digest`, in the order of the signatures, where it is not the sender alone. The
    first one pays the fee."""

    def claims(self, sender: str) -> tuple[str, ...]:
        """Return what two transactions cannot both use: the sender's nonce, the coins, the ticket.

        Where a wallet's transaction is relayed, the wallet's nonce too.
        """
        if self.inputs:
            return tuple(one.outpoint for one in self.inputs)
        if self.ticket:
            return (self.ticket,)
        own = f"{sender}/{self.nonce}"
        inner = self.relayed
        return (own,) if inner is None else (own, f"{inner.wallet}/{inner.nonce}")


@dataclass(frozen=True, slots=True)
class SignedTx:
    """Bytes ready to leave; saved before they do."""

    tx_id: str
    raw: bytes


class BroadcastOutcome(enum.StrEnum):
    """What became of bytes that were sent. A timeout is UNKNOWN, never a failure."""

    ACCEPTED = "accepted"
    ALREADY_KNOWN = "already_known"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class BroadcastResult:
    """An outcome and the node's own words."""

    outcome: BroadcastOutcome
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ItemStatus:
    """What became of one item of a batch."""

    paid: bool
    """The item's own call succeeded."""
    amount: int
    """What arrived at its destination; 0 when it was not paid."""


@dataclass(frozen=True, slots=True)
class TxStatus:
    """Where a transaction of ours stands on the node's current chain.

    block is None while not included.
    """

    known: bool
    block: BlockRef | None = None
    succeeded: bool = False
    fee: int = 0
    """Native units really paid; meaningful once included, for failed transactions too."""
    inner_failed: bool = False
    """What it carried failed for good, though it was itself executed; then it did not succeed."""
    effect_amount: int = 0
    """Amount the transaction really moved to its destination; meaningful once included."""
    items: tuple[ItemStatus, ...] = ()
    """Of a batch that was included and succeeded, what became of each item, in their order."""
