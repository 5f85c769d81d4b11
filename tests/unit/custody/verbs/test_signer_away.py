"""While the signer is away payments wait, however long, and nothing else does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from chains.base import NATIVE
from chains.fake import FakeWorld
from core.clock import SECOND_NS
from core.errors import Unavailable
from custody.keys.guard import SignRequest
from custody.keys.service import Answer
from custody.spending import rows as spending_rows
from custody.withdrawals.states import WithdrawalState
from tests.support.house import House

DEPOSIT = 1_000_000


class Away:
    """A key service that signs only while its owner lets it."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.is_away = True
        self.asked = 0

    def sign(self, requests: Sequence[SignRequest]) -> list[Answer]:
        self.asked += 1
        if self.is_away:
            raise Unavailable("the signer is stopped")
        answers: list[Answer] = self.inner.sign(requests)
        return answers

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest.fixture
def away(house: House) -> Away:
    """Put the house's signer out of reach."""
    service = Away(house.platform.signer)
    house.platform = replace(house.platform, signer=service)
    return service


def test_a_payment_waits_for_hours_and_is_paid_once_when_the_signer_is_back(
    house: House, world: FakeWorld, away: Away
) -> None:
    alice = house.customer("alice")
    away.is_away = False
    world.pay(house.address(alice), NATIVE, DEPOSIT)
    world.mine(3)
    house.run(2)
    away.is_away = True
    row = house.withdraw(alice, NATIVE, 10_000, world.outsider("bob"))
    house.run(1)
    house.approve(row.withdrawal_id)
    for _ in range(24):
        house.run(1)
        house.clock.advance(600 * SECOND_NS)  # far beyond every patience with a single spend
    assert away.asked > 20
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.PLANNED
    with house.platform.db.read() as conn:
        spends = spending_rows.all_of(conn, row.chain)
    assert [spend.abandoned for spend in spends if spend.cause_id == row.withdrawal_id] == [False]
    world.pay(house.address(alice), NATIVE, DEPOSIT)
    world.mine(3)
    house.run(2)
    assert house.balance(alice, NATIVE) >= 2 * DEPOSIT - 20_000  # deposits went on
    away.is_away = False
    for _ in range(4):
        house.run(1)
        world.mine(2)
    house.run(1)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.CONFIRMED
    assert world.balance(world.outsider("bob"), NATIVE) == 10_000
