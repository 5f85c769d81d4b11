"""Opening one network as configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chains.base import BATCH_ITEMS_MAX, NATIVE
from chains.bitcoin.chain import BitcoinChain
from chains.bitcoin.node import BitcoinNode
from chains.bitcoin.params import NETWORKS, PURPOSE, BitcoinParams
from chains.rpc import NodeSet, RpcClient

if TYPE_CHECKING:
    from chains.registry import ChainConfig


def open_bitcoin(config: ChainConfig) -> BitcoinChain:
    """Open one network as configured; asks no node yet (check_identity does).

    Which network it is, the hash of its first block says. chain_number is 0: there is none.
    """
    names = [
        network.name for network in NETWORKS.values() if network.genesis_hash == config.genesis_hash
    ]
    if not names:
        raise ValueError("genesis_hash is that of no network that is known here")
    if config.chain_number:
        raise ValueError("chain_number is 0: this network has none")
    if config.tickets:
        raise ValueError("there are no tickets on this chain")
    for asset in config.assets:
        if asset.key != NATIVE:
            raise ValueError(f"{asset.symbol}: there is one asset on this chain")
    params = BitcoinParams(
        chain=config.chain,
        network_name=names[0],
        fee_floor=config.fee_floor,
        fee_cap=config.fee_cap,
        reorg_limit=config.reorg_limit,
        confirmations=config.confirmations,
        bands=config.bands,
        purpose=config.purpose or PURPOSE,
        batch_max=min(config.batch_max, BATCH_ITEMS_MAX),
    )
    nodes = tuple(
        BitcoinNode(RpcClient(url, timeout_ms=config.timeout_ms)) for url in config.node_urls
    )
    return BitcoinChain(params, NodeSet(nodes, config.quorum))
