"""What is configured for one network, checked once."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.ids import ChainId

GWEI = 1_000_000_000
COIN_TYPE = 60
CURVE = "secp256k1"
PLAIN_TRANSFER_GAS = 21_000

# The only networks whose coins have no price: two numbers of local nodes, Holesky, Hoodi, Sepolia.
# Every other number, known or not, is taken for a main network.
TEST_NETWORKS = frozenset({1337, 31337, 17_000, 560_048, 11_155_111})

# MultiSendCallOnly where the deterministic factory put it: it makes calls, never delegate calls.
# Source: github.com/safe-global/safe-deployments, multi_send_call_only.json of 1.4.1 and 1.5.0.
MULTI_SEND_CALL_ONLY = frozenset(
    {
        "0x9641d764fc13c8B624c04430C7356C1C7C8102e2",
        "0xA83c336B20401Af773B6219BA5027174338D1836",
    }
)

_HASH = re.compile(r"0x[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class EvmParams:
    """One network: pinned identity, bounds of what is paid. Rates in wei per gas."""

    chain: ChainId
    chain_number: int
    genesis_hash: str
    fee_floor: int
    fee_cap: int
    tip: int
    gas_cap: int
    reorg_limit: int
    batch_max: int = 0
    multisends: frozenset[str] = MULTI_SEND_CALL_ONLY
    """Contracts whose code a contract wallet may run as its own: several plain calls in one."""

    def __post_init__(self) -> None:
        if self.chain_number < 1:
            raise ValueError("chain_number is at least 1")
        if _HASH.fullmatch(self.genesis_hash) is None:
            raise ValueError("genesis_hash is 0x and 64 lower-case hexadecimal digits")
        if not 0 < self.fee_floor <= self.fee_cap:
            raise ValueError("0 < fee_floor <= fee_cap")
        if not 0 <= self.tip <= self.fee_cap:
            raise ValueError("0 <= tip <= fee_cap")
        if self.gas_cap < PLAIN_TRANSFER_GAS:
            raise ValueError("gas_cap allows at least a plain transfer")

    @property
    def network(self) -> str:
        """Return the pinned identity as one text."""
        return f"eip155:{self.chain_number}/{self.genesis_hash}"

    @property
    def is_main_network(self) -> bool:
        """Tell whether coins of this network have a price; an unknown network counts as one."""
        return self.chain_number not in TEST_NETWORKS
