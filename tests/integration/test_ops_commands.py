"""`strongroom price` and `strongroom control` against a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from custody.keys.private_file import write_private_file
from tests.support.api import Caller, open_front
from tests.support.databases import Databases
from tests.support.house import officer_key
from tests.support.served import Served, listening


@pytest.fixture(scope="module")
def served(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("keys")
    with (
        databases.fresh("sqlite") as url,
        open_front(url) as front,
        listening(front, folder) as made,
    ):
        yield made


def key_file(folder: Path, person: str) -> str:
    """Write an officer's private key as `officer keygen` does."""
    path = folder / f"{person}.pem"
    write_private_file(
        path,
        officer_key(person).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    return str(path)


def test_prices_are_set_imported_and_listed(served: Served, tmp_path: Path) -> None:
    ops, asset = served.front.ops(), served.front.asset("TOK")
    time = "2023-01-31T12:00:00Z"
    told = served.json(ops, "price", "set", "TOK", "1.25", "--source", "desk", "--at", time)
    assert told == {"recorded": 1}
    feed = tmp_path / "feed.toml"
    feed.write_text(
        "".join(
            f'[[prices]]\nasset = "{asset}"\nprice = "{price}"\nat = {at}\nsource = "feed"\n'
            for price, at in (("1.5", "2023-01-31T12:00:01Z"), ("1.4", "2023-01-31T11:00:00Z"))
        )
    )
    assert served.json(ops, "price", "import", str(feed)) == {"read": 2, "recorded": 2}
    assert served.json(ops, "price", "import", str(feed)) == {"read": 2, "recorded": 0}
    (newest,) = served.json(ops, "price", "list")
    assert (newest["price"], newest["source"]) == ("1.5", "feed")
    history = served.json(ops, "price", "list", "TOK")
    assert [one["price"] for one in history] == ["1.5", "1.25", "1.4"]


def test_a_pause_a_freeze_and_a_resumption_go_through_the_command_line(
    served: Served, tmp_path: Path
) -> None:
    ada = served.front.officer("ada")
    keys = {person: key_file(tmp_path, person) for person in ("ada", "ben")}
    paused = served.json(ada, "control", "pause", "chain:fake", "--key", keys["ada"])
    assert paused["signer_told"] is True
    frozen = served.json(ada, "control", "freeze", "platform", "--key", keys["ada"], "--hours", "2")
    listed = served.json(ada, "control", "list")
    assert [one["stop_id"] for one in listed] == [paused["stop_id"], frozen["stop_id"]]
    drafted = served.json(ada, "control", "resume", "platform", "--stop", paused["stop_id"])
    file = tmp_path / "resumption"
    file.write_text(drafted["statement"])
    words = ["control", "send", str(file)]
    for person in ("ada", "ben"):
        signed = served.json(ada, "statement", "sign", str(file), "--key", keys[person])
        words += ["--signature", signed["signature"]]
    assert served.json(ada, *words)["kind"] == "resume"
    (left,) = served.json(ada, "control", "list")
    assert left["stop_id"] == frozen["stop_id"], "nobody shortens a freeze"
    drafted = served.json(
        ada, "control", "freeze", "platform", "--key", keys["ada"], "--hours", "700", "--draft"
    )
    assert drafted["statement"]


def test_an_unknown_scope_is_a_clear_refusal(served: Served, tmp_path: Path) -> None:
    ada: Caller = served.front.officer("ada")
    done = served.run(ada, "control", "pause", "everything", "--key", key_file(tmp_path, "ada"))
    assert done.exit_code != 0
    assert "malformed" in done.output
