"""What the standards print, byte for byte: BIP-32, 39, 49, 84, 86, SLIP-0010, RFC 6979, EIPs (K02).

BIP-44 stands in test_keystore, BIP-143 and BIP-341 stand with the chain they belong to.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from coincurve import PrivateKey, PublicKeyXOnly
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak
from eth_keys.datatypes import Signature

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
    fingerprint,
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


BIP32, SLIP10, ACCOUNTS = read("bip32"), read("slip10"), read("bip49_84_86")
JAPANESE, RFC6979, EIPS = read("bip39_japanese"), read("rfc6979_secp256k1"), read("eip_signatures")
ENGLISH = read("bip39")


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


def cases(curve: str) -> list[Any]:
    return [
        pytest.param(vector["seed"], chain, id=f"{vector['number']} {chain['path']}")
        for vector in SLIP10["vectors"]
        if vector["curve"] == curve
        for chain in vector["chains"]
    ]


def test_enough_vectors_were_read() -> None:
    assert (len(cases("secp256k1")), len(cases("ed25519"))) == (12, 12)
    assert len(JAPANESE["vectors"]) == 24
    assert [row["bip"] for row in ACCOUNTS["keys"]] == [49, 84, 84, 84, 86, 86, 86]
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


@pytest.mark.parametrize(("seed", "chain"), cases("secp256k1"))
def test_slip10_holds_on_secp256k1(seed: str, chain: dict[str, str]) -> None:
    node = secp(seed, chain["path"])
    assert node._key.secret.hex() == chain["private"]
    assert node.public_key.hex() == chain["public"]
    assert node.chain_code.hex() == chain["chain_code"]
    parent = bytes(4) if node.parent is None else fingerprint(node.parent)
    assert parent.hex() == chain["parent"]


@pytest.mark.parametrize(("seed", "chain"), cases("ed25519"))
def test_slip10_holds_on_ed25519(seed: str, chain: dict[str, str]) -> None:
    node = edwards(seed, chain["path"])
    assert node._secret.hex() == chain["private"]
    assert "00" + node.public_key.hex() == chain["public"]
    assert node.chain_code.hex() == chain["chain_code"]
    if chain["path"] != "m":
        above = edwards(seed, chain["path"].rpartition("/")[0])
        assert fingerprint(b"\0" + above.public_key).hex() == chain["parent"]


@pytest.mark.parametrize("index", [0, 1, HARDENED - 1, 2 * HARDENED, -1])
def test_slip10_has_no_public_derivation_on_ed25519(index: int) -> None:
    with pytest.raises(Refused) as refused:
        edwards("00" * 16, "m").child(index)
    assert refused.value.reason is Reason.MALFORMED


def by_the_book(mnemonic: str, passphrase: str) -> str:
    """BIP-39, in one line of the standard library: what ours must do, whoever does it for us."""
    words, salt = (unicodedata.normalize("NFKD", text) for text in (mnemonic, passphrase))
    return hashlib.pbkdf2_hmac("sha512", words.encode(), b"mnemonic" + salt.encode(), 2048).hex()


@pytest.mark.parametrize("vector", JAPANESE["vectors"], ids=lambda vector: vector["entropy"][:8])
def test_the_book_is_read_rightly_in_another_language(vector: dict[str, str]) -> None:
    assert by_the_book(vector["mnemonic"], vector["passphrase"]) == vector["seed"]
    with pytest.raises(Refused) as refused:  # seeds of ours are written down in English
        seed_from_mnemonic(Secret(vector["mnemonic"].encode()))
    assert refused.value.reason is Reason.MALFORMED


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
@pytest.mark.parametrize(
    "passphrase", [JAPANESE["vectors"][0]["passphrase"], "Å é ñ ü", "\ufb01 Ⅷ", ""], ids=ascii
)
def test_a_passphrase_means_the_same_however_it_was_typed(passphrase: str, form: Any) -> None:
    typed = unicodedata.normalize(form, passphrase)
    for vector in ENGLISH["vectors"][:4]:
        seed = seed_from_mnemonic(
            Secret(vector["mnemonic"].encode()), extra_word=Secret(typed.encode())
        )
        assert seed.reveal().hex() == by_the_book(vector["mnemonic"], passphrase)


def key_at(path: str) -> PrivateNode:
    seed = seed_from_mnemonic(Secret(ACCOUNTS["mnemonic"].encode()))
    return secp(seed.reveal().hex(), path)


@pytest.mark.parametrize("row", ACCOUNTS["keys"], ids=lambda row: row["path"])
def test_the_keys_and_addresses_of_bip_49_84_and_86_hold(row: dict[str, Any]) -> None:
    public_key = key_at(row["path"]).public_key
    account = key_at(row["path"].rsplit("/", 2)[0])
    change, index = steps(row["path"])[-2:]
    public = PublicParent(PublicParent(parse_xpub(format_xpub(account.public()))).child(change))
    assert public.child_key(index) == public_key
    network = NETWORKS["main" if row["network"] == "main" else "testnet4"]
    program = b"\0\x14" + hash160(public_key)
    if row["bip"] == 86:
        assert format_xpub(key_at(row["path"]).public()) == row["xpub"]
        inner = public_key[1:]
        assert inner.hex() == row["internal_key"]
        outer = PublicKeyXOnly(inner)
        outer.tweak_add(tagged("TapTweak", inner))
        assert outer.format().hex() == row["output_key"]
        script = b"\x51\x20" + outer.format()
    else:
        assert public_key.hex() == row["public_key"]
        script = program if row["bip"] == 84 else b"\xa9\x14" + hash160(program) + b"\x87"
    assert address_of_script(script, network) == row["address"]
    assert script_of(row["address"], network) == script


def node_of(secret: bytes) -> PrivateNode:
    return PrivateNode(PrivateKey(secret), bytes(32), 0, None, 0)


@pytest.mark.parametrize("vector", RFC6979["vectors"], ids=lambda vector: vector["message"][:20])
def test_our_signatures_are_those_of_rfc_6979(vector: dict[str, str]) -> None:
    digest = hashlib.sha256(vector["message"].encode()).digest()
    signature = node_of(bytes.fromhex(vector["key"])).sign(digest)
    assert signature[:64].hex() == vector["signature"]


def test_eip_155_signs_and_recovers_as_printed() -> None:
    vector = EIPS["eip155"]
    head = [
        *map(rlp.encode_int, (vector["nonce"], int(vector["gas_price"]), vector["gas"])),
        bytes.fromhex(vector["to"]),
        rlp.encode_int(int(vector["value"])),
        b"",
    ]
    payload = rlp.encode([*head, rlp.encode_int(vector["chain_number"]), b"", b""])
    assert payload.hex() == vector["signing_data"]
    assert keccak(payload).hex() == vector["signing_hash"]
    node = node_of(bytes.fromhex(vector["key"]))
    signature = node.sign(keccak(payload))
    assert signature[:64].hex() == vector["r"] + vector["s"]
    assert signature[64] + 35 + 2 * vector["chain_number"] == vector["v"]
    tail = [rlp.encode_int(vector["v"]), signature[:32], signature[32:64]]
    assert rlp.encode([*head, *tail]).hex() == vector["raw"]
    assert recover(keccak(payload), signature) == from_public_key(node.public_key)


def test_the_judge_reads_no_transaction_of_the_old_kind() -> None:
    for name in ("signing_data", "raw"):
        with pytest.raises(Refused) as refused:
            read_fields(bytes.fromhex(EIPS["eip155"][name]))
        assert refused.value.reason in (Reason.UNDECODABLE, Reason.MISSING_NETWORK)


def test_eip_712_signs_as_printed() -> None:
    vector = EIPS["eip712"]
    message = encode_typed_data(full_message=vector["typed_data"])
    assert message.header.hex() == vector["domain_hash"]
    assert message.body.hex() == vector["message_hash"]
    assert keccak(bytes.fromhex(vector["encoded"])).hex() == vector["message_hash"]
    digest = keccak(b"\x19" + message.version + message.header + message.body)
    assert digest.hex() == vector["digest"]
    node = node_of(keccak(vector["key_is_keccak_of"].encode()))
    signature = node.sign(digest)
    assert signature[:64].hex() == vector["r"] + vector["s"]
    assert signature[64] + 27 == vector["v"]
    assert recover(digest, signature).hex() == vector["address"]


def listed(item: rlp.Item) -> Sequence[rlp.Item]:
    assert not isinstance(item, bytes)
    return item


def scalar(item: rlp.Item) -> bytes:
    assert isinstance(item, bytes)
    return item.rjust(32, b"\0")


@pytest.mark.parametrize("vector", EIPS["eip7702"], ids=lambda vector: vector["name"])
def test_eip_7702_is_read_and_recovered_as_printed(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["raw"])
    assert raw[0] == 4
    fields = listed(rlp.decode(raw[1:]))
    assert rlp.encode(fields) == raw[1:]
    assert keccak(b"\x04" + rlp.encode(fields[:-3])).hex() == vector["signing_hash"]
    found = [listed(item) for item in listed(fields[9])]
    assert len(found) == len(vector["authorizations"])
    for item, wanted in zip(found, vector["authorizations"], strict=True):
        body = [
            rlp.encode_int(wanted["chain_number"]),
            bytes.fromhex(wanted["address"]),
            rlp.encode_int(wanted["nonce"]),
        ]
        assert list(item[:3]) == body
        digest = keccak(b"\x05" + rlp.encode(body))
        signature = scalar(item[4]) + scalar(item[5]) + bytes((rlp.decode_int(item[3]),))
        other = Signature(signature).recover_public_key_from_msg_hash(digest)
        assert recover(digest, signature) == other.to_canonical_address()


def test_the_judge_reads_no_delegation_as_a_payment() -> None:
    for vector in EIPS["eip7702"]:
        with pytest.raises(Refused):
            read_fields(bytes.fromhex(vector["raw"]))
