"""`make campaign ARGS=paths`: 10^5 random derivation paths agree between libraries (K02).

`ARGS="paths -- COUNT NUMBER"`; the number makes the whole story and is printed first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from core.entropy import SystemEntropy
from tests.support.paths import spread

COUNT = 100_000


def campaign(words: Sequence[str]) -> list[str]:
    """Return where two libraries differ."""
    count = int(words[0]) if words else COUNT
    drawn = int.from_bytes(SystemEntropy().token_bytes(4), "big")
    number = int(words[1]) if len(words) > 1 else drawn
    print(f"paths: {count} from number {number}", flush=True)
    started = time.monotonic()
    found = spread(count, number)
    took = time.monotonic() - started
    print(f"paths: {count - len(found)} agree, {took:.0f} s, number {number}", flush=True)
    return found
