"""Transfer logs of real blocks, read from a node: proven and filtered by us, decoded by web3.py."""

from __future__ import annotations

import contextlib

from web3 import HTTPProvider, Web3

from chains.evm import open_evm
from infra.devnet.deploy import Deployer
from infra.devnet.nodes import start_anvil
from tests.benchmarks.measure import Contest
from tests.support.evm import config_for, genesis_hash, listed, watched_address

BLOCKS, PER_BLOCK, WATCHED_EVERY = 4, 150, 10


def contests(stack: contextlib.ExitStack) -> list[Contest]:
    """Return the contest over the same blocks of one node; both sides decode every log."""
    node = stack.enter_context(start_anvil(no_mining=True))
    deployer = Deployer(node)
    token = deployer.deploy("DemoToken", "Demo dollar", "USDD", 6)
    token.send("mint", token.creator, 10**15)
    node.mine()
    first = node.height() + 1
    for place in range(BLOCKS):
        for n in range(PER_BLOCK):
            to = watched_address(place * PER_BLOCK + n)
            node.call(
                "eth_sendTransaction",
                {"from": token.creator, "to": token.address, "gas": "0x186a0",
                 "data": token.data("transfer", to, n + 1)},
            )  # fmt: skip
        node.mine()
    config = config_for([node.url], listed(token.address, "USDD"), genesis=genesis_hash(node.url))
    chain = stack.enter_context(contextlib.closing(open_evm(config)))
    watched = frozenset(watched_address(n) for n in range(0, BLOCKS * PER_BLOCK, WATCHED_EVERY))
    blocks = [block for h in range(first, first + BLOCKS) if (block := chain.block_at(h))]
    web3 = Web3(HTTPProvider(node.url))
    contract = web3.eth.contract(
        address=Web3.to_checksum_address(token.address), abi=token.artifact.abi
    )

    def ours() -> int:
        chain.forget()
        found = sum(len(chain.payments_in(block, watched)) for block in blocks)
        assert found == len(watched)
        return BLOCKS * PER_BLOCK

    def peer() -> int:
        logs = 0
        for block in blocks:
            logs += len(contract.events.Transfer().get_logs(block_hash=block.ref.hash))
        assert logs == BLOCKS * PER_BLOCK
        return logs

    return [
        Contest(
            "indexing", "logs, proven against the block's roots", ours, peer,
            "web3.py get_logs, proves nothing", goal=">= 40 x web3.py end to end, later",
        )
    ]  # fmt: skip
