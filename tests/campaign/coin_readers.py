"""`make campaign ARGS=coin-readers`: three programs read 10,000 addresses, 500 transactions.

`ARGS="coin-readers -- ADDRESSES TRANSACTIONS NUMBER"`; the number makes the whole story and is
printed first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from core.entropy import SystemEntropy
from tests.support.coin_readers import address_disagreements, transaction_disagreements

ADDRESSES, TRANSACTIONS = 10_000, 500


def campaign(words: Sequence[str]) -> list[str]:
    """Return where two of the three programs differ."""
    given = [int(word) for word in words]
    drawn = int.from_bytes(SystemEntropy().token_bytes(4), "big")
    addresses, transactions, number = [*given, *(ADDRESSES, TRANSACTIONS, drawn)[len(given) :]]
    print(f"coin-readers: {addresses}, {transactions} from number {number}", flush=True)
    started, found = time.monotonic(), []
    for what, count, look in (
        ("addresses", addresses, address_disagreements),
        ("transactions", transactions, transaction_disagreements),
    ):
        differing = look(count, number)
        numbers = {line.partition(":")[0] for line in differing}
        print(f"coin-readers: {count - len(numbers)} {what} agree", flush=True)
        found += differing
    print(f"coin-readers: {time.monotonic() - started:.0f} s, number {number}", flush=True)
    return found
