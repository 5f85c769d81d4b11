"""Whether a scope matches a request: yes, no, or not to be told because a field is absent.

Only a field that would decide is missed: when anything else already speaks against the scope, the
answer is no whatever the field holds.
"""

from __future__ import annotations

from collections.abc import Iterator

from core.clock import SECOND_NS
from core.money import format_amount
from custody.policy.request import USD_SCALE
from custody.policy.scope import ANY, SETS, Coins, Scope, View

NO = "no"
YES = "yes"
ENTRY_AGE = "entry_age"


def fits(scope: Scope, view: View) -> str:
    """Return yes, no, or the name of the absent field; for scopes that the index lets pass.

    The index has compared every set already, but for the fields that the request does not have.
    """
    if not scope.window.contains(view.amount, view.scale, view.usd):
        return NO
    if scope.in_book is not None and scope.in_book != view.in_book:
        return NO
    absent = ""
    if scope.entry_age_min_ns is not None:
        if view.entry_age_ns is None:
            absent = ENTRY_AGE
        elif view.entry_age_ns < scope.entry_age_min_ns:
            return NO
    for field, names in scope.sets.items():
        if not view.values[field] and ANY not in names:
            return field
    return absent or YES


def matches(scope: Scope, view: View) -> str:
    """Return the same of any scope, without an index: yes, no, or the name of the absent field."""
    for field, names in scope.sets.items():
        found = view.values[field]
        if not names or (found and ANY not in names and names.isdisjoint(found)):
            return NO
    return fits(scope, view)


def observed(scope: Scope, view: View) -> Iterator[tuple[str, str, str]]:
    """Yield (condition, what was observed, pass | fail | missing) of everything a scope asks."""
    for field in SETS:
        names = scope.sets.get(field)
        if names is None or ANY in names:
            continue
        found = view.values[field]
        held = bool(names) and (not found or not names.isdisjoint(found))
        wanted = f"{field} in {_listed(names)}"
        yield wanted, ",".join(sorted(found)), _verdict(held, is_known=bool(found))
    if scope.in_book is not None:
        held = scope.in_book == view.in_book
        yield f"in_book = {_yes(scope.in_book)}", _yes(view.in_book), _verdict(held)
    if scope.entry_age_min_ns is not None:
        age = view.entry_age_ns
        held = age is None or age >= scope.entry_age_min_ns
        wanted = f"entry_age >= {_seconds(scope.entry_age_min_ns)}"
        seen = "" if age is None else _seconds(age)
        yield wanted, seen, _verdict(held, is_known=age is not None)
    window = scope.window
    held = window.contains(view.amount, view.scale, view.usd)
    if window.names_usd:
        worth = view.price if view.usd is None else format_amount(view.usd, USD_SCALE)
        yield window_text("usd", window.min_usd, window.max_usd), worth, _verdict(held)
    if window.names_coins:
        seen = format_amount(view.amount, max(0, view.scale))
        yield coins_text(window.min_coins, window.max_coins), seen, _verdict(held)


def window_text(what: str, low: int | None, high: int | None) -> str:
    """Return bounds in USD as people write them."""
    texts = [None if one is None else format_amount(one, USD_SCALE) for one in (low, high)]
    return _bounds(what, texts[0], texts[1])


def coins_text(low: Coins | None, high: Coins | None) -> str:
    """Return bounds in whole coins as people write them."""
    texts = [None if one is None else format_amount(one.value, one.places) for one in (low, high)]
    return _bounds("coins", texts[0], texts[1])


def _bounds(what: str, low: str | None, high: str | None) -> str:
    if high is None:
        return f"{what} >= {low}"
    return f"{what} < {high}" if low is None else f"{low} <= {what} < {high}"


def _verdict(held: bool, *, is_known: bool = True) -> str:
    if not held:
        return "fail"
    return "pass" if is_known else "missing"


def _listed(names: frozenset[str]) -> str:
    listed = sorted(names)
    return (
        ",".join(listed)
        if len(listed) <= 4
        else f"{','.join(listed[:3])} and {len(listed) - 3} more"
    )


def _yes(value: bool) -> str:
    return "true" if value else "false"


def _seconds(duration_ns: int) -> str:
    return f"{duration_ns // SECOND_NS} s"
