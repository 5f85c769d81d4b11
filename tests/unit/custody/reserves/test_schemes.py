"""How control of an address is proved, checked by the file that stands alone."""

from __future__ import annotations

import hashlib

import coincurve
import pytest
from btclib.hashes import ripemd160
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from chains.bitcoin.address import address_of_script
from chains.bitcoin.bip322 import digest_of, message_hash, prove, signable, spendable
from chains.bitcoin.params import NETWORKS
from chains.solana.address import encode58
from chains.solana.offchain import control_message
from custody.keys.second import base58check_decode
from custody.reserves import verify

_WIF = base58check_decode("L3VFeEujGtevx9w18HD1fhRbCH67Az2dpCymeRE1SoPK6XQtaN2k")
assert _WIF is not None
KEY = _WIF[1:33]
ADDRESS = "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l"


def script_of(key: coincurve.PrivateKey) -> bytes:
    public_key = key.public_key.format()
    return b"\x00\x14" + ripemd160(hashlib.sha256(public_key).digest())


def proved(key: coincurve.PrivateKey, challenge: bytes) -> bytes:
    signature = key.sign_recoverable(digest_of(challenge, script_of(key)), hasher=None)
    return prove(challenge, script_of(key), signature)


@pytest.mark.parametrize(
    ("message", "hashed", "to_spend", "to_sign"),
    [
        (
            b"",
            "c90c269c4f8fcbe6880f72a721ddfbf1914268a794cbb21cfafee13770ae19f1",
            "c5680aa69bb8d860bf82d4e9cd3504b55dde018de765a91bb566283c545a99a7",
            "1e9654e951a5ba44c8604c4de6c67fd78a27e81dcadcfe1edf638ba3aaebaed6",
        ),
        (
            b"Hello World",
            "f0eb03b1a75ac6d9847f55c624a99169b5dccba2a31f5b23bea77ba270de0a7a",
            "b79d196740ad5217771c1098fc4a4b51e0535c32236c71f1ea4d61a2d603352b",
            "88737ae86f2077145f93cc4b153ae9a1cb8d56afa511988c149c5c8c9d93bddf",
        ),
    ],
)
def test_the_two_transactions_of_bip_322_have_the_names_of_its_examples(
    message: bytes, hashed: str, to_spend: str, to_sign: str
) -> None:
    script = script_of(coincurve.PrivateKey(KEY))
    assert message_hash(message).hex() == hashed
    assert spendable(message, script).tx_id == to_spend
    assert signable(message, script).tx_id == to_sign
    proof = proved(coincurve.PrivateKey(KEY), message)
    assert verify.SCHEMES["bip322bc"](message, proof) == ADDRESS


@settings(max_examples=25, deadline=None)
@given(st.binary(min_size=32, max_size=32).filter(any), st.binary(max_size=200), st.data())
def test_a_changed_bit_of_a_witness_proves_nothing(
    secret: bytes, challenge: bytes, data: st.DataObject
) -> None:
    key = coincurve.PrivateKey(secret)
    proof = proved(key, challenge)
    mine = address_of_script(script_of(key), NETWORKS["regtest"])
    assert verify.bip322_signer("bcrt", challenge, proof) == mine
    bit = data.draw(st.integers(0, 8 * len(proof) - 1))
    changed = bytearray(proof)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(verify.Refuted):
        verify.bip322_signer("bcrt", challenge, bytes(changed))


@given(st.binary(max_size=300))
def test_the_short_hash_is_another_librarys(data: bytes) -> None:
    assert verify._ripemd160(data) == ripemd160(data)


@settings(max_examples=15, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.data())
def test_an_edwards_key_proves_its_own_address_and_a_changed_bit_none(
    seed: bytes, challenge: bytes, data: st.DataObject
) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public_key = key.public_key().public_bytes_raw()
    address = encode58(public_key)
    proof = public_key + key.sign(control_message(challenge, address=address))
    assert verify.ed25519_signer(challenge, proof) == address
    bit = data.draw(st.integers(0, 8 * len(proof) - 1))
    changed = bytearray(proof)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(verify.Refuted):
        verify.ed25519_signer(challenge, bytes(changed))


def test_a_key_that_anybody_signs_for_proves_nothing() -> None:
    nobodys = bytes(32)  # a point of order 4, and the address of the system program
    base = verify._unpacked((4 * pow(5, -1, verify.Q) % verify.Q).to_bytes(32, "little"))
    for s in range(1, 40):
        x, y = verify._times(s, base)
        proof = nobodys + (y | (x & 1) << 255).to_bytes(32, "little") + s.to_bytes(32, "little")
        with pytest.raises(verify.Refuted):
            verify.ed25519_signer(b"challenge", proof)


@pytest.mark.parametrize("scheme", sorted(verify.SCHEMES))
@pytest.mark.parametrize("proof", [b"", b"\x02", bytes(64), bytes(65), bytes(96), b"\x02" * 200])
def test_what_is_no_proof_is_refuted_and_nothing_else(scheme: str, proof: bytes) -> None:
    with pytest.raises(verify.Refuted):
        verify.SCHEMES[scheme](b"challenge", proof)
