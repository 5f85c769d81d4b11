"""`make campaign ARGS="NAME…"`: every campaign, or the named ones; exits 1 when one finds anything.

A campaign is a function that is given the words after a `--` and returns what it found.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from tests.campaign import (
    builds,
    coin_builds,
    coin_readers,
    engine_killed,
    journal_replayed,
    killed,
    native,
    paths,
    policy,
    raced,
    signer_token,
)
from tests.simulation import campaign as simulation

Campaign = Callable[[Sequence[str]], list[str]]

CAMPAIGNS: dict[str, Campaign] = {
    "killed": killed.campaign,
    "engine-killed": engine_killed.campaign,
    "journal-replayed": journal_replayed.campaign,
    "native": native.campaign,
    "builds": builds.campaign,
    "coin-builds": coin_builds.campaign,
    "signer-token": signer_token.campaign,
    "paths": paths.campaign,
    "coin-readers": coin_readers.campaign,
    "policy": policy.campaign,
    "withdrawal-races": raced.withdrawal_races,
    "limits-in-parallel": raced.limits_in_parallel,
    "simulation": simulation.campaign,
}


def main(words: Sequence[str]) -> int:
    """Run campaigns one after the other."""
    names, _, rest = " ".join(words).partition("--")
    chosen = names.split() or list(CAMPAIGNS)
    unknown = set(chosen) - set(CAMPAIGNS)
    if unknown:
        print(f"there is no campaign {sorted(unknown)}; there are {sorted(CAMPAIGNS)}")
        return 2
    code = 0
    for name in chosen:
        print(f"== {name}", flush=True)
        for finding in CAMPAIGNS[name](rest.split()):
            print(f"{name}: {finding}", flush=True)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
