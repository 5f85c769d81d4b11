"""RLP against the library, and every non-canonical form refused."""

from __future__ import annotations

import pytest
import rlp as library  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from chains.evm import rlp
from chains.evm.trie import EMPTY_ROOT, ordered_root
from core.errors import Reason, Refused

ITEMS = st.recursive(
    st.binary(max_size=80), lambda inner: st.lists(inner, max_size=5), max_leaves=8
)


def depth(item: object) -> int:
    """Return how deep lists are nested."""
    return 1 + max(map(depth, item), default=0) if isinstance(item, list) else 0


@given(ITEMS.filter(lambda item: depth(item) <= rlp.DEPTH_MAX))
def test_encoding_equals_the_library_s_and_decoding_inverts_it(item: rlp.Item) -> None:
    encoded = rlp.encode(item)
    assert encoded == library.encode(item)
    assert rlp.decode(encoded) == item


@given(st.binary(max_size=120))
def test_any_bytes_are_refused_or_have_exactly_one_encoding(data: bytes) -> None:
    try:
        item = rlp.decode(data)
    except Refused:
        return
    assert rlp.encode(item) == data
    assert library.decode(data, strict=True) is not None


@given(st.integers(0, 2**256 - 1))
def test_integers_are_shortest_and_come_back(number: int) -> None:
    encoded = rlp.encode_int(number)
    assert encoded[:1] != b"\0"
    assert rlp.decode_int(encoded) == number


@pytest.mark.parametrize(
    "hexadecimal",
    [
        "",
        "81",
        "8100",  # a single byte below 0x80 needs no prefix
        "817f",
        "b800",  # a long length that is short
        "b83700",
        "b80180",
        "f801c0",
        "b90001" + "00",  # a length with a leading zero
        "c1",
        "c281",
        "f800",
        "c18100",
        "8080",  # two items
        "c0c0",
        "83616263ff",
        "bfffffffffffffffff",
        "ffffffffffffffffff",
        "c1" * 2000,
        "c9" * 9 + "c0",
    ],
)
def test_what_is_not_canonical_is_refused(hexadecimal: str) -> None:
    with pytest.raises(Refused) as refusal:
        rlp.decode(bytes.fromhex(hexadecimal))
    assert refusal.value.reason is Reason.UNDECODABLE


@pytest.mark.parametrize("item", [[], [b"1"], b"\0", b"\0\1"])
def test_what_is_no_integer_is_refused(item: rlp.Item) -> None:
    with pytest.raises(Refused):
        rlp.decode_int(item)


def test_the_empty_trie_has_the_root_every_header_shows() -> None:
    # The constant stands in every header without transactions.
    empty = "56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"
    assert EMPTY_ROOT.hex() == ordered_root([]).hex() == empty


@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=300), st.data())
def test_any_change_of_any_value_changes_the_root(values: list[bytes], data: st.DataObject) -> None:
    root = ordered_root(values)
    place = data.draw(st.integers(0, len(values) - 1))
    changed = [*values]
    changed[place] += b"\1"
    assert ordered_root(changed) != root
    assert ordered_root([*values, b"\1"]) != root
    assert ordered_root(values[:-1]) != root
