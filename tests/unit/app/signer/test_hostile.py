"""The signer's door with hostile ends: whatever comes in, it lives and serves the others."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.signer_client import SignerClient
from app.signer_frames import FRAME_BYTES_MAX, Refusal, Sign, Status, frame, read_told
from app.signer_socket import connect, receive_frame
from app.signer_wire import request_of
from core.errors import Reason
from custody.keys.guard import SignRequest
from custody.keys.service import SignerAway
from tests.unit.app.signer.door import OWN, QUICK, Door, Open
from tests.unit.app.signer.stand_in import ALPHA, StandIn, request, signature_of


def ask_raw(path: Path, data: bytes) -> Refusal | None:
    """Send bytes as they are; return the refusal, None when the other end just closed."""
    with connect(path, timeout_ms=2_000) as connection:
        connection.sendall(data)
        body = receive_frame(connection, first_ms=5_000, frame_ms=2_000)
    if body is None:
        return None
    told = read_told(bytes(body))
    assert isinstance(told, Refusal)
    return told


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.binary(max_size=300), is_framed=st.booleans())
def test_any_bytes_are_refused_or_answered_and_the_signer_lives(
    door: Door, data: bytes, is_framed: bool
) -> None:
    sent = len(data).to_bytes(4, "big") + data if is_framed else data
    with connect(door.path, timeout_ms=2_000) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while connection.recv(1 << 16):
                pass
    assert door.client().status().position == 41


def test_hostile_frames_are_refused_with_a_reason(door: Door) -> None:
    huge = struct.pack(">I", FRAME_BYTES_MAX + 1)
    deep = b"\x91" * 200_000
    whole = frame(Sign([request_of(request())]))
    for data, reason in (
        (huge, Reason.TOO_LARGE),
        (b"\xff\xff\xff\xff" + b"GET / HTTP/1.1", Reason.TOO_LARGE),
        (struct.pack(">I", len(deep)) + deep, Reason.MALFORMED),
        (struct.pack(">I", 0), Reason.MALFORMED),
        (struct.pack(">I", len(whole) - 5) + whole[4:-1], Reason.MALFORMED),
    ):
        told = ask_raw(door.path, data)
        assert told is not None
        assert told.reason is reason
    assert door.service.batches == []
    assert door.client().sign([request()])


def test_after_a_malformed_frame_the_next_one_is_understood(door: Door) -> None:
    with connect(door.path, timeout_ms=2_000) as connection:
        for data, kind in ((struct.pack(">I", 1) + b"\xc1", Refusal), (frame(Status()), None)):
            connection.sendall(data)
            body = receive_frame(connection, first_ms=5_000, frame_ms=2_000)
            assert body is not None
            assert isinstance(read_told(bytes(body)), Refusal) is (kind is Refusal)


def test_a_frame_that_trickles_ends_in_its_time_and_holds_nobody_up(door: Door) -> None:
    whole = frame(Status())
    began = time.monotonic()
    with connect(door.path, timeout_ms=2_000) as slow:
        client = door.client()
        with pytest.raises(OSError):  # noqa: PT011, PT012
            for byte in whole[:-1] * 100:
                slow.sendall(bytes([byte]))
                assert client.sign([request()])
                time.sleep(0.02)
        assert time.monotonic() - began < 10


def test_idle_connections_make_room_and_busy_ones_stay(open_door: Open) -> None:
    rules = replace(OWN, connections_max=4, of_process_max=4)
    entered, opened = threading.Event(), threading.Event()

    def wait(_requests: Sequence[SignRequest]) -> None:
        entered.set()
        assert opened.wait(20)

    door = open_door(StandIn(before_sign=wait), rules=rules)
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        busy = pool.submit(door.client().sign, [request()])
        assert entered.wait(20)
        for _ in range(20):
            stack.enter_context(connect(door.path, timeout_ms=2_000))
            time.sleep(0.01)
        assert door.client().status().position == 41
        opened.set()
        assert busy.result(20) == [signature_of(request())]


def test_a_silent_signer_is_left_alone_for_a_while(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "sock"))
        silent.listen()
        waits = replace(QUICK, answer_ms=200, rest_ms=60_000)
        client = SignerClient(tmp_path / "sock", waits=waits)
        with pytest.raises(SignerAway, match="is silent"):
            client.status()
        began = time.monotonic()
        for _ in range(1_000):
            with pytest.raises(SignerAway, match="was silent"):
                client.status()
        assert time.monotonic() - began < 2
        client.close()
        with pytest.raises(SignerAway):
            client.status()


def test_each_silence_after_another_is_respected_longer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "sock"))
        silent.listen()
        waits = replace(QUICK, answer_ms=20, rest_ms=40)
        client = SignerClient(tmp_path / "sock", waits=waits)
        asked: list[float] = []
        while len(asked) < 4:
            with contextlib.suppress(SignerAway):
                began = time.monotonic()
                try:
                    client.status()
                finally:
                    if time.monotonic() - began >= 0.015:
                        asked.append(began)
            time.sleep(0.001)
        pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
        assert pauses[0] < pauses[1] < pauses[2]
        client.close()


def test_an_answer_that_is_lost_is_asked_for_again_and_is_the_same(open_door: Open) -> None:
    door = open_door()
    cut = threading.Event()

    def lose_first(asked: SignRequest) -> bytes:
        if not cut.is_set():
            cut.set()
            for guest in list(door.server._guests.values()):
                guest.connection.shutdown(socket.SHUT_RDWR)
        return signature_of(asked)

    door.service.judge = lose_first
    assert door.client().sign([request()]) == [signature_of(request())]
    assert sum(door.service.batches) == 2


def test_an_answer_to_another_question_is_no_answer(tmp_path: Path) -> None:
    def lie(listener: socket.socket, answers: list[bytes]) -> None:
        for answer in answers:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(answer)

    with socket.socket(socket.AF_UNIX) as liar:
        liar.bind(str(tmp_path / "sock"))
        liar.listen()
        answers = [frame(Status())[:4] + b"\xc1" * 40, b"\xff\xff\xff\xff"]
        thread = threading.Thread(target=lie, args=(liar, answers))
        thread.start()
        client = SignerClient(tmp_path / "sock", waits=QUICK)
        for _ in answers:
            with pytest.raises(SignerAway, match="cannot be read"):
                client.status()
        thread.join()
        client.close()


def test_stopping_lets_an_answer_under_way_out_and_refuses_what_comes_later(
    open_door: Open,
) -> None:
    entered, opened = threading.Event(), threading.Event()

    def wait(_requests: Sequence[SignRequest]) -> None:
        entered.set()
        assert opened.wait(20)

    door = open_door(StandIn(before_sign=wait))
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(door.client().sign, [request()])
        assert entered.wait(20)
        stopping = pool.submit(door.close)
        while not door.server._is_stopping and not stopping.done():
            if door.lanes._lanes[ALPHA]._is_ending:
                opened.set()
            time.sleep(0.005)
        stopping.result(20)
        assert answer.result(20) == [signature_of(request())]
    assert not door.path.exists()
    with pytest.raises(SignerAway):
        SignerClient(door.path, waits=QUICK).sign([request("later")])
