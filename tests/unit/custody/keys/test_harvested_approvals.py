"""W07: approvals collected from failed attempts make no signature, in whatever order and number."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from core.entropy import SeededEntropy
from core.errors import Reason, Refused
from custody.keys.authority import Approvals
from custody.keys.guard import SignRequest, sign_once
from custody.keys.intent import WithdrawalIntent
from custody.keys.roster import Approval
from custody.keys.store import Shelf
from engine.simulated_files import SimulatedStorage
from tests.support.rails import FileKey, PasskeyOf, Rail, WalletKey, give
from tests.unit.custody.keys.guardroom import HOT, Guardroom, guardroom
from tests.unit.custody.keys.officers import HOUR_NS, officer

OFFICERS: dict[str, Rail] = {
    "ada": FileKey("ada"),
    "dan": PasskeyOf("dan"),
    "cai": WalletKey("cai"),
}


def room_of_three_rails() -> Guardroom:
    """Return a guard whose officers hold three kinds of credentials."""
    room = guardroom(Shelf(SimulatedStorage(SeededEntropy(1, "disk"))))
    rows = [rail.row(person) for person, rail in OFFICERS.items()]
    return room.with_roster(officers=(*rows, officer("bea")))


def approved(intent: WithdrawalIntent) -> tuple[Approval, ...]:
    """Return what all three said of an attempt."""
    return tuple(give(rail, intent) for rail in OFFICERS.values())


def attempts(room: Guardroom) -> Iterator[tuple[WithdrawalIntent, tuple[Approval, ...]]]:
    """Yield three attempts at the same payment that failed, and everything officers signed."""
    for number in range(1, 4):
        intent = room.withdrawal(f"wd_{number}")
        yield intent, approved(intent)


def signed(room: Guardroom, intent: WithdrawalIntent, approvals: tuple[Approval, ...]) -> bool:
    """Return whether the guard signs the payment of an intent, always with the same nonce."""
    spend = room.spend_of(intent, f"sp_{intent.withdrawal_id}")
    unsigned = room.unsigned(spend, nonce=0)
    request = SignRequest(spend, Approvals(intent, approvals), unsigned, HOT)
    try:
        return bool(sign_once(room.guard, request))
    except Refused:
        return False


def test_no_choice_of_harvested_approvals_signs_a_twin() -> None:
    room = room_of_three_rails()
    harvest = [one for _, given in attempts(room) for one in given]
    twin = room.withdrawal("wd_4")
    tried = 0
    for count in (1, 2, 3):
        for chosen in itertools.permutations(harvest, count):
            assert not signed(room, twin, chosen)
            tried += 1
    for turn in range(len(harvest)):
        assert not signed(room, twin, (*harvest[turn:], *harvest[:turn]))
    assert tried == 9 + 72 + 504
    assert room.entries() == []
    assert signed(room, twin, approved(twin)[:2])
    assert len(room.entries()) == 1


@pytest.mark.parametrize("missing", OFFICERS)
def test_one_fresh_approval_beside_the_harvest_is_no_quorum(missing: str) -> None:
    room = room_of_three_rails()
    harvest = tuple(one for _, given in attempts(room) for one in given)
    twin = room.withdrawal("wd_4")
    fresh = give(OFFICERS[missing], twin)
    for place in range(len(harvest) + 1):
        assert not signed(room, twin, (*harvest[:place], fresh, *harvest[place:]))
    assert room.entries() == []
    second = next(give(rail, twin) for name, rail in OFFICERS.items() if name != missing)
    assert signed(room, twin, (*harvest, fresh, second))


def test_an_attempt_whose_approvals_expired_is_not_revived() -> None:
    room = room_of_three_rails()
    intent = room.withdrawal("wd_1")
    given = approved(intent)
    room.clock.advance(HOUR_NS)
    assert not signed(room, intent, given)
    later = room.withdrawal("wd_1")
    assert later.expires_ns > intent.expires_ns
    assert not signed(room, later, given)
    assert room.entries() == []
    assert signed(room, later, approved(later))


def test_an_officer_who_left_between_approval_and_signing_does_not_count() -> None:
    """W04, for every kind of credential that leaves."""
    for left, others in ((name, [n for n in OFFICERS if n != name]) for name in OFFICERS):
        room = room_of_three_rails()
        intent = room.withdrawal("wd_1")
        given = tuple(give(OFFICERS[name], intent) for name in (left, others[0]))
        rows = tuple(one for one in room.guard.roster.officers if one.person != left)
        after = room.with_roster(officers=(*rows, officer("eve")))
        spend = after.spend_of(intent)
        request = SignRequest(spend, Approvals(intent, given), after.unsigned(spend), HOT)
        with pytest.raises(Refused) as refused:
            sign_once(after.guard, request)
        assert refused.value.reason is Reason.NOT_AN_OFFICER
        assert signed(room, intent, given)
