"""Quorums: `2 of officers and (1 of compliance or 3 of board)`, met by distinct persons.

    expression = term { "or" term } ;  term = factor { "and" factor }
    factor = number "of" group | "(" expression ")"

A person counts once: what `and` joins must be met by different persons.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from core.errors import Reason, Refused

TEXT_MAX = 512
WAYS_MAX = 64
"""Alternatives of one expression after its `or`s are multiplied out."""
PERSONS_MAX = 64
"""Most persons that one quorum may ask for."""

_TOKEN = re.compile(r"\s*(?:([()])|([0-9]+)|([a-z][a-z0-9_-]{0,63}))", re.ASCII)
_WORDS = frozenset({"of", "and", "or"})


@dataclass(frozen=True, slots=True)
class Demand:
    """So many distinct persons of one group."""

    count: int
    group: str


Way = tuple[Demand, ...]
"""Demands that different persons must meet."""


@dataclass(frozen=True, slots=True)
class Quorum:
    """A quorum as it was written, and the ways to meet it."""

    text: str
    ways: tuple[Way, ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Quorum:
        """Read a quorum. Refused: malformed, with the place where it stopped making sense."""
        if len(text) > TEXT_MAX:
            raise Refused(Reason.MALFORMED, f"a quorum has at most {TEXT_MAX} characters")
        reader = _Reader(text)
        ways = reader.expression()
        reader.end()
        if any(sum(demand.count for demand in way) > PERSONS_MAX for way in ways):
            raise Refused(Reason.MALFORMED, f"a quorum asks for at most {PERSONS_MAX} persons")
        return cls(text, ways)

    @property
    def groups(self) -> frozenset[str]:
        """Return the names of all groups it speaks of."""
        return frozenset(demand.group for way in self.ways for demand in way)

    @property
    def least(self) -> int:
        """Return how many persons the smallest way to meet it needs."""
        return min((sum(demand.count for demand in way) for way in self.ways), default=0)

    def is_met(self, groups: Mapping[str, Collection[str]], persons: Collection[str]) -> bool:
        """Return whether these persons meet it. A group that is not there has no members.

        A quorum that was not parsed has no way to be met.
        """
        return any(_is_met(way, groups, persons) for way in self.ways)


def _is_met(way: Way, groups: Mapping[str, Collection[str]], persons: Collection[str]) -> bool:
    """Give every demanded seat a person of its own: augmenting paths (Kuhn, 1955)."""
    seats = [groups.get(one.group, ()) for one in way for _ in range(one.count)]
    everyone = sorted(set(persons))
    if len(everyone) < len(seats):
        return False
    seat_of: dict[str, int] = {}
    return all(_seated(seat, seats, everyone, seat_of, set()) for seat in range(len(seats)))


def _seated(
    seat: int,
    seats: list[Collection[str]],
    everyone: list[str],
    seat_of: dict[str, int],
    asked: set[str],
) -> bool:
    for person in everyone:
        if person in asked or person not in seats[seat]:
            continue
        asked.add(person)
        other = seat_of.get(person)
        if other is None or _seated(other, seats, everyone, seat_of, asked):
            seat_of[person] = seat
            return True
    return False


class _Reader:
    """Reads one expression from left to right into its ways; `and` multiplies, `or` adds."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0

    def expression(self) -> tuple[Way, ...]:
        ways = self._term()
        while self._take("or"):
            ways = (*ways, *self._term())
            _check_ways(len(ways))
        return ways

    def end(self) -> None:
        if self._next < len(self._tokens):
            raise self._unexpected("the end")

    def _term(self) -> tuple[Way, ...]:
        ways = self._factor()
        while self._take("and"):
            more = self._factor()
            _check_ways(len(ways) * len(more))
            ways = tuple((*one, *other) for one, other in itertools.product(ways, more))
        return ways

    def _factor(self) -> tuple[Way, ...]:
        if self._take("("):
            ways = self.expression()
            if not self._take(")"):
                raise self._unexpected("a closing bracket")
            return ways
        number = self._peek()
        if not number.isdigit() or number.startswith("0") or int(number) > PERSONS_MAX:
            raise self._unexpected(f"a number from 1 to {PERSONS_MAX}")
        self._next += 1
        if not self._take("of"):
            raise self._unexpected("`of`")
        group = self._peek()
        if not group[:1].isalpha() or group in _WORDS:
            raise self._unexpected("the name of a group")
        self._next += 1
        return ((Demand(int(number), group),),)

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self, word: str) -> bool:
        found = self._peek() == word
        self._next += found
        return found

    def _unexpected(self, wanted: str) -> Refused:
        found = self._peek()
        where = f"{found!r}, word {self._next + 1}" if found else "the end"
        return Refused(Reason.MALFORMED, f"a quorum has {wanted} where {where} stands")


def _check_ways(count: int) -> None:
    if count > WAYS_MAX:
        raise Refused(Reason.MALFORMED, f"a quorum has at most {WAYS_MAX} alternatives")


def _tokens(text: str) -> list[str]:
    found: list[str] = []
    at, text = 0, text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Refused(Reason.MALFORMED, f"a quorum has no {text[at:].strip()[:1]!r}")
        found.append(match.group().strip())
        at = match.end()
    return found
