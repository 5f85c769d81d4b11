"""Officers approve with what they hold: a key in a file, a passkey, a wallet."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from chains.fake import FakeChain, FakeWorld
from chains.fake.faults import Fault, FaultKind
from core.clock import SECOND_NS
from core.ids import WithdrawalId
from custody.keys import intent as intents
from custody.keys.passkey_registration import RelyingParty
from custody.keys.roster import Officer, Verdict, approval_message
from custody.keys.roster_text import officer_text
from custody.keys.typed_approval import address_text
from tests.support.api import Front, api_of, problem_of
from tests.support.authenticator import ORIGIN, RP_ID, UP, SoftAuthenticator, to_text
from tests.support.house import HOT, make_roster, open_house
from tests.support.policies import OFFICERS, document
from tests.support.rails import PasskeyOf, WalletKey

ZEROS = "0x" + "0" * 130
WRONG_CASE = "0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
DAN, EVE = PasskeyOf("dan"), WalletKey("eve")
ROWS = (*make_roster().officers, DAN.row("dan"), EVE.row("eve"), WalletKey("old").row("ada"))


@contextlib.contextmanager
def front_of_three_rails(url: str, *more: Officer) -> Iterator[Front]:
    """Open a house whose officers hold three kinds of credentials."""
    world = FakeWorld(finality_depth=2)
    people = (*OFFICERS, "dan", "eve", *(one.person for one in more))
    policy = document(persons=people)
    with open_house(url, FakeChain(world), world.listed_assets(), policy=policy) as house:
        house.pin(officers=(*ROWS, *more))
        world.fund(house.own_address(HOT), 10**9)
        with api_of(house, world) as front:
            yield front


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    with front_of_three_rails(f"sqlite:///{tmp_path / 'books.sqlite'}") as made:
        yield made


def asked(front: Front, name: str = "w-1") -> str:
    """Return the id of a withdrawal whose money is held."""
    (symbol,) = [spec.symbol for spec in front.world.listed_assets()]
    customer = front.customer(f"customer of {name}", **{symbol: 10**9})
    body = {
        "asset": front.asset(symbol),
        "destination": front.world.outsider("bob"),
        "amount": "0.001",
    }
    with front.running():
        made = customer.post("/v1/withdrawals", body, key=name)
    assert made.json()["state"] == "held", made.text
    withdrawal_id: str = made.json()["withdrawal_id"]
    return withdrawal_id


def case_of(front: Front, person: str, withdrawal_id: str) -> dict[str, Any]:
    """Return what an officer sees."""
    answer = front.officer(person).get(f"/v1/approvals/{withdrawal_id}")
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def to_sign(case: dict[str, Any], verdict: str = "approve") -> dict[str, Any]:
    """Return what is signed for a verdict."""
    (found,) = [one for one in case["to_sign"] if one["verdict"] == verdict]
    page: dict[str, Any] = found
    return page


def by_passkey(case: dict[str, Any], verdict: str = "approve", **lies: Any) -> dict[str, Any]:
    """Return the body of a verdict by dan's passkey, from nothing but the API's answer."""
    (options,) = to_sign(case, verdict)["passkeys"]
    return {"kind": "webauthn", "verdict": verdict, "answer": DAN.device.get(options, **lies)}


def by_wallet(case: dict[str, Any], verdict: str = "approve", key: WalletKey = EVE) -> Any:
    """Return the body of a verdict by a wallet: eth-account signs the typed data of the API."""
    page = to_sign(case, verdict)["typed_data"]
    message = dict(page["message"])
    for field in page["types"]["Approval"]:
        if field["type"] == "uint256":
            message[field["name"]] = int(message[field["name"]])
    made = Account.sign_message(
        encode_typed_data(full_message={**page, "message": message}), key.key.secret
    )
    address = address_text(key.row("anyone").public_key)
    signature = "0x" + bytes(made.signature).hex()
    return {"kind": "eip712", "address": address, "verdict": verdict, "signature": signature}


def hand_in(front: Front, person: str, withdrawal_id: str, body: object) -> Any:
    """Return the answer to a verdict."""
    return front.officer(person).post(f"/v1/withdrawals/{withdrawal_id}/approvals", body)


def test_a_passkey_and_a_wallet_are_a_quorum_and_the_money_leaves(front: Front) -> None:
    withdrawal_id = asked(front)
    first = hand_in(front, "dan", withdrawal_id, by_passkey(case_of(front, "dan", withdrawal_id)))
    assert (first.status_code, first.json()["state"]) == (201, "held"), first.text
    again = hand_in(front, "dan", withdrawal_id, by_passkey(case_of(front, "dan", withdrawal_id)))
    assert again.json() == first.json()
    second = hand_in(front, "eve", withdrawal_id, by_wallet(case_of(front, "eve", withdrawal_id)))
    assert second.json()["state"] == "approved", second.text
    for _ in range(5):
        front.house.run(1)
        front.world.mine(3)
    front.house.run(1)
    assert front.house.withdrawal(WithdrawalId(withdrawal_id)).state.value == "confirmed"


def test_an_officer_sees_who_approved_with_what_and_when(front: Front) -> None:
    withdrawal_id = asked(front)
    before = case_of(front, "dan", withdrawal_id)
    assert before["given"] == []
    customer = f"customer:{before['withdrawal']['customer_no']}"
    assert before["progress"] == {
        "quorum": before["progress"]["quorum"], "threshold": 2, "approved_by": [],
        "excluded": [customer], "is_met": False, "delay_s": before["progress"]["delay_s"],
    }  # fmt: skip
    assert " of " in before["progress"]["quorum"]
    assert [one["kind"] for one in before["credentials"]] == ["webauthn"]
    hand_in(front, "dan", withdrawal_id, by_passkey(before))
    hand_in(front, "ada", withdrawal_id, front.signed(withdrawal_id, "ada"))
    after = case_of(front, "ben", withdrawal_id)
    assert [(one["person"], one["kind"], one["counts"]) for one in after["given"]] == [
        ("dan", "webauthn", True),
        ("ada", "ed25519", True),
    ]
    assert after["given"][0]["evidence"] != "" == after["given"][1]["evidence"]
    assert after["given"][0]["at"] <= after["given"][1]["at"]
    assert after["progress"]["approved_by"] == ["ada", "dan"]
    assert after["progress"]["is_met"] is True
    assert to_sign(after)["passkeys"] == []


def test_what_is_shown_is_what_is_signed(front: Front) -> None:
    """The rendering is of the bytes, and every rail signs a message over their hash."""
    case = case_of(front, "dan", asked(front))
    data = bytes.fromhex(case["intent"])
    intent = intents.decode(data)
    assert isinstance(intent, intents.WithdrawalIntent)
    assert case["rendering"] == intents.render_bytes(data)
    assert case["intent_hash"] in case["rendering"]
    for verdict in Verdict:
        page = to_sign(case, verdict.value)
        assert page["message"] == approval_message(intent, verdict).hex()
        assert page["typed_data"]["message"]["intentHash"] == "0x" + case["intent_hash"]
        assert page["typed_data"]["message"]["amountMinor"] == str(intent.amount)


def test_countdowns_end_at_zero(front: Front) -> None:
    withdrawal_id = asked(front)
    first = case_of(front, "dan", withdrawal_id)["countdown"]
    assert first["releasable_at"] is None
    front.house.clock.advance(90 * SECOND_NS)
    second = case_of(front, "dan", withdrawal_id)["countdown"]
    assert first["expires_in_s"] - second["expires_in_s"] == 90
    front.house.clock.advance((second["expires_in_s"] + 5) * SECOND_NS)
    assert case_of(front, "dan", withdrawal_id)["countdown"]["expires_in_s"] == 0


def test_an_officer_sees_what_paying_would_do(front: Front) -> None:
    withdrawal_id = asked(front)
    row = front.house.withdrawal(WithdrawalId(withdrawal_id))
    found = case_of(front, "dan", withdrawal_id)["simulation"]
    hot = front.house.own_address(HOT)
    assert (found["finding"], found["differences"], found["detail"]) == ("as_approved", [], "")
    moved = {one["address"]: int(one["after"]) - int(one["before"]) for one in found["changes"]}
    assert moved == {hot: -row.amount, row.destination: row.amount}
    assert found["height"] == front.world.head.ref.height
    assert found["is_stale"] is (found["age_s"] > 3_600)
    skipped = front.officer("dan").get(f"/v1/approvals/{withdrawal_id}?simulate=false")
    assert skipped.json()["simulation"] is None


def test_a_simulation_that_fails_or_cannot_be_had_is_said_and_never_looks_good(
    front: Front,
) -> None:
    withdrawal_id = asked(front)
    row, world = front.house.withdrawal(WithdrawalId(withdrawal_id)), front.world
    world.refuse_transfers_to(row.destination)
    assert case_of(front, "dan", withdrawal_id)["simulation"]["finding"] == "would_fail"
    world.refuse_transfers_to()
    assert case_of(front, "dan", withdrawal_id)["simulation"]["finding"] == "as_approved"
    chain = front.house.home.chain
    assert isinstance(chain, FakeChain)
    chain._faults.plan("simulate", Fault(FaultKind.UNAVAILABLE))
    away = case_of(front, "dan", withdrawal_id)["simulation"]
    assert (away["finding"], away["changes"]) == ("not_possible", [])
    assert away["detail"]
    hand_in(front, "dan", withdrawal_id, by_passkey(case_of(front, "dan", withdrawal_id), "reject"))
    assert case_of(front, "dan", withdrawal_id)["simulation"] is None


@pytest.mark.parametrize(
    "lies",
    [
        {"flags": UP},
        {"rp_id": "thief.example"},
        {"client": {"origin": "https://thief.example"}},
        {"client": {"crossOrigin": True}},
        {"client": {"challenge": to_text(bytes(32))}},
    ],
)
def test_a_passkeys_lie_is_refused_at_the_door(front: Front, lies: dict[str, Any]) -> None:
    withdrawal_id = asked(front)
    case = case_of(front, "dan", withdrawal_id)
    problem_of(hand_in(front, "dan", withdrawal_id, by_passkey(case, **lies)), 422, "bad_signature")
    assert case_of(front, "dan", withdrawal_id)["given"] == []
    assert hand_in(front, "dan", withdrawal_id, by_passkey(case)).status_code == 201


def test_nobody_hands_in_another_ones_verdict(front: Front) -> None:
    withdrawal_id = asked(front)
    case = case_of(front, "dan", withdrawal_id)
    stranger = WalletKey("mallory")
    for person, body, problem in (
        ("ben", by_passkey(case), (403, "forbidden")),
        ("ben", by_wallet(case), (403, "forbidden")),
        ("eve", by_wallet(case, key=stranger), (403, "not_an_officer")),
        ("dan", {**by_passkey(case), "verdict": "reject"}, (422, "bad_signature")),
        ("eve", {**by_wallet(case), "verdict": "reject"}, (422, "bad_signature")),
    ):
        problem_of(hand_in(front, person, withdrawal_id, body), *problem)
    other = SoftAuthenticator("mallory")
    (options,) = to_sign(case)["passkeys"]
    foreign = {"kind": "webauthn", "verdict": "approve", "answer": other.get(options)}
    problem_of(hand_in(front, "dan", withdrawal_id, foreign), 403, "not_an_officer")


def test_an_approval_of_one_withdrawal_is_nothing_for_its_twin(front: Front) -> None:
    first, twin = asked(front, "w-1"), asked(front, "w-2")
    for person, make in (("dan", by_passkey), ("eve", by_wallet)):
        body = make(case_of(front, person, first))
        problem_of(hand_in(front, person, twin, body), 422, "bad_signature")
        assert hand_in(front, person, first, body).status_code == 201


def test_a_person_with_two_credentials_gives_one_verdict(front: Front) -> None:
    withdrawal_id = asked(front)
    hand_in(front, "ada", withdrawal_id, front.signed(withdrawal_id, "ada"))
    second = by_wallet(case_of(front, "ada", withdrawal_id), key=WalletKey("old"))
    answer = hand_in(front, "ada", withdrawal_id, second)
    assert answer.json()["state"] == "held", answer.text
    assert len(case_of(front, "ada", withdrawal_id)["given"]) == 1


@pytest.mark.parametrize("by", [by_passkey, by_wallet])
def test_a_rejection_by_any_credential_ends_it(front: Front, by: Any) -> None:
    person = "dan" if by is by_passkey else "eve"
    withdrawal_id = asked(front)
    body = by(case_of(front, person, withdrawal_id), "reject")
    answer = hand_in(front, person, withdrawal_id, body)
    assert answer.json()["state"] == "rejected", answer.text


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "pgp", "verdict": "approve"},
        {"kind": 3, "verdict": "approve"},
        {"kind": ["webauthn"], "verdict": "approve"},
        {"kind": "webauthn", "verdict": "approve"},
        {"kind": "webauthn", "verdict": "approve", "answer": []},
        {"kind": "webauthn", "verdict": "approve", "answer": {}},
        {"kind": "webauthn", "verdict": "perhaps", "answer": {}},
        {"kind": "eip712", "verdict": "approve", "address": "0x" + "0" * 40, "signature": "0x"},
        {"kind": "eip712", "verdict": "approve", "address": WRONG_CASE, "signature": ZEROS},
        {"verdict": "approve"},
        [],
        None,
    ],
)  # fmt: skip
def test_a_body_that_is_no_verdict_is_malformed(front: Front, body: object) -> None:
    withdrawal_id = asked(front)
    answer = hand_in(front, "dan", withdrawal_id, body)
    assert answer.status_code in {400, 422}, answer.text
    assert case_of(front, "dan", withdrawal_id)["given"] == []


def test_a_passkey_is_registered_into_a_row_and_into_nothing_else(tmp_path: Path) -> None:
    """The row is for the next roster: the passkey counts for nobody before that."""
    world = FakeWorld(finality_depth=2)
    party = RelyingParty(RP_ID, (ORIGIN,))
    with (
        open_house(f"sqlite:///{tmp_path / 'b.sqlite'}", FakeChain(world), ()) as house,
        api_of(house, world, passkeys=party) as front,
    ):
        dan, device = front.officer("dan"), DAN.device
        opened = dan.post("/v1/passkey-registrations", None)
        assert opened.status_code == 201, opened.text
        path = f"/v1/passkey-registrations/{opened.json()['registration_id']}"
        answer = {"answer": device.create(opened.json()["options"], attestation="packed")}
        problem_of(front.officer("eve").post(path, answer), 404, "not_found")
        made = dan.post(path, answer)
        assert made.status_code == 200, made.text
        row = DAN.row("dan")
        assert (made.json()["public_key"], made.json()["attestation"]) == (
            row.public_key.hex(), "packed",
        )  # fmt: skip
        assert officer_text(row) == made.json()["roster_row"]
        problem_of(dan.post(path, answer), 404, "not_found")
        assert row not in house.platform.roster.officers
        problem_of(front.ops().post("/v1/passkey-registrations", None), 403, "forbidden")
