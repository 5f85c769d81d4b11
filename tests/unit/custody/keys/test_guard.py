"""What the guard signs and refuses: every tampered request has an untampered twin that signs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chains.base import NATIVE, FeeRate, SpendKind
from chains.fake import address
from chains.fake.chain import FakeChain
from chains.fake.world import FakeWorld
from core.errors import Reason, Refused
from core.ids import ChainId
from custody.keys.authority import Approvals, Standing
from custody.keys.guard import SignRequest, sign_once
from custody.keys.roster import Verdict, sign_approval
from custody.keys.signers import KeyRef
from tests.unit.custody.keys.guardroom import HOT, Guardroom, changed
from tests.unit.custody.keys.officers import ADA, BEA, CAI, HOUR_NS, officer, officer_key, roster_of

Change = Callable[[Guardroom, SignRequest], SignRequest]


def signatures(room: Guardroom) -> int:
    """Count everything ever released or prepared."""
    return len(room.entries())


def refusal(room: Guardroom, request: SignRequest) -> Reason:
    """Return why a request is refused, having left no trace in the log."""
    before = signatures(room)
    with pytest.raises(Refused) as refused:
        sign_once(room.guard, request)
    assert signatures(room) == before
    return refused.value.reason


def test_an_approved_withdrawal_is_signed_and_lands(any_room: Guardroom) -> None:
    room = any_room
    signed = room.sign(room.request())
    assert room.chain.broadcast(signed.raw).outcome.value == "accepted"
    room.world.mine(1)
    status = room.chain.tx_status(signed.tx_id)
    assert status.succeeded
    assert status.effect_amount == 1_000


def payload_of(**changes: Any) -> Change:
    """Swap the transaction, keep intent and approvals."""

    def swap(room: Guardroom, request: SignRequest) -> SignRequest:
        other = replace(request.intent, **changes)
        return replace(request, unsigned=room.forged(other))

    return swap


def claiming(**changes: Any) -> Change:
    """Lie about the transaction beside its bytes."""
    return lambda _room, request: replace(request, unsigned=replace(request.unsigned, **changes))


def intent_of(**changes: Any) -> Change:
    """Change intent and transaction together, keep the approvals."""

    def change(room: Guardroom, request: SignRequest) -> SignRequest:
        other = replace(request.intent, **changes)
        return replace(request, intent=other, unsigned=room.forged(other))

    return change


def thief(room: Guardroom) -> str:
    return room.world.outsider("thief")


def to_a_thief(room: Guardroom, request: SignRequest) -> SignRequest:
    return payload_of(destination=thief(room))(room, request)


def intent_to_a_thief(room: Guardroom, request: SignRequest) -> SignRequest:
    return intent_of(destination=thief(room))(room, request)


def everything_to_a_thief(room: Guardroom, request: SignRequest) -> SignRequest:
    """Rewrite intent, transaction and withdrawal together, keep only the officers' signatures."""
    changed = intent_to_a_thief(room, request)
    assert isinstance(request.authority, Approvals)
    withdrawal = replace(request.authority.withdrawal, destination=thief(room))
    return replace(changed, authority=replace(request.authority, withdrawal=withdrawal))


def a_token_instead(room: Guardroom, request: SignRequest) -> SignRequest:
    return payload_of(asset_key=room.token)(room, request)


def dear_bytes(room: Guardroom, request: SignRequest) -> SignRequest:
    return replace(request, unsigned=room.forged(request.intent, rate=FeeRate(1_000, 2)))


def another_networks_bytes(_room: Guardroom, request: SignRequest) -> SignRequest:
    """Build the same payment for a twin network, where the same key has money too."""
    twin = FakeChain(FakeWorld("twin"))
    sender, to = (
        address.to_text(address.to_body(text, request.intent.network), twin.traits.network)
        for text in (request.intent.source, request.intent.destination)
    )
    intent = replace(request.intent, network=twin.traits.network, source=sender, destination=to)
    unsigned = twin.build(intent, nonce=0, rate=FeeRate(22, 2), units=21)
    return replace(request, unsigned=replace(unsigned, sender=request.intent.source))


def zero_destination(room: Guardroom, request: SignRequest) -> SignRequest:
    burn = address.to_text(address.ZERO_BODY, room.chain.traits.network)
    return intent_of(destination=burn)(room, request)


TAMPERED: list[tuple[str, Change, Reason]] = [
    ("destination of the bytes", to_a_thief, Reason.INTENT_MISMATCH),
    ("destination of bytes and intent", intent_to_a_thief, Reason.INTENT_MISMATCH),
    ("destination everywhere", everything_to_a_thief, Reason.BAD_SIGNATURE),
    ("amount of the bytes", payload_of(amount=1_001), Reason.INTENT_MISMATCH),
    ("smaller amount", payload_of(amount=999), Reason.INTENT_MISMATCH),
    ("amount of bytes and intent", intent_of(amount=1_001), Reason.INTENT_MISMATCH),
    ("asset of the bytes", a_token_instead, Reason.INTENT_MISMATCH),
    ("fee above the intent", dear_bytes, Reason.FEE_ABOVE_CAP),
    ("fee of the intent above the approval", intent_of(fee_max=10_001), Reason.FEE_ABOVE_CAP),
    ("network of the bytes", another_networks_bytes, Reason.WRONG_NETWORK),
    ("burn address", zero_destination, Reason.FORBIDDEN_DESTINATION),
    ("digest beside the bytes", claiming(digest=bytes(32)), Reason.INTENT_MISMATCH),
    ("nonce beside the bytes", claiming(nonce=1), Reason.INTENT_MISMATCH),
    ("fee beside the bytes", claiming(fee_max=1), Reason.INTENT_MISMATCH),
    ("chain beside the bytes", claiming(chain="other"), Reason.INTENT_MISMATCH),
    ("sender beside the bytes", claiming(sender="other"), Reason.INTENT_MISMATCH),
    ("nothing decodable", claiming(payload=b"\x02"), Reason.UNDECODABLE),
    ("another withdrawal's spend", intent_of(cause_id="wd_2"), Reason.INTENT_MISMATCH),
    (
        "another chain's intent",
        lambda _room, request: replace(
            request, intent=replace(request.intent, chain=ChainId("other"))
        ),
        Reason.WRONG_NETWORK,
    ),
    (
        "another network's intent",
        lambda _room, request: replace(request, intent=replace(request.intent, network="1:main")),
        Reason.WRONG_NETWORK,
    ),
    (
        "another key",
        lambda _room, request: replace(request, key=KeyRef("hot", 1)),
        Reason.INTENT_MISMATCH,
    ),
    (
        "a deposit key for a withdrawal",
        lambda _room, request: replace(request, key=KeyRef("deposits", 0)),
        Reason.INTENT_MISMATCH,
    ),
]


@pytest.mark.parametrize(
    ("change", "reason"),
    [pytest.param(change, reason, id=name) for name, change, reason in TAMPERED],
)
def test_a_tampered_request_is_refused_and_its_twin_signs(
    room: Guardroom, change: Change, reason: Reason
) -> None:
    request = room.request()
    assert refusal(room, change(room, request)) is reason
    room.sign(request)


AUTHORITIES: list[tuple[str, Callable[[Approvals], Approvals], Reason]] = [
    ("no approval", lambda a: replace(a, approvals=()), Reason.QUORUM_NOT_MET),
    ("one approval", lambda a: replace(a, approvals=a.approvals[:1]), Reason.QUORUM_NOT_MET),
    (
        "one person twice",
        lambda a: replace(a, approvals=a.approvals[:1] * 2),
        Reason.ALREADY_APPROVED,
    ),
    ("the initiator", changed(initiator="ada"), Reason.INITIATOR_CANNOT_APPROVE),
    ("the editor", changed(excluded=("bea",)), Reason.INITIATOR_CANNOT_APPROVE),
    (
        "a stranger",
        lambda a: replace(
            a,
            approvals=(a.approvals[0], sign_approval(officer_key("eve"), a.withdrawal)),
        ),
        Reason.NOT_AN_OFFICER,
    ),
    (
        "a stranger in an officer's name",
        lambda a: replace(
            a,
            approvals=(
                a.approvals[0],
                replace(
                    sign_approval(officer_key("eve"), a.withdrawal),
                    public_key=BEA.public_key().public_bytes_raw(),
                ),
            ),
        ),
        Reason.BAD_SIGNATURE,
    ),
    (
        "a rejection beside a quorum",
        lambda a: replace(
            a, approvals=(*a.approvals, sign_approval(CAI, a.withdrawal, Verdict.REJECT))
        ),
        Reason.REJECTED_BY_OFFICER,
    ),
    (
        "a rejection called an approval",
        lambda a: replace(
            a,
            approvals=(
                a.approvals[0],
                replace(sign_approval(BEA, a.withdrawal, Verdict.REJECT), verdict=Verdict.APPROVE),
            ),
        ),
        Reason.BAD_SIGNATURE,
    ),
]


@pytest.mark.parametrize(
    ("change", "reason"),
    [pytest.param(change, reason, id=name) for name, change, reason in AUTHORITIES],
)
def test_too_little_authority_is_refused_and_enough_signs(
    room: Guardroom, change: Callable[[Approvals], Approvals], reason: Reason
) -> None:
    request = room.request()
    assert isinstance(request.authority, Approvals)
    assert refusal(room, replace(request, authority=change(request.authority))) is reason
    room.sign(request)


def test_approvals_expire_between_approval_and_signing(room: Guardroom) -> None:
    request = room.request()
    room.clock.advance(HOUR_NS)
    assert refusal(room, request) is Reason.APPROVAL_EXPIRED
    room.clock.step(-1)
    room.sign(request)


def test_an_officer_removed_before_signing_does_not_count(room: Guardroom) -> None:
    request = room.request()
    without = roster_of(officer("ada"), officer("cai"))
    assert refusal(room.with_guard(roster=without), request) is Reason.NOT_AN_OFFICER
    later = room.clock.now_ns() + 10
    leaving = roster_of(officer("ada"), officer("bea", active_until_ns=later), officer("cai"))
    room.clock.advance(10)
    assert refusal(room.with_guard(roster=leaving), request) is Reason.NOT_AN_OFFICER
    room.clock.step(-1)
    room.with_guard(roster=leaving).sign(request)


def test_two_keys_of_one_person_are_one_person(room: Guardroom) -> None:
    roster = roster_of(officer("ada"), officer("ada", key="ada's phone"), officer("bea"))
    intent = room.withdrawal()
    spend = room.spend_of(intent)
    both = room.approved(intent, ADA, officer_key("ada's phone"))
    request = SignRequest(spend, both, room.unsigned(spend), HOT)
    strict = room.with_guard(roster=roster)
    assert refusal(strict, request) is Reason.ALREADY_APPROVED
    strict.sign(replace(request, authority=room.approved(intent, officer_key("ada's phone"), BEA)))


def test_harvested_approvals_assemble_into_nothing(room: Guardroom) -> None:
    """W07: no permutation of approvals of other withdrawals pays another one."""
    intents = [room.withdrawal(f"wd_{n}") for n in range(3)]
    harvest = [sign_approval(key, intent) for intent in intents for key in (ADA, BEA, CAI)]
    twin = room.withdrawal("wd_twin")
    spend = room.spend_of(twin)
    for size in (2, 3):
        for chosen in itertools.combinations(harvest, size):
            request = SignRequest(spend, Approvals(twin, chosen), room.unsigned(spend), HOT)
            assert refusal(room, request) is Reason.BAD_SIGNATURE
    room.sign(SignRequest(spend, room.approved(twin), room.unsigned(spend), HOT))


def test_a_halted_signer_signs_nothing(room: Guardroom) -> None:
    request = room.request()
    assert refusal(room.with_guard(is_halted=lambda: True), request) is Reason.FROZEN
    room.sign(request)


def swept_to_a_thief(room: Guardroom, request: SignRequest) -> SignRequest:
    return intent_of(destination=thief(room))(room, request)


def naming(mandate_id: str) -> Change:
    """Return a change that names another mandate."""
    return lambda _room, request: replace(request, authority=Standing(mandate_id))


MANDATES: list[tuple[str, Change, Reason]] = [
    ("a mandate of nobody", naming("mandate of a thief"), Reason.NOT_FOUND),
    ("another mandate", naming("mandate top_up"), Reason.INTENT_MISMATCH),
    ("to a stranger", swept_to_a_thief, Reason.FORBIDDEN_DESTINATION),
    ("above the cap", intent_of(amount=5_001), Reason.POLICY_BLOCKED),
    ("dearer than the cap", intent_of(fee_max=10_001), Reason.FEE_ABOVE_CAP),
    ("withdrawal", intent_of(kind=SpendKind.WITHDRAWAL), Reason.INTENT_MISMATCH),
]


@pytest.mark.parametrize(
    ("change", "reason"),
    [pytest.param(change, reason, id=name) for name, change, reason in MANDATES],
)
def test_a_sweep_outside_its_mandate_is_refused_and_inside_signs(
    room: Guardroom, change: Change, reason: Reason
) -> None:
    request = room.sweep("sw_1", 5_000)
    assert refusal(room, change(room, request)) is reason
    room.sign(request)


FAR_NS = 1 << 62
OTHER_MANDATES: list[tuple[str, dict[str, Any], Reason]] = [
    ("expired", {"valid_until_ns": 1}, Reason.APPROVAL_EXPIRED),
    ("not yet valid", {"valid_from_ns": FAR_NS - 1}, Reason.APPROVAL_EXPIRED),
    ("other kind", {"kind": SpendKind.TOP_UP}, Reason.INTENT_MISMATCH),
    ("other network", {"network": "1:main"}, Reason.INTENT_MISMATCH),
    ("no cap for it", {"caps": ()}, Reason.ASSET_MISMATCH),
]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [pytest.param(changes, reason, id=name) for name, changes, reason in OTHER_MANDATES],
)
def test_a_mandate_that_does_not_hold_signs_nothing(
    room: Guardroom, changes: dict[str, Any], reason: Reason
) -> None:
    request = room.sweep("sw_1", 5_000)
    changes = {"valid_until_ns": FAR_NS, **changes}
    assert refusal(room.with_mandate(SpendKind.SWEEP, **changes), request) is reason
    room.sign(request)


def test_a_top_up_goes_to_an_address_the_guard_derives_itself(room: Guardroom) -> None:
    room = room.with_mandate(SpendKind.TOP_UP, destinations=())
    standing = room.standing(SpendKind.TOP_UP, KeyRef("deposits", 3))
    sweep = room.sweep("tu_1", 700)
    gas = KeyRef("gas", 0)
    spend = replace(
        sweep.intent,
        kind=SpendKind.TOP_UP,
        source=room.address("gas"),
        destination=room.address("deposits", 3),
    )
    request = SignRequest(spend, standing, room.unsigned(spend), gas)
    claimed = replace(spend, destination=thief(room))
    lie = replace(request, intent=claimed, unsigned=room.unsigned(claimed))
    assert refusal(room, lie) is Reason.FORBIDDEN_DESTINATION
    silent = replace(request, authority=replace(standing, destination_key=None))
    assert refusal(room, silent) is Reason.FORBIDDEN_DESTINATION
    foreign = replace(spend, destination=room.address("cold"))
    other = replace(standing, destination_key=KeyRef("cold", 0))
    cold = SignRequest(foreign, other, room.unsigned(foreign), gas)
    assert refusal(room, cold) is Reason.FORBIDDEN_DESTINATION
    room.sign(request)


def test_a_cancellation_moves_nothing(room: Guardroom) -> None:
    spend = room.request().intent
    request = room.cancellation(spend)
    tampering: list[dict[str, Any]] = [
        {"amount": 1},
        {"destination": thief(room)},
        {"asset_key": room.token},
    ]
    for changes in tampering:
        bad = replace(request.intent, **changes)
        tampered = replace(request, intent=bad, unsigned=room.forged(bad))
        assert refusal(room, tampered) is Reason.INTENT_MISMATCH
        hidden = replace(request, unsigned=room.forged(bad))
        assert refusal(room, hidden) is Reason.INTENT_MISMATCH
    assert request.intent.asset_key == NATIVE
    room.sign(request)
