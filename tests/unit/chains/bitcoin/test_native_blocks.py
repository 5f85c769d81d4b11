"""The native kernel reads blocks and keeps keys exactly as the readable Python does."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace

import pytest

from chains.bitcoin.block import RawBlock
from chains.bitcoin.tx import Tx, TxIn, TxOut
from chains.bitcoin.watch import FACTOR_BYTES, KEY_BYTES_MAX, Keys
from chains.native import _blocks
from tests.support.coin_blocks import Written, block_of, random_tx
from tests.support.coin_fuzz import HEIGHT, compared, read


def written(seed: int) -> tuple[Written, list[Tx]]:
    dice = random.Random(seed)
    txs = [random_tx(dice) for _ in range(dice.randrange(1, 12))]
    return block_of(HEIGHT, txs), txs


@pytest.mark.parametrize("seed", range(25))
def test_both_read_the_same_block(seed: int) -> None:
    block, _ = written(seed)
    found = read(block, native=True)
    assert isinstance(found, RawBlock)
    assert found == read(block, native=False)


def test_both_take_and_refuse_the_same_bytes_for_the_same_reason() -> None:
    seen, found = compared(0, 300)
    assert not found
    assert len(seen) > 5, "the bytes are wrong in many ways"
    assert any("merkle" in reason for reason in seen)


@pytest.mark.parametrize("seed", range(10))
def test_both_find_the_same_outputs_and_inputs(seed: int) -> None:
    block, txs = written(seed)
    dice = random.Random(seed)
    outputs = [output for tx in txs for output in tx.outputs if len(output.script) <= KEY_BYTES_MAX]
    coins = [one.outpoint.serialise() for tx in txs for one in tx.inputs]
    scripts = {output.script for output in dice.sample(outputs, len(outputs) // 2)}
    asked = set(dice.sample(coins, len(coins) // 2))
    found = read(block, native=True)
    assert isinstance(found, RawBlock)
    assert found.paid(Keys(scripts)) == found.paid(Keys(scripts, native=False))
    assert found.paid(Keys(scripts)) == found.paid(scripts)
    assert found.used(Keys(asked)) == found.used(asked)
    assert len(found.used(asked)) == len(asked)
    assert found.paid(Keys()) == []


@pytest.mark.parametrize("native", [True, False])
def test_a_size_beyond_all_numbers_ends_the_block_too_early(native: bool) -> None:
    _, txs = written(3)
    size = b"\xff" + (2**63).to_bytes(8, "little")
    output, source = TxOut(5, b"\x51" * 9), TxIn(txs[0].inputs[0].outpoint, 0, b"\x52" * 9)
    tx = Tx(2, (source, source), (output, output), 0)
    block = block_of(HEIGHT, [tx])
    for script in (output.script, source.script):
        huge = block.raw.replace(bytes([9]) + script, size + script[:1], 1)
        changed = replace(block, raw=huge)
        assert changed != block
        assert read(changed, native=native) == "incomplete_block: the bytes end too early"


def test_a_script_that_is_too_long_for_a_key_is_passed_over() -> None:
    tx = random_tx(random.Random(1))
    longer = tuple(TxOut(7, bytes(size)) for size in (0, 46, 47, 48, 252, 253, 9_000))
    block = block_of(HEIGHT, [replace(tx, outputs=longer)])
    found = read(block, native=True)
    assert isinstance(found, RawBlock)
    keys = [bytes(size) for size in range(KEY_BYTES_MAX + 1)]
    for native in (True, False):
        sizes = [len(one.script) for one in found.paid(Keys(keys, native=native))]
        assert sizes == [0, 46, 47]
    assert bytes(48) not in Keys(keys)
    for native in (True, False):
        with pytest.raises(ValueError, match="47 bytes"):
            Keys([bytes(48)], native=native)


@pytest.mark.parametrize("count", [1, 2, 63, 5_000])
def test_one_factor_gives_one_table(count: int) -> None:
    dice = random.Random(count)
    factor = dice.randbytes(FACTOR_BYTES)
    texts = [dice.randbytes(dice.randrange(KEY_BYTES_MAX + 1)) for _ in range(count)]
    native, python = Keys(factor=factor), Keys(factor=factor, native=False)
    for start in range(0, count, 1_000):
        some = texts[start : start + 1_000]
        native.add(some)
        python.add(some)
        native.add(some[:9])
        python.add(some[:9])
    assert native.table == python.table
    assert len(native) == len(python) == len(set(texts))
    others = [dice.randbytes(22) for _ in range(1_000)]
    for keys in (native, python):
        assert all(text in keys for text in texts)
        assert not any(text in keys for text in others)


def test_a_key_takes_at_most_32_bytes_however_many_there_are() -> None:
    keys = Keys()
    dice = random.Random(2)
    for _ in range(40):
        keys.add(dice.randbytes(22) for _ in range(5_000))
        if len(keys) > 100_000:
            assert keys.table_bytes <= 32 * len(keys)
    assert len(keys) == 200_000


def test_texts_that_differ_in_length_alone_are_different_keys() -> None:
    keys = Keys([bytes(5)])
    assert [size for size in range(KEY_BYTES_MAX + 1) if bytes(size) in keys] == [5]


def test_a_full_or_missing_table_is_refused_and_never_searched_for_ever() -> None:
    factor = bytes([1]) + bytes(FACTOR_BYTES - 1)
    table = bytearray(32)
    dice = random.Random(3)
    with pytest.raises(ValueError, match="no room"):
        _blocks.add(table, factor, [dice.randbytes(40) for _ in range(4)])
    assert not _blocks.has(table, dice.randbytes(FACTOR_BYTES), b"text")
    with pytest.raises(ValueError, match="no room"):
        _blocks.add(bytearray(), factor, [b"text"])
    with pytest.raises(ValueError, match="48 bytes"):
        _blocks.add(bytearray(64), factor[1:], [b"text"])


def test_places_beyond_the_end_are_refused() -> None:
    table, factor = bytearray(64), bytes([1]) + bytes(FACTOR_BYTES - 1)
    far = (2**32 - 1).to_bytes(4, "little")
    for ask in (_blocks.paid, _blocks.used):
        with pytest.raises(ValueError, match="beyond"):
            ask(bytes(100), far, table, factor)
    with pytest.raises(ValueError, match="beyond"):
        _blocks.paid(bytes(8) + b"\xfe\xff\xff", bytes(4), table, factor)
    with pytest.raises(ValueError, match="beyond"):
        _blocks.paid(bytes(8) + b"\x05\x00", bytes(4), table, factor)


def test_both_ways_to_hash_are_the_standard_one() -> None:
    dice = random.Random(4)
    for size in (*range(200), 1_000, 10_000):
        data = dice.randbytes(size)
        expected = hashlib.sha256(data).digest()
        assert _blocks.sha256(data, False) == _blocks.sha256(data, True) == expected
