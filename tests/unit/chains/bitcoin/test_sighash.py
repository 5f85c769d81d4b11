"""What is signed: the vectors of BIP-143 and BIP-341, and a second library beside them."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import coincurve
import pytest
from btclib.script import sig_hash
from btclib.script.engine import verify_transaction
from btclib.script.script_pub_key import ScriptPubKey
from btclib.tx import tx as library
from btclib.tx.tx_out import TxOut as LibraryTxOut
from hypothesis import given
from hypothesis import strategies as st

from chains.bitcoin.address import address_of_script
from chains.bitcoin.hashes import hash160, sha256
from chains.bitcoin.params import NETWORKS
from chains.bitcoin.sighash import ALL, ANYONE_CAN_PAY, DEFAULT, TaprootKeyPath, WitnessV0
from chains.bitcoin.tx import OutPoint, Tx, TxIn, TxOut, parse_tx

FOLDER = Path(__file__).parents[3] / "vectors"
BIP_143 = json.loads((FOLDER / "bitcoin_bip143.json").read_text("utf-8"))["cases"]
BIP_341 = json.loads((FOLDER / "bitcoin_bip341.json").read_text("utf-8"))
SPENDING = BIP_341["keyPathSpending"][0]
SCOPES = [kind | alone for kind, alone in product((1, 2, 3), (0, ANYONE_CAN_PAY))]


@pytest.mark.parametrize("case", BIP_143, ids=lambda case: case["name"])
def test_the_digests_of_bip_143_hold(case: dict[str, Any]) -> None:
    tx = parse_tx(bytes.fromhex(case["unsigned"]))
    code = bytes.fromhex(case["script_code"])
    digest = WitnessV0(tx).digest(case["index"], code, amount=case["amount"], scope=case["scope"])
    assert digest.hex() == case["digest"]


@pytest.mark.parametrize("case", BIP_143[:2], ids=lambda case: case["name"])
def test_the_signatures_of_bip_143_are_ours_byte_for_byte(case: dict[str, Any]) -> None:
    tx = parse_tx(bytes.fromhex(case["unsigned"]))
    key_hash = hash160(bytes.fromhex(case["public_key"]))
    digest = WitnessV0(tx).key_digest(case["index"], key_hash=key_hash, amount=case["amount"])
    key = coincurve.PrivateKey.from_hex(case["private_key"])
    assert key.sign(digest, hasher=None) + bytes((ALL,)) == bytes.fromhex(case["signature"])


def spent_outputs() -> list[TxOut]:
    """Return the coins that the transaction of BIP-341 spends."""
    utxos = SPENDING["given"]["utxosSpent"]
    return [TxOut(utxo["amountSats"], bytes.fromhex(utxo["scriptPubKey"])) for utxo in utxos]


@pytest.mark.parametrize("case", SPENDING["inputSpending"], ids=lambda c: c["given"]["hashType"])
def test_the_digests_of_bip_341_hold_and_its_signatures_sign_them(case: dict[str, Any]) -> None:
    tx = parse_tx(bytes.fromhex(SPENDING["given"]["rawUnsignedTx"]))
    index, scope = case["given"]["txinIndex"], case["given"]["hashType"]
    digest = TaprootKeyPath(tx, spent_outputs()).digest(index, scope=scope)
    assert digest.hex() == case["intermediary"]["sigHash"]
    signature = bytes.fromhex(case["expected"]["witness"][0])
    assert signature[64:] == (bytes((scope,)) if scope != DEFAULT else b"")
    key = coincurve.PublicKeyXOnly(spent_outputs()[index].script[2:])
    assert key.verify(signature[:64], digest)


@pytest.mark.parametrize(
    "case", BIP_341["scriptPubKey"], ids=lambda c: c["expected"]["bip350Address"]
)
def test_the_scripts_of_bip_341_have_its_addresses(case: dict[str, Any]) -> None:
    script = bytes.fromhex(case["expected"]["scriptPubKey"])
    address = case["expected"]["bip350Address"]
    assert address_of_script(script, NETWORKS["main"]) == address


def test_a_second_library_finds_the_signed_transaction_of_bip_341_valid() -> None:
    signed = library.Tx.parse(bytes.fromhex(SPENDING["auxiliary"]["fullySignedTx"]))
    verify_transaction(library_outputs(spent_outputs()), signed)


def library_outputs(outputs: list[TxOut]) -> list[LibraryTxOut]:
    """Return outputs as the second library has them."""
    return [LibraryTxOut(one.amount, ScriptPubKey(one.script)) for one in outputs]


amounts = st.integers(0, 10**12)
programs = st.binary(min_size=20, max_size=20).map(lambda data: b"\x00\x14" + data)
outputs = st.builds(TxOut, amounts, programs)
inputs = st.builds(
    TxIn,
    st.builds(OutPoint, st.binary(min_size=32, max_size=32), st.integers(0, 2**31)),
    st.integers(0, 2**32 - 1),
)


@st.composite
def spends(draw: st.DrawFn) -> tuple[Tx, list[TxOut]]:
    """Draw a transaction and the coins it spends."""
    spent = draw(st.lists(inputs, min_size=1, max_size=4, unique_by=lambda one: one.outpoint))
    made = draw(st.lists(outputs, min_size=1, max_size=4))
    coins = draw(st.lists(outputs, min_size=len(spent), max_size=len(spent)))
    version, locktime = draw(st.integers(1, 2)), draw(st.integers(0, 2**32 - 1))
    return Tx(version, tuple(spent), tuple(made), locktime), coins


@given(spends(), st.sampled_from(SCOPES))
def test_a_second_library_signs_the_same_digests(spend: tuple[Tx, list[TxOut]], scope: int) -> None:
    tx, coins = spend
    other, other_coins = library.Tx.parse(tx.serialise()), library_outputs(coins)
    mine, taproot = WitnessV0(tx), TaprootKeyPath(tx, coins)
    for index, coin in enumerate(coins):
        code = b"\x76\xa9\x14" + coin.script[2:] + b"\x88\xac"
        digest = mine.digest(index, code, amount=coin.amount, scope=scope)
        assert digest == sig_hash.segwit_v0(code, other, index, scope, coin.amount)
        if scope & 3 == 3 and index >= len(tx.outputs):
            with pytest.raises(ValueError, match="no output"):
                taproot.digest(index, scope=scope)
            continue
        theirs = sig_hash.taproot(other, index, other_coins, scope, 0, b"", b"")
        assert taproot.digest(index, scope=scope) == theirs


@given(spends())
def test_what_all_signs_covers_every_part_of_a_transaction(spend: tuple[Tx, list[TxOut]]) -> None:
    tx, coins = spend
    key_hash, amount = coins[0].script[2:], coins[0].amount
    digest = WitnessV0(tx).key_digest(0, key_hash=key_hash, amount=amount)
    first = tx.outputs[0]
    others = [
        Tx(tx.version ^ 1, tx.inputs, tx.outputs, tx.locktime),
        Tx(tx.version, tx.inputs, tx.outputs, tx.locktime ^ 1),
        Tx(tx.version, (*tx.inputs, tx.inputs[0]), tx.outputs, tx.locktime),
        Tx(tx.version, tx.inputs, (*tx.outputs, first), tx.locktime),
        Tx(tx.version, tx.inputs, (TxOut(first.amount ^ 1, first.script),), tx.locktime),
    ]
    found = {WitnessV0(one).key_digest(0, key_hash=key_hash, amount=amount) for one in others}
    found.add(WitnessV0(tx).key_digest(0, key_hash=key_hash, amount=amount ^ 1))
    found.add(WitnessV0(tx).key_digest(0, key_hash=sha256(key_hash)[:20], amount=amount))
    assert len(found) == len(others) + 2
    assert digest not in found


def test_scopes_that_do_not_exist_are_no_scopes() -> None:
    tx = Tx(2, (TxIn(OutPoint(bytes(32), 0), 0),), (TxOut(1, b""),), 0)
    with pytest.raises(ValueError, match="scope"):
        TaprootKeyPath(tx, [TxOut(1, b"")]).digest(0, scope=4)
    with pytest.raises(ValueError, match="one spent output"):
        TaprootKeyPath(tx, [])
