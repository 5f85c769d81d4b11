"""`strongroom screening update`: a published file comes into force, and nothing else does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app import migrating
from app.cli.main import app
from app.cli.options import Chosen
from app.cli.output import Exit, Output, Talk
from app.opening import open_database
from app.settings import read_settings
from app.toml_text import toml_text
from custody.screening import lists
from tests.support.configs import TABLES
from tests.unit.custody.screening.samples import HEX, plain


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "strongroom.toml"
    file.write_text(toml_text(TABLES), "utf-8")
    db = open_database(read_settings(file, {}))
    migrating.upgrade(db)
    db.close()
    yield file
    Chosen.config_file, Talk.output, Talk.quiet = None, Output.TABLE, False


def update(config: Path, *words: object) -> Result:
    options = ["--config", str(config), "-o", "json", "screening", "update"]
    return CliRunner().invoke(app, [*options, *(str(word) for word in words)])


def test_a_published_file_comes_into_force_and_a_broken_one_does_not(config: Path) -> None:
    file = config.with_name("sdn.xml")
    file.write_bytes(plain())
    done = update(config, file)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["sha256"] == hashlib.sha256(plain()).hexdigest()
    assert (told["published"], told["parties"], told["addresses"]) == ("2026-11-20", 3, 2)
    for content, reason in (
        (plain()[:-9], "malformed"),
        (plain(count=99), "malformed"),
        (plain(date="11/19/2026"), "illegal_transition"),
    ):
        file.write_bytes(content)
        refused = update(config, file)
        assert refused.exit_code != 0
        assert reason in refused.output
    db = open_database(read_settings(config, {}))
    with db.read() as conn:
        newest, hit = lists.in_force(conn), lists.hit(conn, HEX.lower())
    db.close()
    assert newest is not None
    assert (newest.list_no, hit and hit.party) == (1, "1001")


def test_without_a_place_or_over_plain_http_nothing_is_fetched(config: Path) -> None:
    assert update(config).exit_code == Exit.USAGE
    refused = update(config, "http://lists.example/sdn.xml")
    assert refused.exit_code != 0
    assert "forbidden" in refused.output
