"""What the platform decides about money alone stands in the audit log, and is decided cheaply."""

from __future__ import annotations

from functools import partial

import pytest

from chains.base import NATIVE
from chains.fake import FakeWorld
from core.clock import DAY_NS
from core.ids import ChainId
from custody import audit_log, deposit_rows, deposits
from custody.deposit_rows import DepositState
from custody.wallets import addresses
from tests.support.house import House


def recorded(house: House) -> list[tuple[str, str]]:
    with house.platform.db.read() as conn:
        assert audit_log.verify(conn) is None
        return [(found.action, found.subject) for found in audit_log.records(conn)]


def test_an_expiry_stands_in_the_audit_log(house: House, world: FakeWorld) -> None:
    alice = house.customer("alice")
    world.pay(house.address(alice), NATIVE, 50_000)
    world.mine(3)
    house.run(2)
    row = house.withdraw(alice, NATIVE, 10_000, world.outsider("bob"))
    house.run(1)
    house.clock.advance(2 * DAY_NS)
    house.run(1)
    assert ("withdrawal.expire", row.withdrawal_id) in recorded(house)


def test_a_customer_frozen_for_a_receivable_stands_in_the_audit_log(
    house: House, world: FakeWorld
) -> None:
    alice = house.customer("alice")
    world.pay(house.address(alice), NATIVE, 50_000)
    world.mine(3)
    house.run(2)
    house.withdraw(alice, NATIVE, 40_000, world.outsider("bob"))
    house.run(1)
    with house.platform.db.read() as conn:
        (row,) = deposit_rows.list_deposits(conn, customer_no=alice)
    house.platform.db.run(partial(deposits.take_back, deposit_id=row.deposit_id, now_ns=1))
    house.run(1)
    assert ("customer.freeze", f"customer:{alice}") in recorded(house)


def test_a_heap_of_dust_is_summed_once_in_a_batch(
    house: House, world: FakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = house.customer("alice")
    address = house.address(alice)
    for _ in range(5):
        world.pay(address, NATIVE, 300)
    world.mine(3)
    house.step("follow")
    asked: list[object] = []
    real = deposits._dust

    def summed(conn: object, row: object) -> int:
        asked.append(row)
        return real(conn, row)  # type: ignore[arg-type]

    monkeypatch.setattr(deposits, "_dust", summed)
    house.run(2)
    assert house.balance(alice, NATIVE) == 1_200
    assert len(asked) == 1
    with house.platform.db.read() as conn:
        rows = deposit_rows.list_deposits(conn, customer_no=alice)
    assert sorted(row.state for row in rows) == [*[DepositState.CREDITED] * 4, DepositState.DUST]


def test_no_index_is_issued_to_two_customers_of_two_chains(house: House) -> None:
    alice, bob = house.customer("alice"), house.customer("bob")
    issued = [
        house.platform.db.run(
            partial(
                addresses.reserve, chain=ChainId(chain), customer_no=customer_no,
                public_key_of=lambda account, index: f"{account}/{index}".encode(),
                address_of=bytes.decode, now_ns=1,
            )
        )
        for chain, customer_no in (("one", alice), ("two", bob), ("one", bob))
    ]  # fmt: skip
    assert len({row.address for row in issued}) == 3
