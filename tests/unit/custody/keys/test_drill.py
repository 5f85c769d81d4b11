"""Drills: a fresh answer of each address, from keys or from shares, on a log nobody can rewrite."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.clock import SECOND_NS
from core.entropy import SeededEntropy
from core.errors import Corrupt, Reason, Refused
from custody.keys.drill import (
    ANSWER_S_MAX,
    Challenge,
    prove_all,
    restore_drill,
    sample,
    take_answer,
)
from custody.keys.drill_log import GENESIS, Author, DrillLog
from custody.keys.key_facts import Network
from custody.keys.secret import Secret
from custody.keys.shares import Scheme, split
from custody.keys.signers.base import KeyRef
from custody.keys.signers.seeded import SeededSigner
from tests.support.writes import written_paths
from tests.unit.custody.keys.drillroom import DrillRoom, drill_room
from tests.unit.custody.keys.people import ADA, BEN, ORDER, MemoryHome, People, ceremony

KINDS = ("evm", "fake")
HOW = {
    "evm": "eip191, stand-alone verifier",
    "fake": "openssl, derived public key",
}


@pytest.fixture(params=KINDS)
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DrillRoom]:
    opened = drill_room(tmp_path, request.param)
    yield opened
    opened.chain.close()


@pytest.fixture
def one(tmp_path: Path) -> Iterator[DrillRoom]:
    opened = drill_room(tmp_path, "evm")
    yield opened
    opened.chain.close()


def reason(room: DrillRoom, asked: Challenge, proof: bytes) -> Reason:
    with pytest.raises(Refused) as caught:
        take_answer(room.drill, room.chain, room.target(), asked, proof)
    return caught.value.reason


def answered(room: DrillRoom) -> tuple[Challenge, bytes]:
    target = room.target()
    asked = room.drill.challenge(room.chain, target.address.address)
    row = target.address
    key = KeyRef(row.account, row.key_index)
    return asked, room.service.prove_control(row.chain, key, row.address, asked.text())


def test_every_address_answers_and_is_recorded(room: DrillRoom) -> None:
    targets = [room.target(), room.target("gas"), room.target("deposits", 7, customer=1)]
    records = list(prove_all(room.drill, room.service, room.chain, targets))
    kind = type(room.chain).__module__.split(".")[1]
    assert [one.detail["verdict"] for one in records] == ["proven"] * 3
    assert {one.detail["checked_by"] for one in records} == {HOW[kind]}
    assert [one.detail["key"] for one in records] == ["hot/0", "gas/0", "deposits/7"]
    assert [(one.number, one.who) for one in records] == [(1, "ada"), (2, "ada"), (3, "ada")]
    assert len({one.detail["nonce"] for one in records}) == 3
    assert room.drill.log.records() == records


def test_a_challenge_says_what_it_is_for(one: DrillRoom) -> None:
    text = one.drill.challenge(one.chain, "0xabc").text().decode()
    assert text.splitlines() == [
        "strongroom proof of control drill v1",
        "drill: 2026-q4",
        "date: 2026-09-21 14:13:20 UTC",
        f"chain: devnet {one.chain.traits.network}",
        "address: 0xabc",
        "purpose: regular drill",
        "nonce: " + SeededEntropy(3).token_bytes(32).hex(),
    ]


def test_an_old_challenge_is_refused(one: DrillRoom) -> None:
    asked, proof = answered(one)
    assert reason(one, replace(asked, at_s=asked.at_s + 1), proof) is Reason.ISSUED_IN_FUTURE
    one.clock.advance((ANSWER_S_MAX + 1) * SECOND_NS)
    assert reason(one, asked, proof) is Reason.ISSUED_TOO_LONG_AGO
    assert one.drill.log.records() == []


def test_a_challenge_is_answered_once(one: DrillRoom) -> None:
    asked, proof = answered(one)
    take_answer(one.drill, one.chain, one.target(), asked, proof)
    assert reason(one, asked, proof) is Reason.DUPLICATE_OTHER_CONTENT


def test_an_answer_to_another_question_is_refused(one: DrillRoom) -> None:
    asked, proof = answered(one)
    for change in (
        {"drill": "2026-q3"},
        {"purpose": "another"},
        {"address": one.target("gas").address.address},
        {"chain": "elsewhere"},
    ):
        other = replace(asked, **change)  # type: ignore[arg-type]
        assert reason(one, other, proof) is Reason.INTENT_MISMATCH
    assert reason(one, replace(asked, network="main"), proof) is Reason.WRONG_NETWORK
    for other in (replace(asked, nonce="00" * 32), replace(asked, at_s=asked.at_s - 1)):
        assert reason(one, other, proof) is Reason.BAD_SIGNATURE


def test_a_failed_proof_is_on_the_record(room: DrillRoom) -> None:
    asked, proof = answered(room)
    for place in (0, 20, 40, 64):
        bad = proof[:place] + bytes([proof[place] ^ 1]) + proof[place + 1 :]
        fresh = replace(asked, nonce=f"aa{place:062x}")
        assert reason(room, fresh, bad) is Reason.BAD_SIGNATURE
    for bad in (b"", proof[:-1], bytes(65)):
        fresh = replace(asked, nonce=f"{len(bad):064x}")
        assert reason(room, fresh, bad) is Reason.BAD_SIGNATURE
    verdicts = {record.detail["verdict"] for record in room.drill.log.records()}
    assert verdicts == {"NOT PROVEN"}


def test_keys_that_are_not_ours_prove_nothing(one: DrillRoom) -> None:
    stranger = SeededSigner(Secret(bytes(32)), one.chain.traits)
    with pytest.raises(Refused) as caught:
        list(prove_all(one.drill, replace(one, signer=stranger).service, one.chain, [one.target()]))
    assert caught.value.reason is Reason.UNKNOWN_KEY


def test_a_sample_has_every_wallet_and_some_of_the_rest(one: DrillRoom) -> None:
    wallets = [one.target(name).address for name in ("hot", "gas")]
    deposits = [one.target("deposits", index, customer=1).address for index in range(30)]
    seen = set()
    for seed in range(40):
        chosen = sample([*deposits, *wallets], 5, SeededEntropy(seed))
        assert chosen[:2] == wallets
        assert len(set(chosen)) == 7
        seen |= set(chosen[2:])
    assert seen == set(deposits)
    assert len(sample([*deposits, *wallets], 99, SeededEntropy(0))) == 32
    assert sample(deposits, 0, SeededEntropy(0)) == []


# ---- the log


def test_no_byte_of_the_log_can_change(one: DrillRoom) -> None:
    for name in ("hot", "gas"):
        list(prove_all(one.drill, one.service, one.chain, [one.target(name)]))
    data = one.path.read_bytes()
    assert stat.S_IMODE(one.path.stat().st_mode) == 0o600
    for place in range(0, len(data) - 1, 3):
        one.path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(Corrupt):
            DrillLog(one.path, one.clock).records()
    first, second = data.splitlines(keepends=True)
    for forged in (second, second + first, first + first, first + second + second):
        one.path.write_bytes(forged)
        with pytest.raises(Corrupt):
            DrillLog(one.path, one.clock).records()


def test_a_torn_line_is_removed_by_the_next_one(one: DrillRoom) -> None:
    log = one.drill.log
    log.append(one.drill.author, "note", {"a": "1"})
    data = one.path.read_bytes()
    one.path.write_bytes(data + data[:40])
    assert [record.number for record in log.records()] == [1]
    log.append(one.drill.author, "note", {"a": "2"})
    assert [record.detail for record in DrillLog(one.path, one.clock).records()] == [
        {"a": "1"}, {"a": "2"},
    ]  # fmt: skip
    assert log.records()[0].previous == GENESIS


def test_two_persons_write_one_log(one: DrillRoom) -> None:
    other = DrillLog(one.path, one.clock)
    for number in range(6):
        log, who = ((one.drill.log, ADA), (other, BEN))[number % 2]
        log.append(Author(f"p{number % 2}", who), "note", {"n": str(number)})
    assert [record.number for record in other.records()] == [1, 2, 3, 4, 5, 6]
    assert {record.who for record in other.records()} == {"p0", "p1"}


def test_a_line_is_signed_by_its_author(one: DrillRoom) -> None:
    one.drill.log.append(one.drill.author, "note", {"a": "1"})
    page = json.loads(one.path.read_bytes())
    page["who"] = "ben"
    text = json.dumps(page, sort_keys=True, separators=(",", ":"))
    one.path.write_text(text + "\n")
    with pytest.raises(Corrupt):
        DrillLog(one.path, one.clock).records()


# ---- from shares


def shares_of(seed: Secret) -> tuple[Secret, ...]:
    return split(seed, Scheme(iteration_exponent=0), entropy=SeededEntropy(9))


def test_shares_restore_the_ceremonys_addresses_and_nothing_is_written(one: DrillRoom) -> None:
    network = Network(one.chain.traits, one.chain.address_of)
    home = MemoryHome()
    outcome = ceremony(People(), home, order=replace(ORDER, networks=(network,))).hold()
    assert home.seed is not None
    shares = shares_of(home.seed)
    with written_paths() as written:
        record = restore_drill(one.drill, shares[1:4], None, [network], outcome.transcript)
    assert set(written) == {str(one.path)}
    assert record.detail["verdict"] == "the same addresses"
    assert record.detail["shares"] == "2 di, 3 ed, 4 fay"
    text = one.path.read_text()
    assert not [word for word in shares[1].reveal().decode().split()[4:] if f" {word} " in text]

    strangers = shares_of(Secret(bytes(32)))
    with pytest.raises(Refused) as caught:
        restore_drill(one.drill, strangers[:3], None, [network], outcome.transcript)
    assert caught.value.reason is Reason.WRONG_PASSPHRASE
    assert one.drill.log.records()[-1].detail["verdict"].startswith("OTHER ADDRESSES: devnet dep")
    with pytest.raises(Refused) as caught:
        restore_drill(one.drill, shares[:2], None, [network], outcome.transcript)
    assert caught.value.reason is Reason.BAD_SHARE
