"""A payment that no transaction can carry makes way, and its money and coins are free again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chains.base import NATIVE, UnsignedTx
from chains.fake import FakeCoinChain, FakeWorld
from core.errors import Reason, Refused
from custody.spending import claims, rows
from custody.spending.rows import SpendState
from custody.withdrawals.states import WithdrawalState
from tests.support.house import HOT, House, open_house

MILLION = 1_000_000
NEVER = 1 << 60


class NarrowChain(FakeCoinChain):
    """Coins come from such large transactions that no payload can tell all of them."""

    def build(self, *_: Any, **__: Any) -> UnsignedTx:
        raise Refused(Reason.TOO_LARGE, "the coins come from too large transactions")


def settle(house: House, world: FakeWorld) -> None:
    for _ in range(3):
        house.run(2)
        world.mine(2)
    house.run(2)


def test_a_payment_that_is_too_large_to_be_signed_gives_its_money_back(database_url: str) -> None:
    world = FakeWorld(finality_depth=2, spends_coins=True)
    assets = [
        replace(spec, deposit_minimum=100, sweep_minimum=NEVER) for spec in world.listed_assets()
    ]
    with open_house(database_url, NarrowChain(world), assets) as house:
        chain = house.home.chain.traits.chain
        world.fund(house.own_address(HOT), 5 * MILLION)
        alice = house.customer("alice")
        world.pay(house.address(alice), NATIVE, 6 * MILLION)
        settle(house, world)
        row = house.withdraw(alice, NATIVE, MILLION, world.outsider("bob"))
        house.run(1)
        house.approve(row.withdrawal_id)
        settle(house, world)
        assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.PLANNED
        house.clock.advance(house.home.patience.sign_within_ns)
        settle(house, world)
        assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.FAILED
        with house.platform.db.read() as conn:
            (spend,) = rows.all_of(conn, chain)
            assert (spend.state, spend.failure) == (SpendState.FAILED, Reason.TOO_LARGE.value)
            assert not claims.held(conn, chain)
        assert house.balance(alice, NATIVE) == 6 * MILLION
