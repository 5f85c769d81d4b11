"""Honest bytes with too little right behind them (W04, W05, W07, S01).

Approvals that were harvested, that expired, or that somebody else gave; mandates and limits that do
not reach so far; officers who left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chains.base import SpendKind
from core.errors import Reason
from custody.keys.authority import Approvals, Standing
from custody.keys.guard import SignRequest, sign_once
from custody.keys.roster import Approval, Officer, SpendLimit, Verdict, sign_approval
from custody.keys.roster_text import sealed
from custody.keys.signers import KeyRef
from tests.unit.custody.keys.evmroom import (
    AMOUNT,
    FEE_MAX,
    GOLD,
    THIEF,
    EvmRoom,
    approved,
    plain,
    told,
)
from tests.unit.custody.keys.officers import (
    ADA,
    BEA,
    CAI,
    HOUR_NS,
    officer,
    officer_key,
)
from tests.unit.custody.keys.tampered_payloads import (
    COINS,
    FORGED,
    MISMATCH,
    PAY,
    SWEEP,
    TOKENS,
    Asked,
    Case,
    Tamper,
)

EVE, PHONE = officer_key("eve"), officer_key("ada's phone")
BLOCKED, LATE, FEW = Reason.POLICY_BLOCKED, Reason.APPROVAL_EXPIRED, Reason.QUORUM_NOT_MET
OWN, STRANGER = Reason.INITIATOR_CANNOT_APPROVE, Reason.NOT_AN_OFFICER
AGAIN = Reason.ALREADY_APPROVED


def given(change: Callable[[Approvals], Approvals]) -> Tamper:
    """Return the change of who approved."""

    def tamper(room: EvmRoom, asked: SignRequest) -> Asked:
        assert isinstance(asked.authority, Approvals)
        return room, replace(asked, authority=change(asked.authority))

    return tamper


def by(*keys: Ed25519PrivateKey) -> Tamper:
    """Return the change to other officers' approvals of the same withdrawal."""
    return given(lambda authority: approved(authority.withdrawal, *keys))


def with_(*more: Approval) -> Callable[[Approvals], Approvals]:
    """Return the change that adds verdicts."""
    return lambda authority: replace(authority, approvals=(*authority.approvals, *more))


def decided(**changes: Any) -> Tamper:
    """Return the change of a withdrawal, freshly approved by the same two."""

    def tamper(room: EvmRoom, asked: SignRequest) -> Asked:
        assert isinstance(asked.authority, Approvals)
        withdrawal = replace(asked.authority.withdrawal, **changes)
        return room, replace(asked, authority=approved(withdrawal))

    return tamper


def relabelled(authority: Approvals) -> Approvals:
    """Call an officer's rejection an approval."""
    no = sign_approval(BEA, authority.withdrawal, Verdict.REJECT)
    yes = replace(no, verdict=Verdict.APPROVE)
    return replace(authority, approvals=(authority.approvals[0], yes))


def rejected(authority: Approvals) -> Approvals:
    """Add one officer's rejection to a quorum."""
    return with_(sign_approval(CAI, authority.withdrawal, Verdict.REJECT))(authority)


def named_bea(authority: Approvals) -> Approvals:
    """Put a stranger's signature under an officer's name."""
    forged = replace(
        sign_approval(EVE, authority.withdrawal), public_key=BEA.public_key().public_bytes_raw()
    )
    return replace(authority, approvals=(authority.approvals[0], forged))


def harvested(room: EvmRoom, asked: SignRequest) -> Asked:
    """Bring every approval of three attempts that failed, for the same wallet and nonce (W07)."""
    attempts = [room.withdrawal(f"wd_failed_{number}") for number in range(3)]
    harvest = tuple(sign_approval(key, one) for one in attempts for key in (ADA, BEA, CAI))
    _, changed = given(lambda authority: replace(authority, approvals=harvest))(room, asked)
    return room, changed


def last_one_forged(room: EvmRoom, asked: SignRequest) -> Asked:
    """Bring one honest approval, and the last one from a failed attempt."""
    failed = sign_approval(BEA, room.withdrawal("wd_failed"))
    return given(lambda a: replace(a, approvals=(a.approvals[0], failed)))(room, asked)


def of_another(name: str = "wd_1", **changes: object) -> Tamper:
    """Return the change to the approvals of another withdrawal."""

    def tamper(room: EvmRoom, asked: SignRequest) -> Asked:
        other = approved(replace(room.withdrawal(name), **changes))  # type: ignore[arg-type]
        return given(lambda a: replace(a, approvals=other.approvals))(room, asked)

    return tamper


def under(*officers: Officer) -> Tamper:
    """Return the change of the roster's officers after they approved."""
    return lambda room, asked: (room.with_roster(officers=officers), asked)


def one_person(room: EvmRoom, asked: SignRequest) -> Asked:
    """Have one person approve with two keys of the roster."""
    officers = (officer("ada"), officer("ada", key="ada's phone"), officer("bea"))
    return by(ADA, PHONE)(room.with_roster(officers=officers), asked)


def bea_leaves(room: EvmRoom, asked: SignRequest) -> Asked:
    """Let an officer's time end between approval and signing."""
    until = room.clock.now_ns() + HOUR_NS // 2
    officers = (officer("ada"), officer("bea", active_until_ns=until), officer("cai"))
    return room.with_roster(officers=officers).later(HOUR_NS // 2), asked


def later(duration_ns: int) -> Tamper:
    """Return the change of the time of signing."""
    return lambda room, asked: (room.later(duration_ns), asked)


def naming(mandate_id: str, key: KeyRef | None = None) -> Tamper:
    """Return the change to another standing mandate."""
    return lambda room, asked: (room, replace(asked, authority=Standing(mandate_id, key)))


def swept(name: str = "job_1", **changes: object) -> Tamper:
    """Return the change to another sweep, honestly built."""
    return lambda room, _asked: (room, room.sweep(name, **changes))


def mandated(**changes: object) -> Tamper:
    """Return the change of the mandate of sweeps in the roster."""
    return lambda room, asked: (room.with_mandate(SpendKind.SWEEP, **changes), asked)


def at(nonce: int, request: SignRequest) -> SignRequest:
    """Return a request with its bytes at another nonce."""
    return replace(request, unsigned=told(request.intent, plain(request.intent, nonce=nonce)))


def window_used_up(room: EvmRoom, _asked: SignRequest) -> Asked:
    """Sweep as much as the mandate's window holds, then once more."""
    for number in (1, 2):
        sign_once(room.guard, at(number, room.sweep(f"job_{number + 1}")))
    return room, at(3, room.sweep("job_4", amount=1))


def limited(*, amount: int = AMOUNT, window: int = AMOUNT, fee: int = FEE_MAX) -> Tamper:
    """Return the change of the signer's own limits."""

    def tamper(room: EvmRoom, asked: SignRequest) -> Asked:
        chain = room.guard.chain.traits.chain
        limits = (SpendLimit(chain, GOLD, amount, window, fee, fee),)
        return room.with_roster(limits=limits), asked

    return tamper


def day_used_up(room: EvmRoom, _asked: SignRequest) -> Asked:
    """Pay as much as the signer allows in a day, and approve one unit more."""
    tight, _ = limited()(room, _asked)
    sign_once(tight.guard, tight.tokens("wd_2", nonce=1))
    return tight, tight.tokens("wd_3", nonce=2, amount=1)


def older_roster(room: EvmRoom, asked: SignRequest) -> Asked:
    """Pin the roster before the one that was signed under already."""
    newer = sealed(
        replace(room.guard.roster, serial=2, previous=room.guard.roster.hash, issued_ns=1)
    )
    sign_once(room.with_guard(roster=newer).guard, room.coins("wd_2", nonce=1))
    return room, asked


def everyone(room: EvmRoom, asked: SignRequest) -> Asked:
    """Replace all officers, as whoever writes the database can, and approve with theirs."""
    return by(EVE, officer_key("mallory"))(room, asked)


APPROVALS: Sequence[Case] = [
    Case("nobody_approved", FEW, COINS, given(lambda a: replace(a, approvals=()))),
    Case("one_approved", FEW, COINS, given(lambda a: replace(a, approvals=a.approvals[:1]))),
    Case("one_approved_twice", AGAIN, COINS,
         given(lambda a: replace(a, approvals=a.approvals[:1] * 2))),
    Case("one_person_with_two_keys", AGAIN, COINS, one_person),
    Case("initiator_approves", OWN, COINS, decided(initiator="ada")),
    Case("initiator_approves_from_the_wallet", OWN, PAY, decided(initiator="bea")),
    Case("editor_of_the_destination_approves", OWN, COINS, decided(excluded=("bea",))),
    Case("a_stranger_approves", STRANGER, COINS, by(ADA, EVE)),
    Case("a_stranger_in_an_officers_name", FORGED, COINS, given(named_bea)),
    Case("all_officers_replaced", STRANGER, COINS, everyone),
    Case("one_rejected", Reason.REJECTED_BY_OFFICER, COINS, given(rejected)),
    Case("rejection_called_an_approval", FORGED, COINS, given(relabelled)),
    Case("harvested_from_three_failed_attempts", FORGED, COINS, harvested),
    Case("harvested_for_the_contract_wallet", FORGED, PAY, harvested),
    Case("last_signature_added_from_a_failed_attempt", FORGED, COINS, last_one_forged),
    Case("approvals_of_a_twin", FORGED, COINS, of_another("wd_twin")),
    Case("approvals_of_another_network", FORGED, COINS, of_another(network="eip155:1/0xabc")),
    Case("approvals_of_another_chain", FORGED, COINS, of_another(chain="other")),
    Case("approvals_of_a_smaller_amount", FORGED, TOKENS, of_another(asset_key=GOLD, amount=1)),
    Case("policy_version_changed", FORGED, COINS, of_another(policy_version=2)),
    Case("rule_changed", FORGED, COINS, of_another(rule="nobody needs to approve")),
    Case("initiator_changed", FORGED, COINS, of_another(initiator="customer:8")),
    Case("customer_changed", FORGED, COINS, of_another(customer_no=8)),
    Case("expiry_put_off", FORGED, COINS, of_another(expires_ns=1 << 62)),
    Case("fee_cap_raised", FORGED, COINS, of_another(network_fee_max=FEE_MAX + 1)),
    Case("approvals_expired", LATE, COINS, later(HOUR_NS)),
    Case("approvals_expired_for_the_contract_wallet", LATE, PAY, later(HOUR_NS)),
    Case("officer_removed_by_the_next_roster", STRANGER, COINS,
         under(officer("ada"), officer("cai"), officer("dan"))),
    Case("officers_time_ended", STRANGER, COINS, bea_leaves),
    Case("threshold_raised_by_the_next_roster", FEW, COINS,
         lambda room, asked: (room.with_roster(threshold=3), asked)),
]  # fmt: skip
MANDATES: Sequence[Case] = [
    Case("mandate_of_nobody", Reason.NOT_FOUND, SWEEP, naming("mandate of a thief")),
    Case("mandate_of_another_kind", MISMATCH, SWEEP, naming("mandate delegation")),
    Case("withdrawal_under_a_mandate", Reason.POLICY_BLOCKED, TOKENS, naming("mandate sweep")),
    Case("mandate_expired", LATE, SWEEP, mandated(valid_until_ns=1)),
    Case("mandate_not_valid_yet", LATE, SWEEP, mandated(valid_from_ns=1_700_000_000_000_000_001)),
    Case("mandate_of_another_network", MISMATCH, SWEEP, mandated(network="eip155:1/0xabc")),
    Case("mandate_without_the_asset", Reason.ASSET_MISMATCH, SWEEP, mandated(caps=())),
    Case("sweep_to_a_stranger", Reason.FORBIDDEN_DESTINATION, SWEEP, swept(destination=THIEF)),
    Case("sweep_to_a_stranger_called_ours", Reason.FORBIDDEN_DESTINATION, SWEEP,
         lambda room, _asked: naming("mandate sweep", KeyRef("hot", 0))(
             room, room.sweep(destination=THIEF))),
    Case("sweep_to_the_cold_wallet", Reason.FORBIDDEN_DESTINATION, SWEEP,
         lambda room, _asked: (room, room.sweep(destination=room.address(KeyRef("cold", 0))))),
    Case("sweep_above_the_cap", BLOCKED, SWEEP, swept(amount=AMOUNT + 1)),
    Case("sweep_above_the_fee_cap", Reason.FEE_ABOVE_CAP, SWEEP, swept(fee_max=FEE_MAX + 1)),
    Case("sweep_above_the_window", BLOCKED, SWEEP, window_used_up),
    Case("sweep_above_the_window_of_fees", BLOCKED, SWEEP, mandated(fee_window_max=FEE_MAX - 1)),
    Case("amount_above_the_signers_limit", Reason.SIGNER_LIMIT, TOKENS, limited(amount=AMOUNT - 1)),
    Case("fee_above_the_signers_limit", Reason.SIGNER_LIMIT, TOKENS, limited(fee=1)),
    Case("day_above_the_signers_limit", Reason.SIGNER_LIMIT,
         lambda room: room.tokens(amount=1), day_used_up),
    Case("asset_without_a_limit", Reason.SIGNER_LIMIT, COINS, limited()),
    Case("halted", Reason.FROZEN, COINS,
         lambda room, asked: (room.with_guard(is_halted=lambda: True), asked)),
    Case("older_roster", Reason.ROSTER_MISMATCH, COINS, older_roster),
]  # fmt: skip
RIGHTS = [*APPROVALS, *MANDATES]


def some_of(harvest: Sequence[Approval]) -> list[tuple[Approval, ...]]:
    """Return every pair and triple of harvested approvals in every order."""
    return [chosen for size in (2, 3) for chosen in permutations(harvest, size)]
