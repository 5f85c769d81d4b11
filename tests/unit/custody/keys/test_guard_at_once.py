"""S05: guards asked at once, killed between disk and answer, or given yesterday's store.

Never two signatures that do not exclude each other; the same request gets the same bytes.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from chains.base import NATIVE
from core.clock import DAY_NS
from core.entropy import SeededEntropy
from core.errors import Corrupt, Reason, Refused, StrongroomError, Unavailable
from custody.keys.anchor import FileAnchor
from custody.keys.guard import Guard, SignRequest, sign_batch, sign_once
from custody.keys.signers import KeyRef, LocalSigner
from custody.keys.signing_record import Mark
from custody.keys.store import Shelf
from custody.keys.store_reading import NAME
from engine.simulated_files import SimulatedStorage
from tests.unit.custody.keys.guardroom import CHAIN, Guardroom, guardroom


def refusal(room: Guardroom, request: SignRequest) -> Reason:
    with pytest.raises(Refused) as refused:
        sign_once(room.guard, request)
    return refused.value.reason


def disk(seed: int = 1) -> SimulatedStorage:
    return SimulatedStorage(SeededEntropy(seed, "signer's disk"))


def copied(storage: SimulatedStorage) -> SimulatedStorage:
    """Return a backup of a signer's disk."""
    twin = disk()
    twin.write_atomic(NAME, storage.read(NAME))
    return twin


def both_at_once(pairs: list[tuple[Guard, SignRequest]]) -> list[bytes | StrongroomError]:
    """Ask guards from threads that start together."""
    answers: list[bytes | StrongroomError] = []
    start = threading.Barrier(len(pairs))

    def ask(guard: Guard, request: SignRequest) -> None:
        start.wait()
        try:
            answers.append(sign_once(guard, request))
        except StrongroomError as error:
            answers.append(error)

    threads = [threading.Thread(target=ask, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_two_guards_asked_at_once_sign_one_payload_only(any_room: Guardroom) -> None:
    """Many rounds, each a new nonce, each with withdrawals that all want it."""
    room = any_room
    guards = [replace(room.guard) for _ in range(4)]
    for nonce in range(12):
        wanted = [room.request(f"wd_{nonce}_{n}", nonce=nonce) for n in range(4)]
        answers = both_at_once(list(zip(guards, wanted, strict=True)))
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        assert [type(answer) for answer in answers].count(bytes) == 1, answers
        assert {error.reason for error in refused} == {Reason.EQUIVOCATION}, answers
        assert len(refused) == 3
    assert len(room.entries()) == 12


def test_two_guards_asked_at_once_for_the_same_give_the_same_bytes(any_room: Guardroom) -> None:
    room = any_room
    for nonce in range(8):
        request = room.request(f"wd_{nonce}", nonce=nonce)
        answers = both_at_once([(room.guard, request), (replace(room.guard), request)])
        assert len(answers) == 2
        assert len(set(answers)) == 1
        assert type(answers[0]) is bytes
    assert len(room.entries()) == 8


def test_two_processes_asked_at_once_for_one_nonce_sign_one_payload_only(tmp_path: Path) -> None:
    folder = tmp_path / "signer"
    script = [sys.executable, "-m", "tests.unit.custody.keys.signing_process", str(folder)]
    for nonce in range(2):
        children = [
            subprocess.Popen(
                [*script, f"wd_{nonce}_{n}", str(nonce)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for n in range(2)
        ]
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        said = [child.communicate(timeout=60)[0].split() for child in children]
        assert sorted(words[0] for words in said) == ["refused", "signed"], said
        assert ["refused", "equivocation"] in said
    assert len(Shelf(folder).entries()) == 2


def test_two_requests_of_one_batch_exclude_each_other_too(room: Guardroom) -> None:
    """Both are judged before either is signed, as when another guard is a moment faster."""
    rival = room.request(nonce=1, spend="sp_rival")
    signed, refused, same = sign_batch(room.guard, [rival, room.request(), rival])
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.EQUIVOCATION
    assert signed == same
    twice = sign_batch(room.guard, [room.request("wd_2", nonce=2), room.request("wd_3", nonce=2)])
    assert [type(one) for one in twice] == [bytes, Refused]
    assert [entry.record.nonce for entry in room.entries()] == [1, 2]


def test_a_batch_is_one_durable_write(room: Guardroom) -> None:
    storage = disk()
    room = room.with_guard(shelf=Shelf(storage))
    room.guard.shelf.store()
    before = storage.operations["sync"]
    answers = sign_batch(room.guard, [room.request(f"wd_{n}", nonce=n) for n in range(5)])
    assert all(type(answer) is bytes for answer in answers)
    assert storage.operations["sync"] == before + 1


class Dying(LocalSigner):
    """A signer that cannot be reached, or has no key for one digest, when it is asked to sign."""

    def __init__(
        self, of: LocalSigner, error: StrongroomError, digest: bytes | None = None
    ) -> None:
        """Take another one's keys."""
        self.__dict__.update(of.__dict__)
        self._error, self._digest = error, digest

    def sign(self, key: KeyRef, message: bytes) -> bytes:
        if self._digest in (None, message):
            raise self._error
        return super().sign(key, message)


def dying(room: Guardroom, error: StrongroomError, digest: bytes | None = None) -> Guardroom:
    assert isinstance(room.guard.signer, LocalSigner)
    return room.with_guard(signer=Dying(room.guard.signer, error, digest))


def test_keys_that_could_not_sign_leave_nothing_behind(any_room: Guardroom) -> None:
    """Neither a claim, nor a sum of 24 hours, nor a nonce that the store believes it used."""
    limit = any_room.guard.roster.limit(CHAIN, NATIVE)
    assert limit is not None
    room = any_room.with_roster(limits=(replace(limit, window_max=2_000),))
    room.sign(room.request("wd_0"))
    lost = dying(room, Unavailable("the token is gone"))
    for _ in range(3):
        with pytest.raises(Unavailable):
            sign_once(lost.guard, room.request("wd_1", nonce=1))
        with pytest.raises(Unavailable):
            sign_batch(lost.guard, [room.request(f"wd_{n}", nonce=n) for n in (1, 2)])
    assert len(room.entries()) == 1
    store = room.guard.shelf.store()
    assert store.index.nonces_below(CHAIN, room.address("hot"), 9) == 1
    room.sign(room.request("wd_2", nonce=1))
    assert refusal(room, room.request("wd_1", nonce=1)) is Reason.EQUIVOCATION


def test_a_key_that_refuses_one_of_a_batch_does_not_stop_the_others(room: Guardroom) -> None:
    wanted = [room.request(f"wd_{n}", nonce=n) for n in range(3)]
    broken = dying(room, Refused(Reason.UNKNOWN_KEY), wanted[1].unsigned.digest)
    answers = sign_batch(broken.guard, wanted)
    assert [type(answer) for answer in answers] == [bytes, Refused, bytes]
    assert [entry.record.nonce for entry in room.entries()] == [0, 2]
    assert sign_batch(room.guard, wanted)[::2] == answers[::2]


def test_signatures_that_are_missing_are_corrupt_and_none_leaves(room: Guardroom) -> None:
    class Forgetful(Dying):
        def sign_many(self, jobs: Iterable[tuple[KeyRef, bytes]]) -> list[bytes]:
            return super().sign_many(jobs)[1:]

    assert isinstance(room.guard.signer, LocalSigner)
    forgetful = Forgetful(room.guard.signer, Unavailable(""), b"")
    wanted = [room.request(f"wd_{n}", nonce=n) for n in range(3)]
    with pytest.raises(Corrupt):
        sign_batch(room.with_guard(signer=forgetful).guard, wanted)
    assert room.entries() == []
    room.sign(wanted[0])


class LateAnchor:
    """The process dies when everything is on the disk and nothing was answered."""

    def __init__(self) -> None:
        self.is_armed = False

    def read(self) -> Mark:
        return Mark(0, Shelf(disk()).mark().hash)

    def advance(self, expected: Mark, new: Mark) -> None:
        if self.is_armed:
            raise KeyboardInterrupt


def test_a_restart_between_disk_and_answer_gives_the_same_bytes() -> None:
    storage, anchor = disk(), LateAnchor()
    room = guardroom(Shelf(storage, anchor=anchor))
    room.guard.shelf.store()
    request = room.request()
    anchor.is_armed = True
    with pytest.raises(KeyboardInterrupt):
        sign_once(room.guard, request)
    storage.crash()
    later = room.with_guard(shelf=Shelf(storage))
    assert refusal(later, room.request("wd_2")) is Reason.EQUIVOCATION
    room.clock.advance(DAY_NS)  # long after the approvals expired: it was signed
    signature = sign_once(later.guard, request)
    assert signature == room.guard.signer.sign(request.key, request.unsigned.digest)
    assert len(later.entries()) == 1


@pytest.mark.parametrize("power", [True, False])
def test_a_crash_at_any_moment_leaves_one_of_two_payloads(power: bool) -> None:
    """After it the two are asked for in either order; never are both signed."""

    class Crash(BaseException):
        pass

    for at, first in itertools.product(range(6), ("wd_1", "wd_2")):
        storage, count = disk(at), itertools.count()

        def crash(_operation: str, _name: str) -> None:
            if next(count) == at:  # noqa: B023 - each round ends before the next
                raise Crash

        room = guardroom(Shelf(storage))
        room.guard.shelf.store()
        room.sign(room.request("wd_0"))
        requests = {name: room.request(name, nonce=1) for name in ("wd_1", "wd_2")}
        storage.before_operation = crash
        try:
            released = sign_once(room.guard, requests["wd_1"])
        except Crash:
            released = None
        storage.before_operation = None
        storage.crash() if power else storage.kill()
        later = room.with_guard(shelf=Shelf(storage))
        answers = {}
        for name in (first, *requests):
            (answers[name],) = sign_batch(later.guard, [requests[name]])
        assert sorted(type(one).__name__ for one in answers.values()) == ["Refused", "bytes"]
        if released is not None:
            assert answers["wd_1"] == released


def test_yesterdays_store_signs_nothing_once_the_chain_has_moved_on() -> None:
    storage = disk()
    room = guardroom(Shelf(storage))
    room.chain.broadcast(room.sign(room.request("wd_0")).raw)
    yesterday, empty = copied(storage), disk()
    room.chain.broadcast(room.sign(room.request("wd_1", nonce=1)).raw)
    room.world.mine(1)
    for backup, nonces in ((yesterday, (1, 2, 7)), (empty, (0, 1, 2, 7))):
        stale = room.with_guard(shelf=Shelf(backup))
        for nonce in nonces:
            assert refusal(stale, room.request("wd_2", nonce=nonce)) is Reason.STALE_SIGNER
    today = room.with_guard(shelf=Shelf(copied(storage)))
    today.sign(room.request("wd_2", nonce=2))


def test_yesterdays_store_signs_nothing_when_an_anchor_knows_better(tmp_path: Path) -> None:
    """Nothing of it is on the chain yet: only the anchor tells."""
    storage, anchor = disk(), FileAnchor(tmp_path / "anchor")
    room = guardroom(Shelf(storage, anchor=anchor))
    room.sign(room.request("wd_0"))
    yesterday = copied(storage)
    room.sign(room.request("wd_1", nonce=1))
    stale = room.with_guard(shelf=Shelf(yesterday, anchor=anchor))
    rival = room.request("wd_2", nonce=1)
    for _ in range(2):
        assert refusal(stale, rival) is Reason.STALE_SIGNER
    assert refusal(room, rival) is Reason.EQUIVOCATION
    # Without the anchor, and before anything landed, nobody can know: the control.
    sign_once(room.with_guard(shelf=Shelf(copied(yesterday))).guard, rival)


def test_two_signers_over_one_anchor_never_sign_two_payloads_for_one_nonce(tmp_path: Path) -> None:
    """A copied folder and its original, both running; the first to sign ends the other."""
    storage, anchor = disk(), FileAnchor(tmp_path / "anchor")
    room = guardroom(Shelf(storage, anchor=anchor))
    room.sign(room.request("wd_0"))
    twin = room.with_guard(shelf=Shelf(copied(storage), anchor=anchor))
    twin.guard.shelf.store()
    room.sign(room.request("wd_1", nonce=1))
    for _ in range(2):
        assert refusal(twin, room.request("wd_2", nonce=1)) is Reason.STALE_SIGNER
    room.sign(room.request("wd_2", nonce=2))
