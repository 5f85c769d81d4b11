"""Ethereum and networks that speak its execution API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chains.base import NATIVE
from chains.evm.address import checksum, raw_address
from chains.evm.chain import EvmChain
from chains.evm.node import EvmNode
from chains.evm.params import EvmParams
from chains.rpc import NodeSet, RpcClient

if TYPE_CHECKING:
    from chains.registry import ChainConfig


def open_evm(config: ChainConfig) -> EvmChain:
    """Open one network as configured; asks no node yet (check_identity does)."""
    for asset in config.assets:
        if asset.key != NATIVE and checksum(raw_address(asset.key)) != asset.key:
            raise ValueError(f"{asset.symbol}: an asset key is a checksummed contract address")
    params = EvmParams(
        chain=config.chain,
        chain_number=config.chain_number,
        genesis_hash=config.genesis_hash,
        fee_floor=config.fee_floor,
        fee_cap=config.fee_cap,
        tip=config.tip,
        gas_cap=config.units_cap,
        reorg_limit=config.reorg_limit,
        batch_max=config.batch_max,
    )
    nodes = tuple(EvmNode(RpcClient(url, timeout_ms=config.timeout_ms)) for url in config.node_urls)
    return EvmChain(params, NodeSet(nodes, config.quorum), config.assets)
