"""Coins' blocks, keys and signatures, each beside what a library makes of the same.

Blocks are mined by a real node; other libraries read the same bytes in processes of their own,
round by round with ours. Ours proves what it reads (the header's work, every id, the root); they
do not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import statistics
import subprocess
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from chains.bitcoin.block import parse_block
from chains.bitcoin.params import NETWORKS
from chains.bitcoin.watch import Keys
from tests.benchmarks import bitcoin_keys, peers
from tests.benchmarks.coin_blocks import SHAPES, Mine, Mined, mined, watched_scripts
from tests.benchmarks.measure import Contest, Fact, Row, Timed, measure

PEERS = {"bitcoinlib": ("0.7.10", 100), "python-bitcoinlib": ("0.12.2", 20)}
"""Versions, and how many times as fast we want to be."""
PROGRAM = Path(__file__).parent / "coin_peers_run.py"
BLOCKS, PASSES = 10, 20
FEW, MANY = 1_000_000, 10_000_000
BYTES_MOST = 32
LOOKUPS = 1_000_000
SLOWER_MOST = 3
"""What reaching memory instead of a cache may cost a look-up among ten times as many."""


def contests(stack: contextlib.ExitStack) -> Iterator[Contest | Row | Fact]:
    """Yield every row of the job."""
    mines = {name: mined(outputs, BLOCKS) for name, outputs in SHAPES.items()}
    sets = {
        count: Keys(scripts)
        for count in (FEW, MANY)
        for scripts in [watched_scripts(count - sum(len(m.watched) for m in mines.values()))]
    }
    for keys in sets.values():
        for mine in mines.values():
            keys.add(mine.watched)
    for name, mine in mines.items():
        yield from _beside_libraries(stack, name, mine, sets)
    yield from _sizes(sets)
    yield from bitcoin_keys.rows()


# ---- blocks


def _beside_libraries(
    stack: contextlib.ExitStack, shape: str, mine: Mine, sets: dict[int, Keys]
) -> Iterator[Row]:
    for name, (version, times) in PEERS.items():
        peer, trouble = _peer(stack, name, version, shape, mine)
        for count, keys in sets.items():
            row = measure(
                Contest(
                    job=f"bitcoin, blocks of {shape}",
                    unit=f"outputs, {count:,} scripts watched",
                    ours=_ours(mine, keys),
                    peer=peer,
                    peer_name=f"{name} {version}, a set of {FEW:,}",
                    floor=_floor(mine),
                    floor_name="SHA-256 of the bytes",
                )
            )
            yield judged(row, times, trouble)
    yield measure(
        Contest(
            job=f"bitcoin, blocks of {shape}",
            unit=f"outputs, {len(mine.watched)} scripts watched",
            ours=_ours(mine, Keys(mine.watched, native=False), native=False),
            peer=_ours(mine, sets[FEW]),
            peer_name="the native kernel",
            goal="none: where no compiler was, in readable Python",
        )
    )


def judged(row: Row, times: int, trouble: str) -> Row:
    """Return a row with its verdict: so many times its peer."""
    if row.peer is None:
        return replace(row, goal=f"no figure: {trouble}")
    met = row.ours >= times * row.peer
    return replace(row, goal=f"{'met' if met else 'MISSED'}: >= {times} x")


def _ours(mine: Mine, keys: Keys, *, native: bool = True) -> Callable[[], int]:
    network, passes = NETWORKS["regtest"], PASSES if native else 1

    def read(block: Mined) -> int:
        found = parse_block(
            block.raw, block_hash=block.hash, height=block.height, network=network, native=native
        )
        return len(found.paid(keys))

    def run() -> int:
        for _ in range(passes):
            assert sum(read(block) for block in mine.blocks) == len(mine.watched)
        return passes * mine.outputs

    return run


def _floor(mine: Mine) -> Callable[[], int]:
    def run() -> int:
        for _ in range(PASSES):
            for block in mine.blocks:
                hashlib.sha256(block.raw).digest()
        return PASSES * mine.outputs

    return run


def _peer(
    stack: contextlib.ExitStack, name: str, version: str, shape: str, mine: Mine
) -> tuple[Callable[[], Timed] | None, str]:
    """Start a library in its own process, return what runs a round, or what kept it from it."""
    trouble = peers.install(name, version)
    if trouble:
        return None, trouble
    folder = peers.FOLDER.absolute()
    blocks, watched = folder / f"blocks of {shape}", folder / "watched"
    mine.write(blocks)
    _write_watched(watched, mine)
    child = stack.enter_context(
        subprocess.Popen(
            [folder / "venv/bin/python", "-P", PROGRAM, name, blocks, watched],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "BCL_DATA_DIR": str(folder / "bitcoinlib")},
        )
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    into, out = child.stdin, child.stdout

    def run() -> Timed:
        into.write("again\n")
        into.flush()
        told = json.loads(out.readline())
        assert told["outputs"] == mine.outputs
        assert told["found"] == len(mine.watched)
        return Timed(told["outputs"], told["ns"])

    return run, ""


def _write_watched(path: Path, mine: Mine) -> None:
    every = (*mine.watched, *watched_scripts(FEW - len(mine.watched)))
    path.write_bytes(b"".join(bytes([len(script)]) + script for script in every))


# ---- what is watched


def _sizes(sets: dict[int, Keys]) -> Iterator[Fact]:
    for count, keys in sets.items():
        each = keys.table_bytes / len(keys)
        yield Fact(
            "bitcoin", f"memory of a watched script, {count:,} of them", f"{each:.1f} B",
            "91 B in a Python set, measured before", f"<= {BYTES_MOST} B", each <= BYTES_MOST,
        )  # fmt: skip
    took = {count: _lookup_ns(keys) for count, keys in sets.items()}
    ratio = took[MANY] / took[FEW]
    yield Fact(
        "bitcoin", "a look-up of a script that nobody watches",
        f"{took[FEW]} ns in {FEW:,}; {took[MANY]} ns in {MANY:,}", f"{ratio:.2f} x",
        "independent of their number", ratio < SLOWER_MOST,
    )  # fmt: skip


def _lookup_ns(keys: Keys) -> int:
    """Return what one look-up among many others takes, in a block of nothing but outputs."""
    scripts = list(watched_scripts(LOOKUPS + LOOKUPS // 10))[LOOKUPS:]
    raw = b"".join(bytes(8) + b"\x16" + b"\x51\x14" + script[2:] for script in scripts)
    outputs = array("I", range(0, len(raw), 31))
    return int(statistics.median(_once(keys, raw, outputs) for _ in range(9)))


def _once(keys: Keys, raw: bytes, outputs: array[int]) -> int:
    before = time.process_time_ns()
    assert keys.paid(raw, outputs) == []
    return (time.process_time_ns() - before) // len(outputs)
