"""The command line: quick help, data apart from talk, published exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from app import migrating
from app.cli.main import app
from app.cli.options import Chosen
from app.cli.output import Exit, Output, Talk, exit_of
from app.data_folder import JOURNAL_NAME
from app.opening import open_database
from app.settings import Settings, read_settings
from app.toml_text import toml_text
from core.errors import Reason
from core.ids import AssetNo, ChainId, TransferId
from custody.keys.intent import NO_POLICY, WithdrawalIntent, encode, intent_hash
from custody.keys.roster import Approval, Officer, Roster, Verdict, check_approval
from custody.keys.roster_text import sealed
from custody.ledger.accounts import accounts
from custody.ledger.chart import AccountKey, AccountKind
from custody.ledger.records import Chain, Transfer
from custody.ledger.transfers import post
from engine.blocks import GENESIS
from engine.files import DiskStorage
from engine.journal_writer import Journal
from engine.records import pack_command
from engine.types import AddAsset
from tests.support.configs import TABLES

INTENT = WithdrawalIntent(
    withdrawal_id="wd_1",
    customer_no=1,
    initiator="customer:1",
    chain=ChainId("devnet"),
    network="devnet/1",
    asset_key="native",
    destination="somewhere",
    amount=5,
    fee_minor=1,
    network_fee_max=10,
    policy_version=1,
    expires_ns=1 << 60,
    wallet="hot",
    policy_hash=NO_POLICY,
    decision_hash=NO_POLICY,
    excluded=(),
    not_before_ns=0,
)


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "strongroom.toml"
    file.write_text(toml_text(TABLES), "utf-8")
    yield file
    Chosen.config_file, Talk.output, Talk.quiet = None, Output.TABLE, False


def cli(*words: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(word) for word in words])


def upgraded(config: Path) -> Settings:
    """Return the settings of a database that is at the newest revision."""
    settings = read_settings(config, {})
    db = open_database(settings)
    migrating.upgrade(db)
    db.close()
    return settings


def test_help_imports_nothing_heavy() -> None:
    heavy = "sqlalchemy fastapi granian web3 eth_account bip_utils cryptography httpx structlog"
    program = (
        "import sys, time; began = time.process_time()\n"
        "from app.cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        f"found = sorted(set('{heavy}'.split()) & set(sys.modules))\n"
        "sys.stderr.write(repr(found) + ' ' + str(int(time.process_time() - began)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == "[] 0"
    assert "serve" in done.stdout


def test_an_unknown_option_is_a_usage_error() -> None:
    assert cli("--nope").exit_code == Exit.USAGE


def test_bad_settings_are_listed_on_standard_error(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text('colour = "red"\n')
    done = cli("--config", file, "config", "show")
    assert (done.exit_code, done.stdout) == (Exit.USAGE, "")
    assert "colour (file bad.toml): there is no such setting" in done.stderr
    assert "database.url: missing" in done.stderr


def test_errors_are_objects_for_programs(config: Path) -> None:
    done = cli("--config", config, "-o", "json", "key", "issue", "king", "x", "--to", "t")
    assert done.exit_code == Exit.REFUSED
    assert json.loads(done.stdout)["code"] == "malformed"


@pytest.mark.parametrize("process", ["engine", "worker"])
def test_a_process_does_not_start_on_bad_settings(tmp_path: Path, process: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text('colour = "red"\n')
    done = cli("--config", file, "serve", process)
    assert done.exit_code == Exit.USAGE
    assert "colour" in done.stderr


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.UNAUTHENTICATED, 4),
        (Reason.NOT_FOUND, 3),
        (Reason.UNKNOWN_ASSET, 3),
        (Reason.FORBIDDEN, 5),
        (Reason.EXCEEDS_AVAILABLE, 5),
        (Reason.IDEMPOTENCY_KEY_REUSED, 6),
        (Reason.ILLEGAL_TRANSITION, 6),
        (Reason.BAD_SIGNATURE, 8),
    ],
)
def test_refusals_have_published_exit_codes(reason: Reason, code: int) -> None:
    assert exit_of(reason) == code


def test_a_database_is_upgraded_once(config: Path) -> None:
    first = cli("--config", config, "-o", "json", "db", "upgrade")
    second = cli("--config", config, "-o", "json", "db", "upgrade")
    newest = migrating.newest()
    assert json.loads(first.stdout) == {"before": None, "after": newest}
    assert json.loads(second.stdout) == {"before": newest, "after": newest}
    shown = cli("--config", config, "-o", "json", "db", "current")
    assert json.loads(shown.stdout) == {"current": newest, "newest": newest}


def test_a_sound_ledger_passes_and_a_bent_one_is_exit_8(config: Path) -> None:
    db = open_database(upgraded(config))
    row = Transfer(
        id=TransferId(bytes(16)),
        chain=Chain.TREASURY,
        debit=AccountKey(AccountKind.HOT, "hot", AssetNo(1)),
        credit=AccountKey(AccountKind.SUSPENSE, "devnet", AssetNo(1)),
        amount=5,
        cause_kind="test",
        cause_id="1",
    )
    db.run(lambda conn: post(conn, [row], at_ns=1))
    sound = cli("--config", config, "ledger", "check")
    assert (sound.exit_code, sound.stdout) == (Exit.OK, "")
    assert "1 treasury" in sound.stderr
    with db.transaction() as conn:
        conn.execute(sa.text("DROP TRIGGER accounts_no_change"))
        conn.execute(
            accounts.update().where(accounts.c.kind == AccountKind.HOT.value).values(debits=6)
        )
    db.close()
    bent = cli("--config", config, "-o", "json", "ledger", "check")
    assert bent.exit_code == Exit.VERIFICATION
    assert "I2" in {found["check"] for found in json.loads(bent.stdout)}
    assert "checks failed" in bent.stderr


def test_a_sound_journal_passes_and_a_damaged_one_is_exit_8(config: Path) -> None:
    folder = upgraded(config).data.folder / JOURNAL_NAME
    journal = Journal(DiskStorage(folder), epoch=1, end=GENESIS)
    for asset_no in (1, 2):
        journal.append(pack_command(AddAsset(asset_no=asset_no)), time_ns=1)
    journal.close()
    sound = cli("--config", config, "-o", "json", "journal", "verify")
    assert sound.exit_code == Exit.OK
    found = json.loads(sound.stdout)
    assert (found["blocks"], found["sequence"], found["torn"]) == (2, 2, None)
    stat = json.loads(cli("-o", "json", "journal", "stat", "--folder", folder).stdout)
    assert (stat["segments"], stat["snapshots"]) == (1, 0)
    (segment,) = folder.glob("*.seg")
    data = bytearray(segment.read_bytes())
    data[300] ^= 1  # inside the first of two blocks
    segment.write_bytes(data)
    damaged = cli("--config", config, "journal", "verify")
    assert damaged.exit_code == Exit.VERIFICATION
    assert "CORRUPT" in damaged.stderr
    assert segment.name in damaged.stderr


def test_a_key_is_issued_into_a_private_file_and_ends_when_revoked(
    config: Path, tmp_path: Path
) -> None:
    upgraded(config)
    file = tmp_path / "token"
    issued = cli("--config", config, "-o", "json", "key", "issue", "ops", "olga", "--to", file)
    key_id = json.loads(issued.stdout)["key_id"]
    token = file.read_text().strip()
    assert file.stat().st_mode & 0o777 == 0o600
    assert token.startswith(f"{key_id}.")
    assert token.removeprefix(key_id) not in issued.stdout + issued.stderr
    assert cli("--config", config, "key", "revoke", key_id).exit_code == Exit.OK
    (row,) = json.loads(cli("--config", config, "-o", "json", "key", "list").stdout)
    assert (row["key_id"], row["role"], row["revoked"]) == (key_id, "ops", True)
    assert cli("--config", config, "key", "revoke", "key_none").exit_code == Exit.NOT_FOUND


def test_an_officer_makes_a_key_and_signs_what_was_read(tmp_path: Path) -> None:
    made = cli("-o", "json", "officer", "keygen", tmp_path / "ada.pem", "--person", "ada")
    public = json.loads(made.stdout)["public_key"]
    others = [Officer(name, bytes([n]) * 32) for n, name in enumerate(("ben", "cleo"), 1)]
    officers = [Officer("ada", bytes.fromhex(public)), *others]
    roster = sealed(Roster(1, b"", 0, 2, tuple(officers)))
    file = tmp_path / "wd_1.intent"
    file.write_text(encode(INTENT).hex() + "\n")
    words = ("-o", "json", "officer", "approve", file, "--key", tmp_path / "ada.pem")
    found = json.loads(cli(*words, "--expect-hash", intent_hash(INTENT).hex()).stdout)
    given = Approval(
        bytes.fromhex(found["public_key"]),
        Verdict(found["verdict"]),
        bytes.fromhex(found["signature"]),
    )
    assert check_approval(roster, INTENT, given, now_ns=1).person == "ada"
    assert (found["amount_minor"], found["destination"]) == ("5", "somewhere")
    assert json.loads(cli(*words, "--reject").stdout)["verdict"] == "reject"
    refused = cli(*words, "--expect-hash", "00" * 32)
    assert refused.exit_code == Exit.VERIFICATION
    assert "signature" not in refused.stdout
    again = cli("officer", "keygen", tmp_path / "ada.pem", "--person", "ada")
    assert again.exit_code == Exit.CONFLICT


def test_settings_are_shown_with_their_origin(config: Path) -> None:
    rows = json.loads(cli("--config", config, "-o", "json", "config", "show").stdout)
    origins = {row["name"]: row["origin"] for row in rows}
    assert origins["data.folder"] == "file strongroom.toml"
    assert origins["http.port"] == "default"


def test_an_empty_answer_is_an_empty_answer(config: Path) -> None:
    upgraded(config)
    done = cli("--config", config, "chain", "list")
    assert (done.exit_code, done.stdout) == (Exit.OK, "")
    assert json.loads(cli("--config", config, "-o", "json", "chain", "list").stdout) == []
