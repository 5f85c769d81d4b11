"""A raw block proves itself, or nothing in it counts."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from btclib.block import Block as LibraryBlock

from chains.bitcoin.block import IncompleteBlock, RawBlock, parse_block, target_of
from chains.bitcoin.params import NETWORKS, SUPPLY_MAX
from chains.bitcoin.tx import OutPoint, Tx, TxIn, TxOut, write_count
from tests.support.bitcoin import LOCAL
from tests.support.coin_blocks import (
    NO_COIN,
    Written,
    block_of,
    coinbase,
    random_tx,
    root_of,
    sealed,
)

HEIGHT = 500


class Everything:
    """What contains every key."""

    def __contains__(self, key: object) -> bool:
        return True


def parse(block: Written, *, height: int | None = None) -> RawBlock:
    return parse_block(
        block.raw,
        block_hash=block.hash,
        height=block.height if height is None else height,
        network=LOCAL,
    )


def raw_of(*parts: bytes, txs: int = 2) -> Written:
    """Return a block of a coinbase and bytes that are no honest transaction."""
    first = coinbase(HEIGHT)
    body = write_count(txs) + first.serialise() + b"".join(parts)
    return sealed(body, root_of([first.tx_hash, bytes(32)]), height=HEIGHT)


def refused(block: Written) -> str:
    with pytest.raises(IncompleteBlock) as error:
        parse(block)
    return error.value.what


@pytest.mark.parametrize("seed", range(25))
def test_a_block_is_read_as_another_library_reads_it(seed: int) -> None:
    dice = random.Random(seed)
    block = block_of(HEIGHT + seed, [random_tx(dice) for _ in range(dice.randrange(12))])
    read = parse(block)
    library = LibraryBlock.parse(block.raw, check_validity=False)
    assert read.tx_hashes == tuple(tx.id[::-1] for tx in library.transactions)
    assert [
        (one.tx_hash, one.index, one.amount, one.script) for one in read.paid(Everything())
    ] == [
        (tx.id[::-1], index, out.value, out.script_pub_key.script)
        for tx in library.transactions
        for index, out in enumerate(tx.vout)
    ]
    assert [(one.tx_hash, one.coin) for one in read.used(Everything())] == [
        (tx.id[::-1], spent.prev_out.serialize(check_validity=False))
        for tx in library.transactions
        for spent in tx.vin
    ]
    assert read.parent_hash == library.header.previous_block_hash.hex()


def test_only_what_was_asked_for_is_found_and_the_coinbase_is_marked() -> None:
    script = b"\x00\x14" + bytes(range(20))
    coin = OutPoint(bytes(range(32)), 7)
    tx = Tx(2, (TxIn(coin, 0),), (TxOut(1, b"\x51"), TxOut(5, script), TxOut(6, script[:-1])), 0)
    first = coinbase(HEIGHT, TxOut(2, script))
    body = write_count(2) + first.serialise() + tx.serialise()
    read = parse(sealed(body, root_of([first.tx_hash, tx.tx_hash]), height=HEIGHT))
    found = [(one.tx_hash, one.index, one.amount, one.is_coinbase) for one in read.paid({script})]
    assert found == [(first.tx_hash, 0, 2, True), (tx.tx_hash, 1, 5, False)]
    assert [(one.coin, one.tx_hash) for one in read.used({coin.serialise()})] == [
        (coin.serialise(), tx.tx_hash)
    ]
    assert [(one.index, one.amount) for one in read.coinbase()] == [(0, 2)]


def test_no_byte_that_an_id_depends_on_can_be_another() -> None:
    dice = random.Random(7)
    tx = Tx(2, (TxIn(OutPoint(dice.randbytes(32), 1), 5, b"\x51"),), (TxOut(9, b"\x52"),), 0)
    block = block_of(HEIGHT, [tx])
    for place in range(len(block.raw)):
        for flip in (1, 0x80, 0xFF):
            other = bytearray(block.raw)
            other[place] ^= flip
            try:
                read = parse(replace(block, raw=bytes(other)))
            except IncompleteBlock:
                continue
            assert read.tx_hashes == parse(block).tx_hashes, place  # a witness, which no id names


def test_no_part_of_a_block_and_nothing_longer_is_a_block() -> None:
    block = block_of(HEIGHT, [random_tx(random.Random(3))])
    for size in (0, 1, 79, 80, 81, *range(82, len(block.raw), 7), len(block.raw) - 1):
        refused(replace(block, raw=block.raw[:size]))
    for tail in (b"\x00", bytes(4), block.raw[80:], bytes(4_000_000)):
        refused(replace(block, raw=block.raw + tail))
    parse(block)


def test_the_header_has_the_work_that_it_claims_and_the_network_asks_for() -> None:
    txs = [random_tx(random.Random(1))]
    good = block_of(HEIGHT, txs)
    body, root = good.raw[80:], good.raw[36:68]
    short = sealed(body, root, height=HEIGHT, enough=False)
    assert "work that it claims" in refused(short)
    harder = sealed(body, root, height=HEIGHT, bits=0x1D00FFFF)
    assert "work that it claims" in refused(harder)
    for bits in (0x2100FFFF, 0x20FFFFFF, 0x207FFFFF | 0x800000, 0, 0x01000000, 0xFF7FFFFF):
        assert "less work" in refused(sealed(body, root, height=HEIGHT, bits=bits))
    with pytest.raises(IncompleteBlock, match="less work"):
        parse_block(good.raw, block_hash=good.hash, height=HEIGHT, network=NETWORKS["main"])


def test_compact_targets_are_read_as_the_standard_examples_say() -> None:
    assert target_of(0x1D00FFFF) == 0xFFFF << 208
    assert target_of(0x207FFFFF) == 0x7FFFFF << 232
    assert target_of(0x05009234) == 0x92340000
    assert target_of(0x01123456) == 0x12
    assert target_of(0x04923456) == 0  # negative


def test_a_repeated_transaction_gives_the_same_root_and_is_refused() -> None:
    dice = random.Random(11)
    txs = [random_tx(dice) for _ in range(2)]
    good = block_of(HEIGHT, txs)
    every = [coinbase(HEIGHT), *txs, txs[-1]]
    body = write_count(4) + b"".join(tx.serialise() for tx in every)
    twin = replace(good, raw=good.raw[:80] + body)
    assert root_of([tx.tx_hash for tx in every]) == good.raw[36:68]
    assert "repeated" in refused(twin)
    parse(good)


def test_a_block_names_its_height() -> None:
    for height in (1, 16, 17, 127, 128, 255, 256, 32_767, 32_768, 900_000):
        block = block_of(height, [])
        assert parse(block).height == height
        for other in (height - 1, height + 1, height + 256):
            with pytest.raises(IncompleteBlock, match="height"):
                parse(block, height=other or 300)


def test_the_first_transaction_alone_makes_new_coins() -> None:
    plain = Tx(2, (TxIn(OutPoint(bytes(32), 0), 0, b"\x02\xf4\x01"),), (TxOut(1, b""),), 0)
    double = replace(coinbase(HEIGHT), inputs=coinbase(HEIGHT).inputs * 2, witnesses=())
    for first in (plain, double):
        body = b"\x01" + first.serialise()
        assert "coinbase" in refused(sealed(body, first.tx_hash, height=HEIGHT))
    assert coinbase(HEIGHT).inputs[0].outpoint == NO_COIN


def test_what_is_not_the_one_spelling_of_a_transaction_stops_the_reader() -> None:
    source = bytes(36) + b"\x00" + bytes(4)
    target = bytes(8) + b"\x00"
    head, tail = b"\x02\0\0\0", bytes(4)
    plain = head + b"\x01" + source + b"\x01" + target + tail
    assert "merkle root" in refused(raw_of(plain))  # the control: only its id is not the root's
    bad = {
        "another kind": head + b"\x00\x02\x01" + source + b"\x01" + target + b"\x00" + tail,
        "no inputs": head + b"\x00\x00" + tail + bytes(60),
        "marked but bare": head + b"\x00\x01\x01" + source + b"\x01" + target + b"\x00" + tail,
        "no outputs": head + b"\x01" + source + b"\x00" + tail + bytes(20),
        "a longer count": head + b"\xfd\x01\x00" + source + b"\x01" + target + tail,
        "a longer size": head + b"\x01" + source + b"\x01" + bytes(8) + b"\xfd\x00\x00" + tail,
        "more outputs than bytes": head + b"\x01" + source + b"\xfe" + b"\xff" * 4
        + target + tail,
        "a script without end": head + b"\x01" + source + b"\x01" + bytes(8)
        + b"\xff" + b"\xff" * 8 + tail,
        "more than can exist": head + b"\x01" + source + b"\x01"
        + (SUPPLY_MAX + 1).to_bytes(8, "little") + b"\x00" + tail,
        "more in all": head + b"\x01" + source + b"\x02"
        + (SUPPLY_MAX.to_bytes(8, "little") + b"\x00") * 2 + tail,
    }  # fmt: skip
    for what, tx in bad.items():
        assert "merkle root" not in refused(raw_of(tx)), what
    assert "do not fit" in refused(raw_of(plain, txs=3_000_000))


def test_a_block_heavier_than_consensus_allows_is_refused() -> None:
    big = Tx(2, (TxIn(OutPoint(bytes(32), 1), 0),), (TxOut(0, bytes(990_000)),), 0)
    parse(block_of(HEIGHT, [big]))
    bigger = replace(big, outputs=(TxOut(0, bytes(1_000_000)),))
    assert "heavier" in refused(block_of(HEIGHT, [bigger]))
