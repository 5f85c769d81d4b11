"""A key in a file signs exactly the typed data that it is shown."""

from __future__ import annotations

import json

import pytest
from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from eth_account import Account

from app.cli.cosigning import sign_document
from chains.evm.safe_build import document_of
from chains.evm.wallet_payload import WalletTransaction, wallet_digest
from core.errors import Reason, Refused
from tests.support.safes import DEVICES

PAID = WalletTransaction(31_337, b"s" * 20, b"t" * 20, 7, b"", 0, 60_000, 0, 0,
                         bytes(20), bytes(20), 4)  # fmt: skip
DOCUMENT = json.loads(document_of(PAID))


def test_it_is_what_a_wallet_application_signs() -> None:
    device = DEVICES[0]
    made = sign_document(DOCUMENT, PrivateKey(device.secret))
    theirs = Account.sign_typed_data(device.secret, full_message=DOCUMENT)
    assert made.owner == device.address
    assert made.digest == "0x" + wallet_digest(PAID).hex()
    assert made.signature == "0x" + bytes(theirs.signature).hex()
    assert "value: 7" in made.shown
    assert "verifyingContract" in made.shown


def test_other_keys_and_other_documents_sign_nothing() -> None:
    key = PrivateKey(DEVICES[0].secret)
    for document, signer, reason in (
        (DOCUMENT, Ed25519PrivateKey.from_private_bytes(bytes(32)), Reason.MALFORMED),
        ({**DOCUMENT, "primaryType": "Other"}, key, Reason.UNDECODABLE),
        ({**DOCUMENT, "message": {}}, key, Reason.UNDECODABLE),
    ):
        with pytest.raises(Refused) as refused:
            sign_document(document, signer)
        assert refused.value.reason is reason
