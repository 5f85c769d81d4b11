"""A signature that went wrong in the making never leaves the signer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from coincurve import PrivateKey

from core.errors import Corrupt
from custody.keys.bip32 import PrivateNode
from custody.keys.derivation import CURVE_ORDER
from custody.keys.secret import Secret
from custody.keys.signers import KeyRef, LocalSigner
from tests.unit.custody.keys.networks import traits

DIGEST = bytes(range(32))
KEY = KeyRef("hot", 0)


def flipped(signature: bytes) -> bytes:
    return bytes([signature[0] ^ 1]) + signature[1:]


def with_high_s(signature: bytes) -> bytes:
    s = CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([signature[64] ^ 1])


def with_the_wrong_recovery_id(signature: bytes) -> bytes:
    return signature[:64] + bytes([signature[64] ^ 1])


def without_recovery_id(signature: bytes) -> bytes:
    return signature[:64]


def of_zeros(_signature: bytes) -> bytes:
    return bytes(65)


def of_another_key(_signature: bytes) -> bytes:
    return bytes(PrivateKey(bytes(31) + b"\x01").sign_recoverable(DIGEST, hasher=None))


def of_another_digest(_signature: bytes) -> bytes:
    signer = LocalSigner(Secret(bytes(32)), traits())
    return signer.sign(KEY, bytes(32))


FAULTS = [
    flipped,
    with_high_s,
    with_the_wrong_recovery_id,
    without_recovery_id,
    of_zeros,
    of_another_key,
    of_another_digest,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_faulty_signature_stays_inside(
    monkeypatch: pytest.MonkeyPatch, fault: Callable[[bytes], bytes]
) -> None:
    signer = LocalSigner(Secret(bytes(32)), traits())
    honest = PrivateNode.sign
    signature = signer.sign(KEY, DIGEST)
    wrong = fault(signature)
    assert wrong != signature
    monkeypatch.setattr(PrivateNode, "sign", lambda _node, _digest: wrong)
    with pytest.raises(Corrupt):
        signer.sign(KEY, DIGEST)
    monkeypatch.setattr(PrivateNode, "sign", honest)
    assert signer.sign(KEY, DIGEST) == signature
