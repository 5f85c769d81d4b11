"""Transactions of every version are read as another library writes them, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0, MessageV1, TransactionConfig
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from chains.solana.wire import UnreadableTransaction, WireTx, read_transaction

PAYER, OTHER = Keypair.from_seed(bytes([1] * 32)), Keypair.from_seed(bytes([2] * 32))
KEYS = [Pubkey(bytes([n]) * 32) for n in range(3, 40)]
TABLE = AddressLookupTableAccount(Pubkey(bytes([99]) * 32), KEYS[20:])

instructions = st.lists(
    st.builds(
        Instruction,
        st.sampled_from(KEYS[:4]),
        st.binary(max_size=40),
        st.lists(
            st.builds(
                lambda key, is_writable: AccountMeta(key, is_signer=False, is_writable=is_writable),
                st.sampled_from(KEYS[4:]),
                st.booleans(),
            ),
            max_size=6,
        ),
    ),
    max_size=4,
)
configs = st.builds(
    TransactionConfig,
    st.none() | st.integers(0, 10**9),
    st.none() | st.integers(0, 10**6),
    st.none() | st.integers(1, 10**6),
    st.none(),
)


def signed(message: Message | MessageV0 | MessageV1) -> bytes:
    signers = [PAYER, OTHER][: message.header.num_required_signatures]
    return bytes(VersionedTransaction(message, signers))


def with_signer(made: list[Instruction], *, two: bool) -> list[Instruction]:
    meta = AccountMeta(OTHER.pubkey(), is_signer=True, is_writable=False)
    return [*made, Instruction(KEYS[0], b"", [meta])] if two else made


def same(read: WireTx, transaction: VersionedTransaction) -> bool:
    message = transaction.message
    return (
        read.signature == bytes(transaction.signatures[0])
        and read.keys == tuple(bytes(key) for key in message.account_keys)
        and [(call.program, call.accounts, call.data) for call in read.calls]
        == [
            (one.program_id_index, bytes(one.accounts), bytes(one.data))
            for one in message.instructions
        ]
    )


@given(instructions, st.sampled_from(["legacy", "v0", "tables", "v1"]), configs, st.booleans())
@settings(max_examples=300, deadline=None)
def test_every_version_is_read_as_another_library_writes_it(
    made: list[Instruction], version: str, config: TransactionConfig, two: bool
) -> None:
    made, blockhash = with_signer(made, two=two), Hash(bytes([7] * 32))
    message: Message | MessageV0 | MessageV1
    if version == "legacy":
        message = Message.new_with_blockhash(made, PAYER.pubkey(), blockhash)
    elif version == "v1":
        message = MessageV1.try_compile(PAYER.pubkey(), made, blockhash, config)
    else:
        tables = [TABLE] if version == "tables" else []
        message = MessageV0.try_compile(PAYER.pubkey(), made, tables, blockhash)
    raw = signed(message)
    read = read_transaction(raw)
    assert same(read, VersionedTransaction.from_bytes(raw))
    assert read.version == {"legacy": "legacy", "v1": 1}.get(version, 0)
    if isinstance(message, MessageV0):
        found = message.address_table_lookups
        assert read.looked_up == (
            sum(len(one.writable_indexes) for one in found),
            sum(len(one.readonly_indexes) for one in found),
        )


def an_ordinary_one() -> bytes:
    made = [Instruction(KEYS[0], b"abc", [AccountMeta(KEYS[5], False, True)])]
    return signed(MessageV0.try_compile(PAYER.pubkey(), made, [], Hash(bytes([7] * 32))))


def test_an_unknown_version_stops_the_reader() -> None:
    raw = bytearray(an_ordinary_one())
    assert raw[65] == 0x80
    for version in (1, 2, 5, 127):
        raw[65] = 0x80 | version
        with pytest.raises(UnreadableTransaction):
            read_transaction(bytes(raw))
    newest = bytearray(
        signed(MessageV1.try_compile(PAYER.pubkey(), [], Hash(bytes([7] * 32)), None))
    )
    assert read_transaction(bytes(newest)).version == 1
    for version in (0, 2, 127):
        newest[0] = 0x80 | version
        with pytest.raises(UnreadableTransaction):
            read_transaction(bytes(newest))


def test_what_is_cut_or_longer_is_no_transaction() -> None:
    raw = an_ordinary_one()
    assert read_transaction(raw).version == 0
    for size in range(len(raw)):
        with pytest.raises(UnreadableTransaction):
            read_transaction(raw[:size])
    for longer in (raw + b"\0", raw + bytes(5_000)):
        with pytest.raises(UnreadableTransaction):
            read_transaction(longer)


@given(st.binary(max_size=300))
@settings(max_examples=500)
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        read_transaction(raw)
    except UnreadableTransaction:
        return


@given(st.integers(0, 10_000), st.integers(0, 255))
@settings(max_examples=500)
def test_a_changed_byte_never_gives_what_another_library_would_read_otherwise(
    place: int, byte: int
) -> None:
    raw = bytearray(an_ordinary_one())
    raw[place % len(raw)] = byte
    try:
        read = read_transaction(bytes(raw))
    except UnreadableTransaction:
        return
    assert same(read, VersionedTransaction.from_bytes(bytes(raw)))
