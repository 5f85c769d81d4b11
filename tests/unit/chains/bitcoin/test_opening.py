"""A network is opened by the hash of its first block, and only with what it has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chains.base import NATIVE, AssetSpec
from chains.bitcoin.params import COIN, NETWORKS, BitcoinParams
from chains.registry import ChainConfig, open_chain
from core.ids import ChainId

CONFIG = ChainConfig(
    kind="bitcoin",
    chain=ChainId("coins"),
    node_urls=("http://127.0.0.1:9",),
    quorum=1,
    chain_number=0,
    genesis_hash=NETWORKS["regtest"].genesis_hash,
    fee_floor=1,
    fee_cap=200,
    tip=0,
    batch_max=8,
)
TOKEN = AssetSpec(ChainId("coins"), "token", "TOK", 8, 1, 1, 0, 1)


def test_the_first_block_says_which_network_it_is() -> None:
    for one in NETWORKS.values():
        chain = open_chain(replace(CONFIG, genesis_hash=one.genesis_hash))
        assert chain.traits.network == f"bip122:{one.genesis_hash}"
        assert chain.traits.is_main_network == (one.name == "main")
        assert (chain.traits.coin_type, chain.traits.purpose) == (one.coin_type, 84)
        assert (chain.traits.spends_coins, chain.traits.batch_max) == (True, 8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"genesis_hash": "ab" * 32}, "no network"),
        ({"chain_number": 1}, "chain_number"),
        ({"tickets": ("somebody",)}, "tickets"),
        ({"assets": (TOKEN,)}, "one asset"),
        ({"bands": ((5, 9), (5, 10))}, "bands rise"),
        ({"bands": ((5, 9), (6, 8))}, "bands rise"),
        ({"bands": ((5, 5),)}, "bands rise"),
        ({"bands": ((5, 100),)}, "bands rise"),
        ({"confirmations": 0}, "confirmation"),
        ({"quorum": 2}, "quorum"),
    ],
)
def test_what_this_chain_cannot_be_stops_the_start(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        open_chain(replace(CONFIG, **change))  # type: ignore[arg-type]
    open_chain(replace(CONFIG, assets=(replace(TOKEN, key=NATIVE),)))


def test_an_amount_waits_by_the_highest_band_that_it_reaches() -> None:
    bands = ((COIN, 3), (10 * COIN, 6), (100 * COIN, 60))
    params = BitcoinParams(ChainId("coins"), "regtest", 1, 200, 100, confirmations=2, bands=bands)
    amounts = (1, COIN - 1, COIN, 10 * COIN - 1, 10 * COIN, 100 * COIN - 1, 100 * COIN)
    assert [params.extra_depth(amount) for amount in amounts] == [0, 0, 1, 1, 4, 4, 58]
