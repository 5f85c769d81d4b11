"""The whole matrix of who may call what. A route that is not in here cannot be made.

A role opens a route; whose objects are seen there is decided in the route: customers see their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from custody.access import Role

PUBLIC = frozenset[Role]()
"""No key is asked for."""
EVERYBODY = frozenset(Role)
_CUSTOMER = frozenset({Role.CUSTOMER})
_OFFICER = frozenset({Role.OFFICER})
_OPS = frozenset({Role.OPS})
_WATCH = frozenset({Role.OPS, Role.AUDITOR})
_STAFF = _WATCH | _OFFICER
_OWN_OR_WATCH = _CUSTOMER | _WATCH
_OWN_OR_STAFF = _OWN_OR_WATCH | _OFFICER

ROLES: Mapping[tuple[str, str], frozenset[Role]] = MappingProxyType(
    {
        ("GET", "/livez"): PUBLIC,
        ("GET", "/readyz"): PUBLIC,
        ("GET", "/metrics"): PUBLIC,
        ("GET", "/v1/time"): PUBLIC,
        ("GET", "/v1/me"): EVERYBODY,
        ("GET", "/v1/assets"): EVERYBODY,
        ("GET", "/v1/markets"): EVERYBODY,
        ("GET", "/v1/markets/{market}/book"): EVERYBODY,
        ("GET", "/v1/markets/{market}/book/deltas"): EVERYBODY,
        ("GET", "/v1/markets/{market}/trades"): EVERYBODY,
        ("GET", "/v1/markets/{market}/candles"): EVERYBODY,
        ("POST", "/v1/markets/{market}/halt"): _OPS,
        ("POST", "/v1/markets/{market}/resume"): _OPS,
        ("POST", "/v1/customers"): _OPS,
        ("GET", "/v1/customers"): _WATCH,
        ("GET", "/v1/customers/{customer_no}"): _WATCH,
        ("POST", "/v1/api-keys"): _OPS,
        ("GET", "/v1/api-keys"): _OPS,
        ("DELETE", "/v1/api-keys/{key_id}"): _OPS,
        ("POST", "/v1/deposit-addresses"): _CUSTOMER,
        ("GET", "/v1/deposit-addresses"): _CUSTOMER,
        ("GET", "/v1/deposits"): _OWN_OR_WATCH,
        ("GET", "/v1/deposits/{deposit_id}"): _OWN_OR_WATCH,
        ("GET", "/v1/balances"): _CUSTOMER,
        ("POST", "/v1/orders"): _CUSTOMER,
        ("GET", "/v1/orders"): _CUSTOMER,
        ("DELETE", "/v1/orders"): _CUSTOMER,
        ("GET", "/v1/orders/{order_id}"): _CUSTOMER,
        ("PATCH", "/v1/orders/{order_id}"): _CUSTOMER,
        ("DELETE", "/v1/orders/{order_id}"): _CUSTOMER,
        ("GET", "/v1/fills"): _CUSTOMER,
        ("POST", "/v1/withdrawals"): _CUSTOMER,
        ("GET", "/v1/withdrawals"): _OWN_OR_STAFF,
        ("GET", "/v1/withdrawals/{withdrawal_id}"): _OWN_OR_STAFF,
        ("POST", "/v1/withdrawals/{withdrawal_id}/cancel"): _CUSTOMER,
        ("POST", "/v1/address-book"): _CUSTOMER | _OPS,
        ("GET", "/v1/address-book"): _OWN_OR_WATCH,
        ("POST", "/v1/address-book/{entry_id}/confirm"): _CUSTOMER,
        ("POST", "/v1/address-book/{entry_id}/code"): _CUSTOMER,
        ("DELETE", "/v1/address-book/{entry_id}"): _CUSTOMER | _OPS,
        ("GET", "/v1/address-book-rule"): _CUSTOMER,
        ("POST", "/v1/address-book-rule"): _CUSTOMER,
        ("POST", "/v1/customers/{customer_no}/security-changes"): _OPS,
        ("GET", "/v1/received"): _CUSTOMER,
        ("GET", "/v1/withdrawals/{withdrawal_id}/decisions"): _STAFF,
        ("GET", "/v1/screening"): _WATCH | _OFFICER,
        ("GET", "/v1/screening/cases"): _WATCH | _OFFICER,
        ("POST", "/v1/withdrawals/{withdrawal_id}/travel-rule"): _CUSTOMER | _OPS,
        ("GET", "/v1/withdrawals/{withdrawal_id}/travel-rule"): _OWN_OR_STAFF,
        ("GET", "/v1/approvals"): _OFFICER,
        ("GET", "/v1/approvals/{withdrawal_id}"): _OFFICER,
        ("POST", "/v1/withdrawals/{withdrawal_id}/approvals"): _OFFICER,
        ("POST", "/v1/passkey-registrations"): _OFFICER,
        ("POST", "/v1/passkey-registrations/{registration_id}"): _OFFICER,
        ("GET", "/v1/cosigning"): _STAFF,
        ("GET", "/v1/cosigning/{proposal_id}"): _STAFF,
        ("POST", "/v1/cosigning/{proposal_id}/signatures"): _OFFICER,
        ("GET", "/v1/cosigning/{proposal_id}/psbt"): _STAFF,
        ("POST", "/v1/cosigning/{proposal_id}/psbt"): _OFFICER,
        ("GET", "/v1/policies"): _STAFF,
        ("GET", "/v1/policies/{policy_hash}"): _STAFF,
        ("POST", "/v1/policy-drafts"): _OFFICER | _OPS,
        ("POST", "/v1/policies/{policy_hash}/propose"): _OFFICER | _OPS,
        ("POST", "/v1/policies/{policy_hash}/approvals"): _OFFICER,
        ("GET", "/v1/reserves"): EVERYBODY,
        ("GET", "/v1/reserves/{number}"): EVERYBODY,
        ("GET", "/v1/reserves/{number}/proof"): _CUSTOMER,
        ("POST", "/v1/stops"): _OFFICER | _OPS,
        ("GET", "/v1/stops"): _WATCH | _OFFICER,
        ("POST", "/v1/prices"): _OPS,
        ("GET", "/v1/prices"): _WATCH | _OFFICER,
        ("GET", "/v1/chains"): _WATCH,
        ("GET", "/v1/incidents"): _WATCH,
        ("GET", "/v1/audit-log"): _WATCH,
    }
)
