"""Requests of one batch are signed together, and not one that would be refused in its turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import pytest

from chains.base import ChainTraits
from core.errors import Reason, Refused, Unavailable
from custody.keys.guard import SignRequest, sign_batch, sign_once
from custody.keys.roster import SpendLimit
from custody.keys.signers import KeyRef, Signer
from tests.unit.custody.keys.guardroom import CHAIN, RATE, Guardroom

Jobs = Sequence[tuple[KeyRef, bytes]]


class Watched:
    """Keys that remember what they were asked, one by one and together."""

    def __init__(self, inner: Signer) -> None:
        self._inner = inner
        self.together: list[list[bytes]] = []
        self.alone: list[bytes] = []
        self.fault: Callable[[Jobs], None] = lambda _: None
        self.curve = inner.curve
        self.make_keys, self.check, self.close = inner.make_keys, inner.check, inner.close

    def network_allowed(self, traits: ChainTraits) -> bool:
        return self._inner.network_allowed(traits)

    def account_xpub(self, account: str) -> str:
        return self._inner.account_xpub(account)

    def public_key(self, key: KeyRef) -> bytes:
        return self._inner.public_key(key)

    def sign(self, key: KeyRef, message: bytes) -> bytes:
        self.alone.append(message)
        return self._inner.sign(key, message)

    def sign_many(self, jobs: Iterable[tuple[KeyRef, bytes]]) -> list[bytes]:
        jobs = list(jobs)
        self.together.append([message for _, message in jobs])
        self.fault(jobs)
        return self._inner.sign_many(jobs)

    @property
    def asked(self) -> list[bytes]:
        return [*self.alone, *(message for many in self.together for message in many)]


@pytest.fixture
def keys(room: Guardroom) -> Watched:
    return Watched(room.guard.signer)


@pytest.fixture
def watched(room: Guardroom, keys: Watched) -> Guardroom:
    return room.with_guard(signer=keys)


def wanted(room: Guardroom, count: int, first: int = 0) -> list[SignRequest]:
    return [room.request(f"wd_{n}", nonce=n) for n in range(first, first + count)]


def digests(requests: Sequence[SignRequest]) -> list[bytes]:
    return [request.unsigned.digest for request in requests]


def reasons(answers: Sequence[bytes | Refused]) -> list[Reason | None]:
    return [answer.reason if isinstance(answer, Refused) else None for answer in answers]


def test_a_batch_is_signed_in_one_go_with_the_same_bytes(
    watched: Guardroom, keys: Watched, other_room: Guardroom
) -> None:
    requests = wanted(watched, 5)
    answers = sign_batch(watched.guard, requests)
    assert (keys.together, keys.alone) == ([digests(requests)], [])
    assert answers == [sign_once(other_room.guard, request) for request in requests]
    assert [entry.signature for entry in watched.entries()] == answers


def test_one_of_two_for_a_nonce_is_signed_and_the_other_never_made(
    watched: Guardroom, keys: Watched
) -> None:
    rivals = [watched.request(name, nonce=0) for name in ("wd_a", "wd_b")]
    requests = [*rivals, *wanted(watched, 2, first=1)]
    answers = sign_batch(watched.guard, requests)
    assert reasons(answers) == [None, Reason.EQUIVOCATION, None, None]
    assert sorted(keys.asked) == sorted(digests([rivals[0], *requests[2:]]))


def test_two_attempts_of_one_withdrawal_elsewhere_are_not_both_made(
    watched: Guardroom, keys: Watched
) -> None:
    twice = [watched.request("wd_a", nonce=n, spend=f"sp_{n}") for n in (0, 1)]
    answers = sign_batch(watched.guard, [*twice, *wanted(watched, 2, first=2)])
    assert reasons(answers) == [None, Reason.EQUIVOCATION, None, None]
    assert twice[1].unsigned.digest not in keys.asked


def test_what_goes_beyond_a_window_together_is_never_made(
    watched: Guardroom, keys: Watched
) -> None:
    limits = tuple(
        SpendLimit(CHAIN, limit.asset_key, 10**12, 3_000, 10**6, 10**9)
        for limit in watched.guard.roster.limits
    )
    room = watched.with_roster(limits=limits)
    requests = wanted(room, 6)
    answers = sign_batch(room.guard, requests)
    assert reasons(answers) == [None] * 3 + [Reason.SIGNER_LIMIT] * 3
    assert sorted(keys.asked) == sorted(digests(requests[:3]))


def test_fees_that_go_beyond_a_window_together_are_never_made(
    watched: Guardroom, keys: Watched
) -> None:
    one = watched.request("wd_0", nonce=0).unsigned.fee_max
    limits = tuple(
        SpendLimit(CHAIN, limit.asset_key, 10**12, 10**12, 10**6, 2 * one)
        for limit in watched.guard.roster.limits
    )
    room = watched.with_roster(limits=limits)
    requests = wanted(room, 4)
    answers = sign_batch(room.guard, requests)
    assert reasons(answers) == [None, None, Reason.SIGNER_LIMIT, Reason.SIGNER_LIMIT]
    assert sorted(keys.asked) == sorted(digests(requests[:2]))


def test_a_replacement_and_a_repetition_go_in_the_same_batch(
    watched: Guardroom, keys: Watched
) -> None:
    first = watched.request("wd_0", nonce=0)
    dearer = watched.request("wd_0", nonce=0, rate=replace(RATE, max_rate=2 * RATE.max_rate))
    requests = [first, dearer, first, *wanted(watched, 2, first=1)]
    answers = sign_batch(watched.guard, requests)
    assert reasons(answers) == [None] * 5
    assert answers[0] == answers[2] != answers[1]
    assert keys.asked == digests([first, dearer, *requests[3:]])


def test_keys_with_nothing_to_sign_are_not_asked(watched: Guardroom, keys: Watched) -> None:
    requests = wanted(watched, 3)
    answers = sign_batch(watched.guard, requests)
    asked = list(keys.asked)
    assert sign_batch(watched.guard, [*requests, watched.request("wd_x", nonce=0)])[:3] == answers
    assert keys.asked == asked


def test_keys_that_are_away_leave_nothing_behind(watched: Guardroom, keys: Watched) -> None:
    def away(_: Jobs) -> None:
        raise Unavailable("the token was lost twice")

    keys.fault = away
    requests = wanted(watched, 3)
    with pytest.raises(Unavailable):
        sign_batch(watched.guard, requests)
    assert watched.entries() == []
    keys.fault = lambda _: None
    assert reasons(sign_batch(watched.guard, requests)) == [None] * 3


def test_keys_that_refuse_one_refuse_only_that_one(watched: Guardroom, keys: Watched) -> None:
    requests = wanted(watched, 3)
    bad = requests[1].unsigned.digest

    def refuse(jobs: Jobs) -> None:
        if bad in [message for _, message in jobs]:
            raise Refused(Reason.UNKNOWN_KEY, "no such key")

    keys.fault = refuse
    answers = sign_batch(watched.guard, requests)
    assert reasons(answers) == [None, Reason.UNKNOWN_KEY, None]
    assert len(watched.entries()) == 2
