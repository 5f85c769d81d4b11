"""`strongroom address` and `strongroom screening` against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.output import Exit
from tests.support.api import open_front
from tests.support.databases import Databases
from tests.support.served import Served, listening
from tests.unit.custody.screening import test_ivms101


@pytest.fixture(scope="module")
def served(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("keys")
    with (
        databases.fresh("sqlite") as url,
        open_front(url) as front,
        listening(front, folder) as made,
    ):
        yield made


def test_an_address_is_added_confirmed_listed_and_removed(served: Served) -> None:
    front = served.front
    alice, shop = front.customer("alice"), front.world.outsider("shop")
    made = served.json(alice, "address", "add", "fake", shop, "--label", "shop", "--id", "e-1")
    again = served.json(alice, "address", "add", "fake", shop, "--label", "shop", "--id", "e-1")
    assert again == made
    wrong = served.run(alice, "address", "confirm", made["entry_id"], "--code", "AAAA")
    assert (wrong.exit_code != 0, "wrong_code" in wrong.output) == (True, True)
    served.json(alice, "address", "code", made["entry_id"])
    code = front.house.postbox.notices[-1].code.reveal().decode()
    done = served.json(alice, "address", "confirm", made["entry_id"], "--code", code)
    assert done["state"] == "confirmed"
    (listed,) = served.json(alice, "address", "list")
    assert (listed["address"], listed["last_editor"]) == (shop, f"customer:{alice.customer_no}")
    assert served.json(alice, "address", "required", "--on")["required"] is True
    assert served.json(alice, "address", "required")["held_until"] is None
    assert served.json(alice, "address", "remove", made["entry_id"])["state"] == "removed"
    assert served.json(alice, "address", "received") == []


def test_travel_rule_data_is_attached_from_a_file(served: Served, tmp_path: Path) -> None:
    front = served.front
    alice = front.customer("payer", TOK=10**9)
    to = front.world.outsider("far")
    with front.running():
        made = served.json(alice, "withdrawal", "create", "TOK", "1", "--to", to)
    message, file = test_ivms101.message(), tmp_path / "message.json"
    file.write_text(json.dumps(message))
    words = ("screening", "attach", made["withdrawal_id"], str(file))
    refused = served.run(alice, *words)
    assert refused.exit_code != 0
    assert "accountNumber" in refused.output
    assert test_ivms101.SECRET not in refused.output
    message["beneficiary"]["accountNumber"] = [to]
    file.write_text(json.dumps(message))
    assert len(served.json(alice, *words)["records"]) == 1
    (record,) = served.json(alice, "screening", "attached", made["withdrawal_id"])
    assert record["by"] == f"customer:{alice.customer_no}"
    missing = served.run(alice, "screening", "attach", made["withdrawal_id"], "no-such-file")
    assert missing.exit_code == Exit.USAGE


def test_the_list_in_force_and_the_cases_are_shown_to_staff(served: Served) -> None:
    auditor = served.front.auditor()
    assert served.json(auditor, "screening", "status")["addresses"] == 0
    assert served.json(auditor, "screening", "cases") == []
