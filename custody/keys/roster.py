"""Officers: whose signatures count. A file outside the database, pinned by its hash at start.

    version = 1
    threshold = 2

    [[officers]]
    person = "ada"
    public_key = "<64 hex digits, Ed25519>"
    active_from_ns = 0                       # optional
    active_until_ns = 9223372036854775807    # optional; not active from then on

A person may hold several keys and counts once. An approval is an officer's Ed25519 signature over

    canonical message strongroom/approval, version 1
        verdict s (approve | reject) · intent hash b · withdrawal_id s · chain s · policy_version i
        · rule s · expires_ns i

so that it is worth nothing for another withdrawal, chain, policy, rule or any other content.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import re
import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from core.errors import Corrupt, Reason, Refused
from custody.keys import canonical
from custody.keys.intent import TIME_LIMIT_NS, WithdrawalIntent, intent_hash

APPROVAL_TAG = "strongroom/approval"
APPROVAL_VERSION = 1
FILE_VERSION = 1
OFFICERS_MAX = 64
APPROVALS_MAX = 64
THRESHOLD_MIN = 2
_PERSON = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_KEY_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Verdict(enum.StrEnum):
    """What an officer says of a withdrawal."""

    APPROVE = "approve"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Officer:
    """One key of one person, and when it counts: active_from_ns <= now < active_until_ns."""

    person: str
    public_key: bytes
    active_from_ns: int = 0
    active_until_ns: int = TIME_LIMIT_NS - 1

    def is_active(self, now_ns: int) -> bool:
        """Return whether signatures of this key count at a time."""
        return self.active_from_ns <= now_ns < self.active_until_ns


@dataclass(frozen=True, slots=True)
class Approval:
    """One officer's verdict.

    Nothing in it is believed before the signature is checked against the roster.
    """

    public_key: bytes
    verdict: Verdict
    signature: bytes


@dataclass(frozen=True, slots=True)
class Roster:
    """The officers and how many distinct persons make a quorum.

    `hash` is that of the file's bytes.
    """

    threshold: int
    officers: tuple[Officer, ...]
    hash: bytes

    def officer(self, public_key: bytes, now_ns: int) -> Officer:
        """Return the active officer of a key. Refused: not_an_officer."""
        for officer in self.officers:
            if officer.public_key == public_key and officer.is_active(now_ns):
                return officer
        raise Refused(Reason.NOT_AN_OFFICER, "the key is not in the roster or not active now")


def parse_roster(data: bytes) -> Roster:
    """Return the roster of a file's bytes. Refused: malformed, unknown_version."""
    try:
        page = tomllib.loads(data.decode("ascii"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Refused(Reason.MALFORMED, "a roster is an ASCII TOML file") from error
    if page.get("version") != FILE_VERSION:
        raise Refused(Reason.UNKNOWN_VERSION, "roster")
    rows = page.get("officers")
    if set(page) != {"version", "threshold", "officers"} or not isinstance(rows, list):
        raise Refused(Reason.MALFORMED, "a roster has version, threshold and officers")
    officers = tuple(_parse_officer(row) for row in rows)
    persons = {officer.person for officer in officers}
    threshold = page["threshold"]
    if len(officers) > OFFICERS_MAX or len({o.public_key for o in officers}) != len(officers):
        raise Refused(Reason.MALFORMED, "a key stands in the roster twice, or it is too long")
    if type(threshold) is not int or not THRESHOLD_MIN <= threshold <= len(persons):
        raise Refused(
            Reason.MALFORMED, f"threshold must be {THRESHOLD_MIN}..{len(persons)} distinct persons"
        )
    return Roster(threshold, officers, hashlib.sha256(data).digest())


def load_roster(path: Path, expected_hash: bytes) -> Roster:
    """Read the roster and compare it with the pinned hash. Corrupt when it is another file."""
    data = path.read_bytes()
    if not hmac.compare_digest(hashlib.sha256(data).digest(), expected_hash):
        raise Corrupt(f"the roster {path.name} is not the pinned one")
    return parse_roster(data)


def render_roster(officers: Sequence[Officer], *, threshold: int) -> bytes:
    """Return the bytes of a roster file; sha256 of them is what a start pins.

    Refused: malformed.
    """
    lines = [f"version = {FILE_VERSION}", f"threshold = {threshold}"]
    for officer in officers:
        lines += ["", "[[officers]]", f'person = "{officer.person}"']
        lines += [f'public_key = "{officer.public_key.hex()}"']
        lines += [f"active_from_ns = {officer.active_from_ns}"]
        lines += [f"active_until_ns = {officer.active_until_ns}"]
    data = ("\n".join(lines) + "\n").encode("ascii")
    assert parse_roster(data).officers == tuple(officers)
    return data


def approval_message(intent: WithdrawalIntent, verdict: Verdict) -> bytes:
    """Return the bytes an officer signs."""
    values = (
        Verdict(verdict).value,
        intent_hash(intent),
        intent.withdrawal_id,
        intent.chain,
        intent.policy_version,
        intent.rule,
        intent.expires_ns,
    )
    return canonical.encode(APPROVAL_TAG, APPROVAL_VERSION, values)


def sign_approval(
    private_key: Ed25519PrivateKey, intent: WithdrawalIntent, verdict: Verdict = Verdict.APPROVE
) -> Approval:
    """Sign a verdict with an officer's own key;

    runs where the officer is, never in the platform.
    """
    message = approval_message(intent, verdict)
    public_key = private_key.public_key()
    signature = private_key.sign(message)
    public_key.verify(signature, message)
    return Approval(public_key.public_bytes_raw(), verdict, signature)


def check_approval(
    roster: Roster, intent: WithdrawalIntent, approval: Approval, *, now_ns: int
) -> Officer:
    """Return the officer who gave exactly this verdict. Refused: not_an_officer, bad_signature."""
    officer = roster.officer(approval.public_key, now_ns)
    check_signature(
        approval.public_key, approval.signature, approval_message(intent, approval.verdict)
    )
    return officer


def check_signature(public_key: bytes, signature: bytes, message: bytes) -> None:
    """Check an Ed25519 signature. Refused: bad_signature."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise Refused(Reason.BAD_SIGNATURE, "not this officer's signature over this") from error


def verify_approvals(
    roster: Roster,
    intent: WithdrawalIntent,
    approvals: Sequence[Approval],
    *,
    now_ns: int,
    initiator: str,
    excluded: Collection[str] = (),
) -> tuple[str, ...]:
    """Return the distinct persons whose approvals count now, sorted; at least the threshold.

    An approval that does not count is passed over, so that a forged row cannot hold a payment up;
    when the rest is no quorum, the first reason in the order of `Reason` is given. One valid
    rejection ends it. Refused: rejected_by_officer, initiator_cannot_approve, not_an_officer,
    already_approved, bad_signature, approval_expired, quorum_not_met, too_large.
    """
    if len(approvals) > APPROVALS_MAX:
        raise Refused(Reason.TOO_LARGE, f"at most {APPROVALS_MAX} approvals")
    persons: set[str] = set()
    reasons: list[Reason] = []
    for approval in approvals:
        try:
            officer = check_approval(roster, intent, approval, now_ns=now_ns)
        except Refused as refused:
            reasons.append(refused.reason)
            continue
        if approval.verdict is Verdict.REJECT:
            raise Refused(Reason.REJECTED_BY_OFFICER, officer.person)
        if officer.person == initiator or officer.person in excluded:
            reasons.append(Reason.INITIATOR_CANNOT_APPROVE)
        elif now_ns >= intent.expires_ns:
            reasons.append(Reason.APPROVAL_EXPIRED)
        elif officer.person in persons:
            reasons.append(Reason.ALREADY_APPROVED)
        else:
            persons.add(officer.person)
    if len(persons) < roster.threshold:
        order = list(Reason)
        reason = min(reasons, key=order.index, default=Reason.QUORUM_NOT_MET)
        raise Refused(reason, f"{len(persons)} of {roster.threshold} persons approve")
    return tuple(sorted(persons))


def _parse_officer(row: object) -> Officer:
    if not isinstance(row, dict):
        raise Refused(Reason.MALFORMED, "an officer is a table")
    page = cast("dict[str, object]", row)
    person, key = page.get("person"), page.get("public_key")
    since = page.get("active_from_ns", 0)
    until = page.get("active_until_ns", TIME_LIMIT_NS - 1)
    known = {"person", "public_key", "active_from_ns", "active_until_ns"}
    if not set(page) <= known or type(person) is not str or type(key) is not str:
        raise Refused(Reason.MALFORMED, "an officer has person and public_key")
    if not _PERSON.fullmatch(person) or not _KEY_HEX.fullmatch(key):
        raise Refused(Reason.MALFORMED, "an officer's person or public_key")
    if type(since) is not int or type(until) is not int or not 0 <= since < until < TIME_LIMIT_NS:
        raise Refused(Reason.MALFORMED, "an officer's active_from_ns and active_until_ns")
    return Officer(person, bytes.fromhex(key), since, until)
