"""`strongroom roster` and `strongroom intent`: files of officers, with no platform behind them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.main import app
from app.cli.output import Exit
from custody.keys.intent import Intent, encode, intent_hash, render
from custody.keys.roster_files import file_name, load_rosters, parse_file, render_file
from tests.unit.custody.keys.officers import SPEND, WITHDRAWAL, withdrawal


def cli(*words: object, data: bytes | None = None) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], input=data)


def keygen(folder: Path, *persons: str) -> dict[str, str]:
    return {
        person: json.loads(
            cli("-o", "json", "officer", "keygen", folder / f"{person}.pem",
                "--person", person).stdout
        )["public_key"]
        for person in persons
    }  # fmt: skip


def draft(path: Path, keys: dict[str, str], threshold: int = 2) -> Path:
    lines = ["version = 3", f"threshold = {threshold}", "# a draft may say why"]
    for person, key in keys.items():
        lines += ["[[officers]]", f'person = "{person}"', f'public_key = "{key}"']
    path.write_text("\n".join(lines))
    return path


def hash_in(result: Result) -> str:
    assert result.exit_code == Exit.OK, result.output
    return str(json.loads(result.stdout)["hash"])


def test_officers_propose_sign_and_check_two_versions(tmp_path: Path) -> None:
    keys, folder = keygen(tmp_path, "ada", "bea", "cai", "dan"), tmp_path / "rosters"
    first = {name: keys[name] for name in ("ada", "bea", "cai")}
    pinned = hash_in(cli("-o", "json", "roster", "propose", draft(tmp_path / "one", first), folder))
    file = folder / file_name(1)
    assert cli("roster", "check", folder).exit_code == Exit.VERIFICATION
    for name in ("ada", "ada", "bea"):
        signed = cli("-o", "json", "roster", "sign", file, "--key", tmp_path / f"{name}.pem",
                     "--expect-hash", pinned)  # fmt: skip
        assert hash_in(signed) == pinned
    assert len(parse_file(file.read_bytes()).signatures) == 2
    assert cli("roster", "check", folder, "--hash", pinned).exit_code == Exit.OK

    second = {name: keys[name] for name in ("ada", "bea", "dan")}
    newer = hash_in(cli("-o", "json", "roster", "propose", draft(tmp_path / "two", second), folder))
    file = folder / file_name(2)
    cli("roster", "sign", file, "--key", tmp_path / "cai.pem")
    assert cli("roster", "check", folder).exit_code == Exit.VERIFICATION
    assert cli("roster", "check", folder, "--hash", pinned).exit_code == Exit.OK
    cli("roster", "sign", file, "--key", tmp_path / "ada.pem")
    rows = json.loads(cli("-o", "json", "roster", "check", folder).stdout)
    assert [(row["serial"], row["hash"]) for row in rows] == [(1, pinned), (2, newer)]
    assert load_rosters(folder, bytes.fromhex(newer)).pinned.previous.hex() == pinned
    assert f'public_key = "{keys["dan"]}"' in cli("roster", "show", file).stdout


def test_an_officer_sees_what_changes_before_signing(tmp_path: Path) -> None:
    keys, folder = keygen(tmp_path, "ada", "bea", "eve"), tmp_path / "rosters"
    first = {name: keys[name] for name in ("ada", "bea")}
    cli("roster", "propose", draft(tmp_path / "one", first), folder)
    cli("roster", "propose", draft(tmp_path / "two", keys), folder)
    file = folder / file_name(2)
    shown = cli("roster", "diff", file).stdout
    assert f'+public_key = "{keys["eve"]}"' in shown
    assert keys["ada"] not in shown
    signed = cli("roster", "sign", file, "--key", tmp_path / "ada.pem")
    assert f'+public_key = "{keys["eve"]}"' in signed.stderr
    (folder / file_name(1)).write_bytes(
        (folder / file_name(1)).read_bytes().replace(b"threshold = 2", b"threshold = 3")
    )
    before = file.read_bytes()
    assert cli("roster", "sign", file, "--key", tmp_path / "bea.pem").exit_code != Exit.OK
    assert file.read_bytes() == before


def test_the_new_officer_cannot_vote_himself_in(tmp_path: Path) -> None:
    keys, folder = keygen(tmp_path, "ada", "bea", "eve"), tmp_path / "rosters"
    first = {name: keys[name] for name in ("ada", "bea")}
    cli("roster", "propose", draft(tmp_path / "one", first), folder)
    for name in ("ada", "bea"):
        cli("roster", "sign", folder / file_name(1), "--key", tmp_path / f"{name}.pem")
    cli("roster", "propose", draft(tmp_path / "two", keys), folder)
    for name in ("ada", "eve"):
        cli("roster", "sign", folder / file_name(2), "--key", tmp_path / f"{name}.pem")
    found = cli("-o", "json", "roster", "check", folder)
    assert (found.exit_code, json.loads(found.stdout)["code"]) == (8, "not_an_officer")


def test_a_roster_that_changed_meanwhile_is_not_signed(tmp_path: Path) -> None:
    keys, folder = keygen(tmp_path, "ada", "bea"), tmp_path / "rosters"
    cli("roster", "propose", draft(tmp_path / "one", keys), folder)
    file = folder / file_name(1)
    before = file.read_bytes()
    refused = cli("roster", "sign", file, "--key", tmp_path / "ada.pem", "--expect-hash", "00" * 32)
    assert (refused.exit_code, file.read_bytes()) == (Exit.VERIFICATION, before)
    file.write_bytes(before.replace(b"threshold = 2", b"threshold = 02"))
    assert cli("roster", "sign", file, "--key", tmp_path / "ada.pem").exit_code == Exit.REFUSED


@pytest.mark.parametrize(
    "words", [("check", "nowhere"), ("show", "nowhere"), ("propose", "x", "y")]
)
def test_what_is_not_there_is_said(tmp_path: Path, words: tuple[str, ...]) -> None:
    paths = [tmp_path / word for word in words[1:]]
    assert cli("roster", words[0], *paths).exit_code in {Exit.USAGE, Exit.VERIFICATION}


@pytest.mark.parametrize("intent", [SPEND, WITHDRAWAL], ids=["spend", "withdrawal"])
def test_every_form_of_an_intent_shows_and_hashes_alike(tmp_path: Path, intent: Intent) -> None:
    data, hashed = encode(intent), intent_hash(intent).hex()
    binary, text = tmp_path / "intent.bin", tmp_path / "intent.hex"
    binary.write_bytes(data)
    text.write_text(data.hex() + "\n")
    page = tmp_path / "intent.json"
    page.write_text(cli("-o", "json", "intent", "show", binary).stdout)
    assert json.loads(page.read_text())["version"] == ("1" if intent is SPEND else "3")
    for file in (binary, text, page):
        assert cli("intent", "show", file).stdout == render(intent)
        assert cli("intent", "hash", file).stdout.strip() == hashed
        assert cli("intent", "hash", "-", data=file.read_bytes()).stdout.strip() == hashed
    both = json.loads(cli("-o", "json", "intent", "hash", text).stdout)
    assert both == {"intent_hash": hashed, "intent": data.hex()}


def test_what_an_officer_signs_is_what_was_shown(tmp_path: Path) -> None:
    file = tmp_path / "intent"
    file.write_text(encode(withdrawal(amount=5)).hex())
    assert "amount: 5 minor units of native" in cli("intent", "show", file).stdout
    assert "initiator: customer:7" in cli("intent", "show", file).stdout


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"zz", b"00", b"{}", b"[]", b"\x17strongroom", encode(SPEND) + b"\n",
     encode(SPEND).hex().encode() + b" 00", b"{" * 60_000, b"a" * 70_000],
)  # fmt: skip
def test_what_is_no_intent_is_refused(data: bytes) -> None:
    for verb in ("show", "hash"):
        answer = cli("intent", verb, "-", data=data)
        assert (answer.exit_code, answer.stdout.strip()) in (
            (Exit.REFUSED, ""), (Exit.NOT_FOUND, ""))  # fmt: skip


def test_a_roster_file_keeps_every_signature(tmp_path: Path) -> None:
    keys, folder = keygen(tmp_path, "ada", "bea"), tmp_path / "rosters"
    cli("roster", "propose", draft(tmp_path / "one", keys), folder)
    file = folder / file_name(1)
    for name in ("ada", "bea"):
        cli("roster", "sign", file, "--key", tmp_path / f"{name}.pem")
    assert render_file(parse_file(file.read_bytes())) == file.read_bytes()
