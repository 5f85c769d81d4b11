"""What officers stop is not signed: from that moment on, after a restart, and for as long."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from chains.base import NATIVE, FeeRate
from core.clock import DAY_NS
from core.entropy import SeededEntropy
from core.errors import Corrupt, Reason, Refused, Unavailable
from core.ids import CustomerNo
from custody.keys import stop_book
from custody.keys.guard import SignRequest, sign_batch, sign_once
from custody.keys.roster import Roster
from custody.keys.signers import KeyRef, LocalSigner
from custody.keys.statement import Statement, StatementKind
from custody.keys.stop_book import StopBook
from custody.keys.stop_order import (
    FREEZE_NS_MAX,
    SignedStop,
    StopOrder,
    asset_scope,
    chain_scope,
    customer_scope,
    decode_signed,
    encode_signed,
    order_of,
    statement_of,
    verify_stop,
)
from engine.simulated_files import SimulatedStorage
from tests.support.stop_orders import HOUR_NS, freeze, pause, resume, signed
from tests.unit.custody.keys.guardroom import CHAIN, SEED, Guardroom
from tests.unit.custody.keys.officers import ADA, BEA, CAI

OTHER_CUSTOMER = customer_scope(CustomerNo(8))


def obey(room: Guardroom, order: SignedStop) -> None:
    room.guard.stops.obey(order, roster=room.guard.roster, now_ns=room.clock.now_ns())


def place(room: Guardroom, scope: str, name: str = "stop_one") -> None:
    obey(room, pause(name, scope, ADA, now_ns=room.clock.now_ns()))


def is_paused(room: Guardroom, request: SignRequest) -> bool:
    (answer,) = sign_batch(room.guard, [request])
    return isinstance(answer, Refused) and answer.reason is Reason.PAUSED


def reason(room: Guardroom, order: SignedStop) -> Reason:
    with pytest.raises(Refused) as refused:
        obey(room, order)
    return refused.value.reason


SCOPES = {
    "platform": "platform",
    "chain": chain_scope(CHAIN),
    "asset": asset_scope(CHAIN, NATIVE),
    "customer": customer_scope(CustomerNo(7)),
}


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
def test_what_a_pause_covers_is_not_signed_until_a_quorum_resumes_it(
    room: Guardroom, scope: str
) -> None:
    assert sign_once(room.guard, room.request("wd_before"))
    place(room, scope)
    waiting = room.request("wd_waits", nonce=1)
    assert is_paused(room, waiting)
    length = len(room.entries())
    now_ns = room.clock.now_ns()
    alone = resume("resume_1", ["stop_one"], BEA, now_ns=now_ns)
    assert reason(room, alone) is Reason.QUORUM_NOT_MET
    twice = resume("resume_2", ["stop_one"], BEA, BEA, now_ns=now_ns)
    assert reason(room, twice) is Reason.QUORUM_NOT_MET
    assert is_paused(room, waiting)
    assert len(room.entries()) == length
    obey(room, resume("resume_3", ["stop_one"], BEA, CAI, now_ns=now_ns))
    assert sign_once(room.guard, waiting)


def test_a_quorum_that_resumes_a_customer_lifts_no_pause_of_the_platform(room: Guardroom) -> None:
    place(room, "platform")
    now_ns, mine = room.clock.now_ns(), SCOPES["customer"]
    narrow = resume("resume_1", ["stop_one"], ADA, BEA, now_ns=now_ns, scope=mine)
    assert reason(room, narrow) is Reason.INTENT_MISMATCH
    assert is_paused(room, room.request())
    early = resume("resume_2", ["stop_two"], ADA, BEA, now_ns=now_ns, scope=mine)
    obey(room, early)
    place(room, "platform", "stop_two")  # and none that comes later under its id
    obey(room, resume("resume_3", ["stop_one"], ADA, BEA, now_ns=now_ns))
    assert is_paused(room, room.request())
    obey(room, resume("resume_4", ["stop_two"], ADA, BEA, now_ns=now_ns))
    place(room, SCOPES["asset"], "stop_three")
    wide = resume("resume_5", ["stop_three"], ADA, BEA, now_ns=now_ns, scope=SCOPES["chain"])
    assert is_paused(room, room.request())
    obey(room, wide)
    assert sign_once(room.guard, room.request()), "control: a chain's reaches its assets"


ELSEWHERE = {
    "chain": "chain:other",
    "asset": asset_scope(CHAIN, "other"),
    "customer": OTHER_CUSTOMER,
}


@pytest.mark.parametrize("scope", ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_pause_of_something_else_stops_nothing_here(room: Guardroom, scope: str) -> None:
    place(room, scope)
    assert sign_once(room.guard, room.request())


def test_a_customers_pause_lets_own_transfers_go_and_a_chains_does_not(room: Guardroom) -> None:
    room.world.fund(room.guard.address_of(room.sweep("s", 1).key), 10**6)
    place(room, SCOPES["customer"])
    assert sign_once(room.guard, room.sweep("sweep_1", 1_000))
    place(room, SCOPES["chain"], "stop_two")
    assert is_paused(room, room.sweep("sweep_2", 1_000, nonce=1))


def test_one_paused_customer_stops_the_batch_that_he_is_in(room: Guardroom) -> None:
    def batch_of(customer_no: int) -> SignRequest:
        return room.batch(
            room.withdrawal("wd_1", destination=room.world.outsider("first")),
            room.withdrawal(
                "wd_2", destination=room.world.outsider("second"), customer_no=customer_no,
                initiator=f"customer:{customer_no}",
            ),
        )  # fmt: skip

    place(room, OTHER_CUSTOMER)
    assert is_paused(room, batch_of(8))
    assert sign_once(room.guard, batch_of(9))


def test_what_was_signed_before_is_not_given_out_again_while_it_is_paused(room: Guardroom) -> None:
    request = room.request()
    made = sign_once(room.guard, request)
    place(room, "platform")
    assert is_paused(room, request)
    obey(room, resume("resume_1", ["stop_one"], ADA, BEA, now_ns=room.clock.now_ns()))
    assert sign_once(room.guard, request) == made


class Interrupted(LocalSigner):
    """Keys during whose work something happens."""

    def __init__(self, room: Guardroom, meanwhile: Callable[[], None]) -> None:
        super().__init__(SEED, room.chain.traits)
        self._meanwhile = meanwhile

    def sign_many(self, jobs: Iterable[tuple[KeyRef, bytes]]) -> list[bytes]:
        made = super().sign_many(jobs)
        self._meanwhile()
        return made


def test_a_pause_that_comes_while_the_keys_sign_keeps_the_signatures_back(room: Guardroom) -> None:
    slow = room.with_guard(signer=Interrupted(room, lambda: place(room, "platform")))
    request = room.request()
    assert is_paused(slow, request)
    assert len(room.entries()) == 1, "it was signed, written down, and not given out"
    obey(room, resume("resume_1", ["stop_one"], ADA, BEA, now_ns=room.clock.now_ns()))
    assert sign_once(room.guard, request) == room.entries()[-1].signature


# ---- freezes


def test_a_freeze_ends_at_its_time_and_no_quorum_ends_it_earlier(room: Guardroom) -> None:
    start_ns = room.clock.now_ns()
    obey(room, freeze("freeze_1", "platform", ADA, now_ns=start_ns))
    everybody = resume("resume_1", ["freeze_1"], ADA, BEA, CAI, now_ns=start_ns)
    obey(room, everybody)
    shorter = freeze("freeze_2", "platform", ADA, BEA, CAI, now_ns=start_ns, hours=1)
    obey(room, shorter)
    again = freeze("freeze_1", "platform", ADA, BEA, CAI, now_ns=start_ns, hours=1)
    assert reason(room, again) is Reason.EXISTS_WITH_OTHER_CONTENT
    room.clock.advance(DAY_NS - 1)
    request = room.request()
    assert is_paused(room, request)
    room.clock.advance(1)
    assert sign_once(room.guard, room.request("wd_2"))


def test_one_officer_freezes_for_a_day_a_quorum_for_thirty_and_nobody_for_longer(
    room: Guardroom,
) -> None:
    now_ns = room.clock.now_ns()
    assert reason(room, freeze("freeze_1", "platform", ADA, now_ns=now_ns, hours=25)) is (
        Reason.QUORUM_NOT_MET
    )
    too_long = freeze("freeze_2", "platform", ADA, BEA, CAI, now_ns=now_ns, hours=721)
    assert reason(room, too_long) is Reason.FORBIDDEN
    assert sign_once(room.guard, room.request())
    obey(room, freeze("freeze_3", "platform", ADA, BEA, now_ns=now_ns, hours=720))
    room.clock.advance(FREEZE_NS_MAX - 1)
    assert is_paused(room, room.request("wd_2", nonce=1))


# ---- who may


def test_only_active_officers_of_the_roster_stop_anything(room: Guardroom) -> None:
    now_ns = room.clock.now_ns()
    officers = tuple(one for one in room.guard.roster.officers if one.person != "ada")
    less = room.with_roster(officers=officers)
    assert reason(less, pause("stop_one", "platform", ADA, now_ns=now_ns)) is Reason.NOT_AN_OFFICER
    honest = pause("stop_one", "platform", ADA, now_ns=now_ns)
    wider = replace(honest, statement=replace(honest.statement, subject="chain:fake"))
    assert reason(room, wider) is Reason.BAD_SIGNATURE
    unsigned = replace(honest, signatures=())
    assert reason(room, unsigned) is Reason.QUORUM_NOT_MET
    room.clock.advance(HOUR_NS)
    assert reason(room, honest) is Reason.APPROVAL_EXPIRED
    assert sign_once(room.guard, room.request())


def test_an_old_resumption_lifts_no_new_pause_and_a_lifted_pause_does_not_come_back(
    room: Guardroom,
) -> None:
    now_ns = room.clock.now_ns()
    old = pause("stop_one", "platform", ADA, now_ns=now_ns)
    lift = resume("resume_1", ["stop_one"], ADA, BEA, now_ns=now_ns)
    obey(room, old)
    obey(room, lift)
    obey(room, old)
    assert sign_once(room.guard, room.request())
    place(room, "platform", "stop_two")
    obey(room, lift)
    assert is_paused(room, room.request("wd_2", nonce=1))


def test_a_resumption_that_overtakes_its_pause_still_lifts_it(room: Guardroom) -> None:
    now_ns = room.clock.now_ns()
    obey(room, resume("resume_1", ["stop_one"], ADA, BEA, now_ns=now_ns))
    place(room, "platform")
    assert sign_once(room.guard, room.request())
    assert room.guard.stops.in_force(now_ns) == []


# ---- the book


def test_no_officer_fills_the_book_so_that_others_cannot_stop(
    room: Guardroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop_book, "PER_KEY_MAX", 3)
    for number in range(3):
        place(room, OTHER_CUSTOMER, f"stop_number_{number}")
    now_ns = room.clock.now_ns()
    assert reason(room, pause("stop_more", OTHER_CUSTOMER, ADA, now_ns=now_ns)) is Reason.TOO_LARGE
    assert sign_once(room.guard, room.request())
    obey(room, pause("stop_all", "platform", BEA, now_ns=now_ns))
    assert is_paused(room, room.request("wd_2", nonce=1))


def on(storage: SimulatedStorage) -> StopBook:
    return StopBook(storage)


@pytest.fixture
def storage() -> SimulatedStorage:
    return SimulatedStorage(SeededEntropy(1, "stops"))


def test_a_restarted_signer_stays_stopped_even_when_the_officer_has_left(
    room: Guardroom, storage: SimulatedStorage
) -> None:
    room = room.with_guard(stops=on(storage))
    place(room, "platform")
    place(room, OTHER_CUSTOMER, "stop_two")
    obey(room, resume("resume_1", ["stop_two"], ADA, BEA, now_ns=room.clock.now_ns()))
    storage.kill()
    officers = tuple(one for one in room.guard.roster.officers if one.person != "ada")
    again = room.with_roster(officers=officers).with_guard(stops=on(storage))
    assert is_paused(again, room.request())
    (only,) = again.guard.stops.in_force(room.clock.now_ns())
    assert only.statement.statement_id == "stop_one"


def test_a_disk_that_fails_does_not_keep_money_moving(
    room: Guardroom, storage: SimulatedStorage
) -> None:
    room = room.with_guard(stops=on(storage))
    storage.fail("write")
    with pytest.raises(Unavailable):
        place(room, "platform")
    assert is_paused(room, room.request())
    place(room, "platform")  # told again, it is written
    assert is_paused(room.with_guard(stops=on(storage)), room.request())
    storage.fail("write")
    lift = resume("resume_1", ["stop_one"], ADA, BEA, now_ns=room.clock.now_ns())
    with pytest.raises(Unavailable):
        obey(room, lift)
    assert is_paused(room, room.request())


def test_a_damaged_order_stops_the_start(room: Guardroom, storage: SimulatedStorage) -> None:
    place(room.with_guard(stops=on(storage)), "platform")
    (name,) = storage.names()
    storage.write_atomic(name, storage.read(name)[:-1])
    with pytest.raises(Corrupt):
        on(storage)


# ---- the statement


@pytest.mark.parametrize(
    "order",
    [
        StopOrder("stop_one", StatementKind.PAUSE, "platform", because=""),
        StopOrder("stop_one", StatementKind.FREEZE, "chain:fake", until_ns=7, because="x"),
        StopOrder("stop_one", StatementKind.RESUME, "customer:7", lifts=("stop_two", "stop_3aa")),
    ],
)
def test_an_order_is_read_back_from_its_statement_whole(order: StopOrder) -> None:
    assert order_of(statement_of(order, expires_ns=9)) == order
    paper = signed(order, ADA, BEA, expires_ns=9)
    assert decode_signed(encode_signed(paper)) == paper


BAD: dict[str, Callable[[Statement], Statement]] = {
    "scope": lambda one: replace(one, subject="everything"),
    "customer_zero": lambda one: replace(one, subject="customer:0"),
    "asset_without_chain": lambda one: replace(one, subject="asset:gold"),
    "kind": lambda one: replace(one, kind=StatementKind.RECOGNISE_FUNDING),
    "id": lambda one: replace(one, statement_id="../etc"),
    "no_lines": lambda one: replace(one, lines=()),
    "line_too_many": lambda one: replace(one, lines=("lifts stop_two", *one.lines)),
    "freeze_without_end": lambda one: replace(one, kind=StatementKind.FREEZE),
    "resume_of_nothing": lambda one: replace(one, kind=StatementKind.RESUME),
    "end_in_words": lambda one: replace(
        one, kind=StatementKind.FREEZE, lines=("until tomorrow", *one.lines)
    ),
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_a_statement_that_orders_nothing_clear_is_malformed(
    change: Callable[[Statement], Statement], room: Guardroom
) -> None:
    good = pause("stop_one", "platform", ADA, now_ns=room.clock.now_ns())
    roster: Roster = room.guard.roster
    assert verify_stop(roster, good, now_ns=room.clock.now_ns()) == ("ada",)
    bad = replace(good, statement=change(good.statement))
    with pytest.raises(Refused) as refused:
        verify_stop(roster, bad, now_ns=room.clock.now_ns())
    assert refused.value.reason is Reason.MALFORMED


def test_the_cancellation_of_a_paused_customers_payment_is_signed_so_that_others_go_on(
    room: Guardroom,
) -> None:
    request = room.request()
    assert sign_once(room.guard, request)
    place(room, SCOPES["customer"])
    assert sign_once(room.guard, room.cancellation(request.intent, rate=FeeRate(100, 50)))
