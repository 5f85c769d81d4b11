"""Stops as the tests' officers sign them."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.keys.statement import StatementKind, sign_statement
from custody.keys.stop_order import SignedStop, StopOrder, statement_of

HOUR_NS = 3_600 * 10**9


def signed(order: StopOrder, *keys: Ed25519PrivateKey, expires_ns: int) -> SignedStop:
    """Return an order with signatures."""
    statement = statement_of(order, expires_ns=expires_ns)
    return SignedStop(statement, tuple(sign_statement(key, statement) for key in keys))


def pause(name: str, scope: str, *keys: Ed25519PrivateKey, now_ns: int) -> SignedStop:
    """Return a pause."""
    order = StopOrder(name, StatementKind.PAUSE, scope, because="a drill")
    return signed(order, *keys, expires_ns=now_ns + HOUR_NS)


def freeze(
    name: str, scope: str, *keys: Ed25519PrivateKey, now_ns: int, hours: int = 24
) -> SignedStop:
    """Return a freeze that ends in so many hours."""
    until_ns = now_ns + hours * HOUR_NS
    order = StopOrder(name, StatementKind.FREEZE, scope, until_ns=until_ns, because="a drill")
    return signed(order, *keys, expires_ns=now_ns + HOUR_NS)


def resume(
    name: str, lifts: Sequence[str], *keys: Ed25519PrivateKey, now_ns: int, scope: str = "platform"
) -> SignedStop:
    """Return a resumption."""
    order = StopOrder(name, StatementKind.RESUME, scope, lifts=tuple(lifts), because="all is well")
    return signed(order, *keys, expires_ns=now_ns + HOUR_NS)
