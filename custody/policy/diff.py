"""What changes between two versions of a policy: in the text, and in what it means.

The second half compares both over every cell of requests that either tells apart, so a rule that
moved is reported by whose payments become easier or harder, with an example.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from core.clock import SECOND_NS
from core.money import format_amount
from custody.policy.cells import Cell, cell_of, view_lines
from custody.policy.decision import Outcome
from custody.policy.ease import Direction, Ease, direction
from custody.policy.matching import coins_text, window_text
from custody.policy.quorum import Quorum
from custody.policy.rules import Bucket, Deny, Policy, Rule
from custody.policy.scope import Coins, Scope, Window
from custody.policy.world import World


@dataclass(frozen=True, slots=True)
class TextChange:
    """One thing that is written differently."""

    place: str
    what: str
    before: str
    """Empty: it was not there."""
    after: str


@dataclass(frozen=True, slots=True)
class Shift:
    """Requests that are answered differently."""

    direction: Direction
    before: str
    after: str
    example: str
    cells: int
    """How many kinds of requests."""


def text_changes(old: Policy, new: Policy) -> tuple[TextChange, ...]:
    """Return what is written differently, in the order of the document."""
    return tuple(_text_changes(old, new))


def shifts(old: Policy, new: Policy, world: World) -> tuple[Shift, ...]:
    """Return what is answered differently, what becomes looser first. TooManyCells."""
    found: dict[tuple[Direction, str, str], Shift] = {}
    for views in view_lines((old, new), world):
        for seen in views:
            one, other = cell_of(old, seen), cell_of(new, seen)
            before, after = _answer(old, one), _answer(new, other)
            if before == after:
                continue
            becomes = direction(_ease(old, one), _ease(new, other))
            first = found.get((becomes, before, after))
            example, cells = (first.example, first.cells) if first else (one.describes, 0)
            found[becomes, before, after] = Shift(becomes, before, after, example, cells + 1)
    order = list(Direction)
    return tuple(sorted(found.values(), key=lambda shift: order.index(shift.direction)))


def _answer(policy: Policy, cell: Cell) -> str:
    """Return the answer to a cell in words."""
    if cell.denies:
        return f"blocked by deny {policy.denies[cell.denies[0]].id}"
    for noun, id_, field in cell.missing:
        if noun != "bucket":
            return f"blocked by {noun} {id_}: no {field}"
    if not cell.rules:
        return "blocked: no rule"
    rule = policy.rules[cell.rules[0]]
    if rule.outcome is Outcome.BLOCK:
        return f"blocked by rule {rule.id}"
    if rule.quorum is None:
        return f"allowed by rule {rule.id}"
    delay = f", then {rule.delay_ns // SECOND_NS} s" if rule.delay_ns else ""
    return f"rule {rule.id}: {rule.quorum.text}{delay}"


def _ease(policy: Policy, cell: Cell) -> Ease:
    """Return how many persons and how much delay a cell needs, None when it is blocked."""
    blocks = cell.denies or not cell.rules or any(noun != "bucket" for noun, *_ in cell.missing)
    rule = policy.rules[cell.rules[0]] if cell.rules else None
    if blocks or rule is None or rule.outcome is Outcome.BLOCK:
        return None
    return (0 if rule.quorum is None else rule.quorum.least, rule.delay_ns)


def _text_changes(old: Policy, new: Policy) -> Iterator[TextChange]:
    yield from _pair("publish", "quorum", old.publish.quorum, new.publish.quorum)
    yield from _pair("publish", "delay_s", _s(old.publish.delay_ns), _s(new.publish.delay_ns))
    yield from _pair("price", "stale_after_s", _s(old.stale_after_ns), _s(new.stale_after_ns))
    for name in sorted({*old.groups, *new.groups}):
        before, after = old.groups.get(name), new.groups.get(name)
        yield from _pair(f"group {name}", "persons", before, after)
    for noun in ("deny", "rule", "bucket"):
        yield from _list_changes(noun, _entries(old, noun), _entries(new, noun))
    orders = [
        [rule.id for rule in one.rules if other.rule(rule.id) is not None]
        for one, other in ((old, new), (new, old))
    ]
    if orders[0] != orders[1]:
        yield TextChange("rules", "order", " ".join(orders[0]), " ".join(orders[1]))


Entry = Deny | Rule | Bucket


def _entries(policy: Policy, noun: str) -> Sequence[Entry]:
    if noun == "deny":
        return policy.denies
    return policy.rules if noun == "rule" else policy.buckets


def _list_changes(noun: str, old: Sequence[Entry], new: Sequence[Entry]) -> Iterator[TextChange]:
    before, after = ({one.id: one for one in entries} for entries in (old, new))
    for name in [*before, *(name for name in after if name not in before)]:
        place = f"{noun} {name}"
        if name not in after:
            yield TextChange(place, "removed", _whole(before[name]), "")
        elif name not in before:
            yield TextChange(place, "added", "", _whole(after[name]))
        else:
            one, other = _plain(before[name]), _plain(after[name])
            for key in [*one, *(key for key in other if key not in one)]:
                yield from _pair(place, key, one.get(key), other.get(key))


def _pair(place: str, what: str, before: object, after: object) -> Iterator[TextChange]:
    if before != after:
        yield TextChange(place, what, _text(before), _text(after))


def _whole(entry: Entry) -> str:
    return ", ".join(f"{key} {text}" for key, text in _plain(entry).items())


def _plain(entry: Entry) -> dict[str, str]:
    """Return what an entry says as texts."""
    found: dict[str, str] = {}
    for field in fields(entry):
        value = getattr(entry, field.name)
        if isinstance(value, Scope):
            found |= _scope(value)
        elif field.name.endswith("_ns"):
            if value:
                found[field.name.removesuffix("_ns")] = _s(value)
        elif field.name != "id" and value:
            found[field.name] = _text(value)
    return found


def _scope(scope: Scope) -> dict[str, str]:
    found = {name: _text(names) for name, names in scope.sets.items()}
    if scope.in_book is not None:
        found["in_book"] = _text(scope.in_book)
    if scope.entry_age_min_ns is not None:
        found["entry_age_min"] = _s(scope.entry_age_min_ns)
    window: Window = scope.window
    if window.names_usd:
        found["usd"] = window_text("usd", window.min_usd, window.max_usd)
    if window.names_coins:
        found["coins"] = coins_text(window.min_coins, window.max_coins)
    return found


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Quorum):
        return value.text
    if isinstance(value, Coins):
        return format_amount(value.value, value.places)
    if isinstance(value, frozenset):
        return " ".join(sorted(value)) or "nothing"
    if isinstance(value, tuple):
        return " ".join(map(_text, value))
    return str(value)


def _s(duration_ns: int) -> str:
    return f"{duration_ns // SECOND_NS} s"
