"""A proof of control is no transaction and answers nobody else's question."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chains.fake.chain import FakeChain
from core.errors import Reason, Refused
from custody.keys.control import CHALLENGE_BYTES_MAX, DOMAIN, prove_control
from custody.keys.signers import KeyRef
from tests.unit.custody.keys.guardroom import HOT, Guardroom

CHALLENGE = DOMAIN + b"reserves/2026-11-20"


def test_a_proof_is_made_for_our_own_challenge(room: Guardroom) -> None:
    address = room.address("hot")
    proof = prove_control(room.chain, room.guard.signer, HOT, address, CHALLENGE)
    assert proof
    other = prove_control(room.chain, room.guard.signer, HOT, address, CHALLENGE + b"!")
    assert proof != other


@pytest.mark.parametrize(
    "challenge", [b"", b"reserves", b" " + CHALLENGE, DOMAIN + b"x" * CHALLENGE_BYTES_MAX]
)
def test_a_foreign_challenge_is_refused(room: Guardroom, challenge: bytes) -> None:
    with pytest.raises(Refused) as refused:
        prove_control(room.chain, room.guard.signer, HOT, room.address("hot"), challenge)
    assert refused.value.reason is Reason.MALFORMED


def test_another_keys_address_is_refused(room: Guardroom) -> None:
    with pytest.raises(Refused) as refused:
        prove_control(
            room.chain, room.guard.signer, KeyRef("hot", 1), room.address("hot"), CHALLENGE
        )
    assert refused.value.reason is Reason.UNKNOWN_KEY


class MainChain(FakeChain):
    """The same chain, called a main network."""

    @property
    def traits(self):  # type: ignore[no-untyped-def]
        return replace(super().traits, is_main_network=True)


def test_a_main_network_is_refused(room: Guardroom) -> None:
    main = MainChain(room.world)
    with pytest.raises(Refused) as refused:
        prove_control(main, room.guard.signer, HOT, room.address("hot"), CHALLENGE)
    assert refused.value.reason is Reason.MAIN_NETWORK
    with pytest.raises(Refused) as refused:
        room.with_guard(chain=main).sign(room.request())
    assert refused.value.reason is Reason.MAIN_NETWORK
