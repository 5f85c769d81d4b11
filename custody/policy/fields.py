"""The keys of one table of a policy document, each read strictly; every fault is noted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from core.clock import SECOND_NS
from core.errors import Reason, Refused
from custody.policy.lines import Lines
from custody.policy.request import USD_SCALE
from custody.policy.scope import ANY, Coins

SET_MAX = 4_096
SECONDS_MAX = 10 * 366 * 86_400
PROBLEMS_MAX = 50

_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,76})(?:\.([0-9]{1,77}))?", re.ASCII)
_NAME = re.compile(r"[!-~]{1,256}", re.ASCII)
_CUSTOMER_LIMIT = 1 << 32

T = TypeVar("T")


class BadPolicy(Refused):
    """A document that is no policy; every fault with file, line, place and reason."""

    def __init__(self, problems: tuple[str, ...], reason: Reason = Reason.MALFORMED) -> None:
        super().__init__(reason, "\n".join(problems))
        self.problems = problems


class Faults:
    """The faults of one document."""

    def __init__(self, lines: Lines, name: str) -> None:
        self._lines, self._name = lines, name
        self._found: list[str] = []

    def add(self, place: str, label: str, key: str, what: str) -> None:
        """Note one fault with its file, line and place."""
        where = "".join(f" {part}:" for part in (label, key) if part)
        self._found.append(f"{self._name}:{self._lines.of(place, key)}:{where} {what}")

    def end(self) -> None:
        """Refuse the document when there was a fault. Refused: malformed."""
        if self._found:
            raise BadPolicy(tuple(self._found[:PROBLEMS_MAX]))


class Fields:
    """One table. What cannot be read is noted, and something plain is returned in its place."""

    def __init__(self, faults: Faults, place: str, label: str, table: object) -> None:
        self._faults, self._place, self._label = faults, place, label
        self.table: Mapping[str, Any] = table if isinstance(table, dict) else {}
        if not isinstance(table, dict):
            self.complain("", "must be a table")

    def complain(self, key: str, what: str) -> None:
        """Note a fault of one key, or of the table."""
        self._faults.add(self._place, self._label, key, what)

    def only(self, *keys: str) -> None:
        """Refuse every other key."""
        for key in self.table:
            if key not in keys:
                self.complain(key, "is not a key here")

    def value(self, key: str, kind: type[T], default: T) -> T:
        """Read a value of exactly one type."""
        if key not in self.table:
            self.complain(key, "is missing")
            return default
        found = self.table[key]
        if type(found) is not kind:
            self.complain(key, f"must be {_KINDS[kind]}")
            return default
        return found

    def text(self, key: str, pattern: re.Pattern[str]) -> str:
        """Read a text of one form."""
        found = self.value(key, str, "")
        if key in self.table and type(self.table[key]) is str and not pattern.fullmatch(found):
            self.complain(key, f"must look like {pattern.pattern}")
            return ""
        return found

    def choice(self, key: str, choices: Sequence[str]) -> str:
        """Read one of a few words; the last of them where it is none."""
        found = self.value(key, str, choices[-1])
        if found not in choices:
            self.complain(key, f"must be one of {', '.join(choices)}")
            return choices[-1]
        return found

    def boolean(self, key: str) -> bool | None:
        """Read true or false, None when the key is not there."""
        return self.value(key, bool, default=False) if key in self.table else None

    def integer(self, key: str, low: int, limit: int) -> int:
        """Read an integer in [low, limit)."""
        found = self.value(key, int, low)
        if not low <= found < limit:
            self.complain(key, f"must be at least {low} and below {limit}")
            return low
        return found

    def seconds(self, key: str, *, low: int = 0) -> int:
        """Read seconds, return nanoseconds."""
        return self.integer(key, low, SECONDS_MAX) * SECOND_NS

    def decimal(self, key: str, places_max: int, *, is_optional: bool = False) -> Coins | None:
        """Read a decimal string such as "12" or "0.05"."""
        if is_optional and key not in self.table:
            return None
        if type(self.table.get(key)) is not str:
            self.value(key, str, "")
            return None
        match = _DECIMAL.fullmatch(self.table[key])
        if match is None:
            self.complain(key, 'must be a decimal string like "12" or "0.05"')
            return None
        fraction = match[2] or ""
        if len(fraction) > places_max:
            self.complain(key, f"has at most {places_max} decimal places")
            return None
        return Coins(int(match[1] + fraction), len(fraction))

    def usd(self, key: str) -> int | None:
        """Read an optional amount of USD, return 10^-6 USD."""
        found = self.decimal(key, USD_SCALE, is_optional=True)
        return None if found is None else found.at_least(USD_SCALE)

    def names(self, key: str) -> frozenset[str]:
        """Read an explicit set: names, customers' numbers, or `*` alone."""
        is_customers = key == "customers"
        found = self._list(key, SET_MAX)
        names: list[str] = []
        for one in found:
            if is_customers and type(one) is int and 0 <= one < _CUSTOMER_LIMIT:
                names.append(str(one))
            elif one == ANY or (not is_customers and type(one) is str and _NAME.fullmatch(one)):
                names.append(one)
            else:
                kind = "customer's number" if is_customers else "name without spaces"
                self.complain(key, f"{one!r} is not a {kind}")
        self._check_set(key, names)
        return frozenset(names)

    def texts(
        self,
        key: str,
        pattern: re.Pattern[str],
        *,
        most: int = SET_MAX,
        is_optional: bool = False,
    ) -> frozenset[str]:
        """Read a list of different texts of one form."""
        if is_optional and key not in self.table:
            return frozenset()
        names: list[str] = []
        for one in self._list(key, most):
            if type(one) is str and pattern.fullmatch(one):
                names.append(one)
            else:
                self.complain(key, f"{one!r} must look like {pattern.pattern}")
        self._check_set(key, names)
        return frozenset(names)

    def _list(self, key: str, most: int) -> list[object]:
        found: list[object] = self.value(key, list, [])
        if len(found) > most:
            self.complain(key, f"has at most {most} values")
            return []
        return found

    def _check_set(self, key: str, names: list[str]) -> None:
        twice = sorted({name for name in names if names.count(name) > 1}) if len(names) < 64 else []
        if len(set(names)) != len(names):
            self.complain(key, f"{', '.join(twice) or 'something'} stands twice")
        if ANY in names and len(names) > 1:
            self.complain(key, "`*` stands alone")


_KINDS: dict[type, str] = {
    str: "a text in quotes",
    int: "an integer",
    bool: "true or false",
    list: "a list",
}
