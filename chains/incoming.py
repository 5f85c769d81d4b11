"""What comes in over the seam: a block, what it paid to us, what an address or a transaction is.

chains.base offers all of it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from chains.outgoing import BlockRef

UNEXPLAINED = "unexplained_balance"
"""Anomaly of native coin that an address gained and no transaction explains."""
FOREIGN_AUTHORITY = "foreign_authority"
"""Anomaly of tokens in an account of ours that somebody else may empty or has frozen."""
POWERFUL_ISSUER = "powerful_issuer"
"""Anomaly of tokens whose issuer may take them back, or runs code of its own at every transfer."""
SET_ASIDE = frozenset({UNEXPLAINED, FOREIGN_AUTHORITY, POWERFUL_ISSUER})
"""Anomalies whose money is there, and is listed for a person instead of credited."""


@dataclass(frozen=True, slots=True)
class Block:
    """A header whose link to its parent is known. `body` belongs to the chain that made it."""

    ref: BlockRef
    parent_hash: str
    time_s: int
    body: object = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Payment:
    """Money that reached a watched address in one block.

    Key: (chain, tx_id, position, asset_key).
    """

    tx_id: str
    position: str
    """Where in the transaction: log index, output, or path of the call frame."""
    asset_key: str
    to_address: str
    from_address: str | None
    amount: int
    """Delivered, which is what counts."""
    claimed: int
    """What the event said; differs from amount only with an anomaly."""
    anomaly: str | None = None
    """Why a person should look (`delivered_less`, `not_delivered`, …).

    The amount is still the delivered one.
    """
    extra_depth: int = 0
    """Blocks that this payment waits for after its block is final: large amounts wait longer."""


class Standing(enum.StrEnum):
    """What stands at an address."""

    ACCOUNT = "account"
    """No code: whoever has the key, if anybody."""
    CONTRACT = "contract"
    """Code, which takes the asset as far as a simulation can tell."""
    REFUSES = "refuses"
    """Code that has no way to take the asset: a payment would fail."""


@dataclass(frozen=True, slots=True)
class BalanceChange:
    """One balance of a transaction's sender or receiver before and after it."""

    address: str
    asset_key: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a transaction would do, as nodes ran it on the state after one block.

    Fees are left out: they are not known before the transaction is included.
    """

    at: BlockRef
    succeeded: bool
    changes: tuple[BalanceChange, ...] = ()
    others: tuple[str, ...] = ()
    """Everything else that would change, in words; empty is what an honest payment has."""
    detail: str = ""
    """Why it would fail, in the node's words."""
