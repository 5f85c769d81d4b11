"""What is pinned and configured for one network, checked once."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from core.ids import ChainId

PURPOSE = 84
"""Keys stand at m/84'/coin_type'/account'/0/index. Source: BIP-84."""
PURPOSE_TAPROOT = 86
"""Or at m/86'/…, where own addresses are taproot keys. Source: BIP-86."""
COIN = 100_000_000
"""Native units (satoshi) in one coin."""
SUPPLY_MAX = 21_000_000 * COIN
"""No amount, and no sum of amounts, exceeds this. Source: consensus (MAX_MONEY)."""
MATURITY = 100
"""Blocks above its own from which on a coinbase can be spent. Source: consensus."""
RATE_MAX = 10_000
"""No configuration may allow more than this, in native units per virtual byte."""


@dataclass(frozen=True, slots=True)
class Network:
    """What tells one network from another. Sources: BIP-173, SLIP-44, Core's parameters."""

    name: str
    genesis_hash: str
    human_part: str
    key_version: int
    """First byte of a base58 address that pays to a key's hash."""
    script_version: int
    """First byte of a base58 address that pays to a script's hash."""
    coin_type: int
    easiest_bits: int
    """The least work that a block may claim, in its compact form."""
    heights_from: int
    """First height that its block's first transaction names (BIP-34)."""


NETWORKS = {
    network.name: network
    for network in (
        Network(
            "main",
            "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
            "bc", 0x00, 0x05, 0, 0x1D00FFFF, 227_931,
        ),
        Network(
            "testnet4",
            "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043",
            "tb", 0x6F, 0xC4, 1, 0x1D00FFFF, 1,
        ),
        Network(
            "signet",
            "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6",
            "tb", 0x6F, 0xC4, 1, 0x1E0377AE, 1,
        ),
        Network(
            "regtest",
            "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
            "bcrt", 0x6F, 0xC4, 1, 0x207FFFFF, 1,
        ),
    )
}  # fmt: skip
"""By name. Those whose coins have no price are all but `main`."""


@dataclass(frozen=True, slots=True)
class BitcoinParams:
    """One network and the bounds of what is paid. Rates in native units per virtual byte."""

    chain: ChainId
    network_name: str
    fee_floor: int
    fee_cap: int
    reorg_limit: int
    confirmations: int = 6
    """Blocks, its own included, that make one final to us; no rule of the chain says it."""
    batch_max: int = 0
    """Most payments in one transaction; 0: each is one of its own."""
    bands: tuple[tuple[int, int], ...] = ()
    """(amount, confirmations), both rising: from so much on, so many instead."""
    purpose: int = PURPOSE
    """Of which kind own addresses are: PURPOSE or PURPOSE_TAPROOT."""

    def __post_init__(self) -> None:
        if self.network_name not in NETWORKS:
            raise ValueError(f"network_name is one of {', '.join(NETWORKS)}")
        if self.purpose not in (PURPOSE, PURPOSE_TAPROOT):
            raise ValueError("purpose is 84 (a key's hash) or 86 (a taproot key)")
        if not 0 < self.fee_floor <= self.fee_cap <= RATE_MAX:
            raise ValueError(f"0 < fee_floor <= fee_cap <= {RATE_MAX}")
        if self.confirmations < 1:
            raise ValueError("a block is final at its first confirmation at the earliest")
        steps = ((0, self.confirmations), *self.bands)
        for (low, few), (high, many) in itertools.pairwise(steps):
            if not (low < high <= SUPPLY_MAX and few <= many < MATURITY):
                raise ValueError("bands rise, in amount and in confirmations")

    def extra_depth(self, amount: int) -> int:
        """Return how many blocks a payment waits for after its own is final."""
        wanted = [many for low, many in self.bands if amount >= low]
        return wanted[-1] - self.confirmations if wanted else 0

    @property
    def place(self) -> Network:
        """Return the network's pinned facts."""
        return NETWORKS[self.network_name]

    @property
    def network(self) -> str:
        """Return the pinned identity as one text. Source: CAIP-2 with the whole genesis hash."""
        return f"bip122:{self.place.genesis_hash}"

    @property
    def is_main_network(self) -> bool:
        """Tell whether coins of this network have a price."""
        return self.network_name == "main"
