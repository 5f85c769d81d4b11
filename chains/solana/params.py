"""What is pinned and configured for one network, checked once.

The unit of transaction space is 1,000 compute units; rates are lamports for one such unit, so a
rate is a compute unit price of rate × 1,000 micro-lamports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chains.solana.address import decode58
from core.ids import ChainId

CURVE = "ed25519"
COIN_TYPE = 501
"""Source: SLIP-44."""
UNIT = 1_000
"""Compute units in one unit of transaction space."""
UNITS_MAX = 1_400
"""Source: Solana documentation, compute budget: 1,400,000 compute units a transaction."""
SIGNATURE_FEE = 5_000
"""Lamports for each signature. Source: Solana documentation, fees."""
SUPPLY_MAX = (1 << 64) - 1
TRANSFERS_MAX = 8
"""Payments in one transaction: as many fit into a packet when each opens an account."""
MAIN_GENESIS = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d"
"""Source: Solana documentation, getGenesisHash of mainnet-beta."""


@dataclass(frozen=True, slots=True)
class SolanaParams:
    """One network: pinned identity, bounds of what is paid."""

    chain: ChainId
    genesis_hash: str
    fee_floor: int
    fee_cap: int
    units_cap: int = UNITS_MAX
    reorg_limit: int = 128
    batch_max: int = 0
    scales: Mapping[str, int] = field(default_factory=dict)
    """Decimals of each listed mint."""
    tickets: tuple[str, ...] = ()
    """Nonce accounts whose authorities are own wallets."""

    def __post_init__(self) -> None:
        if decode58(self.genesis_hash, 32) is None:
            raise ValueError("genesis_hash is 32 bytes in base58")
        if not 0 < self.fee_floor <= self.fee_cap:
            raise ValueError("0 < fee_floor <= fee_cap")
        if not 0 < self.units_cap <= UNITS_MAX:
            raise ValueError(f"units_cap lies in 1..{UNITS_MAX}")
        if not 0 <= self.batch_max <= TRANSFERS_MAX:
            raise ValueError(f"batch_max lies in 0..{TRANSFERS_MAX}")

    @property
    def network(self) -> str:
        """Return the pinned identity as one text."""
        return f"solana:{self.genesis_hash}"

    @property
    def is_main_network(self) -> bool:
        """Tell whether coins of this network have a price."""
        return self.genesis_hash == MAIN_GENESIS
