"""The seam between custody and chains.

Values that cross it and the protocol every chain implements.

Nothing here knows a chain by name. Amounts are integers of the asset's smallest unit; addresses and
transaction ids and hashes are the chain's canonical text.

Every answer of a node may be a lie, late, or given twice. A reader raises `Unavailable` when an
answer is missing, incomplete or contradicts another one (the caller tries again later) and
`Corrupt` when the node is not the network it is pinned to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from chains.incoming import (
    SET_ASIDE,
    UNEXPLAINED,
    BalanceChange,
    Block,
    Payment,
    Simulation,
    Standing,
)
from chains.multisig import CoinWallet, Wallets
from chains.outgoing import (
    BATCH_ITEMS_MAX,
    BlockRef,
    BroadcastOutcome,
    BroadcastResult,
    Coin,
    Decoded,
    Effect,
    FeeRate,
    Input,
    ItemStatus,
    SignedTx,
    SpendIntent,
    SpendItem,
    SpendKind,
    TxStatus,
    UnsignedTx,
    check_batch,
)
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
    """How keys sign: `secp256k1` (recoverable ECDSA), `ed25519`, or `bip340`: points of secp256k1
    that sign as the tweaked keys of BIP-86."""
    reorg_limit: int
    """Blocks below the head that the follower keeps for finding a common ancestor."""
    control: str = ""
    """Scheme by which control of an address is proved, one of custody.reserves.verify; empty: none
    that a stranger knows."""
    purpose: int = 44
    """First step of derivation paths: 44, or 84 or 86 where witness programs are paid to."""
    spends_coins: bool = False
    """A transaction uses up coins (outpoints) of its sender instead of one nonce."""
    uses_tickets: bool = False
    """A transaction uses up a ticket (Decoded.ticket) instead of a nonce (ChainReader.tickets)."""
    batch_max: int = 0
    """Most payments that one transaction may make, each for itself; 0: there are no batches."""
    balance_least: int = 0
    """An account holds nothing or at least so many native units; to leave less is to fail."""
    batches_coin: bool = True
    """Payments of the native coin are cheaper together than alone, whoever gets them."""


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

    def used_in(self, block: Block, outpoints: Collection[str]) -> Mapping[str, str]:
        """Return which of these coins exactly this block uses up, and in which transaction.

        Empty on chains without coins. Unavailable: as payments_in.
        """
        ...

    def pending(self, watched: Collection[str]) -> Sequence[Payment]:
        """Return the payments to watched addresses that wait for a block, as one node sees them.

        To be shown and never counted: they may be replaced or forgotten at any moment. Empty on
        chains whose waiting transactions nobody needs to see.
        """
        ...

    def balance_of(self, address: str, asset_key: str, at: BlockRef) -> int:
        """Return a balance in the state after exactly this block."""
        ...

    def balances_of(
        self, addresses: Sequence[str], asset_key: str, at: BlockRef
    ) -> Mapping[str, int]:
        """Return the balances of many addresses in the state after exactly this block."""
        ...

    def standing_of(self, address: str, *, asset_key: str) -> Standing:
        """Return what stands at an address now, and whether it takes an asset."""
        ...

    def delegate_of(self, address: str, at: BlockRef) -> str | None:
        """Return the contract whose code an account runs after exactly this block.

        None: it runs none. Refused: unknown_call (it is a contract with code of its own).
        """
        ...

    def spent_coins(self, outpoints: Sequence[str], at: BlockRef) -> frozenset[str]:
        """Return which of these coins are spent in the state after exactly this block.

        None on chains without coins. Tickets are asked for in the same way. Unavailable: a coin
        that no node has ever seen.
        """
        ...

    def tickets(self, sender: str, at: BlockRef) -> Sequence[str]:
        """Return the tickets that a sender may use in the state after exactly this block.

        A new transaction takes one that no other one of ours holds. Empty on chains without.
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

    def fee_units(self, intent: SpendIntent, coins: Sequence[Coin] = ()) -> int:
        """Return how many units (gas, virtual bytes) the transaction may use.

        With its safety margin; where coins are spent, with these as inputs (none: with as few as
        can be). Unavailable: it would fail as a whole.
        """
        ...

    def fee_extra(self, intent: SpendIntent) -> int:
        """Return the native units that it costs at any rate: signatures, rent of what it opens."""
        ...

    def choose(
        self, intent: SpendIntent, coins: Sequence[Coin], *, rate: FeeRate
    ) -> tuple[Coin, ...]:
        """Return the coins to carry out an intent with, of those that are free.

        Refused: exceeds_available. A sweep takes all coins it is offered that are worth their fee.
        """
        ...

    def payable_items(self, intent: SpendIntent) -> tuple[bool, ...]:
        """Return which items of a batch would be paid today, in their order.

        Unavailable: none, since the source can make no batches, or the node does not answer.
        """
        ...

    def used_nonces(self, sender: str, at: BlockRef) -> int:
        """Return how many nonces of a sender are spent in the state after exactly this block."""
        ...

    def build(
        self,
        intent: SpendIntent,
        *,
        nonce: int,
        rate: FeeRate,
        units: int,
        coins: Sequence[Coin] = (),
        ticket: str = "",
    ) -> UnsignedTx:
        """Build the one transaction that carries out the intent.

        Where coins are spent it uses all of these and no other, and what is left goes back to the
        intent's source; where tickets are used, this one. Neither has a nonce: it is 0 in what is
        built. Refused: fee_above_cap, exceeds_available (the coins do not pay for it).
        """
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

    def simulate(self, unsigned: UnsignedTx) -> Simulation:
        """Have nodes run an unsigned transaction on the newest state, and send nothing.

        Refused: undecodable. Unavailable: too few nodes answer alike, or they cannot simulate.
        """
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

    @property
    def wallets(self) -> Wallets | None:
        """Return what wallets of several owners need, None on a chain without them."""
        ...

    def coin_wallet(self, address: str, descriptor: str) -> CoinWallet | None:
        """Return a wallet of several owners that spends coins, None on a chain without coins.

        Refused: malformed, wrong_network, owner_change (the descriptor is another address's).
        """
        ...

    def control_digest(self, challenge: bytes, *, address: str) -> bytes:
        """Return the bytes that prove control of an address once signed (EIP-191, BIP-322, …)."""
        ...

    def control_proof(self, challenge: bytes, signature: bytes, *, address: str) -> bytes:
        """Return the portable proof made of a signature. Refused: bad_signature."""
        ...


class Chain(ChainReader, ChainWriter, Protocol):
    """One chain: reading and writing."""

    def close(self) -> None:
        """Let go of the connections to its nodes."""
        ...


__all__ = [
    "AssetSpec",
    "BATCH_ITEMS_MAX",
    "BalanceChange",
    "Block",
    "BlockRef",
    "BroadcastOutcome",
    "BroadcastResult",
    "CODE",
    "Chain",
    "ChainReader",
    "ChainTraits",
    "ChainWriter",
    "Coin",
    "Decoded",
    "Effect",
    "FeeRate",
    "Input",
    "ItemStatus",
    "NATIVE",
    "Payment",
    "SET_ASIDE",
    "SignedTx",
    "Simulation",
    "SpendIntent",
    "SpendItem",
    "SpendKind",
    "Standing",
    "TxStatus",
    "UNEXPLAINED",
    "UnsignedTx",
    "check_batch",
]
