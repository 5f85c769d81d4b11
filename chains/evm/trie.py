"""The root of an ordered Merkle-Patricia trie: what a header commits its lists with.

Source: Ethereum Yellow Paper, appendix D. Keys are rlp(index), of which none is a prefix of
another, so a branch never holds a value.
"""

from __future__ import annotations

from collections.abc import Sequence

from eth_hash.auto import keccak

from chains.evm.rlp import Item, encode, encode_int

EMPTY_ROOT = keccak(b"\x80")

_Pairs = Sequence[tuple[bytes, bytes]]


def ordered_root(values: Sequence[bytes]) -> bytes:
    """Return the root over values keyed by their place in the list."""
    if not values:
        return EMPTY_ROOT
    pairs = sorted(
        (_nibbles(encode(encode_int(index))), value) for index, value in enumerate(values)
    )
    return keccak(encode(_node(pairs, 0)))


def _node(pairs: _Pairs, depth: int) -> Item:
    first, last = pairs[0][0], pairs[-1][0]
    if len(pairs) == 1:
        return [_compact(first[depth:], 0x20), pairs[0][1]]
    shared = depth
    while first[shared] == last[shared]:
        shared += 1
    if shared > depth:
        return [_compact(first[depth:shared], 0x00), _reference(_node(pairs, shared))]
    children: list[Item] = [b""] * 17
    start = 0
    for end in range(1, len(pairs) + 1):
        if end == len(pairs) or pairs[end][0][depth] != pairs[start][0][depth]:
            children[pairs[start][0][depth]] = _reference(_node(pairs[start:end], depth + 1))
            start = end
    return children


def _reference(node: Item) -> Item:
    encoded = encode(node)
    return node if len(encoded) < 32 else keccak(encoded)


def _nibbles(key: bytes) -> bytes:
    return bytes(nibble for byte in key for nibble in (byte >> 4, byte & 15))


def _compact(path: bytes, flag: int) -> bytes:
    if len(path) % 2:
        head, path = bytes((flag | 0x10 | path[0],)), path[1:]
    else:
        head = bytes((flag,))
    return head + bytes(path[i] << 4 | path[i + 1] for i in range(0, len(path), 2))
