"""Whether the store and the clock can be believed: what the own node is asked, and when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from chains.base import BlockRef
from chains.fake.chain import FakeChain
from chains.fake.world import FakeWorld
from core.clock import SECOND_NS, ManualClock
from core.errors import Reason, Refused, Unavailable
from custody.keys.guard import SignRequest, sign_batch, sign_once
from custody.keys.store import Store
from custody.keys.watermark import (
    FRESH_NS,
    MAIN_NETWORK,
    ClockBounds,
    bounds_of,
    check_clock,
    check_watermark,
)
from tests.unit.custody.keys.guardroom import CHAIN, Guardroom
from tests.unit.custody.keys.logbook import pair
from tests.unit.custody.keys.test_guard_at_once import disk

HOUR_NS = 3_600 * SECOND_NS


class Node(FakeChain):
    """A node that counts what it is asked, and has coins that were spent."""

    asked: Counter[str]
    spent: frozenset[str] = frozenset()

    def used_nonces(self, sender: str, at: BlockRef) -> int:
        self.asked["nonces"] += 1
        return super().used_nonces(sender, at)

    def head(self) -> BlockRef:
        self.asked["head"] += 1
        return super().head()

    def spent_coins(self, outpoints: Sequence[str], at: BlockRef) -> frozenset[str]:
        self.asked["coins"] += 1
        return self.spent & set(outpoints)


def node_of(world: FakeWorld, **options: Any) -> Node:
    node = Node(world, rate_cap=100_000, **options)
    node.asked = Counter()
    return node


def refusal(room: Guardroom, request: SignRequest) -> Reason:
    with pytest.raises(Refused) as refused:
        sign_once(room.guard, request)
    return refused.value.reason


def test_the_node_is_asked_at_first_use_of_a_key_and_again_after_ten_seconds(
    room: Guardroom,
) -> None:
    node = node_of(room.world)
    room = room.with_guard(chain=node)
    for nonce in range(3):
        room.sign(room.request(f"wd_{nonce}", nonce=nonce))
    assert node.asked["nonces"] == 1
    room.sign(room.sweep("sw_1", 5, index=1))
    assert node.asked["nonces"] == 2  # another key
    room.clock.advance(FRESH_NS - 1)
    room.sign(room.request("wd_3", nonce=3))
    assert node.asked["nonces"] == 2
    room.clock.advance(1)
    room.sign(room.request("wd_4", nonce=4))
    assert node.asked["nonces"] == 3
    batch = [room.request(f"wd_{nonce}", nonce=nonce) for nonce in range(5, 25)]
    assert all(type(answer) is bytes for answer in sign_batch(room.guard, batch))
    assert node.asked["nonces"] == 3


def test_a_refused_watermark_is_asked_again_at_once(room: Guardroom) -> None:
    room.chain.broadcast(room.sign(room.request()).raw)
    room.world.mine(1)
    stale = room.with_guard(shelf=room.guard.shelf.__class__(disk()), chain=node_of(room.world))
    for _ in range(3):
        assert refusal(stale, room.request("wd_2", nonce=1)) is Reason.STALE_SIGNER
    assert isinstance(stale.guard.chain, Node)
    assert stale.guard.chain.asked["nonces"] == 3


def test_a_silent_node_signs_nothing_and_takes_nothing(room: Guardroom) -> None:
    class Silent(FakeChain):
        def head(self) -> BlockRef:
            raise Unavailable("nobody answers")

    with pytest.raises(Unavailable):
        sign_once(room.with_guard(chain=Silent(room.world)).guard, room.request())
    assert room.entries() == []
    room.sign(room.request())


def ask(store: Store, node: Node, *claims: str, clock: ManualClock | None = None) -> None:
    clock, bounds = clock or ManualClock(), ClockBounds()
    check_watermark(store, node, "hot", claims, clock=clock, bounds=bounds)


def test_a_coin_that_is_spent_and_never_was_signed_for_makes_the_store_stale() -> None:
    node, store = node_of(FakeWorld()), Store(disk())
    store.append([pair(1, claims=("coin:0", "coin:1"), chain=CHAIN)])
    node.spent = frozenset({"coin:0", "coin:1", "coin:2"})
    ask(store, node, "coin:0", "coin:1")  # ours, and known
    ask(store, node, "coin:9")  # not spent
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            ask(store, node, "coin:9", "coin:2")
        assert refused.value.reason is Reason.STALE_SIGNER
    assert node.asked == {"coins": 4, "head": 4}
    node.spent = frozenset()
    ask(store, node, "coin:9", "coin:2")


def test_each_coin_is_asked_about_once_in_ten_seconds() -> None:
    node, store, clock = node_of(FakeWorld()), Store(disk()), ManualClock()
    for _ in range(3):
        ask(store, node, "coin:0", "coin:1", clock=clock)
    assert node.asked["coins"] == 1
    ask(store, node, "coin:0", "coin:2", clock=clock)
    assert node.asked["coins"] == 2
    clock.advance(FRESH_NS)
    ask(store, node, "coin:0", clock=clock)
    assert node.asked["coins"] == 3


def test_a_clock_behind_the_last_signature_signs_nothing() -> None:
    store, clock = Store(disk()), ManualClock()
    bounds = ClockBounds(back_ns=60 * SECOND_NS)
    check_clock(store, clock, bounds)
    store.append([pair(1, signed_at_ns=clock.now_ns())])
    clock.step(-60 * SECOND_NS)
    check_clock(store, clock, bounds)
    clock.step(-1)
    with pytest.raises(Refused) as refused:
        check_clock(store, clock, bounds)
    assert refused.value.reason is Reason.SIGNER_CLOCK


def test_time_in_the_log_never_steps_back(room: Guardroom) -> None:
    """What a small step back leaves of an approval's time is not given a second time."""
    room.sign(room.request("wd_1"))
    before = room.entries()[-1].record.signed_at_ns
    late = room.request("wd_2", nonce=1)
    room.clock.step(-60 * SECOND_NS)
    room.sign(late)
    assert room.entries()[-1].record.signed_at_ns == before


@pytest.mark.parametrize(
    ("off_ns", "signs"),
    [
        (0, True),
        (2 * HOUR_NS, True),
        (-2 * HOUR_NS, True),
        (3 * HOUR_NS, False),
        (-3 * HOUR_NS, False),
    ],
)
def test_a_clock_far_from_the_newest_block_signs_nothing(
    room: Guardroom, off_ns: int, signs: bool
) -> None:
    """A clock set a day ahead would open every window of 24 hours."""
    room.world.mine(1)
    block = room.chain.block_at(room.chain.head().height)
    assert block is not None
    clock = ManualClock(block.time_s * SECOND_NS + off_ns)
    strict = replace(room, clock=clock).with_guard(bounds=MAIN_NETWORK, clock=clock)
    request = strict.request()
    if signs:
        strict.sign(request)
    else:
        assert refusal(strict, request) is Reason.SIGNER_CLOCK
        assert room.entries() == []


def test_main_networks_compare_the_clock_with_blocks_and_test_networks_do_not() -> None:
    traits = FakeChain(FakeWorld()).traits
    assert bounds_of(traits) == ClockBounds()
    assert bounds_of(replace(traits, is_main_network=True)) == MAIN_NETWORK
