"""The node's face is honest by default, and every fault is real, counted and of its kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from chains.base import NATIVE, BroadcastOutcome, Chain, FeeRate, SpendItem, SpendKind
from chains.fake import FakeChain, FakeWorld, Fault, FaultKind, FaultScript, open_fake
from chains.fake.faults import APPLIES, COIN_READS
from chains.registry import ChainConfig, open_chain
from core.entropy import SeededEntropy
from core.errors import Corrupt, Reason, Refused, Unavailable
from core.ids import ChainId
from tests.unit.chains.fake.wallet import Wallet


@pytest.fixture
def world() -> FakeWorld:
    return FakeWorld(finality_depth=2)


@pytest.fixture
def script() -> FaultScript:
    return FaultScript()


@pytest.fixture
def chain(world: FakeWorld, script: FaultScript) -> Chain:
    return FakeChain(world, faults=script)


def test_final_head_is_none_before_anything_is_final(chain: Chain, world: FakeWorld) -> None:
    assert chain.final_head() is None
    world.mine(2)
    assert chain.final_head() is None
    world.mine()
    assert chain.final_head() == world.block(1).ref


def test_another_network_is_corrupt(world: FakeWorld) -> None:
    with pytest.raises(Corrupt):
        FakeChain(world, network="other").check_identity()
    FakeChain(world).check_identity()


@pytest.mark.parametrize("kind", [FaultKind.UNAVAILABLE, FaultKind.NULL])
def test_every_read_may_stay_without_answer(
    kind: FaultKind, chain: Chain, world: FakeWorld, script: FaultScript
) -> None:
    head, bob = world.mine(), world.outsider("bob")
    block = chain.block_at(1)
    assert block is not None
    alice = Wallet(world)
    unsigned = alice.unsigned(bob, 5, rate=FeeRate(max_rate=20, tip_rate=2))
    single = alice.intent(alice.address, 5)
    batch = replace(single, kind=SpendKind.BATCH, items=(SpendItem("wd_1", bob, 5),))
    calls: dict[str, Callable[[], object]] = {
        "head": chain.head,
        "final_head": chain.final_head,
        "block_at": lambda: chain.block_at(1),
        "payments_in": lambda: chain.payments_in(block, {bob}),
        "balance_of": lambda: chain.balance_of(bob, NATIVE, head),
        "used_nonces": lambda: chain.used_nonces(bob, head),
        "fee_rate": chain.fee_rate,
        "tx_status": lambda: chain.tx_status("00"),
        "check_identity": chain.check_identity,
        "simulate": lambda: chain.simulate(unsigned),
        "standing_of": lambda: chain.standing_of(bob, asset_key=NATIVE),
        "payable_items": lambda: chain.payable_items(batch),
    }
    assert set(calls) == APPLIES[kind] - {"broadcast"} - COIN_READS
    for name, call in calls.items():
        script.plan(name, kind)
        with pytest.raises(Unavailable):
            call()
        call()
    assert world.counts[f"fault.{kind}"] == len(calls)


def test_a_lagging_node_knows_nothing_of_newer_blocks(
    chain: Chain, world: FakeWorld, script: FaultScript
) -> None:
    tx_id = world.pay(world.outsider("bob"), NATIVE, 5)
    world.mine(2)
    world.mine(3)
    lagging = Fault(FaultKind.LAGGING, blocks=5)
    newest = chain.block_at(5)
    assert newest is not None
    for call in ("head", "final_head", "block_at", "payments_in", "balance_of", "tx_status"):
        script.plan(call, lagging)
    assert chain.head().height == 0
    assert chain.final_head() is None
    assert chain.block_at(1) is None
    with pytest.raises(Unavailable, match="unknown_block"):
        chain.payments_in(newest, set())
    with pytest.raises(Unavailable, match="unknown_block"):
        chain.balance_of(world.outsider("bob"), NATIVE, newest.ref)
    assert chain.tx_status(tx_id).block is None
    assert chain.tx_status(tx_id).block == world.block(1).ref
    assert world.counts["fault.lagging"] == 6


def test_an_incomplete_list_is_noticed_unless_the_reader_lies(
    world: FakeWorld, script: FaultScript
) -> None:
    bob = world.outsider("bob")
    world.pay(bob, NATIVE, 5)
    world.mine()
    honest, liar = FakeChain(world, faults=script), FakeChain(world, faults=script, lying=True)
    block = honest.block_at(1)
    assert block is not None
    script.plan("payments_in", FaultKind.INCOMPLETE)
    with pytest.raises(Unavailable, match="incomplete_block"):
        honest.payments_in(block, {bob})
    script.plan("payments_in", FaultKind.INCOMPLETE)
    assert liar.payments_in(block, {bob}) == []
    assert len(liar.payments_in(block, {bob})) == 1
    assert world.counts["fault.incomplete"] == 2


def test_an_empty_list_that_is_true_is_not_counted_as_a_fault(
    chain: Chain, world: FakeWorld, script: FaultScript
) -> None:
    world.mine()
    block = chain.block_at(1)
    assert block is not None
    script.plan("payments_in", FaultKind.INCOMPLETE)
    assert list(chain.payments_in(block, {world.outsider("bob")})) == []
    assert world.counts["fault.incomplete"] == 0


def test_a_node_on_the_other_branch_shows_blocks_the_next_call_does_not_know(
    chain: Chain, world: FakeWorld, script: FaultScript
) -> None:
    world.mine(2)
    old = world.head.ref
    world.reorg(1)
    script.plan("block_at", FaultKind.OTHER_BRANCH)
    script.plan("head", FaultKind.OTHER_BRANCH)
    block = chain.block_at(2)
    assert block is not None
    assert block.ref == old
    with pytest.raises(Unavailable, match="unknown_block"):
        chain.payments_in(block, set())
    assert chain.head() == world.head.ref  # the old branch has nothing at this height
    assert world.counts["fault.other_branch"] == 1


def test_a_node_on_the_other_branch_never_contradicts_finality(
    chain: Chain, world: FakeWorld, script: FaultScript
) -> None:
    world.mine(2)
    world.reorg(1)
    world.mine(3)
    script.plan("block_at", FaultKind.OTHER_BRANCH)
    block = chain.block_at(2)
    assert block is not None
    assert block.ref == world.block(2).ref
    assert world.counts["fault.other_branch"] == 0


def test_a_stale_nonce_is_lower_than_the_true_one(
    chain: Chain, world: FakeWorld, script: FaultScript
) -> None:
    alice = Wallet(world)
    world.fund(alice.address, 10**6)
    for nonce in range(4):
        world.submit(alice.signed(world.outsider("bob"), 1, nonce=nonce).raw)
    head = world.mine()
    script.plan("used_nonces", FaultKind.STALE_NONCE)
    assert chain.used_nonces(alice.address, head) == 1
    assert chain.used_nonces(alice.address, head) == 4


@pytest.mark.parametrize("which", [0, 1, 2])
def test_an_odd_fee_is_clamped(
    which: int, chain: Chain, world: FakeWorld, script: FaultScript
) -> None:
    script.plan("fee_rate", Fault(FaultKind.ODD_FEE, which=which))
    rate = chain.fee_rate()
    assert 1 <= rate.max_rate <= 1_000
    assert 0 <= rate.tip_rate <= rate.max_rate
    assert rate != chain.fee_rate() == FeeRate(22, 2)


BROADCASTS = [
    (FaultKind.UNAVAILABLE, BroadcastOutcome.UNKNOWN, False),
    (FaultKind.LOST, BroadcastOutcome.UNKNOWN, False),
    (FaultKind.ANSWER_LOST, BroadcastOutcome.UNKNOWN, True),
    (FaultKind.LATE, BroadcastOutcome.UNKNOWN, False),
    (FaultKind.FALSE_REJECT, BroadcastOutcome.REJECTED, True),
    (FaultKind.TRUE_REJECT, BroadcastOutcome.REJECTED, False),
]


@pytest.mark.parametrize(("kind", "outcome", "is_known"), BROADCASTS)
def test_what_is_heard_of_a_broadcast_is_not_what_happened(
    kind: FaultKind,
    outcome: BroadcastOutcome,
    is_known: bool,
    chain: Chain,
    world: FakeWorld,
    script: FaultScript,
) -> None:
    alice = Wallet(world)
    world.fund(alice.address, 10**6)
    signed = alice.signed(world.outsider("bob"), 1)
    script.plan("broadcast", Fault(kind, blocks=1))
    assert chain.broadcast(signed.raw).outcome is outcome
    assert world.knows(signed.tx_id) is is_known
    world.mine(3)
    assert world.knows(signed.tx_id) is (is_known or kind is FaultKind.LATE)
    assert world.counts[f"fault.{kind}"] == world.counts[f"broadcast.{outcome}"] == 1


def test_every_broadcast_fault_is_in_the_table() -> None:
    befall = {kind for kind, calls in APPLIES.items() if "broadcast" in calls}
    assert befall == {kind for kind, _, _ in BROADCASTS}


def test_seeded_faults_repeat_with_their_seed_and_stop_when_healed() -> None:
    def draw(seed: int) -> list[Fault | None]:
        odds = {FaultKind.UNAVAILABLE: 200_000, FaultKind.LAGGING: 200_000}
        script = FaultScript(entropy=SeededEntropy(seed, "faults"), odds_ppm=odds)
        drawn = [script.take("head") for _ in range(200)]
        script.heal()
        assert all(script.take("head") is None for _ in range(50))
        return drawn

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    kinds = [fault.kind for fault in draw(1) if fault]
    assert 20 < kinds.count(FaultKind.UNAVAILABLE) < 70
    assert 15 < kinds.count(FaultKind.LAGGING) < 70


@pytest.mark.parametrize("kind", list(FaultKind))
def test_a_fault_befalls_its_own_calls_and_no_others(kind: FaultKind) -> None:
    script = FaultScript(entropy=SeededEntropy(1), odds_ppm={kind: 1_000_000})
    calls: set[str] = set().union(*APPLIES.values())
    assert {call for call in calls if script.take(call) is not None} == APPLIES[kind]


def test_a_script_that_makes_no_sense_is_refused() -> None:
    script = FaultScript()
    with pytest.raises(ValueError, match="cannot befall"):
        script.plan("head", FaultKind.LOST)
    with pytest.raises(ValueError, match="entropy"):
        FaultScript(odds_ppm={FaultKind.LOST: 1})


def test_a_configured_connection_is_pinned_to_the_configured_genesis(world: FakeWorld) -> None:
    config = ChainConfig(
        kind="fake",
        chain=ChainId("sim"),
        node_urls=(),
        quorum=1,
        chain_number=1,
        genesis_hash=world.block(0).ref.hash,
        fee_floor=5,
        fee_cap=15,
        tip=1,
    )
    opened = open_chain(config)
    opened.check_identity()
    assert opened.fee_rate() == FeeRate(15, 1)
    assert open_fake(config, world).traits == opened.traits
    assert opened.traits.chain == "sim"
    with pytest.raises(Corrupt):
        open_chain(replace(config, genesis_hash="00" * 32)).check_identity()


def test_an_intent_for_another_chain_is_not_built(world: FakeWorld) -> None:
    alice, other = Wallet(world), FakeChain(world, chain="fake2")
    intent = alice.intent(world.outsider("bob"), 1)
    with pytest.raises(Refused) as refused:
        other.build(intent, nonce=0, rate=FeeRate(20, 2), units=21)
    assert refused.value.reason is Reason.INTENT_MISMATCH
