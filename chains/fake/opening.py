"""Opens the scripted chain as the registry opens every chain."""

from __future__ import annotations

from chains.fake.chain import FakeChain
from chains.fake.world import FakeWorld
from chains.registry import ChainConfig


def open_fake(config: ChainConfig, world: FakeWorld | None = None) -> FakeChain:
    """Open a configured connection to a world; by default a new one of this chain number."""
    name = f"fake-{config.chain_number}"
    return FakeChain(
        world or FakeWorld(name),
        chain=config.chain,
        network=f"{name}:{config.genesis_hash}",
        rate_floor=config.fee_floor,
        rate_cap=config.fee_cap,
        tip=config.tip,
        reorg_limit=config.reorg_limit,
        batch_max=config.batch_max,
    )
