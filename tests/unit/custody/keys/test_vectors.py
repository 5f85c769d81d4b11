"""What the standards print, byte for byte: BIP-32, 39, 49, 84, 86, SLIP-0010, RFC 6979, EIPs (K02).

BIP-44 stands in test_keystore, BIP-143 and BIP-341 stand with the chain they belong to.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from coincurve import PrivateKey, PublicKeyXOnly
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak

from chains.bitcoin.address import address_of_script, script_of
from chains.bitcoin.hashes import hash160, tagged
from chains.bitcoin.params import NETWORKS
from chains.evm import rlp
from chains.evm.address import from_public_key
from chains.evm.decode import read_fields
from chains.evm.signature import recover
from core.errors import Reason, Refused
from custody.keys.bip32 import PrivateNode
from custody.keys.derivation import (
    HARDENED,
    PublicParent,
    format_xpub,
    parse_xpub,
)
from custody.keys.second import base58check_decode
from custody.keys.secret import Secret
from custody.keys.signers.keystore import seed_from_mnemonic
from custody.keys.slip10 import EdwardsNode

VECTORS = Path(__file__).parents[3] / "vectors"


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text("ascii"))
    assert "http" in found["source"]
    return found


BIP32, RFC6979, ENGLISH = read("bip32"), read("rfc6979_secp256k1"), read("bip39")
TEST_SEED = "000102030405060708090a0b0c0d0e0f"
# SLIP-0010, test vector 1 for ed25519: path, chain code, private key, public key.
EDWARDS = (
    (
        "m",
        "90046a93de5380a72b5e45010748567d5ea02bbf6522f979e05c0d8d8ca9fffb",
        "2b4be7f19ee27bbf30c667b642d5f4aa69fd169872f8fc3059c08ebae2eb19e7",
        "a4b2856bfec510abab89753fac1ac0e1112364e7d250545963f135f2a33188ed",
    ),
    (
        "m/0'",
        "8b59aa11380b624e81507a27fedda59fea6d0b779a778918a2fd3590e16e9c69",
        "68e0fe46dfb67e368c75379acec591dad19df3cde26e63b93a8e704f1dade7a3",
        "8c8a13df77a28f3445213a0f432fde644acaa215fc72dcdf300d5efaa85d350c",
    ),
    (
        "m/0'/1'",
        "a320425f77d1b5c2505a6b1b27382b37368ee640e3557c315416801243552f14",
        "b1d0bad404bf35da785a64ca1ac54b2617211d2777696fbffaf208f746ae84f2",
        "1932a5270f335bed617d5b935c80aedb1a35bd9fc1e31acafd5372c30f5c1187",
    ),
    (
        "m/0'/1'/2'",
        "2e69929e00b5ab250f49c3fb1c12f252de4fed2c1db88387094a0f8c4c9ccd6c",
        "92a5b23c0b8a99e37d07df3fb9966917f5d06e02ddbd909c7e184371463e9fc9",
        "ae98736566d30ed0e9d2f4486a64bc95740d89c7db33f52121f8ea8f76ff0fc1",
    ),
)
# BIP-49, BIP-84 and BIP-86: the mnemonic and what it first receives at.
MNEMONIC = "abandon " * 11 + "about"
FIRST_ADDRESSES = {
    "m/49'/1'/0'/0/0": "2Mww8dCYPUpKHofjgcXcBCEGmniw9CoaiD2",
    "m/84'/0'/0'/0/0": "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu",
    "m/84'/0'/0'/0/1": "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g",
    "m/84'/0'/0'/1/0": "bc1q8c6fshw2dlwun7ekn9qwf37cu2rn755upcp6el",
    "m/86'/0'/0'/0/0": "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
    "m/86'/0'/0'/0/1": "bc1p4qhjn9zdvkux4e44uhx8tc55attvtyu358kutcqkudyccelu0was9fqzwh",
    "m/86'/0'/0'/1/0": "bc1p3qkhfews2uk44qtvauqyr2ttdsw7svhkl9nkm9s9c3x4ax5h60wqwruhk7",
}
# EIP-155, the example: nonce 9, 20 gwei, 21,000 gas, one coin to 0x3535…, chain 1, key 0x4646….
EIP_155_HASH = "daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53"
EIP_155_V = 37
# EIP-712, the example of the mail.
MAIL: dict[str, Any] = {
    "types": {
        "EIP712Domain": [
            {"name": "name", "type": "string"},
            {"name": "version", "type": "string"},
            {"name": "chainId", "type": "uint256"},
            {"name": "verifyingContract", "type": "address"},
        ],
        "Person": [{"name": "name", "type": "string"}, {"name": "wallet", "type": "address"}],
        "Mail": [
            {"name": "from", "type": "Person"},
            {"name": "to", "type": "Person"},
            {"name": "contents", "type": "string"},
        ],
    },
    "primaryType": "Mail",
    "domain": {
        "name": "Ether Mail",
        "version": "1",
        "chainId": 1,
        "verifyingContract": "0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC",
    },
    "message": {
        "from": {"name": "Cow", "wallet": "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"},
        "to": {"name": "Bob", "wallet": "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"},
        "contents": "Hello, Bob!",
    },
}
MAIL_DOMAIN = "f2cee375fa42b42143804025fc449deafd50cc031ca257e0b194a650a912090f"
MAIL_DIGEST = "be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2"


def steps(path: str) -> list[int]:
    return [
        int(part.rstrip("'")) + (HARDENED if part.endswith("'") else 0)
        for part in path.split("/")[1:]
    ]


def secp(seed: str, path: str) -> PrivateNode:
    node = PrivateNode.master(Secret(bytes.fromhex(seed)))
    for step in steps(path):
        node = node.child(step)
    return node


def edwards(seed: str, path: str) -> EdwardsNode:
    node = EdwardsNode.master(Secret(bytes.fromhex(seed)))
    for step in steps(path):
        node = node.child(step)
    return node


def test_enough_vectors_were_read() -> None:
    assert len(RFC6979["vectors"]) >= 5
    assert [vector["number"] for vector in BIP32["valid"]] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("seed", "chain"),
    [
        pytest.param(vector["seed"], chain, id=f"{vector['number']} {chain['path']}")
        for vector in BIP32["valid"]
        for chain in vector["chains"]
    ],
)
def test_bip32_private_keys_hold_also_with_leading_zeros(seed: str, chain: dict[str, str]) -> None:
    data = base58check_decode(chain["xprv"])
    assert data is not None
    assert secp(seed, chain["path"])._key.secret == data[46:]


@pytest.mark.parametrize(("path", "chain_code", "private", "public"), EDWARDS)
def test_slip10_holds_on_ed25519(path: str, chain_code: str, private: str, public: str) -> None:
    node = edwards(TEST_SEED, path)
    assert node.chain_code.hex() == chain_code
    assert node._secret.hex() == private
    assert node.public_key.hex() == public


@pytest.mark.parametrize("index", [0, 1, HARDENED - 1, 2 * HARDENED, -1])
def test_slip10_has_no_public_derivation_on_ed25519(index: int) -> None:
    with pytest.raises(Refused) as refused:
        edwards("00" * 16, "m").child(index)
    assert refused.value.reason is Reason.MALFORMED


def by_the_book(mnemonic: str, passphrase: str) -> str:
    """BIP-39, in one line of the standard library: what ours must do, whoever does it for us."""
    words, salt = (unicodedata.normalize("NFKD", text) for text in (mnemonic, passphrase))
    return hashlib.pbkdf2_hmac("sha512", words.encode(), b"mnemonic" + salt.encode(), 2048).hex()


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
@pytest.mark.parametrize("passphrase", ["㍍ガバヴァぱばぐ", "Å é ñ ü", "\ufb01 Ⅷ", ""], ids=ascii)
def test_a_passphrase_means_the_same_however_it_was_typed(passphrase: str, form: Any) -> None:
    typed = unicodedata.normalize(form, passphrase)
    for vector in ENGLISH["vectors"][:4]:
        seed = seed_from_mnemonic(
            Secret(vector["mnemonic"].encode()), extra_word=Secret(typed.encode())
        )
        assert seed.reveal().hex() == by_the_book(vector["mnemonic"], passphrase)


def key_at(path: str) -> PrivateNode:
    return secp(seed_from_mnemonic(Secret(MNEMONIC.encode())).reveal().hex(), path)


@pytest.mark.parametrize("path", FIRST_ADDRESSES)
def test_the_keys_and_addresses_of_bip_49_84_and_86_hold(path: str) -> None:
    public_key = key_at(path).public_key
    purpose, coin, _, change, index = steps(path)
    account = parse_xpub(format_xpub(key_at(path.rsplit("/", 2)[0]).public()))
    public = PublicParent(PublicParent(account).child(change))
    assert public.child_key(index) == public_key
    network = NETWORKS["testnet4" if coin == HARDENED + 1 else "main"]
    script = program = b"\0\x14" + hash160(public_key)
    if purpose == HARDENED + 49:
        script = b"\xa9\x14" + hash160(program) + b"\x87"
    elif purpose == HARDENED + 86:
        outer = PublicKeyXOnly(public_key[1:])
        outer.tweak_add(tagged("TapTweak", public_key[1:]))
        script = b"\x51\x20" + outer.format()
    assert address_of_script(script, network) == FIRST_ADDRESSES[path]
    assert script_of(FIRST_ADDRESSES[path], network) == script


def node_of(secret: bytes) -> PrivateNode:
    return PrivateNode(PrivateKey(secret), bytes(32), 0, None, 0)


@pytest.mark.parametrize("vector", RFC6979["vectors"], ids=lambda vector: vector["message"][:20])
def test_our_signatures_are_those_of_rfc_6979(vector: dict[str, str]) -> None:
    digest = hashlib.sha256(vector["message"].encode()).digest()
    signature = node_of(bytes.fromhex(vector["key"])).sign(digest)
    assert signature[:64].hex() == vector["signature"]


def eip_155() -> list[bytes]:
    numbers = map(rlp.encode_int, (9, 20 * 10**9, 21_000))
    return [*numbers, b"\x35" * 20, rlp.encode_int(10**18), b""]


def test_the_digest_of_eip_155_is_as_printed_and_signed_as_another_library_does() -> None:
    digest = keccak(rlp.encode([*eip_155(), rlp.encode_int(1), b"", b""]))
    assert digest.hex() == EIP_155_HASH
    node = node_of(b"\x46" * 32)
    signature = node.sign(digest)
    other = Account.unsafe_sign_hash(digest, b"\x46" * 32)
    assert signature[:64] == other.r.to_bytes(32, "big") + other.s.to_bytes(32, "big")
    assert signature[64] + 35 + 2 == EIP_155_V
    assert recover(digest, signature) == from_public_key(node.public_key)


def test_the_judge_reads_no_transaction_of_the_old_kind() -> None:
    tail = map(rlp.encode_int, (EIP_155_V, 1 << 255, 1 << 254))
    for payload in ([*eip_155(), rlp.encode_int(1), b"", b""], [*eip_155(), *tail]):
        with pytest.raises(Refused) as refused:
            read_fields(rlp.encode(payload))
        assert refused.value.reason in (Reason.UNDECODABLE, Reason.MISSING_NETWORK)


def test_the_digest_of_eip_712_is_as_printed() -> None:
    message = encode_typed_data(full_message=MAIL)
    assert message.header.hex() == MAIL_DOMAIN
    digest = keccak(b"\x19" + message.version + message.header + message.body)
    assert digest.hex() == MAIL_DIGEST
    node = node_of(keccak(b"cow"))
    signer = recover(digest, node.sign(digest))
    assert signer.hex() == MAIL["message"]["from"]["wallet"][2:].lower()


@pytest.mark.parametrize("nonce", [0, 1, 255, 2**64 - 2])
def test_eip_7702_is_recovered_and_never_read_as_a_payment(nonce: int) -> None:
    account = Account.from_key(b"\x46" * 32)
    delegate = "0x" + "35" * 20
    given = account.sign_authorization({"chainId": 1, "address": delegate, "nonce": nonce})
    body = [rlp.encode_int(1), bytes.fromhex(delegate[2:]), rlp.encode_int(nonce)]
    digest = keccak(b"\x05" + rlp.encode(body))
    assert digest == given.authorization_hash
    signature = node_of(b"\x46" * 32).sign(digest)
    expected = given.r.to_bytes(32, "big") + given.s.to_bytes(32, "big") + bytes((given.y_parity,))
    assert signature == expected
    with pytest.raises(Refused):
        read_fields(b"\x05" + rlp.encode(body))
