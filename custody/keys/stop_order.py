"""Stops as officers sign them: statements that pause, freeze and resume, and who may make them.

    pause    one officer; nothing that its scope covers is signed until a quorum resumes it
    freeze   one officer for at most a day, a quorum for at most thirty; ends at its time, and
             nobody can shorten it: there is no statement that says so
    resume   a quorum; names the pauses that it lifts, so that an old one never lifts a new pause;
             its scope holds theirs, so that nobody signs for a customer and lifts the platform's

The subject of a statement is the scope: `platform`, `chain:NAME`, `asset:NAME/KEY` or
`customer:NUMBER`. Its lines are

    until NANOSECONDS        of a freeze, the first line
    lifts STATEMENT          of a resumption, once for each pause
    because TEXT             the last line

Platform and signer read and verify them alike, each with its own roster and its own clock.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from core.clock import DAY_NS
from core.errors import Corrupt, Reason, Refused
from core.ids import ChainId, CustomerNo
from custody.keys import canonical
from custody.keys.roster import Roster
from custody.keys.statement import (
    SIGNATURES_MAX,
    Statement,
    StatementKind,
    StatementSignature,
    encode,
    verify_statement,
)
from custody.keys.statement import decode as decode_statement

TAG, VERSION = "strongroom/stop", 1
PLATFORM = "platform"
ALONE_NS = DAY_NS
"""The longest freeze by one officer."""
FREEZE_NS_MAX = 30 * DAY_NS
LIFTS_MAX = 100
KINDS = frozenset({StatementKind.PAUSE, StatementKind.FREEZE, StatementKind.RESUME})
_SCOPE = re.compile(
    r"platform|chain:[!-.0-~]{1,64}|asset:[!-.0-~]{1,64}/[!-~]{1,256}|customer:[1-9][0-9]{0,9}",
    re.ASCII,
)
_ID = re.compile(r"[a-z0-9_]{8,64}", re.ASCII)
_UNTIL = re.compile(r"until ([1-9][0-9]{0,18})", re.ASCII)
_LIFTS, _BECAUSE = "lifts ", "because "


@dataclass(frozen=True, slots=True)
class StopOrder:
    """What a statement says."""

    order_id: str
    kind: StatementKind
    scope: str
    until_ns: int = 0
    """Of a freeze: its end, unix nanoseconds."""
    lifts: tuple[str, ...] = ()
    """Of a resumption: the pauses."""
    because: str = ""


@dataclass(frozen=True, slots=True)
class SignedStop:
    """A statement with its signatures, as it travels to the signer."""

    statement: Statement
    signatures: tuple[StatementSignature, ...]


def chain_scope(chain: ChainId) -> str:
    """Return the scope of everything on a chain."""
    return f"chain:{chain}"


def asset_scope(chain: ChainId, asset_key: str) -> str:
    """Return the scope of one asset."""
    return f"asset:{chain}/{asset_key}"


def customer_scope(customer_no: CustomerNo) -> str:
    """Return the scope of what one customer withdraws."""
    return f"customer:{customer_no}"


def scopes_over(
    chain: ChainId, asset_key: str, customers: Collection[CustomerNo] = ()
) -> frozenset[str]:
    """Return every scope that covers a payment."""
    own = (PLATFORM, chain_scope(chain), asset_scope(chain, asset_key))
    return frozenset({*own, *map(customer_scope, customers)})


def reaches(wide: str, scope: str) -> bool:
    """Return whether a resumption of one scope may lift a pause of another."""
    if wide in (PLATFORM, scope):
        return True
    return wide.startswith("chain:") and chain_of_scope(wide) == chain_of_scope(scope)


def chain_of_scope(scope: str) -> ChainId | None:
    """Return the chain that a scope is of, None for the platform and for customers."""
    kind, _, rest = scope.partition(":")
    return ChainId(rest.partition("/")[0]) if kind in ("chain", "asset") else None


def statement_of(order: StopOrder, *, expires_ns: int) -> Statement:
    """Return an order as the statement that officers sign. Refused: as order_of."""
    until = [f"until {order.until_ns}"] if order.kind is StatementKind.FREEZE else []
    lines = (*until, *(f"{_LIFTS}{one}" for one in order.lifts), f"{_BECAUSE}{order.because}")
    statement = Statement(order.order_id, order.kind, order.scope, lines, expires_ns)
    order_of(statement)
    return statement


def order_of(statement: Statement) -> StopOrder:
    """Return what a statement orders. Refused: malformed, too_large (more than 100 pauses)."""
    kind, lines = statement.kind, list(statement.lines)
    if kind not in KINDS or _SCOPE.fullmatch(statement.subject) is None:
        raise _malformed("a stop is of a platform, chain:, asset: or customer:")
    if _ID.fullmatch(statement.statement_id) is None:
        raise _malformed("a stop's id is 8 to 64 small letters, digits and _")
    if not lines or not lines[-1].startswith(_BECAUSE):
        raise _malformed("a stop's last line says because of what")
    because, until_ns, lifts = lines.pop()[len(_BECAUSE) :], 0, []
    if kind is StatementKind.FREEZE:
        found = _UNTIL.fullmatch(lines.pop(0)) if lines else None
        if found is None:
            raise _malformed("a freeze's first line says until when")
        until_ns = int(found.group(1))
    if kind is StatementKind.RESUME:
        if len(lines) > LIFTS_MAX:
            raise Refused(Reason.TOO_LARGE, f"at most {LIFTS_MAX} pauses")
        while lines and lines[0].startswith(_LIFTS):
            lifts.append(lines.pop(0)[len(_LIFTS) :])
        if not lifts or any(_ID.fullmatch(one) is None for one in lifts):
            raise _malformed("a resumption names the pauses that it lifts")
    if lines:
        raise _malformed(f"a {kind} with a line too many")
    return StopOrder(
        statement.statement_id, kind, statement.subject, until_ns, tuple(lifts), because
    )


def verify_stop(roster: Roster, signed: SignedStop, *, now_ns: int) -> tuple[str, ...]:
    """Return the distinct persons behind an order, enough for it.

    Refused: malformed, forbidden (a freeze longer than thirty days), approval_expired (a freeze
    that is over too), and as verify_statement.
    """
    order = order_of(signed.statement)
    needed = roster.threshold
    if order.kind is StatementKind.PAUSE:
        needed = 1
    elif order.kind is StatementKind.FREEZE:
        left_ns = order.until_ns - now_ns
        if left_ns <= 0:
            raise Refused(Reason.APPROVAL_EXPIRED, f"{order.order_id} is over")
        if left_ns > FREEZE_NS_MAX:
            raise Refused(Reason.FORBIDDEN, "nothing is frozen for more than thirty days")
        needed = 1 if left_ns <= ALONE_NS else roster.threshold
    return verify_statement(
        roster, signed.statement, signed.signatures, now_ns=now_ns, persons_min=needed
    )


def encode_signed(signed: SignedStop) -> bytes:
    """Return an order with its signatures as canonical bytes. Refused: malformed, too_large."""
    signatures = tuple((one.public_key, one.signature, one.evidence) for one in signed.signatures)
    return canonical.encode(TAG, VERSION, (encode(signed.statement), signatures))


def decode_signed(data: bytes) -> SignedStop:
    """Return the order of canonical bytes; the strict inverse. Refused: malformed, too_large."""
    values = canonical.decode(TAG, VERSION, data)
    if len(values) != 2 or type(values[0]) is not bytes or type(values[1]) is not tuple:
        raise _malformed("a signed stop has a statement and signatures")
    if len(values[1]) > SIGNATURES_MAX:
        raise Refused(Reason.TOO_LARGE, f"at most {SIGNATURES_MAX} signatures")
    signed = SignedStop(decode_statement(values[0]), tuple(map(_signature, values[1])))
    order_of(signed.statement)
    return signed


def decode_own(data: bytes) -> SignedStop:
    """Return an order from where it was stored. Corrupt: it is none."""
    try:
        return decode_signed(data)
    except Refused as refused:
        raise Corrupt(f"a stored stop cannot be read: {refused}") from refused


def _signature(values: canonical.Value) -> StatementSignature:
    if type(values) is not tuple or len(values) != 3:
        raise _malformed("a signature of a stop")
    parts = [one for one in values if isinstance(one, bytes)]
    if len(parts) != 3:
        raise _malformed("a signature of a stop")
    return StatementSignature(*parts)


def _malformed(detail: str) -> Refused:
    return Refused(Reason.MALFORMED, detail)
