"""The values of the key service as they cross the signer's socket, there and back."""

from __future__ import annotations

from collections.abc import Sequence

from app.signer_frames import (
    FRAME_BYTES_MAX,
    RETRY_MS_MAX,
    TEXT_MAX,
    Absence,
    Attest,
    ByEach,
    ByMandate,
    ByOfficers,
    ByRule,
    Contradiction,
    Key,
    Keys,
    Learned,
    LearnPolicy,
    Line,
    OneKey,
    Page,
    Refusal,
    Request,
    Signature,
    Signed,
    State,
    Unsigned,
)
from chains.base import SpendIntent, UnsignedTx
from core.errors import Corrupt, Reason, Refused, StrongroomError, Unavailable
from core.ids import ChainId, CustomerNo
from custody.keys import intent as intents
from custody.keys.attestation import AddressClaim
from custody.keys.authority import (
    Allowance,
    Approvals,
    Authority,
    Single,
    Standing,
    Together,
)
from custody.keys.guard import SignRequest
from custody.keys.intent import WithdrawalIntent
from custody.keys.issued_keys import IssuedKey
from custody.keys.publication import Publication
from custody.keys.roster import Approval
from custody.keys.service import Answer, PolicyStanding, SignerStatus
from custody.keys.signers.base import KeyRef
from custody.keys.signing_record import Entry
from custody.keys.signing_record import decode as decode_entry

PAGE_BYTES_MAX = FRAME_BYTES_MAX // 2
"""Bytes of entries in one answer; one entry alone has at most 1 MiB."""


def request_of(asked: SignRequest) -> Request:
    """Return a request as it crosses. Refused: malformed, amount_out_of_range (its intent)."""
    unsigned = asked.unsigned
    return Request(
        intent=intents.encode(asked.intent),
        authority=_authority_of(asked.authority),
        unsigned=Unsigned(
            chain=unsigned.chain,
            sender=unsigned.sender,
            nonce=unsigned.nonce,
            payload=unsigned.payload,
            digest=unsigned.digest,
            fee_max=str(unsigned.fee_max),
        ),
        key=key_to_wire(asked.key),
        input_keys=[key_to_wire(key) for key in asked.input_keys],
        change_keys=[key_to_wire(key) for key in asked.change_keys],
    )


def asked_of(request: Request) -> SignRequest:
    """Return the request that crossed. Refused: malformed, unknown_key, and as intent.decode."""
    intent = intents.decode(request.intent)
    if not isinstance(intent, SpendIntent):
        raise Refused(Reason.MALFORMED, "what is signed is a spend")
    unsigned = request.unsigned
    return SignRequest(
        intent=intent,
        authority=_authority(request.authority),
        unsigned=UnsignedTx(
            chain=ChainId(unsigned.chain),
            sender=unsigned.sender,
            nonce=unsigned.nonce,
            payload=unsigned.payload,
            digest=unsigned.digest,
            fee_max=int(unsigned.fee_max),
        ),
        key=key_of_wire(request.key),
        input_keys=tuple(key_of_wire(key) for key in request.input_keys),
        change_keys=tuple(key_of_wire(key) for key in request.change_keys),
    )


def claim_of(ask: Attest) -> AddressClaim:
    """Return the claim that crossed."""
    owner = None if ask.customer_no is None else CustomerNo(ask.customer_no)
    return AddressClaim(
        ChainId(ask.chain), ask.network, ask.address, ask.account, ask.key_index, owner
    )


def attest_of(claim: AddressClaim) -> Attest:
    """Return a claim as it crosses."""
    owner = None if claim.customer_no is None else int(claim.customer_no)
    return Attest(claim.chain, claim.network, claim.address, claim.account, claim.key_index, owner)


def _authority_of(authority: Authority) -> ByOfficers | ByMandate | ByRule | ByEach:
    if isinstance(authority, Together):
        return ByEach([_single_of(part) for part in authority.parts])
    return _single_of(authority)


def _single_of(authority: Single) -> ByOfficers | ByMandate | ByRule:
    if isinstance(authority, Standing):
        key = authority.destination_key
        return ByMandate(authority.mandate_id, None if key is None else key_to_wire(key))
    withdrawal = intents.encode(authority.withdrawal)
    if isinstance(authority, Allowance):
        return ByRule(withdrawal, authority.mandate_id)
    return ByOfficers(
        withdrawal=withdrawal,
        approvals=_lines(authority.approvals),
    )


def _authority(crossed: ByOfficers | ByMandate | ByRule | ByEach) -> Authority:
    if isinstance(crossed, ByEach):
        return Together(tuple(_single(part) for part in crossed.parts))
    return _single(crossed)


def _single(crossed: ByOfficers | ByMandate | ByRule) -> Single:
    if isinstance(crossed, ByMandate):
        key = crossed.destination_key
        return Standing(crossed.mandate_id, None if key is None else key_of_wire(key))
    withdrawal = intents.decode(crossed.withdrawal)
    if not isinstance(withdrawal, WithdrawalIntent):
        raise Refused(Reason.MALFORMED, "what is decided is a withdrawal")
    if isinstance(crossed, ByRule):
        return Allowance(crossed.mandate_id, withdrawal)
    return Approvals(withdrawal=withdrawal, approvals=_approvals(crossed.approvals))


def learn_of(publication: Publication) -> LearnPolicy:
    """Return a publication as it crosses."""
    return LearnPolicy(
        publication.document, list(publication.authors), _lines(publication.approvals)
    )


def publication_of(ask: LearnPolicy) -> Publication:
    """Return the publication that crossed."""
    return Publication(ask.document, tuple(ask.authors), _approvals(ask.approvals))


def _lines(approvals: Sequence[Approval]) -> list[Line]:
    return [Line(one.public_key, one.verdict, one.signature, one.evidence) for one in approvals]


def _approvals(lines: Sequence[Line]) -> tuple[Approval, ...]:
    return tuple(
        Approval(line.public_key, line.verdict, line.signature, line.evidence) for line in lines
    )


def key_to_wire(key: KeyRef) -> Key:
    return Key(key.account, key.index)


def key_of_wire(crossed: Key) -> KeyRef:
    return KeyRef(crossed.account, crossed.index)


# ---- answers


def told_of_error(error: StrongroomError) -> Refusal | Absence | Contradiction:
    """Return an error as it crosses."""
    if isinstance(error, Refused):
        return Refusal(error.reason, _words(error.detail))
    if isinstance(error, Unavailable):
        return Absence(_words(error.what), min(error.retry_after_ms, RETRY_MS_MAX))
    return Contradiction(_words(str(error)))


def _words(text: str) -> str:
    """Return what can cross of a text that may quote whatever somebody sent: never no answer."""
    return text[:TEXT_MAX].encode("utf-8", "replace").decode()


def error_of_told(told: Refusal | Absence | Contradiction) -> StrongroomError:
    """Return the error that crossed."""
    if isinstance(told, Refusal):
        return Refused(told.reason, told.detail)
    if isinstance(told, Absence):
        return Unavailable(told.what, told.retry_after_ms)
    return Corrupt(told.what)


def signed_of(answers: Sequence[Answer]) -> Signed:
    """Return the answers to sign as they cross."""
    return Signed(
        [
            Refusal(answer.reason, _words(answer.detail))
            if isinstance(answer, Refused)
            else Signature(answer)
            for answer in answers
        ]
    )


def answers_of(signed: Signed) -> list[Answer]:
    """Return the answers to sign that crossed."""
    return [
        one.value if isinstance(one, Signature) else Refused(one.reason, one.detail)
        for one in signed.answers
    ]


def keys_of(keys: Sequence[IssuedKey]) -> Keys:
    """Return public keys as they cross."""
    return Keys([OneKey(key.account, key.index, key.public_key, key.proof) for key in keys])


def issued_of(keys: Keys) -> list[IssuedKey]:
    """Return the public keys that crossed."""
    return [IssuedKey(key.account, key.index, key.public_key, key.proof) for key in keys.keys]


def page_of(entries: Sequence[Entry]) -> Page:
    """Return as many entries as one answer holds, at least the first."""
    messages: list[bytes] = []
    room = PAGE_BYTES_MAX
    for entry in entries:
        message = entry.message
        room -= len(message)
        if messages and room < 0:
            break
        messages.append(message)
    return Page(messages)


def entries_of(page: Page) -> list[Entry]:
    """Return the entries that crossed. Corrupt: one is none."""
    return [decode_entry(message) for message in page.messages]


def learned_of(standing: PolicyStanding) -> Learned:
    """Return since when a policy counts, as it crosses."""
    return Learned(
        standing.serial, standing.policy_hash, standing.learned_at_ns, standing.in_force_from_ns
    )


def standing_of(learned: Learned) -> PolicyStanding:
    """Return since when a policy counts, as it crossed."""
    return PolicyStanding(
        learned.serial, learned.policy_hash, learned.learned_at_ns, learned.in_force_from_ns
    )


def state_of(status: SignerStatus) -> State:
    """Return how the signer stands as it crosses."""
    return State(list(status.chains), status.position, status.roster_hash)


def status_of(state: State) -> SignerStatus:
    """Return how the signer stands, as it crossed."""
    chains = tuple(ChainId(chain) for chain in state.chains)
    return SignerStatus(chains, state.position, state.roster_hash)
