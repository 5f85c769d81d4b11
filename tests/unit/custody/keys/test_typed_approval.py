"""Typed data hashes and signs as a second implementation's wallet does."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Reason, Refused
from custody.keys.roster import Verdict, approval_signable
from custody.keys.signable import Signable, TypedField
from custody.keys.typed_approval import (
    address_text,
    check_typed,
    digest_of,
    one_spelling,
    read_address,
    sign_typed,
    typed_data,
)
from tests.support.rails import WalletKey
from tests.unit.custody.keys.officers import WITHDRAWAL

APPROVAL = approval_signable(WITHDRAWAL, Verdict.APPROVE)
WALLET = WalletKey("dan")
ADDRESS = WALLET.row("dan").public_key


def digest_of_another(signable: Signable) -> bytes:
    """Return what eth-account makes of the JSON that a wallet is shown."""
    page = json.loads(json.dumps(typed_data(signable)))
    for field in page["types"][page["primaryType"]]:
        if field["type"] == "uint256":
            page["message"][field["name"]] = int(page["message"][field["name"]])
    made = encode_typed_data(full_message=page)
    return keccak(b"\x19" + made.version + made.header + made.body)


def test_a_wallet_shows_what_is_approved() -> None:
    shown = typed_data(APPROVAL)
    assert shown["domain"] == {"name": "Strongroom", "version": "1"}
    message = shown["message"]
    assert isinstance(message, dict)
    assert {name: message[name] for name in ("verdict", "withdrawalId", "asset", "network")} == {
        "verdict": "approve",
        "withdrawalId": "wd_1",
        "asset": "native",
        "network": "31337:0xabc",
    }
    assert message["amountMinor"] == "1500000000000000000"
    assert message["destination"] == WITHDRAWAL.destination
    assert message["expires"] == "2023-11-14 23:13:20 UTC"
    assert len(message["intentHash"]) == len(message["messageHash"]) == 66


def test_the_digest_is_that_of_eth_account() -> None:
    for verdict in Verdict:
        signable = approval_signable(WITHDRAWAL, verdict)
        assert digest_of(signable) == digest_of_another(signable)


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,12}", fullmatch=True).filter(
    lambda name: name not in {"messageHash", "EIP712Domain"}
)
FIELDS = st.one_of(
    st.builds(TypedField, NAMES, st.just("string"), st.text(max_size=40)),
    st.builds(TypedField, NAMES, st.just("uint256"), st.integers(0, (1 << 256) - 1)),
    st.builds(TypedField, NAMES, st.just("bytes32"), st.binary(min_size=32, max_size=32)),
)


@settings(max_examples=200, deadline=None)
@given(
    fields=st.lists(FIELDS, max_size=6, unique_by=lambda field: field.name),
    message=st.binary(max_size=64),
)
def test_any_typed_message_hashes_as_eth_account_does(
    fields: list[TypedField], message: bytes
) -> None:
    signable = Signable(message, "Anything", tuple(fields))
    assert digest_of(signable) == digest_of_another(signable)


def test_a_signature_of_eth_account_counts() -> None:
    made = Account.sign_message(
        encode_typed_data(full_message=_with_integers()), WALLET.key.secret
    ).signature
    check_typed(ADDRESS, APPROVAL, bytes(made))
    assert sign_typed(WALLET.key, APPROVAL) == bytes(made)


def _with_integers() -> dict[str, object]:
    page = typed_data(APPROVAL)
    message = page["message"]
    assert isinstance(message, dict)
    numbers = {"amountMinor", "policyVersion"}
    plain = {name: int(value) if name in numbers else value for name, value in message.items()}
    return {**page, "message": plain}


def test_a_wallet_that_ends_in_0_or_1_is_understood_at_the_door_only() -> None:
    signature = sign_typed(WALLET.key, APPROVAL)
    short = signature[:64] + bytes([signature[64] - 27])
    with pytest.raises(Refused):
        check_typed(ADDRESS, APPROVAL, short)
    assert one_spelling(short) == one_spelling(signature) == signature
    assert one_spelling(b"") == b""


@pytest.mark.parametrize(
    "signable",
    [
        Signable(b"", "No name", ()),
        Signable(b"", "", ()),
        Signable(b"", "X", (TypedField("a b", "string", ""),)),
        Signable(b"", "X", (TypedField("messageHash", "string", ""),)),
        Signable(b"", "X", (TypedField("a", "string", ""), TypedField("a", "string", ""))),
        Signable(b"", "X", (TypedField("a", "uint256", -1),)),
        Signable(b"", "X", (TypedField("a", "uint256", 1 << 256),)),
        Signable(b"", "X", (TypedField("a", "uint256", True),)),
        Signable(b"", "X", (TypedField("a", "uint256", "1"),)),
        Signable(b"", "X", (TypedField("a", "bytes32", b"1"),)),
        Signable(b"", "X", (TypedField("a", "string", b"1"),)),
    ],
)
def test_what_has_no_one_hash_is_refused(signable: Signable) -> None:
    for make in (digest_of, typed_data):
        with pytest.raises(Refused) as refused:
            make(signable)
        assert refused.value.reason is Reason.MALFORMED


def test_messages_of_two_purposes_never_share_a_digest() -> None:
    assert digest_of(APPROVAL) != digest_of(replace(APPROVAL, purpose="Statement"))


def test_an_address_is_read_in_one_spelling() -> None:
    text = address_text(ADDRESS)
    assert read_address(text) == ADDRESS
    for other in (text.lower(), text.upper(), text[2:], text + "0", " " + text, text.swapcase()):
        with pytest.raises(Refused) as refused:
            read_address(other)
        assert refused.value.reason is Reason.MALFORMED
