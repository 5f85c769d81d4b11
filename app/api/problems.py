"""Problem documents (RFC 9457): one stable code for everything that is not done.

`code` is a value of core.errors.Reason, or one of the codes below that only the network knows.
Clients route on codes, never on texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from core.errors import OutcomeUnknown, Reason, Refused, Unavailable

MEDIA_TYPE = "application/problem+json"

METHOD_NOT_ALLOWED = "method_not_allowed"
RATE_LIMITED = "rate_limited"
UNAVAILABLE = "unavailable"
OUTCOME_UNKNOWN = "outcome_unknown"
INTERNAL = "internal"
OWN_CODES: Mapping[str, int] = MappingProxyType(
    {
        METHOD_NOT_ALLOWED: 405,
        RATE_LIMITED: 429,
        UNAVAILABLE: 503,
        OUTCOME_UNKNOWN: 503,
        INTERNAL: 500,
    }
)

_R = Reason
STATUS: Mapping[Reason, int] = MappingProxyType(
    {
        _R.UNAUTHENTICATED: 401,
        _R.FORBIDDEN: 403,
        _R.MALFORMED: 400,
        _R.MALFORMED_AMOUNT: 400,
        _R.AMOUNT_OUT_OF_RANGE: 400,
        _R.MISSING_FIELD: 400,
        _R.TOO_LARGE: 413,
        _R.UNKNOWN_VERSION: 400,
        _R.UNDECODABLE: 400,
        _R.IDEMPOTENCY_KEY_MISSING: 400,
        _R.IDEMPOTENCY_KEY_REUSED: 422,
        _R.IN_PROGRESS: 409,
        _R.EXISTS_WITH_OTHER_CONTENT: 409,
        _R.DUPLICATE_OTHER_CONTENT: 409,
        _R.ISSUED_TOO_LONG_AGO: 422,
        _R.ISSUED_IN_FUTURE: 422,
        _R.NOT_FOUND: 404,
        _R.UNKNOWN_CUSTOMER: 404,
        _R.UNKNOWN_ASSET: 404,
        _R.UNKNOWN_MARKET: 404,
        _R.UNKNOWN_ORDER: 404,
        _R.UNKNOWN_HOLD: 404,
        _R.UNKNOWN_ACCOUNT: 404,
        _R.UNKNOWN_CHAIN: 404,
        _R.UNKNOWN_KEY: 404,
        _R.ASSET_MISMATCH: 422,
        _R.SAME_ACCOUNT: 422,
        _R.FROZEN: 409,
        _R.PAUSED: 409,
        _R.SECURITY_HOLD: 409,
        _R.MARKET_RETIRED: 409,
        _R.MARKET_HALTED: 409,
        _R.ILLEGAL_TRANSITION: 409,
        _R.INVALID_PRICE: 422,
        _R.OUTSIDE_COLLAR: 422,
        _R.INVALID_QUANTITY: 422,
        _R.INVALID_COMBINATION: 422,
        _R.PRICE_BAND: 422,
        _R.TOO_MANY_ORDERS: 422,
        _R.TOO_MANY_LEVELS: 422,
        _R.WOULD_CROSS: 422,
        _R.WOULD_NOT_FILL: 422,
        _R.SELF_TRADE: 422,
        _R.ZERO_AMOUNT: 422,
        _R.BELOW_MINIMUM: 422,
        _R.EXCEEDS_AVAILABLE: 422,
        _R.BALANCE_OVERFLOW: 422,
        _R.INVALID_ADDRESS: 422,
        _R.OWN_ADDRESS: 422,
        _R.FORBIDDEN_DESTINATION: 422,
        _R.LOOK_ALIKE: 422,
        _R.NOT_IN_ADDRESS_BOOK: 422,
        _R.COOLING_DOWN: 409,
        _R.WRONG_CODE: 403,
        _R.TOO_MANY_ENTRIES: 422,
        _R.SCREENING_HOLD: 409,
        _R.TRAVEL_RULE_MISSING: 422,
        _R.UNKNOWN_POLICY: 409,
        _R.POLICY_BLOCKED: 403,
        _R.VELOCITY_EXCEEDED: 409,
        _R.TOO_EARLY: 409,
        _R.REJECTED_BY_OFFICER: 409,
        _R.INITIATOR_CANNOT_APPROVE: 403,
        _R.NOT_AN_OFFICER: 403,
        _R.NOT_AN_OWNER: 403,
        _R.ALREADY_APPROVED: 409,
        _R.BAD_SIGNATURE: 422,
        _R.APPROVAL_EXPIRED: 409,
        _R.QUORUM_NOT_MET: 409,
        _R.INTENT_MISMATCH: 422,
        _R.WRONG_NETWORK: 422,
        _R.MISSING_NETWORK: 422,
        _R.DELEGATE_CALL: 422,
        _R.APPROVAL_CALL: 422,
        _R.OWNER_CHANGE: 422,
        _R.UNKNOWN_CALL: 422,
        _R.FOREIGN_DELEGATE: 422,
        _R.FOREIGN_INPUT: 422,
        _R.FOREIGN_CHANGE: 422,
        _R.UNPROVEN_AMOUNT: 422,
        _R.SIGNATURE_SCOPE: 422,
        _R.EXTRA_EFFECT: 422,
        _R.FEE_ABOVE_CAP: 422,
        _R.SIGNER_LIMIT: 409,
        _R.SIGNER_CLOCK: 409,
        _R.EQUIVOCATION: 409,
        _R.MAIN_NETWORK: 403,
        _R.STALE_SIGNER: 409,
        _R.ROSTER_MISMATCH: 409,
        _R.WRONG_PASSPHRASE: 403,
        _R.WRONG_PIN: 403,
        _R.WEAK_KEY: 422,
        _R.BAD_SHARE: 422,
        _R.BAD_ATTESTATION: 500,
    }
)
RETRYABLE = frozenset({_R.IN_PROGRESS.value, RATE_LIMITED, UNAVAILABLE})
"""The same request may be sent again unchanged. An unknown outcome is looked up first."""


class Fault(BaseModel):
    """One field that is not as it must be."""

    model_config = ConfigDict(extra="forbid")

    pointer: Annotated[str, Field(description="JSON pointer into the body, or query/<name>")]
    code: str


class Problem(BaseModel):
    """What was not done, and why."""

    model_config = ConfigDict(extra="forbid")

    type: Annotated[str, Field(pattern=r"^urn:strongroom:problem:[a-z_]+$")]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    instance: Annotated[str, Field(description="The path that was asked for")]
    code: Annotated[str, Field(pattern=r"^[a-z_]+$")]
    request_id: str
    retryable: Annotated[bool, Field(description="The same request may be sent again unchanged")]
    errors: list[Fault] | None = None
    outcome: Annotated[
        str | None, Field(description="'unknown': it may have been done; look it up first")
    ] = None
    lookup: Annotated[str | None, Field(description="Where to look it up")] = None
    withdrawal_id: str | None = None


def status_of(code: str) -> int:
    """Return the HTTP status of a code."""
    own = OWN_CODES.get(code)
    return STATUS[Reason(code)] if own is None else own


def problem(
    request: Request,
    code: str,
    detail: str,
    *,
    status: int | None = None,
    errors: Sequence[Fault] | None = None,
    outcome: str | None = None,
    lookup: str | None = None,
    withdrawal_id: str | None = None,
) -> Problem:
    """Return the document; its status follows from the code unless one is given."""
    return Problem(
        type=f"urn:strongroom:problem:{code}",
        title=code.replace("_", " ").capitalize(),
        status=status_of(code) if status is None else status,
        detail=detail,
        instance=request.url.path,
        code=code,
        request_id=request_id_of(request),
        retryable=code in RETRYABLE,
        errors=list(errors) if errors else None,
        outcome=outcome,
        lookup=lookup,
        withdrawal_id=withdrawal_id,
    )


def request_id_of(request: Request) -> str:
    """Return the id that the log has this request under."""
    found: str = getattr(request.state, "request_id", "req_unknown")
    return found


def text_of(document: Problem) -> str:
    """Return the document as JSON; what does not apply is left out."""
    return document.model_dump_json(exclude_none=True)


def respond(document: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Return the document as a response."""
    return Response(
        text_of(document), document.status, headers=dict(headers or {}), media_type=MEDIA_TYPE
    )


def of_refusal(request: Request, refused: Refused) -> Response:
    """Answer what the caller asked for and cannot have."""
    code = refused.reason.value
    headers = {}
    if refused.reason is Reason.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = 'Bearer realm="strongroom"'
    if refused.reason is Reason.IN_PROGRESS:
        headers["Retry-After"] = "1"
    return respond(problem(request, code, refused.detail or code.replace("_", " ")), headers)


def of_outage(request: Request, error: Unavailable, *, lookup: str | None = None) -> Response:
    """Answer that something outside did not do its part; its own words stay in the log."""
    headers = {"Retry-After": str(max(1, -(-error.retry_after_ms // 1_000)))}
    if isinstance(error, OutcomeUnknown):
        where = lookup or getattr(request.state, "lookup", None)
        document = problem(
            request,
            OUTCOME_UNKNOWN,
            "It may or may not have been done. Look it up before asking again; with the same id or"
            " Idempotency-Key it can be asked again without harm.",
            outcome="unknown",
            lookup=where,
        )
    else:
        detail = "Nothing was done; the same request may be sent again."
        document = problem(request, UNAVAILABLE, detail)
    return respond(document, headers)
