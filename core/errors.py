"""The one drawn tree of errors.

    StrongroomError
    ├── Refused(reason)     the caller's: answered with its reason, nothing was done
    ├── Unavailable(what)   the world's: retried later, nothing half-done was left behind
    └── Corrupt(what)       ours: stop and page; nobody catches it below a process's outermost loop

`Reason` is closed. Its values are published in the API and are never reused or renamed. When
several reasons hold, the one that stands first is given.
"""

from __future__ import annotations

import enum


class Reason(enum.StrEnum):
    """Why something was refused, in order of precedence."""

    # who is asking
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    # is it understandable
    MALFORMED = "malformed"
    MALFORMED_AMOUNT = "malformed_amount"
    AMOUNT_OUT_OF_RANGE = "amount_out_of_range"
    MISSING_FIELD = "missing_field"
    TOO_LARGE = "too_large"
    UNKNOWN_VERSION = "unknown_version"
    UNDECODABLE = "undecodable"
    # idempotency
    IDEMPOTENCY_KEY_MISSING = "idempotency_key_missing"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    IN_PROGRESS = "in_progress"
    EXISTS_WITH_OTHER_CONTENT = "exists_with_other_content"
    DUPLICATE_OTHER_CONTENT = "duplicate_other_content"
    ISSUED_TOO_LONG_AGO = "issued_too_long_ago"
    ISSUED_IN_FUTURE = "issued_in_future"
    # does it exist
    NOT_FOUND = "not_found"
    UNKNOWN_CUSTOMER = "unknown_customer"
    UNKNOWN_ASSET = "unknown_asset"
    UNKNOWN_MARKET = "unknown_market"
    UNKNOWN_ORDER = "unknown_order"
    UNKNOWN_HOLD = "unknown_hold"
    UNKNOWN_ACCOUNT = "unknown_account"
    UNKNOWN_CHAIN = "unknown_chain"
    UNKNOWN_KEY = "unknown_key"
    ASSET_MISMATCH = "asset_mismatch"
    SAME_ACCOUNT = "same_account"
    # may it happen now
    FROZEN = "frozen"
    PAUSED = "paused"
    SECURITY_HOLD = "security_hold"
    MARKET_RETIRED = "market_retired"
    MARKET_HALTED = "market_halted"
    ILLEGAL_TRANSITION = "illegal_transition"
    # orders
    INVALID_PRICE = "invalid_price"
    OUTSIDE_COLLAR = "outside_collar"
    INVALID_QUANTITY = "invalid_quantity"
    INVALID_COMBINATION = "invalid_combination"
    PRICE_BAND = "price_band"
    TOO_MANY_ORDERS = "too_many_orders"
    TOO_MANY_LEVELS = "too_many_levels"
    WOULD_CROSS = "would_cross"
    WOULD_NOT_FILL = "would_not_fill"
    SELF_TRADE = "self_trade"
    # money
    ZERO_AMOUNT = "zero_amount"
    BELOW_MINIMUM = "below_minimum"
    EXCEEDS_AVAILABLE = "exceeds_available"
    BALANCE_OVERFLOW = "balance_overflow"
    # withdrawals, approvals, signing
    INVALID_ADDRESS = "invalid_address"
    OWN_ADDRESS = "own_address"
    FORBIDDEN_DESTINATION = "forbidden_destination"
    LOOK_ALIKE = "look_alike"
    NOT_IN_ADDRESS_BOOK = "not_in_address_book"
    COOLING_DOWN = "cooling_down"
    WRONG_CODE = "wrong_code"
    TOO_MANY_ENTRIES = "too_many_entries"
    SCREENING_HOLD = "screening_hold"
    TRAVEL_RULE_MISSING = "travel_rule_missing"
    UNKNOWN_POLICY = "unknown_policy"
    POLICY_BLOCKED = "policy_blocked"
    VELOCITY_EXCEEDED = "velocity_exceeded"
    TOO_EARLY = "too_early"
    REJECTED_BY_OFFICER = "rejected_by_officer"
    INITIATOR_CANNOT_APPROVE = "initiator_cannot_approve"
    NOT_AN_OFFICER = "not_an_officer"
    NOT_AN_OWNER = "not_an_owner"
    ALREADY_APPROVED = "already_approved"
    BAD_SIGNATURE = "bad_signature"
    APPROVAL_EXPIRED = "approval_expired"
    QUORUM_NOT_MET = "quorum_not_met"
    INTENT_MISMATCH = "intent_mismatch"
    WRONG_NETWORK = "wrong_network"
    MISSING_NETWORK = "missing_network"
    DELEGATE_CALL = "delegate_call"
    APPROVAL_CALL = "approval_call"
    OWNER_CHANGE = "owner_change"
    UNKNOWN_CALL = "unknown_call"
    FOREIGN_DELEGATE = "foreign_delegate"
    FOREIGN_INPUT = "foreign_input"
    FOREIGN_CHANGE = "foreign_change"
    UNPROVEN_AMOUNT = "unproven_amount"
    SIGNATURE_SCOPE = "signature_scope"
    EXTRA_EFFECT = "extra_effect"
    FEE_ABOVE_CAP = "fee_above_cap"
    SIGNER_LIMIT = "signer_limit"
    SIGNER_CLOCK = "signer_clock"
    EQUIVOCATION = "equivocation"
    MAIN_NETWORK = "main_network"
    STALE_SIGNER = "stale_signer"
    ROSTER_MISMATCH = "roster_mismatch"
    # keys
    WRONG_PASSPHRASE = "wrong_passphrase"
    WRONG_PIN = "wrong_pin"
    WEAK_KEY = "weak_key"
    BAD_SHARE = "bad_share"
    BAD_ATTESTATION = "bad_attestation"


class StrongroomError(Exception):
    """Root of the tree; never raised itself."""


class Refused(StrongroomError):
    """The request cannot be carried out as asked; asking again unchanged gives the same answer."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail


class Unavailable(StrongroomError):
    """Something outside did not do its part.

    Nothing was changed and the same request may be retried.
    """

    def __init__(self, what: str, retry_after_ms: int = 1_000) -> None:
        super().__init__(what)
        self.what = what
        self.retry_after_ms = retry_after_ms


class InUse(Unavailable):
    """Another living process has what only one may use."""


class OutcomeUnknown(Unavailable):
    """A command may have been carried out; look it up by its id before asking again."""


class Corrupt(StrongroomError):
    """Our own records contradict each other; the process must stop and a person must look."""
