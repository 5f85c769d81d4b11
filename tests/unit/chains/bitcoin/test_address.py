"""Addresses: texts of BIP-173, BIP-350 and BIP-84, and a table of bad destinations."""

from __future__ import annotations

import coincurve
import pytest
from btclib.script import script_pub_key
from hypothesis import given
from hypothesis import strategies as st

from chains.bitcoin import base58, bech32
from chains.bitcoin.address import (
    address_of_script,
    canonical,
    script_of,
    script_of_key,
)
from chains.bitcoin.hashes import tagged
from chains.bitcoin.params import NETWORKS
from core.errors import Reason, Refused
from custody.keys.derivation import PublicParent, parse_xpub
from custody.keys.second import mnemonic_seed

# BIP-173 and BIP-350: texts, programs and what is neither.
TEXTS = (
    ("A12UEL5L", bech32.BECH32),
    ("a12uel5l", bech32.BECH32),
    ("?1ezyfcl", bech32.BECH32),
    ("A1LQFN3A", bech32.BECH32M),
    ("a1lqfn3a", bech32.BECH32M),
)
NO_TEXTS = ("pzry9x0s0muk", "1pzry9x0s0muk", "x1b4n0q5v", "li1dgmt3", "10a06t8", "1qzzfhee")
PROGRAMS = (
    (
        "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
        "0014751e76e8199196d454941c45d1b3a323f1433bd6",
    ),
    (
        "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
        "00201863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262",
    ),
    (
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    ),
)
NO_PROGRAMS = (
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",  # the checksum of version 0
    "tc1qw508d6qejxtdg4y5r3zarvary0c5xw7kg3g4ty",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",
    "BC13W508D6QEJXTDG4Y5R3ZARVARY0C5XW7KN40WF2",
    "bc1rw5uspcuh",
    "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P",
    "bc1gmk9yu",
)
# BIP-84: account 0 of the mnemonic.
MNEMONIC = "abandon " * 11 + "about"
FIRST_ADDRESSES = {
    (0, 0): "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu",
    (0, 1): "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g",
    (1, 0): "bc1q8c6fshw2dlwun7ekn9qwf37cu2rn755upcp6el",
}
MAIN, TEST, LOCAL = NETWORKS["main"], NETWORKS["signet"], NETWORKS["regtest"]
LIBRARY_NAMES = {"main": "mainnet", "testnet4": "testnet4", "regtest": "regtest"}
OWN = "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"
CYRILLIC_C = "\u0441"


def refusal(text: object, network: str = "main") -> Reason:
    """Return why a text is no destination on a network."""
    with pytest.raises(Refused) as refused:
        canonical(text, NETWORKS[network])
    return refused.value.reason


@pytest.mark.parametrize(("text", "checksum"), TEXTS)
def test_valid_texts_of_bip_173_and_350_are_read_and_written_back(text: str, checksum: int) -> None:
    read = bech32.read_text(text)
    assert read is not None
    assert read.checksum == checksum
    assert bech32.write_text(read.human_part, read.values, checksum) == text.lower()


@pytest.mark.parametrize("text", NO_TEXTS)
def test_invalid_texts_of_bip_173_are_not_read(text: str) -> None:
    assert bech32.read_text(text) is None


@pytest.mark.parametrize(("text", "script"), PROGRAMS)
def test_valid_programs_of_bip_350_stand_for_their_scripts(text: str, script: str) -> None:
    program = bech32.read_program(text)
    assert program is not None
    human_part, version, data = program
    opcode = version + 0x50 if version else 0
    assert bytes((opcode, len(data))) + data == bytes.fromhex(script)
    assert bech32.write_program(human_part, version, data) == text.lower()


@pytest.mark.parametrize("text", NO_PROGRAMS)
def test_invalid_programs_of_bip_173_and_350_are_no_addresses(text: str) -> None:
    reasons = {refusal(text, "main"), refusal(text, "signet")}
    assert reasons == {Reason.INVALID_ADDRESS}


@pytest.mark.parametrize(("change", "index"), FIRST_ADDRESSES)
def test_the_first_addresses_of_bip_84_come_from_its_mnemonic(change: int, index: int) -> None:
    from bip_utils import Bip32Slip10Secp256k1  # type: ignore[import-untyped]

    seed = mnemonic_seed(MNEMONIC, "")
    account = Bip32Slip10Secp256k1.FromSeed(seed).DerivePath("m/84'/0'/0'")
    parent = PublicParent(parse_xpub(account.PublicKey().ToExtended()))
    key = PublicParent(parent.child(change)).child_key(index)
    script, address = script_of_key(key), FIRST_ADDRESSES[change, index]
    assert address_of_script(script, MAIN) == address
    assert script_of(address, MAIN) == script


def test_the_first_wallet_example_of_bip_341_has_its_key_and_address() -> None:
    inner = bytes.fromhex("d6889cb081036e0faefa3a35157ad71086b123b2b144b649798b494c300a961d")
    tweak = tagged("TapTweak", inner)
    assert tweak.hex() == "b86e7be8f39bab32a6f2c0443abbc210f0edac0e2c53d501b36b64437d9c6c70"
    outer = coincurve.PublicKeyXOnly(inner)
    outer.tweak_add(tweak)
    script = b"\x51\x20" + outer.format()
    assert script[2:].hex() == "53a1f6e454df1aa2776a2814a721372d6258050de330b3c6d10ee8f4e0dda343"
    address = "bc1p2wsldez5mud2yam29q22wgfh9439spgduvct83k3pm50fcxa5dps59h4z5"
    assert address_of_script(script, MAIN) == address


@given(data=st.binary(min_size=20, max_size=20), name=st.sampled_from(sorted(LIBRARY_NAMES)))
def test_two_implementations_spell_every_kind_of_address_alike(data: bytes, name: str) -> None:
    long = data + data[:12]
    scripts = (
        b"\x76\xa9\x14" + data + b"\x88\xac",
        b"\xa9\x14" + data + b"\x87",
        b"\x00\x14" + data,
        b"\x00\x20" + long,
        b"\x51\x20" + long,
    )
    for script in scripts:
        address = address_of_script(script, NETWORKS[name])
        assert address == script_pub_key.address(script, LIBRARY_NAMES[name])


@given(data=st.binary(min_size=1, max_size=40))
def test_base58_reads_what_it_writes_and_no_neighbour(data: bytes) -> None:
    text = base58.write(data)
    assert base58.read(text) == data
    for place, char in enumerate(text):
        other = "2" if char != "2" else "3"
        assert base58.read(text[:place] + other + text[place + 1 :]) is None


@pytest.mark.parametrize(
    "text",
    [
        OWN.upper(),
        "1KFHE7w8BhaENAswwryaoccDb6qcT6DbYY",
        "3P14159f73E4gFr7JterCCQh9QjiTjiZrG",
        "bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3",
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
    ],
)
def test_every_kind_of_address_that_is_paid_to_has_one_spelling(text: str) -> None:
    once = canonical(text, MAIN)
    assert canonical(once, MAIN) == once
    assert once.lower() == text.lower()
    assert address_of_script(script_of(text, MAIN), MAIN) == once


@pytest.mark.parametrize(
    "text",
    [
        OWN[:-1] + OWN[-1].upper(),
        "Bc1" + OWN[3:],
        OWN + " ",
        " " + OWN,
        OWN + "\n",
        OWN[:-1],
        OWN + "q",
        OWN.replace("c", CYRILLIC_C, 1),
        OWN.replace("q", "\uff51", 1),
        "bitcoin:" + OWN,
        "",
        "bc1",
        "1",
        "1KFHE7w8BhaENAswwryaoccDb6qcT6DbYZ",
        "11KFHE7w8BhaENAswwryaoccDb6qcT6DbYY",
        "1KFHE7w8BhaENAswwryaoccDb6qcT6DbY0",
        "L3VFeEujGtevx9w18HD1fhRbCH67Az2dpCymeRE1SoPK6XQtaN2k",  # a private key
        "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        "a" * 100_000,
        None,
        b"bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu",
        7,
    ],
)
def test_what_is_not_exactly_an_address_is_none(text: object) -> None:
    assert refusal(text) is Reason.INVALID_ADDRESS


@pytest.mark.parametrize(
    ("text", "network"),
    [
        (OWN, "regtest"),
        (OWN, "signet"),
        ("1KFHE7w8BhaENAswwryaoccDb6qcT6DbYY", "regtest"),
        ("3P14159f73E4gFr7JterCCQh9QjiTjiZrG", "testnet4"),
        ("tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7", "main"),
        ("tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7", "regtest"),
        ("2NBFNJTktNa7GZusGbDbGKRZTxdK9VVez3n", "main"),
    ],
)
def test_an_address_of_another_network_is_refused_as_such(text: str, network: str) -> None:
    assert refusal(text, network) is Reason.WRONG_NETWORK


@pytest.mark.parametrize(
    "script",
    [
        b"\x00\x14" + bytes(20),
        b"\x00\x20" + bytes(32),
        b"\x00\x14" + b"\xff" * 20,
        b"\x51\x20" + bytes(32),
        b"\x51\x20" + b"\xff" * 32,
        b"\x51\x20" + (5).to_bytes(32, "big"),  # no point of the curve has this x
        b"\x76\xa9\x14" + bytes(20) + b"\x88\xac",
        b"\xa9\x14" + bytes(20) + b"\x87",
        # BIP-341: "H", the point without a known discrete logarithm
        bytes.fromhex("512050929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0"),
    ],
    ids=bytes.hex,
)
def test_nobody_is_sent_to_a_program_without_a_key(script: bytes) -> None:
    address = address_of_script(script, MAIN)
    assert refusal(address) is Reason.FORBIDDEN_DESTINATION


@pytest.mark.parametrize(
    "text",
    [
        "1BitcoinEaterAddressDontSendf59kuE",
        "1CounterpartyXXXXXXXXXXXXXXXUWLpVr",
        "bc1pfeessrawgf",  # an anchor: everybody may spend it
        "BC1SW50QGDZ25J",
        "bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs",
        "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
    ],
)
def test_burns_and_programs_without_rules_are_forbidden(text: str) -> None:
    assert refusal(text) is Reason.FORBIDDEN_DESTINATION


@pytest.mark.parametrize(
    "script",
    [
        b"",
        b"\x6a",
        b"\x6a\x04abcd",
        b"\x51",
        b"\x00\x14" + bytes(19),
        b"\x00\x15" + bytes(20),
        b"\x52\x20" + bytes(32),
        b"\x21\x02" + bytes(32) + b"\xac",
        b"\x76\xa9\x14" + bytes(20) + b"\x88\xad",
        b"\xa9\x14" + bytes(20) + b"\x88",
        b"\x51\x02\x4e\x73",
    ],
    ids=bytes.hex,
)
def test_other_scripts_have_no_address(script: bytes) -> None:
    assert address_of_script(script, MAIN) is None


GENERATOR = coincurve.PublicKey.from_valid_secret((1).to_bytes(32, "big"))


@pytest.mark.parametrize(
    "key", [b"", bytes(33), GENERATOR.format(compressed=False), b"\x02" + b"\xff" * 32]
)
def test_only_a_compressed_point_has_a_script(key: bytes) -> None:
    with pytest.raises(Refused) as refused:
        script_of_key(key)
    assert refused.value.reason is Reason.MALFORMED


def test_networks_that_share_their_addresses_are_told_apart_by_genesis() -> None:
    hashes = {network.genesis_hash for network in NETWORKS.values()}
    assert len(hashes) == len(NETWORKS)
    assert TEST.human_part == NETWORKS["testnet4"].human_part != LOCAL.human_part
