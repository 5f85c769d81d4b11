"""Intents: what officers approve and what one transaction may do, as bytes that hash alike.

Both are canonical messages (custody.keys.canonical has the byte format); the fields, in order:

    strongroom/spend-intent, version 1; of a batch version 2, which has the last field too
        spend_id s · kind s · cause_id s · chain s · network s · asset_key s · source s ·
        destination s · amount i · fee_max i ·
        items l of (l of cause_id s · destination s · amount i)
    strongroom/withdrawal-intent, version 3
        withdrawal_id s · customer_no i · initiator s · chain s · network s · asset_key s ·
        destination s · amount i · fee_minor i · network_fee_max i · policy_version i ·
        expires_ns i · rule s · wallet s · policy_hash s · decision_hash s · excluded l of s ·
        not_before_ns i

`kind` is one of withdrawal, sweep, top_up, cancellation, delegation, rotation, batch, owners.
Amounts are minor units, times unix nanoseconds, hashes 64 lower case hex digits. `excluded` is
sorted and names nobody twice. The hash of an intent is SHA-256 of its message.
tests/vectors/intents.json holds published examples.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import TypeAlias, cast

from chains.base import BATCH_ITEMS_MAX, SpendIntent, SpendItem, SpendKind
from core.errors import Reason, Refused
from core.ids import CUSTOMER_NO_LIMIT, ChainId
from core.money import AMOUNT_LIMIT
from custody.keys import canonical

SPEND_TAG = "strongroom/spend-intent"
WITHDRAWAL_TAG = "strongroom/withdrawal-intent"
SPEND_VERSION = 1
BATCH_VERSION = 2
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
            _check_number(name, value, limit)
        elif not _is_plain(name, value):
            raise Refused(Reason.MALFORMED, f"{name} of an intent")
        elif name == "kind":
            value = value.value
        values.append(value)
    if isinstance(intent, SpendIntent) and (intent.items or intent.kind is SpendKind.BATCH):
        version = BATCH_VERSION
        values.append(_encode_items(intent))
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


def _encode_items(spend: SpendIntent) -> tuple[canonical.Value, ...]:
    items = spend.items
    if spend.kind is not SpendKind.BATCH or type(items) is not tuple:
        raise Refused(Reason.MALFORMED, "a batch has items and nothing else has")
    if not 1 <= len(items) <= BATCH_ITEMS_MAX or any(type(one) is not SpendItem for one in items):
        raise Refused(Reason.MALFORMED, f"a batch has 1 to {BATCH_ITEMS_MAX} items")
    for one in items:
        if not (_is_plain("cause_id", one.cause_id) and _is_plain("to", one.destination)):
            raise Refused(Reason.MALFORMED, "an item of a batch")
        _check_number("amount", one.amount, AMOUNT_LIMIT)
    return tuple((one.cause_id, one.destination, one.amount) for one in items)


def _check_number(name: str, value: object, limit: int) -> None:
    if type(value) is not int or value < 0:
        raise Refused(Reason.MALFORMED, f"{name} of an intent")
    if value >= limit:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, name)


def decode(data: bytes) -> Intent:
    """Return the intent of a message; the strict inverse of encode.

    Refused: malformed, unknown_version, …
    """
    is_spend = data[1 : 1 + len(SPEND_TAG)] == SPEND_TAG.encode()
    is_batch = is_spend and data[1 + len(SPEND_TAG) :][:2] == _BATCH_MARK
    kind: type[Intent] = SpendIntent if is_spend else WithdrawalIntent
    tag, version = _SPEND if is_spend else _WITHDRAWAL
    values = canonical.decode(tag, BATCH_VERSION if is_batch else version, data)
    names = [name for name, _ in _SPEND_FIELDS if is_spend] or [
        name for name, _ in _WITHDRAWAL_FIELDS
    ]
    if len(values) != len(names) + is_batch:
        raise Refused(Reason.MALFORMED, "wrong number of fields")
    arguments = cast("dict[str, object]", dict(zip(names, values, strict=False)))
    if is_spend:
        if arguments["kind"] not in {member.value for member in SpendKind}:
            raise Refused(Reason.MALFORMED, "unknown kind of spend")
        arguments["kind"] = SpendKind(str(arguments["kind"]))
    if is_batch:
        arguments["items"] = _decode_items(values[-1])
    intent = kind(**arguments)  # type: ignore[arg-type]  # encode looks at every type
    if encode(intent) != data:
        raise Refused(Reason.MALFORMED, "not the canonical spelling")
    return intent


def _decode_items(value: canonical.Value) -> tuple[SpendItem, ...]:
    if type(value) is not tuple:
        raise Refused(Reason.MALFORMED, "items of a batch are a list")
    rows = [row for row in value if type(row) is tuple and len(row) == _ITEM_FIELDS]
    if len(rows) != len(value):
        raise Refused(Reason.MALFORMED, "an item of a batch has three fields")
    return tuple(SpendItem(*row) for row in rows)  # type: ignore[arg-type]  # so does encode


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
        value = getattr(intent, field.name)
        if field.name == "items":
            lines += _render_items(intent)
        else:
            lines += _lines(field.name, value, intent.asset_key)
    lines.append(f"  hash: {hashlib.sha256(data).hexdigest()}")
    return "\n".join(lines) + "\n"


def _render_items(intent: Intent) -> list[str]:
    items = intent.items if isinstance(intent, SpendIntent) else ()
    return [
        f"  item {number}: {one.amount} minor units to {one.destination} for {one.cause_id}"
        for number, one in enumerate(items, 1)
    ]


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
OWNERS_RULE = "owners"
"""The rule of an approval that changes who may sign for a wallet of several owners."""
KIND_OF_RULE = {ROTATION_RULE: SpendKind.ROTATION, OWNERS_RULE: SpendKind.OWNERS}
"""Rules that no policy has: the roster's own threshold counts for them."""


def explains(withdrawal: WithdrawalIntent, spend: SpendIntent) -> None:
    """Return when a spend does exactly what was approved. Refused: intent_mismatch, fee_above_cap.

    That the wallet that was approved pays is the guard's to check: it knows the key.
    """
    pairs = {
        "kind": (KIND_OF_RULE.get(withdrawal.rule, SpendKind.WITHDRAWAL), spend.kind),
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
_BATCH_MARK = BATCH_VERSION.to_bytes(2, "big")
_ITEM_FIELDS = 3
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
    tuple(
        (field.name, _INTEGER_LIMITS.get(field.name))
        for field in fields(kind)
        if field.name != "items"
    )
    for kind in (SpendIntent, WithdrawalIntent)
)
