"""Our own serialisation of signed transactions is the libraries', byte for byte."""

from __future__ import annotations

import rlp  # type: ignore[import-untyped]
from eth_account import Account
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from chains.evm.decode import Fields, read_fields
from chains.evm.signing import payload_of, sign_fields, signed_bytes
from custody.keys.derivation import CURVE_ORDER

WORD = st.integers(0, (1 << 64) - 1)
FIELDS = st.builds(
    Fields,
    chain_number=st.one_of(st.sampled_from([0, 1, 127, 128, 255, 256]), WORD),
    nonce=st.one_of(st.sampled_from([0, 1, 127, 128]), WORD),
    tip_rate=WORD,
    max_rate=WORD,
    gas=WORD,
    to=st.binary(min_size=20, max_size=20),
    value=st.one_of(st.just(0), st.integers(0, (1 << 256) - 1)),
    data=st.one_of(
        st.just(b""), st.binary(max_size=300), st.sampled_from([b"\0", b"\x7f", b"\x80"])
    ),
)
SCALAR = st.one_of(st.integers(1, CURVE_ORDER - 1), st.integers(1, 1 << 200), st.just(1))


def items(fields: Fields) -> list[object]:
    return [
        fields.chain_number, fields.nonce, fields.tip_rate, fields.max_rate, fields.gas, fields.to,
        fields.value, fields.data, [],
    ]  # fmt: skip


@given(FIELDS, SCALAR, SCALAR, st.integers(0, 1))
def test_signed_bytes_are_those_of_the_rlp_library(
    fields: Fields, r: int, s: int, parity: int
) -> None:
    """Also where r or s begins with zero bytes."""
    payload = payload_of(fields)
    assert payload == b"\x02" + rlp.encode(items(fields))
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes((parity,))
    expected = b"\x02" + rlp.encode([*items(fields), parity, r, s])
    assert signed_bytes(payload, signature) == expected
    asked: list[bytes] = []

    def sign(digest: bytes) -> bytes:
        asked.append(digest)
        return signature

    assert sign_fields(fields, sign) == expected
    assert asked == [keccak(payload)]
    if len(payload) <= 512:
        assert read_fields(payload) == fields


@given(FIELDS, st.integers(1, CURVE_ORDER - 1))
def test_signed_bytes_are_those_of_eth_account(fields: Fields, secret: int) -> None:
    account = Account.from_key(secret.to_bytes(32, "big"))
    signed = account.sign_transaction(
        {
            "type": 2, "chainId": fields.chain_number, "nonce": fields.nonce,
            "maxPriorityFeePerGas": fields.tip_rate, "maxFeePerGas": fields.max_rate,
            "gas": fields.gas, "to": fields.to, "value": fields.value, "data": fields.data,
            "accessList": [],
        }
    )  # fmt: skip

    def sign(digest: bytes) -> bytes:
        return bytes(account.unsafe_sign_hash(digest).signature[:64]) + bytes((signed.v,))

    assert sign_fields(fields, sign) == bytes(signed.raw_transaction)
