"""W12 and W13 from the outside: where money may go, and what holds it back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from chains.fake.faults import FaultKind, FaultScript
from core.clock import DAY_NS, SECOND_NS
from core.errors import Unavailable
from custody import catalogue
from custody.screening.cases import Answer, Outcome, Question
from custody.screening.judging import ScreeningTerms
from custody.withdrawals.states import WithdrawalState
from tests.support.api import Caller, Front, open_front, problem_of
from tests.support.databases import Databases
from tests.support.house import GAS, HOT
from tests.unit.custody.verbs.test_address_book import alike

PATH = "/v1/withdrawals"


@pytest.fixture
def faults() -> FaultScript:
    return FaultScript()


@pytest.fixture
def front(databases: Databases, faults: FaultScript) -> Iterator[Front]:
    with databases.fresh("sqlite") as url, open_front(url, faults=faults) as opened:
        yield opened


@pytest.fixture
def alice(front: Front) -> Caller:
    for wallet in (HOT, GAS):
        front.world.fund(front.house.own_address(wallet), 10**12)
    front.world.fund(front.house.own_address(HOT), 10**9, front.key_of("TOK"))
    return front.customer("alice", TOK=10**9, FAKE=10**12)


def body(front: Front, to: str, symbol: str = "TOK") -> dict[str, Any]:
    return {"asset": front.asset(symbol), "destination": to, "amount": "1"}


def ask(front: Front, caller: Caller, to: str, key: str, symbol: str = "TOK") -> Any:
    with front.running():
        return caller.post(PATH, body(front, to, symbol), key=key)


def nothing_held(front: Front, caller: Caller) -> None:
    front.settle()
    for balance in caller.get("/v1/balances").json()["data"]:
        assert balance["withdrawing"] == "0"


def go(front: Front, rounds: int = 4) -> None:
    for _ in range(rounds):
        front.house.run(1)
        front.world.mine(2)


def test_W12_a_contract_that_refuses_is_found_before_anything_is_held(
    front: Front, alice: Caller
) -> None:
    takes, refuses = front.world.deploy("takes"), front.world.deploy("refuses")
    front.world.refuse_transfers_to(refuses)
    problem_of(ask(front, alice, refuses, "k1", "FAKE"), 422, "forbidden_destination")
    nothing_held(front, alice)
    assert ask(front, alice, takes, "k2", "FAKE").status_code == 201, "control"
    assert ask(front, alice, refuses, "k3").status_code == 201, "a token asks no contract"


def test_W12_a_look_alike_of_a_used_address_holds_nothing(front: Front, alice: Caller) -> None:
    shop = front.world.outsider("shop")
    assert ask(front, alice, shop, "k1").status_code == 201
    front.house.approve(alice.get(PATH).json()["data"][0]["withdrawal_id"])
    go(front)
    twin = _twin_of(front, shop)
    answer = ask(front, alice, twin, "k2")
    assert (answer.status_code // 100, "look_alike" in answer.text) == (4, True)
    nothing_held(front, alice)
    assert ask(front, alice, shop, "k3").status_code == 201, "control: the real one"


def _twin_of(front: Front, shop: str) -> str:
    """Return an address that is valid and has the shop's ends: its checksum was ground for."""
    from chains.fake import address

    for n in range(1 << 20):
        made = bytes.fromhex(shop[1:5]) + n.to_bytes(18, "big")
        text = address.to_text(made, front.world.network)
        if text[-3:] == shop[-3:] and text != shop:
            assert alike(shop)[:4] == text[:4]
            return text
    raise AssertionError("no twin was found")


def test_W12_a_node_that_is_away_fails_closed_and_answers_what_it_knows(
    front: Front, alice: Caller, faults: FaultScript
) -> None:
    first, second = front.world.outsider("one"), front.world.outsider("two")
    made = ask(front, alice, first, "known")
    faults.plan("standing_of", *[FaultKind.UNAVAILABLE] * 3)
    for _ in range(2):
        problem_of(ask(front, alice, second, "new"), 503, "unavailable")
    assert ask(front, alice, first, "known").json() == made.json(), "no node is asked again"
    assert len(alice.get(PATH).json()["data"]) == 1
    faults.heal()
    assert ask(front, alice, second, "new").status_code == 201


def test_W13_an_obligatory_book_lets_money_go_to_cooled_down_entries_only(
    front: Front, alice: Caller
) -> None:
    alice.post("/v1/address-book-rule", {"required": True})
    to = front.world.outsider("shop")

    def refused(key: str, code: str) -> None:
        answer = ask(front, alice, to, key)
        assert (answer.status_code // 100, code in answer.text) == (4, True)
        nothing_held(front, alice)

    refused("k1", "not_in_address_book")
    entry = {"chain": "fake", "address": to, "label": "shop"}
    made = alice.post("/v1/address-book", entry, key="e").json()
    refused("k2", "not_in_address_book")
    code = front.house.postbox.notices[-1].code.reveal().decode()
    alice.post(f"/v1/address-book/{made['entry_id']}/confirm", {"code": code})
    refused("k3", "cooling_down")
    front.house.clock.advance(3 * DAY_NS)  # without a price every payment is a large one
    assert ask(front, alice, to, "k4").status_code == 201


def test_W13_a_security_change_refuses_new_requests_and_stops_those_before(
    front: Front, alice: Caller
) -> None:
    house = front.house
    shop, key = front.world.outsider("shop"), front.key_of("TOK")
    row = house.withdraw(_no(alice), key, 10**6, shop)
    house.run(1)
    path = f"/v1/customers/{alice.customer_no}/security-changes"
    front.ops().post(path, {"kind": "password"})
    answer = ask(front, alice, front.world.outsider("thief"), "k2")
    assert answer.status_code // 100 == 4
    assert "security_hold" in answer.text
    house.approve(row.withdrawal_id)
    go(front)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.APPROVED, "it waits"
    house.clock.advance(DAY_NS - 60 * SECOND_NS)
    go(front)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.APPROVED, "it waits"
    house.clock.advance(60 * SECOND_NS)
    go(front, 8)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.EXPIRED
    assert front.world.balance(shop, key) == 0
    assert house.balance(_no(alice), key) == 10**9, "its approvals did not outlive the hold"
    assert ask(front, alice, shop, "k3").status_code == 201, "control: the hold is over"


class Oracle:
    """A provider that says what it is told to, or nothing."""

    says: Outcome | None = None

    def ask(self, _question: Question) -> Answer:
        if self.says is None:
            raise Unavailable("timeout")
        return Answer(self.says, "ref")


@pytest.fixture
def oracle(front: Front) -> Oracle:
    """Have every withdrawal screened by one provider."""
    made, house = Oracle(), front.house
    terms = dataclasses.replace(house.home.terms, screening=ScreeningTerms(providers=("one",)))
    house.home = dataclasses.replace(house.home, terms=terms)
    chains = {house.home.chain.traits.chain: house.home}
    house.platform = dataclasses.replace(house.platform, chains=chains, providers={"one": made})
    return made


def test_a_payment_waits_for_its_screening_and_is_paid_once_it_is_allowed(
    front: Front, alice: Caller, oracle: Oracle
) -> None:
    row = front.house.withdraw(_no(alice), front.key_of("TOK"), 10**6, front.world.outsider("s"))
    front.house.run(1)
    front.house.approve(row.withdrawal_id)
    go(front)
    assert front.house.withdrawal(row.withdrawal_id).state is WithdrawalState.APPROVED
    oracle.says = Outcome.ALLOW
    front.house.clock.advance(400 * SECOND_NS)
    go(front, 8)
    assert front.house.withdrawal(row.withdrawal_id).state is WithdrawalState.CONFIRMED


def test_a_payment_that_screening_freezes_is_never_paid_and_its_money_is_kept(
    front: Front, alice: Caller, oracle: Oracle
) -> None:
    to = front.world.outsider("s")
    row = front.house.withdraw(_no(alice), front.key_of("TOK"), 10**6, to)
    oracle.says = Outcome.FREEZE
    front.house.run(2)
    front.house.approve(row.withdrawal_id)
    go(front, 6)
    with front.house.platform.db.read() as conn:
        assert catalogue.customer(conn, _no(alice)).frozen
    assert front.house.withdrawal(row.withdrawal_id).state in (
        WithdrawalState.HELD,
        WithdrawalState.APPROVED,
    )
    front.house.clock.advance(DAY_NS)
    go(front, 6)
    assert front.house.withdrawal(row.withdrawal_id).state is WithdrawalState.EXPIRED
    assert front.house.balance(_no(alice), front.key_of("TOK")) == 10**9
    assert front.world.balance(to, front.key_of("TOK")) == 0


def _no(caller: Caller) -> Any:
    assert caller.customer_no is not None
    return caller.customer_no
