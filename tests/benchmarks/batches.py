"""Gas of one payment, alone and in a batch, as a node charges it; every payee is new."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from eth_account import Account

from chains.base import NATIVE, FeeRate, SpendIntent, SpendItem, SpendKind
from chains.evm import open_evm
from chains.evm.chain import EvmChain
from infra.devnet.deploy import Deployer
from infra.devnet.nodes import AnvilNode, start_anvil
from tests.benchmarks.measure import Fact
from tests.support.delegating import delegate
from tests.support.evm import (
    ETHER,
    FIRST,
    GWEI,
    SECOND,
    config_for,
    genesis_hash,
    listed,
    watched_address,
    withdrawal,
)

SIZES = (2, 10, 50)
RATE = FeeRate(10 * GWEI, GWEI)
DEARER = "giving a new account coin by a call costs 25,000 more; the planner leaves coin alone"


def contests(stack: contextlib.ExitStack) -> Iterator[Fact]:
    """Yield a line for the native coin and for a token."""
    node = stack.enter_context(start_anvil())
    contracts = Deployer(node)
    token = contracts.deploy("DemoToken", "Demo Dollar", "USDX", 6)
    token.send("mint", contracts.accounts[0], 10**12)
    config = config_for([node.url], listed(token.address), genesis=genesis_hash(node.url))
    chain = stack.enter_context(contextlib.closing(open_evm(config)))
    payer = delegate(node, FIRST, contracts.deploy("BatchPayer").address, carrier=SECOND)
    assert payer == str(Account.from_key(FIRST.secret_hex).address)
    fresh = iter(range(10**6))
    for name, key in (("native coin", NATIVE), ("token", token.address)):
        alone = withdrawal(chain, watched_address(next(fresh)), 5, asset_key=key)
        single = _gas(node, chain, alone)
        for size in SIZES:
            to = [watched_address(next(fresh)) for _ in range(size)]
            each = _gas(node, chain, _batch(chain, payer, key, to)) // size
            yield Fact(
                "batches", f"gas of one of {size} payments, {name}", f"{each:,}",
                f"alone {single:,} ({100 * each // single} %)", "less than alone", each < single,
                why="" if key != NATIVE else DEARER,
            )  # fmt: skip


def _batch(chain: EvmChain, payer: str, key: str, to: list[str]) -> SpendIntent:
    items = tuple(SpendItem(f"wd_{n}", one, 5) for n, one in enumerate(to))
    traits = chain.traits
    return SpendIntent(
        "sp_1", SpendKind.BATCH, "batch_1", traits.chain, traits.network, key, payer, payer,
        5 * len(to), ETHER, items,
    )  # fmt: skip


def _gas(node: AnvilNode, chain: EvmChain, intent: SpendIntent) -> int:
    nonce = chain.used_nonces(intent.source, chain.head())
    unsigned = chain.build(intent, nonce=nonce, rate=RATE, units=chain.fee_units(intent))
    signed = chain.assemble(unsigned, FIRST.sign(unsigned.digest))
    chain.broadcast(signed.raw)
    node.mine()
    status = chain.tx_status(signed.tx_id)
    assert status.succeeded
    assert status.effect_amount == intent.amount, "everybody is paid"
    receipt = node.call("eth_getTransactionReceipt", signed.tx_id)
    return int(receipt["gasUsed"], 16)
