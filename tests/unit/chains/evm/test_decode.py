"""The independent decoder: what it reads, what it refuses, and that no mutation says two things."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rlp as library  # type: ignore[import-untyped]
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from chains.base import NATIVE, FeeRate, SpendIntent, SpendKind
from chains.evm import open_evm
from chains.evm.address import checksum
from chains.evm.chain import EvmChain
from chains.evm.decode import read_fields
from chains.evm.erc20 import transfer_call
from core.errors import Reason, Refused
from tests.support.evm import CHAIN, FIRST, GWEI, SECOND, config_for, high_s, listed

VECTORS = json.loads(
    (Path(__file__).parents[3] / "vectors/evm_transactions.json").read_text("utf-8")
)
TOKEN = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
ALICE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
RATE = FeeRate(max_rate=10 * GWEI, tip_rate=GWEI)
WORD = (1).to_bytes(32, "big")
CHAIN_OBJECT = open_evm(config_for(["http://127.0.0.1:9"], listed(TOKEN), genesis="0x" + "0" * 64))
SENDER = CHAIN_OBJECT.address_of(FIRST.public_key)


@pytest.fixture
def chain() -> EvmChain:
    """Return a chain whose nodes nobody asks."""
    return CHAIN_OBJECT


def intent(**changes: Any) -> SpendIntent:
    """Return a withdrawal of native coin to ALICE, with changes."""
    fields: dict[str, Any] = {
        "spend_id": "sp_1",
        "kind": SpendKind.WITHDRAWAL,
        "cause_id": "wd_1",
        "chain": CHAIN,
        "network": CHAIN_OBJECT.traits.network,
        "asset_key": NATIVE,
        "source": SENDER,
        "destination": ALICE,
        "amount": 5,
        "fee_max": 10**16,
    }
    return SpendIntent(**{**fields, **changes})


def payload_of(**changes: Any) -> bytes:
    """Encode an unsigned type-2 transaction with the library, fields at will."""
    fields: dict[str, Any] = {
        "chain": 31_337,
        "nonce": 7,
        "tip": GWEI,
        "max": 10 * GWEI,
        "gas": 21_000,
        "to": bytes.fromhex(ALICE[2:]),
        "value": 5,
        "data": b"",
        "access": [],
    }
    items = [*{**fields, **changes}.values()]
    return b"\x02" + bytes(library.encode(items))


@pytest.mark.parametrize("case", VECTORS["cases"])
def test_signed_bytes_equal_the_library_s(chain: EvmChain, case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["data"])
    native = not data
    wanted = intent(
        asset_key=NATIVE if native else case["to"],
        destination=case["to"] if native else checksum(data[16:36]),
        amount=int(case["value"]) if native else int.from_bytes(data[36:], "big"),
        fee_max=10**17,
    )
    rate = FeeRate(case["maxFeePerGas"], case["maxPriorityFeePerGas"])
    unsigned = chain.build(wanted, nonce=case["nonce"], rate=rate, units=case["gas"])
    assert "0x" + unsigned.digest.hex() == case["signing_hash"]
    signed = chain.assemble(unsigned, FIRST.sign(unsigned.digest))
    assert ("0x" + signed.raw.hex(), signed.tx_id) == (case["raw"], case["tx_id"])
    assert chain.rate_of(unsigned.payload) == rate


def test_a_token_transfer_is_read_as_its_effect(chain: EvmChain) -> None:
    wanted = intent(asset_key=TOKEN, amount=10**30)
    unsigned = chain.build(wanted, nonce=3, rate=RATE, units=60_000)
    decoded = chain.decode(unsigned.payload, sender=SENDER)
    (effect,) = decoded.effects
    assert (effect.asset_key, effect.destination, effect.amount) == (TOKEN, ALICE, 10**30)
    assert (decoded.nonce, decoded.fee_max) == (3, 60_000 * RATE.max_rate)
    assert decoded.network == wanted.network


TRANSFER = transfer_call(bytes.fromhex(ALICE[2:]), 5)
TYPE_2 = payload_of()
SIGNED = b"\x02" + library.encode([*library.decode(TYPE_2[1:]), 0, b"\1" * 32, b"\2" * 32])
EIP_155_EXAMPLE = bytes.fromhex(
    "ec098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a764000080018080"
)

TYPED_DATA = b'{"types": {}, "primaryType": "%s", "domain": {}, "message": {}}'
UNDECODABLE: dict[str, bytes] = {
    "contract creation": payload_of(to=b"", data=b"\x60\x00"),
    "short destination": payload_of(to=b"\1" * 19),
    "access list": payload_of(access=[[b"\1" * 20, []]]),
    "access list as text": payload_of(access=b""),
    "token transfer with value": payload_of(value=1, data=TRANSFER),
    "token transfer cut short": payload_of(value=0, data=TRANSFER[:-1]),
    "token transfer with more": payload_of(value=0, data=TRANSFER + b"\0"),
    "dirty recipient": payload_of(value=0, data=TRANSFER[:4] + b"\1" + TRANSFER[5:]),
    "selector alone": payload_of(value=0, data=TRANSFER[:4]),
    "tip above highest": payload_of(tip=11 * GWEI),
    "too little gas": payload_of(gas=20_999),
    "value of 257 bits": payload_of(value=2**256),
    "nonce of 65 bits": payload_of(nonce=2**64),
    "leading zero": b"\x02" + library.encode([b"\0\1", *library.decode(TYPE_2[1:])[1:]]),
    "trailing byte": TYPE_2 + b"\0",
    "cut short": TYPE_2[:-1],
    "empty": b"",
    "type byte alone": b"\x02",
    "no list": b"\x02\x80",
    "eight fields": b"\x02" + library.encode(library.decode(TYPE_2[1:])[:8]),
    "already signed": bytes(SIGNED),
    "type 0 of this network": bytes(
        library.encode([9, GWEI, 21_000, b"\1" * 20, 1, b"", 31_337, 0, 0])
    ),
    "type 1": b"\x01" + TYPE_2[1:],
    "type 3": b"\x03" + TYPE_2[1:],
    "type 4": b"\x04" + TYPE_2[1:],
    "signed authorisation": b"\x05" + bytes(library.encode([31_337, b"\1" * 20, 0, 1, 1, 1])),
    "authorisation of nobody": b"\x05" + bytes(library.encode([31_337, b"", 0])),
    "typed data as JSON": TYPED_DATA % b"Mail",
    "typed data of EIP-712": b"\x19\x01" + WORD + WORD,
    "personal message": b"\x19Ethereum Signed Message:\n32" + WORD,
    "very long": payload_of(data=TRANSFER + b"\0" * 4096),
}


@pytest.mark.parametrize("name", UNDECODABLE)
def test_S09_what_is_not_one_known_transfer_is_refused(chain: EvmChain, name: str) -> None:
    with pytest.raises(Refused) as refusal:
        chain.decode(UNDECODABLE[name], sender=SENDER)
    assert refusal.value.reason is Reason.UNDECODABLE


@pytest.mark.parametrize(
    "payload",
    [payload_of(max=10_000 * GWEI), payload_of(gas=30_000_000), payload_of(max=2**255, tip=1)],
)
def test_S09_absurd_fees_are_refused_by_the_decoder_itself(chain: EvmChain, payload: bytes) -> None:
    with pytest.raises(Refused) as refusal:
        chain.decode(payload, sender=SENDER)
    assert refusal.value.reason is Reason.FEE_ABOVE_CAP


@pytest.mark.parametrize(
    "payload",
    [
        payload_of(to=bytes(20)),
        payload_of(to=bytes.fromhex(TOKEN[2:])),
        payload_of(value=0, to=bytes.fromhex(TOKEN[2:]), data=transfer_call(bytes(20), 5)),
        payload_of(
            value=0,
            to=bytes.fromhex(TOKEN[2:]),
            data=transfer_call(bytes.fromhex(TOKEN[2:]), 5),
        ),
    ],
)
def test_W12_the_decoder_too_refuses_destinations_nobody_can_spend_from(
    chain: EvmChain, payload: bytes
) -> None:
    with pytest.raises(Refused) as refusal:
        chain.decode(payload, sender=SENDER)
    assert refusal.value.reason is Reason.FORBIDDEN_DESTINATION


def test_S09_control_the_unchanged_payload_is_read(chain: EvmChain) -> None:
    (effect,) = chain.decode(TYPE_2, sender=SENDER).effects
    assert (effect.asset_key, effect.destination, effect.amount) == (NATIVE, ALICE, 5)


def oracle(payload: bytes) -> dict[str, Any]:
    """Read a payload with eth-account's own decoder, under a dummy signature."""
    items = library.decode(payload[1:], strict=True)
    signed = payload[:1] + bytes(library.encode([*items, 1, 1, 1]))
    return dict(TypedTransaction.from_bytes(library_bytes(signed)).as_dict())


def library_bytes(raw: bytes) -> Any:
    """Wrap bytes as eth-account wants them."""
    from hexbytes import HexBytes

    return HexBytes(raw)


def flip(payload: bytes, place: int, mask: int) -> bytes:
    """Change bits of one byte."""
    return payload[:place] + bytes((payload[place] ^ mask,)) + payload[place + 1 :]


MUTATIONS: list[Callable[[bytes, int, int], bytes]] = [
    lambda payload, place, value: flip(payload, place, value or 1),
    lambda payload, place, value: payload[:place] + payload[place + 1 :],
    lambda payload, place, value: payload[:place] + bytes((value,)) + payload[place:],
    lambda payload, place, value: payload[:place],
    lambda payload, place, value: payload + bytes((value,)),
]


@given(
    st.sampled_from(
        [payload_of(), payload_of(value=0, to=b"\xa1" * 20, data=TRANSFER, gas=70_000)]
    ),
    st.sampled_from(MUTATIONS),
    st.integers(0, 200),
    st.integers(0, 255),
)
def test_any_mutation_is_refused_or_read_exactly_as_its_bytes_say(
    payload: bytes, mutate: Callable[[bytes, int, int], bytes], place: int, value: int
) -> None:
    mutated = mutate(payload, place % len(payload), value)
    try:
        decoded = CHAIN_OBJECT.decode(mutated, sender=SENDER)
    except Refused:
        return
    if mutated[:1] == b"\x05":
        return  # an authorisation, judged by tests of its own
    told = oracle(mutated)
    (effect,) = decoded.effects
    assert decoded.digest == keccak(mutated)
    assert told["chainId"] == 31_337
    assert (told["nonce"], told["gas"] * told["maxFeePerGas"]) == (decoded.nonce, decoded.fee_max)
    assert not told["accessList"]
    data = bytes(told["data"])
    if effect.asset_key == NATIVE:
        assert (checksum(bytes(told["to"])), told["value"], data) == (
            effect.destination,
            effect.amount,
            b"",
        )
    else:
        raw = bytes.fromhex(effect.destination[2:])
        assert told["value"] == 0
        assert checksum(bytes(told["to"])) == effect.asset_key
        assert data == transfer_call(raw, effect.amount)


@given(st.binary(max_size=300))
def test_no_bytes_make_the_decoder_fail_otherwise_than_by_refusing(data: bytes) -> None:
    for payload in (data, b"\x02" + data):
        with pytest.raises(Refused):
            read_fields(payload)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"network": "eip155:1/0x" + "0" * 64}, Reason.INTENT_MISMATCH),
        ({"chain": "another"}, Reason.INTENT_MISMATCH),
        ({"amount": 0}, Reason.ZERO_AMOUNT),
        ({"amount": 2**256}, Reason.AMOUNT_OUT_OF_RANGE),
        ({"amount": True}, Reason.MALFORMED_AMOUNT),
        ({"destination": ALICE[:-1]}, Reason.INVALID_ADDRESS),
        ({"destination": "0x" + "0" * 40}, Reason.FORBIDDEN_DESTINATION),
        ({"destination": TOKEN, "asset_key": TOKEN}, Reason.FORBIDDEN_DESTINATION),
        ({"asset_key": "USDX"}, Reason.INVALID_ADDRESS),
        ({"fee_max": 21_000 * 10 * GWEI - 1}, Reason.FEE_ABOVE_CAP),
        ({"kind": SpendKind.CANCELLATION}, Reason.INTENT_MISMATCH),
        ({"kind": SpendKind.CANCELLATION, "amount": 0}, Reason.INTENT_MISMATCH),
    ],
)
def test_the_builder_refuses_what_it_cannot_carry_out(
    chain: EvmChain, changes: dict[str, Any], reason: Reason
) -> None:
    with pytest.raises(Refused) as refusal:
        chain.build(intent(**changes), nonce=0, rate=RATE, units=21_000)
    assert refusal.value.reason is reason


@pytest.mark.parametrize(
    ("rate", "units"),
    [
        (FeeRate(301 * GWEI, GWEI), 21_000),
        (RATE, 500_001),
    ],
)
def test_the_builder_refuses_rates_and_gas_above_the_cap(
    chain: EvmChain, rate: FeeRate, units: int
) -> None:
    with pytest.raises(Refused) as refusal:
        chain.build(intent(fee_max=10**19), nonce=0, rate=rate, units=units)
    assert refusal.value.reason is Reason.FEE_ABOVE_CAP


def test_a_signature_must_be_the_sender_s_low_and_whole(chain: EvmChain) -> None:
    unsigned = chain.build(intent(), nonce=0, rate=RATE, units=21_000)
    good = FIRST.sign(unsigned.digest)
    assert chain.assemble(unsigned, good).raw
    for bad in (
        b"",
        good[:64],
        good + b"\0",
        good[:64] + bytes((good[64] ^ 1,)),
        good[:64] + bytes((good[64] + 27,)),
        high_s(good),
        bytes(65),
        good[:32] + bytes(32) + good[64:],
        SECOND.sign(unsigned.digest),
        FIRST.sign(bytes(32)),
    ):
        with pytest.raises(Refused) as refusal:
            chain.assemble(unsigned, bad)
        assert refusal.value.reason is Reason.BAD_SIGNATURE


def test_a_digest_of_another_payload_is_refused(chain: EvmChain) -> None:
    from dataclasses import replace

    unsigned = chain.build(intent(), nonce=0, rate=RATE, units=21_000)
    other = chain.build(intent(amount=6), nonce=0, rate=RATE, units=21_000)
    mixed = replace(unsigned, payload=other.payload)
    with pytest.raises(Refused) as refusal:
        chain.assemble(mixed, FIRST.sign(unsigned.digest))
    assert refusal.value.reason is Reason.INTENT_MISMATCH


def test_control_of_an_address_is_proven_as_wallets_do_it(chain: EvmChain) -> None:
    from eth_account import Account
    from eth_account.messages import encode_defunct

    challenge = b"strongroom reserves 2026-11-20"
    signature = FIRST.sign(chain.control_digest(challenge, address=SENDER))
    proof = chain.control_proof(challenge, signature, address=SENDER)
    assert Account.recover_message(encode_defunct(challenge), signature=proof) == SENDER
    with pytest.raises(Refused) as refusal:
        chain.control_proof(
            challenge, SECOND.sign(chain.control_digest(challenge, address=SENDER)), address=SENDER
        )
    assert refusal.value.reason is Reason.BAD_SIGNATURE
    with pytest.raises(Refused):
        chain.control_proof(challenge + b"!", signature, address=SENDER)


def test_S09_a_challenge_that_is_a_transaction_signs_something_else(chain: EvmChain) -> None:
    assert (
        chain.control_digest(TYPE_2, address=SENDER) != chain.decode(TYPE_2, sender=SENDER).digest
    )
