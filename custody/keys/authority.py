"""By what right something is signed: officers' approvals of a withdrawal, or a standing mandate.

The evidence that goes into the log is complete: with the roster of that day anybody can check it
again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, cast

from chains.base import SpendIntent
from core.errors import Corrupt, Reason, Refused
from custody.keys import intent as intents
from custody.keys.intent import WithdrawalIntent, explains
from custody.keys.mandate import Mandate, covers
from custody.keys.roster import Approval, Roster, Verdict, verify_approvals
from custody.keys.rotation import check_generation, check_receiver
from custody.keys.signers.base import KeyRef, wallet_of

_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
AddressOfKey: TypeAlias = Callable[[KeyRef], str]
"""The address of an own key, derived without asking the database."""


@dataclass(frozen=True, slots=True)
class Approvals:
    """A withdrawal and what officers said of it.

    `excluded` may not approve, like the initiator that the withdrawal names.
    """

    withdrawal: WithdrawalIntent
    approvals: tuple[Approval, ...]
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """A mandate of the roster.

    destination_key says which own key receives, where the mandate names accounts.
    """

    mandate_id: str
    destination_key: KeyRef | None = None


Authority: TypeAlias = Approvals | Standing


def check_authority(
    authority: Authority,
    spend: SpendIntent,
    *,
    key: KeyRef,
    roster: Roster,
    now_ns: int,
    address_of_key: AddressOfKey,
) -> None:
    """Return when a spend by one key is authorised; the window of a mandate is the log's business.

    Refused: intent_mismatch, fee_above_cap, and as check_generation, verify_approvals,
    valid_mandate and covers.
    """
    check_generation(roster, spend, key, address_of_key=address_of_key)
    if isinstance(authority, Approvals):
        explains(authority.withdrawal, spend)
        verify_approvals(
            roster,
            authority.withdrawal,
            authority.approvals,
            now_ns=now_ns,
            excluded=authority.excluded,
        )
        return
    mandate = valid_mandate(roster, authority.mandate_id, now_ns=now_ns)
    account = None
    if (receiver := authority.destination_key) is not None:
        if address_of_key(receiver) != spend.destination:
            raise Refused(Reason.FORBIDDEN_DESTINATION, "the destination is not that own key")
        account = wallet_of(receiver.account)
    check_receiver(roster, spend, authority.destination_key, address_of_key=address_of_key)
    covers(mandate, spend, destination_account=account)


def valid_mandate(roster: Roster, mandate_id: str, *, now_ns: int) -> Mandate:
    """Return a mandate that is valid at a time. Refused: not_found, approval_expired."""
    mandate = roster.mandate(mandate_id)
    if not mandate.valid_from_ns <= now_ns < mandate.valid_until_ns:
        raise Refused(Reason.APPROVAL_EXPIRED, f"mandate {mandate_id}")
    return mandate


def evidence_of(authority: Authority, roster: Roster) -> str:
    """Return an authority as text for the log."""
    page: dict[str, object] = {"roster": roster.hash.hex()}
    if isinstance(authority, Approvals):
        page["withdrawal"] = intents.encode(authority.withdrawal).hex()
        page["excluded"] = sorted(authority.excluded)
        page["approvals"] = [
            [one.public_key.hex(), one.verdict.value, one.signature.hex(), one.evidence.hex()]
            for one in authority.approvals
        ]
    else:
        key = authority.destination_key
        page["mandate"] = authority.mandate_id
        page["destination_key"] = None if key is None else [key.account, key.index]
    return _JSON.encode(page)


def read_evidence(text: str) -> tuple[Authority, bytes]:
    """Return the authority behind a text of the log and the hash of the roster it was checked with.

    Corrupt when the text is none of ours.
    """
    try:
        page = cast("dict[str, object]", json.loads(text))
        roster_hash = bytes.fromhex(str(page["roster"]))
        if "mandate" in page:
            return _read_standing(page), roster_hash
        withdrawal = intents.decode(bytes.fromhex(str(page["withdrawal"])))
        assert isinstance(withdrawal, WithdrawalIntent)
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
        excluded = tuple(cast("list[str]", page["excluded"]))
        return Approvals(withdrawal, approvals, excluded), roster_hash
    except (ValueError, KeyError, TypeError, AssertionError, Refused) as error:
        raise Corrupt("evidence in the log of signatures cannot be read") from error


def _read_standing(page: dict[str, object]) -> Standing:
    key = cast("tuple[str, int] | None", page["destination_key"])
    return Standing(str(page["mandate"]), None if key is None else KeyRef(*key))
