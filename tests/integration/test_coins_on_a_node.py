"""Coins on a real node: what we judge, sign and join, it takes; what it says, we read."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from chains.base import FeeRate
from chains.bitcoin.address import script_of
from chains.bitcoin.chain import BitcoinChain
from chains.bitcoin.params import COIN
from chains.bitcoin.tx import parse_tx
from core.errors import Corrupt, Unavailable
from infra.devnet.coin_nodes import CoreNode, start_core
from infra.devnet.nodes import RpcRefused
from tests.support.bitcoin import (
    CHANGE,
    HOT,
    LOCAL,
    PARAMS,
    STRANGER,
    address_of,
    descriptor_of,
    draft_of,
    intent_of,
    named,
    open_chain,
    sign_all,
)
from tests.support.coin_money import Mint

RATE = FeeRate(5, 5)


@pytest.fixture(scope="module")
def node() -> Iterator[CoreNode]:
    """Start a node whose blocks this module makes."""
    with start_core() as started:
        yield started


@pytest.fixture(scope="module")
def mint(node: CoreNode) -> Mint:
    """Return what pays coins of that node."""
    return Mint(node)


@pytest.fixture(scope="module")
def chain(node: CoreNode) -> Iterator[BitcoinChain]:
    """Open the chain on that node."""
    opened = open_chain(node.url)
    yield opened
    opened.close()


def spent(chain: BitcoinChain, *names: str) -> frozenset[str]:
    """Return which of some coins the node says are spent."""
    return chain.spent_coins(names, chain.head())


def test_a_withdrawal_is_judged_signed_joined_taken_and_mined(
    node: CoreNode, mint: Mint, chain: BitcoinChain
) -> None:
    chain.check_identity()
    coins = mint.pay(address_of(HOT), 3 * COIN, 2 * COIN)
    coins = [coin for coin in coins if chain.transaction(coin.tx_id) == coin.previous]
    names = [f"{coin.tx_id}:{coin.index}" for coin in coins]
    intent = intent_of(STRANGER, 4 * COIN)
    unsigned = chain.build(intent, nonce=0, rate=RATE, units=0, coins=named(coins))
    decoded = chain.decode(unsigned.payload, sender=intent.source)
    assert decoded.claims(intent.source) == tuple(names)
    assert spent(chain, *names) == frozenset()

    signed = chain.assemble(unsigned, sign_all(unsigned, HOT, HOT))
    verdict = node.call("testmempoolaccept", [signed.raw.hex()])[0]
    assert (verdict["allowed"], verdict["txid"]) == (True, signed.tx_id)
    assert round(verdict["fees"]["base"] * COIN) == decoded.fee_max
    assert verdict["vsize"] * RATE.max_rate <= decoded.fee_max

    node.call("sendrawtransaction", signed.raw.hex())
    assert spent(chain, *names) == set(names)
    assert chain.tx_status(signed.tx_id).block is None
    node.mine()
    assert spent(chain, *names) == set(names)
    assert chain.tx_status(signed.tx_id).block == chain.head()
    node.mine(5)
    final = chain.final_head()
    assert final == chain.tx_status(signed.tx_id).block
    assert round(node.call("gettxout", signed.tx_id, 0)["value"] * COIN) in (
        4 * COIN,
        COIN - decoded.fee_max,
    )


def test_the_node_reads_payloads_and_transactions_as_we_do(
    node: CoreNode, mint: Mint, chain: BitcoinChain
) -> None:
    coins = mint.pay(address_of(HOT), COIN)
    intent = intent_of(STRANGER, COIN // 2)
    unsigned = chain.build(intent, nonce=0, rate=RATE, units=0, coins=named(coins))
    decoded = chain.decode(unsigned.payload, sender=address_of(HOT))
    theirs = node.call("decodepsbt", base64.b64encode(unsigned.payload).decode())
    assert round(theirs["fee"] * COIN) == decoded.fee_max
    effects = [(e.destination, e.amount) for e in decoded.effects]
    outputs = theirs["tx"]["vout"]
    assert effects == [
        (one["scriptPubKey"]["address"], round(one["value"] * COIN)) for one in outputs
    ]
    signed = chain.assemble(unsigned, sign_all(unsigned, HOT))
    read = node.call("decoderawtransaction", signed.raw.hex())
    assert (read["txid"], read["weight"]) == (signed.tx_id, parse_tx(signed.raw).weight)


def test_the_node_derives_our_addresses_from_our_account(node: CoreNode) -> None:
    described = node.call("getdescriptorinfo", descriptor_of("hot"))["descriptor"]
    theirs = node.call("deriveaddresses", described, [0, 5])
    assert (theirs[HOT.index], theirs[CHANGE.index]) == (address_of(HOT), address_of(CHANGE))


@pytest.mark.parametrize(
    "address",
    [
        STRANGER,
        "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",
        "2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc",
        "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6",
    ],
)
def test_the_node_knows_our_addresses_by_the_same_scripts(node: CoreNode, address: str) -> None:
    theirs = node.call("validateaddress", address)
    assert theirs["scriptPubKey"] == script_of(address, LOCAL).hex()


def test_a_replacement_shares_a_coin_and_the_network_takes_one_of_both(
    node: CoreNode, mint: Mint, chain: BitcoinChain
) -> None:
    coins = mint.pay(address_of(HOT), COIN, COIN)
    intent = intent_of(STRANGER, COIN // 2)
    first = chain.build(intent, nonce=0, rate=RATE, units=0, coins=named(coins[:1]))
    second = chain.build(intent, nonce=0, rate=FeeRate(20, 20), units=0, coins=named(coins))
    sent = chain.assemble(first, sign_all(first, HOT))
    node.call("sendrawtransaction", sent.raw.hex())
    replacement = chain.assemble(second, sign_all(second, HOT, HOT))
    node.call("sendrawtransaction", replacement.raw.hex())
    assert not chain.tx_status(sent.tx_id).known
    node.mine()
    assert chain.tx_status(replacement.tx_id).succeeded
    with pytest.raises(RpcRefused, match="missingorspent"):
        node.call("sendrawtransaction", sent.raw.hex())


def test_a_block_that_was_left_holds_nothing_and_the_coin_stays_spent(
    node: CoreNode, mint: Mint, chain: BitcoinChain
) -> None:
    coins = mint.pay(address_of(HOT), COIN)
    draft = draft_of(coins, (STRANGER, COIN - 20_000))
    signed = chain.assemble(draft.unsigned(), sign_all(draft.unsigned(), HOT))
    node.call("sendrawtransaction", signed.raw.hex())
    left = node.mine()[0]
    assert chain.tx_status(signed.tx_id).block == chain.head()
    node.call("invalidateblock", left)
    assert chain.tx_status(signed.tx_id).block is None
    name = f"{coins[0].tx_id}:0"
    assert spent(chain, name) == {name}
    node.call("reconsiderblock", left)


def test_a_coin_that_never_was_is_no_answer(chain: BitcoinChain, mint: Mint) -> None:
    coin = mint.pay(address_of(HOT), COIN)[0]
    for name in (f"{'ab' * 32}:0", f"{coin.tx_id}:7"):
        with pytest.raises(Unavailable):
            spent(chain, name)


@pytest.mark.parametrize(
    ("address", "least"), [(STRANGER, 294), ("mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", 546)]
)
def test_the_node_draws_the_line_of_dust_where_we_do(
    node: CoreNode, mint: Mint, chain: BitcoinChain, address: str, least: int
) -> None:
    coin = mint.pay(address_of(HOT), COIN)[0]
    unsigned = draft_of([coin], (STRANGER, COIN - 20_000), (address, least)).unsigned()
    raw = chain.assemble(unsigned, sign_all(unsigned, HOT)).raw
    assert node.call("testmempoolaccept", [raw.hex()])[0]["allowed"]
    good = parse_tx(raw)
    dust = replace(good.outputs[1], amount=least - 1)
    below = replace(good, outputs=(good.outputs[0], dust)).serialise()
    assert node.call("testmempoolaccept", [below.hex()])[0]["reject-reason"] == "dust"


def test_a_node_of_another_network_is_noticed(node: CoreNode) -> None:
    chain = open_chain(node.url, params=replace(PARAMS, network_name="signet"))
    with closing(chain), pytest.raises(Corrupt):
        chain.check_identity()
