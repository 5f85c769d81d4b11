"""What a policy does to withdrawals: at the request, while they wait, at the release."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import sqlalchemy as sa

from chains.base import NATIVE, SpendKind
from chains.fake import FakeWorld
from core.clock import DAY_NS, SECOND_NS
from core.errors import Corrupt, Reason, Refused
from core.ids import CustomerNo
from core.money import format_amount
from custody import funding, policies, velocity
from custody.keys import intent as intents
from custody.keys.intent import WithdrawalIntent
from custody.keys.roster import Verdict
from custody.policy.decision import Charge
from custody.policy.record import decode_record, repeated
from custody.spending import rows as spending_rows
from custody.withdrawals import addressbook, decisions, workflow
from custody.withdrawals.book_rows import BookTerms, NewEntry
from custody.withdrawals.states import Withdrawal, WithdrawalState
from tests.support.house import House
from tests.support.policies import allowed, bucket, denied, required

DEPOSIT = 1_000_000
SCALE = 9
DOLLAR_EACH = 10**SCALE
"""The price of a whole coin when a minor unit is worth one."""


def coins(minor: int) -> str:
    """Return minor units as whole coins."""
    return format_amount(minor, SCALE)


CAP = 25_000
COUNTED = bucket("day", "customer", coins(CAP), unit="coins", assets=[NATIVE], chains=["fake"])
KEY = "day/customer=1"


@pytest.fixture
def alice(house: House, world: FakeWorld) -> CustomerNo:
    """Return a customer with money."""
    customer_no = house.customer("alice")
    world.pay(house.address(customer_no), NATIVE, DEPOSIT)
    world.mine(3)
    house.run(2)
    assert house.balance(customer_no, NATIVE) == DEPOSIT
    return customer_no


def asked(house: House, world: FakeWorld, alice: CustomerNo, name: str = "w1") -> Withdrawal:
    row = house.withdraw(alice, NATIVE, 10_000, world.outsider(name), client_id=name)
    house.step("funding")
    house.step("settlement")
    return house.withdrawal(row.withdrawal_id)


def used(house: House) -> int:
    """Return what the customer's window holds now."""
    charge = Charge("day", KEY, 0, CAP, DAY_NS)
    with house.platform.db.read() as conn:
        return velocity.used(conn, [charge], house.clock.now_ns())[KEY]


def intent_of(row: Withdrawal) -> WithdrawalIntent:
    found = intents.decode(row.intent)
    assert isinstance(found, WithdrawalIntent)
    return found


def finish(house: House, world: FakeWorld) -> None:
    for _ in range(5):
        house.run(1)
        world.mine(2)
    house.run(1)


# ---- at the request


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ((allowed("sweeps-only", kinds=["sweep"]),), "no_rule"),
        ((required(), denied("nobody", "no_payments_today")), "no_payments_today"),
        ((required(), COUNTED.replace(coins(CAP), coins(9_999))), "above_cap"),
        ((required(max_coins=coins(10_000), assets=[NATIVE], chains=["fake"]),), "no_rule"),
        ((required(quorum="3 of officers", exclude=["ben"]),), "quorum_unreachable"),
    ],
)
def test_a_blocked_request_is_refused_with_its_decision_and_holds_nothing(
    house: House, world: FakeWorld, alice: CustomerNo, entries: tuple[str, ...], code: str
) -> None:
    house.adopt(*entries)
    row = asked(house, world, alice)
    assert (row.state, row.reason) == (WithdrawalState.REFUSED, "policy_blocked")
    (decided,) = house.decisions(row.withdrawal_id)
    assert (decided.outcome, decided.code) == ("block", code)
    with house.platform.db.read() as conn:
        assert funding.causes_of(conn, funding.FundingKind.HOLD) == frozenset()
    assert (house.balance(alice, NATIVE), used(house)) == (DEPOSIT, 0)
    # The same request again is the same answer, and nothing is decided a second time.
    again = asked(house, world, alice)
    assert (again, len(house.decisions(row.withdrawal_id))) == (row, 1)


def test_what_is_allowed_is_approved_as_soon_as_it_is_held(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    house.adopt(allowed())
    row = house.withdraw(alice, NATIVE, 10_000, world.outsider("w1"))
    assert row.state is WithdrawalState.REQUESTED
    row = asked(house, world, alice)
    assert row.state is WithdrawalState.APPROVED
    assert row.releasable_at_ns is not None
    (decided,) = house.decisions(row.withdrawal_id)
    assert (decided.outcome, decided.rule) == ("allow", "small")
    assert house.step("withdrawals.plan") == 1


def test_the_intent_carries_the_decision(house: House, world: FakeWorld, alice: CustomerNo) -> None:
    policy = house.adopt(required("slow", delay_s=60, expiry_s=3_600, exclude=["cleo"]))
    row = asked(house, world, alice)
    (decided,) = house.decisions(row.withdrawal_id)
    intent = intent_of(row)
    assert (intent.policy_hash, intent.policy_version) == (policy.hash.hex(), policy.serial)
    assert (intent.decision_hash, intent.rule) == (decided.hash.hex(), "slow")
    assert intent.excluded == ("cleo", f"customer:{alice}")
    assert intent.not_before_ns == row.requested_at_ns + 60 * SECOND_NS
    assert row.expires_at_ns == intent.expires_ns == row.requested_at_ns + 3_600 * SECOND_NS
    assert (intent.wallet, row.wallet) == ("hot", "hot")


def test_a_stored_decision_is_taken_again_bit_for_bit(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    house.adopt(required(), COUNTED)
    row = asked(house, world, alice)
    (decided,) = house.decisions(row.withdrawal_id)
    record = decode_record(decided.record)
    with house.platform.db.read() as conn:
        policy = policies.get(conn, decided.policy_hash)
    assert repeated(record, {policy.hash: policy}) == record
    other = house.adopt(required(quorum="1 of officers"), COUNTED)
    with pytest.raises(Refused) as refused:
        repeated(record, {other.hash: other})
    assert refused.value.reason is Reason.UNKNOWN_POLICY


def test_a_decision_that_somebody_changed_stops_the_release(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    row = asked(house, world, alice)
    house.approve(row.withdrawal_id)
    (decided,) = house.decisions(row.withdrawal_id)
    forged = decided.record.replace('"outcome":"require"', '"outcome":"allow"')
    assert forged != decided.record
    house.platform.db.run(
        lambda conn: decisions.put(
            conn, decisions.Stored(**{f: getattr(decided, f) for f in decided.__slots__}
                                   | {"record": forged})
        )
    )  # fmt: skip
    with pytest.raises(Corrupt):
        house.step("withdrawals.plan")


# ---- officers


def test_the_rule_s_quorum_counts_not_only_the_number_of_officers(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    house.adopt(
        required(quorum="1 of officers and 1 of compliance"), groups={"compliance": ["cleo"]}
    )
    row = asked(house, world, alice)
    assert house.approve(row.withdrawal_id, "ada", "ben").state is WithdrawalState.HELD
    assert house.approve(row.withdrawal_id, "cleo").state is WithdrawalState.APPROVED


def test_whom_the_rule_excludes_may_reject_and_not_approve(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    house.adopt(required(exclude=["cleo"]))
    row = asked(house, world, alice)
    with pytest.raises(Refused) as refused:
        house.approve(row.withdrawal_id, "cleo")
    assert refused.value.reason is Reason.INITIATOR_CANNOT_APPROVE
    done = house.approve(row.withdrawal_id, "cleo", verdict=Verdict.REJECT)
    assert done.state is WithdrawalState.REJECTED


def test_the_delay_runs_from_the_quorum_and_nothing_is_planned_before(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    house.adopt(required(delay_s=600))
    row = asked(house, world, alice)
    house.clock.advance(300 * SECOND_NS)
    approved = house.approve(row.withdrawal_id)
    assert approved.releasable_at_ns == house.clock.now_ns() + 600 * SECOND_NS
    house.clock.advance(599 * SECOND_NS)
    assert house.step("withdrawals.plan") == 0
    assert len(house.decisions(row.withdrawal_id)) == 1, "nothing is asked before its time"
    house.clock.advance(SECOND_NS)
    assert house.step("withdrawals.plan") == 1
    assert [one.outcome for one in house.decisions(row.withdrawal_id)] == ["require", "allow"]


# ---- velocity


def cancelled(house: House, row: Withdrawal) -> None:
    house.platform.db.run(
        partial(
            workflow.cancel, withdrawal_id=row.withdrawal_id, by="x", now_ns=house.clock.now_ns()
        )
    )


def rejected(house: House, row: Withdrawal) -> None:
    house.approve(row.withdrawal_id, "ada", verdict=Verdict.REJECT)


def expired(house: House, row: Withdrawal) -> None:
    house.clock.advance(row.expires_at_ns - house.clock.now_ns())
    house.step("withdrawals.expire")


def blocked_at_release(house: House, row: Withdrawal) -> None:
    house.approve(row.withdrawal_id)
    house.adopt(required(), COUNTED, denied("stop", "emergency"))
    house.step("withdrawals.plan")


@pytest.mark.parametrize("end", [cancelled, rejected, expired, blocked_at_release])
def test_an_end_before_any_signature_frees_the_window(
    house: House, world: FakeWorld, alice: CustomerNo, end: Callable[[House, Withdrawal], None]
) -> None:
    house.adopt(required(), COUNTED)
    first, second = (asked(house, world, alice, name) for name in ("w1", "w2"))
    assert used(house) == 20_000
    assert asked(house, world, alice, "w3").reason == "policy_blocked", "the control: it is full"
    end(house, first)
    if end is expired:
        assert house.withdrawal(second.withdrawal_id).state is WithdrawalState.EXPIRED
    assert used(house) == (0 if end is expired else 10_000)
    house.run(1)
    free = DEPOSIT - house.balance(alice, NATIVE)
    assert free == (0 if end is expired else 10_050), "and the money came back"


def test_what_the_engine_refuses_frees_the_window(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    house.adopt(required(), COUNTED.replace(coins(CAP), coins(9_000_000)))
    row = house.withdraw(alice, NATIVE, DEPOSIT, world.outsider("w1"))
    assert used(house) == DEPOSIT
    house.run(1)
    assert house.withdrawal(row.withdrawal_id).reason == "exceeds_available"
    assert used(house) == 0


def test_a_payment_counts_until_a_window_after_its_first_signature(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    house.adopt(required(), COUNTED)
    row = asked(house, world, alice)
    house.clock.advance(DAY_NS // 2)
    house.approve(row.withdrawal_id)
    signed_at_ns = house.clock.now_ns()
    house.step("withdrawals.plan")
    house.step("spending.move")
    finish(house, world)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.CONFIRMED
    house.clock.advance(signed_at_ns + DAY_NS - 1 - house.clock.now_ns())
    assert used(house) == 10_000, "longer than a day after the request"
    house.clock.advance(1)
    assert used(house) == 0


def test_a_payment_that_is_proven_dead_frees_the_window(
    house: House, world: FakeWorld, token: str, alice: CustomerNo
) -> None:
    house.adopt(required(), COUNTED)
    row = asked(house, world, alice)
    house.approve(row.withdrawal_id)
    house.step("withdrawals.plan")
    with house.platform.db.read() as conn:
        spend = spending_rows.find_by_cause(conn, row.withdrawal_id, SpendKind.WITHDRAWAL)
    assert spend is not None
    house.platform.db.run(lambda conn: spending_rows.abandon(conn, spend, "test"))
    assert used(house) == 10_000
    finish(house, world)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.FAILED
    assert used(house) == 0


# ---- at the release


def test_a_policy_that_changes_leaves_pending_requests_and_only_its_denies_count(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    first, second = (asked(house, world, alice, name) for name in ("w1", "w2"))
    house.approve(first.withdrawal_id)
    house.adopt(required("stricter", quorum="3 of officers", delay_s=900))
    assert house.step("withdrawals.plan") == 1, "the rule of the request still is its rule"
    house.step("spending.move")  # signed before the emergency; the signer knows it too
    house.approve(second.withdrawal_id)
    house.adopt(required(), denied("stop", "emergency"))
    assert house.step("withdrawals.plan") == 0
    done = house.withdrawal(second.withdrawal_id)
    assert (done.state, done.reason) == (WithdrawalState.REJECTED, "policy_blocked")
    codes = [(one.outcome, one.code) for one in house.decisions(second.withdrawal_id)]
    assert codes == [("require", ""), ("block", "emergency")]
    finish(house, world)
    assert house.withdrawal(first.withdrawal_id).state is WithdrawalState.CONFIRMED
    assert house.balance(alice, NATIVE) == DEPOSIT - 10_050


def test_a_stale_price_is_waited_for_and_every_new_answer_is_stored_once(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    house.adopt(required(), bucket("usd", "customer", "1000000"), stale_after_s=60)
    house.price(NATIVE, DOLLAR_EACH)
    row = asked(house, world, alice)
    house.approve(row.withdrawal_id)
    house.clock.advance(60 * SECOND_NS)
    for _ in range(5):
        assert house.step("withdrawals.plan") == 0
    answers = [(one.outcome, one.code) for one in house.decisions(row.withdrawal_id)]
    assert answers == [("require", ""), ("wait", "stale_price")]
    house.price(NATIVE, 2 * DOLLAR_EACH)
    assert house.step("withdrawals.plan") == 1
    assert [one.outcome for one in house.decisions(row.withdrawal_id)] == [
        "require", "wait", "allow",
    ]  # fmt: skip


def test_a_price_that_rose_above_the_limit_blocks_the_release(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    house.adopt(required(), bucket("usd", "customer", "15000"))
    house.price(NATIVE, DOLLAR_EACH)
    row = asked(house, world, alice)
    house.approve(row.withdrawal_id)
    house.clock.advance(SECOND_NS)
    house.price(NATIVE, 2 * DOLLAR_EACH)
    assert house.step("withdrawals.plan") == 0
    last = house.decisions(row.withdrawal_id)[-1]
    assert (last.outcome, last.code) == ("block", "above_cap")
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.REJECTED


@pytest.mark.parametrize("removed", [False, True])
def test_an_entry_that_a_rule_relied_on_and_that_is_removed_ends_the_payment(
    house: House, world: FakeWorld, alice: CustomerNo, removed: bool
) -> None:
    """The book is not obligatory, but the rule asks for nobody because of the entry."""
    house.adopt(allowed(in_book=True), required())
    db, address = house.platform.db, world.outsider("shop")
    entry = NewEntry("e1", alice, house.home.chain.traits.chain, address, "shop", "alice")
    made = db.run(
        lambda conn: addressbook.create(
            conn, entry, terms=BookTerms(), entropy=house.platform.entropy, now_ns=0
        )
    )
    entry_id = made.entry.entry_id

    def confirmed(conn: sa.Connection) -> None:
        assert made.notice is not None
        addressbook.confirm(conn, alice, entry_id, made.notice.code, now_ns=0).checked()

    db.run(confirmed)
    house.clock.advance(4 * DAY_NS)
    row = asked(house, world, alice, "shop")
    assert row.state is WithdrawalState.APPROVED
    if removed:
        now_ns = house.clock.now_ns()
        db.run(lambda conn: addressbook.remove(conn, alice, entry_id, by="alice", now_ns=now_ns))
    house.step("withdrawals.plan")
    row = house.withdrawal(row.withdrawal_id)
    gone, there = (WithdrawalState.REJECTED, "not_in_address_book"), (WithdrawalState.PLANNED, None)
    assert (row.state, row.reason) == (gone if removed else there)
