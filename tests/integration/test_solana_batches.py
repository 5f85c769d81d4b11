"""Several payments in one transaction, and what nodes say of one before it is signed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from solders.keypair import Keypair

from chains.base import NATIVE, FeeRate, SpendItem, SpendKind
from chains.solana.params import TRANSFERS_MAX
from core.errors import Unavailable
from tests.support.solana import DEPOSIT, GAS, HOT
from tests.support.solana_town import Town, start_town

_COIN = 10**9


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with start_town() as started:
        yield started


def _somebody() -> Keypair:
    return Keypair()


@pytest.mark.parametrize("is_token", [False, True])
def test_a_batch_pays_everybody_in_one_transaction(town: Town, is_token: bool) -> None:
    key = town.token.key if is_token else NATIVE
    people = [_somebody() for _ in range(TRANSFERS_MAX)]
    items = tuple(
        SpendItem(f"wd_{n}", str(one.pubkey()), 1_000_000 + n) for n, one in enumerate(people)
    )
    amount = sum(one.amount for one in items)
    intent = replace(town.intent(HOT, HOT, amount, key, SpendKind.BATCH), items=items)
    assert town.chain.payable_items(intent) == (True,) * TRANSFERS_MAX
    unsigned = town.build(intent, ticket=town.ticket())
    simulated, before = town.chain.simulate(unsigned), town.lamports(HOT)
    assert (simulated.succeeded, simulated.others) == (True, ())
    signed = town.signed(unsigned, HOT)
    town.chain.broadcast(signed.raw)
    town.front.pass_slots()

    status = town.chain.tx_status(signed.tx_id)
    assert status.effect_amount == amount
    assert [(one.paid, one.amount) for one in status.items] == [(True, i.amount) for i in items]
    got = [town.held(town.token, one) if is_token else town.lamports(one) for one in people]
    assert got == [one.amount for one in items]
    moved = 0 if is_token else amount
    assert before - town.lamports(HOT) == status.fee + moved <= unsigned.fee_max + moved


def test_an_item_that_would_fail_is_named_and_keeps_no_others_from_being_paid(town: Town) -> None:
    items = tuple(
        SpendItem(f"wd_{n}", str(_somebody().pubkey()), amount)
        for n, amount in enumerate((_COIN, 1, _COIN))
    )
    intent = town.intent(HOT, HOT, sum(i.amount for i in items), kind=SpendKind.BATCH)

    assert town.chain.payable_items(replace(intent, items=items)) == (True, False, True)
    with pytest.raises(Unavailable, match="would_fail"):
        town.chain.fee_units(replace(intent, items=items))


def test_what_the_money_does_not_reach_for_is_left_out_and_the_rest_is_paid(town: Town) -> None:
    parts = (60 * _COIN, 60 * _COIN, _COIN)
    items = tuple(
        SpendItem(f"wd_{n}", str(_somebody().pubkey()), amount) for n, amount in enumerate(parts)
    )
    intent = town.intent(HOT, HOT, sum(parts), kind=SpendKind.BATCH)

    assert town.lamports(HOT) < 120 * _COIN
    assert town.chain.payable_items(replace(intent, items=items)) == (True, False, True)


def test_a_simulation_tells_what_would_change_and_nothing_else(town: Town) -> None:
    receiver = _somebody()
    coins = town.build(town.intent(HOT, receiver.pubkey(), _COIN), ticket=town.ticket())
    tokens = town.build(
        town.intent(HOT, receiver.pubkey(), 7, town.token.key), ticket=town.ticket()
    )
    swept = town.build(
        town.intent(DEPOSIT, HOT.pubkey(), 5_000, town.new_token.key, SpendKind.SWEEP),
        ticket=town.ticket(GAS),
    )
    found = [town.chain.simulate(one) for one in (coins, tokens, swept)]

    assert [one.succeeded for one in found] == [True, True, True]
    assert [one.others for one in found] == [(), (), ()]
    deltas = [[change.after - change.before for change in one.changes] for one in found]
    assert deltas == [[-_COIN, _COIN], [-7, 7], [-5_000, 5_000]]


def test_a_simulation_of_what_would_fail_says_why(town: Town) -> None:
    intent = replace(town.intent(HOT, _somebody().pubkey(), 10**17), fee_max=_COIN)
    unsigned = town.chain.build(intent, nonce=0, rate=FeeRate(5, 5), units=2, ticket=town.ticket())
    found = town.chain.simulate(unsigned)

    assert not found.succeeded
    assert "InstructionError" in found.detail
