"""Addresses beside a second library: text, the curve, derived accounts; and their edges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey
from spl.token.instructions import get_associated_token_address

from chains.solana.address import decode58, is_on_curve, raw_address, to_text
from chains.solana.programs import TOKEN_PROGRAMS, token_account
from core.errors import Reason, Refused

_RAW = st.binary(min_size=32, max_size=32)
_PRIME = 2**255 - 19


@given(_RAW)
def test_two_libraries_write_and_judge_an_address_alike(raw: bytes) -> None:
    other = Pubkey.from_bytes(raw)

    assert to_text(raw) == str(other)
    assert raw_address(str(other)) == raw
    assert is_on_curve(raw) is other.is_on_curve()


@pytest.mark.parametrize("number", range(_PRIME - 3, 2**255))
@pytest.mark.parametrize("sign", [0, 1])
def test_numbers_above_the_prime_and_negative_zeros_are_judged_as_the_chain_does(
    number: int, sign: int
) -> None:
    raw = (number | sign << 255).to_bytes(32, "little")

    assert is_on_curve(raw) is Pubkey.from_bytes(raw).is_on_curve()


@given(_RAW, _RAW, st.sampled_from(TOKEN_PROGRAMS))
def test_two_libraries_derive_the_same_token_account(
    owner: bytes, mint: bytes, program: bytes
) -> None:
    other = get_associated_token_address(*map(Pubkey.from_bytes, (owner, mint, program)))

    assert token_account(owner, mint, program) == bytes(other)
    assert not is_on_curve(bytes(other))


_GOOD = "7kqnvBVQtASUaV7Nkh53tGENVDK6vRtLQcnEpEx7c5wy"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " " + _GOOD,
        _GOOD + " ",
        _GOOD + "\n",
        _GOOD[:-2],
        _GOOD + "1",
        "1" + _GOOD,
        _GOOD.replace("k", "0"),
        _GOOD.replace("k", "l"),
        _GOOD.replace("w", "ш"),
        "1" * 31,
        "1" * 33,
        "z" * 44,
        "0x" + "00" * 32,
        b"bytes",
        None,
        7,
    ],
)
def test_what_is_not_exactly_32_bytes_in_base58_is_no_address(text: object) -> None:
    with pytest.raises(Refused) as refused:
        raw_address(text)

    assert refused.value.reason is Reason.INVALID_ADDRESS


def test_the_good_one_beside_them_is_an_address() -> None:
    assert to_text(raw_address(_GOOD)) == _GOOD
    assert decode58("1" * 32, 32) == bytes(32)
