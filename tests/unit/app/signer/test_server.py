"""The signer's door and its client: real sockets, honest ends, and who may come in."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from app.data_folder import FolderInUse
from app.signer_clerk import HEALTH_NS
from app.signer_client import SignerClient
from app.signer_frames import Refusal, read_told
from app.signer_socket import connect, receive_frame
from core.errors import Corrupt, Reason, Refused, Unavailable
from core.ids import CustomerNo
from custody.keys.attestation import AddressClaim
from custody.keys.guard import SignRequest
from custody.keys.publication import Publication
from custody.keys.service import SignerAway, SignerStatus
from custody.keys.signers.base import KeyRef
from tests.unit.app.signer.door import OWN, QUICK, Door, Open
from tests.unit.app.signer.stand_in import ALPHA, BETA, StandIn, request, signature_of

# ---- honest ends


def test_every_verb_comes_through(door: Door) -> None:
    client, service = door.client(), door.service
    asked = [request("a"), request("b", BETA)]
    assert client.sign(asked) == [signature_of(one) for one in asked]
    claim = AddressClaim(ALPHA, "net", "0xabc", "deposits", 4, CustomerNo(7))
    assert client.attest(claim) == service.attest(claim)
    assert client.public_keys(ALPHA, "hot", 3, 2) == service.public_keys(ALPHA, "hot", 3, 2)
    assert client.account_xpub(ALPHA, "hot") == "xpub of hot on alpha"
    proof = (ALPHA, KeyRef("hot", 0), "0xabc", b"challenge")
    assert client.prove_control(*proof) == service.prove_control(*proof)
    assert client.entries(0, 10) == []
    publication = Publication(b"version = 1\n", ("ada",))
    assert client.learn_policy(publication) == service.learn_policy(publication)
    assert client.known_policy(3) == service.known_policy(3)
    assert client.status() == SignerStatus((ALPHA, BETA), 41, b"r" * 32)
    client.check()


def test_refusals_and_absences_come_through_typed(open_door: Open) -> None:
    def fail(requests: Sequence[SignRequest]) -> None:
        if requests[0].intent.spend_id == "away":
            raise Unavailable("the node is away", 77)
        if requests[0].intent.spend_id == "corrupt":
            raise Corrupt("two stories")

    def judge(asked: SignRequest) -> bytes | Refused:
        return Refused(Reason.QUORUM_NOT_MET, "1 of 2")

    door = open_door(StandIn(before_sign=fail, judge=judge))
    client = door.client()
    (answer,) = client.sign([request()])
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.detail) == (Reason.QUORUM_NOT_MET, "1 of 2")
    with pytest.raises(SignerAway, match="the node is away") as caught:
        client.sign([request("away")])
    assert caught.value.retry_after_ms == 77
    with pytest.raises(SignerAway, match="has stopped: two stories"):
        client.sign([request("corrupt")])
    assert [str(error) for error in door.corrupt] == ["two stories"]


def test_many_threads_share_one_client_and_every_answer_goes_to_its_asker(door: Door) -> None:
    client = door.client()

    def work(number: int) -> None:
        for turn in range(20):
            asked = request(f"sp_{number}_{turn}", BETA if number % 2 else ALPHA)
            assert client.sign([asked]) == [signature_of(asked)]

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    assert sum(door.service.batches) == 320


def test_a_client_finds_a_signer_that_was_started_again(open_door: Open) -> None:
    first = open_door()
    client = SignerClient(first.path, waits=QUICK)
    client.status()
    first.close()
    with pytest.raises(SignerAway, match="no signer at"):
        client.status()
    open_door().clients.append(client)
    assert client.status().position == 41


def test_health_really_signs_and_is_asked_again_only_after_a_while(open_door: Open) -> None:
    door = open_door()
    client = door.client()
    for _ in range(5):
        client.check()
    assert door.service.checks == 1
    door.service.ailment = Unavailable("the token is gone")
    client.check()
    door.clock.advance(HEALTH_NS)
    for _ in range(2):
        with pytest.raises(SignerAway, match="the token is gone"):
            client.check()
    assert door.service.checks == 2
    assert "strongroom_signer_healthy 0.0" in generate_latest(door.registry).decode()


def test_metrics_count_by_reason_and_name_nobody(open_door: Open) -> None:
    def judge(asked: SignRequest) -> bytes | Refused:
        if asked.intent.spend_id == "no":
            return Refused(Reason.SIGNER_LIMIT, "too much for customer:7")
        return signature_of(asked)

    door = open_door(StandIn(judge=judge))
    door.client().sign([request("yes"), request("no"), request("yes again")])
    door.client().check()
    text = generate_latest(door.registry).decode()
    assert 'answers_total{outcome="released",verb="signature"} 2.0' in text
    assert 'answers_total{outcome="signer_limit",verb="signature"} 1.0' in text
    assert "strongroom_signer_position 41.0" in text
    assert "customer" not in text


# ---- who may come in


def test_the_socket_is_the_owners_alone(door: Door) -> None:
    assert stat.S_IMODE(door.path.stat().st_mode) == 0o600
    assert stat.S_ISSOCK(door.path.stat().st_mode)


def test_a_foreign_user_is_turned_away_before_a_byte_of_his_is_read(open_door: Open) -> None:
    strangers = open_door(rules=replace(OWN, uids=frozenset({os.geteuid() + 1})))
    assert stat.S_IMODE(strangers.path.stat().st_mode) == 0o660
    with connect(strangers.path, timeout_ms=2_000) as connection:
        body = receive_frame(connection, first_ms=5_000, frame_ms=2_000)
        assert body is not None
        told = read_told(bytes(body))
        assert isinstance(told, Refusal)
        assert told.reason is Reason.FORBIDDEN
        assert connection.recv(1) == b""
    with pytest.raises((SignerAway, Refused)):
        strangers.client().sign([request()])
    assert strangers.service.batches == []


def test_a_second_signer_finds_the_first_at_the_door_and_a_dead_ones_socket_is_taken_over(
    open_door: Open, tmp_path: Path
) -> None:
    door = open_door()
    with pytest.raises(FolderInUse, match="another signer listens"):
        open_door()
    assert door.client().status().position == 41
    with socket.socket(socket.AF_UNIX) as dead:  # closed without unlinking, as by SIGKILL
        dead.bind(str(tmp_path / "dead"))
    assert open_door(name="dead").client().status().position == 41


def test_a_path_longer_than_a_socket_address_is_no_trouble(open_door: Open, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    assert open_door(name=f"{folder.name}/sock").client().status().position == 41
