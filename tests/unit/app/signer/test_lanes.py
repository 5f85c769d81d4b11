"""Requests that wait together become one batch; lanes, and jobs, do not suffer for each other."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from app.signer_lanes import SigningLanes
from core.errors import Corrupt, Reason, Refused, Unavailable
from core.ids import ChainId
from custody.keys.guard import SignRequest
from custody.keys.service import REQUESTS_MAX, Answer
from tests.unit.app.signer.stand_in import ALPHA, BETA, StandIn, request, signature_of

WAIT_S = 20


class Gate:
    """Holds the first batch back until it is opened."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self, _requests: Sequence[SignRequest]) -> None:
        self.entered.set()
        assert self.opened.wait(WAIT_S)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as running:
        yield running


def lanes_of(service: StandIn, *, waiting_max: int = 64) -> SigningLanes:
    """Return running lanes."""
    lanes = SigningLanes(service, [ALPHA, BETA], waiting_max=waiting_max)
    lanes.start()
    return lanes


def wait_until_waiting(lanes: SigningLanes, count: int, chain: ChainId = ALPHA) -> None:
    """Return when so many jobs of a chain wait for their turn."""
    lane = lanes._lanes[chain]
    for _ in range(WAIT_S * 1_000):
        with lane._changed:
            if len(lane._waiting) >= count:
                return
        threading.Event().wait(0.001)
    raise AssertionError(f"{len(lane._waiting)} wait")


def test_what_waits_during_one_batch_is_the_next_batch(pool: ThreadPoolExecutor) -> None:
    gate = Gate()
    service = StandIn(before_sign=gate)
    lanes = lanes_of(service)
    first = pool.submit(lanes.sign, [request("first")])
    assert gate.entered.wait(WAIT_S)
    later = [pool.submit(lanes.sign, [request(f"sp_{n}")]) for n in range(10)]
    wait_until_waiting(lanes, 10)
    gate.opened.set()
    assert first.result(WAIT_S) == [signature_of(request("first"))]
    for n, future in enumerate(later):
        assert future.result(WAIT_S) == [signature_of(request(f"sp_{n}"))]
    assert service.batches == [1, 10]
    lanes.stop()


def test_a_batch_is_never_longer_than_a_service_takes(pool: ThreadPoolExecutor) -> None:
    gate = Gate()
    service = StandIn(before_sign=gate)
    lanes = lanes_of(service)
    pool.submit(lanes.sign, [request()])
    assert gate.entered.wait(WAIT_S)
    many = [request(f"sp_{n}") for n in range(100)]
    later = [pool.submit(lanes.sign, many) for _ in range(5)]
    wait_until_waiting(lanes, 5)
    gate.opened.set()
    assert all(len(future.result(WAIT_S)) == 100 for future in later)
    assert service.batches == [1, 200, 200, 100]
    with pytest.raises(Refused, match="too_large"):
        lanes.sign([request()] * (REQUESTS_MAX + 1))
    lanes.stop()


def test_one_question_may_be_about_several_chains_and_unknown_ones() -> None:
    lanes = lanes_of(StandIn())
    asked = [request("a"), request("b", BETA), request("c", ChainId("gone")), request("d")]
    answers = lanes.sign(asked)
    for n in (0, 1, 3):
        assert answers[n] == signature_of(asked[n])
    assert isinstance(answers[2], Refused)
    assert answers[2].reason is Reason.UNKNOWN_CHAIN
    lanes.stop()


def test_a_chain_that_waits_for_its_node_does_not_hold_up_another(
    pool: ThreadPoolExecutor,
) -> None:
    gate = Gate()

    def hold(asked: Sequence[SignRequest]) -> None:
        if asked[0].intent.chain == ALPHA:
            gate(asked)

    lanes = lanes_of(StandIn(before_sign=hold))
    held = pool.submit(lanes.sign, [request()])
    assert gate.entered.wait(WAIT_S)
    assert lanes.sign([request("b", BETA)]) == [signature_of(request("b", BETA))]
    gate.opened.set()
    assert held.result(WAIT_S)
    lanes.stop()


def test_too_many_waiting_are_told_to_come_again(pool: ThreadPoolExecutor) -> None:
    gate = Gate()
    lanes = lanes_of(StandIn(before_sign=gate), waiting_max=2)
    pool.submit(lanes.sign, [request()])
    assert gate.entered.wait(WAIT_S)
    waiting = [pool.submit(lanes.sign, [request(f"sp_{n}")]) for n in range(2)]
    wait_until_waiting(lanes, 2)
    with pytest.raises(Unavailable, match="more requests"):
        lanes.sign([request("too late")])
    gate.opened.set()
    assert all(future.result(WAIT_S) for future in waiting)
    lanes.stop()


def test_stopping_ends_the_batch_under_way_and_signs_nothing_more(
    pool: ThreadPoolExecutor,
) -> None:
    gate = Gate()
    service = StandIn(before_sign=gate)
    lanes = lanes_of(service)
    first = pool.submit(lanes.sign, [request()])
    assert gate.entered.wait(WAIT_S)
    waiting = pool.submit(lanes.sign, [request("waiting")])
    wait_until_waiting(lanes, 1)
    stopping = pool.submit(lanes.stop)
    with pytest.raises(Unavailable, match="stops"):
        waiting.result(WAIT_S)
    gate.opened.set()
    stopping.result(WAIT_S)
    assert first.result(WAIT_S) == [signature_of(request())]
    with pytest.raises(Unavailable, match="stops"):
        lanes.sign([request("after")])
    assert service.batches == [1]


def test_a_request_that_breaks_the_guard_does_not_break_the_others_of_its_batch(
    pool: ThreadPoolExecutor,
) -> None:
    gate = Gate()

    def judge(asked: SignRequest) -> Answer:
        if asked.intent.spend_id == "poison":
            raise ZeroDivisionError("nobody thought of this")
        return signature_of(asked)

    lanes = lanes_of(StandIn(before_sign=gate, judge=judge))
    pool.submit(lanes.sign, [request()])
    assert gate.entered.wait(WAIT_S)
    futures: dict[str, Future[list[Answer]]] = {}
    for name in ("good", "poison", "fine"):
        futures[name] = pool.submit(lanes.sign, [request(name)])
        wait_until_waiting(lanes, len(futures))
    gate.opened.set()
    assert futures["good"].result(WAIT_S) == [signature_of(request("good"))]
    assert futures["fine"].result(WAIT_S) == [signature_of(request("fine"))]
    with pytest.raises(Unavailable, match="unexpected"):
        futures["poison"].result(WAIT_S)
    lanes.stop()


def test_what_the_world_does_to_a_batch_all_of_it_is_told(pool: ThreadPoolExecutor) -> None:
    def fail(_requests: Sequence[SignRequest]) -> None:
        raise Unavailable("the node is away", 77)

    lanes = lanes_of(StandIn(before_sign=fail))
    for future in [pool.submit(lanes.sign, [request(f"sp_{n}")]) for n in range(4)]:
        with pytest.raises(Unavailable, match="the node is away"):
            future.result(WAIT_S)
    lanes.stop()


def test_contradicting_records_are_told_to_everybody_of_the_batch() -> None:
    def fail(_requests: Sequence[SignRequest]) -> None:
        raise Corrupt("two stories")

    lanes = lanes_of(StandIn(before_sign=fail))
    with pytest.raises(Corrupt, match="two stories"):
        lanes.sign([request()])
    lanes.stop()
