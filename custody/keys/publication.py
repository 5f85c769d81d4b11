"""Publications: a version of the policy with who wrote it and who put it in force.

The first version is signed by the roster's quorum. Every next one is signed by the quorum that the
version before it asks for ([publish] in custody.policy.document), by at least as many persons as
the roster's threshold, none of them among its authors. Each signs, by any kind of credential,

    canonical message strongroom/policy, version 1
        verdict s (approve | reject) · serial i · previous b · hash b · authors l of s

where previous and hash are SHA-256 of the documents' bytes, and the first version follows none.

As a file: the document, then lines that TOML takes for comments.

    # --- publication over strongroom/policy ---
    # authors ada ben
    # approve <public key, hex> <signature, hex> [<a passkey's evidence, hex>]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.errors import Reason, Refused
from custody.keys import canonical
from custody.keys.intent import KIND_OF_RULE
from custody.keys.roster import Approval, Officer, Roster, Verdict
from custody.keys.signable import Signable, TypedField
from custody.policy.document import DOCUMENT_BYTES_MAX, parse_policy, policy_hash
from custody.policy.rules import Policy

TAG = "strongroom/policy"
VERSION = 1
MARKER = b"# --- publication over strongroom/policy ---\n"
APPROVALS_MAX = 64
AUTHORS_MAX = 64
PUBLICATION_BYTES_MAX = DOCUMENT_BYTES_MAX + (1 << 20)
_PERSON = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_AUTHORS = re.compile(rb"# authors((?: [a-z0-9][a-z0-9._-]{0,63}){0,64})", re.ASCII)
_HEX = rb"(?:[0-9a-f]{2}){%d,%d}"
_APPROVAL = re.compile(
    rb"# (approve|reject) (%s) (%s)(?: (%s))?"
    % (_HEX % (20, 65), _HEX % (1, 512), _HEX % (1, 8_192)),
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Publication:
    """A document and what officers said of it; nothing is believed before check_publication."""

    document: bytes
    authors: tuple[str, ...] = ()
    """Who wrote or changed it, sorted; their approvals do not count."""
    approvals: tuple[Approval, ...] = ()

    @property
    def hash(self) -> bytes:
        """Return the policy's hash: SHA-256 of the document's bytes."""
        return policy_hash(self.document)


def publication_signable(policy: Policy, authors: Sequence[str], verdict: Verdict) -> Signable:
    """Return what an officer signs of a version, on whichever rail."""
    said = Verdict(verdict).value
    values = (said, policy.serial, policy.previous, policy.hash, tuple(authors))
    shown = (
        TypedField("verdict", "string", said),
        TypedField("policyVersion", "uint256", policy.serial),
        TypedField("policyHash", "bytes32", policy.hash),
        TypedField("follows", "string", policy.previous.hex() or "nothing"),
        TypedField("authors", "string", " ".join(authors) or "nobody named"),
    )
    return Signable(canonical.encode(TAG, VERSION, values), "PolicyPublication", shown)


def sign_publication(
    private_key: Ed25519PrivateKey,
    policy: Policy,
    authors: Sequence[str],
    verdict: Verdict = Verdict.APPROVE,
) -> Approval:
    """Sign a verdict with an officer's own file key; runs where the officer is."""
    message = publication_signable(policy, authors, verdict).message
    public_key, signature = private_key.public_key(), private_key.sign(message)
    public_key.verify(signature, message)
    return Approval(public_key.public_bytes_raw(), verdict, signature)


def check_verdict(
    policy: Policy, authors: Sequence[str], approval: Approval, *, roster: Roster, now_ns: int
) -> Officer:
    """Return the officer who gave exactly this verdict. Refused: not_an_officer, bad_signature."""
    officer = roster.officer(approval.public_key, now_ns)
    signable = publication_signable(policy, authors, approval.verdict)
    officer.check(signable, approval.signature, approval.evidence)
    return officer


def check_document(document: bytes, previous: Policy | None, *, name: str = "policy") -> Policy:
    """Return the policy of a document that may follow another one; None: it is the first.

    Refused: malformed (BadPolicy, with file, line, rule and reason), unknown_version, too_large,
    unknown_policy (it does not follow), issued_too_long_ago (before the one it follows).
    """
    policy = parse_policy(document, name=name)
    if not document.endswith(b"\n") or MARKER in document:
        raise Refused(Reason.MALFORMED, f"{name}: a document ends with a line end")
    for rule in policy.rules:
        if rule.id in KIND_OF_RULE and rule.scope.admits("kinds", "withdrawal"):
            raise Refused(Reason.MALFORMED, f"{name}: rule {rule.id!r} is the roster's own")
    follows = (1, b"") if previous is None else (previous.serial + 1, previous.hash)
    if (policy.serial, policy.previous) != follows:
        what = f"{name}: version {policy.serial} does not follow version {follows[0] - 1}"
        raise Refused(Reason.UNKNOWN_POLICY, what)
    if previous is not None and policy.issued_ns < previous.issued_ns:
        raise Refused(Reason.ISSUED_TOO_LONG_AGO, f"{name}: the version before was issued later")
    return policy


def check_publication(
    publication: Publication, previous: Policy | None, *, roster: Roster, now_ns: int
) -> Policy:
    """Return a policy whose publication carries the quorum now; its delay is not looked at.

    An approval that does not count is passed over; when the rest is no quorum, the first reason in
    the order of `Reason` is given. One valid rejection ends it. Refused: as check_document;
    rejected_by_officer, initiator_cannot_approve (an author), not_an_officer, already_approved,
    bad_signature, quorum_not_met.
    """
    policy = check_document(publication.document, previous)
    authors, approvals = publication.authors, publication.approvals
    if len(approvals) > APPROVALS_MAX or len(authors) > AUTHORS_MAX:
        raise Refused(Reason.TOO_LARGE, f"at most {APPROVALS_MAX} approvals and authors")
    if list(authors) != sorted(set(authors)) or not all(map(_PERSON.fullmatch, authors)):
        raise Refused(Reason.MALFORMED, "authors of a policy are sorted names")
    persons: set[str] = set()
    reasons: list[Reason] = []
    for approval in approvals:
        try:
            officer = check_verdict(policy, authors, approval, roster=roster, now_ns=now_ns)
        except Refused as refused:
            reasons.append(refused.reason)
            continue
        if approval.verdict is Verdict.REJECT:
            raise Refused(Reason.REJECTED_BY_OFFICER, officer.person)
        if officer.person in authors:
            reasons.append(Reason.INITIATOR_CANNOT_APPROVE)
        elif officer.person in persons:
            reasons.append(Reason.ALREADY_APPROVED)
        persons |= {officer.person} - set(authors)
    is_met = previous is None or previous.publish.quorum.is_met(previous.groups, persons)
    if len(persons) < roster.threshold or not is_met:
        wanted = f"{roster.threshold} persons"
        if previous is not None:
            wanted += f" and {previous.publish.quorum.text}"
        order = list(Reason)
        reason = min(reasons, key=order.index, default=Reason.QUORUM_NOT_MET)
        raise Refused(reason, f"policy {policy.serial} has {len(persons)} of {wanted}")
    return policy


def with_approval(publication: Publication, approval: Approval) -> Publication:
    """Return a publication with one approval more; a key has one."""
    others = [one for one in publication.approvals if one.public_key != approval.public_key]
    return replace(publication, approvals=(*others, approval))


def render_publication(publication: Publication) -> bytes:
    """Return the bytes of a file."""
    authors = "".join(f" {person}" for person in publication.authors)
    lines = [f"# authors{authors}\n"]
    for one in publication.approvals:
        parts = [one.verdict.value, one.public_key.hex(), one.signature.hex(), one.evidence.hex()]
        lines.append("# " + " ".join(part for part in parts if part) + "\n")
    return publication.document + MARKER + "".join(lines).encode("ascii")


def parse_publication(data: bytes) -> Publication:
    """Return what a file says, in its one spelling and not yet checked. Refused: malformed, …"""
    if len(data) > PUBLICATION_BYTES_MAX:
        raise Refused(Reason.TOO_LARGE, "a publication has at most 2 MiB")
    document, marker, tail = data.partition(MARKER)
    first, *rest = tail.split(b"\n")
    authors = _AUTHORS.fullmatch(first)
    if not marker or authors is None or not rest or rest.pop() or len(rest) > APPROVALS_MAX:
        raise Refused(Reason.MALFORMED, "not a publication of a policy")
    approvals = []
    for line in rest:
        if (match := _APPROVAL.fullmatch(line)) is None:
            raise Refused(Reason.MALFORMED, "a line after the document is no approval")
        key, signature, evidence = (
            bytes.fromhex((one or b"").decode()) for one in match.groups()[1:]
        )
        approvals.append(Approval(key, Verdict(match[1].decode()), signature, evidence))
    persons = tuple(authors[1].decode().split())
    return Publication(document, persons, tuple(approvals))
