"""The API on a real socket behind the real server, and the command line that talks to it."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from cryptography.hazmat.primitives import serialization

from custody.access import Role
from custody.keys.private_file import write_private_file
from tests.support.api import Caller, open_front
from tests.support.databases import Databases
from tests.support.house import ATTESTATION_KEY, GAS, HOT, officer_key
from tests.support.served import Served, free_port, listening


@pytest.fixture(scope="module")
def served(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("keys")
    with (
        databases.fresh("sqlite") as url,
        open_front(url) as front,
        listening(front, folder) as made,
    ):
        yield made


def raw(served: Served, request: bytes, *, is_cut: bool = False) -> bytes:
    """Send bytes and return whatever comes; a cut one ends before its declared length."""
    with socket.create_connection(("127.0.0.1", served.port), 10) as connection:
        connection.sendall(request)
        if is_cut:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(ConnectionError):
            while chunk := connection.recv(65_536):
                received += chunk
        return received


def head(caller: Caller, length: int, *more: str) -> bytes:
    lines = [
        "POST /v1/customers HTTP/1.1", "Host: api", f"Authorization: Bearer {caller.token}",
        "Content-Type: application/json", f"Content-Length: {length}", *more, "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode()


def test_a_body_that_is_cut_off_on_the_wire_does_nothing(served: Served) -> None:
    ops = served.front.ops()
    body = b'{"external_id":"cut"}'
    answer = raw(served, head(ops, len(body) + 100) + body, is_cut=True)
    assert b" 201 " not in answer
    control = raw(served, head(ops, len(body), "Connection: close") + body.replace(b"cut", b"all"))
    assert b" 201 " in control.splitlines()[0]
    names = [row["external_id"] for row in served.json(ops, "customer", "list")]
    assert "all" in names
    assert "cut" not in names


def test_a_body_longer_than_allowed_is_refused_on_the_wire(served: Served) -> None:
    ops = served.front.ops()
    body = b'{"external_id":"' + b"a" * 100_000 + b'"}'
    answer = raw(served, head(ops, len(body), "Connection: close") + body)
    assert b" 413 " in answer.splitlines()[0]
    assert b'"code":"too_large"' in answer


def test_two_lengths_or_both_kinds_of_length_are_no_request(served: Served) -> None:
    ops = served.front.ops()
    body = b'{"external_id":"smuggled"}'
    for request in (
        head(ops, len(body), "Content-Length: 5", "Connection: close"),
        head(ops, len(body), "Transfer-Encoding: chunked", "Connection: close"),
    ):
        answer = raw(served, request + body, is_cut=True)
        assert b" 201 " not in answer, answer
    assert all(row["external_id"] != "smuggled" for row in served.json(ops, "customer", "list"))


def test_the_command_line_goes_the_whole_way(served: Served) -> None:
    front, world, house = served.front, served.front.world, served.front.house
    world.fund(house.own_address(HOT), 10**9)
    world.fund(house.own_address(HOT), 10**8, front.key_of("TOK"))
    world.fund(house.own_address(GAS), 10**9)
    ops = front.ops()
    number = served.json(ops, "customer", "open", "cli@example")["customer_no"]
    alice = front.caller(Role.CUSTOMER, str(number))
    (first,) = served.json(alice, "deposit", "address", "fake")
    assert served.json(alice, "deposit", "address", "fake") == [first]
    front.world.mine()
    house.run(1)
    world.pay(first["address"], front.key_of("TOK"), 9_000_000)
    world.mine(4)
    house.run(3)
    (row,) = served.json(alice, "deposit", "list", "--state", "credited")
    assert served.json(alice, "deposit", "show", row["deposit_id"])["amount"] == "9"
    outside = world.outsider("cli")
    with front.running():
        made = served.json(
            alice, "withdrawal", "create", "TOK", "1.5", "--to", outside, "--id", "cli-1"
        )
        assert made["state"] == "held"
        again = served.json(
            alice, "withdrawal", "create", "TOK", "1.5", "--to", outside, "--id", "cli-1"
        )
        assert again == made
    (waiting,) = served.json(front.officer("ada"), "withdrawal", "pending")
    assert waiting["intent_hash"] == made["intent_hash"]
    for person in ("ada", "ben"):
        file = key_file(served.folder, person)
        words = ("withdrawal", "approve", made["withdrawal_id"], "--key", str(file), "--yes")
        served.json(front.officer(person), *words)
    assert served.json(alice, "withdrawal", "show", made["withdrawal_id"])["state"] == "approved"
    for _ in range(5):
        house.run(1)
        world.mine(3)
    house.run(1)
    ended = served.json(alice, "withdrawal", "watch", made["withdrawal_id"])
    assert ended["state"] == "confirmed"
    assert len(ended["tx_ids"].split()) == 1
    states = [
        e["state"] for e in served.json(alice, "withdrawal", "timeline", made["withdrawal_id"])
    ]
    assert states[-1] == "confirmed"
    assert served.json(alice, "customer", "whoami")["customer_no"] == number


def key_file(folder: Path, person: str) -> Path:
    file = folder / f"{person}.pem"
    data = officer_key(person).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    if not file.exists():
        write_private_file(file, data)
    return file


def test_the_command_line_trades(served: Served) -> None:
    front = served.front
    seller, buyer = front.customer("cli-s", TOK=10**7), front.customer("cli-b", FAKE=10**9)
    with front.running():
        resting = served.json(seller, "order", "sell", "TOK-FAKE", "2", "--price", "0.05")
        moved = served.json(
            seller, "order", "change", resting["order_id"], "--price", "0.04", "--quantity", "3"
        )
        assert (moved["price"], moved["remaining"]) == ("0.04", "3")
        assert served.json(buyer, "market", "book", "TOK-FAKE") == [
            {"side": "ask", "price": "0.04", "quantity": "3"}
        ]
        taken = served.json(buyer, "order", "buy", "TOK-FAKE", "1", "--price", "1", "--market")
        assert (taken["state"], taken["kind"]) == ("filled", "market")
        assert served.json(buyer, "order", "show", taken["order_id"]) == taken
        (fill,) = served.json(buyer, "order", "fills")
        assert fill["price"] == "0.04"
        served.json(seller, "order", "sell", "TOK-FAKE", "1", "--price", "0.5")
        assert len(served.json(seller, "order", "list", "--open")) == 2
        gone = served.json(seller, "order", "cancel-all")
        assert gone["cancelled"] == 2
        assert len(served.json(seller, "order", "list")) == 2
        (trade,) = served.json(seller, "market", "trades", "TOK-FAKE")
        assert trade["taker_side"] == "buy"
    assert {row["symbol"] for row in served.json(buyer, "customer", "balance")} == {"TOK", "FAKE"}
    assert served.json(buyer, "market", "list")[0]["price_step"] == "0.0001"
    assert len(served.json(buyer, "market", "assets")) == 2
    assert served.json(buyer, "reserve", "list") == []


def test_an_operator_halts_and_resumes_a_market_by_command_line(served: Served) -> None:
    ops, buyer = served.front.ops(), served.front.customer("cli-h", FAKE=10**9)
    buy = ("order", "buy", "TOK-FAKE", "1", "--price", "0.001")
    for _ in range(2):
        assert served.json(ops, "market", "halt", "TOK-FAKE")["halted"] is True
    refused = served.run(buyer, *buy)
    assert json.loads(refused.stdout.splitlines()[-1])["code"] == "market_halted"
    assert served.json(ops, "market", "resume", "TOK-FAKE")["halted"] is False
    made = served.json(buyer, *buy)
    served.json(buyer, "order", "cancel-all")
    assert made["state"] == "open"
    assert served.run(buyer, "market", "halt", "TOK-FAKE").exit_code == 5
    assert served.run(ops, "market", "halt", "NO-NO").exit_code == 3


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        (("order", "show", "ord_0000000000000001"), 3, "unknown_order"),
        (("withdrawal", "show", "wd_x"), 3, "not_found"),
        (("customer", "list"), 5, "forbidden"),
        (("market", "book", "NO-NO"), 3, "unknown_market"),
        (("withdrawal", "create", "NOPE", "1", "--to", "x"), 3, "unknown_asset"),
        (("withdrawal", "create", "TOK", "1", "--to", "x"), 5, "invalid_address"),
        (("order", "buy", "TOK-FAKE", "1e3", "--price", "1"), 5, "malformed_amount"),
        (("order", "buy", "TOK-FAKE", "1", "--price", "1", "--id", "x"), 5, "malformed"),
        (("reserve", "report", "7", "--to", "/nowhere/x"), 3, "not_found"),
    ],
)
def test_each_refusal_has_its_exit_code(
    served: Served, words: tuple[str, ...], exit_code: int, code: str
) -> None:
    caller = served.front.customer("cli-codes")
    with served.front.running():
        result = served.run(caller, *words)
    assert result.exit_code == exit_code, result.output
    assert json.loads(result.stdout.splitlines()[-1])["code"] == code


def test_conflicts_bad_keys_and_a_silent_platform_have_their_exit_codes(served: Served) -> None:
    front = served.front
    caller = front.customer("cli-conflict", TOK=10**7)
    words = ["withdrawal", "create", "TOK", "1", "--to", front.world.outsider("c"), "--id", "same"]
    with front.running():
        assert served.run(caller, *words).exit_code == 0
        words[3] = "2"
        assert served.run(caller, *words).exit_code == 6
    stranger = Caller(front.client, "key_" + "0" * 26 + "." + "A" * 43)
    assert served.run(stranger, "customer", "whoami").exit_code == 4
    assert served.run(None, "customer", "whoami").exit_code == 4
    assert served.run(caller, "customer", "whoami", port=free_port()).exit_code == 1
    assert served.run(caller, "order", "buy").exit_code == 2


def test_an_answer_that_never_comes_is_an_unknown_outcome(served: Served) -> None:
    caller = served.front.customer("cli-silent")
    with contextlib.closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def hang_up() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                connection.recv(65_536)
                connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        port = listener.getsockname()[1]
        sent = served.run(caller, "order", "buy", "TOK-FAKE", "1", "--price", "1", port=port)
        read = served.run(caller, "order", "list", port=port)
        thread.join()
    assert sent.exit_code == 7, sent.output
    assert "--id" in sent.stderr, "what is needed to look it up was said before it was sent"
    assert read.exit_code == 1


class Tampering(BaseHTTPRequestHandler):
    """A proxy of a thief: forwards everything and changes what comes back."""

    behind: ClassVar[str]
    change: ClassVar[Callable[[dict[str, Any]], None]]

    def do_GET(self) -> None:
        headers = {"Authorization": self.headers["Authorization"]}
        answer = httpx.get(self.behind + self.path, headers=headers, timeout=20)
        document = answer.json()
        for row in document["data"]:
            type(self).change(row)
        body = json.dumps(document).encode()
        self.send_response(answer.status_code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


@contextlib.contextmanager
def tampered(served: Served, change: Callable[[dict[str, Any]], None]) -> Iterator[int]:
    handler = type(
        "Thief",
        (Tampering,),
        {"behind": f"http://127.0.0.1:{served.port}", "change": staticmethod(change)},
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        try:
            yield proxy.server_port
        finally:
            proxy.shutdown()
            thread.join()


CHECKED = ("deposit", "address", "fake", "--verify")


def as_customer(caller: Caller, key: bytes = ATTESTATION_KEY.public_key) -> tuple[str, ...]:
    return ("--attestation-key", key.hex(), "--customer", str(caller.customer_no))


def test_the_command_line_checks_an_address_against_the_signers_key(served: Served) -> None:
    alice, mallory = served.front.customer("k05-alice"), served.front.customer("k05-mallory")
    (mine,) = served.json(alice, *CHECKED, *as_customer(alice))
    (theirs,) = served.json(mallory, *CHECKED, *as_customer(mallory))
    assert served.json(alice, *CHECKED, *as_customer(alice)) == [mine]
    assert len(mine["attestation"]) == 128
    assert served.run(alice, *CHECKED).exit_code == 2
    assert served.run(alice, *CHECKED, *as_customer(mallory)).exit_code == 8
    assert served.run(alice, *CHECKED, *as_customer(alice, bytes(32))).exit_code == 8
    assert served.run(alice, *CHECKED, *as_customer(alice, b"")).exit_code == 2

    changes: list[Callable[[dict[str, Any]], object]] = [
        lambda row: row.update(address=served.front.world.outsider("thief")),
        lambda row: row.update(theirs),
        lambda row: row.update(address=theirs["address"]),
        lambda row: row.update(attestation=theirs["attestation"]),
        lambda row: row.update(key_index=row["key_index"] + 1),
        lambda row: row.update(network="another"),
        lambda row: row.update(account="hot"),
        lambda row: row.update(attestation="00" * 64),
        lambda row: row.update(attestation=None),
        lambda row: row.pop("attestation"),
        lambda row: row.update(key_index="0"),
    ]
    for change in changes:
        with tampered(served, change) as port:  # type: ignore[arg-type]
            result = served.run(alice, *CHECKED, *as_customer(alice), port=port)
            assert result.exit_code == 8, result.output
            assert json.loads(result.stdout)["code"] == "bad_attestation"
            assert theirs["address"] not in result.output
    with tampered(served, lambda row: None) as port:
        result = served.run(alice, *CHECKED, *as_customer(alice), port=port)
        assert (result.exit_code, json.loads(result.stdout)) == (0, [mine])
