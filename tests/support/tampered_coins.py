"""Tampered payloads of a chain that spends coins (S08), each with the reason it is refused for.

Every case changes one thing of an honest request; what the change starts from, its twin, is signed.
`CASES_OF_BYTES` are seen from the bytes alone, by the decoder.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass

from chains.base import SpendIntent, UnsignedTx
from chains.bitcoin.address import script_of
from chains.bitcoin.hashes import hash160
from chains.bitcoin.params import COIN, SUPPLY_MAX
from chains.bitcoin.tx import OutPoint, Tx, TxIn, TxOut, parse_tx
from core.errors import Reason
from custody.keys.signers import KeyRef
from tests.support.bitcoin import (
    CHANGE,
    FEE,
    HOT,
    LOCAL,
    SIGNER,
    STRANGER,
    Draft,
    DraftInput,
    DraftOutput,
    Wallet,
    address_of,
    coin_of,
    draft_of,
    funding,
    write_map,
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a signer is asked: an intent, a transaction and which keys it is said to need."""

    intent: SpendIntent
    unsigned: UnsignedTx
    input_keys: tuple[KeyRef, ...] = (HOT, HOT)
    change_keys: tuple[KeyRef, ...] = (CHANGE,)


@dataclass(frozen=True, slots=True)
class Case:
    """One tampered request. `twin` is the honest draft that its change starts from."""

    name: str
    reason: Reason
    tamper: Callable[[Draft], Draft]
    twin: Callable[[], Draft] = Wallet().draft


def siphon() -> Draft:
    """Return the honest transaction of S08: coins of 15 and 20, nearly all of it paid out."""
    coins = [coin_of(funding(address_of(HOT), n * COIN, salt=n)) for n in (15, 20)]
    return draft_of(coins, (STRANGER, 4 * COIN), (address_of(CHANGE), 31 * COIN - FEE))


def siphon_half(number: int, claimed: int, *, with_proof: bool) -> Callable[[Draft], Draft]:
    """Return the change that lies about one coin, so that the fee looks small.

    Two such halves, each with the other coin told truly, combine to a transaction that pays what
    was not seen as fee.
    """

    def tamper(draft: Draft) -> Draft:
        lie = TxOut(claimed, script_of(address_of(HOT), LOCAL)).serialise()
        previous = draft.inputs[number].previous if with_proof else None
        change = 20 * COIN if number == 0 else 15 * COIN
        paid = change + claimed - 4 * COIN - FEE
        return draft.with_input(number, output=lie, previous=previous).with_output(1, amount=paid)

    return tamper


def of_script(script: bytes) -> Callable[[Draft], Draft]:
    """Return the change that spends a coin of another script."""

    def tamper(draft: Draft) -> Draft:
        spent = TxIn(OutPoint(b"\x07" * 32, 0), 0)
        tx = Tx(2, (spent,), (TxOut(2 * COIN, script),), 0)
        return draft.with_input(1, tx_id=tx.tx_id, index=0, previous=tx.serialise())

    return tamper


def forged_previous(draft: Draft) -> Draft:
    """Say more of a coin than its transaction says: then it is another transaction."""
    assert draft.inputs[1].previous is not None
    real = parse_tx(draft.inputs[1].previous)
    outputs = (real.outputs[0], TxOut(real.outputs[1].amount + 1, real.outputs[1].script))
    forged = Tx(real.version, real.inputs, outputs, real.locktime, real.witnesses)
    return draft.with_input(1, previous=forged.serialise())


def field(kind: int, value: bytes = b"", rest: bytes = b"") -> Callable[[Draft], Draft]:
    """Return the change that adds a field to the first input."""
    return lambda draft: draft.with_input(0, more=((bytes((kind,)) + rest, value),))


def scope(number: int) -> Callable[[Draft], Draft]:
    """Return the change that asks for a signature of another scope."""
    return lambda draft: draft.with_input(1, scope=number)


def rich(salt: int) -> DraftInput:
    """Return a coin that holds everything there is."""
    coin = coin_of(funding(address_of(HOT), SUPPLY_MAX, salt=salt))
    return DraftInput(coin.tx_id, coin.index, coin.previous)


def output(script: bytes, amount: int = 0) -> Callable[[Draft], Draft]:
    """Return the change that adds an output, paid by the change output."""
    return lambda draft: draft.with_output(1, amount=draft.outputs[1].amount - amount).changed(
        outputs=(*draft.outputs, DraftOutput(amount, script))
    )


def marked_as_signed(draft: Draft) -> Draft:
    """Write the unsigned transaction in the form that carries witnesses, with empty ones."""
    raw = draft.transaction()
    witnesses = b"\x00" * len(draft.inputs)
    return draft.changed(raw=raw[:4] + b"\x00\x01" + raw[4:-4] + witnesses + raw[-4:])


def counted_longer(draft: Draft) -> Draft:
    """Write the number of inputs in three bytes instead of one."""
    raw = draft.transaction()
    return draft.changed(raw=raw[:4] + b"\xfd" + raw[4:5] + b"\x00" + raw[5:])


def of_version_2(draft: Draft) -> Draft:
    """Write the header of BIP-370: no unsigned transaction, its parts as fields."""
    globals_ = (
        (b"\x02", struct.pack("<I", 2)),
        (b"\x04", bytes((len(draft.inputs),))),
        (b"\x05", bytes((len(draft.outputs),))),
        (b"\xfb", struct.pack("<I", 2)),
    )
    plain = write_map([(b"\x00", draft.transaction())])
    return draft.changed(edit=lambda data: data.replace(plain, write_map(globals_), 1))


TAPROOT = b"\x51\x20" + bytes.fromhex(
    "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
)
OWN_KEY = SIGNER.public_key(HOT)
OWN_HASH = hash160(OWN_KEY)
SIGNATURE = b"\x30" * 71 + b"\x01"
UNPROVEN, UNDECODABLE = Reason.UNPROVEN_AMOUNT, Reason.UNDECODABLE

CASES_OF_BYTES = (
    # the amounts of the coins
    Case("coin_without_its_transaction", UNPROVEN, lambda d: d.with_input(1, previous=None)),
    Case("siphon_lies_about_20", UNPROVEN, siphon_half(1, 500_000_001, with_proof=False), siphon),
    Case("siphon_lies_about_15", UNPROVEN, siphon_half(0, 1, with_proof=False), siphon),
    Case(
        "siphon_of_20_with_a_proof", UNPROVEN,
        siphon_half(1, 500_000_001, with_proof=True), siphon,
    ),
    Case("siphon_of_15_with_a_proof", UNPROVEN, siphon_half(0, 1, with_proof=True), siphon),
    Case("transactions_exchanged", UNPROVEN, lambda d: d.with_input(
        0, previous=d.inputs[1].previous)),
    Case("transaction_says_more", UNPROVEN, forged_previous),
    Case("output_that_is_not_there", UNPROVEN, lambda d: d.with_input(0, index=2)),
    Case("coin_named_by_another_transaction", UNPROVEN, lambda d: d.with_input(0, tx_id="ab" * 32)),
    Case("claimed_for_another_script", UNPROVEN, lambda d: d.with_input(
        0, output=TxOut(3 * COIN, script_of(STRANGER, LOCAL)).serialise())),
    Case("more_out_than_in", UNPROVEN, lambda d: d.with_output(1, amount=COIN + 1)),
    # what the signature covers
    Case("scope_none", Reason.SIGNATURE_SCOPE, scope(2)),
    Case("scope_single", Reason.SIGNATURE_SCOPE, scope(3)),
    Case("scope_all_others_may_pay", Reason.SIGNATURE_SCOPE, scope(0x81)),
    Case("scope_none_others_may_pay", Reason.SIGNATURE_SCOPE, scope(0x82)),
    Case("scope_single_others_may_pay", Reason.SIGNATURE_SCOPE, scope(0x83)),
    Case("scope_of_taproot", Reason.SIGNATURE_SCOPE, scope(0)),
    Case("scope_above_a_byte", Reason.SIGNATURE_SCOPE, scope(0x101)),
    # whose coins
    Case("taproot_coin", Reason.FOREIGN_INPUT, of_script(TAPROOT)),
    Case("coin_of_a_script", Reason.FOREIGN_INPUT, of_script(b"\xa9\x14" + OWN_HASH + b"\x87")),
    Case("coin_of_an_old_kind", Reason.FOREIGN_INPUT, of_script(
        b"\x76\xa9\x14" + OWN_HASH + b"\x88\xac")),
    Case("coin_of_a_witness_script", Reason.FOREIGN_INPUT, of_script(b"\x00\x20" + bytes(32))),
    Case("coin_of_anybody", Reason.FOREIGN_INPUT, of_script(b"\x51")),
    # where it goes
    Case("note_output", Reason.EXTRA_EFFECT, output(b"\x6a\x04note")),
    Case("output_to_a_bare_key", Reason.EXTRA_EFFECT, output(
        b"\x21" + OWN_KEY + b"\xac", 1_000)),
    Case("output_to_anybody", Reason.EXTRA_EFFECT, output(b"\x51", 1_000)),
    Case("output_to_a_later_version", Reason.EXTRA_EFFECT, output(b"\x52\x20" + bytes(32), 1_000)),
    Case("output_to_nobody", Reason.FORBIDDEN_DESTINATION, output(b"\x00\x14" + bytes(20), 1_000)),
    Case("dust", Reason.BELOW_MINIMUM, output(b"\x00\x14" + OWN_HASH, 293)),
    Case("change_of_nothing", Reason.BELOW_MINIMUM, lambda d: d.with_output(1, amount=0)),
    Case("rate_above_the_cap", Reason.FEE_ABOVE_CAP, lambda d: d.with_output(1, amount=COIN // 2)),
    Case("no_change_at_all", Reason.FEE_ABOVE_CAP, lambda d: d.changed(outputs=d.outputs[:1])),
    # amounts that do not exist
    Case("amount_of_64_bits", Reason.AMOUNT_OUT_OF_RANGE, lambda d: d.with_output(
        1, amount=2**64 - 1)),
    Case("amount_above_all_coins", Reason.AMOUNT_OUT_OF_RANGE, lambda d: d.with_output(
        1, amount=SUPPLY_MAX + 1)),
    Case("coins_above_all_coins", Reason.AMOUNT_OUT_OF_RANGE, lambda d: d.changed(inputs=(
        rich(1), rich(2)))),
    Case("sum_above_all_coins", Reason.AMOUNT_OUT_OF_RANGE, lambda d: d.with_output(
        1, amount=SUPPLY_MAX)),
    # the transaction's own fields
    Case("version_1", UNDECODABLE, lambda d: d.changed(version=1)),
    Case("version_3", UNDECODABLE, lambda d: d.changed(version=3)),
    Case("locked_to_a_time", UNDECODABLE, lambda d: d.changed(locktime=1_700_000_000)),
    Case("locked_to_a_later_height", UNDECODABLE, lambda d: d.changed(locktime=100_000)),
    Case("not_replaceable", UNDECODABLE, lambda d: d.with_input(1, sequence=0xFFFFFFFE)),
    Case("final", UNDECODABLE, lambda d: d.with_input(0, sequence=0xFFFFFFFF)),
    Case("locked_relative_to_the_coin", UNDECODABLE, lambda d: d.with_input(0, sequence=144)),
    Case("coin_spent_twice", UNDECODABLE, lambda d: d.changed(inputs=(d.inputs[0],) * 2)),
    Case("input_already_signed", UNDECODABLE, lambda d: d.with_input(0, script=b"\x51")),
    Case("marked_as_signed", UNDECODABLE, marked_as_signed),
    Case("count_in_a_longer_form", UNDECODABLE, counted_longer),
    Case("no_outputs", UNDECODABLE, lambda d: d.changed(outputs=())),
    Case("no_inputs", UNDECODABLE, lambda d: d.changed(inputs=())),
    # the format around it
    Case("not_the_format", UNDECODABLE, lambda d: d.changed(magic=b"psbt\xfe")),
    Case("bare_transaction", UNDECODABLE, lambda d: d.changed(edit=lambda _: d.transaction())),
    Case("text_of_the_format", UNDECODABLE, lambda d: d.changed(edit=b64encode)),
    Case("bytes_after_the_end", UNDECODABLE, lambda d: d.changed(edit=lambda data: data + b"\x00")),
    Case("bytes_missing", UNDECODABLE, lambda d: d.changed(edit=lambda data: data[:-1])),
    Case("two_of_them", UNDECODABLE, lambda d: d.changed(edit=lambda data: data * 2)),
    Case("header_of_version_2", Reason.UNKNOWN_VERSION, of_version_2),
    Case("version_2_beside_version_0", Reason.UNKNOWN_VERSION, lambda d: d.changed(
        more=((b"\xfb", struct.pack("<I", 2)),))),
    Case("field_twice", UNDECODABLE, lambda d: d.with_input(
        0, more=((b"\x00", d.inputs[0].previous or b""),))),
    Case("transaction_twice", UNDECODABLE, lambda d: d.changed(more=((b"\x00", d.transaction()),))),
    Case("derivation_twice", UNDECODABLE, lambda d: d.with_input(
        0, more=((b"\x06" + OWN_KEY, bytes(4)), (b"\x06" + OWN_KEY, bytes(8))))),
    Case("unknown_field", UNDECODABLE, field(0x42, b"?")),
    Case("field_of_somebody", UNDECODABLE, field(0xFC, b"?", b"\x03abc\x00")),
    Case("longer_key", UNDECODABLE, field(0x01, b"", b"\x00")),
    Case("signature_inside", UNDECODABLE, field(0x02, SIGNATURE, OWN_KEY)),
    Case("script_of_a_script_hash", UNDECODABLE, field(0x04, b"\x00\x14" + OWN_HASH)),
    Case("script_of_a_witness", UNDECODABLE, field(0x05, b"\x51")),
    Case("finished_script", UNDECODABLE, field(0x07, b"\x51")),
    Case("finished_witness", UNDECODABLE, field(0x08, b"\x01\x01\x50")),
    Case("finished_witness_with_an_annex", UNDECODABLE, field(0x08, b"\x02\x01\x01\x01\x50")),
    Case("taproot_key", UNDECODABLE, field(0x17, OWN_KEY[1:])),
    Case("taproot_signature", UNDECODABLE, field(0x13, bytes(64))),
    Case("taproot_root", UNDECODABLE, field(0x18, bytes(32))),
    Case("scope_of_two_bytes", UNDECODABLE, field(0x03, b"\x01\x00")),
    Case("derivation_of_no_key", UNDECODABLE, field(0x06, bytes(4), bytes(33))),
    Case("derivation_of_a_long_key", UNDECODABLE, field(0x06, bytes(4), OWN_KEY + b"\x00")),
    Case("derivation_without_a_path", UNDECODABLE, field(0x06, b"", OWN_KEY)),
    Case("derivation_of_half_a_step", UNDECODABLE, field(0x06, bytes(6), OWN_KEY)),
    Case("extended_key_of_somebody", UNDECODABLE, lambda d: d.changed(
        more=((b"\x01" + bytes(78), bytes(4)),))),
    Case("output_with_a_script", UNDECODABLE, lambda d: d.with_output(
        1, more=((b"\x00", b"\x51"),))),
    Case("output_with_a_taproot_key", UNDECODABLE, lambda d: d.with_output(
        1, more=((b"\x05", OWN_KEY[1:]),))),
)  # fmt: skip
