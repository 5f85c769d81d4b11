"""The verifier's own Keccak and key recovery, against published vectors and other libraries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from Crypto.Hash import keccak
from eth_account import Account
from eth_account.messages import encode_defunct
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.reserves import verify
from custody.reserves.verify import N, Refuted, eip191_signer, keccak256, recover

VECTORS = json.loads(Path("tests/vectors/reserves.json").read_text("utf-8"))
MESSAGE = b"a challenge"
KEY = Account.from_key(bytes(range(1, 33)))
SIGNATURE = bytes(Account.sign_message(encode_defunct(MESSAGE), KEY.key).signature)


@pytest.mark.parametrize("case", VECTORS["keccak256"]["cases"])
def test_keccak_gives_the_published_hashes(case: dict[str, str]) -> None:
    assert keccak256(bytes.fromhex(case["message"])).hex() == case["hash"]


def test_keccak_equals_another_library_at_every_length_around_its_blocks() -> None:
    for length in [*range(4), *range(133, 140), *range(269, 276), 1000]:
        data = bytes(index * 7 & 255 for index in range(length))
        assert keccak256(data) == keccak.new(digest_bits=256, data=data).digest(), length


def test_recovery_follows_the_vectors_of_the_precompile_but_takes_low_s_only() -> None:
    unrecoverable, valid = VECTORS["recover"]["cases"]
    for case in (unrecoverable, valid):
        raw = bytes.fromhex(case["input"])
        with pytest.raises(Refuted):
            recover(raw[:32], raw[64:] + raw[63:64])
    raw = bytes.fromhex(valid["input"])
    low_s = N - int.from_bytes(raw[96:], "big")
    twin = raw[64:96] + low_s.to_bytes(32, "big") + bytes([27 + 28 - raw[63]])
    assert recover(raw[:32], twin).lower() == "0x" + valid["address"]


def test_personal_messages_follow_the_published_vector() -> None:
    (case,) = VECTORS["eip191"]["cases"]
    signature = bytes.fromhex(case["signature"])
    assert eip191_signer(bytes.fromhex(case["message"]), signature) == case["address"]


def test_the_prefix_is_that_of_the_standard() -> None:
    assert verify.EIP191_PREFIX == b"\x19Ethereum Signed Message:\n"


@settings(max_examples=20)
@given(st.integers(1, N - 1), st.binary(max_size=400))
def test_whoever_signs_is_recovered(key: int, message: bytes) -> None:
    account = Account.from_key(key.to_bytes(32, "big"))
    signature = bytes(Account.sign_message(encode_defunct(message), account.key).signature)
    assert eip191_signer(message, signature) == account.address


def signature_with(
    *, r: bytes | None = None, s: bytes | None = None, v: int | None = None
) -> bytes:
    return (
        (r or SIGNATURE[:32]) + (s or SIGNATURE[32:64]) + bytes([SIGNATURE[64] if v is None else v])
    )


HIGH_TWIN = signature_with(
    s=(N - int.from_bytes(SIGNATURE[32:64], "big")).to_bytes(32, "big"), v=55 - SIGNATURE[64]
)


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        SIGNATURE[:64],
        SIGNATURE + b"\x00",
        HIGH_TWIN,
        signature_with(v=0),
        signature_with(v=29),
        signature_with(r=bytes(32)),
        signature_with(s=bytes(32)),
        signature_with(r=N.to_bytes(32, "big")),
        signature_with(s=N.to_bytes(32, "big")),
        signature_with(r=(5).to_bytes(32, "big")),
    ],
)
def test_a_signature_of_another_form_is_refuted(signature: bytes) -> None:
    assert eip191_signer(MESSAGE, SIGNATURE) == KEY.address
    with pytest.raises(Refuted):
        eip191_signer(MESSAGE, signature)


@settings(max_examples=40)
@given(st.integers(0, 64), st.integers(1, 255))
def test_no_changed_signature_is_the_owners(place: int, change: int) -> None:
    changed = bytearray(SIGNATURE)
    changed[place] ^= change
    try:
        signer = eip191_signer(MESSAGE, bytes(changed))
    except Refuted:
        return
    assert signer != KEY.address
