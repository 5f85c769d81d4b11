"""Messages signed as BIP-322 says: its vectors, a second library, and what is no proof."""

from __future__ import annotations

import coincurve
import pytest
from btclib.key import PrvKeyData
from btclib_wallet import bip322 as library
from hypothesis import given
from hypothesis import strategies as st

from chains.bitcoin import bip322
from chains.bitcoin.address import address_of_script, script_of
from chains.bitcoin.descriptor import Form
from chains.bitcoin.hashes import hash160, sha256, tagged
from chains.bitcoin.params import NETWORKS
from chains.bitcoin.sighash import WitnessV0
from chains.bitcoin.tapscript import output_script, tweaked
from chains.bitcoin.tx import write_blob
from core.errors import Reason, Refused
from custody.keys.second import base58check_decode
from tests.support.bitcoin import OFFLINE
from tests.support.owners import officers, secret_of, treasury_of

MAIN = NETWORKS["main"]
# The vectors of BIP-322: one key, messages "" and "Hello World", a key's hash and a taproot key.
_WIF = base58check_decode("L3VFeEujGtevx9w18HD1fhRbCH67Az2dpCymeRE1SoPK6XQtaN2k")
assert _WIF is not None
KEY = coincurve.PrivateKey(_WIF[1:33])
ADDRESS = "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l"
TAPROOT = "bc1ppv609nr0vr25u07u95waq5lucwfm6tde4nydujnu8npg4q75mr5sxq8lt3"
HASHES = {
    b"": "c90c269c4f8fcbe6880f72a721ddfbf1914268a794cbb21cfafee13770ae19f1",
    b"Hello World": "f0eb03b1a75ac6d9847f55c624a99169b5dccba2a31f5b23bea77ba270de0a7a",
}
TO_SPEND = {
    b"": "c5680aa69bb8d860bf82d4e9cd3504b55dde018de765a91bb566283c545a99a7",
    b"Hello World": "b79d196740ad5217771c1098fc4a4b51e0535c32236c71f1ea4d61a2d603352b",
}
TO_SIGN = {
    b"": "1e9654e951a5ba44c8604c4de6c67fd78a27e81dcadcfe1edf638ba3aaebaed6",
    b"Hello World": "88737ae86f2077145f93cc4b153ae9a1cb8d56afa511988c149c5c8c9d93bddf",
}
PROOFS = {
    b"": "AkcwRAIgM2gBAQqvZX15ZiysmKmQpDrG83avLIT492QBzLnQIxYCIBaTpOaD20qRlEylyxFSeEA2ba9YOixpX8z4"
    "6TSDtS40ASECx/EgAxlkQpQ9hYjgGu6EBCPMVPwVIVJqO4XCsMvViHI=",
    b"Hello World": "AkcwRAIgZRfIY3p7/DoVTty6YZbWS71bc5Vct9p9Fia83eRmw2QCICK/ENGfwLtptFluMGs2KsqoN"
    "Sk89pO7F29zJLUx9a/sASECx/EgAxlkQpQ9hYjgGu6EBCPMVPwVIVJqO4XCsMvViHI=",
}
TAPROOT_PROOF = (
    "AUHd69PrJQEv+oKTfZ8l+WROBHuy9HKrbFCJu7U1iK2iiEy1vMU5EfMtjc+VSHM7aU0SDbak5IUZRVno2P5mjSafAQ=="
)


@pytest.mark.parametrize("message", HASHES)
def test_the_vectors_of_bip_322_hold(message: bytes) -> None:
    script = script_of(ADDRESS, MAIN)
    assert b"\x00\x14" + hash160(KEY.public_key.format()) == script
    assert bip322.message_hash(message).hex() == HASHES[message]
    assert bip322.spendable(message, script).tx_id == TO_SPEND[message]
    assert bip322.signable(message, script).tx_id == TO_SIGN[message]
    bip322.verify(message, script, bip322.from_text(PROOFS[message]))
    assert library.verify(message, ADDRESS, PROOFS[message])


def test_the_taproot_vector_of_bip_322_holds() -> None:
    script = script_of(TAPROOT, MAIN)
    assert output_script(tweaked(KEY.public_key.format()[1:]).key) == script
    bip322.verify(b"Hello World", script, bip322.from_text(TAPROOT_PROOF))
    assert library.verify(b"Hello World", TAPROOT, TAPROOT_PROOF)
    with pytest.raises(Refused):
        bip322.verify(b"Hello World!", script, bip322.from_text(TAPROOT_PROOF))


def proof_of(key: coincurve.PrivateKey, message: bytes, *, taproot: bool) -> tuple[str, bytes]:
    """Return an address of a key and our proof for it."""
    public = key.public_key.format()
    if not taproot:
        script = b"\x00\x14" + hash160(public)
        signature = key.sign_recoverable(bip322.digest_of(message, script), hasher=None)
    else:
        script = output_script(tweaked(public[1:]).key)
        even = key if public[0] == 2 else coincurve.PrivateKey.from_int(_ORDER - key.to_int())
        own = even.add(tagged("TapTweak", public[1:]))
        signature = own.sign_schnorr(bip322.digest_of(message, script))
    address = address_of_script(script, MAIN)
    assert address is not None
    return address, bip322.prove(message, script, signature)


_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
secrets = st.integers(1, _ORDER - 1).map(lambda number: number.to_bytes(32, "big"))


@given(secrets, st.binary(max_size=300), st.booleans())
def test_a_second_library_verifies_our_proofs_and_we_verify_its(
    secret: bytes, message: bytes, taproot: bool
) -> None:
    key = coincurve.PrivateKey(secret)
    address, proof = proof_of(key, message, taproot=taproot)
    assert library.verify(message, address, bip322.to_text(proof))
    assert not library.verify(message + b"!", address, bip322.to_text(proof))
    theirs = library.sign(
        message, PrvKeyData(int.from_bytes(secret, "big"), "mainnet", True), address
    )
    bip322.verify(message, script_of(address, MAIN), bip322.from_text(theirs.b64encode()))


@pytest.mark.parametrize("taproot", [False, True], ids=["key hash", "taproot"])
def test_every_changed_byte_of_a_proof_is_refused(taproot: bool) -> None:
    address, proof = proof_of(KEY, b"challenge", taproot=taproot)
    script = script_of(address, MAIN)
    bip322.verify(b"challenge", script, proof)
    for at in range(len(proof)):
        wrong = proof[:at] + bytes((proof[at] ^ 1,)) + proof[at + 1 :]
        with pytest.raises(Refused):
            bip322.verify(b"challenge", script, wrong)
    for wrong in (b"", proof[:-1], proof + b"\0", bytes(bip322.PROOF_BYTES_MAX + 1)):
        with pytest.raises(Refused):
            bip322.verify(b"challenge", script, wrong)


def test_owners_prove_control_of_their_treasury_by_a_quorum() -> None:
    treasury = treasury_of(Form.SCRIPT_HASH, 2, 3)
    script, message = treasury.output_script, b"challenge"
    digest = WitnessV0(bip322.signable(message, script)).digest(0, treasury.script, amount=0)
    by_key = {}
    for who in officers(3):
        secret = secret_of(who, Form.SCRIPT_HASH)
        by_key[secret.public_key.format()] = secret.sign(digest, hasher=None) + b"\x01"
    signatures = [by_key[key] for key in treasury.keys]

    def proof(*given: bytes) -> bytes:
        stack = (b"", *given, treasury.script)
        return bytes((len(stack),)) + b"".join(map(write_blob, stack))

    for pair in ((0, 1), (0, 2), (1, 2)):
        good = proof(*(signatures[number] for number in pair))
        bip322.verify(message, script, good)
        assert library.verify(message, treasury.address, bip322.to_text(good))
    for wrong in (
        proof(signatures[0]), proof(*signatures), proof(signatures[1], signatures[0]),
        proof(signatures[0], signatures[0]),
    ):  # fmt: skip
        with pytest.raises(Refused) as refused:
            bip322.verify(message, script, wrong)
        assert refused.value.reason is Reason.BAD_SIGNATURE
        assert not library.verify(message, treasury.address, bip322.to_text(wrong))
    assert sha256(treasury.script) == script[2:]


def test_no_key_alone_proves_control_of_a_treasury() -> None:
    treasury = treasury_of(Form.SCRIPT_HASH, 2, 3)
    with pytest.raises(Refused) as refused:
        OFFLINE.control_digest(b"challenge", address=treasury.address)
    assert refused.value.reason is Reason.UNKNOWN_CALL
