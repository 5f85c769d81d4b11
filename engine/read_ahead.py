"""Reading and checking a long journal on one thread while another applies what was read."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from engine.blocks import Block
from engine.journal import JournalReader

CHUNK_BYTES = 1 << 20
WORTH_BYTES = 4 * CHUNK_BYTES
"""A shorter journal is read sooner than a thread begins to pay."""


def blocks_ahead(reader: JournalReader, sequence: int) -> Iterator[Block]:
    """Yield what reader.blocks_from(sequence) yields. Corrupt: as there, or blocks earlier."""
    blocks = reader.blocks_from(sequence)
    if reader.size_from(sequence) < WORTH_BYTES:
        yield from blocks
        return
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        ahead = pool.submit(_chunk, blocks)
        while chunk := ahead.result():
            ahead = pool.submit(_chunk, blocks)
            yield from chunk


def _chunk(blocks: Iterator[Block]) -> list[Block]:
    chunk, size = [], 0
    for block in blocks:
        chunk.append(block)
        size += block.size
        if size >= CHUNK_BYTES:
            break
    return chunk
