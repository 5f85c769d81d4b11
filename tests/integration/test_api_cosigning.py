"""Owners of a wallet sign over HTTP what officers approved; everybody only for himself."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from eth_account import Account

from chains.fake import FakeWorld
from core.ids import WithdrawalId
from custody.access import Role
from custody.multisig.rows import ProposalState
from custody.withdrawals.states import WithdrawalState
from tests.support.api import Front, api_of
from tests.support.evm import ETHER, watched_address
from tests.support.threats import Stage
from tests.support.treasury import Treasury, treasury_on

ALICE = watched_address(1)


@pytest.fixture
def shop(stage: Stage) -> Iterator[tuple[Treasury, Front, str]]:
    treasury, customer = treasury_on(stage, threshold=2, owners=3)
    wanted = treasury.requested(customer, ETHER, ALICE)
    treasury.approve(wanted)
    treasury.proposed(wanted)
    with api_of(treasury.scene.house, FakeWorld("idle")) as front:
        yield treasury, front, wanted


def test_owners_sign_the_typed_data_they_read_and_the_wallet_pays(
    shop: tuple[Treasury, Front, str],
) -> None:
    treasury, front, wanted = shop
    ada = front.caller(Role.OFFICER, "ada")
    (listed,) = ada.get("/v1/cosigning").json()["data"]
    assert (listed["kind"], listed["cause_id"], listed["wallet"]) == (
        "withdrawal", wanted, "treasury",
    )  # fmt: skip
    assert {one["person"] for one in listed["owners"]} == {"ada", "ben", "cleo"}
    path = f"/v1/cosigning/{listed['proposal_id']}"
    for person in ("ada", "ben"):
        caller, device = front.caller(Role.OFFICER, person), treasury.devices[person]
        page = caller.get(path).json()["typed_data"]
        signed = Account.sign_typed_data(device.secret, full_message=json.loads(json.dumps(page)))
        assert "0x" + bytes(signed.message_hash).hex() == listed["digest"]
        body = {"owner": device.address, "signature": "0x" + bytes(signed.signature).hex()}
        first = caller.ask("POST", f"{path}/signatures", json=body)
        again = caller.ask("POST", f"{path}/signatures", json=body)
        assert (first.status_code, again.status_code) == (201, 201), first.text
        assert first.json() == again.json()
    treasury.until(treasury.proposal(wanted), ProposalState.DONE)
    assert treasury.scene.house.withdrawal(WithdrawalId(wanted)).state is WithdrawalState.CONFIRMED
    assert ada.get("/v1/cosigning").json()["data"] == []
    assert ada.get(path).json()["state"] == "done"


def test_nobody_hands_in_another_one_s_signature_and_customers_see_nothing(
    shop: tuple[Treasury, Front, str],
) -> None:
    treasury, front, wanted = shop
    row = treasury.proposal(wanted)
    path = f"/v1/cosigning/{row.proposal_id}"
    body = {
        "owner": treasury.devices["ada"].address,
        "signature": "0x" + treasury.signature(row, "ada").hex(),
    }
    ben = front.caller(Role.OFFICER, "ben")
    answer = ben.ask("POST", f"{path}/signatures", json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    own = {**body, "owner": treasury.devices["ben"].address}
    answer = ben.ask("POST", f"{path}/signatures", json=own)
    assert answer.json()["code"] == "bad_signature"
    answer = ben.ask("POST", f"{path}/signatures", json={**body, "owner": ALICE})
    assert answer.json()["code"] == "not_an_officer"
    assert ben.get("/v1/cosigning/nothing").json()["code"] == "not_found"
    auditor = front.caller(Role.AUDITOR, "anton")
    assert auditor.ask("POST", f"{path}/signatures", json=body).status_code == 403
    assert len(auditor.get("/v1/cosigning").json()["data"]) == 1
