"""The record of a decision: what it was made of and what came out, as text of one spelling.

Canonical JSON: keys sorted, no spaces, ASCII; amounts, prices, times and durations are decimal
strings, so that every reader keeps them exactly. A decision's hash is SHA-256 of the record, and
`repeated` makes the decision again from nothing but the record and the policies it names.
"""

from __future__ import annotations

import enum
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import Reason, Refused
from core.ids import ChainId
from custody.policy.decide import decide, decide_release
from custody.policy.decision import Charge, Decision, Outcome, Requirement, Stage, TraceLine
from custody.policy.quorum import Quorum
from custody.policy.request import (
    Destination,
    DestinationKind,
    Facts,
    Finding,
    Movement,
    PolicyRequest,
    Price,
    Verdict,
)
from custody.policy.rules import Policy

RECORD_VERSION = 1
RECORD_BYTES_MAX = 1 << 20
DEPTH_MAX = 64
_BRACKETS = re.compile(r"[][{}]")


class Moment(enum.StrEnum):
    """When a decision was made."""

    REQUEST = "request"
    RELEASE = "release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One decision with everything it depends on."""

    moment: Moment
    policy_hash: bytes
    newest_hash: bytes
    """Of the policy whose denies counted."""
    request: PolicyRequest
    facts: Facts
    taken: Decision | None
    """Of a release: the decision of the submission."""
    decision: Decision


def recorded(
    policy: Policy,
    request: PolicyRequest,
    facts: Facts,
    *,
    newest: Policy | None = None,
    taken: Decision | None = None,
) -> Record:
    """Decide, and return the record: of a release when `taken` is given, else of a submission."""
    if taken is None:
        decision = decide(policy, request, facts, newest=newest)
    else:
        decision = decide_release(policy, request, facts, taken, newest=newest)
    return Record(
        moment=Moment.REQUEST if taken is None else Moment.RELEASE,
        policy_hash=policy.hash,
        newest_hash=(policy if newest is None else newest).hash,
        request=request,
        facts=facts,
        taken=taken,
        decision=decision,
    )


def repeated(record: Record, policies: Mapping[bytes, Policy]) -> Record:
    """Make a decision again from its record. Refused: unknown_policy."""
    for wanted in (record.policy_hash, record.newest_hash):
        if wanted not in policies:
            raise Refused(Reason.UNKNOWN_POLICY, f"no policy with hash {wanted.hex()}")
    return recorded(
        policies[record.policy_hash],
        record.request,
        record.facts,
        newest=policies[record.newest_hash],
        taken=record.taken,
    )


def encode_record(record: Record) -> str:
    """Return the one spelling of a record."""
    return canonical_json(
        {
            "version": RECORD_VERSION,
            "moment": record.moment.value,
            "policy": record.policy_hash.hex(),
            "newest": record.newest_hash.hex(),
            "request": request_fields(record.request),
            "facts": facts_fields(record.facts),
            "taken": None if record.taken is None else decision_fields(record.taken),
            "decision": decision_fields(record.decision),
        }
    )


def decision_hash(record: Record) -> bytes:
    """Return what approvals and signatures carry of a decision: SHA-256 of its record."""
    return hashlib.sha256(encode_record(record).encode("ascii")).digest()


def decode_record(text: str) -> Record:
    """Read a record back. Refused: malformed (also another spelling), unknown_version."""
    if len(text) > RECORD_BYTES_MAX:
        raise Refused(Reason.TOO_LARGE, "a record has at most 1 MiB")
    if _is_deep(text):
        raise Refused(Reason.MALFORMED, "a record of a decision is no deeper than its fields")
    try:
        page = json.loads(text)
        if page.get("version") != RECORD_VERSION:
            raise Refused(Reason.UNKNOWN_VERSION, "record of a decision")
        record = Record(
            moment=Moment(page["moment"]),
            policy_hash=bytes.fromhex(page["policy"]),
            newest_hash=bytes.fromhex(page["newest"]),
            request=request_of(page["request"]),
            facts=facts_of(page["facts"]),
            taken=None if page["taken"] is None else decision_of(page["taken"]),
            decision=decision_of(page["decision"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refused(Reason.MALFORMED, "record of a decision") from error
    if encode_record(record) != text:
        raise Refused(Reason.MALFORMED, "a record of a decision has one spelling")
    return record


def canonical_json(page: object) -> str:
    """Return JSON with sorted keys and no spaces, ASCII only."""
    return json.dumps(page, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def request_fields(request: PolicyRequest) -> dict[str, Any]:
    """Return a request as plain values."""
    price, destination, effects = request.price, request.destination, request.effects
    return {
        "request_id": request.request_id,
        "kind": request.kind,
        "initiator": request.initiator,
        "roles": sorted(request.roles),
        "customer_no": request.customer_no,
        "chain": request.chain,
        "asset_key": request.asset_key,
        "scale": request.scale,
        "amount": str(request.amount),
        "price": None
        if price is None
        else {"value": str(price.value), "at_ns": str(price.at_ns), "source": price.source},
        "wallet": request.wallet,
        "destination": {
            "address": destination.address,
            "kind": destination.kind.value,
            "tag": destination.tag,
            "entry": destination.entry,
            "entry_age_ns": _text(destination.entry_age_ns),
            "last_editor": destination.last_editor,
        },
        "effects": None
        if effects is None
        else [
            {"asset_key": one.asset_key, "destination": one.destination, "amount": str(one.amount)}
            for one in effects
        ],
        "now_ns": str(request.now_ns),
    }


def request_of(page: Mapping[str, Any]) -> PolicyRequest:
    """Read a request back. ValueError, KeyError, TypeError: it is none."""
    price, destination, effects = page["price"], page["destination"], page["effects"]
    return PolicyRequest(
        request_id=_str(page["request_id"]),
        kind=_str(page["kind"]),
        initiator=_str(page["initiator"]),
        roles=frozenset(map(_str, page["roles"])),
        customer_no=None if page["customer_no"] is None else _int(page["customer_no"]),
        chain=ChainId(_str(page["chain"])),
        asset_key=_str(page["asset_key"]),
        scale=_int(page["scale"]),
        amount=int(page["amount"]),
        price=None
        if price is None
        else Price(int(price["value"]), int(price["at_ns"]), _str(price["source"])),
        wallet=_str(page["wallet"]),
        destination=Destination(
            _str(destination["address"]),
            DestinationKind(destination["kind"]),
            tag=_optional(destination["tag"]),
            entry=_optional(destination["entry"]),
            entry_age_ns=_number(destination["entry_age_ns"]),
            last_editor=_optional(destination["last_editor"]),
        ),
        effects=None
        if effects is None
        else tuple(
            Movement(_str(one["asset_key"]), _str(one["destination"]), int(one["amount"]))
            for one in effects
        ),
        now_ns=int(page["now_ns"]),
    )


def facts_fields(facts: Facts) -> dict[str, Any]:
    """Return facts as plain values."""
    return {
        **{name: [_finding_fields(one) for one in getattr(facts, name)] for name in _FINDINGS},
        "used": {key: str(amount) for key, amount in facts.used.items()},
    }


def facts_of(page: Mapping[str, Any]) -> Facts:
    """Read facts back. ValueError, KeyError, TypeError: they are none."""
    stops, screening, destination = (tuple(map(_finding, page[name])) for name in _FINDINGS)
    used = {key: int(amount) for key, amount in page["used"].items()}
    return Facts(stops, screening, destination, used)


def decision_fields(decision: Decision) -> dict[str, Any]:
    """Return a decision as plain values."""
    required = decision.requirement
    return {
        "outcome": decision.outcome.value,
        "code": decision.code,
        "rule": decision.rule,
        "requirement": None
        if required is None
        else {
            "quorum": required.quorum.text,
            "delay_ns": str(required.delay_ns),
            "expiry_ns": str(required.expiry_ns),
            "signers": list(required.signers),
            "exclude": list(required.exclude),
        },
        "charges": [
            {
                "bucket": one.bucket,
                "key": one.key,
                "amount": str(one.amount),
                "cap": str(one.cap),
                "window_ns": str(one.window_ns),
            }
            for one in decision.charges
        ],
        "trace": [
            [one.stage.value, one.rule, one.condition, one.observed, one.verdict]
            for one in decision.trace
        ],
        "policy": decision.policy_hash.hex(),
    }


def decision_of(page: Mapping[str, Any]) -> Decision:
    """Read a decision back. ValueError, KeyError, TypeError, Refused: it is none."""
    required = page["requirement"]
    return Decision(
        outcome=Outcome(page["outcome"]),
        code=_str(page["code"]),
        rule=_str(page["rule"]),
        requirement=None
        if required is None
        else Requirement(
            Quorum.parse(required["quorum"]),
            int(required["delay_ns"]),
            int(required["expiry_ns"]),
            tuple(map(_str, required["signers"])),
            tuple(map(_str, required["exclude"])),
        ),
        charges=tuple(
            Charge(
                _str(one["bucket"]),
                _str(one["key"]),
                int(one["amount"]),
                int(one["cap"]),
                int(one["window_ns"]),
            )
            for one in page["charges"]
        ),
        trace=tuple(
            TraceLine(Stage(stage), *(_str(one) for one in (rule, condition, observed, verdict)))
            for stage, rule, condition, observed, verdict in page["trace"]
        ),
        policy_hash=bytes.fromhex(page["policy"]),
    )


_FINDINGS = ("stops", "screening", "destination")


def _finding_fields(finding: Finding) -> dict[str, str]:
    return {"verdict": finding.verdict.value, "code": finding.code, "detail": finding.detail}


def _finding(page: Mapping[str, Any]) -> Finding:
    return Finding(Verdict(page["verdict"]), _str(page["code"]), _str(page["detail"]))


def _str(value: object) -> str:
    if type(value) is not str:
        raise TypeError("a text")
    return value


def _optional(value: object) -> str | None:
    return None if value is None else _str(value)


def _int(value: object) -> int:
    if type(value) is not int:
        raise TypeError("an integer")
    return value


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _is_deep(text: str) -> bool:
    """Return whether brackets nest deeper than any record's.

    Some libraries raise the interpreter's limit of recursion so far that a deep text would end the
    process instead of raising an error.
    """
    depth = 0
    for bracket in _BRACKETS.finditer(text):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > DEPTH_MAX:
            return True
    return False
