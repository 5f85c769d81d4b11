"""Address books over the API, codes that go another way, and payments between customers."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx import Response

from app.notices import WAITING_MAX, FolderNotifier
from core.clock import DAY_NS
from core.errors import Unavailable
from core.ids import ChainId, CustomerNo
from custody.keys.secret import Secret
from custody.withdrawals.notices import CodeNotice
from tests.support.api import Caller, Front, open_front, problem_of
from tests.support.databases import Databases
from tests.support.policies import denied, required

BOOK = "/v1/address-book"


@pytest.fixture
def front(databases: Databases) -> Iterator[Front]:
    with databases.fresh("sqlite") as url, open_front(url) as opened:
        yield opened


@pytest.fixture
def alice(front: Front) -> Caller:
    return front.customer("alice", TOK=10**9)


def entry(front: Front, name: str = "shop", **changes: Any) -> dict[str, Any]:
    return {"chain": "fake", "address": front.world.outsider(name), "label": name, **changes}


def last_code(front: Front) -> str:
    return front.house.postbox.notices[-1].code.reveal().decode()


def test_an_entry_is_added_confirmed_listed_and_removed(front: Front, alice: Caller) -> None:
    made = alice.post(BOOK, entry(front), key="e1")
    assert (made.status_code, made.json()["state"]) == (201, "pending")
    code = last_code(front)
    assert code not in made.text
    entry_id = made.json()["entry_id"]
    path = f"{BOOK}/{entry_id}/confirm"
    problem_of(alice.post(path, {"code": "AAAA-AAAA-AAAA-AAAA"}), 403, "wrong_code")
    (listed,) = alice.get(BOOK).json()["data"]
    assert listed["tries_left"] == 4, "the wrong one was counted"
    done = alice.post(path, {"code": code.lower()}).json()
    assert (done["state"], done["usable_at"] > done["confirmed_at"]) == ("confirmed", True)
    assert alice.post(path, {"code": code}).json() == done
    gone = alice.ask("DELETE", f"{BOOK}/{entry_id}").json()
    assert gone["state"] == "removed"


def test_the_same_key_is_the_same_entry_and_sends_no_second_code(
    front: Front, alice: Caller
) -> None:
    first = alice.post(BOOK, entry(front), key="e1").json()
    assert alice.post(BOOK, entry(front), key="e1").json() == first
    assert len(front.house.postbox.notices) == 1
    other = alice.post(BOOK, entry(front, "bank"), key="e1")
    problem_of(other, 409, "exists_with_other_content")
    problem_of(alice.post(BOOK, entry(front)), 400, "idempotency_key_missing")


def test_a_code_that_did_not_go_out_is_asked_for_again(front: Front, alice: Caller) -> None:
    front.house.postbox.is_full = True
    problem_of(alice.post(BOOK, entry(front), key="e1"), 503, "unavailable")
    front.house.postbox.is_full = False
    (pending,) = alice.get(BOOK).json()["data"]
    assert alice.post(f"{BOOK}/{pending['entry_id']}/code").status_code == 200
    path = f"{BOOK}/{pending['entry_id']}/confirm"
    assert alice.post(path, {"code": last_code(front)}).status_code == 200


def test_an_entry_of_ours_or_of_a_token_is_refused(front: Front, alice: Caller) -> None:
    own = front.house.own_address("hot")
    problem_of(alice.post(BOOK, entry(front, address=own), key="e"), 422, "own_address")
    token = front.key_of("TOK")
    answer = alice.post(BOOK, entry(front, address=token), key="e")
    problem_of(answer, 422, "forbidden_destination")
    spaced = entry(front, address=front.world.outsider("x") + " ")
    problem_of(alice.post(BOOK, spaced, key="e"), 422, "invalid_address")
    assert alice.get(BOOK).json()["data"] == []


def test_staff_edits_a_book_under_its_own_name(front: Front, alice: Caller) -> None:
    ops, number = front.ops(), alice.customer_no
    problem_of(ops.post(BOOK, entry(front), key="e"), 400, "missing_field")
    made = ops.post(BOOK, entry(front, customer_no=number), key="e").json()
    assert (made["customer_no"], made["last_editor"]) == (number, "olga")
    assert ops.get(f"{BOOK}?customer_no={number}").json()["data"] == [made]
    stranger = front.customer("stranger")
    problem_of(stranger.post(BOOK, entry(front, customer_no=number), key="e"), 403, "forbidden")
    problem_of(stranger.get(f"{BOOK}?customer_no={number}"), 403, "forbidden")


def test_switching_the_book_off_or_a_new_password_holds_for_a_day(
    front: Front, alice: Caller
) -> None:
    rule = "/v1/address-book-rule"
    assert alice.get(rule).json() == {"required": False, "held_until": None}
    assert alice.post(rule, {"required": True}).json() == {"required": True, "held_until": None}
    assert alice.post(rule, {"required": False}).json()["held_until"] is not None
    front.house.clock.advance(DAY_NS)
    assert alice.get(rule).json()["held_until"] is None
    path = f"/v1/customers/{alice.customer_no}/security-changes"
    assert front.ops().post(path, {"kind": "password"}).json()["held_until"] is not None
    problem_of(front.ops().post(path, {"kind": "mood"}), 400, "malformed")
    nobody = "/v1/customers/4000000000/security-changes"
    problem_of(front.ops().post(nobody, {"kind": "password"}), 404, "unknown_customer")


def test_both_sides_see_a_payment_between_customers(front: Front, alice: Caller) -> None:
    bob = front.customer("bob")
    assert bob.customer_no is not None
    to = front.house.address(bob.customer_no)
    asked = {"asset": front.asset("TOK"), "destination": to, "amount": "3"}
    with front.running():
        made = alice.post("/v1/withdrawals", asked, key="w").json()
    assert (made["state"], made["fee"]) == ("held", "0")
    front.house.approve(made["withdrawal_id"])
    front.house.run(2)
    shown = alice.get(f"/v1/withdrawals/{made['withdrawal_id']}").json()
    assert (shown["state"], shown["tx_ids"]) == ("confirmed", [])
    (got,) = bob.get("/v1/received").json()["data"]
    assert (got["amount"], got["address"]) == ("3", to)
    assert alice.get("/v1/received").json()["data"] == []
    assert bob.get("/v1/balances").json()["data"][0]["total"] == "3"


# ---- the folder that codes leave through


def notice(name: str = "addr_1", expires_at_ns: int = 5) -> CodeNotice:
    return CodeNotice(
        CustomerNo(1), name, ChainId("fake"), "f00", "shop", Secret(b"CODE"), expires_at_ns
    )


def test_a_notice_is_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    folder = tmp_path / "codes"
    FolderNotifier(folder).send_code(notice())
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert json.loads(file.read_text())["code"] == "CODE"


def test_a_folder_that_nobody_empties_or_that_is_none_sends_nothing(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(Unavailable):
        FolderNotifier(file).send_code(notice())
    full = tmp_path / "full"
    full.mkdir()
    for n in range(WAITING_MAX):
        (full / str(n)).touch()
    with pytest.raises(Unavailable, match="nobody collects"):
        FolderNotifier(full).send_code(notice())


def test_a_contract_at_the_destination_is_known_to_the_policy(front: Front, alice: Caller) -> None:
    deny = denied("people-only", "no_contracts", destination_kinds=["contract"])
    front.house.adopt(required(), deny)

    def ask(to: str, key: str) -> Response:
        body = {"asset": front.asset("TOK"), "amount": "0.5", "destination": to}
        return alice.post("/v1/withdrawals", body, key=key)

    vault, account = front.world.deploy("vault"), front.world.outsider("shop")
    with front.running():
        blocked = problem_of(ask(vault, "w1"), 403, "policy_blocked")
        assert "no_contracts" in blocked["detail"]
        assert ask(account, "w2").status_code == 201, "control: the same to a person"
        assert ask(vault, "w1").json() == blocked
