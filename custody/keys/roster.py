"""The roster: whose signatures count, and what a signer may do at all. Pinned outside the database.

custody.keys.roster_text has its file, custody.keys.roster_files how one roster follows another.

A person may hold several keys and counts once. An approval is an officer's signature, by any kind
of credential (custody.keys.credentials), over

    canonical message strongroom/approval, version 1
        verdict s (approve | reject) · intent hash b · withdrawal_id s · chain s · policy_version i
        · rule s · expires_ns i

so that it is worth nothing for another withdrawal, chain, policy, rule or any other content.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.errors import Reason, Refused
from core.ids import ChainId
from custody.keys import canonical
from custody.keys.credentials import Credential, CredentialKind, check_credential
from custody.keys.intent import TIME_LIMIT_NS, WithdrawalIntent, intent_hash, moment_text
from custody.keys.mandate import Mandate
from custody.keys.passkey import Passkey
from custody.keys.signable import Signable, TypedField
from custody.keys.signers.base import KeyRef
from custody.keys.typed_approval import address_of, sign_typed

APPROVAL_TAG = "strongroom/approval"
APPROVAL_VERSION = 1
APPROVALS_MAX = 64


class Verdict(enum.StrEnum):
    """What an officer says of a withdrawal."""

    APPROVE = "approve"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Officer:
    """One key of one person, and when it counts: active_from_ns <= now < active_until_ns.

    custody.keys.credentials says what public_key is for each kind.
    """

    person: str
    public_key: bytes
    active_from_ns: int = 0
    active_until_ns: int = TIME_LIMIT_NS - 1
    kind: CredentialKind = CredentialKind.ED25519
    passkey: Passkey | None = None
    """For kind webauthn, and for no other."""

    def is_active(self, now_ns: int) -> bool:
        """Return whether signatures of this key count at a time."""
        return self.active_from_ns <= now_ns < self.active_until_ns

    def check(self, signable: Signable, signature: bytes, evidence: bytes = b"") -> None:
        """Return when this key signed exactly this, on its own rail. Refused: bad_signature."""
        credential = Credential(self.kind, self.public_key, self.passkey)
        check_credential(credential, signable, signature, evidence)


@dataclass(frozen=True, slots=True)
class Approval:
    """One officer's verdict.

    Nothing in it is believed before the signature is checked against the roster.
    """

    public_key: bytes
    verdict: Verdict
    signature: bytes
    evidence: bytes = b""
    """What a passkey signed besides the challenge (custody.keys.passkey); empty otherwise."""


@dataclass(frozen=True, slots=True)
class Node:
    """The signer's own read-only nodes of one chain, and how many of them must agree."""

    chain: ChainId
    urls: tuple[str, ...]
    quorum: int


@dataclass(frozen=True, slots=True)
class SpendLimit:
    """Most minor units of one asset that the signer signs for, whatever the authority.

    The windows are 24 hours of the signer's own log; fees are native units.
    """

    chain: ChainId
    asset_key: str
    amount_max: int
    window_max: int
    fee_max: int
    fee_window_max: int


@dataclass(frozen=True, slots=True)
class ContractWallet:
    """A contract that holds our money: who signs for it, and what it may be on the chain.

    What the chain says must be exactly this (custody.keys.wallets), or nothing of it is signed.
    """

    chain: ChainId
    address: str
    owners: tuple[KeyRef, ...]
    """Owners that are own keys."""
    members: tuple[str, ...] = ()
    """Owners that are officers' wallet keys, as addresses; sorted."""
    threshold: int = 1
    """How many owners sign."""
    wallet: str = "treasury"
    """Its name in policies and books."""
    code: str = ""
    """The contract whose code it runs; where coins are spent, the wallet's descriptor."""
    handler: str = ""
    """Who answers calls that its code does not know; empty: nobody."""


@dataclass(frozen=True, slots=True)
class Delegate:
    """A contract that accounts of ours may delegate their code to."""

    chain: ChainId
    address: str


@dataclass(frozen=True, slots=True)
class Rotation:
    """Which keys of a wallet are its present ones: 2 after the first change.

    Keys of earlier generations are retired (custody.keys.rotation), later ones do not sign yet.
    """

    chain: ChainId
    wallet: str
    generation: int


@dataclass(frozen=True, slots=True)
class Roster:
    """One version of the roster: everything that a signer believes without asking.

    `hash` is SHA-256 of the body's bytes.
    """

    serial: int
    """1, 2, 3, …"""
    previous: bytes
    """Hash of the version before, empty in the first."""
    issued_ns: int
    """When it was issued: officers of the version before, active then, signed it."""
    threshold: int
    """How many distinct persons make a quorum."""
    officers: tuple[Officer, ...]
    attestation_key: bytes | None = None
    """Ed25519 key that the signer attests addresses with."""
    nodes: tuple[Node, ...] = ()
    limits: tuple[SpendLimit, ...] = ()
    mandates: tuple[Mandate, ...] = ()
    wallets: tuple[ContractWallet, ...] = ()
    delegates: tuple[Delegate, ...] = ()
    rotations: tuple[Rotation, ...] = ()
    hash: bytes = b""
    version: int = 3
    """Version of the file's format; 2 knows Ed25519 keys only."""

    def officer(self, public_key: bytes, now_ns: int) -> Officer:
        """Return the active officer of a key. Refused: not_an_officer."""
        for officer in self.officers:
            if officer.public_key == public_key and officer.is_active(now_ns):
                return officer
        raise Refused(Reason.NOT_AN_OFFICER, "the key is not in the roster or not active now")

    def passkey_holder(self, credential_id: bytes, now_ns: int) -> Officer:
        """Return the active officer of a passkey's id. Refused: not_an_officer."""
        for officer in self.officers:
            known = officer.passkey
            if known is not None and known.credential_id == credential_id:
                return self.officer(officer.public_key, now_ns)
        raise Refused(Reason.NOT_AN_OFFICER, "the passkey is not in the roster")

    def mandate(self, mandate_id: str) -> Mandate:
        """Return a mandate by its id. Refused: not_found."""
        for mandate in self.mandates:
            if mandate.mandate_id == mandate_id:
                return mandate
        raise Refused(Reason.NOT_FOUND, f"no mandate {mandate_id!r} in roster {self.serial}")

    def mandates_of(self, chain: ChainId) -> tuple[Mandate, ...]:
        """Return the mandates of one chain."""
        return tuple(mandate for mandate in self.mandates if mandate.chain == chain)

    def limit(self, chain: ChainId, asset_key: str) -> SpendLimit | None:
        """Return the limit of an asset, None when there is none."""
        for limit in self.limits:
            if (limit.chain, limit.asset_key) == (chain, asset_key):
                return limit
        return None

    def allows_delegate(self, chain: ChainId, address: str) -> bool:
        """Return whether accounts of ours may run a contract's code."""
        return Delegate(chain, address) in self.delegates

    def generation(self, chain: ChainId, wallet: str) -> int:
        """Return which keys of a wallet are its present ones; 1 until they are changed."""
        for one in self.rotations:
            if (one.chain, one.wallet) == (chain, wallet):
                return one.generation
        return 1

    def wallets_of(self, chain: ChainId) -> tuple[ContractWallet, ...]:
        """Return the contract wallets of a chain."""
        return tuple(one for one in self.wallets if one.chain == chain)

    def wallet(self, chain: ChainId, address: str) -> ContractWallet | None:
        """Return the contract wallet at an address, None when it is none of ours."""
        for wallet in self.wallets:
            if (wallet.chain, wallet.address) == (chain, address):
                return wallet
        return None


def approval_message(intent: WithdrawalIntent, verdict: Verdict) -> bytes:
    """Return the bytes an officer signs."""
    return approval_signable(intent, verdict).message


def approval_signable(intent: WithdrawalIntent, verdict: Verdict) -> Signable:
    """Return what an officer signs, on whichever rail."""
    hash_ = intent_hash(intent)
    values = (
        Verdict(verdict).value,
        hash_,
        intent.withdrawal_id,
        intent.chain,
        intent.policy_version,
        intent.rule,
        intent.expires_ns,
    )
    message = canonical.encode(APPROVAL_TAG, APPROVAL_VERSION, values)
    return Signable(message, "Approval", _shown_of(intent, hash_, verdict))


def _shown_of(intent: WithdrawalIntent, hash_: bytes, verdict: Verdict) -> tuple[TypedField, ...]:
    """Return what a wallet shows; everything else of the intent is in its hash."""
    return (
        TypedField("verdict", "string", Verdict(verdict).value),
        TypedField("withdrawalId", "string", intent.withdrawal_id),
        TypedField("chain", "string", intent.chain),
        TypedField("network", "string", intent.network),
        TypedField("asset", "string", intent.asset_key),
        TypedField("amountMinor", "uint256", intent.amount),
        TypedField("destination", "string", intent.destination),
        TypedField("initiator", "string", intent.initiator),
        TypedField("wallet", "string", intent.wallet),
        TypedField("policyVersion", "uint256", intent.policy_version),
        TypedField("policyHash", "bytes32", bytes.fromhex(intent.policy_hash)),
        TypedField("rule", "string", intent.rule),
        TypedField("notBefore", "string", moment_text(intent.not_before_ns)),
        TypedField("expires", "string", moment_text(intent.expires_ns)),
        TypedField("intentHash", "bytes32", hash_),
    )


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


def sign_typed_approval(
    private_key: PrivateKey, intent: WithdrawalIntent, verdict: Verdict = Verdict.APPROVE
) -> Approval:
    """Sign a verdict with a wallet key; runs where the officer is, never in the platform."""
    signature = sign_typed(private_key, approval_signable(intent, verdict))
    return Approval(address_of(private_key.public_key), verdict, signature)


def check_approval(
    roster: Roster, intent: WithdrawalIntent, approval: Approval, *, now_ns: int
) -> Officer:
    """Return the officer who gave exactly this verdict. Refused: not_an_officer, bad_signature."""
    return _check(roster, approval, approval_signable(intent, approval.verdict), now_ns)


def _check(roster: Roster, approval: Approval, signable: Signable, now_ns: int) -> Officer:
    officer = roster.officer(approval.public_key, now_ns)
    officer.check(signable, approval.signature, approval.evidence)
    return officer


def verify_approvals(
    roster: Roster,
    intent: WithdrawalIntent,
    approvals: Sequence[Approval],
    *,
    now_ns: int,
    excluded: Collection[str] = (),
    is_quorum: Callable[[Sequence[str]], bool] = bool,
) -> tuple[str, ...]:
    """Return the distinct persons whose approvals count now, sorted; at least the threshold.

    The initiator, whom the intent excludes and whom `excluded` names may not approve; is_quorum
    says whether persons are also the quorum of a rule.

    An approval that does not count is passed over, so that a forged row cannot hold a payment up;
    when the rest is no quorum, the first reason in the order of `Reason` is given. One valid
    rejection ends it. Refused: rejected_by_officer, initiator_cannot_approve, not_an_officer,
    already_approved, bad_signature, approval_expired, quorum_not_met, too_large.
    """
    if len(approvals) > APPROVALS_MAX:
        raise Refused(Reason.TOO_LARGE, f"at most {APPROVALS_MAX} approvals")
    excluded = {intent.initiator, *intent.excluded, *excluded}
    persons: set[str] = set()
    reasons: list[Reason] = []
    signables: dict[Verdict, Signable] = {}
    for approval in approvals:
        try:
            if approval.verdict not in signables:
                signables[approval.verdict] = approval_signable(intent, approval.verdict)
            officer = _check(roster, approval, signables[approval.verdict], now_ns)
        except Refused as refused:
            reasons.append(refused.reason)
            continue
        if approval.verdict is Verdict.REJECT:
            raise Refused(Reason.REJECTED_BY_OFFICER, officer.person)
        if officer.person in excluded:
            reasons.append(Reason.INITIATOR_CANNOT_APPROVE)
        elif now_ns >= intent.expires_ns:
            reasons.append(Reason.APPROVAL_EXPIRED)
        elif officer.person in persons:
            reasons.append(Reason.ALREADY_APPROVED)
        else:
            persons.add(officer.person)
    found = tuple(sorted(persons))
    if len(found) < roster.threshold or not is_quorum(found):
        order = list(Reason)
        reason = min(reasons, key=order.index, default=Reason.QUORUM_NOT_MET)
        wanted = f"{roster.threshold} of the roster, and the quorum of {intent.rule}"
        raise Refused(reason, f"{len(found)} persons approve; wanted are {wanted}")
    return found
