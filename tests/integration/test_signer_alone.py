"""The signer's process with nobody beside it but a node: what only it decides, and how it ends."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from app.devsetup import CHAIN, fund_wallets, make_dev
from app.opening import open_platform
from app.signer_client import SignerClient
from app.signer_socket import connect
from chains.base import FeeRate
from core.errors import Reason, Refused
from custody.keys.guard import SignRequest
from custody.keys.service import Answer, SignerAway, sign_one
from infra.devnet.nodes import start_anvil
from infra.devnet.servers import free_port
from tests.support.signer_alone import GWEI, WAIT_S, Alone

ROUNDS, KILLS = 8, 5


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    folder = tmp_path_factory.mktemp("alone") / "dev"
    with start_anvil() as node:
        setup = make_dev(folder, node, http_port=free_port())
        fund_wallets(setup, node)
        platform = open_platform(setup.settings())
        made = Alone(setup, node, platform)
        try:
            yield made
        finally:
            made.process.kill()
            platform.close()


@pytest.fixture
def serving(alone: Alone) -> Alone:
    """Return the signer's process, started when it is not running."""
    if not alone.process.is_running:
        alone.start()
    return alone


def reason_of(answer: Answer) -> Reason | None:
    """Return why something was not signed, None when it was."""
    return answer.reason if isinstance(answer, Refused) else None


# ---- two at once, and what is remembered


def test_two_clients_that_ask_at_once_for_one_nonce_get_one_signature(serving: Alone) -> None:
    clients = [serving.client(), serving.client()]
    start = threading.Barrier(2)

    def ask(number: int, request: SignRequest) -> Answer:
        start.wait(WAIT_S)
        return clients[number].sign([request])[0]

    winners = set()
    with ThreadPoolExecutor(2) as pool:
        for _ in range(ROUNDS):
            nonce = serving.nonce()
            requests = [serving.request(nonce), serving.request(nonce)]
            answers = list(pool.map(ask, (0, 1), requests))
            assert sorted(map(reason_of, answers), key=str) == [None, Reason.EQUIVOCATION]
            (winner,) = [n for n in (0, 1) if isinstance(answers[n], bytes)]
            winners.add(winner)
            signature = answers[winner]
            assert isinstance(signature, bytes)
            assert clients[1 - winner].sign([requests[winner]]) == [signature]
            serving.land(requests[winner], signature)
    assert serving.nonce() >= ROUNDS
    for client in clients:
        client.close()


def test_killed_at_any_moment_it_never_signs_a_nonce_for_two(serving: Alone) -> None:
    dice = random.Random(20_261_120)
    released: dict[str, bytes] = {}
    kills_with_entry = 0
    for _ in range(KILLS):
        nonce = serving.nonce()
        requests = [serving.request(nonce), serving.request(nonce)]
        before = serving.log_length()
        killer = threading.Timer(dice.random() * 0.06, serving.process.kill)
        killer.start()
        for request in requests:
            with (
                contextlib.suppress(SignerAway, Refused),
                contextlib.closing(serving.client()) as client,
            ):
                released[request.intent.spend_id] = sign_one(client, request)
        killer.join()
        serving.start()
        kills_with_entry += serving.log_length() > before
        with contextlib.closing(serving.client()) as client:
            answers = client.sign(requests)
        assert sorted(map(reason_of, answers), key=str) == [None, Reason.EQUIVOCATION]
        for request, answer in zip(requests, answers, strict=True):
            assert released.get(request.intent.spend_id, answer) == answer
            if isinstance(answer, bytes):
                serving.land(request, answer)
    assert kills_with_entry > 0


def test_yesterdays_store_refuses_to_sign(serving: Alone, tmp_path: Path) -> None:
    folder = serving.settings.signer.folder
    assert folder is not None
    assert serving.process.stop() == 0
    shutil.copytree(folder, tmp_path / "yesterday")
    serving.start()
    serving.pay()
    assert serving.process.stop() == 0
    shutil.move(folder, tmp_path / "today")
    shutil.copytree(tmp_path / "yesterday", folder)
    serving.start()
    with contextlib.closing(serving.client()) as client:
        (answer,) = client.sign([serving.request(serving.nonce())])
    assert reason_of(answer) is Reason.STALE_SIGNER
    assert serving.process.stop() == 0
    shutil.rmtree(folder)
    shutil.move(tmp_path / "today", folder)
    serving.start()
    serving.pay()


# ---- who it is


def test_a_second_signer_finds_the_first_in_the_way(serving: Alone) -> None:
    code, said = serving.ended(serving.child(serving.setup.config_file))
    assert (code, "another signer uses" in said) == (6, True)
    elsewhere = serving.changed("elsewhere", folder='"signer2"')
    text = (serving.setup.folder / "elsewhere.toml").read_text()
    assert text.count('folder = "signer2"') == 1
    code, said = serving.ended(elsewhere)
    assert (code, "in the way" in said) == (6, True)
    assert serving.serves()


def test_it_tells_nobody_a_secret_and_leaves_no_core(serving: Alone) -> None:
    proc = Path("/proc") / str(serving.process.pid)
    secrets = serving.setup.folder / "secrets"
    hidden = [(secrets / "passphrase").read_bytes().strip(), (secrets / "keystore").read_bytes()]
    seen = proc.joinpath("cmdline").read_bytes() + proc.joinpath("environ").read_bytes()
    seen += serving.process.log_file.read_bytes()
    assert not any(secret in seen for secret in hidden)
    limits = proc.joinpath("limits").read_text().splitlines()
    (cores,) = [line.split() for line in limits if line.startswith("Max core file size")]
    assert cores[4:6] == ["0", "0"]
    assert serving.settings.signer.socket.stat().st_mode & 0o777 == 0o600
    assert serving.settings.signer.folder is not None
    assert serving.settings.signer.folder.stat().st_mode & 0o077 == 0


def test_hostile_frames_are_refused_and_it_lives(serving: Alone) -> None:
    dice = random.Random(7)
    pid = serving.process.pid
    for _ in range(300):
        data = dice.randbytes(dice.randrange(200))
        framed = len(data).to_bytes(4, "big") + data if dice.random() < 0.5 else data
        with connect(serving.settings.signer.socket, timeout_ms=5_000) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(framed)
            if dice.random() < 0.1:
                with contextlib.suppress(OSError):
                    connection.recv(1 << 16)
    with contextlib.closing(serving.client()) as client:
        client.check()
        assert client.status().chains == (CHAIN,)
    assert serving.process.is_running
    assert serving.process.pid == pid


def test_stopping_it_stops_signatures_at_once(serving: Alone) -> None:
    request = serving.request(serving.nonce())
    serving.process.ask_to_stop()
    serving.wait(lambda: not serving.process.is_running)
    assert serving.process.exit_code == 0
    assert not serving.settings.signer.socket.exists()
    with contextlib.closing(serving.client()) as client, pytest.raises(SignerAway):
        sign_one(client, request)


def test_a_stopped_process_that_does_not_answer_is_left_alone(serving: Alone) -> None:
    from app.signer_client import Waits

    waits = Waits(answer_ms=300, rest_ms=60_000)
    os.kill(serving.process.pid, signal.SIGSTOP)
    try:
        client = SignerClient(serving.settings.signer.socket, waits=waits)
        with pytest.raises(SignerAway, match="is silent"):
            client.status()
        with pytest.raises(SignerAway, match="was silent"):
            client.status()
        client.close()
    finally:
        os.kill(serving.process.pid, signal.SIGCONT)
    assert serving.serves()


# ---- how it refuses to start


def test_what_is_not_as_it_must_be_stops_the_start(serving: Alone) -> None:
    assert serving.process.stop() == 0
    folder = serving.setup.folder
    wrong = folder / "secrets" / "wrong"
    wrong.write_bytes(b"another passphrase\n")
    wrong.chmod(0o600)
    for child, expected, word in (
        (serving.changed("phrase", passphrase_file=f'"{wrong}"'), 5, "wrong_passphrase"),
        (serving.changed("roster", roster_sha256=f'"{"22" * 32}"'), 8, "roster_mismatch"),
        (serving.changed("genesis", genesis_hash=f'"0x{"11" * 32}"'), 8, "CORRUPT"),
    ):
        code, said = serving.ended(child)
        assert (code, word in said) == (expected, True), said
    attestation = (folder / "secrets" / "attestation").read_bytes()
    (folder / "secrets" / "attestation").unlink()
    shutil.copy(folder / "secrets" / "keystore", folder / "secrets" / "attestation")
    code, said = serving.ended(serving.child(serving.setup.config_file))
    (folder / "secrets" / "attestation").write_bytes(attestation)
    assert (code, "names another attestation key" in said) == (8, True)
    assert serving.settings.signer.folder is not None
    store = serving.settings.signer.folder / "signatures"
    whole = store.read_bytes()
    place = whole.index(b"strongroom/signing-record") + 300
    store.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    code, said = serving.ended(serving.child(serving.setup.config_file))
    store.write_bytes(whole)
    assert (code, "CORRUPT" in said) == (8, True)
    serving.start()
    serving.pay()


def test_the_same_request_with_a_lower_rate_is_not_signed_again(serving: Alone) -> None:
    nonce = serving.nonce()
    request = serving.request(nonce)
    with contextlib.closing(serving.client()) as client:
        assert sign_one(client, request)
        cheaper = serving.chain.build(
            request.intent, nonce=nonce, rate=FeeRate(2 * GWEI, GWEI), units=21_000
        )
        (answer,) = client.sign([replace(request, unsigned=cheaper)])
    assert reason_of(answer) is Reason.EQUIVOCATION
