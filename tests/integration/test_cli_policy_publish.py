"""`strongroom policy publish|approve|list|show` against a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from custody import policies, publishing_step
from custody.keys.private_file import write_private_file
from tests.support.api import Caller, open_front
from tests.support.databases import Databases
from tests.support.house import officer_key
from tests.support.policies import document, required
from tests.support.served import Served, listening


@pytest.fixture
def served(databases: Databases, tmp_path: Path) -> Iterator[Served]:
    with (
        databases.fresh("sqlite") as url,
        open_front(url) as front,
        listening(front, tmp_path) as s,
    ):
        yield s


def draft(served: Served, folder: Path, *rules: str) -> Path:
    with served.front.house.platform.db.read() as conn:
        newest = policies.newest(conn)
    assert newest is not None
    file = folder / "next.toml"
    file.write_bytes(document(*rules, serial=newest.serial + 1, previous=newest.hash))
    return file


def key_file(person: str, folder: Path) -> Path:
    path = folder / f"{person}.pem"
    data = officer_key(person).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_private_file(path, data)
    return path


def test_officers_publish_the_next_policy_by_command(served: Served, tmp_path: Path) -> None:
    ops = served.front.ops()
    file = draft(served, tmp_path, required("one", quorum="1 of officers"))
    kept = served.json(ops, "policy", "publish", str(file), "--draft")
    assert (kept["state"], kept["authors"]) == ("draft", "olga")
    proposed = served.json(ops, "policy", "publish", str(file))
    assert (proposed["serial"], proposed["state"], proposed["hash"]) == (
        2,
        "proposed",
        kept["hash"],
    )
    states = []
    for person in ("ada", "ben"):
        words = ("policy", "approve", kept["hash"], "--key", str(key_file(person, tmp_path)))
        states.append(served.json(served.front.officer(person), *words, "--yes")["state"])
    assert states == ["proposed", "approved"]
    platform = served.front.house.platform
    for _ in range(2):
        publishing_step.step(platform.db, platform.signer, clock=platform.clock)
    (row,) = served.json(ops, "policy", "list")
    assert (row["state"], row["in_force"], row["said"]) == (
        "active",
        True,
        "ada approve,ben approve",
    )
    shown = served.run(ops, "policy", "show", kept["hash"], "--document")
    assert shown.stdout.encode() == file.read_bytes()


def test_a_bad_document_ends_with_its_line_and_rule(served: Served, tmp_path: Path) -> None:
    file = draft(served, tmp_path, required("odd", quorum="2 of nobody"))
    line = next(n for n, one in enumerate(file.read_text().split("\n"), 1) if "nobody" in one)
    refused = served.run(served.front.ops(), "policy", "publish", str(file))
    assert refused.exit_code == 5, refused.output
    assert f"next.toml:{line}: rule 'odd'" in refused.stderr


def test_an_officer_signs_the_document_that_the_hash_names(served: Served, tmp_path: Path) -> None:
    ada: Caller = served.front.officer("ada")
    words = ("--key", str(key_file("ada", tmp_path)), "--yes")
    unknown = served.run(ada, "policy", "approve", "ab" * 32, *words)
    assert unknown.exit_code != 0
    file = draft(served, tmp_path, required("one"))
    hash_ = served.json(served.front.ops(), "policy", "publish", str(file))["hash"]
    assert served.json(ada, "policy", "approve", hash_, *words, "--reject")["state"] == "rejected"
