"""`make campaign ARGS=signer-token`: a token stands a crowd at its door, and being pulled out.

32 threads in each of 8 processes open one token at the same instant and sign, 100 times; then the
token is pulled out and put back under load on both curves, 10 times each; then a call hangs for 30
seconds. `ARGS="signer-token -- ROUNDS PULLS"` takes other numbers.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from infra.devnet.softhsm import softhsm
from tests.support import token_stories as stories
from tests.support.token_start import start_together
from tests.support.tokens import tell

ROUNDS, PULLS = 100, 10
HANG_MS = 30_000


def campaign(words: Sequence[str]) -> list[str]:
    """Return what went wrong."""
    rounds = int(words[0]) if words else ROUNDS
    pulls = int(words[1]) if words[1:] else PULLS
    found = [*_crowd(rounds), *_hang()]
    for number in range(pulls):
        for curve in ("secp256k1", "ed25519"):
            found += (f"pull {number} on {curve}: {words}" for words in _pull(curve))
    print(f"signer-token: pulled out {3 * 2 * pulls} times under load", flush=True)
    return found


def _crowd(rounds: int) -> list[str]:
    began = time.monotonic()
    with softhsm() as hsm, tempfile.TemporaryDirectory() as folder:
        found = [words for words in [tell(stories.filled, hsm, Path(folder))] if words != "done"]
        found += start_together(hsm, Path(folder), rounds)
    took_s = round(time.monotonic() - began)
    print(
        f"signer-token: {rounds} times 8 processes with 32 threads each started together in"
        f" {took_s} s: {len(found)} failures",
        flush=True,
    )
    return found


def _hang() -> list[str]:
    with softhsm() as hsm, tempfile.TemporaryDirectory() as folder:
        told = tell(stories.a_call_that_hangs, hsm, Path(folder), "C_Sign", str(HANG_MS))
    print(f"signer-token: C_Sign hung for {HANG_MS} ms: {told}", flush=True)
    is_bounded = told["first"].startswith("Unavailable") and told["first_ms"] < HANG_MS // 10
    return [] if is_bounded and told["after"] == "done" else [f"a call that hung: {told}"]


def _pull(curve: str) -> list[str]:
    with softhsm() as hsm, tempfile.TemporaryDirectory() as folder:
        told = tell(stories.a_plug_that_is_pulled, hsm, Path(folder), curve)
    sound = told["lost"] == [] and told["counts"] == [1] and max(told["away"]) <= stories.PULLERS
    bad = [words for words in told["words"] if not words.startswith("Unavailable")]
    return [] if sound and not bad else [str(told)]
