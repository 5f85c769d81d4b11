"""S04: whatever Vault or the network does is bounded, typed and harmless, and tells no secret."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.errors import Corrupt, OutcomeUnknown, Reason, Refused, Unavailable
from custody.keys.signers.vault_transit import rotate_key, state_of
from infra.devnet.vault_double import Fault
from tests.unit.custody.keys.vaultroom import (
    MESSAGE,
    SLACK_S,
    Room,
    always,
    eventually,
    vault_room,
)

CALLS = {"sign": ("transit/sign", Room.sign), "open": ("transit/decrypt", Room.open)}


@pytest.fixture(params=sorted(CALLS))
def call(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with vault_room(tmp_path) as made:
        made.seal()
        made.sign()
        yield made


def asked(room: Room, call: str) -> int:
    return room.double.asked(CALLS[call][0])


def run(room: Room, call: str) -> object:
    return CALLS[call][1](room)


def test_without_a_fault_every_call_works(room: Room, call: str) -> None:
    before = asked(room, call)
    assert run(room, call) == run(room, call)
    assert asked(room, call) == before + 2


PASSING: dict[str, dict[str, Any]] = {
    "dropped before the effect": {"drop": "before"},
    "dropped after the effect": {"drop": "after"},
    "an internal error": {"status": 500},
    "a bad gateway": {"status": 502},
    "a gateway's timeout": {"status": 504},
    "half an answer": {"cut": 20},
    "a page of a proxy": {"raw": b"<html>welcome</html>"},
    "an answer that is a list": {"raw": b"[]"},
    "half a text of JSON": {"raw": b'{"data": {"signature": "vault:v1:'},
}


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_a_fault_that_passes_is_not_seen(room: Room, call: str, fault: str) -> None:
    honest, before = run(room, call), asked(room, call)
    room.double.faults.append(Fault(path=CALLS[call][0], times=2, **PASSING[fault]))
    assert run(room, call) == honest
    assert asked(room, call) == before + 3


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_a_fault_that_stays_is_unavailable_after_three_tries(
    room: Room, call: str, fault: str
) -> None:
    honest, before = run(room, call), asked(room, call)
    room.double.faults.append(always(path=CALLS[call][0], **PASSING[fault]))
    error, took_s = room.failing(lambda: run(room, call))
    assert type(error) is Unavailable
    assert error.retry_after_ms >= 1_000
    assert asked(room, call) == before + room.patience.tries
    assert took_s < room.patience.call_s + SLACK_S
    room.double.faults.clear()
    assert eventually(lambda: run(room, call)) == honest


SLOW: dict[str, dict[str, Any]] = {
    "an answer that comes much too late": {"delay_s": 3.0},
    "an answer of one byte now and then": {"drip_s": 0.2},
}


@pytest.mark.parametrize("fault", SLOW, ids=str)
def test_a_slow_answer_ends_in_time(room: Room, call: str, fault: str) -> None:
    honest = run(room, call)
    room.double.faults.append(always(path=CALLS[call][0], **SLOW[fault]))
    error, took_s = room.failing(lambda: run(room, call))
    assert type(error) is Unavailable
    assert took_s < room.patience.call_s + SLACK_S
    room.double.faults.clear()
    assert eventually(lambda: run(room, call)) == honest


@pytest.mark.parametrize("status", [503, 429, 307, 412, 418, 599])
def test_what_waiting_does_not_cure_at_once_is_asked_once(
    room: Room, call: str, status: int
) -> None:
    honest, before = run(room, call), asked(room, call)
    headers = {"Location": f"{room.double.address}/v1/elsewhere"}
    room.double.faults.append(Fault(path=CALLS[call][0], status=status, headers=headers))
    error, _ = room.failing(lambda: run(room, call))
    assert type(error) is Unavailable
    assert asked(room, call) == before + 1
    assert not room.double.asked("elsewhere")
    assert eventually(lambda: run(room, call)) == honest


def test_a_sealed_vault_is_unavailable_until_it_is_unsealed(room: Room, call: str) -> None:
    honest = run(room, call)
    room.double.is_sealed = True
    error, took_s = room.failing(lambda: run(room, call))
    assert type(error) is Unavailable
    assert "sealed" in str(error)
    assert took_s < SLACK_S
    room.double.is_sealed = False
    assert eventually(lambda: run(room, call)) == honest


def test_a_server_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    with vault_room(tmp_path) as room:
        room.seal()
        room.sign()
    for _, gone in CALLS.values():
        error, took_s = room.failing(partial(gone, room))
        assert type(error) is Unavailable
        assert took_s < room.patience.call_s + SLACK_S
    room.close()


@pytest.mark.parametrize(
    ("status", "reason"),
    [(400, Reason.UNDECODABLE), (404, Reason.NOT_FOUND), (405, Reason.UNDECODABLE)],
)
def test_what_vault_turns_down_is_refused_and_not_repeated(
    room: Room, call: str, status: int, reason: Reason
) -> None:
    before = asked(room, call)
    room.double.faults.append(Fault(path=CALLS[call][0], status=status))
    error, _ = room.failing(lambda: run(room, call))
    assert isinstance(error, Refused)
    assert error.reason is reason
    assert asked(room, call) == before + 1
    assert run(room, call) is not None


def altered(**fields: object) -> Callable[[Any], Any]:
    """Change fields of the one result of a batch, or of the data themselves."""

    def lie(content: Any) -> Any:
        data = content["data"]
        target = data["batch_results"][0] if "batch_results" in data else data
        target.update({k: v(target[k]) if callable(v) else v for k, v in fields.items()})
        return content

    return lie


def foreign(_: object) -> str:
    signature = Ed25519PrivateKey.generate().sign(MESSAGE)
    return "vault:v1:" + base64.b64encode(signature).decode()


def flipped(text: str) -> str:
    return text[:40] + ("A" if text[40] != "A" else "B") + text[41:]


OTHER_KEY = base64.b64encode(bytes(32)).decode()
OTHER_SEED = base64.b64encode(b"another seed of the same length!").decode()

LIES: dict[str, dict[str, Callable[[Any], Any]]] = {
    "sign": {
        "a signature by another key": altered(signature=foreign),
        "a signature with a changed bit": altered(signature=flipped),
        "another public key": altered(public_key=OTHER_KEY),
        "another version": altered(key_version=2, signature=lambda s: s.replace(":v1:", ":v2:")),
        "a version that contradicts itself": altered(key_version=2),
        "a version that is a text": altered(key_version="1"),
        "no signature": altered(signature=None),
        "a signature without its prefix": altered(signature="c2ln"),
        "a signature that is no base64": altered(signature="vault:v1:!!!"),
        "no public key": altered(public_key=""),
        "no result": lambda content: content | {"data": {"batch_results": []}},
        "two results": lambda content: (
            content | {"data": {"batch_results": content["data"]["batch_results"] * 2}}
        ),
        "results that are a text": lambda content: content | {"data": {"batch_results": "x"}},
        "results that are numbers": lambda content: content | {"data": {"batch_results": [7]}},
        "data that are a list": lambda content: content | {"data": []},
        "no data": lambda content: content | {"data": None},
        "nothing at all": lambda _: None,
    },
    "open": {
        "another seed": altered(plaintext=OTHER_SEED),
        "a short seed": altered(plaintext="AAAA"),
        "a seed that is no base64": altered(plaintext="canary!"),
        "a seed that is a number": altered(plaintext=7),
        "no seed": altered(plaintext=None),
        "data that are a text": lambda content: content | {"data": "canary"},
        "nothing at all": lambda _: None,
    },
}


@pytest.mark.parametrize(
    ("call", "lie"), [(name, lie) for name, lies in LIES.items() for lie in lies], ids=str
)
def test_a_lie_is_corrupt_and_leaves_no_trace(room: Room, call: str, lie: str) -> None:
    honest, before = run(room, call), asked(room, call)
    room.double.faults.append(Fault(path=CALLS[call][0], lie=LIES[call][lie]))
    error, _ = room.failing(lambda: run(room, call))
    assert type(error) is Corrupt
    assert asked(room, call) == before + 1
    assert run(room, call) == honest


def test_a_part_of_a_batch_that_failed_is_unavailable(room: Room) -> None:
    room.double.faults.append(Fault(path="transit/sign", lie=altered(error="internal")))
    error, _ = room.failing(room.sign)
    assert type(error) is Unavailable


def test_429_is_obeyed_for_as_long_as_it_says_and_no_longer_than_we_allow(room: Room) -> None:
    for header, expected_ms in (("1", 1_000), ("999999", 30_000), ("soon", 1_000)):
        room.double.faults.append(
            Fault(path="transit/sign", status=429, headers={"Retry-After": header})
        )
        session = room.connect()
        room.signer = type(room.signer)(
            session, room.place.wallet, room.signer._pins, room.signer._traits
        )
        error, _ = room.failing(room.sign)
        assert isinstance(error, Unavailable)
        assert expected_ms - 200 <= error.retry_after_ms <= expected_ms
        before = asked(room, "sign")
        again, took_s = room.failing(room.sign)
        assert isinstance(again, Unavailable)
        assert took_s < 0.1
        assert asked(room, "sign") == before


def test_what_may_have_happened_is_an_unknown_outcome(room: Room) -> None:
    """Only a rotation must not be done twice; it is asked once, and its fate is looked up."""
    session = room.connect("operator")
    rotation = f"transit/keys/{room.place.sealing.name}/rotate"
    for drop, latest in (("before", 1), ("after", 2)):
        room.double.faults.append(Fault(path=rotation, drop=drop))
        error, _ = room.failing(lambda: rotate_key(session, room.place.sealing, seen=1))
        assert type(error) is OutcomeUnknown
        assert state_of(session, room.place.sealing).latest == latest
    assert room.double.asked(rotation) == 2
    assert rotate_key(session, room.place.sealing, seen=1) == 2
    assert room.double.asked(rotation) == 2
