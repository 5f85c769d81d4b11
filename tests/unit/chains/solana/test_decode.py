"""The judge: honest messages are read as what they are, tampered ones beside them are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.message import MessageV0, from_bytes_versioned
from spl.token.instructions import get_associated_token_address

from chains.base import NATIVE, Effect, FeeRate, SpendIntent, SpendItem, SpendKind
from chains.solana import programs
from chains.solana.address import to_text
from chains.solana.decode import decode, rate_of
from chains.solana.message import read_message
from chains.solana.params import TRANSFERS_MAX
from core.errors import Reason, Refused
from tests.support.solana import (
    CANCELLATION,
    DEPOSIT,
    GAS,
    HOT,
    MINT,
    MINT_TEXT,
    NATIVE_PAYMENT,
    NONCE,
    OPENING_PAYMENT,
    PARAMS,
    RECEIVER,
    STRANGER,
    SWEEP,
    TOKEN_PAYMENT,
    VALUE,
    built,
    compact,
    draft_of,
    facts_of,
    intent_of,
    keypair,
    raw,
    with_key,
    written,
)
from tests.support.tampered_messages import TAMPERED, tampered

HONEST = {
    "native": NATIVE_PAYMENT,
    "token": TOKEN_PAYMENT,
    "opening": OPENING_PAYMENT,
    "sweep": SWEEP,
    "cancellation": CANCELLATION,
}


@pytest.mark.parametrize("name", HONEST)
def test_what_the_builder_makes_the_judge_reads(name: str) -> None:
    unsigned = HONEST[name]
    decoded = decode(unsigned.payload, PARAMS, sender=unsigned.sender)

    assert decoded.digest == unsigned.digest == unsigned.payload
    assert decoded.fee_max == unsigned.fee_max
    assert decoded.ticket == f"{NONCE.pubkey()}:{to_text(VALUE)}"
    assert decoded.claims(unsigned.sender) == (decoded.ticket,)
    assert decoded.network == PARAMS.network
    assert rate_of(unsigned.payload) == FeeRate(7, 7)


def test_each_honest_message_does_what_its_intent_says() -> None:
    receiver, hot = str(RECEIVER.pubkey()), str(HOT.pubkey())
    effects = {
        name: decode(one.payload, PARAMS, sender=one.sender).effects for name, one in HONEST.items()
    }

    assert effects == {
        "native": (Effect(NATIVE, receiver, 1_234),),
        "token": (Effect(MINT_TEXT, receiver, 1_234),),
        "opening": (Effect(MINT_TEXT, receiver, 1_234),),
        "sweep": (Effect(MINT_TEXT, hot, 1_234),),
        "cancellation": (),
    }


def test_who_pays_signs_before_who_is_swept() -> None:
    swept = decode(SWEEP.payload, PARAMS, sender=SWEEP.sender)
    cancelled = built(
        intent_of(DEPOSIT, kind=SpendKind.CANCELLATION, asset_key=NATIVE), facts_of(GAS)
    )

    assert swept.signers == (str(GAS.pubkey()), str(DEPOSIT.pubkey()))
    read = decode(cancelled.payload, PARAMS, sender=cancelled.sender)
    assert read.signers == swept.signers
    assert read.effects == (Effect(NATIVE, str(DEPOSIT.pubkey()), 0),)
    assert decode(NATIVE_PAYMENT.payload, PARAMS, sender=NATIVE_PAYMENT.sender).signers == ()


def test_an_opening_costs_its_rent_at_most() -> None:
    costs = {
        name: decode(one.payload, PARAMS, sender=one.sender).fee_max for name, one in HONEST.items()
    }

    assert costs["native"] == costs["token"] == costs["cancellation"] == 5_000 + 92 * 7
    assert costs["sweep"] == 10_000 + 92 * 7
    assert costs["opening"] == 5_000 + 92 * 7 + programs.OPENING_COST[programs.TOKEN_2022]


def _batch(count: int, asset_key: str = NATIVE) -> SpendIntent:
    items = tuple(
        SpendItem(f"wd_{n}", str(keypair(f"receiver {n}").pubkey()), 100 + n) for n in range(count)
    )
    amount = sum(one.amount for one in items)
    intent = intent_of(HOT, HOT, amount=amount, asset_key=asset_key, kind=SpendKind.BATCH)
    return replace(intent, items=items, fee_max=10**8)


@pytest.mark.parametrize("asset_key", [NATIVE, MINT_TEXT])
@pytest.mark.parametrize("count", [2, TRANSFERS_MAX])
def test_a_batch_pays_every_item_in_order_and_fits_into_a_packet(
    asset_key: str, count: int
) -> None:
    intent = _batch(count, asset_key)
    facts = facts_of(token_program=programs.TOKEN if asset_key != NATIVE else b"")
    opened = frozenset(one.destination for one in intent.items) if asset_key != NATIVE else ()
    unsigned = built(intent, replace(facts, opens=frozenset(opened)))
    decoded = decode(unsigned.payload, PARAMS, sender=unsigned.sender)

    assert decoded.is_batch
    assert decoded.fee_max == unsigned.fee_max
    assert decoded.effects == tuple(
        Effect(asset_key, one.destination, one.amount) for one in intent.items
    )


def test_a_batch_of_too_many_is_not_built() -> None:
    with pytest.raises(Refused) as refused:
        built(_batch(TRANSFERS_MAX + 1), facts_of())
    assert refused.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize("name", HONEST)
def test_the_second_library_reads_the_same_keys_and_roles(name: str) -> None:
    payload = HONEST[name].payload
    mine, other = read_message(payload), from_bytes_versioned(payload)
    assert isinstance(other, MessageV0)

    assert [bytes(key) for key in other.account_keys] == list(mine.keys)
    for place in range(len(mine.keys)):
        assert other.is_signer(place) is mine.is_signer(place)
        assert other.is_maybe_writable(place) is mine.is_writable(place)
    assert [
        (call.program_id_index, bytes(call.accounts), bytes(call.data))
        for call in other.instructions
    ] == [(call.program, call.accounts, call.data) for call in mine.instructions]


@pytest.mark.parametrize("name", HONEST)
def test_a_message_taken_apart_and_put_together_again_is_honest(name: str) -> None:
    """The control of every tampered one below: the edit alone makes the difference."""
    unsigned = HONEST[name]
    decoded = decode(unsigned.payload, PARAMS, sender=unsigned.sender)
    again = draft_of(unsigned.payload).compiled()

    assert replace(decode(again, PARAMS, sender=unsigned.sender), digest=b"") == replace(
        decoded, digest=b""
    )
    assert written(read_message(unsigned.payload)) == unsigned.payload


@pytest.mark.parametrize("case", TAMPERED)
def test_a_tampered_message_is_refused_by_its_name(case: str) -> None:
    unsigned, payload, reason = tampered(case)

    with pytest.raises(Refused) as refused:
        decode(payload, PARAMS, sender=unsigned.sender)

    assert refused.value.reason is reason, refused.value


def edited(payload: bytes, at: int, byte: int) -> bytes:
    """Return bytes with another one at a place."""
    return payload[:at] + bytes((byte,)) + payload[at + 1 :]


_PAYLOAD = NATIVE_PAYMENT.payload
_MESSAGE = read_message(_PAYLOAD)

BYTES: dict[str, bytes] = {
    "nothing": b"",
    "the version byte alone": _PAYLOAD[:1],
    "the legacy form": _PAYLOAD[1:-1],
    "version 1": edited(_PAYLOAD, 0, 0x81),
    "an off-chain message": b"\xffsolana offchain" + bytes(80),
    "a byte less": _PAYLOAD[:-1],
    "a byte more": _PAYLOAD + b"\0",
    "a second message behind it": _PAYLOAD * 2,
    "a lookup table": written(_MESSAGE, lookups=b"\x01" + bytes(32) + b"\x01\x00\x00"),
    "a count in a longer spelling": _PAYLOAD[:4]
    + bytes((len(_MESSAGE.keys) | 0x80, 0))
    + _PAYLOAD[5:],
    "nobody signs": written(replace(_MESSAGE, signers=0)),
    "nobody who signs may be changed": written(replace(_MESSAGE, readonly_signers=1)),
    "more sign than there are": written(replace(_MESSAGE, signers=99)),
    "more are read than there are": written(replace(_MESSAGE, readonly_others=99)),
    "a key twice": written(replace(_MESSAGE, keys=(*_MESSAGE.keys, _MESSAGE.keys[1]))),
    "longer than a packet": written(
        replace(_MESSAGE, keys=(*_MESSAGE.keys, *(bytes((n,)) * 32 for n in range(40, 72))))
    ),
    "a call of a key that is not there": written(
        replace(
            _MESSAGE,
            instructions=(
                *_MESSAGE.instructions[:3],
                replace(_MESSAGE.instructions[3], program=60),
            ),
        )
    ),
    "a call of an account that is not there": written(
        replace(
            _MESSAGE,
            instructions=(
                *_MESSAGE.instructions[:3],
                replace(_MESSAGE.instructions[3], accounts=b"\0\x63"),
            ),
        )
    ),
    "who pays as a program": written(
        replace(
            _MESSAGE,
            instructions=(*_MESSAGE.instructions[:3], replace(_MESSAGE.instructions[3], program=0)),
        )
    ),
}


@pytest.mark.parametrize("case", BYTES)
def test_bytes_that_are_no_message_of_ours_are_undecodable(case: str) -> None:
    with pytest.raises(Refused) as refused:
        decode(BYTES[case], PARAMS, sender=NATIVE_PAYMENT.sender)

    assert refused.value.reason is Reason.UNDECODABLE


def test_an_owner_change_of_one_byte_is_seen_as_another_effect() -> None:
    """What stays well formed is told truthfully; the intent refuses it then."""
    draft = draft_of(NATIVE_PAYMENT.payload)
    draft.calls[3] = with_key(draft.calls[3], 1, raw(STRANGER))
    decoded = decode(draft.compiled(), PARAMS, sender=NATIVE_PAYMENT.sender)

    assert decoded.effects == (Effect(NATIVE, str(STRANGER.pubkey()), 1_234),)


@given(st.data())
def test_no_single_changed_byte_keeps_what_was_approved(data: st.DataObject) -> None:
    """Effects, claim and fee are those of the honest one, or it is refused."""
    unsigned = HONEST[data.draw(st.sampled_from(sorted(HONEST)))]
    at = data.draw(st.integers(0, len(unsigned.payload) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != unsigned.payload[at]))
    honest = decode(unsigned.payload, PARAMS, sender=unsigned.sender)
    try:
        tampered = decode(edited(unsigned.payload, at, byte), PARAMS, sender=unsigned.sender)
    except Refused:
        return

    told = (tampered.effects, tampered.ticket, tampered.fee_max, tampered.signers)
    assert told != (honest.effects, honest.ticket, honest.fee_max, honest.signers)


@given(st.binary(max_size=1_300))
def test_the_judge_refuses_noise_and_nothing_else_happens(noise: bytes) -> None:
    for payload in (noise, b"\x80" + noise, b"\x80\x01\x00\x01" + noise):
        with pytest.raises(Refused):
            decode(payload, PARAMS, sender=NATIVE_PAYMENT.sender)


@given(st.integers(0, 0xFFFF))
def test_a_compact_number_has_one_spelling(number: int) -> None:
    from chains.solana.message import _Cursor

    spelled = compact(number)
    assert _Cursor(spelled).compact() == number
    with pytest.raises(Refused):
        _Cursor(spelled[:-1] + bytes((spelled[-1] | 0x80, 0))).compact()


def test_the_derived_account_is_the_second_librarys() -> None:
    other = get_associated_token_address(RECEIVER.pubkey(), MINT.pubkey())

    assert bytes(other) in read_message(TOKEN_PAYMENT.payload).keys
    assert len(TAMPERED) + len(BYTES) >= 40
