"""What an odd token really delivered. Pure.

A token flagged odd may say one thing and move another. The difference of `balanceOf` across the
block is shared out to its events in their order; what is missing makes an anomaly. Money that
left the address in the same block is not added back: its events may lie too, so less is credited
rather than more.
"""

from __future__ import annotations

from collections.abc import Sequence

from chains.evm.erc20 import TokenEvent

NOT_DELIVERED = "not_delivered"
DELIVERED_LESS = "delivered_less"
UNREADABLE = "balance_unreadable"


def plan_delivered(
    events: Sequence[TokenEvent], *, before: int | None, after: int | None
) -> list[tuple[TokenEvent, int, str | None]]:
    """Return (event, amount delivered, anomaly) for one token's events to one address in one block.

    before and after are balances, None when the contract would not tell; no contract yet counts
    as zero.
    """
    if after is None:
        return [(event, 0, UNREADABLE) for event in events]
    left = max(0, after - (before or 0))
    shares: list[tuple[TokenEvent, int, str | None]] = []
    for event in events:
        amount = min(event.value, left)
        left -= amount
        anomaly = None
        if amount < event.value:
            anomaly = DELIVERED_LESS if amount else NOT_DELIVERED
        shares.append((event, amount, anomaly))
    assert sum(amount for _, amount, _ in shares) <= max(0, after - (before or 0))
    return shares
