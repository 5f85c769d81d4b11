"""Assets that are listed, changed or unknown while the platform runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chains.base import NATIVE, AssetSpec, BlockRef, TxStatus
from chains.fake import FakeWorld
from core.errors import Reason, Refused
from custody import audit_log, catalogue, deposit_rows
from custody.deposit_rows import DepositState
from custody.spending import outcome, rows
from custody.spending.rows import SpendState
from tests.support.house import House


def test_limits_follow_the_list_and_leave_a_record(
    house: House, assets: tuple[AssetSpec, ...]
) -> None:
    changed = replace(assets[0], deposit_minimum=77, withdrawal_fee=3)
    db = house.platform.db
    for _ in range(2):
        db.run(lambda conn: catalogue.list_asset(conn, changed, now_ns=5))
    with db.read() as conn:
        found = catalogue.asset_by_key(conn, changed.chain, changed.key)
        records = [row for row in audit_log.records(conn) if row.action == "asset.limits"]
    assert found is not None
    assert found.spec == changed
    assert len(records) == 1
    with pytest.raises(Refused) as refused:
        db.run(lambda conn: catalogue.list_asset(conn, replace(changed, scale=3)))
    assert refused.value.reason is Reason.EXISTS_WITH_OTHER_CONTENT


def test_an_asset_listed_after_the_engine_started_is_made_known_before_it_is_credited(
    house: House, world: FakeWorld
) -> None:
    key = world.add_token("NEW")
    spec = next(one for one in world.listed_assets() if one.key == key)
    house.platform.db.run(lambda conn: catalogue.list_asset(conn, spec))
    alice = house.customer("alice")
    asset_no = house.asset_no(key)
    assert asset_no not in house.sequencer.known_assets
    world.pay(house.address(alice), key, 5_000)
    world.mine(3)
    house.run(2)
    assert house.balance(alice, key) == 5_000
    with house.platform.db.read() as conn:
        (row,) = deposit_rows.list_deposits(conn, customer_no=alice)
    assert row.state is DepositState.CREDITED


def test_nothing_arriving_of_a_token_known_to_lie_is_left_to_a_person(
    house: House, world: FakeWorld
) -> None:
    alice = house.customer("alice")
    world.pay(house.address(alice), NATIVE, 1_000_000)
    world.mine(3)
    house.run(2)
    row = house.withdraw(alice, NATIVE, 10_000, world.outsider("bob"))
    house.run(1)
    house.approve(row.withdrawal_id)
    house.run(2)
    chain = house.home.chain.traits.chain
    with house.platform.db.read() as conn:
        flying = rows.in_states(conn, chain, [SpendState.BROADCAST])
        (spend,) = [found for found in flying if found.cause_id == row.withdrawal_id]
        attempts = rows.attempts(conn, spend.spend_id)
    at = BlockRef(9, "x")
    told = {
        attempt.tx_id: TxStatus(known=True, block=at, succeeded=True, fee=1) for attempt in attempts
    }
    endings = [
        outcome.decide(spend, attempts, told, used_up="nonce 0", final=at, is_odd=is_odd).ending
        for is_odd in (False, True)
    ]
    assert endings == [outcome.Ending.FAILED, outcome.Ending.UNCLEAR]
