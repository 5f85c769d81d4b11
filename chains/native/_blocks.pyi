"""The native module: bytes in, bytes out. Every number in them has four bytes, the lowest first.

ValueError: these bytes are not taken; the readable twin says why.
"""

Buffer = bytes | bytearray | memoryview

def walk(
    raw: bytes, place: int, count: int, /
) -> tuple[int, int, bytes, bytes, bytes, bytes, bytes]:
    """Walk over transactions; see chains.bitcoin.block.

    Returned: the place after the last one, bytes without witnesses, the ids, the places of outputs,
    how many there are up to each transaction's end, the same two of inputs.
    """

def merkle_root(hashes: bytes, /) -> bytes:
    """Return the root over ids of 32 bytes each."""

def add(table: bytearray, factor: bytes, texts: list[bytes], /) -> int:
    """Put texts into a table with enough room, return how many were not in it."""

def move(table: bytearray, into: bytearray, /) -> None:
    """Put all entries of a table into an empty one."""

def has(table: bytearray, factor: bytes, text: bytes, /) -> bool:
    """Return whether a text is in a table."""

def paid(raw: bytes, outputs: Buffer, table: bytearray, factor: bytes, /) -> list[int]:
    """Return which of the outputs at these places have a script that is in a table."""

def used(raw: bytes, inputs: Buffer, table: bytearray, factor: bytes, /) -> list[int]:
    """Return which of the inputs at these places name a coin that is in a table."""

def sha256(data: bytes, portable: bool, /) -> bytes:
    """Return SHA-256, by the processor's own instructions or without them."""
