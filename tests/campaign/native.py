"""`make campaign ARGS=native`: five million commands to both engines.

`ARGS="native -- COMMANDS SEED"` draws so many, beginning with that seed.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.laboratory.weather import WEATHER
from tests.support.differential import Difference, compare

COMMANDS, PER_SEED, FIRST_SEED = 5_000_000, 20_000, 1_000


def campaign(words: Sequence[str]) -> list[str]:
    """Return every difference found; each names the weather and the seed that shows it again."""
    commands = int(words[0]) if words else COMMANDS
    seed = int(words[1]) if len(words) > 1 else FIRST_SEED
    found: list[str] = []
    for n in range(-(-commands // PER_SEED)):
        weather = WEATHER[n % len(WEATHER)]
        try:
            compare(weather, seed + n, PER_SEED)
        except Difference as difference:
            found.append(str(difference))
        if (n + 1) % 25 == 0:
            print(f"native: {(n + 1) * PER_SEED} commands, {len(found)} differences", flush=True)
    return found
