"""Public derivation byte for byte: BIP-32 and BIP-44 vectors, and what must not be derivable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from coincurve import PrivateKey, PublicKey

from core.errors import Corrupt, Reason, Refused
from custody.keys import derivation
from custody.keys.bip32 import PrivateNode
from custody.keys.derivation import (
    CURVE_ORDER,
    HARDENED,
    AccountKeys,
    PublicParent,
    derive_checked,
    format_xpub,
    hmac_sha512,
    hmac_sha512_of,
    parse_path,
    parse_xpub,
)
from custody.keys.second import base58check_decode, base58check_encode
from custody.keys.secret import Secret
from custody.keys.signers.base import KeyRef
from custody.keys.signers.local import LocalSigner
from tests.unit.custody.keys.networks import traits

VECTORS = Path(__file__).parents[3] / "vectors"
BIP32 = json.loads((VECTORS / "bip32.json").read_text())
BIP44 = json.loads((VECTORS / "bip44.json").read_text())


def steps(path: str) -> list[int]:
    return [
        int(part.rstrip("'")) + (HARDENED if part.endswith("'") else 0)
        for part in path.split("/")[1:]
    ]


CHAINS = [
    pytest.param(vector["seed"], chain, id=f"{vector['number']} {chain['path']}")
    for vector in BIP32["valid"]
    for chain in vector["chains"]
]


@pytest.mark.parametrize(("seed", "chain"), CHAINS)
def test_bip32_vectors_hold_on_the_private_side(seed: str, chain: dict[str, str]) -> None:
    node = PrivateNode.master(Secret(bytes.fromhex(seed)))
    for step in steps(chain["path"]):
        node = node.child(step)
    assert format_xpub(node.public()) == chain["xpub"]
    assert parse_xpub(chain["xpub"]) == node.public()


def public_steps() -> list[Any]:
    """Every vector whose last step is not hardened, with its parent's xpub."""
    found = []
    for vector in BIP32["valid"]:
        by_path = {chain["path"]: chain["xpub"] for chain in vector["chains"]}
        for path, xpub in by_path.items():
            parent, _, last = path.rpartition("/")
            if parent in by_path and not last.endswith("'"):
                found.append(pytest.param(by_path[parent], int(last), xpub, id=f"{path}"))
    return found


@pytest.mark.parametrize(("parent", "index", "xpub"), public_steps())
def test_bip32_vectors_hold_on_the_public_side(parent: str, index: int, xpub: str) -> None:
    assert format_xpub(PublicParent(parse_xpub(parent)).child(index)) == xpub


def test_enough_vectors_were_read() -> None:
    assert [len(vector["chains"]) for vector in BIP32["valid"]] == [6, 6, 2, 3]
    assert len(BIP32["invalid"]) == 16
    assert len(public_steps()) == 6


@pytest.mark.parametrize("vector", BIP32["invalid"], ids=lambda vector: vector["why"])
def test_an_invalid_extended_key_is_refused(vector: dict[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        parse_xpub(vector["key"])
    assert refused.value.reason is Reason.MALFORMED


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_an_extended_private_key_is_no_public_one(number: int) -> None:
    with pytest.raises(Refused):
        parse_xpub(BIP32["valid"][number]["chains"][0]["xprv"])


XPUB = BIP32["valid"][0]["chains"][1]["xpub"]


@pytest.mark.parametrize(
    "text",
    [
        XPUB[:-1],
        XPUB + "1",
        " " + XPUB,
        XPUB.replace("q", "Q", 1),
        "1" + XPUB,
        "",
        "0OIl",
        "x" * 999,
    ],
)
def test_another_spelling_of_an_xpub_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        parse_xpub(text)


@pytest.mark.parametrize("version", ["049d7cb2", "04b24746", "043587cf", "0488ade4"])
def test_another_version_with_a_right_checksum_is_refused(version: str) -> None:
    data = base58check_decode(XPUB)
    assert data is not None
    with pytest.raises(Refused):
        parse_xpub(base58check_encode(bytes.fromhex(version) + data[4:]))


def test_bip44_paths_are_read_as_the_standard_says() -> None:
    for row in BIP44["paths"]:
        path = parse_path(row["path"])
        assert (path.coin_type, path.account) == (row["coin_type"], row["account"])
        assert (path.change, path.index) == (row["change"], row["index"])
        assert str(path) == row["path"]
    assert len(BIP44["paths"]) == 16


@pytest.mark.parametrize(
    "text",
    [
        "m/44'/60'/0'/0",
        "m/44'/60'/0'/0/0/0",
        "m/49'/60'/0'/0/0",
        "M/44'/60'/0'/0/0",
        "44'/60'/0'/0/0",
        "m/44h/60h/0h/0/0",
        "m/44'/60'/0/0/0",
        "m/44'/60'/0'/2/0",
        "m/44'/60'/0'/0/01",
        "m/44'/60'/0'/0/-1",
        "m/44'/60'/0'/0/2147483648",
        "m/44'/2147483648'/0'/0/0",
        "m/44'/60'/0'/0/0'",
        "m/44'/60'/0'/0/0\n",
        "m/44'/60'/0'/0/１",
        " m/44'/60'/0'/0/0",
    ],
)
def test_any_other_path_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_path(text)
    assert refused.value.reason is Reason.MALFORMED


def account(name: str = "deposits") -> AccountKeys:
    seed = Secret(bytes.fromhex(BIP32["valid"][0]["seed"]))
    return AccountKeys(LocalSigner(seed, traits()).account_xpub(name))


@pytest.mark.parametrize("index", [HARDENED, HARDENED + 1, (1 << 32) - 1, 1 << 32, -1, True, "1"])
def test_a_hardened_child_of_an_xpub_is_refused(index: int) -> None:
    with pytest.raises(Refused) as refused:
        account().public_key(index)
    assert refused.value.reason is Reason.MALFORMED


def test_only_an_accounts_xpub_gives_addresses() -> None:
    for chain in BIP32["valid"][0]["chains"]:
        is_account = chain["path"] == "m/0'/1/2'"
        if is_account:
            AccountKeys(chain["xpub"])
        else:
            with pytest.raises(Refused):
                AccountKeys(chain["xpub"])


# BIP-32: "In case parse256(IL) >= n or Ki is the point at infinity, the resulting key is invalid,
# and one should proceed with the next value for i." The chance is 2^-127, so the hash is replaced.


def bad_tweaks(parent: bytes) -> list[bytes]:
    return [b"\xff" * 32, CURVE_ORDER.to_bytes(32, "big"), parent]


def with_invalid(tweak: bytes, invalid: range) -> derivation.KeyedHash:
    def keyed_hash(key: bytes, message: bytes) -> bytes:
        digest = hmac_sha512(key, message)
        is_leaf = message[:33] == external
        if is_leaf and int.from_bytes(message[33:], "big") in invalid:
            return tweak + digest[32:]
        return digest

    external = PublicParent(parse_xpub(account().xpub)).child(0).public_key
    return keyed_hash


def minus_parent() -> bytes:
    """Return the tweak that sends the children of the external chain to infinity."""
    seed = Secret(bytes.fromhex(BIP32["valid"][0]["seed"]))
    node = PrivateNode.master(seed)
    for step in (44 + HARDENED, 1 + HARDENED, HARDENED, 0):
        node = node.child(step)
    return (CURVE_ORDER - int.from_bytes(node._key.secret, "big")).to_bytes(32, "big")


@pytest.mark.parametrize("tweak", bad_tweaks(minus_parent()), ids=["high", "order", "infinity"])
def test_an_invalid_child_is_passed_over(tweak: bytes) -> None:
    keys = AccountKeys(account().xpub, keyed_hash=with_invalid(tweak, range(5, 7)))
    with pytest.raises(Refused) as refused:
        keys.public_key(5)
    assert refused.value.reason is Reason.UNKNOWN_KEY
    derived = derive_checked(keys, 5)
    assert derived.index == 7
    assert derived.public_key == account().public_key(7)


def test_a_tweak_of_nothing_gives_the_parents_key() -> None:
    """BIP-32 calls only n and above invalid; with the tweak 0 the point stays where it is."""
    keys = AccountKeys(account().xpub, keyed_hash=with_invalid(bytes(32), range(5, 6)))
    assert keys.public_key(5) == PublicParent(parse_xpub(account().xpub)).child(0).public_key


@pytest.mark.parametrize("size", [0, 1, 32, 127, 128])
def test_a_keyed_hash_that_is_begun_once_is_the_same(size: int) -> None:
    keyed = hmac_sha512_of(bytes(range(size)))
    for message in (b"", bytes(37), bytes(1_000), bytes(37)):
        assert keyed(message) == hmac_sha512(bytes(range(size)), message)


def test_many_invalid_children_in_a_row_are_not_chance() -> None:
    keys = AccountKeys(account().xpub, keyed_hash=with_invalid(b"\xff" * 32, range(100)))
    with pytest.raises(Corrupt):
        derive_checked(keys, 0)


def test_a_key_that_the_second_library_does_not_derive_is_never_shown() -> None:
    one = (1).to_bytes(32, "big")
    keys = AccountKeys(account().xpub, keyed_hash=with_invalid(one, range(3, 4)))
    assert PublicKey(keys.public_key(3)).format() == keys.public_key(3)
    with pytest.raises(Corrupt):
        derive_checked(keys, 3)
    with pytest.raises(Corrupt):
        keys.public_key_checked(3)
    assert derive_checked(keys, 2).index == 2


def test_a_leaked_child_key_falls_its_own_account_and_no_other() -> None:
    """K03: k_parent = k_child − I_L, done on our own layout."""
    seed = Secret(bytes.fromhex(BIP32["valid"][0]["seed"]))
    node = PrivateNode.master(seed).child(44 + HARDENED).child(1 + HARDENED)
    leaked = node.child(HARDENED).child(0).child(9)._key.secret
    signer = LocalSigner(seed, traits())
    external = PublicParent(parse_xpub(signer.account_xpub("deposits"))).child(0)
    digest = hmac_sha512(external.chain_code, external.public_key + (9).to_bytes(4, "big"))
    parent = (int.from_bytes(leaked, "big") - int.from_bytes(digest[:32], "big")) % CURVE_ORDER
    thief = PrivateKey(parent.to_bytes(32, "big"))
    assert thief.public_key.format() == external.public_key

    def stolen(account_name: str, index: int) -> bool:
        chain = PublicParent(parse_xpub(signer.account_xpub(account_name))).child(0)
        tweak = hmac_sha512(chain.chain_code, chain.public_key + index.to_bytes(4, "big"))[:32]
        mine = thief.add(tweak).public_key.format()
        return mine == signer.public_key(KeyRef(account_name, index))

    assert all(stolen("deposits", index) for index in range(20))
    assert not any(stolen(name, index) for name in ("hot", "gas", "cold") for index in range(20))
