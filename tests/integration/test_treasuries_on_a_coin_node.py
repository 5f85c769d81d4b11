"""Treasuries of several owners on a real node: what their devices sign and we join, it takes."""

from __future__ import annotations

import base64
import itertools
import random
from collections.abc import Iterator

import pytest

from chains.bitcoin.cosign import finalise, take, with_signatures
from chains.bitcoin.descriptor import Form
from chains.bitcoin.params import COIN
from chains.bitcoin.psbt_text import from_parts, to_parts
from chains.bitcoin.treasury_build import Funding
from infra.devnet.coin_nodes import CoreNode, start_core
from infra.devnet.nodes import RpcRefused
from tests.support.coin_money import Mint
from tests.support.owners import DEVICES, officers, propose, treasury_of

KINDS = [
    (form, threshold, count)
    for form in (Form.SCRIPT_HASH, Form.TAPROOT_SCRIPT)
    for threshold, count in ((2, 3), (3, 5))
]
EVERY_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind)))
ORDERS = 12


@pytest.fixture(scope="module")
def node() -> Iterator[CoreNode]:
    """Start a node whose blocks this module makes."""
    with start_core() as started:
        yield started


@pytest.fixture(scope="module")
def mint(node: CoreNode) -> Mint:
    """Return what pays coins of that node."""
    return Mint(node)


@EVERY_KIND
def test_the_node_derives_the_treasurys_address_from_its_descriptor(
    node: CoreNode, kind: tuple[Form, int, int]
) -> None:
    treasury = treasury_of(*kind)
    text = treasury.descriptor.text
    # The node writes hardened steps in its own spelling, so its checksum is another one.
    assert node.call("getdescriptorinfo", text)["checksum"] == text.partition("#")[2]
    assert node.call("deriveaddresses", text, [0, 2]) == [
        treasury.descriptor.address(index, treasury.params.place) for index in range(3)
    ]


@EVERY_KIND
def test_signatures_in_every_order_are_joined_taken_and_mined(
    node: CoreNode, mint: Mint, kind: tuple[Form, int, int]
) -> None:
    _, threshold, count = kind
    treasury = treasury_of(*kind)
    paid = mint.pay(treasury.address, 3 * COIN, 2 * COIN)
    coins = [Funding(coin.tx_id, coin.index, coin.previous) for coin in paid]
    _, unsigned, judged = propose(treasury, coins, 4 * COIN)
    theirs = node.call("decodepsbt", base64.b64encode(unsigned.payload).decode())
    assert round(theirs["fee"] * COIN) == judged.fee

    rng = random.Random(count)
    given = {}
    for who, device in itertools.product(officers(count), DEVICES):
        shown = to_parts(unsigned.payload)
        rng.shuffle(shown)
        (one,) = take(judged, device(who, from_parts(shown), treasury.descriptor))
        given[who, device] = one
    orders = list(itertools.permutations(officers(count), threshold))
    for order in rng.sample(orders, min(ORDERS, len(orders))):
        for devices in (
            DEVICES[:1] * threshold,
            DEVICES[1:] * threshold,
            (DEVICES * 3)[:threshold],
        ):
            signed = finalise(judged, [given[pair] for pair in zip(order, devices, strict=True)])
            verdict = node.call("testmempoolaccept", [signed.raw.hex()])[0]
            assert (verdict["allowed"], verdict["txid"]) == (True, signed.tx_id)
            assert round(verdict["fees"]["base"] * COIN) == judged.fee
            assert verdict["vsize"] <= judged.size

    everybody = [given[who, DEVICES[0]] for who in officers(count)]
    signed = finalise(judged, everybody)
    node.call("sendrawtransaction", signed.raw.hex())
    node.mine()
    assert round(node.call("gettxout", signed.tx_id, 0)["value"] * COIN) == 4 * COIN
    back = node.call("gettxout", signed.tx_id, 1)["scriptPubKey"]
    assert back["address"] == treasury.address


@EVERY_KIND
def test_the_node_finalises_what_the_owners_signed_and_nothing_below_the_threshold(
    node: CoreNode, mint: Mint, kind: tuple[Form, int, int]
) -> None:
    form, threshold, count = kind
    treasury = treasury_of(*kind)
    (coin,) = mint.pay(treasury.address, COIN)
    coins = [Funding(coin.tx_id, coin.index, coin.previous)]
    _, unsigned, judged = propose(treasury, coins, COIN // 2)
    given = [
        one
        for number, who in enumerate(officers(count)[:threshold])
        for one in take(judged, DEVICES[number % 2](who, unsigned.payload, treasury.descriptor))
    ]
    few = with_signatures(unsigned.payload, judged, given[:-1])
    enough = with_signatures(unsigned.payload, judged, given)
    answers = [
        node.call("finalizepsbt", base64.b64encode(payload).decode()) for payload in (few, enough)
    ]
    assert [answer["complete"] for answer in answers] == [False, True]
    signed = finalise(judged, given)
    assert answers[1]["hex"] == signed.raw.hex()

    # The control: the same bytes without one signature are what a node refuses.
    tampered = bytearray(signed.raw)
    tampered[-60 if form is Form.SCRIPT_HASH else tampered.index(given[0].signatures[0])] ^= 1
    with pytest.raises(RpcRefused):
        node.call("sendrawtransaction", bytes(tampered).hex())
    assert node.call("sendrawtransaction", signed.raw.hex()) == signed.tx_id
