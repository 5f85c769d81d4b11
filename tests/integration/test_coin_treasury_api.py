"""Owners of a treasury that spends coins sign over HTTP and by commands: file, base64, QR texts."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from chains.bitcoin.descriptor import Form
from chains.bitcoin.params import COIN
from chains.fake import FakeWorld
from custody.access import Role
from custody.multisig.rows import Proposal, ProposalState
from custody.withdrawals.states import WithdrawalState
from infra.devnet.coin_nodes import CoreNode, start_core
from tests.support.api import Front, api_of
from tests.support.coin_money import Mint
from tests.support.coin_treasury import Scene, open_scene
from tests.support.databases import Databases
from tests.support.owners import by_bdk, by_btclib, officers, treasury_of
from tests.support.served import listening

OUTSIDE = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry"


@pytest.fixture
def shop(databases: Databases) -> Iterator[tuple[Scene, Front, Proposal]]:
    """Open a platform with an approved withdrawal that waits for two of three owners."""
    treasury = treasury_of(Form.SCRIPT_HASH, 2, 3)
    node: CoreNode
    with (
        start_core() as node,
        databases.fresh("sqlite") as url,
        open_scene(node, Mint(node), treasury, url) as scene,
        api_of(scene.house, FakeWorld("idle")) as front,
    ):
        scene.fund(3 * COIN, 2 * COIN)
        yield scene, front, scene.proposed(scene.approved(COIN, OUTSIDE))


def test_owners_take_and_give_payloads_over_http_and_the_treasury_pays(
    shop: tuple[Scene, Front, Proposal],
) -> None:
    scene, front, row = shop
    ada, ben = (front.caller(Role.OFFICER, person) for person in ("ada", "ben"))
    (listed,) = ada.get("/v1/cosigning").json()["data"]
    assert (listed["threshold"], len(listed["owners"])) == (2, 3)
    assert ada.get(f"/v1/cosigning/{row.proposal_id}").json()["typed_data"] == {}
    path, text = f"/v1/cosigning/{row.proposal_id}/psbt", scene.treasury.descriptor
    first, second = officers(3)[:2]

    shown = ada.get(path).json()
    answer = by_bdk(first, base64.b64decode(shown["base64"]), text)
    body = {"base64": base64.b64encode(answer).decode()}
    given = [ada.ask("POST", path, json=body) for _ in range(2)]
    assert [one.status_code for one in given] == [201, 201], given[0].text
    assert given[0].json() == given[1].json()
    assert len(given[0].json()["signed"]) == 1

    shown = ben.get(path).json()
    payload = scene.desk.wallet.seen(shown["parts"][::-1])
    answer = by_btclib(second, payload, text)
    parts = scene.desk.wallet.shown(answer)
    assert ben.ask("POST", path, json={"parts": parts[::-1]}).status_code == 201
    scene.done(row, ProposalState.DONE)
    states = scene.house.withdrawal(scene.proposal(row.cause_id).cause_id)  # type: ignore[arg-type]
    assert states.state is WithdrawalState.CONFIRMED


def test_what_is_no_answer_is_refused_over_http(shop: tuple[Scene, Front, Proposal]) -> None:
    scene, front, row = shop
    ada = front.caller(Role.OFFICER, "ada")
    path = f"/v1/cosigning/{row.proposal_id}/psbt"
    unsigned = ada.get(path).json()["base64"]
    for body, code in (
        ({"base64": unsigned}, "quorum_not_met"),
        ({"base64": "!!"}, "malformed"),
        ({}, "malformed"),
        ({"base64": unsigned, "parts": ["x"]}, "malformed"),
        ({"parts": ["x"]}, "malformed"),
        ({"base64": base64.b64encode(b"psbt\xff\x00").decode()}, "undecodable"),
    ):
        assert ada.ask("POST", path, json=body).json()["code"] == code
    stranger = front.caller(Role.OFFICER, "zoe")
    answer = by_bdk(officers(3)[0], base64.b64decode(unsigned), scene.treasury.descriptor)
    body = {"base64": base64.b64encode(answer).decode()}
    assert stranger.ask("POST", path, json=body).json()["code"] == "forbidden"
    assert ada.get("/v1/cosigning/nothing/psbt").json()["code"] == "not_found"
    assert ada.get(path).json()["signed"] == []


@pytest.mark.parametrize("form", ["file", "base64", "qr"])
def test_commands_write_and_read_all_three_forms(
    shop: tuple[Scene, Front, Proposal],
    form: str,
    tmp_path: Path,
) -> None:
    scene, front, row = shop
    ada = front.caller(Role.OFFICER, "ada")
    # The served platform's clock is the machine's, by which every approval of the scene expired
    # long ago; what pays coins back needs none.
    scene.cosign(row, 0)
    row = scene.burnt(row)
    shown, back = tmp_path / "shown", tmp_path / "back"
    wallet, path = scene.desk.wallet, f"/v1/cosigning/{row.proposal_id}/psbt"
    with listening(front, tmp_path) as served:
        words = ("wallet", "psbt-export", row.proposal_id, "--to", str(shown), "--as", form)
        assert served.json(ada, *words)["signed"] == 0
        payload = shown.read_bytes()
        if form == "base64":
            payload = base64.b64decode(payload)
        if form == "qr":
            payload = wallet.seen(payload.decode("ascii").split())
        answer = by_bdk(officers(3)[2], payload, scene.treasury.descriptor)
        if form == "qr":
            back.write_text("\n".join(wallet.shown(answer)[::-1]))
        else:
            back.write_bytes(answer if form == "file" else base64.b64encode(answer))
        (told,) = served.json(ada, "wallet", "psbt-import", row.proposal_id, str(back))
        assert [told["owner"]] == ada.get(path).json()["signed"]
