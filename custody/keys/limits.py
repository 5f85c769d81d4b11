"""The signer's own limits: per asset, for one signature and for every 24 hours.

They hold for every authority, officers' approvals included, and are counted from the signer's own
log. Of the transactions of one withdrawal (or one other spend) at most one can land, so together
they count once, with the largest of them; each counts for 24 hours from its own signature.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from chains.base import NATIVE, SpendIntent, SpendKind
from core.clock import DAY_NS
from core.errors import Reason, Refused
from custody.keys.roster import SpendLimit

WINDOW_NS = DAY_NS
_COMPACT_ROWS = 1_024


class Sums(NamedTuple):
    """Minor units, and native units of fees."""

    amount: int
    fees: int


class _Row(NamedTuple):
    time_ns: int
    group: str
    sums: Sums


class SlidingWindow:
    """Sums over the last 24 hours, (now - 24 h, now], of what was added in order of time.

    Asked with a time before the last one, it answers for that time; only what is older than 24
    hours before the newest addition is forgotten.
    """

    def __init__(self) -> None:
        self._rows: list[_Row] = []
        self._start = 0
        self._groups: dict[str, deque[Sums]] = {}
        self._amount = self._fees = 0

    def add(self, time_ns: int, group: str, amount: int, fees: int) -> None:
        """Count one signature. time_ns is not before that of the last one."""
        assert not self._rows or self._rows[-1].time_ns <= time_ns
        row = _Row(time_ns, group, Sums(amount, fees))
        self._rows.append(row)
        self._count(row, in_front=False)
        self._move(time_ns)
        if self._start >= _COMPACT_ROWS:
            del self._rows[: self._start]
            self._start = 0

    def remove_last(self) -> None:
        """Take back the last addition."""
        row = self._rows.pop()
        if self._start > len(self._rows):
            self._start = len(self._rows)
            return
        rows = self._groups[row.group]
        before = _largest(rows)
        rows.pop()
        self._change(before, _largest(rows))
        if not rows:
            del self._groups[row.group]

    def others(self, now_ns: int, group: str) -> Sums:
        """Return what all but one group took until now."""
        mine = self.of(now_ns, group)
        return Sums(self._amount - mine.amount, self._fees - mine.fees)

    def of(self, now_ns: int, group: str) -> Sums:
        """Return what one group took until now."""
        self._move(now_ns)
        return _largest(self._groups.get(group, ()))

    def _move(self, now_ns: int) -> None:
        since = now_ns - WINDOW_NS
        while self._start < len(self._rows) and self._rows[self._start].time_ns <= since:
            self._forget(self._rows[self._start])
            self._start += 1
        while self._start and self._rows[self._start - 1].time_ns > since:
            self._start -= 1
            self._count(self._rows[self._start], in_front=True)

    def _count(self, row: _Row, *, in_front: bool) -> None:
        rows = self._groups.setdefault(row.group, deque())
        before = _largest(rows)
        if in_front:
            rows.appendleft(row.sums)
        else:
            rows.append(row.sums)
        self._change(before, _largest(rows))

    def _forget(self, row: _Row) -> None:
        rows = self._groups[row.group]
        before = _largest(rows)
        rows.popleft()
        self._change(before, _largest(rows))
        if not rows:
            del self._groups[row.group]

    def _change(self, before: Sums, after: Sums) -> None:
        self._amount += after.amount - before.amount
        self._fees += after.fees - before.fees


def _largest(rows: Sequence[Sums] | deque[Sums]) -> Sums:
    if not rows:
        return Sums(0, 0)
    return Sums(max(row.amount for row in rows), max(row.fees for row in rows))


def besides(asked: Sequence[Sums], spent: Sequence[tuple[Sums, Sums]]) -> list[Sums]:
    """Return for each part of a batch what others took, the batch's other parts counted in.

    asked: what each part takes; spent: what others and its own group took so far.
    """
    grown = [
        Sums(max(0, one.amount - own.amount), max(0, one.fees - own.fees))
        for one, (_, own) in zip(asked, spent, strict=True)
    ]
    amount, fees = (sum(one.amount for one in grown), sum(one.fees for one in grown))
    return [
        Sums(others.amount + amount - mine.amount, others.fees + fees - mine.fees)
        for mine, (others, _) in zip(grown, spent, strict=True)
    ]


def check_limits(
    limits: Sequence[SpendLimit],
    spend: SpendIntent,
    *,
    fee_max: int,
    others: Sums,
    own: Sums,
) -> None:
    """Return when one more signature stays within the limits of its asset.

    others, own: what other spends, and earlier signatures of this one, took in the window that ends
    now. A chain without any limit in the roster is not limited; an asset without one on a chain
    that has some is. Refused: signer_limit.
    """
    of_chain = [limit for limit in limits if limit.chain == spend.chain]
    if not of_chain:
        return
    moves_nothing = spend.kind is SpendKind.OWNERS
    asset_key, amount = (NATIVE, 0) if moves_nothing else (spend.asset_key, spend.amount)
    limit = next((one for one in of_chain if one.asset_key == asset_key), None)
    if limit is None:
        raise Refused(Reason.SIGNER_LIMIT, f"no limit is named for {asset_key}")
    for what, asked, most in (
        ("amount", amount, limit.amount_max),
        ("fee", fee_max, limit.fee_max),
        ("24 h", 0 if moves_nothing else others.amount + max(own.amount, amount), limit.window_max),
        ("fees of 24 h", others.fees + max(own.fees, fee_max), limit.fee_window_max),
    ):
        if asked > most:
            raise Refused(Reason.SIGNER_LIMIT, f"{what}: {asked} is above {most}")


def check_parts(
    limits: Sequence[SpendLimit],
    spends: Sequence[SpendIntent],
    spent: Sequence[tuple[Sums, Sums]],
) -> None:
    """Return when every part of one transaction stays within the limits of its asset.

    spends have as fee_max what the transaction costs them at most; spent: what others and each
    one's own group took in the window. Refused: signer_limit.
    """
    asked = [Sums(one.amount, one.fee_max) for one in spends]
    for spend, others, (_, own) in zip(spends, besides(asked, spent), spent, strict=True):
        check_limits(limits, spend, fee_max=spend.fee_max, others=others, own=own)
