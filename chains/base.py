"""The seam between custody and chains.

Values that cross it and the protocol every chain implements.

Nothing here knows a chain by name. Amounts are integers of the asset's smallest unit; addresses and
transaction ids are the chain's canonical text; hashes are lower-case hex text.

Every answer of a node may be a lie, late, or given twice. A reader raises `Unavailable` when an
answer is missing, incomplete or contradicts another one (the caller tries again later) and
`Corrupt` when the node is not the network it is pinned to.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from core.ids import ChainId

NATIVE = "native"
"""The asset key of a chain's own coin; every other asset key is the canonical contract or mint."""


CODE = "code"
"""The asset key of an effect that moves nothing: an account begins to run a contract's code."""


@dataclass(frozen=True, slots=True)
class AssetSpec:
    """A listed asset as the data file states it. An asset is (chain, key), never a symbol."""

    chain: ChainId
    key: str
    symbol: str
    scale: int
    deposit_minimum: int
    withdrawal_minimum: int
    withdrawal_fee: int
    sweep_minimum: int
    odd: bool = False
    """Credit min(claimed, balance difference).

    The contract is known not to move what its event says.
    """


@dataclass(frozen=True, slots=True)
class ChainTraits:
    """What custody must know of a chain without knowing its name."""

    chain: ChainId
    network: str
    """Pinned identity (chain number and genesis hash) as one text; part of every signed intent."""
    is_main_network: bool
    coin_type: int
    """SLIP-44 number used in derivation paths."""
    curve: str
    """Name of the signature curve: `secp256k1` or `ed25519`."""
    reorg_limit: int
    """Blocks below the head that the follower keeps for finding a common ancestor."""
    purpose: int = 44
    """First step of derivation paths: 44, or 84 where witness programs are paid to."""
    spends_coins: bool = False
    """A transaction uses up coins (outpoints) of its sender instead of one nonce."""


@dataclass(frozen=True, slots=True)
class BlockRef:
    """One block, named by height and hash together."""

    height: int
    hash: str


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


class Standing(enum.StrEnum):
    """What stands at an address."""

    ACCOUNT = "account"
    """No code: whoever has the key, if anybody."""
    CONTRACT = "contract"
    """Code, which takes the asset as far as a simulation can tell."""
    REFUSES = "refuses"
    """Code that has no way to take the asset: a payment would fail."""


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

    def claims(self, sender: str) -> tuple[str, ...]:
        """Return what two transactions cannot both use: the sender's nonce, or the coins."""
        if self.inputs:
            return tuple(one.outpoint for one in self.inputs)
        return (f"{sender}/{self.nonce}",)


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
class TxStatus:
    """Where a transaction of ours stands on the node's current chain.

    block is None while not included.
    """

    known: bool
    block: BlockRef | None = None
    succeeded: bool = False
    fee: int = 0
    """Native units really paid; meaningful once included, for failed transactions too."""
    effect_amount: int = 0
    """Amount the transaction really moved to its destination; meaningful once included."""


class ChainReader(Protocol):
    """What followers, finality and reconciliation ask of a chain."""

    @property
    def traits(self) -> ChainTraits:
        """Return the pinned facts."""
        ...

    def check_identity(self) -> None:
        """Compare chain number and genesis hash with the pinned ones; Corrupt when they differ."""
        ...

    def head(self) -> BlockRef:
        """Return the newest block that enough nodes agree on."""
        ...

    def final_head(self) -> BlockRef | None:
        """Return the newest block that the chain itself calls final, None while there is none."""
        ...

    def block_at(self, height: int) -> Block | None:
        """Return the block now at a height of the node's chain, None above the head."""
        ...

    def payments_in(self, block: Block, watched: Collection[str]) -> Sequence[Payment]:
        """Return every payment to a watched address in exactly this block, complete or Unavailable.

        Unlisted assets are included (custody quarantines them); failed transactions and failed
        frames are not.
        """
        ...

    def balance_of(self, address: str, asset_key: str, at: BlockRef) -> int:
        """Return a balance in the state after exactly this block."""
        ...

    def standing_of(self, address: str, *, asset_key: str) -> Standing:
        """Return what stands at an address now, and whether it takes an asset."""
        ...

    def spent_coins(self, outpoints: Sequence[str], at: BlockRef) -> frozenset[str]:
        """Return which of these coins are spent in the state after exactly this block.

        None on chains without coins. Unavailable: a coin that no node has ever seen.
        """
        ...


class ChainWriter(Protocol):
    """What the one road out asks of a chain. Nothing here holds a private key."""

    def address_of(self, public_key: bytes) -> str:
        """Return the address of a compressed public key."""
        ...

    def parse_address(self, text: str) -> str:
        """Return canonical text.

        Refused: invalid_address (syntax, checksum), forbidden_destination (zero, burn, …).
        """
        ...

    def fee_rate(self) -> FeeRate:
        """Return the rate to pay now, clamped between the configured floor and cap."""
        ...

    def fee_units(self, intent: SpendIntent) -> int:
        """Return how many units (gas, virtual bytes) the transaction may use.

        With its safety margin.
        """
        ...

    def used_nonces(self, sender: str, at: BlockRef) -> int:
        """Return how many nonces of a sender are spent in the state after exactly this block."""
        ...

    def build(self, intent: SpendIntent, *, nonce: int, rate: FeeRate, units: int) -> UnsignedTx:
        """Build the one transaction that carries out the intent. Refused: fee_above_cap."""
        ...

    def bump(self, rate: FeeRate, *, current: FeeRate) -> FeeRate:
        """Return the lowest rate >= rate that replaces a transaction sent at `current`."""
        ...

    def rate_of(self, payload: bytes) -> FeeRate:
        """Return the rate a payload was built with."""
        ...

    def decode(self, payload: bytes, *, sender: str) -> Decoded:
        """Read a payload by code that is not the builder's. Refused: undecodable."""
        ...

    def assemble(self, unsigned: UnsignedTx, signature: bytes) -> SignedTx:
        """Join payload and signature, one after another by input, checking whose they are.

        Refused: bad_signature.
        """
        ...

    def broadcast(self, raw: bytes) -> BroadcastResult:
        """Send bytes to every configured node; never raises for an answer or a missing one."""
        ...

    def tx_status(self, tx_id: str) -> TxStatus:
        """Return where a transaction stands. Unavailable when the node does not answer."""
        ...

    def control_digest(self, challenge: bytes) -> bytes:
        """Return the 32 bytes that prove control of an address once signed (EIP-191, …)."""
        ...

    def control_proof(self, challenge: bytes, signature: bytes, *, address: str) -> bytes:
        """Return the portable proof made of a signature. Refused: bad_signature."""
        ...


class Chain(ChainReader, ChainWriter, Protocol):
    """One chain: reading and writing."""

    def close(self) -> None:
        """Let go of the connections to its nodes."""
        ...
