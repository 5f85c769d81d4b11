"""Lifting a payment to us that pays too little: a child of it pays for both (CPFP).

For operators: nothing here runs by itself. What is lifted is the whole package, the waiting
transactions that the payment depends on included, so that a miner earns the wished rate by taking
all of it. Limits are those of nodes at their defaults (25 transactions, 101,000 virtual bytes, in
either direction). Source: Bitcoin Core, policy/policy.h and doc/policy/packages.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from chains.bitcoin.fees import RELAY_STEP
from chains.bitcoin.node import BitcoinNode
from chains.bitcoin.params import COIN, SUPPLY_MAX
from chains.rpc import RpcError, required
from core.errors import Reason, Refused, Unavailable

COUNT_MAX = 25
SIZE_MAX = 101_000


@dataclass(frozen=True, slots=True)
class Package:
    """A waiting transaction with all waiting ones that it depends on, and what depends on it."""

    count: int
    """Of the transaction and those it depends on."""
    size: int
    """Of all of these, in virtual bytes."""
    fee: int
    """That all of these pay."""
    descendants: int
    """Of the transaction itself and whatever depends on it."""
    descendants_size: int


def package_of(node: BitcoinNode, tx_id: str) -> Package:
    """Return the package of a waiting transaction.

    Unavailable: it does not wait in this node's pool, or the answer makes no sense.
    """
    answer = required(node.client.ask("getmempoolentry", tx_id), "getmempoolentry")
    fields = answer if isinstance(answer, dict) else {}
    fees = fields.get("fees")
    fee = fees.get("ancestor") if isinstance(fees, dict) else None
    units, numbers = _units(fee), []
    for name in ("ancestorcount", "ancestorsize", "descendantcount", "descendantsize"):
        number = fields.get(name)
        if type(number) is not int or not 0 < number <= COIN or units is None:
            raise Unavailable("node_answer_malformed: getmempoolentry")
        numbers.append(number)
    count, size, descendants, descendants_size = numbers
    return Package(count, size, units or 0, descendants, descendants_size)


def plan_child_fee(package: Package, child_size: int, rate: int) -> int:
    """Return what a child must pay so that its package earns this rate for each virtual byte.

    Refused: too_large (nodes take no such child), in_progress (it earns the rate already).
    """
    if package.count + 1 > COUNT_MAX or package.size + child_size > SIZE_MAX:
        raise Refused(Reason.TOO_LARGE, f"it depends on {package.count - 1} waiting transactions")
    beside = package.descendants_size + child_size
    if package.descendants + 1 > COUNT_MAX or beside > SIZE_MAX:
        raise Refused(Reason.TOO_LARGE, f"{package.descendants - 1} others depend on it")
    if package.fee >= rate * package.size:
        raise Refused(Reason.IN_PROGRESS, "the payment earns the rate by itself")
    return max(rate * (package.size + child_size) - package.fee, RELAY_STEP * child_size)


def submit(node: BitcoinNode, raws: Sequence[bytes]) -> dict[str, str]:
    """Send a package at once, parents first; return what the node says against each of them.

    Empty: it took all of them, or had them. Unavailable: the node does not answer; sent once.
    """
    answer = node.client.send_once("submitpackage", [raw.hex() for raw in raws])
    if isinstance(answer, RpcError):
        return {"package": f"{answer.code} {answer.message}"}
    results = answer.get("tx-results") if isinstance(answer, dict) else None
    if not isinstance(results, dict) or len(results) != len(raws):
        raise Unavailable("node_answer_malformed: submitpackage")
    return {
        str(one.get("txid")): str(one["error"])[:200]
        for one in results.values()
        if isinstance(one, dict) and "error" in one
    }


def _units(coins: object) -> int | None:
    """Return the whole units of an amount in coins, as nodes write amounts; None for nonsense."""
    if isinstance(coins, bool) or not isinstance(coins, int | float | str | Decimal):
        return None
    try:
        units = Decimal(str(coins)) * COIN
    except InvalidOperation:
        return None
    if not units.is_finite() or not 0 <= units <= SUPPLY_MAX or units != int(units):
        return None
    return int(units)
