"""The platform's side of a stop: what waits, what is blocked, what the signer hears of it."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from chains.base import NATIVE
from chains.fake import FakeWorld
from core.clock import SECOND_NS
from core.errors import Reason, Refused, Unavailable
from core.ids import ChainId, CustomerNo
from custody import audit_log, stops
from custody.keys.service import SignerAway
from custody.keys.stop_order import SignedStop, asset_scope, chain_scope, customer_scope
from custody.policy.request import Verdict
from custody.stops import Stop
from custody.withdrawals.states import WithdrawalState
from tests.support.house import House, officer_key
from tests.support.stop_orders import HOUR_NS, freeze, pause, resume

CHAIN = ChainId("fake")
ADA, BEN, CLEO = (officer_key(person) for person in ("ada", "ben", "cleo"))


def receive(house: House, order: SignedStop) -> Stop:
    now_ns = house.clock.now_ns()
    return house.platform.db.run(
        lambda conn: stops.receive(
            conn, order, roster=house.platform.roster, by="ada", now_ns=now_ns
        )
    )


def place(house: House, name: str, scope: str) -> Stop:
    return receive(house, pause(name, scope, ADA, now_ns=house.clock.now_ns()))


def found(house: House, customer_no: CustomerNo | None, asset_key: str) -> list[tuple[str, str]]:
    with house.platform.db.read() as conn:
        return [
            (one.verdict, one.code)
            for one in stops.findings(
                conn, customer_no=customer_no, chain=CHAIN, asset_key=asset_key,
                now_ns=house.clock.now_ns(),
            )
        ]  # fmt: skip


WAITS, BLOCKED = (Verdict.WAIT, "paused"), (Verdict.BLOCK, "freeze")


def test_a_pause_makes_what_it_covers_wait_and_nothing_else(house: House, token: str) -> None:
    alice, bob = house.customer("alice"), house.customer("bob")
    place(house, "stop_one", customer_scope(alice))
    assert found(house, alice, token) == [WAITS]
    assert found(house, bob, token) == []
    place(house, "stop_two", asset_scope(CHAIN, token))
    assert found(house, alice, token) == [WAITS, WAITS]
    assert found(house, bob, token) == [WAITS]
    assert found(house, bob, "native") == []
    place(house, "stop_three", chain_scope(CHAIN))
    assert found(house, None, "native") == [WAITS]
    now_ns = house.clock.now_ns()
    receive(house, resume("resume_1", ["stop_two", "stop_three"], ADA, BEN, now_ns=now_ns))
    assert found(house, alice, token) == [WAITS]
    assert found(house, None, "native") == []


def test_a_resumption_lifts_nothing_outside_of_its_scope(house: House, token: str) -> None:
    alice, now_ns = house.customer("alice"), house.clock.now_ns()
    place(house, "stop_one", "platform")
    place(house, "stop_two", customer_scope(alice))
    both = ["stop_one", "stop_two"]
    scope = customer_scope(alice)
    with pytest.raises(Refused) as refused:
        receive(house, resume("resume_1", both, ADA, BEN, now_ns=now_ns, scope=scope))
    assert refused.value.reason is Reason.INTENT_MISMATCH
    assert found(house, alice, token) == [WAITS, WAITS], "none of it counts"
    receive(house, resume("resume_2", both[1:], ADA, BEN, now_ns=now_ns, scope=scope))
    assert found(house, alice, token) == [WAITS]
    receive(house, resume("resume_3", both[:1], ADA, BEN, now_ns=now_ns))
    assert found(house, alice, token) == []


def test_a_freeze_blocks_until_its_time_and_cannot_be_lifted(house: House, token: str) -> None:
    now_ns = house.clock.now_ns()
    receive(house, freeze("freeze_1", "platform", ADA, now_ns=now_ns, hours=2))
    assert found(house, None, token) == [BLOCKED]
    with pytest.raises(Refused) as refused:
        receive(house, resume("resume_1", ["freeze_1"], ADA, BEN, CLEO, now_ns=now_ns))
    assert refused.value.reason is Reason.ILLEGAL_TRANSITION
    house.clock.advance(2 * HOUR_NS - 1)
    assert found(house, None, token) == [BLOCKED]
    house.clock.advance(1)
    assert found(house, None, token) == []


def test_every_order_is_audited_once_with_its_officers(house: House) -> None:
    order = pause("stop_one", "platform", ADA, now_ns=house.clock.now_ns())
    assert receive(house, order) == receive(house, order)
    place_again = pause("stop_one", chain_scope(CHAIN), ADA, now_ns=house.clock.now_ns())
    with pytest.raises(Refused) as refused:
        receive(house, place_again)
    assert refused.value.reason is Reason.EXISTS_WITH_OTHER_CONTENT
    with house.platform.db.read() as conn:
        (record,) = [r for r in audit_log.records(conn) if r.action.startswith("stop.")]
    assert (record.action, record.subject) == ("stop.pause", "platform")
    assert record.detail["officers"] == "ada"


@pytest.mark.parametrize(
    ("scope", "reason"),
    [
        ("chain:elsewhere", Reason.UNKNOWN_CHAIN),
        (asset_scope(CHAIN, "0xnothing"), Reason.UNKNOWN_ASSET),
        ("customer:999", Reason.UNKNOWN_CUSTOMER),
    ],
)
def test_a_stop_of_what_does_not_exist_is_refused_not_quietly_kept(
    house: House, scope: str, reason: Reason
) -> None:
    with pytest.raises(Refused) as refused:
        place(house, "stop_one", scope)
    assert refused.value.reason is reason


def test_a_resumption_of_a_pause_that_is_not_here_is_refused(house: House) -> None:
    with pytest.raises(Refused) as refused:
        receive(house, resume("resume_1", ["stop_one"], ADA, BEN, now_ns=house.clock.now_ns()))
    assert refused.value.reason is Reason.NOT_FOUND


class Away:
    """A signer that cannot be reached, in front of one that can."""

    def __init__(self, house: House) -> None:
        self.is_away = True
        self._signer = house.platform.signer

    def obey(self, order: SignedStop) -> None:
        if self.is_away:
            raise SignerAway("down")
        self._signer.obey(order)

    def stops(self) -> list[SignedStop]:
        if self.is_away:
            raise SignerAway("down")
        return self._signer.stops()


def tell(house: House, signer: Any) -> tuple[int, list[str]]:
    notes: list[str] = []
    moved = stops.step(
        house.platform.db, signer, house.platform.roster, clock=house.clock,
        note=lambda _stop_id, why: notes.append(why),
    )  # fmt: skip
    return moved, notes


def test_a_signer_that_was_away_is_told_when_it_is_back_and_only_once(house: House) -> None:
    signer = Away(house)
    place(house, "stop_one", "platform")
    assert tell(house, signer) == (0, ["down"])
    signer.is_away = False
    assert tell(house, signer) == (1, [])
    signer.is_away = True
    assert tell(house, signer) == (0, []), "nothing to tell: not even a silent signer is a problem"
    signer.is_away = False
    assert [one.statement.statement_id for one in house.platform.signer.stops()] == ["stop_one"]
    assert tell(house, signer) == (0, [])


def test_what_only_the_signer_was_told_the_platform_learns(house: House, token: str) -> None:
    now_ns = house.clock.now_ns()
    house.platform.signer.obey(pause("stop_one", chain_scope(CHAIN), BEN, now_ns=now_ns))
    assert found(house, None, token) == []
    assert tell(house, house.platform.signer) == (1, [])
    assert found(house, None, token) == [WAITS]
    with house.platform.db.read() as conn:
        (stop,) = stops.listed(conn, now_ns=now_ns, only_in_force=True)
    assert stop.placed_by == ("ben",)
    assert stop.told_at_ns is not None


def test_a_paused_customers_money_waits_and_goes_after_the_resumption(
    house: House, world: FakeWorld
) -> None:
    alice = house.customer("alice")
    world.pay(house.address(alice), NATIVE, 1_000_000)
    world.mine(3)
    house.run(2)
    asked = house.withdraw(alice, NATIVE, 10_000, world.outsider("bob"), client_id="w1")
    house.run(1)
    place(house, "stop_one", customer_scope(alice))
    house.approve(asked.withdrawal_id)
    house.run(4)
    waiting = house.withdrawal(asked.withdrawal_id).state
    assert waiting in (WithdrawalState.APPROVED, WithdrawalState.PLANNED)
    paid = {one.record.cause_id for one in house.platform.signer.entries(0, 100)}
    assert asked.withdrawal_id not in paid
    now_ns = house.clock.now_ns()
    receive(house, resume("resume_1", ["stop_one"], ADA, BEN, now_ns=now_ns))
    house.run(4)
    assert house.withdrawal(asked.withdrawal_id).state is WithdrawalState.BROADCAST
    world.mine(4)
    house.run(4)
    assert house.withdrawal(asked.withdrawal_id).state is WithdrawalState.CONFIRMED


def test_the_row_of_a_stop_is_its_paper(house: House) -> None:
    place(house, "stop_one", "platform")
    with house.platform.db.read() as conn:
        told = conn.execute(sa.select(stops.stops)).one()
        stop = stops.find(conn, "stop_one")
    assert stop is not None
    assert (told.scope, told.kind) == (stop.order.scope, stop.order.kind)
    assert stop.holds(house.clock.now_ns() + SECOND_NS)
    assert issubclass(SignerAway, Unavailable)
