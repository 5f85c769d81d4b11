"""The one place where chains plug in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chains.base import AssetSpec, Chain
from core.errors import Reason, Refused
from core.ids import ChainId


@dataclass(frozen=True, slots=True)
class ChainConfig:
    """Everything a chain is opened with. Rates are native units per unit of transaction space."""

    kind: str
    """Key of CHAINS."""
    chain: ChainId
    node_urls: tuple[str, ...]
    quorum: int
    """Nodes that must agree; a majority of node_urls."""
    chain_number: int
    genesis_hash: str
    fee_floor: int
    fee_cap: int
    tip: int
    assets: tuple[AssetSpec, ...] = ()
    """The listed assets of this chain."""
    units_cap: int = 500_000
    """Most units (gas, virtual bytes) one transaction may use."""
    batch_max: int = 0
    """Most payments in one transaction; 0: each is one of its own."""
    confirmations: int = 6
    """Blocks, its own included, that make one final where no rule of the chain says it."""
    bands: tuple[tuple[int, int], ...] = ()
    """(native amount, confirmations), rising: payments of at least so much wait for so many."""
    purpose: int = 0
    """First step of the derivation paths of own keys, on chains with several; 0: the usual one."""
    tickets: tuple[str, ...] = ()
    """Accounts on the chain that hold the tickets of our own senders."""
    reorg_limit: int = 128
    timeout_ms: int = 10_000


def _open_evm(config: ChainConfig) -> Chain:
    from chains.evm import open_evm

    return open_evm(config)


def _open_bitcoin(config: ChainConfig) -> Chain:
    from chains.bitcoin.opening import open_bitcoin

    return open_bitcoin(config)


def _open_fake(config: ChainConfig) -> Chain:
    from chains.fake import open_fake

    return open_fake(config)


def _open_solana(config: ChainConfig) -> Chain:
    from chains.solana.opening import open_solana

    return open_solana(config)


CHAINS: dict[str, Callable[[ChainConfig], Chain]] = {
    "bitcoin": _open_bitcoin,
    "evm": _open_evm,
    "fake": _open_fake,
    "solana": _open_solana,
}


def open_chain(config: ChainConfig) -> Chain:
    """Open a configured chain; its libraries are imported only now. Refused: unknown_chain."""
    opener = CHAINS.get(config.kind)
    if opener is None:
        raise Refused(Reason.UNKNOWN_CHAIN, f"there is no kind of chain called {config.kind!r}")
    for asset in config.assets:
        if asset.chain != config.chain:
            raise ValueError(f"{asset.symbol} is listed on {asset.chain}, not {config.chain}")
    return opener(config)
