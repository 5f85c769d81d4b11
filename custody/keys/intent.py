"""Intents: what officers approve and what one transaction may do, as bytes that hash alike.

Both are canonical messages (custody.keys.canonical has the byte format); the fields, in order:

    strongroom/spend-intent, version 1
        spend_id s · kind s · cause_id s · chain s · network s · asset_key s · source s ·
        destination s · amount i · fee_max i
    strongroom/withdrawal-intent, version 3
        withdrawal_id s · customer_no i · initiator s · chain s · network s · asset_key s ·
        destination s · amount i · fee_minor i · network_fee_max i · policy_version i ·
        expires_ns i · rule s · wallet s · policy_hash s · decision_hash s · excluded l of s ·
        not_before_ns i

`kind` is one of withdrawal, sweep, top_up, cancellation, delegation, rotation. Amounts are minor
units, times unix nanoseconds, hashes 64 lower case hex digits. `excluded` is sorted and names
nobody twice. The hash of an intent is SHA-256 of its message.
tests/vectors/intents.json holds published examples.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import TypeAlias, cast

from chains.base import SpendIntent, SpendKind
from core.errors import Reason, Refused
from core.ids import CUSTOMER_NO_LIMIT, ChainId
from core.money import AMOUNT_LIMIT
from custody.keys import canonical

SPEND_TAG = "strongroom/spend-intent"
WITHDRAWAL_TAG = "strongroom/withdrawal-intent"
SPEND_VERSION = 1
WITHDRAWAL_VERSION = 3
TEXT_MAX = 256
EXCLUDED_MAX = 64
NO_POLICY = "0" * 64
"""The hashes of an intent that no policy decided: the move of a wallet to its new keys."""
TIME_LIMIT_NS = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalIntent:
    """What officers approve.

    Whatever is not in here, a signature for the withdrawal cannot depend on.
    """

    withdrawal_id: str
    customer_no: int
    initiator: str
    """Who asked: a person, or `customer:<number>`; may not approve it."""
    chain: ChainId
    network: str
    asset_key: str
    destination: str
    amount: int
    """Minor units that arrive at the destination."""
    fee_minor: int
    """Flat fee the customer pays to us, in the same asset."""
    network_fee_max: int
    """Most native units the transaction may cost us."""
    policy_version: int
    """Serial of the policy that decided."""
    expires_ns: int
    """From this time on the approvals are worth nothing."""
    rule: str = "quorum"
    """The rule of the policy that asked for approvals."""
    wallet: str
    """The account that pays, as `hot`; never another."""
    policy_hash: str
    """SHA-256 of the policy that decided, in hex."""
    decision_hash: str
    """Hash of the decision with everything it was made of, in hex."""
    excluded: tuple[str, ...]
    """Who may not approve, beside the initiator: the last editor of the destination, …; sorted."""
    not_before_ns: int
    """Nothing is signed before this time: the request's time plus the rule's delay."""


Intent: TypeAlias = SpendIntent | WithdrawalIntent


def encode(intent: Intent) -> bytes:
    """Return the canonical message of an intent. Refused: malformed, amount_out_of_range."""
    is_spend = isinstance(intent, SpendIntent)
    tag, version = _SPEND if is_spend else _WITHDRAWAL
    values: list[canonical.Value] = []
    for name, limit in _SPEND_FIELDS if is_spend else _WITHDRAWAL_FIELDS:
        value = getattr(intent, name)
        if limit is not None:
            if type(value) is not int or value < 0:
                raise Refused(Reason.MALFORMED, f"{name} of an intent")
            if value >= limit:
                raise Refused(Reason.AMOUNT_OUT_OF_RANGE, name)
        elif not _is_plain(name, value):
            raise Refused(Reason.MALFORMED, f"{name} of an intent")
        elif name == "kind":
            value = value.value
        values.append(value)
    return canonical.encode(tag, version, values)


def _is_plain(name: str, value: object) -> bool:
    if name == "kind":
        return type(value) is SpendKind
    if name == "excluded":
        return (
            type(value) is tuple
            and len(value) <= EXCLUDED_MAX
            and all(_is_plain("person", one) for one in value)
            and list(value) == sorted(set(value))
        )
    if type(value) is not str or not 0 < len(value) <= TEXT_MAX:
        return False
    return name not in _HASHES or (len(value) == 64 and set(value) <= _HEX_DIGITS)


def decode(data: bytes) -> Intent:
    """Return the intent of a message; the strict inverse of encode.

    Refused: malformed, unknown_version, …
    """
    is_spend = data[1 : 1 + len(SPEND_TAG)] == SPEND_TAG.encode()
    kind: type[Intent] = SpendIntent if is_spend else WithdrawalIntent
    tag, version = _SPEND if is_spend else _WITHDRAWAL
    values = canonical.decode(tag, version, data)
    names = [field.name for field in fields(kind)]
    if len(values) != len(names):
        raise Refused(Reason.MALFORMED, "wrong number of fields")
    arguments = cast("dict[str, object]", dict(zip(names, values, strict=True)))
    if is_spend:
        if arguments["kind"] not in {member.value for member in SpendKind}:
            raise Refused(Reason.MALFORMED, "unknown kind of spend")
        arguments["kind"] = SpendKind(str(arguments["kind"]))
    intent = kind(**arguments)  # type: ignore[arg-type]  # _check looks at every type
    if encode(intent) != data:
        raise Refused(Reason.MALFORMED, "not the canonical spelling")
    return intent


def intent_hash(intent: Intent) -> bytes:
    """Return the 32 bytes that stand for an intent in approvals, records and logs."""
    return hashlib.sha256(encode(intent)).digest()


def render(intent: Intent) -> str:
    """Return an intent as text for a person; depends on nothing but the encoded bytes."""
    return render_bytes(encode(intent))


def render_bytes(data: bytes) -> str:
    """Return the text of an encoded intent: one `name: value` per line, then the hash.

    Refused as decode.
    """
    intent = decode(data)
    lines = ["spend intent" if isinstance(intent, SpendIntent) else "withdrawal intent"]
    for field in fields(intent):
        lines += _lines(field.name, getattr(intent, field.name), intent.asset_key)
    lines.append(f"  hash: {hashlib.sha256(data).hexdigest()}")
    return "\n".join(lines) + "\n"


def _lines(name: str, value: object, asset_key: str) -> list[str]:
    """Return one field as text; what is listed has a line for each."""
    text = value.value if isinstance(value, SpendKind) else str(value)
    if isinstance(value, tuple):
        persons = [f"    - {one}" for one in value]
        return [f"  {name}: {len(persons) or 'nobody'}", *persons]
    if name in _TIMES and isinstance(value, int):
        text += f" ({moment_text(value)})" if value else " (at once)"
    elif name in {"amount", "fee_minor"}:
        text += f" minor units of {asset_key}"
    elif name in {"fee_max", "network_fee_max"}:
        text += " native minor units"
    return [f"  {name}: {text}"]


def moment_text(at_ns: int) -> str:
    """Return a time for a person, to the second."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=at_ns // 10**9)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


ROTATION_RULE = "rotation"
"""The rule of an approval that moves a wallet to new keys, and of no other."""


def explains(withdrawal: WithdrawalIntent, spend: SpendIntent) -> None:
    """Return when a spend does exactly what was approved. Refused: intent_mismatch, fee_above_cap.

    That the wallet that was approved pays is the guard's to check: it knows the key.
    """
    is_rotation = withdrawal.rule == ROTATION_RULE
    pairs = {
        "kind": (SpendKind.ROTATION if is_rotation else SpendKind.WITHDRAWAL, spend.kind),
        "withdrawal_id": (withdrawal.withdrawal_id, spend.cause_id),
        "chain": (withdrawal.chain, spend.chain),
        "network": (withdrawal.network, spend.network),
        "asset_key": (withdrawal.asset_key, spend.asset_key),
        "destination": (withdrawal.destination, spend.destination),
        "amount": (withdrawal.amount, spend.amount),
    }
    for name, (approved, asked) in pairs.items():
        if type(approved) is not type(asked) or approved != asked:
            raise Refused(Reason.INTENT_MISMATCH, f"{name}: approved {approved}, asked {asked}")
    if spend.fee_max > withdrawal.network_fee_max:
        raise Refused(
            Reason.FEE_ABOVE_CAP, f"{spend.fee_max} is above {withdrawal.network_fee_max}"
        )


_SPEND = (SPEND_TAG, SPEND_VERSION)
_WITHDRAWAL = (WITHDRAWAL_TAG, WITHDRAWAL_VERSION)
_INTEGER_LIMITS = {
    "customer_no": CUSTOMER_NO_LIMIT,
    "amount": AMOUNT_LIMIT,
    "fee_minor": AMOUNT_LIMIT,
    "network_fee_max": AMOUNT_LIMIT,
    "fee_max": AMOUNT_LIMIT,
    "policy_version": 1 << 32,
    "expires_ns": TIME_LIMIT_NS,
    "not_before_ns": TIME_LIMIT_NS,
}
_TIMES = frozenset({"expires_ns", "not_before_ns"})
_HASHES = frozenset({"policy_hash", "decision_hash"})
_HEX_DIGITS = frozenset("0123456789abcdef")
_SPEND_FIELDS, _WITHDRAWAL_FIELDS = (
    tuple((field.name, _INTEGER_LIMITS.get(field.name)) for field in fields(kind))
    for kind in (SpendIntent, WithdrawalIntent)
)
