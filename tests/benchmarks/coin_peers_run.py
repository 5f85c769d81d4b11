"""One library over blocks that another process wrote, in an environment of its own.

    python coin_peers_run.py NAME BLOCKS WATCHED

BLOCKS is blocks, each behind its size in 4 bytes; WATCHED is scripts, each behind its size in one.
They are kept in a set, which is what there is beside these libraries. For every line on the input
all blocks are read once and a line of JSON is written: outputs seen, outputs to watched scripts and
ns of processor time. This file imports nothing of ours.
"""

from __future__ import annotations

import json
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

Scripts = Callable[[bytes], Iterator[bytes]]


def bitcoinlib() -> Scripts:
    """Read as bitcoinlib documents it."""
    from bitcoinlib.blocks import Block  # type: ignore[import-not-found]

    def scripts(raw: bytes) -> Iterator[bytes]:
        block = Block.parse(raw, parse_transactions=True, network="regtest")
        for tx in block.transactions:
            for output in tx.outputs:
                yield output.lock_script

    return scripts


def python_bitcoinlib() -> Scripts:
    """Read as python-bitcoinlib documents it."""
    from bitcoin.core import CBlock  # type: ignore[import-not-found]

    def scripts(raw: bytes) -> Iterator[bytes]:
        for tx in CBlock.deserialize(raw).vtx:
            for output in tx.vout:
                yield output.scriptPubKey

    return scripts


LIBRARIES = {"bitcoinlib": bitcoinlib, "python-bitcoinlib": python_bitcoinlib}


def main(words: list[str]) -> int:
    """Run; see the top of the file."""
    name, blocks_file, watched_file = words
    scripts_of = LIBRARIES[name]()
    blocks, place = [], 0
    data = Path(blocks_file).read_bytes()
    while place < len(data):
        (size,) = struct.unpack_from("<I", data, place)
        blocks.append(data[place + 4 : place + 4 + size])
        place += 4 + size
    watched, place = set(), 0
    data = Path(watched_file).read_bytes()
    while place < len(data):
        watched.add(data[place + 1 : place + 1 + data[place]])
        place += 1 + data[place]
    for _ in sys.stdin:
        outputs = found = 0
        before = time.process_time_ns()
        for raw in blocks:
            for script in scripts_of(raw):
                outputs += 1
                found += script in watched
        ns = time.process_time_ns() - before
        sys.stdout.write(json.dumps({"outputs": outputs, "found": found, "ns": ns}) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
