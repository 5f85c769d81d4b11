"""What a node says of coins is exact, or no answer at all."""

from __future__ import annotations

import json
from collections.abc import Mapping

import httpx
import pytest

from chains.base import NATIVE, BlockRef
from chains.bitcoin.address import script_of
from chains.bitcoin.chain import BitcoinChain
from chains.bitcoin.node import BitcoinNode
from chains.bitcoin.params import COIN, SUPPLY_MAX
from chains.rpc import NodeSet, RpcClient
from core.errors import Unavailable
from tests.support.bitcoin import LOCAL, PARAMS, STRANGER

HASH = "ab" * 32
AT = BlockRef(7, HASH)
SCRIPT = script_of(STRANGER, LOCAL).hex()


def chain_with(answers: Mapping[str, str]) -> BitcoinChain:
    """Return the chain over a node that gives these answers, as text."""

    def handle(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        every = asked if isinstance(asked, list) else [asked]
        parts = [f'{{"id":{one["id"]},"result":{answers[one["method"]]}}}' for one in every]
        text = f"[{','.join(parts)}]" if isinstance(asked, list) else parts[0]
        return httpx.Response(200, text=text)

    client = RpcClient("http://node", attempts=1, transport=httpx.MockTransport(handle))
    return BitcoinChain(PARAMS, NodeSet((BitcoinNode(client),), 1))


def scanned(amount: str, **changes: str) -> dict[str, str]:
    coin = {
        "txid": f'"{HASH}"', "vout": "0", "scriptPubKey": f'"{SCRIPT}"', "amount": amount,
        "height": "3", "coinbase": "false", **changes,
    }  # fmt: skip
    fields = ",".join(f'"{name}":{value}' for name, value in coin.items())
    answer = f'{{"success":true,"height":7,"bestblock":"{HASH}","unspents":[{{{fields}}}]}}'
    return {"getblockhash": f'"{HASH}"', "scantxoutset": answer}


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("0.00000001", 1),
        ("0.1", COIN // 10),
        ("1", COIN),
        ("1.0", COIN),
        ("20999999.97690000", 2_099_999_997_690_000),
        ("20999999.99999999", SUPPLY_MAX - 1),
        ("1E-8", 1),
    ],
)
def test_an_amount_is_read_as_it_is_written(written: str, amount: int) -> None:
    assert chain_with(scanned(written)).balance_of(STRANGER, NATIVE, AT) == amount


@pytest.mark.parametrize(
    "written",
    ["-0.1", "0.000000001", "21000000.1", "1e400000000", "true", "null", '"1.0"', "[]", "{}"],
)
def test_what_is_no_amount_is_no_answer(written: str) -> None:
    with pytest.raises(Unavailable):
        chain_with(scanned(written)).balance_of(STRANGER, NATIVE, AT)


@pytest.mark.parametrize(
    "change",
    [
        {"height": '"3"'},
        {"height": "true"},
        {"coinbase": "0"},
        {"scriptPubKey": '"zz"'},
        {"scriptPubKey": "7"},
    ],
)
def test_a_coin_of_another_form_is_no_answer(change: dict[str, str]) -> None:
    with pytest.raises(Unavailable):
        chain_with(scanned("1.0", **change)).balance_of(STRANGER, NATIVE, AT)
    assert chain_with(scanned("1.0")).balance_of(STRANGER, NATIVE, AT) == COIN


def test_coins_of_nobody_who_was_asked_for_are_left_out() -> None:
    chain = chain_with(scanned("1.0", scriptPubKey='"51"'))
    assert chain.balance_of(STRANGER, NATIVE, AT) == 0


def test_mined_coins_count_from_the_block_in_which_they_can_be_spent() -> None:
    for height, coinbase, amount in ((3, "true", 0), (3, "false", COIN), (8, "false", 0)):
        chain = chain_with(scanned("1.0", height=str(height), coinbase=coinbase))
        assert chain.balance_of(STRANGER, NATIVE, AT) == amount


@pytest.mark.parametrize("answer", ["null", "[]", '{"success":false}', '"text"', '[1, "x"]'])
def test_a_pool_or_a_scan_of_another_form_is_no_answer(answer: str) -> None:
    both = {"getblockhash": f'"{HASH}"', "scantxoutset": answer, "getrawmempool": answer}
    with pytest.raises(Unavailable):
        chain_with(both).balance_of(STRANGER, NATIVE, AT)
    if answer == "[]":
        assert chain_with(both).pending([STRANGER]) == ()
        return
    with pytest.raises(Unavailable):
        chain_with(both).pending([STRANGER])


def test_a_waiting_transaction_that_is_another_one_is_no_answer() -> None:
    lie = {"getrawmempool": f'["{HASH}"]', "getrawtransaction": '"0200"'}
    with pytest.raises(Unavailable):
        chain_with(lie).pending([STRANGER])
