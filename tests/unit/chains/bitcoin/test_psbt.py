"""Partially signed transactions (BIP-174): one spelling is read, and any bytes are survived."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.bitcoin.decode import read_spend
from chains.bitcoin.psbt import PSBT_BYTES_MAX, read_psbt
from core.errors import Reason, Refused
from tests.support.bitcoin import HOT, SIGNER, STRANGER, Wallet, address_of

HONEST = Wallet().draft().payload()


def refusal(data: bytes) -> Reason:
    """Return why a payload is not judged any further."""
    with pytest.raises(Refused) as refused:
        read_spend(data)
    return refused.value.reason


def test_derivation_paths_are_read_and_nothing_depends_on_them() -> None:
    draft = Wallet().draft()
    key, path = SIGNER.public_key(HOT), b"\x00" * 4 + b"\xff\xff\xff\x7f" * 5
    with_paths = draft.with_input(0, more=((b"\x06" + key, path),)).with_output(
        1, more=((b"\x02" + key, path),)
    )
    assert read_psbt(with_paths.payload()) == read_psbt(draft.payload())


def test_version_0_may_be_said() -> None:
    draft = Wallet().draft().changed(more=((b"\xfb", bytes(4)),))
    assert read_psbt(draft.payload()) == read_psbt(HONEST)


def test_what_is_too_long_is_not_even_looked_at() -> None:
    assert refusal(HONEST + bytes(PSBT_BYTES_MAX)) is Reason.TOO_LARGE


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_or_read(data: bytes) -> None:
    with pytest.raises(Refused):
        read_psbt(b"psbt\xff" + data)


@given(st.integers(0, len(HONEST) - 1), st.integers(1, 255))
def test_no_changed_byte_makes_the_same_spend(place: int, change: int) -> None:
    """Only bytes of a witness, which the hash of a transaction does not cover, say nothing."""
    changed = bytearray(HONEST)
    changed[place] ^= change
    honest = read_spend(HONEST)
    try:
        spend = read_spend(bytes(changed))
    except Refused:
        return
    assert spend.tx != honest.tx or spend == honest


def test_the_honest_payload_pays_whom_it_says() -> None:
    assert len(read_spend(HONEST).coins) == 2
    assert address_of(HOT) != STRANGER
