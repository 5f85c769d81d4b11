"""Nodes that lie about tickets, or about what a payment would do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from solders.keypair import Keypair

from chains.base import UnsignedTx
from chains.solana.chain import SolanaChain
from core.errors import Unavailable
from tests.support.faults import Error, Fault, Result, Rewritten, Status
from tests.support.proxy import FaultProxy
from tests.support.solana import HOT
from tests.support.solana_town import Town, start_town

_COIN = 10**9
Json = dict[str, Any]


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with start_town() as started:
        yield started


def _both(town: Town, fault: Fault, method: str, ask: Callable[[SolanaChain], object]) -> object:
    """Return what the liar alone is believed; beside an honest node it is contradicted."""
    with FaultProxy(town.front.url) as proxy:
        rule = proxy.add(fault, method)
        try:
            alone = ask(town.open(proxy.url))
        except Unavailable as error:
            alone = error
        with pytest.raises(Unavailable):
            ask(town.open(proxy.url, town.front.url))
        assert rule.count
        three = town.open(proxy.url, town.front.url, town.front.url, quorum=2)
        assert ask(three) == ask(town.chain), "two honest ones outvote it"
    return alone


def _used_ticket(town: Town) -> str:
    ticket = town.ticket()
    signed = town.signed(town.build(town.intent(HOT, Keypair(), _COIN), ticket=ticket), HOT)
    town.chain.broadcast(signed.raw)
    town.front.pass_slots()
    return ticket


def test_N05_an_old_value_of_a_nonce_is_contradicted(town: Town) -> None:
    before = town.node.call("getAccountInfo", town.ticket().partition(":")[0],
                            {"encoding": "base64"})["value"]  # fmt: skip
    ticket = _used_ticket(town)

    def old(params: Any, answer: Json) -> Json:
        found = [
            before if address == ticket.partition(":")[0] else account
            for address, account in zip(params[0], answer["value"], strict=True)
        ]
        return {**answer, "value": found}

    def ask(chain: SolanaChain) -> object:
        return chain.spent_coins([ticket], town.chain.head())

    assert ask(town.chain) == {ticket}
    assert _both(town, Rewritten(old), "getMultipleAccounts", ask) == frozenset()


@pytest.mark.parametrize(
    "fault",
    [Result([]), Result(None), Error(-32_603, "no index"), Status(503)],
    ids=["hidden", "null", "no index", "503"],
)
def test_a_node_without_the_history_of_a_nonce_is_contradicted_or_asked_again(
    town: Town, fault: Fault
) -> None:
    before = town.chain.head()
    ticket = _used_ticket(town)

    def ask(chain: SolanaChain) -> object:
        return chain.spent_coins([ticket], before)

    assert ask(town.chain) == frozenset(), "at that slot it was not used"
    alone = _both(town, fault, "getSignaturesForAddress", ask)
    assert isinstance(alone, Unavailable) or alone == {ticket}


def _changed(address: str, **changes: object) -> Rewritten:
    def change(params: Any, answer: Json) -> Json:
        accounts, asked = answer["value"]["accounts"] or [], params[1]["accounts"]["addresses"]
        told = zip(asked, accounts, strict=False)
        accounts = [{**one, **changes} if who == address else one for who, one in told]
        return {**answer, "value": {**answer["value"], "accounts": accounts}}

    return Rewritten(change)


HOT_TEXT = str(HOT.pubkey())
FRIEND = str(Keypair.from_seed(b"a friend of the hot wallet's, 32").pubkey())


@pytest.fixture(autouse=True)
def _friend_is_there(town: Town) -> None:
    if town.node.account(FRIEND) is None:
        town.node.pay(FRIEND, _COIN)
        town.front.pass_slots()


@pytest.mark.parametrize(
    ("who", "changes", "word"),
    [
        (HOT_TEXT, {"owner": "BPFLoader2111111111111111111111111111111111"}, "owner of"),
        (HOT_TEXT, {"data": ["AQID", "base64"]}, "data of"),
        (HOT_TEXT, {"lamports": 5}, "coins that leave"),
        (HOT_TEXT, {"lamports": 10**15}, "coins that leave"),
        (FRIEND, {"executable": True}, "owner of"),
        ("nonce", {"lamports": 1}, "balance of"),
    ],
)
def test_what_a_simulation_would_change_beside_the_payment_is_named(
    town: Town, who: str, changes: Json, word: str
) -> None:
    unsigned = town.build(town.intent(HOT, FRIEND, _COIN), ticket=town.ticket())
    address = who if who != "nonce" else town.ticket().partition(":")[0]
    assert town.chain.simulate(unsigned).others == ()
    with FaultProxy(town.front.url) as proxy:
        rule = proxy.add(_changed(address, **changes), "simulateTransaction")
        found = town.open(proxy.url).simulate(unsigned)
        assert rule.count

    assert [other for other in found.others if other.startswith(word)]


def test_a_simulation_of_nodes_that_disagree_is_unavailable(town: Town) -> None:
    unsigned: UnsignedTx = town.build(town.intent(HOT, Keypair(), _COIN), ticket=town.ticket())

    def ask(chain: SolanaChain) -> object:
        return chain.simulate(unsigned)

    alone = _both(town, _changed(HOT_TEXT, lamports=5), "simulateTransaction", ask)
    assert alone != ask(town.chain)
