"""The seam for wallets that several owners sign for.

A spend of such a wallet needs several signatures: each owner signs the same content under a request
of his own, the chain says whose a signature is, and joins them when there are enough. Where the
wallet is a contract, what is joined travels inside a transaction of somebody else, who pays the
network: the relayer. Where it spends coins there is neither contract nor relayer: what it is
follows from its descriptor, and what is joined is the transaction itself. Addresses are the chain's
canonical text, lists of owners are sorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from core.errors import Unavailable

if TYPE_CHECKING:
    from chains.base import BlockRef, Coin, Effect, FeeRate, SignedTx, SpendIntent, UnsignedTx

OWNERS = "owners"
"""The asset key of an effect that moves nothing: a wallet gets other owners.

`owners` alone adds the destination and sets the threshold to the amount; `owners-ADDRESS` takes
that owner away, puts the destination in his place (the wallet itself: nobody) and sets the
threshold to the amount (0: as it was).
"""


def changes_owners(asset_key: str) -> bool:
    """Return whether an effect changes a wallet's owners instead of moving something."""
    return asset_key == OWNERS or asset_key.startswith(f"{OWNERS}-")


class NotAWallet(Unavailable):
    """The node answers, and what stands at the address does not answer as such a wallet does."""

    def __init__(self, wallet: str, what: str) -> None:
        super().__init__(f"no_wallet: {wallet} gives no {what}")


@dataclass(frozen=True, slots=True)
class WalletState:
    """What a contract wallet is in the state after one block."""

    owners: tuple[str, ...]
    """In the wallet's own order."""
    threshold: int
    nonce: int
    """Of its next transaction."""
    code: str
    """The contract whose code it runs."""
    handler: str
    """Who answers calls that its code does not know; empty: nobody."""
    extensions: tuple[str, ...]
    """Whoever may move its money, or stop it from moving, beside the owners."""


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """What one owner signs."""

    owner: str
    digest: bytes
    document: str
    """What his device shows him, as JSON (EIP-712 on account chains); its hash is the digest."""


@dataclass(frozen=True, slots=True)
class Relayed:
    """A wallet's signed transaction inside a transaction of somebody else, as a decoder read it."""

    wallet: str
    nonce: int
    """Of the wallet; the signatures hold at this one only."""
    digest: bytes
    signers: tuple[str, ...]
    """Who signed it, in the order of the bytes, which is ascending and without repetition."""


class Wallets(Protocol):
    """What a chain does for wallets of several owners . Holds no key."""

    def state(self, wallet: str, at: BlockRef) -> WalletState:
        """Return what a wallet is in the state after one block. Unavailable: it is none."""
        ...

    def units(self, wallet: str, effects: Sequence[Effect], state: WalletState) -> int:
        """Return how many units the inner transaction may use. Unavailable: it would revert."""
        ...

    def build(
        self, wallet: str, effects: Sequence[Effect], *, nonce: int, units: int, state: WalletState
    ) -> UnsignedTx:
        """Build the one transaction of a wallet that has these effects; owners sign its digest.

        Refused: zero_amount, intent_mismatch, too_large.
        """
        ...

    def requests(self, unsigned: UnsignedTx, owners: Sequence[str]) -> tuple[SigningRequest, ...]:
        """Return what each owner signs."""
        ...

    def owner_of(self, unsigned: UnsignedTx, signature: bytes) -> str:
        """Return whose a signature over the digest is.

        Refused: bad_signature (also any form that other content could be signed with).
        """
        ...

    def plain(self, signature: bytes) -> bytes:
        """Return a signature of our signer in the form that owners give theirs."""
        ...

    def join(self, unsigned: UnsignedTx, signatures: Sequence[bytes], state: WalletState) -> bytes:
        """Return the wallet's signed transaction, for a relayer.

        Refused: quorum_not_met (below the threshold), not_an_owner, already_approved (one owner
        twice), bad_signature, intent_mismatch (the wallet's nonce is another).
        """
        ...

    def relay_units(self, relay: bytes, *, relayer: str) -> int:
        """Return how many units the relayer's transaction may use. Unavailable: would revert."""
        ...

    def relay(
        self,
        relay: bytes,
        *,
        wallet_nonce: int,
        relayer: str,
        nonce: int,
        rate: FeeRate,
        units: int,
        fee_max: int,
    ) -> UnsignedTx:
        """Build the relayer's transaction. Refused: fee_above_cap, malformed."""
        ...


class CoinWallet(Protocol):
    """One wallet of several owners that spends coins, as its descriptor says. Holds no key.

    An owner is named by the address of his own key. What goes out to owners is a payload that their
    devices understand and that brings the proof of every amount; what comes back is such a payload
    with signatures in it. A signature here is all that one owner signs of a transaction.
    """

    @property
    def owners(self) -> tuple[str, ...]:
        """Return the owners, in the wallet's own order."""
        ...

    @property
    def threshold(self) -> int:
        """Return how many of them sign."""
        ...

    def draft(self, intent: SpendIntent, coins: Sequence[Coin], *, rate: FeeRate) -> UnsignedTx:
        """Build what owners sign, with as few of these coins as pay for it, and judge it.

        A cancellation uses all of them. What is left goes back to the wallet. Refused:
        exceeds_available, and as judge. Unavailable: no node has where a coin comes from.
        """
        ...

    def judge(self, unsigned: UnsignedTx, intent: SpendIntent) -> None:
        """Return when the intent explains everything that a payload does.

        Refused: foreign_input, unproven_amount, signature_scope, extra_effect, foreign_change,
        fee_above_cap, intent_mismatch, undecodable.
        """
        ...

    def coins_of(self, unsigned: UnsignedTx) -> tuple[Coin, ...]:
        """Return the coins that a payload uses up."""
        ...

    def take(self, unsigned: UnsignedTx, returned: bytes) -> tuple[tuple[str, bytes], ...]:
        """Return (owner, signature) of everybody who signed what came back.

        Refused: intent_mismatch (another transaction), unproven_amount, foreign_input,
        foreign_change, signature_scope, not_an_owner, bad_signature, quorum_not_met (nobody).
        """
        ...

    def owner_of(self, unsigned: UnsignedTx, signature: bytes) -> str:
        """Return whose a signature is. Refused: bad_signature, not_an_owner, signature_scope."""
        ...

    def joined(self, unsigned: UnsignedTx, signatures: Sequence[bytes]) -> bytes:
        """Return the payload with signatures in it, for the next owner."""
        ...

    def finalise(self, unsigned: UnsignedTx, signatures: Sequence[bytes]) -> SignedTx:
        """Return the signed transaction. Refused: quorum_not_met, already_approved, bad_signature.

        It was checked as the network will, by code that neither built nor joined it.
        """
        ...

    def shown(self, payload: bytes) -> list[str]:
        """Return a payload as texts that fit QR codes. Refused: too_large."""
        ...

    def seen(self, texts: Sequence[str]) -> bytes:
        """Return the payload of such texts, in any order. Refused: malformed, missing_field."""
        ...
