"""`make campaign ARGS=policy`: 10^5 random policies and requests are decided alike by two programs.

`ARGS="policy -- COUNT NUMBER"`; the number makes the whole story and is printed first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from core.entropy import SystemEntropy
from tests.support.policy_weather import disagreements

COUNT = 100_000


def campaign(words: Sequence[str]) -> list[str]:
    """Return where the two implementations differ."""
    count = int(words[0]) if words else COUNT
    drawn = int.from_bytes(SystemEntropy().token_bytes(4), "big")
    number = int(words[1]) if len(words) > 1 else drawn
    print(f"policy: {count} pairs from number {number}", flush=True)
    started = time.monotonic()
    found = disagreements(count, number)
    took = time.monotonic() - started
    print(f"policy: {count - len(found)} agree, {took:.0f} s, number {number}", flush=True)
    return found
