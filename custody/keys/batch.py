"""A batch as the withdrawals in it: each is judged as if it were paid alone.

The guard, its limits and the auditor look at nothing else. What a batch may cost is shared by its
items evenly; what does not divide, the first one bears.
"""

from __future__ import annotations

from dataclasses import replace

from chains.base import SpendIntent, SpendKind


def shares(cost: int, count: int) -> list[int]:
    """Split native units over the items of a batch, exactly."""
    each, rest = divmod(cost, count)
    return [each + rest] + [each] * (count - 1)


def singles(spend: SpendIntent, *, fee_max: int | None = None) -> tuple[SpendIntent, ...]:
    """Return the spends that a spend stands for: one for each item of a batch, else itself.

    fee_max: what its transaction costs at most, where that is less than the intent allows.
    """
    most = spend.fee_max if fee_max is None else fee_max
    if spend.kind is not SpendKind.BATCH:
        return (replace(spend, fee_max=most),)
    return tuple(
        replace(
            spend,
            kind=SpendKind.WITHDRAWAL,
            cause_id=one.cause_id,
            destination=one.destination,
            amount=one.amount,
            fee_max=share,
            items=(),
        )
        for one, share in zip(spend.items, shares(most, len(spend.items)), strict=True)
    )
