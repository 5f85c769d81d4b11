"""By what right something is signed: officers' approvals of a withdrawal, or a standing mandate.

A withdrawal needs both a policy's rule and those whom the rule asks: the quorum where it requires
one, a mandate of the roster where it allows the payment. A batch needs the right of each withdrawal
in it. The evidence that goes into the log is complete: with the roster and the policies of that day
anybody can check it again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, cast

from chains.base import SpendIntent, SpendKind
from core.errors import Corrupt, Reason, Refused
from core.ids import CustomerNo
from custody.keys import intent as intents
from custody.keys.batch import singles
from custody.keys.intent import KIND_OF_RULE, NO_POLICY, WithdrawalIntent, explains
from custody.keys.mandate import Mandate, covers
from custody.keys.roster import Approval, Roster, Verdict, verify_approvals
from custody.keys.rotation import check_generation, check_receiver
from custody.keys.ruling import Law, check_time, ruling_of, verify_ruled
from custody.keys.signers.base import KeyRef, wallet_of
from custody.keys.signing_record import BY_APPROVALS, BY_MANDATE
from custody.policy.decision import Outcome

_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
AddressOfKey: TypeAlias = Callable[[KeyRef], str]
"""The address of an own key, derived without asking the database."""


@dataclass(frozen=True, slots=True)
class Approvals:
    """A withdrawal and what officers said of it."""

    withdrawal: WithdrawalIntent
    approvals: tuple[Approval, ...]


@dataclass(frozen=True, slots=True)
class Allowance:
    """A withdrawal that its rule allows without approvals, inside a mandate of the roster."""

    mandate_id: str
    withdrawal: WithdrawalIntent


@dataclass(frozen=True, slots=True)
class Standing:
    """A mandate of the roster.

    destination_key says which own key receives, where the mandate names accounts.
    """

    mandate_id: str
    destination_key: KeyRef | None = None


@dataclass(frozen=True, slots=True)
class Together:
    """The right of each withdrawal of a batch, in the order of its items."""

    parts: tuple[Single, ...]


Single: TypeAlias = Approvals | Allowance | Standing
Authority: TypeAlias = Approvals | Allowance | Standing | Together


def check_authority(
    authority: Authority,
    spend: SpendIntent,
    *,
    key: KeyRef,
    roster: Roster,
    law: Law,
    now_ns: int,
    address_of_key: AddressOfKey,
) -> None:
    """Return when a spend by one key is authorised; the window of a mandate is the log's business.

    Refused: intent_mismatch, fee_above_cap, and as check_generation, check_right, valid_mandate and
    covers; policy_blocked (a withdrawal by a mandate alone).
    """
    for part, single in each_of(authority, spend):
        _check_single(
            part,
            single,
            key=key,
            roster=roster,
            law=law,
            now_ns=now_ns,
            address_of_key=address_of_key,
        )


def each_of(authority: Authority, spend: SpendIntent) -> list[tuple[Single, SpendIntent]]:
    """Return each right with the spend it is for. Refused: intent_mismatch."""
    parts = authority.parts if isinstance(authority, Together) else (authority,)
    is_batch = spend.kind is SpendKind.BATCH
    spends = singles(spend)
    nested = any(isinstance(part, Together) for part in parts)
    if isinstance(authority, Together) is not is_batch or nested or len(parts) != len(spends):
        raise Refused(Reason.INTENT_MISMATCH, "each withdrawal of a batch needs its own right")
    return list(zip(parts, spends, strict=True))


def _check_single(
    authority: Single,
    spend: SpendIntent,
    *,
    key: KeyRef,
    roster: Roster,
    law: Law,
    now_ns: int,
    address_of_key: AddressOfKey,
) -> None:
    check_generation(roster, spend, key, address_of_key=address_of_key)
    if not isinstance(authority, Standing):
        explains(authority.withdrawal, spend)
        check_payer(authority.withdrawal, spend, key, roster=roster)
        check_right(authority, roster=roster, law=law, now_ns=now_ns)
        if isinstance(authority, Allowance):
            mandate = valid_mandate(roster, authority.mandate_id, now_ns=now_ns)
            covers(mandate, spend, destination_account=None)
        return
    if spend.kind is SpendKind.WITHDRAWAL:
        raise Refused(Reason.POLICY_BLOCKED, "a mandate pays a withdrawal that a rule allows")
    mandate = valid_mandate(roster, authority.mandate_id, now_ns=now_ns)
    account = None
    if (receiver := authority.destination_key) is not None:
        if address_of_key(receiver) != spend.destination:
            raise Refused(Reason.FORBIDDEN_DESTINATION, "the destination is not that own key")
        account = wallet_of(receiver.account)
    check_receiver(roster, spend, authority.destination_key, address_of_key=address_of_key)
    covers(mandate, spend, destination_account=account)


def check_right(authority: Approvals | Allowance, *, roster: Roster, law: Law, now_ns: int) -> None:
    """Return when a withdrawal is decided, and those agree whom its rule asks; now it may be paid.

    Refused: too_early, approval_expired, policy_blocked (the rule wants the other kind of right),
    and as ruling_of and verify_ruled. What changes a wallet's keys or owners is under no policy:
    the threshold of the roster decides (unknown_policy where it names one).
    """
    withdrawal = authority.withdrawal
    if withdrawal.rule in KIND_OF_RULE:
        if isinstance(authority, Allowance):
            raise Refused(Reason.POLICY_BLOCKED, "officers alone change keys and owners")
        if withdrawal.policy_hash != NO_POLICY:
            raise Refused(Reason.UNKNOWN_POLICY, "no policy changes keys and owners")
        verify_approvals(roster, withdrawal, authority.approvals, now_ns=now_ns)
    else:
        ruling = ruling_of(law, withdrawal, now_ns=now_ns)
        if isinstance(authority, Approvals):
            verify_ruled(roster, ruling, withdrawal, authority.approvals, now_ns=now_ns)
        elif ruling.rule.outcome is not Outcome.ALLOW:
            raise Refused(Reason.POLICY_BLOCKED, f"rule {ruling.rule.id} does not allow it alone")
    check_time(withdrawal, now_ns)


def check_payer(
    withdrawal: WithdrawalIntent, spend: SpendIntent, key: KeyRef, *, roster: Roster
) -> None:
    """Return when the account that was decided pays. Refused: intent_mismatch."""
    contract = roster.wallet(spend.chain, spend.source)
    is_right = (
        withdrawal.wallet == wallet_of(key.account)
        if contract is None
        else withdrawal.wallet == contract.wallet
    )
    if not is_right:
        raise Refused(Reason.INTENT_MISMATCH, f"wallet: approved {withdrawal.wallet}")


def customers_of(authority: Authority) -> frozenset[CustomerNo]:
    """Return whose withdrawals an authority is for; empty for our own transfers."""
    parts = authority.parts if isinstance(authority, Together) else (authority,)
    return frozenset(
        CustomerNo(part.withdrawal.customer_no)
        for part in parts
        if isinstance(part, Approvals | Allowance)
    )


def valid_mandate(roster: Roster, mandate_id: str, *, now_ns: int) -> Mandate:
    """Return a mandate that is valid at a time. Refused: not_found, approval_expired."""
    mandate = roster.mandate(mandate_id)
    if not mandate.valid_from_ns <= now_ns < mandate.valid_until_ns:
        raise Refused(Reason.APPROVAL_EXPIRED, f"mandate {mandate_id}")
    return mandate


def evidence_of(authority: Authority, roster: Roster) -> str:
    """Return an authority as text for the log."""
    page: dict[str, object] = {"roster": roster.hash.hex()}
    if isinstance(authority, Together):
        page["parts"] = [_page_of(part) for part in authority.parts]
    else:
        page |= _page_of(authority)
    return _JSON.encode(page)


def _page_of(authority: Single) -> dict[str, object]:
    page: dict[str, object] = {}
    if isinstance(authority, Approvals):
        page["withdrawal"] = intents.encode(authority.withdrawal).hex()
        page["approvals"] = [
            [one.public_key.hex(), one.verdict.value, one.signature.hex(), one.evidence.hex()]
            for one in authority.approvals
        ]
    elif isinstance(authority, Allowance):
        page["withdrawal"] = intents.encode(authority.withdrawal).hex()
        page["mandate"] = authority.mandate_id
    else:
        key = authority.destination_key
        page["mandate"] = authority.mandate_id
        page["destination_key"] = None if key is None else [key.account, key.index]
    return page


def word_of(authority: Authority) -> str:
    """Return what a record calls an authority; of a batch one word for each withdrawal."""
    parts = authority.parts if isinstance(authority, Together) else (authority,)
    return ",".join(BY_APPROVALS if isinstance(one, Approvals) else BY_MANDATE for one in parts)


def read_evidence(text: str) -> tuple[Authority, bytes]:
    """Return the authority behind a text of the log and the hash of the roster it was checked with.

    Corrupt when the text is none of ours.
    """
    try:
        page = cast("dict[str, object]", json.loads(text))
        roster_hash = bytes.fromhex(str(page["roster"]))
        if "parts" in page:
            pages = cast("list[dict[str, object]]", page["parts"])
            return Together(tuple(map(_read_single, pages))), roster_hash
        return _read_single(page), roster_hash
    except (ValueError, KeyError, TypeError, AssertionError, Refused) as error:
        raise Corrupt("evidence in the log of signatures cannot be read") from error


def _read_single(page: dict[str, object]) -> Single:
    if "withdrawal" not in page:
        return _read_standing(page)
    withdrawal = intents.decode(bytes.fromhex(str(page["withdrawal"])))
    assert isinstance(withdrawal, WithdrawalIntent)
    if "mandate" in page:
        return Allowance(str(page["mandate"]), withdrawal)
    rows = cast("list[list[str]]", page["approvals"])
    approvals = tuple(
        Approval(
            bytes.fromhex(key),
            Verdict(verdict),
            bytes.fromhex(signature),
            bytes.fromhex(evidence),
        )
        for key, verdict, signature, evidence in rows
    )
    return Approvals(withdrawal, approvals)


def _read_standing(page: dict[str, object]) -> Standing:
    key = cast("tuple[str, int] | None", page["destination_key"])
    return Standing(str(page["mandate"]), None if key is None else KeyRef(*key))
