"""Which scopes can match a request at all, found by set operations on bits.

Bit n stands for scope n. For every set field there is one number per value, the scopes that name
it, and one for the scopes that do not care. A field the request does not have keeps every scope
that names anything, so that the complaint about the missing field is not lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from custody.policy.scope import ANY, SETS, Scope, View


@dataclass(frozen=True, slots=True)
class FieldIndex:
    """Scopes by the values of one field."""

    field: str
    by_value: dict[str, int]
    open: int
    """Scopes that do not look at the field."""
    named: int
    """Scopes that name at least one value of it."""


@dataclass(frozen=True, slots=True)
class ScopeIndex:
    """The index of one list of scopes."""

    everyone: int
    fields: tuple[FieldIndex, ...]

    @classmethod
    def of(cls, scopes: Sequence[Scope]) -> ScopeIndex:
        """Index a list of scopes."""
        everyone = (1 << len(scopes)) - 1
        fields = (_field_index(name, scopes) for name in SETS)
        return cls(everyone, tuple(one for one in fields if one.open != everyone))

    def candidates(self, view: View) -> Iterator[int]:
        """Yield the numbers of the scopes whose sets do not speak against a request, in order."""
        left, values = self.everyone, view.values
        for one in self.fields:
            found = values[one.field]
            accepting = one.open
            if not found:
                accepting |= one.named
            for value in found:
                accepting |= one.by_value.get(value, 0)
            left &= accepting
        while left:
            lowest = left & -left
            yield lowest.bit_length() - 1
            left ^= lowest


@dataclass(frozen=True, slots=True)
class Index:
    """The indexes of a policy."""

    denies: ScopeIndex
    rules: ScopeIndex
    buckets: ScopeIndex

    @classmethod
    def of(cls, denies: Sequence[Scope], rules: Sequence[Scope], buckets: Sequence[Scope]) -> Index:
        """Index a policy's scopes."""
        return cls(ScopeIndex.of(denies), ScopeIndex.of(rules), ScopeIndex.of(buckets))


def _field_index(field: str, scopes: Sequence[Scope]) -> FieldIndex:
    by_value: dict[str, int] = {}
    open_, named = 0, 0
    for number, scope in enumerate(scopes):
        names = scope.names(field)
        if ANY in names:
            open_ |= 1 << number
            continue
        if names:
            named |= 1 << number
        for value in names:
            by_value[value] = by_value.get(value, 0) | 1 << number
    return FieldIndex(field, by_value, open_, named)
