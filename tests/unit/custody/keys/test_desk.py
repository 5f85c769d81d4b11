"""The desk: each request to the guard of its chain, an answer for each, and true claims only."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.clock import DAY_NS, ManualClock
from core.errors import Reason, Refused
from core.ids import ChainId, CustomerNo
from custody.keys.attestation import AddressClaim, AttestationKey, check_attestation
from custody.keys.desk import KeyDesk, Notary
from custody.keys.owners import OwnersInMemory
from custody.keys.policy_book import PoliciesInMemory
from custody.keys.policy_export import learned_by
from custody.keys.ruling import Law
from custody.keys.secret import Secret
from custody.keys.service import REQUESTS_MAX, PolicyStanding, sign_one
from tests.unit.custody.keys.guardroom import CHAIN, HOT, Guardroom
from tests.unit.custody.keys.officers import ADA, BEA
from tests.unit.custody.keys.policyroom import DOCUMENT, POLICY, published


@pytest.fixture
def desk(room: Guardroom) -> KeyDesk:
    """Return a desk over the guardroom's guard."""
    key = AttestationKey(Secret(bytes(32)))
    return KeyDesk({CHAIN: room.guard}, Notary(key, OwnersInMemory()))


def refused(answer: object) -> Reason:
    """Return the reason of an answer that must be a refusal."""
    assert isinstance(answer, Refused)
    return answer.reason


def test_one_refused_request_does_not_stop_the_others_of_its_batch(
    room: Guardroom, desk: KeyDesk
) -> None:
    good, other = room.request("wd_1"), room.request("wd_2", nonce=1)
    forged = replace(room.request("wd_3", nonce=2), authority=good.authority)
    stranger = replace(other, intent=replace(other.intent, chain=ChainId("elsewhere")))
    answers = desk.sign([good, forged, stranger, other])
    assert [isinstance(answer, bytes) for answer in answers] == [True, False, False, True]
    assert refused(answers[1]) is Reason.INTENT_MISMATCH
    assert refused(answers[2]) is Reason.UNKNOWN_CHAIN
    assert desk.sign([good]) == answers[:1]


def test_a_refusal_of_a_single_request_is_raised(room: Guardroom, desk: KeyDesk) -> None:
    good = room.request()
    assert len(sign_one(desk, good)) == 65
    with pytest.raises(Refused) as caught:
        sign_one(desk, replace(good, intent=replace(good.intent, amount=999)))
    assert caught.value.reason is Reason.INTENT_MISMATCH


def test_too_many_requests_at_once_are_refused_as_a_whole(room: Guardroom, desk: KeyDesk) -> None:
    with pytest.raises(Refused, match="too_large"):
        desk.sign([room.request()] * (REQUESTS_MAX + 1))
    assert desk.entries(0, 10) == []


def test_the_log_is_read_page_by_page(room: Guardroom, desk: KeyDesk) -> None:
    desk.sign([room.request(f"wd_{nonce}", nonce=nonce) for nonce in range(3)])
    assert [entry.position for entry in desk.entries(0, 2)] == [1, 2]
    assert [entry.position for entry in desk.entries(2, 2)] == [3]
    status = desk.status()
    assert (status.position, status.chains) == (3, (CHAIN,))
    assert status.roster_hash == room.guard.roster.hash


def test_only_the_true_address_of_a_key_is_attested(room: Guardroom, desk: KeyDesk) -> None:
    network = room.chain.traits.network
    address, owner = room.address("deposits", 4), CustomerNo(7)
    claim = AddressClaim(CHAIN, network, address, "deposits", 4, owner)
    assert desk.notary is not None
    check_attestation(desk.notary.key.public_key, claim, desk.attest(claim))
    for lie in (
        replace(claim, address=room.address("deposits", 5)),
        replace(claim, account="hot"),
        replace(claim, network="another"),
        replace(claim, chain=ChainId("elsewhere")),
        replace(claim, customer_no=CustomerNo(8)),
    ):
        with pytest.raises(Refused):
            desk.attest(lie)
    with pytest.raises(Refused, match="no key to attest with"):
        KeyDesk(desk.guards).attest(claim)


def test_public_keys_come_in_their_order_and_control_is_proven(
    room: Guardroom, desk: KeyDesk
) -> None:
    keys = desk.public_keys(CHAIN, "deposits", 2, 3)
    assert [key.index for key in keys] == [2, 3, 4]
    assert [room.chain.address_of(key.public_key) for key in keys] == [
        room.address("deposits", index) for index in (2, 3, 4)
    ]
    assert desk.account_xpub(CHAIN, "hot") == room.guard.signer.account_xpub("hot")
    challenge = b"strongroom proof of control of the test"
    assert desk.prove_control(CHAIN, HOT, room.address("hot"), challenge)
    with pytest.raises(Refused, match="unknown_key"):
        desk.prove_control(CHAIN, HOT, room.address("gas"), challenge)
    desk.check()
    desk.close()


def test_a_desk_teaches_all_its_guards_one_policy_and_hands_out_what_it_learned(
    room: Guardroom,
) -> None:
    book = PoliciesInMemory()
    law = Law(book)
    desk = KeyDesk({CHAIN: room.with_guard(law=law).guard}, book=book)
    request = room.request()
    assert refused(desk.sign([request])[0]) is Reason.UNKNOWN_POLICY
    with pytest.raises(Refused) as caught:
        desk.learn_policy(published(DOCUMENT, ADA))
    assert caught.value.reason is Reason.QUORUM_NOT_MET
    standing = desk.learn_policy(published(DOCUMENT, ADA, BEA))
    now_ns = room.clock.now_ns()
    assert standing == PolicyStanding(1, POLICY.hash, now_ns, now_ns)
    assert len(sign_one(desk, request)) == 65
    again = learned_by(desk, room.rosters.by_hash)
    assert again.versions == book.versions
    with pytest.raises(Refused) as caught:
        desk.known_policy(2)
    assert caught.value.reason is Reason.UNKNOWN_POLICY


def test_a_signer_whose_clock_stepped_back_learns_nothing(room: Guardroom) -> None:
    """It would count a delay from yesterday."""
    book = PoliciesInMemory()
    desk = KeyDesk({CHAIN: room.guard}, book=book)
    room.sign(room.request())
    past = room.with_guard(clock=ManualClock(room.clock.now_ns() - DAY_NS))
    with pytest.raises(Refused) as caught:
        KeyDesk({CHAIN: past.guard}, book=book).learn_policy(published(DOCUMENT, ADA, BEA))
    assert (caught.value.reason, book.versions) == (Reason.SIGNER_CLOCK, ())
    assert desk.learn_policy(published(DOCUMENT, ADA, BEA)).serial == 1
