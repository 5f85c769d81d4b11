"""Officers' statements: decisions about the books and the chains that no rule can make alone.

    canonical message strongroom/statement, version 1
        statement_id s · kind s · subject s · lines l of s · expires_ns i

Every officer signs the same bytes; a quorum of distinct persons of the pinned roster is needed. The
lines say everything that will be done, so nothing can be added after they were signed.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.errors import Reason, Refused
from custody.keys import canonical
from custody.keys.roster import Roster
from custody.keys.signable import Signable, TypedField

TAG = "strongroom/statement"
VERSION = 1
SIGNATURES_MAX = 64


class StatementKind(enum.StrEnum):
    """What officers decide."""

    RESOLVE_REORGANISATION = "resolve_reorganisation"
    RECOGNISE_FUNDING = "recognise_funding"
    RELEASE_SCREENING = "release_screening"
    PAUSE = "pause"
    FREEZE = "freeze"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class Statement:
    """One decision, complete to the last id."""

    statement_id: str
    kind: StatementKind
    subject: str
    lines: tuple[str, ...]
    expires_ns: int


@dataclass(frozen=True, slots=True)
class StatementSignature:
    """One officer's signature over a statement, by any kind of credential."""

    public_key: bytes
    signature: bytes
    evidence: bytes = b""


def encode(statement: Statement) -> bytes:
    """Return the bytes that officers sign. Refused: malformed, too_large."""
    return canonical.encode(
        TAG,
        VERSION,
        (
            statement.statement_id,
            statement.kind.value,
            statement.subject,
            statement.lines,
            statement.expires_ns,
        ),
    )


def signable(statement: Statement) -> Signable:
    """Return what officers sign, on whichever rail. Refused: malformed, too_large."""
    shown = (
        TypedField("kind", "string", statement.kind.value),
        TypedField("subject", "string", statement.subject),
        TypedField("text", "string", "\n".join(statement.lines)),
    )
    return Signable(encode(statement), "Statement", shown)


def sign_statement(private_key: Ed25519PrivateKey, statement: Statement) -> StatementSignature:
    """Sign with an officer's own key; runs where the officer is, never in the platform."""
    signature = private_key.sign(encode(statement))
    return StatementSignature(private_key.public_key().public_bytes_raw(), signature)


def verify_statement(
    roster: Roster,
    statement: Statement,
    signatures: Sequence[StatementSignature],
    *,
    now_ns: int,
    persons_min: int | None = None,
) -> tuple[str, ...]:
    """Return the distinct persons behind a statement, at least the roster's threshold.

    persons_min: another number of them is enough (custody.keys.stop_order).

    Refused: approval_expired, too_large, not_an_officer, bad_signature, quorum_not_met.
    """
    if now_ns >= statement.expires_ns:
        raise Refused(Reason.APPROVAL_EXPIRED, statement.statement_id)
    if len(signatures) > SIGNATURES_MAX:
        raise Refused(Reason.TOO_LARGE, f"at most {SIGNATURES_MAX} signatures")
    signed = signable(statement)
    persons = set()
    for given in signatures:
        officer = roster.officer(given.public_key, now_ns)
        officer.check(signed, given.signature, given.evidence)
        persons.add(officer.person)
    needed = roster.threshold if persons_min is None else persons_min
    if len(persons) < needed:
        raise Refused(Reason.QUORUM_NOT_MET, f"{len(persons)} of {needed} persons sign")
    return tuple(sorted(persons))


def decode(data: bytes) -> Statement:
    """Return the statement of a message; the strict inverse of encode. Refused: malformed."""
    values = canonical.decode(TAG, VERSION, data)
    if len(values) != 5:
        raise Refused(Reason.MALFORMED, "a statement has five fields")
    statement_id, kind, subject, lines, expires_ns = values
    if not (
        isinstance(statement_id, str)
        and isinstance(subject, str)
        and isinstance(lines, tuple)
        and isinstance(expires_ns, int)
        and kind in {member.value for member in StatementKind}
    ):
        raise Refused(Reason.MALFORMED, "a field of a statement has another type")
    texts = tuple(line for line in lines if isinstance(line, str))
    if len(texts) != len(lines):
        raise Refused(Reason.MALFORMED, "a statement's lines are text")
    return Statement(statement_id, StatementKind(str(kind)), subject, texts, expires_ns)


def render(statement: Statement) -> str:
    """Return a statement as text for a person; depends on nothing but its bytes."""
    head = [f"statement {statement.statement_id}: {statement.kind} of {statement.subject}"]
    return "\n".join([*head, *(f"  {line}" for line in statement.lines)]) + "\n"
