"""The guard over the coins of a real node: what it signs is mined, what it forgot it refuses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chains.base import FeeRate
from chains.bitcoin.build import Coin
from chains.bitcoin.chain import BitcoinChain
from chains.bitcoin.params import COIN
from core.errors import Reason, Refused, Unavailable
from custody.keys.guard import sign_once
from custody.keys.signers import KeyRef
from custody.keys.transaction import CHANGE_KEYS
from infra.devnet.coin_nodes import CoreNode, start_core
from tests.support.bitcoin import (
    CHANGE,
    FEE,
    HOT,
    STRANGER,
    address_of,
    coin_of,
    descriptor_of,
    draft_of,
    funding,
    intent_of,
    named,
    open_chain,
)
from tests.support.coin_money import Mint
from tests.unit.custody.keys.coinroom import Asked, Coinroom


@pytest.fixture(scope="module")
def node() -> Iterator[CoreNode]:
    """Start a node whose blocks this module makes."""
    with start_core() as started:
        yield started


@pytest.fixture(scope="module")
def mint(node: CoreNode) -> Mint:
    """Return what pays coins of that node."""
    return Mint(node)


@pytest.fixture
def chain(node: CoreNode) -> Iterator[BitcoinChain]:
    """Open the chain on that node."""
    opened = open_chain(node.url)
    yield opened
    opened.close()


def asked_for(coin: Coin, *, spend: str, fee: int = FEE) -> Asked:
    """Return a withdrawal of half a coin, out of one coin."""
    outputs = (STRANGER, coin.amount // 2), (address_of(CHANGE), coin.amount // 2 - fee)
    intent = intent_of(STRANGER, coin.amount // 2, spend_id=spend, cause_id=f"withdrawal {spend}")
    return Asked(draft_of([coin], *outputs), intent, input_keys=(HOT,))


def test_what_was_built_is_signed_taken_and_mined(
    node: CoreNode, mint: Mint, chain: BitcoinChain
) -> None:
    room = Coinroom(chain=chain)
    coins = mint.pay(address_of(HOT), 3 * COIN, 2 * COIN)
    intent = intent_of(STRANGER, 4 * COIN)
    unsigned = chain.build(
        intent, nonce=0, rate=FeeRate(5, 5), units=0, coins=named(coins, intent.source)
    )
    said = {"payload": unsigned.payload, "digest": unsigned.digest, "fee_max": unsigned.fee_max}
    draft = draft_of(coins, (STRANGER, 4 * COIN))
    asked = Asked(draft, intent, change_keys=(HOT,), said=said)
    raw = room.sign(asked)
    assert node.call("testmempoolaccept", [raw.hex()])[0]["allowed"]
    tx_id = node.call("sendrawtransaction", raw.hex())
    node.mine()
    assert chain.tx_status(tx_id).succeeded
    assert room.sign(asked) == raw


def test_whoever_restores_the_seed_finds_all_that_is_left(
    node: CoreNode, mint: Mint, chain: BitcoinChain
) -> None:
    """K04: the node itself looks for the first twenty addresses of the account's xpub."""
    room, cold = Coinroom(chain=chain), KeyRef("cold", 0)
    left = 0
    for number, coin in enumerate(mint.pay(address_of(cold), *[COIN] * 4)):
        change = KeyRef("cold", number * (CHANGE_KEYS - 1) // 3)
        kept = COIN // 2 - FEE
        draft = draft_of([coin], (STRANGER, COIN // 2), (address_of(change), kept))
        intent = intent_of(
            STRANGER,
            COIN // 2,
            source=address_of(cold),
            spend_id=f"cold {number}",
            cause_id=f"withdrawal cold {number}",
        )
        said = {"sender": address_of(cold)}
        raw = room.sign(Asked(draft, intent, cold, (cold,), (change,), said))
        node.call("sendrawtransaction", raw.hex())
        left += kept
    node.mine()
    wanted = {"desc": descriptor_of("cold"), "range": CHANGE_KEYS - 1}
    found = node.call("scantxoutset", "start", [wanted])
    assert round(found["total_amount"] * COIN) == left
    assert len(found["unspents"]) == 4


def test_a_store_that_was_restored_knows_nothing_of_a_spent_coin(
    node: CoreNode, mint: Mint, chain: BitcoinChain
) -> None:
    """Seen as soon as the transaction waits for a block, and once it is in one."""
    coin = mint.pay(address_of(HOT), COIN)[0]
    raw = Coinroom(chain=chain).sign(asked_for(coin, spend="first"))
    restored = Coinroom(chain=chain)
    node.call("sendrawtransaction", raw.hex())
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            sign_once(restored.guard, restored.request(asked_for(coin, spend="again", fee=2 * FEE)))
        assert refused.value.reason is Reason.STALE_SIGNER
        node.mine()
    assert restored.entries() == []


def test_a_replacement_is_signed_while_the_first_attempt_waits(
    node: CoreNode, mint: Mint, chain: BitcoinChain
) -> None:
    room = Coinroom(chain=chain)
    coin = mint.pay(address_of(HOT), COIN)[0]
    first = room.sign(asked_for(coin, spend="slow"))
    tx_id = node.call("sendrawtransaction", first.hex())
    room.clock.advance(60 * 10**9)
    second = room.sign(asked_for(coin, spend="slow", fee=2 * FEE))
    assert node.call("sendrawtransaction", second.hex()) != tx_id
    assert not chain.tx_status(tx_id).known


def test_a_coin_that_never_was_is_not_spent(chain: BitcoinChain) -> None:
    room = Coinroom(chain=chain)
    coin = coin_of(funding(address_of(HOT), COIN, salt=99))
    with pytest.raises(Unavailable):
        room.sign(asked_for(coin, spend="nowhere"))
    assert room.entries() == []
