"""Addresses: EIP-55 vectors and W12, the table of bad destinations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from chains.evm import open_evm
from chains.evm.address import checksum, from_public_key, is_unspendable, raw_address
from chains.evm.chain import EvmChain
from core.errors import Reason, Refused
from tests.support.evm import FIRST, config_for, listed

VECTORS = json.loads((Path(__file__).parents[3] / "vectors/evm_addresses.json").read_text("utf-8"))
TOKEN = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
GOOD = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
CYRILLIC_A = "\u0430"


@pytest.fixture(scope="module")
def chain() -> EvmChain:
    """Open a chain that no test asks anything of its nodes."""
    return open_evm(config_for(["http://127.0.0.1:9"], listed(TOKEN), genesis="0x" + "0" * 64))


@pytest.mark.parametrize("text", VECTORS["addresses"])
def test_the_vectors_of_eip_55_hold(text: str) -> None:
    assert checksum(bytes.fromhex(text[2:])) == text
    assert raw_address(text) == raw_address(text.lower()) == bytes.fromhex(text[2:])


def swap_case_at(text: str, place: int) -> str:
    """Return the text with one letter in the other case."""
    return text[:place] + text[place].swapcase() + text[place + 1 :]


@pytest.mark.parametrize(
    "text",
    [
        swap_case_at(GOOD, GOOD.index("C")),
        "0x" + GOOD[2:].upper(),
        "0X" + GOOD[2:],
        GOOD[2:],
        GOOD[:-1],
        GOOD + "0",
        GOOD + " ",
        " " + GOOD,
        GOOD + "\n",
        GOOD.lower().replace("a", CYRILLIC_A, 1),
        GOOD.replace("0", "\uff10", 1),
        GOOD.replace("0x", "0x\u200b"),
        "0x" + "g" * 40,
        "",
        "0x",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        "vitalik.eth",
        None,
        0x70997970C51812DC3A010C7D01B50E0D17DC79C8,
        GOOD.encode(),
    ],
)
def test_W12_what_is_not_exactly_an_address_is_invalid(chain: EvmChain, text: object) -> None:
    with pytest.raises(Refused) as refusal:
        chain.parse_address(text)  # type: ignore[arg-type]
    assert refusal.value.reason is Reason.INVALID_ADDRESS


@pytest.mark.parametrize(
    "text",
    [
        "0x" + "0" * 40,
        "0x000000000000000000000000000000000000dEaD",
        "0xdeaddeaddeaddeaddeaddeaddeaddeaddeaddead",
        "0x" + "f" * 40,
        *(f"0x{number:040x}" for number in range(1, 0x12)),
        "0x" + "0" * 37 + "100",
        TOKEN,
        TOKEN.lower(),
    ],
)
def test_W12_addresses_nobody_can_spend_from_are_forbidden(chain: EvmChain, text: str) -> None:
    with pytest.raises(Refused) as refusal:
        chain.parse_address(text)
    assert refusal.value.reason is Reason.FORBIDDEN_DESTINATION


def test_W12_control_a_good_address_passes_in_both_forms(chain: EvmChain) -> None:
    assert chain.parse_address(GOOD) == chain.parse_address(GOOD.lower()) == GOOD


@given(st.binary(min_size=20, max_size=20), st.integers(0, 39))
def test_every_wrong_case_is_refused(raw: bytes, place: int) -> None:
    text = checksum(raw)
    assert raw_address(text) == raw
    wrong = swap_case_at(text, place + 2)
    if wrong not in (text, text.lower()):
        with pytest.raises(Refused):
            raw_address(wrong)


def test_the_address_of_a_public_key_is_the_one_the_library_derives() -> None:
    account = Account.from_key(FIRST.secret_hex)
    assert checksum(from_public_key(FIRST.public_key)) == account.address


@pytest.mark.parametrize("key", [b"", b"\x02" * 32, b"\x02" + b"\xff" * 32, b"\x04" + b"\1" * 64])
def test_what_is_no_compressed_point_is_refused(key: bytes) -> None:
    with pytest.raises(Refused) as refusal:
        from_public_key(key)
    assert refusal.value.reason is Reason.MALFORMED


def test_an_ordinary_address_is_spendable() -> None:
    assert not is_unspendable(raw_address(GOOD))


def test_a_listed_key_that_is_not_canonical_stops_the_start() -> None:
    config = config_for(["http://127.0.0.1:9"], listed(TOKEN.lower()), genesis="0x" + "0" * 64)
    with pytest.raises(ValueError, match="checksummed"):
        open_evm(config)
