"""What is signed: the example of BIP-143, and a second library for BIP-143 and BIP-341."""

from __future__ import annotations

from itertools import product

import coincurve
import pytest
from btclib.script import sig_hash
from btclib.script.script_pub_key import ScriptPubKey
from btclib.tx import tx as library
from btclib.tx.tx_out import TxOut as LibraryTxOut
from hypothesis import given
from hypothesis import strategies as st

from chains.bitcoin.hashes import hash160, sha256
from chains.bitcoin.sighash import ANYONE_CAN_PAY, TaprootKeyPath, WitnessV0
from chains.bitcoin.tx import OutPoint, Tx, TxIn, TxOut, parse_tx

# BIP-143, example "Native P2WPKH"; what signs is its second input, of 6 coins.
UNSIGNED = bytes.fromhex(
    "0100000002fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f0000000000eeffffff"
    "ef51e1b804cc89d182d279655c3aa89e815b1b309fe287d9b2b55d57b90ec68a0100000000ffffffff02202cb206"
    "000000001976a9148280b37df378db99f66f85c95a783a76ac7a6d5988ac9093510d000000001976a9143bde42db"
    "ee7e4dbe6a21b2d50ce2f0167faa815988ac11000000"
)
KEY = coincurve.PrivateKey.from_hex(
    "619c335025c7f4012e556c2a58b2506e30b8511b53ade95ea316fd8c3286feb9"
)
DIGEST = "c37af31116d1b27caf68aae9e3ac82f1477929014d5b917657d0eb49478cb670"
SCOPES = [kind | alone for kind, alone in product((1, 2, 3), (0, ANYONE_CAN_PAY))]


def test_the_digest_of_bip_143_holds() -> None:
    key_hash = hash160(KEY.public_key.format())
    assert key_hash.hex().startswith("1d0f172a0ecb48ae")
    digest = WitnessV0(parse_tx(UNSIGNED)).key_digest(1, key_hash=key_hash, amount=6 * 10**8)
    assert digest.hex() == DIGEST


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
