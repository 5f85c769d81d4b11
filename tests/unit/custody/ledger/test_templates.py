"""Every row of the table of events in the rules of the money, on both databases."""

from __future__ import annotations

import pytest

from custody.db import Database
from custody.ledger import templates
from custody.ledger.chart import CHART, PLATFORM, AccountKey, AccountKind, Guard, Side
from custody.ledger.records import Chain, Transfer
from tests.unit.custody.ledger.events import (
    ANN,
    BOB,
    ETH,
    USD,
    book,
    capture,
    deposit,
    fill,
    hold,
    of_customer,
    of_house,
    release,
    reversal,
    sweep,
)

K = AccountKind
TAKEN = "balance customer:1 > deposit_addresses deposits"
MISSING = "receivable customer:1 > deposit_addresses deposits"
PAID = "balance customer:1 > balance customer:2"
DELIVERED = "balance customer:2 > balance customer:1"
BUYER_FEE = "balance customer:1 > fee_income "
SELLER_FEE = "balance customer:2 > fee_income "
PROJECTED = [
    (deposit(1, ANN, ETH, 5), "deposit_addresses deposits > balance customer:1 = 5"),
    (hold(2, ANN, ETH, 5), "balance customer:1 > withdrawing customer:1 = 5"),
    (release(3, ANN, ETH, 5), "withdrawing customer:1 > balance customer:1 = 5"),
    (
        capture(4, ANN, ETH, amount=4, fee=1),
        "withdrawing customer:1 > in_transit hot = 4; withdrawing customer:1 > fee_income  = 1",
    ),
    (capture(5, ANN, ETH, amount=5, fee=0), "withdrawing customer:1 > in_transit hot = 5"),
    (reversal(6, ANN, ETH, taken=3, shortfall=2), f"{TAKEN} = 3; {MISSING} = 2"),
    (reversal(7, ANN, ETH, taken=0, shortfall=2), f"{MISSING} = 2"),
    (
        fill(8, base=10, quote=300, base_fee=1, quote_fee=2),
        f"{PAID} = 300; {DELIVERED} = 10; {BUYER_FEE} = 1; {SELLER_FEE} = 2",
    ),
    (fill(9, base=10, quote=300), f"{PAID} = 300; {DELIVERED} = 10"),
]
TREASURY = [
    (
        templates.withdrawal_broadcast(wallet="hot", asset_no=ETH, amount=4, withdrawal_id="wd"),
        "in_transit hot > hot hot = 4",
    ),
    (
        templates.withdrawal_returned(wallet="hot", asset_no=ETH, amount=4, withdrawal_id="wd"),
        "hot hot > in_transit hot = 4",
    ),
    (
        templates.network_fee(wallet="gas", native_asset_no=ETH, amount=2, tx_id="0xab"),
        "network_fees gas > hot gas = 2",
    ),
    (
        sweep(9, spend_id="sp_0"),
        "hot hot > deposit_addresses deposits = 9",
    ),
    (
        templates.own_transfer(
            asset_no=ETH, amount=9, from_wallet="gas", from_kind=K.HOT, to_wallet="deposits",
            to_kind=K.DEPOSIT_ADDRESSES, spend_id="sp",
        ),
        "deposit_addresses deposits > hot gas = 9",
    ),
    (
        templates.operator_funding(wallet="hot", asset_no=ETH, amount=7, deposit_id="dep"),
        "hot hot > suspense hot = 7",
    ),
    (
        templates.suspense_to_equity(wallet="hot", asset_no=ETH, amount=7, entry_id="entry"),
        "suspense hot > equity  = 7",
    ),
]  # fmt: skip


def written(transfers: list[Transfer]) -> str:
    def name(key: AccountKey) -> str:
        return f"{key.kind.value} {key.owner}"

    return "; ".join(f"{name(t.debit)} > {name(t.credit)} = {t.amount}" for t in transfers)


@pytest.mark.parametrize(("transfers", "expected"), PROJECTED + TREASURY)
def test_an_event_moves_money_as_the_rules_say(transfers: list[Transfer], expected: str) -> None:
    assert written(transfers) == expected


def test_projected_and_treasury_transfers_are_of_their_chain() -> None:
    for transfers, _ in PROJECTED:
        assert {transfer.chain for transfer in transfers} == {Chain.PROJECTED}
    for transfers, _ in TREASURY:
        assert {transfer.chain for transfer in transfers} == {Chain.TREASURY}


def test_no_two_events_share_an_id() -> None:
    ids = [transfer.id for transfers, _ in PROJECTED + TREASURY for transfer in transfers]
    assert len(ids) == len(set(ids))


def test_projected_ids_sort_like_the_journal() -> None:
    places = [(s, n, part) for s in (1, 255, 256, 2**40) for n in (0, 300) for part in (0, 1)]
    assert sorted(templates.projected_id(*place) for place in places) == [
        templates.projected_id(*place) for place in places
    ]


def test_the_same_event_has_the_same_ids_for_ever() -> None:
    assert templates.projected_id(1, 2, 3).hex() == "73657100000000000000010000000203"
    (fee,) = templates.network_fee(wallet="gas", native_asset_no=ETH, amount=2, tx_id="0xab")
    assert fee.id.hex() == "85fe03c24448cce45912c7f420c7eff4"


def test_money_can_only_be_kept_where_wallets_keep_it() -> None:
    with pytest.raises(ValueError, match="equity"):
        templates.operator_funding(
            wallet="hot", asset_no=ETH, amount=1, deposit_id="d", kind=K.EQUITY
        )


def test_every_kind_has_its_place_in_the_chart() -> None:
    assert set(CHART) == set(AccountKind)
    for rule in CHART.values():
        assert rule.guard in (Guard.NONE, Guard(_guard_of(rule.side)))


def _guard_of(side: Side) -> str:
    return {Side.DEBIT: "credits_at_most_debits", Side.CREDIT: "debits_at_most_credits"}[side]


def test_a_whole_life_adds_up(books: Database) -> None:
    for batch in (
        deposit(1, ANN, USD, 1_000),
        deposit(2, BOB, ETH, 50),
        fill(3, base=20, quote=600, base_fee=1, quote_fee=3),
        hold(4, ANN, ETH, 15),
        sweep(50, spend_id="sp_1"),
        templates.withdrawal_broadcast(wallet="hot", asset_no=ETH, amount=14, withdrawal_id="w"),
        templates.network_fee(wallet="hot", native_asset_no=ETH, amount=2, tx_id="0x1"),
        capture(5, ANN, ETH, amount=14, fee=1),
        hold(6, BOB, USD, 100),
        release(7, BOB, USD, 100),
        reversal(8, BOB, ETH, taken=30, shortfall=20),
    ):
        book(books, batch)
    assert of_customer(books, ANN, USD) == 400
    assert of_customer(books, ANN, ETH) == 20 - 1 - 15
    assert of_customer(books, BOB, USD) == 597
    assert of_customer(books, BOB, ETH) == 0
    assert of_customer(books, BOB, ETH, K.RECEIVABLE) == 20
    assert of_customer(books, ANN, ETH, K.WITHDRAWING) == 0
    assert of_house(books, K.FEE_INCOME, PLATFORM, ETH) == 2
    assert of_house(books, K.FEE_INCOME, PLATFORM, USD) == 3
    assert of_house(books, K.HOT, "hot", ETH) == 50 - 14 - 2
    assert of_house(books, K.IN_TRANSIT, "hot", ETH) == 0
    assert of_house(books, K.DEPOSIT_ADDRESSES, "deposits", ETH) == -50
    assert of_house(books, K.NETWORK_FEES, "hot", ETH) == 2
