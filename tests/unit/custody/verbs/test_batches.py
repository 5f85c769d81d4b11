"""Many small withdrawals leave in one transaction; each is paid, or fails, for itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from chains.base import NATIVE, AssetSpec, SpendIntent, SpendKind
from chains.fake import FakeChain, FakeWorld
from chains.fake.state import Output
from core.clock import SECOND_NS
from core.errors import Reason, Refused
from core.ids import CustomerNo
from custody import catalogue
from custody.keys.roster import Verdict
from custody.ledger.audit import audit
from custody.spending import batch_items, rows
from custody.spending.batch_items import ItemOutcome
from custody.spending.rows import Spend, SpendState
from custody.withdrawals import workflow
from custody.withdrawals.states import Withdrawal, WithdrawalState
from tests.support.house import House, open_house
from tests.support.policies import bucket, required

DEPOSIT = 10**6
FEE = 50
BATCH_MAX = 5


@pytest.fixture
def house(database_url: str, world: FakeWorld, assets: tuple[AssetSpec, ...]) -> Iterator[House]:
    """Open the platform on a chain that pays up to five at once."""
    with open_house(database_url, FakeChain(world, batch_max=BATCH_MAX), assets) as opened:
        world.fund(opened.own_address("hot"), 10**9)
        world.fund(opened.own_address("gas"), 10**9)
        for spec in assets:
            if spec.key != NATIVE:
                world.fund(opened.own_address("hot"), 10**9, spec.key)
        world.mine(3)
        opened.run(2)
        yield opened


@dataclass
class Scene:
    """Customers with money in a house, and what they ask for."""

    house: House
    world: FakeWorld
    token: str
    alice: CustomerNo

    def asks(self, *names: str, key: str | None = None, amount: int = 1_000) -> list[Withdrawal]:
        """Return approved withdrawals to outsiders of these names, each a unit more."""
        asked = [
            self.house.withdraw(
                self.alice, key or self.token, amount + n, self.world.outsider(name),
                client_id=name,
            )
            for n, name in enumerate(names)
        ]  # fmt: skip
        self.engine()
        return [self.house.approve(row.withdrawal_id) for row in asked]

    def second(self, name: str) -> CustomerNo:
        """Return another customer with tokens."""
        customer_no = self.house.customer(name)
        self.world.pay(self.house.address(customer_no), self.token, DEPOSIT)
        self.world.mine(3)
        self.house.run(3)
        return customer_no

    def ask_of(self, customer_no: CustomerNo, name: str) -> Withdrawal:
        """Return another customer's approved withdrawal."""
        to = self.world.outsider(name)
        row = self.house.withdraw(customer_no, self.token, 1_000, to, client_id=name)
        self.engine()
        return self.house.approve(row.withdrawal_id)

    def engine(self) -> None:
        for name in ("funding", "settlement"):
            self.house.step(name)

    def plan(self) -> int:
        return self.house.step("withdrawals.plan")

    def spends(self, *kinds: SpendKind) -> list[Spend]:
        with self.house.platform.db.read() as conn:
            found = rows.all_of(conn, self.house.home.chain.traits.chain)
        return [spend for spend in found if spend.kind in (kinds or (SpendKind.BATCH,))]

    def items(self, spend: Spend) -> list[tuple[ItemOutcome | None, int | None]]:
        with self.house.platform.db.read() as conn:
            return [(one.outcome, one.fee_paid) for one in batch_items.of(conn, spend.spend_id)]

    def until_settled(self, rounds: int = 6) -> None:
        for _ in range(rounds):
            self.house.run(1)
            self.world.mine(2)
        self.house.run(2)

    def states(self, asked: Sequence[Withdrawal]) -> list[WithdrawalState]:
        return [self.house.withdrawal(row.withdrawal_id).state for row in asked]

    def got(self, name: str, key: str | None = None) -> int:
        head = self.world.head.state
        return head.balance(self.world.outsider(name), key or self.token)

    def check_books(self) -> None:
        """Compare books with themselves and with the chain."""
        assert self.house.step("reconcile") == 0, "what left the wallet is what it lost"
        with self.house.platform.db.read() as conn:
            assert list(audit(conn)) == []


@pytest.fixture
def scene(house: House, world: FakeWorld, token: str) -> Scene:
    alice = house.customer("alice")
    address = house.address(alice)
    outputs = [Output(address, key, DEPOSIT, DEPOSIT) for key in (NATIVE, token)]
    world.pay_many(outputs)
    world.mine(3)
    house.run(3)
    made = Scene(house, world, token, alice)
    assert house.balance(alice, token) == house.balance(alice, NATIVE) == DEPOSIT
    return made


C, F = WithdrawalState.CONFIRMED, WithdrawalState.FAILED


@pytest.mark.parametrize("is_token", [True, False])
def test_what_waits_together_leaves_together_and_shares_the_fee(
    is_token: bool, scene: Scene
) -> None:
    key = scene.token if is_token else NATIVE
    asked = scene.asks("bob", "carol", "dora", key=key)
    assert scene.plan() == 3
    scene.until_settled()
    assert scene.states(asked) == [C, C, C]
    assert [scene.got(name, key) for name in ("bob", "carol", "dora")] == [1_000, 1_001, 1_002]
    (spend,) = scene.spends(SpendKind.BATCH, SpendKind.WITHDRAWAL)
    assert (spend.state, spend.delivered) == (SpendState.CONFIRMED, 3_003)
    found = scene.items(spend)
    assert [outcome for outcome, _ in found] == [ItemOutcome.PAID] * 3
    assert sum(fee or 0 for _, fee in found) == spend.fee_paid
    assert scene.house.balance(scene.alice, key) == DEPOSIT - 3_003 - 3 * FEE
    scene.check_books()


def test_one_that_fails_on_chain_is_refunded_and_the_others_are_paid_once(scene: Scene) -> None:
    asked = scene.asks("bob", "mallory", "carol")
    assert scene.plan() == 3
    scene.house.step("spending.move")
    scene.world.refuse_transfers_to(scene.world.outsider("mallory"))  # only now
    scene.until_settled()
    assert scene.states(asked) == [C, F, C]
    assert [scene.got(name) for name in ("bob", "mallory", "carol")] == [1_000, 0, 1_002]
    (spend,) = scene.spends(SpendKind.BATCH, SpendKind.WITHDRAWAL)
    outcomes = [outcome for outcome, _ in scene.items(spend)]
    assert outcomes == [ItemOutcome.PAID, ItemOutcome.FAILED, ItemOutcome.PAID]
    assert (spend.state, spend.delivered) == (SpendState.CONFIRMED, 2_002)
    assert scene.house.withdrawal(asked[1].withdrawal_id).reason == "item_failed"
    assert scene.house.balance(scene.alice, scene.token) == DEPOSIT - 2_002 - 2 * FEE
    scene.check_books()


def test_one_that_would_fail_today_is_left_out_and_waits_alone(scene: Scene) -> None:
    scene.world.refuse_transfers_to(scene.world.outsider("mallory"))
    asked = scene.asks("bob", "mallory", "carol")
    scene.plan()
    (batch,) = scene.spends()
    paid = [one.cause_id for one in batch.intent.items]
    assert paid == [asked[0].withdrawal_id, asked[2].withdrawal_id]


def test_every_item_failing_refunds_every_one(scene: Scene) -> None:
    asked = scene.asks("bob", "carol")
    scene.plan()
    scene.house.step("spending.move")
    scene.world.pause_token(scene.token)
    scene.until_settled()
    assert scene.states(asked) == [F, F]
    assert scene.house.balance(scene.alice, scene.token) == DEPOSIT
    (spend,) = scene.spends()
    assert (spend.state, spend.delivered) == (SpendState.FAILED, 0)
    assert spend.fee_paid
    scene.check_books()


def test_one_alone_and_a_chain_without_batches_pay_one_by_one(scene: Scene) -> None:
    scene.asks("bob")
    assert scene.plan() == 1
    assert scene.spends() == []
    scene.house.home.chain._traits = FakeChain(scene.world).traits  # type: ignore[attr-defined]
    scene.asks("carol", "dora")
    assert scene.plan() == 2
    assert scene.spends() == []
    assert len(scene.spends(SpendKind.WITHDRAWAL)) == 3


def test_a_batch_has_a_bound_and_one_asset(scene: Scene) -> None:
    scene.asks(*(f"p{n}" for n in range(BATCH_MAX + 2)))
    scene.asks("q1", "q2", key=NATIVE)
    scene.plan()
    sizes = sorted(
        (len(one.intent.items), one.intent.asset_key == NATIVE) for one in scene.spends()
    )
    assert sizes == [(2, True), (BATCH_MAX, False)]
    scene.plan()
    scene.until_settled()
    assert all(scene.got(f"p{n}") == 1_000 + n for n in range(BATCH_MAX + 2))


def test_what_the_hot_wallet_cannot_pay_waits_for_it(scene: Scene, world: FakeWorld) -> None:
    """Queued, not failed on chain: the rest of a batch goes first."""
    hot = scene.house.own_address("hot")
    held = world.head.state.balance(hot, scene.token)
    one, two = scene.asks("bob", "carol", amount=400_000)
    world.head.state.move(hot, scene.token, 450_000 - held)
    small = scene.asks("dora", "emil", amount=10_000)
    scene.plan()
    (batch,) = scene.spends()
    assert [item.cause_id for item in batch.intent.items] == [
        one.withdrawal_id, small[0].withdrawal_id, small[1].withdrawal_id,
    ]  # fmt: skip
    assert scene.states([two]) == [WithdrawalState.APPROVED]
    world.head.state.move(hot, scene.token, 10**6)
    world.mine()
    scene.until_settled()
    assert scene.states([one, two, *small]) == [C] * 4


def test_fees_that_only_single_payments_can_bear_batch_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.asks("bob", "carol")
    monkeypatch.setattr(scene.house.home.chain, "_rate_cap", 10**9)
    cap = scene.house.home.terms.network_fee_max
    scene.world.set_base_rate(cap // 85 // 2)  # 80 alone, 30 + 2 * 65 together, with a margin
    together = scene.house.home.chain
    scene.plan()
    assert together.traits.batch_max == BATCH_MAX
    assert scene.spends() == []
    assert len(scene.spends(SpendKind.WITHDRAWAL)) == 2


def test_a_batch_that_waits_is_replaced_by_a_dearer_one_and_pays_once(scene: Scene) -> None:
    asked = scene.asks("bob", "carol")
    scene.plan()
    scene.house.step("spending.move")
    scene.house.step("spending.move")
    scene.house.clock.advance(11 * SECOND_NS)
    scene.house.step("spending.move")
    (spend,) = scene.spends()
    with scene.house.platform.db.read() as conn:
        made = rows.attempts(conn, spend.spend_id)
    assert len(made) == 2
    scene.until_settled()
    assert scene.states(asked) == [C, C]
    assert [scene.got(name) for name in ("bob", "carol")] == [1_000, 1_001]
    scene.check_books()


def test_a_reorganisation_takes_nothing_twice(scene: Scene) -> None:
    asked = scene.asks("bob", "carol")
    scene.plan()
    for _ in range(2):
        scene.house.step("spending.move")
    scene.world.mine()
    scene.world.reorg(1)  # the node forgets it: the same bytes are sent again
    scene.house.clock.advance(3 * SECOND_NS)
    scene.until_settled()
    assert scene.states(asked) == [C, C]
    assert [scene.got(name) for name in ("bob", "carol")] == [1_000, 1_001]
    scene.check_books()


# ---- leaving a batch --------------------------------------------------------------------------


def test_one_that_may_not_be_paid_makes_the_others_be_paid_alone(scene: Scene) -> None:
    """Its customer owes us since the batch was planned: the nonce is spent on ourselves."""
    mallory, asked = scene.second("mallory"), scene.asks("bob", "dora")
    asked.insert(1, scene.ask_of(mallory, "carol"))
    scene.plan()
    scene.house.platform.db.run(lambda conn: catalogue.freeze_customer(conn, mallory, "owes us"))
    scene.house.step("spending.move")
    assert scene.states(asked) == [WithdrawalState.PLANNED] * 3
    scene.until_settled(8)
    (ended,) = scene.spends()
    assert (ended.state, ended.abandoned) == (SpendState.FAILED, True)
    assert [outcome for outcome, _ in scene.items(ended)] == [ItemOutcome.PUT_BACK] * 3
    assert scene.states(asked) == [C, WithdrawalState.APPROVED, C]
    assert [scene.got(name) for name in ("bob", "carol", "dora")] == [1_000, 0, 1_001]
    alone = scene.spends(SpendKind.WITHDRAWAL)
    assert {one.cause_id for one in alone} == {asked[0].withdrawal_id, asked[2].withdrawal_id}
    done = scene.house.platform.db.run(
        lambda conn: workflow.cancel(
            conn, asked[1].withdrawal_id, by="mallory", now_ns=scene.house.clock.now_ns()
        )
    )
    assert done.state is WithdrawalState.CANCELLED
    scene.engine()
    assert scene.house.balance(mallory, scene.token) == DEPOSIT
    scene.check_books()


@pytest.mark.parametrize("counted", [False, True])
def test_a_batch_that_was_sent_and_can_be_paid_no_dearer_is_cancelled_and_paid_alone(
    scene: Scene,
    counted: bool,
) -> None:
    """The approvals of one expire while it waits; all leave the batch, and the others are paid."""
    if counted:
        assets, chains = [scene.token], ["fake"]
        day = bucket("day", "customer", "1000000", unit="coins", assets=assets, chains=chains)
        scene.house.adopt(required(), day)
    asked = scene.asks("bob", "carol")
    scene.house.clock.advance(scene.house.home.terms.expiry_ns - 60 * SECOND_NS)
    late = scene.asks("dora", "emil")
    scene.plan()
    for _ in range(2):
        scene.house.step("spending.move")
    scene.world.set_base_rate(100)  # it is not included
    assert scene.states([*asked, *late]) == [WithdrawalState.BROADCAST] * 4
    scene.house.clock.advance(61 * SECOND_NS)
    for _ in range(3):
        scene.house.clock.advance(11 * SECOND_NS)
        scene.house.step("spending.move")
    (batch,) = scene.spends()
    assert batch.abandoned
    scene.world.set_base_rate(10)
    scene.until_settled(8)
    assert scene.states(asked) == [WithdrawalState.EXPIRED] * 2
    assert scene.states(late) == [C, C]
    assert [scene.got(name) for name in ("bob", "carol", "dora", "emil")] == [0, 0, 1_000, 1_001]
    assert len([one for one in scene.spends() if one.state is SpendState.FAILED]) == 1
    assert len(scene.spends(SpendKind.WITHDRAWAL)) == 2
    assert scene.house.balance(scene.alice, scene.token) == DEPOSIT - 2_001 - 2 * FEE
    scene.check_books()


def test_a_rejection_or_cancellation_comes_too_late_for_what_is_planned(scene: Scene) -> None:
    one, _ = scene.asks("bob", "carol")
    scene.plan()
    with pytest.raises(Refused) as refused:
        scene.house.approve(one.withdrawal_id, "cleo", verdict=Verdict.REJECT)
    assert refused.value.reason is Reason.ILLEGAL_TRANSITION
    with pytest.raises(Refused):
        scene.house.platform.db.run(
            lambda conn: workflow.cancel(
                conn, one.withdrawal_id, by="alice", now_ns=scene.house.clock.now_ns()
            )
        )


def test_what_ends_between_look_and_plan_takes_no_nonce(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race of a cancellation with a batch has one winner."""
    one, two = scene.asks("bob", "carol")
    chain = scene.house.home.chain
    real = chain.payable_items

    def slow(intent: SpendIntent) -> tuple[bool, ...]:
        scene.house.platform.db.run(
            lambda conn: workflow.cancel(
                conn, one.withdrawal_id, by="alice", now_ns=scene.house.clock.now_ns()
            )
        )
        return real(intent)

    monkeypatch.setattr(chain, "payable_items", slow)
    assert scene.plan() == 1
    assert scene.spends() == []
    assert scene.states([one, two]) == [WithdrawalState.CANCELLED, WithdrawalState.PLANNED]
