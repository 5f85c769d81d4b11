"""The caps of a mandate over every 24 hours, counted by the guard from its own log."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chains.base import FeeRate, SpendKind
from core.clock import DAY_NS, SECOND_NS
from core.errors import Reason, Refused
from custody.keys.guard import SignRequest, sign_once
from custody.keys.signers import KeyRef
from tests.unit.custody.keys.guardroom import GAS, Guardroom

MINUTE_NS = 60 * SECOND_NS
DEARER = FeeRate(26, 3)


def refusal(room: Guardroom, request: SignRequest) -> Reason:
    with pytest.raises(Refused) as refused:
        sign_once(room.guard, request)
    return refused.value.reason


def test_the_window_of_a_mandate_is_counted_from_the_log(room: Guardroom) -> None:
    """Caps: 5 000 each, 12 000 in any 24 hours."""
    room.sign(room.sweep("sw_1", 5_000, index=1))
    room.sign(room.sweep("sw_1", 5_000, index=1))  # the same bytes again count once
    room.clock.advance(DAY_NS // 2)
    room.sign(room.sweep("sw_2", 5_000, index=2))
    assert refusal(room, room.sweep("sw_3", 2_001, index=3)) is Reason.POLICY_BLOCKED
    room.sign(room.sweep("sw_3", 2_000, index=3))
    room.clock.advance(DAY_NS // 2 - 1)
    assert refusal(room, room.sweep("sw_4", 1, index=4)) is Reason.POLICY_BLOCKED
    room.clock.advance(1)  # (t - 24 h, t] has let go of the first
    room.sign(room.sweep("sw_4", 5_000, index=4))
    assert refusal(room, room.sweep("sw_5", 1, index=5)) is Reason.POLICY_BLOCKED
    for back_ns, reason in ((MINUTE_NS, Reason.POLICY_BLOCKED), (DAY_NS, Reason.SIGNER_CLOCK)):
        room.clock.step(-back_ns)  # a clock that steps back empties nothing
        assert refusal(room, room.sweep("sw_5", 1, index=5)) is reason
        room.clock.step(back_ns)
    token = room.sweep("sw_t", 5_000, index=5, asset_key=room.token)
    room.sign(replace(token, unsigned=room.unsigned(token.intent)))


def test_fees_of_a_mandate_have_a_window_too(room: Guardroom) -> None:
    """462 each; room for three in a day."""
    sweeps = [room.sweep(f"sw_{n}", 1, index=n) for n in range(4)]
    room = room.with_mandate(SpendKind.SWEEP, fee_window_max=2_000 + 2 * 462)
    for sweep in sweeps[:3]:
        room.sign(sweep)
    assert refusal(room, sweeps[3]) is Reason.POLICY_BLOCKED
    room.clock.advance(DAY_NS)
    room.sign(sweeps[3])


def test_a_replacement_takes_the_window_no_second_time(room: Guardroom) -> None:
    room.sign(room.sweep("sw_1", 5_000, index=1))
    sweep = room.sweep("sw_2", 5_000, index=2)
    room.sign(sweep)
    room.sign(replace(sweep, unsigned=room.unsigned(sweep.intent, rate=DEARER)))
    assert refusal(room, room.sweep("sw_3", 2_001, index=3)) is Reason.POLICY_BLOCKED
    room.sign(room.sweep("sw_3", 2_000, index=3))


def test_each_kind_of_spend_has_its_own_window(room: Guardroom) -> None:
    for index, amount in enumerate((5_000, 5_000, 2_000)):
        room.sign(room.sweep(f"sw_{index}", amount, index=index))
    assert refusal(room, room.sweep("sw_9", 1, index=9)) is Reason.POLICY_BLOCKED
    spend = replace(
        room.sweep("tu_1", 5_000).intent,
        kind=SpendKind.TOP_UP,
        source=room.guard.address_of(GAS),
        destination=room.address("deposits", 1),
    )
    standing = room.standing(SpendKind.TOP_UP, KeyRef("deposits", 1))
    room.sign(SignRequest(spend, standing, room.unsigned(spend), GAS))
