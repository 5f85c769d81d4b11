"""Opening one network as configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chains.base import NATIVE
from chains.rpc import NodeSet, RpcClient
from chains.solana.accounts import ACCOUNTS_AT_ONCE
from chains.solana.address import raw_address
from chains.solana.chain import SolanaChain
from chains.solana.node import SolanaNode
from chains.solana.params import TRANSFERS_MAX, UNITS_MAX, SolanaParams

if TYPE_CHECKING:
    from chains.registry import ChainConfig


def open_solana(config: ChainConfig) -> SolanaChain:
    """Open one network as configured; asks no node yet (check_identity does).

    Which network it is, the hash of its first block says. chain_number is 0: there is none.
    """
    if config.chain_number:
        raise ValueError("chain_number is 0: this network has none")
    if len(set(config.tickets)) != len(config.tickets) or len(config.tickets) > ACCOUNTS_AT_ONCE:
        raise ValueError(f"tickets are at most {ACCOUNTS_AT_ONCE} accounts, each once")
    for text in (*config.tickets, *(one.key for one in config.assets if one.key != NATIVE)):
        raw_address(text)
    params = SolanaParams(
        chain=config.chain,
        genesis_hash=config.genesis_hash,
        fee_floor=config.fee_floor,
        fee_cap=config.fee_cap,
        units_cap=min(config.units_cap, UNITS_MAX),
        reorg_limit=config.reorg_limit,
        batch_max=min(config.batch_max, TRANSFERS_MAX),
        scales={one.key: one.scale for one in config.assets if one.key != NATIVE},
        tickets=config.tickets,
    )
    nodes = tuple(
        SolanaNode(RpcClient(url, timeout_ms=config.timeout_ms)) for url in config.node_urls
    )
    return SolanaChain(params, NodeSet(nodes, config.quorum), config.assets)
