"""Withdrawals that leave together on a real node, one of whose recipients the issuer blocks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chains.base import SpendKind
from core.ids import WithdrawalId
from custody.spending import batch_items
from custody.spending.batch_items import BatchItem, ItemOutcome
from custody.spending.rows import Spend, SpendState
from custody.withdrawals.states import WithdrawalState
from infra.devnet.deploy import Contract
from tests.support.delegating import delegate_hot
from tests.support.evm import listed, watched_address
from tests.support.house import HOT
from tests.support.threats import Customer, Scene, Stage, reopened

C, F, A = WithdrawalState.CONFIRMED, WithdrawalState.FAILED, WithdrawalState.APPROVED
AMOUNT = 1_000
MONEY = 10**9


def opened(stage: Stage, *, database: str = "sqlite") -> tuple[Scene, Contract, Customer]:
    """Return a platform that batches a token with a blocklist, and a customer with tokens."""
    token = stage.contracts.deploy("PausableBlocklistToken")
    token.send("mint", token.creator, 10 * MONEY)
    scene = stage(listed(token.address), database=database, batch_max=50)
    delegate_hot(scene, stage.contracts.deploy("BatchPayer").address)
    scene.fund_wallets()
    token.send("transfer", scene.house.own_address(HOT), MONEY)
    alice = scene.customer("alice")
    token.send("transfer", alice.address, MONEY)
    scene.go()
    assert scene.credited(alice, token.address) == MONEY
    return scene, token, alice


def people(count: int) -> list[str]:
    return [watched_address(0x900 + n) for n in range(count)]


def asked(scene: Scene, token: Contract, alice: Customer, to: list[str]) -> list[WithdrawalId]:
    return [
        scene.approved(alice, AMOUNT + n, key=token.address, to=one, client_id=one)
        for n, one in enumerate(to)
    ]


def states(scene: Scene, ids: list[WithdrawalId]) -> list[WithdrawalState]:
    return [scene.withdrawal(one).state for one in ids]


def items(scene: Scene, spend: Spend) -> list[BatchItem]:
    with scene.house.platform.db.read() as conn:
        return batch_items.of(conn, spend.spend_id)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_recipient_blocked_before_and_one_blocked_meanwhile_stop_nobody(
    stage: Stage, database: str
) -> None:
    scene, token, alice = opened(stage, database=database)
    to = people(8)
    known, late = to[2], to[5]
    token.send("setBlocked", known, True)
    ids = asked(scene, token, alice, to)
    scene.house.step("withdrawals.plan")
    (batch,) = scene.spends(SpendKind.BATCH)
    assert [one.cause_id for one in batch.intent.items] == ids[:2] + ids[3:], "one is left out"
    token.send("setBlocked", late, True)  # after the simulation, before the inclusion
    scene.house.step("spending.move")
    scene.until(lambda: scene.spends(SpendKind.BATCH)[0].state is SpendState.CONFIRMED)
    wanted = [C if one not in (known, late) else F if one == late else A for one in to]
    assert states(scene, ids) == wanted
    paid = [token.ask("balanceOf", one) for one in to]
    assert paid == [AMOUNT + n if state is C else 0 for n, state in enumerate(wanted)]
    found = items(scene, scene.spends(SpendKind.BATCH)[0])
    outcomes = [one.outcome for one in found]
    assert outcomes == [ItemOutcome.FAILED if i == ids[5] else ItemOutcome.PAID
                        for i in ids if i != ids[2]]  # fmt: skip
    (batch,) = scene.spends(SpendKind.BATCH)
    assert sum(one.fee_paid or 0 for one in found) == batch.fee_paid
    scene.run(2)  # the release reaches the engine and the books
    waiting = AMOUNT + 2
    assert scene.credited(alice, token.address) == MONEY - sum(paid) - waiting, "one is refunded"
    scene.cancel(ids[2])
    scene.go()
    assert scene.credited(alice, token.address) == MONEY - sum(paid)
    assert scene.spends(SpendKind.WITHDRAWAL) == []
    assert len(scene.digests(batch.cause_id)) == 1
    scene.assert_equations_hold()


def test_a_process_that_dies_anywhere_pays_a_batch_once(stage: Stage) -> None:
    scene, token, alice = opened(stage)
    to = people(4)
    ids = asked(scene, token, alice, to)
    for step in ("withdrawals.plan", "spending.move", "spending.move"):
        scene.house.step(step)
        roster, desk = scene.house.platform.rosters, scene.house.platform.signer
        scene = reopened(stage, scene, listed(token.address), batch_max=50)
        scene.house.platform = replace(scene.house.platform, rosters=roster, signer=desk)
    scene.go()
    assert states(scene, ids) == [C] * 4
    assert [token.ask("balanceOf", one) for one in to] == [AMOUNT + n for n in range(4)]
    assert len(scene.spends(SpendKind.BATCH)) == 1
    scene.assert_equations_hold()


def test_a_reorganisation_pays_a_batch_once(stage: Stage) -> None:
    scene, token, alice = opened(stage)
    to = people(3)
    ids = asked(scene, token, alice, to)
    for step in ("withdrawals.plan", "spending.move", "spending.move"):
        scene.house.step(step)
    assert [token.ask("balanceOf", one) for one in to] == [AMOUNT, AMOUNT + 1, AMOUNT + 2]
    scene.node.reorg(1)
    assert [token.ask("balanceOf", one) for one in to] == [0, 0, 0]
    scene.house.clock.advance(3 * 10**9)
    scene.go()
    assert states(scene, ids) == [C] * 3
    assert [token.ask("balanceOf", one) for one in to] == [AMOUNT, AMOUNT + 1, AMOUNT + 2]
    scene.assert_equations_hold()


def test_a_hot_wallet_that_runs_no_code_pays_one_by_one(stage: Stage) -> None:
    token = stage.contracts.deploy("PausableBlocklistToken")
    token.send("mint", token.creator, 10 * MONEY)
    scene = stage(listed(token.address), batch_max=50)
    scene.fund_wallets()
    token.send("transfer", scene.house.own_address(HOT), MONEY)
    alice = scene.customer("alice")
    token.send("transfer", alice.address, MONEY)
    scene.go()
    ids = asked(scene, token, alice, people(3))
    scene.go()
    assert states(scene, ids) == [C] * 3
    assert scene.spends(SpendKind.BATCH) == []
    assert len(scene.spends(SpendKind.WITHDRAWAL)) == 3
