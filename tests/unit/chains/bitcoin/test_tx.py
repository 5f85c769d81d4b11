"""Transactions: only their one spelling is read."""

from __future__ import annotations

import pytest
from btclib.tx import tx as library
from hypothesis import given
from hypothesis import strategies as st

from chains.bitcoin.params import SUPPLY_MAX
from chains.bitcoin.tx import (
    TX_BYTES_MAX,
    Cursor,
    OutPoint,
    Tx,
    TxIn,
    TxOut,
    parse_output,
    parse_tx,
    write_blob,
    write_count,
)
from core.errors import Reason, Refused

# The first transaction of the main network's first block.
FIRST = bytes.fromhex(
    "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff00"
    "1d0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b20"
    "6f66207365636f6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afd"
    "b0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c"
    "384df7ba0b8d578a4c702b6bf11d5fac00000000"
)
FIRST_ID = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"
PLAIN = (
    Tx(
        2,
        (TxIn(OutPoint(b"\x11" * 32, 1), 0xFFFFFFFD),),
        (TxOut(5_000, b"\x00\x14" + b"\x22" * 20),),
        0,
    )
).serialise()
SIGNED = [
    parse_tx(PLAIN).signed(((b"\x30" * 71, b"\x02" * 33),)).serialise(),
    Tx(
        1,
        tuple(TxIn(OutPoint(bytes((n,)) * 32, n), n, b"\x00" * n) for n in (1, 2, 3)),
        tuple(TxOut(n, b"\x51" * n) for n in (0, 1, 252, 253)),
        500_000,
    )
    .signed(((), (b"\x01" * 64,), (b"", b"\x04")))
    .serialise(),
    FIRST,
]


def test_the_first_transaction_there_was_has_its_name() -> None:
    assert parse_tx(FIRST).tx_id == FIRST_ID


outpoints = st.builds(OutPoint, st.binary(min_size=32, max_size=32), st.integers(0, 2**32 - 1))
scripts = st.binary(max_size=300)
inputs = st.builds(TxIn, outpoints, st.integers(0, 2**32 - 1), scripts)
outputs = st.builds(TxOut, st.integers(0, SUPPLY_MAX // 8), scripts)
witness = st.lists(st.binary(max_size=300), max_size=3).map(tuple)


@st.composite
def transactions(draw: st.DrawFn) -> Tx:
    """Draw a transaction, signed or not."""
    spent = draw(st.lists(inputs, min_size=1, max_size=4).map(tuple))
    made = draw(st.lists(outputs, min_size=1, max_size=4).map(tuple))
    tx = Tx(draw(st.integers(1, 2**31 - 1)), spent, made, draw(st.integers(0, 2**32 - 1)))
    witnesses = tuple(draw(st.lists(witness, min_size=len(spent), max_size=len(spent))))
    return tx.signed(witnesses) if any(witnesses) else tx


def refusal(data: bytes, *, may_be_signed: bool = True) -> Reason:
    """Return why some bytes are no transaction."""
    with pytest.raises(Refused) as refused:
        parse_tx(data, may_be_signed=may_be_signed)
    return refused.value.reason


@given(transactions())
def test_a_transaction_is_read_as_it_was_written(tx: Tx) -> None:
    data = tx.serialise()
    assert parse_tx(data) == tx
    assert parse_tx(data).serialise() == data


@pytest.mark.parametrize("data", SIGNED)
def test_another_library_names_transactions_alike(data: bytes) -> None:
    tx, other = parse_tx(data), library.Tx.parse(data)
    assert tx.serialise() == data
    assert tx.tx_id == other.id.hex()
    assert tx.weight == other.weight
    assert tx.stripped == other.serialize(include_witness=False)


@given(st.sampled_from(SIGNED), st.integers(0, 10_000), st.integers(0, 255))
def test_changed_bytes_are_refused_or_make_other_bytes(data: bytes, place: int, byte: int) -> None:
    changed = bytearray(data)
    changed[place % len(data)] = byte
    try:
        tx = parse_tx(bytes(changed))
    except Refused:
        return
    assert tx.serialise() == bytes(changed)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_read_whole(data: bytes) -> None:
    try:
        tx = parse_tx(data)
    except Refused:
        return
    assert tx.serialise() == data


def with_outputs(*amounts: int) -> bytes:
    """Return a transaction that makes these amounts."""
    spent = (TxIn(OutPoint(b"\x11" * 32, 0), 0xFFFFFFFD),)
    return Tx(2, spent, tuple(TxOut(amount, b"") for amount in amounts), 0).serialise()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PLAIN + b"\x00",
        PLAIN[:-1],
        PLAIN[4:],
        SIGNED[0] + b"\x00",
        SIGNED[0][:-1],
        PLAIN[:4] + b"\xfd\x01\x00" + PLAIN[5:],  # one input, counted in three bytes
        PLAIN[:4] + b"\xfe\x01\x00\x00\x00" + PLAIN[5:],
        PLAIN[:4] + b"\xff" + b"\x01" + bytes(7) + PLAIN[5:],
        PLAIN[:4] + b"\xff" + b"\xff" * 8 + PLAIN[5:],
        PLAIN[:4] + b"\x00\x01" + PLAIN[4:-4] + b"\x00" + PLAIN[-4:],  # marked, without a witness
        PLAIN[:4] + b"\x00\x02" + PLAIN[4:-4] + b"\x00" + PLAIN[-4:],
        PLAIN[:4] + b"\x00\x00" + PLAIN[-4:],
        (2).to_bytes(4, "little") + b"\x00" + bytes(4),
        with_outputs(),
        Tx(2, parse_tx(PLAIN).inputs, (TxOut(1, bytes(TX_BYTES_MAX)),), 0).serialise(),
    ],
)
def test_other_spellings_are_refused(data: bytes) -> None:
    assert refusal(data) is Reason.UNDECODABLE


def test_a_signed_transaction_is_refused_where_none_may_be() -> None:
    assert refusal(SIGNED[0], may_be_signed=False) is Reason.UNDECODABLE


@pytest.mark.parametrize(
    "amounts",
    [(SUPPLY_MAX + 1,), (SUPPLY_MAX, 1), (2**64 - 1,), (2**63, 2**63), (1, SUPPLY_MAX, 1)],
)
def test_amounts_never_exceed_all_coins(amounts: tuple[int, ...]) -> None:
    assert refusal(with_outputs(*amounts)) is Reason.AMOUNT_OUT_OF_RANGE


def test_all_coins_at_once_are_still_an_amount() -> None:
    assert parse_tx(with_outputs(SUPPLY_MAX)).outputs[0].amount == SUPPLY_MAX


@given(st.integers(0, 2**64 - 1))
def test_a_count_has_one_spelling(number: int) -> None:
    cursor = Cursor(write_count(number))
    assert cursor.count() == number
    cursor.end()


def test_a_count_above_64_bits_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="64 bits"):
        write_count(1 << 64)


def test_an_output_alone_is_read_whole() -> None:
    output = TxOut(5, b"\x51")
    with pytest.raises(Refused) as refused:
        parse_output(TxOut(SUPPLY_MAX + 1, b"\x51").serialise())
    assert refused.value.reason is Reason.AMOUNT_OUT_OF_RANGE
    assert parse_output(output.serialise()) == output
    with pytest.raises(Refused):
        parse_output(output.serialise() + b"\x00")


def test_a_coin_is_named_as_nodes_name_it() -> None:
    outpoint = OutPoint(bytes(range(32)), 7)
    assert outpoint.text == bytes(range(32))[::-1].hex() + ":7"
    assert Cursor(write_blob(outpoint.serialise())).blob() == outpoint.serialise()
