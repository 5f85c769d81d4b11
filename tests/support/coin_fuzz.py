"""Blocks with wrong bytes in them: the kernel and its twin take and refuse the same ones."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from chains.bitcoin.block import IncompleteBlock, RawBlock, parse_block
from tests.support.bitcoin import LOCAL
from tests.support.coin_blocks import Written, block_of, random_tx

HEIGHT = 500
_MEANT = (0, 1, 0xFC, 0xFD, 0xFE, 0xFF)
"""Bytes that say something as counts."""


def read(block: Written, *, native: bool) -> RawBlock | str:
    """Return a block as one of both ways reads it, or why it does not."""
    try:
        return parse_block(
            block.raw, block_hash=block.hash, height=HEIGHT, network=LOCAL, native=native
        )
    except IncompleteBlock as refused:
        return refused.what


def changed(seed: int) -> Written:
    """Return a block in which one or two bytes are others; every third one also ends early."""
    dice = random.Random(seed)
    block = block_of(HEIGHT, [random_tx(dice) for _ in range(dice.randrange(1, 12))])
    raw = bytearray(block.raw)
    for _ in range(dice.randrange(1, 3)):
        raw[dice.randrange(80, len(raw))] = dice.choice((*_MEANT, dice.randrange(256)))
    if seed % 3 == 0:
        del raw[dice.randrange(81, len(raw)) :]
    return replace(block, raw=bytes(raw))


def compared(first: int, count: int) -> tuple[Counter[str], list[str]]:
    """Return how often which answer was given, and the seeds on which both ways differ."""
    seen: Counter[str] = Counter()
    found = []
    for seed in range(first, first + count):
        block = changed(seed)
        native = read(block, native=True)
        seen[native if isinstance(native, str) else "taken"] += 1
        if native != read(block, native=False):
            found.append(f"seed {seed}: the kernel says otherwise than its twin")
    return seen, found
