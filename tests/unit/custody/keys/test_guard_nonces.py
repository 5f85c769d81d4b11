"""A nonce belongs to one spend for ever; signatures of one withdrawal exclude each other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn, TypeVar

import pytest
import sqlalchemy as sa

from chains.base import FeeRate, SpendKind, TxStatus
from chains.fake.chain import FakeChain
from core.clock import DAY_NS
from core.errors import Reason, Refused, StrongroomError, Unavailable
from custody.db import Database, TransactionHooks
from custody.keys import signature_log
from custody.keys.guard import SignRequest, last_unsigned, sign_once
from custody.keys.signers import KeyRef
from tests.support.databases import Databases
from tests.unit.custody.keys.conftest import create_tables
from tests.unit.custody.keys.guardroom import CHAIN, GAS, Guardroom, guardroom

T = TypeVar("T")
DEARER = FeeRate(26, 3)
DEAREST = FeeRate(33, 4)


def refusal(room: Guardroom, request: SignRequest) -> Reason:
    with pytest.raises(Refused) as refused:
        sign_once(room.guard, request)
    return refused.value.reason


def test_the_same_request_gets_the_same_bytes(any_room: Guardroom) -> None:
    request = any_room.request()
    first = sign_once(any_room.guard, request)
    assert sign_once(any_room.guard, request) == first
    any_room.clock.advance(2 * DAY_NS)  # long after the approvals expired
    assert sign_once(any_room.guard, request) == first


def test_a_nonce_never_serves_a_second_spend(any_room: Guardroom) -> None:
    room = any_room
    room.sign(room.request("wd_1"))
    assert refusal(room, room.request("wd_2")) is Reason.EQUIVOCATION
    assert refusal(room, room.request("wd_2", rate=DEARER)) is Reason.EQUIVOCATION
    room.sign(room.request("wd_2", nonce=1))


def test_a_withdrawal_never_gets_a_second_nonce(any_room: Guardroom) -> None:
    room = any_room
    room.sign(room.request())
    assert refusal(room, room.request(nonce=1)) is Reason.EQUIVOCATION
    other_spend = room.request(nonce=1, spend="sp_other")
    assert refusal(room, other_spend) is Reason.EQUIVOCATION
    from_cold = replace(other_spend.intent, source=room.address("cold"))
    cold = SignRequest(
        from_cold, other_spend.authority, room.unsigned(from_cold), KeyRef("cold", 0)
    )
    assert refusal(room, cold) is Reason.EQUIVOCATION


def test_a_replacement_is_the_same_effect_at_a_higher_rate(room: Guardroom) -> None:
    room.sign(room.request())
    dearer = room.sign(room.request(rate=DEARER))
    for rate in (FeeRate(23, 2), FeeRate(26, 2), FeeRate(10, 1)):
        assert refusal(room, room.request(rate=rate)) is Reason.EQUIVOCATION
    assert room.sign(room.request(rate=DEARER)) == dearer
    above_cap = room.request(rate=FeeRate(470, 4))
    cheap = replace(above_cap.intent, fee_max=9_000)
    assert refusal(room, replace(above_cap, intent=cheap)) is Reason.FEE_ABOVE_CAP
    changed = room.withdrawal(amount=1_001)
    spend = room.spend_of(changed, "sp_wd_1")
    twice = SignRequest(
        spend, room.approved(changed), room.unsigned(spend, rate=DEAREST), KeyRef("hot", 0)
    )
    assert refusal(room, twice) is Reason.EQUIVOCATION


def test_a_lost_answer_is_found_in_the_log(room: Guardroom) -> None:
    request = room.request(rate=DEARER)
    room.sign(request)
    with room.guard.db.read() as conn:
        found = last_unsigned(conn, CHAIN, request.intent.source, 0, kind=SpendKind.WITHDRAWAL)
        assert last_unsigned(conn, CHAIN, request.intent.source, 1, kind=SpendKind.SWEEP) is None
    assert found == request.unsigned


def test_a_cancellation_ends_the_spend(room: Guardroom) -> None:
    request = room.request()
    room.sign(request)
    room.sign(room.cancellation(request.intent, rate=DEARER))
    assert refusal(room, room.request(rate=DEAREST)) is Reason.EQUIVOCATION
    room.sign(room.cancellation(request.intent, rate=DEAREST))
    again = room.cancellation(request.intent, rate=DEARER, name="other")
    assert refusal(room, again) is Reason.EQUIVOCATION
    assert room.sign(request).tx_id  # what was signed before stays available


def test_a_cancellation_cancels_only_its_own_spend(room: Guardroom) -> None:
    first, second = room.request("wd_1"), room.request("wd_2", nonce=1)
    room.sign(first)
    room.sign(second)
    wrong = room.cancellation(first.intent, nonce=1, rate=DEARER)
    assert refusal(room, wrong) is Reason.EQUIVOCATION
    elsewhere = room.cancellation(first.intent, nonce=2)
    assert refusal(room, elsewhere) is Reason.EQUIVOCATION


def test_a_nonce_that_was_never_used_can_be_spent_on_ourselves(room: Guardroom) -> None:
    request = room.request()
    room.sign(room.cancellation(request.intent))
    assert refusal(room, request) is Reason.EQUIVOCATION


def test_a_withdrawal_moves_to_another_nonce_only_when_the_old_one_is_dead(
    any_room: Guardroom,
) -> None:
    room = any_room
    first = room.request()
    room.sign(first)
    again = room.request(nonce=1, spend="sp_again")
    assert refusal(room, again) is Reason.EQUIVOCATION  # nothing happened yet
    cancel = room.sign(room.cancellation(first.intent, rate=DEARER))
    assert refusal(room, again) is Reason.EQUIVOCATION  # cancelled, not on chain
    room.chain.broadcast(cancel.raw)
    room.world.mine(1)
    assert refusal(room, again) is Reason.EQUIVOCATION  # on chain, not final
    room.world.mine(6)
    room.sign(again)
    third = room.request(nonce=2, spend="sp_third")
    assert refusal(room, third) is Reason.EQUIVOCATION  # the second attempt lives


def test_an_included_attempt_is_never_called_dead(room: Guardroom) -> None:
    first = room.request()
    raw = room.sign(first).raw
    room.sign(room.cancellation(first.intent, rate=DEARER))
    room.chain.broadcast(raw)
    room.world.mine(7)
    assert refusal(room, room.request(nonce=1, spend="sp_again")) is Reason.EQUIVOCATION


class Forgetful(FakeChain):
    """A node that lost its transaction index: nothing of ours is known."""

    def tx_status(self, tx_id: str) -> TxStatus:
        return TxStatus(known=False)


def test_a_node_that_knows_no_transaction_proves_nothing(room: Guardroom) -> None:
    first = room.request()
    raw = room.sign(first).raw
    room.chain.broadcast(raw)
    room.world.mine(7)
    blind = room.with_guard(chain=Forgetful(room.world, rate_cap=100_000))
    assert refusal(blind, room.request(nonce=1, spend="sp_again")) is Reason.EQUIVOCATION


def test_a_log_older_than_the_chain_signs_nothing(room: Guardroom, databases: Databases) -> None:
    """S05: yesterday's store restored, or an empty one."""
    room.chain.broadcast(room.sign(room.request()).raw)
    room.world.mine(1)
    with databases.fresh("sqlite", create_tables) as url:
        empty = Database.open(url)
        stale = room.with_guard(db=empty)
        for nonce in (0, 1, 7):
            assert refusal(stale, room.request("wd_2", nonce=nonce)) is Reason.STALE_SIGNER
        empty.close()
    room.sign(room.request("wd_2", nonce=1))


class Dying:
    """A signer whose process dies, at first, when it is asked to sign."""

    def __init__(self, room: Guardroom) -> None:
        self._signer = room.guard.signer
        self.network_allowed = self._signer.network_allowed
        self.account_xpub = self._signer.account_xpub
        self.public_key = self._signer.public_key

    def sign(self, key: KeyRef, digest: bytes) -> NoReturn:
        raise Unavailable("killed")


def test_a_crash_between_writing_and_signing_gives_the_same_bytes_later(
    any_room: Guardroom,
) -> None:
    room = any_room
    request = room.request()
    with pytest.raises(Unavailable):
        sign_once(room.with_guard(signer=Dying(room)).guard, request)
    assert refusal(room, room.request("wd_2")) is Reason.EQUIVOCATION  # the nonce is taken
    signature = sign_once(room.guard, request)
    assert signature == room.guard.signer.sign(request.key, request.unsigned.digest)
    with room.guard.db.read() as conn:
        assert len(list(signature_log.entries(conn))) == 1


def test_a_crash_between_writing_and_signing_still_needs_authority_later(room: Guardroom) -> None:
    request = room.request()
    with pytest.raises(Unavailable):
        sign_once(room.with_guard(signer=Dying(room)).guard, request)
    room.clock.advance(DAY_NS)
    assert refusal(room, request) is Reason.APPROVAL_EXPIRED


@pytest.mark.parametrize("commit", [1, 2])
@pytest.mark.parametrize("moment", ["before_commit", "after_commit"])
def test_a_crash_around_each_commit_gives_the_same_bytes_later(
    databases: Databases, commit: int, moment: str
) -> None:
    count = 0

    def crash() -> None:
        nonlocal count
        count += 1
        if count == commit:
            raise KeyboardInterrupt

    with databases.fresh("sqlite", create_tables) as url:
        hooks = {moment: crash}
        database = Database.open(url, hooks=TransactionHooks(**hooks))
        room = guardroom(database)
        request = room.request()
        with pytest.raises(KeyboardInterrupt):
            sign_once(room.guard, request)
        assert count == commit
        again = Database.open(url)
        later = room.with_guard(db=again)
        signature = sign_once(later.guard, request)
        assert signature == room.guard.signer.sign(request.key, request.unsigned.digest)
        with again.read() as conn:
            (entry,) = signature_log.entries(conn)
        assert entry.signature == signature
        again.close()
        database.close()


def test_two_guards_asked_at_once_sign_one_payload_only(prepared_url: str) -> None:
    """S05: many rounds, each a new nonce, each with two withdrawals that both want it."""
    first, second = Database.open(prepared_url), Database.open(prepared_url)
    room = guardroom(first)
    rooms = (room, room.with_guard(db=second))
    for nonce in range(12):
        requests = [room.request(f"wd_{nonce}_{n}", nonce=nonce) for n in range(2)]
        answers: list[bytes | StrongroomError] = []
        start = threading.Barrier(2)

        def ask(asked: Guardroom, request: SignRequest) -> None:
            start.wait()  # noqa: B023 - joined before the next round
            try:
                answers.append(sign_once(asked.guard, request))  # noqa: B023
            except StrongroomError as error:
                answers.append(error)  # noqa: B023

        threads = [
            threading.Thread(target=ask, args=pair) for pair in zip(rooms, requests, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        assert [type(answer) for answer in answers].count(bytes) == 1, answers
        assert [error.reason for error in refused] == [Reason.EQUIVOCATION], answers
    first.close()
    second.close()


def test_two_guards_asked_at_once_for_the_same_give_the_same_bytes(prepared_url: str) -> None:
    first, second = Database.open(prepared_url), Database.open(prepared_url)
    room = guardroom(first)
    for nonce in range(8):
        request = room.request(f"wd_{nonce}", nonce=nonce)
        answers: list[bytes] = []
        start = threading.Barrier(2)

        def ask(database: Database) -> None:
            start.wait()  # noqa: B023 - joined before the next round
            answers.append(sign_once(room.with_guard(db=database).guard, request))  # noqa: B023

        threads = [threading.Thread(target=ask, args=(one,)) for one in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 2
        assert len(set(answers)) == 1
    first.close()
    second.close()


def test_sweeps_from_two_addresses_may_share_a_digest(room: Guardroom) -> None:
    """The digest of this chain does not hold the sender, as on real account chains."""
    one, other = room.sweep("sw_1", 700, index=1), room.sweep("sw_2", 700, index=2)
    assert one.unsigned.digest == other.unsigned.digest
    assert room.sign(one) != room.sign(other)


def test_a_top_up_and_a_withdrawal_may_share_a_cause(room: Guardroom) -> None:
    sweep = room.sweep("sw_1", 100)
    room.sign(sweep)
    gas = replace(
        sweep.intent,
        spend_id="tu_1",
        kind=SpendKind.TOP_UP,
        source=room.guard.address_of(GAS),
        destination=sweep.intent.source,
    )
    standing = room.standing(SpendKind.TOP_UP, KeyRef("deposits", 0))
    room.sign(SignRequest(gas, standing, room.unsigned(gas), GAS))


class Overtaken:
    """A database on which another guard is always a moment faster."""

    def __init__(self, database: Database, overtake: Callable[[], object]) -> None:
        self._database, self._overtake = database, overtake
        self.read = database.read

    def run(self, fn: Callable[[sa.Connection], T]) -> T:
        self._overtake()
        return self._database.run(fn)


def test_two_guards_never_give_one_withdrawal_two_nonces(any_room: Guardroom) -> None:
    """The other guard signs at another nonce after this one looked and before it wrote."""
    room = any_room
    rival = room.request(nonce=1, spend="sp_rival")
    overtaken: Any = Overtaken(room.guard.db, lambda: sign_once(room.guard, rival))
    assert refusal(room.with_guard(db=overtaken), room.request()) is Reason.EQUIVOCATION
    with room.guard.db.read() as conn:
        assert [entry.record.nonce for entry in signature_log.entries(conn)] == [1]
