"""`strongroom officer`: verdicts by a wallet's key in a file, and what a passkey must sign."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from app.cli.main import app
from app.cli.output import Exit
from app.cli.verdicts import approval_of, passkey_verdict
from core.entropy import SeededEntropy
from core.errors import Reason, Refused
from custody.keys.credentials import CredentialKind
from custody.keys.intent import encode, intent_hash
from custody.keys.officer_keys import load_officer_key, load_signing_key, wallet_keygen
from custody.keys.roster import Officer, Verdict, approval_signable, check_approval
from custody.keys.secret import Secret
from custody.keys.typed_approval import address_text, digest_of, read_address
from tests.support.rails import PasskeyOf
from tests.unit.custody.keys.officers import NOW_NS, ROSTER, WITHDRAWAL, roster_of, withdrawal


def cli(*words: object) -> Result:
    return CliRunner().invoke(app, ["-o", "json", *(str(word) for word in words)])


@pytest.fixture
def intent_file(tmp_path: Path) -> Path:
    file = tmp_path / "wd_1.intent"
    file.write_text(encode(WITHDRAWAL).hex() + "\n")
    return file


def made(tmp_path: Path) -> tuple[Path, str]:
    """Return the file and the address of a new wallet key."""
    file = tmp_path / "dan.pem"
    found = cli("officer", "keygen", file, "--person", "dan", "--kind", "eip712")
    assert found.exit_code == Exit.OK, found.output
    page = json.loads(found.stdout)
    assert (page["kind"], page["person"]) == ("eip712", "dan")
    return file, str(page["address"])


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        (["approve"], Verdict.APPROVE),
        (["approve", "--reject"], Verdict.REJECT),
        (["reject"], Verdict.REJECT),
    ],
)
def test_a_wallets_key_in_a_file_gives_a_verdict_that_counts(
    tmp_path: Path, intent_file: Path, words: list[str], verdict: Verdict
) -> None:
    file, address = made(tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    row = Officer("dan", read_address(address), kind=CredentialKind.EIP712)
    roster = roster_of(*ROSTER.officers, row)
    done = cli(
        "officer", *words, intent_file, "--key", file, "--expect-hash",
        intent_hash(WITHDRAWAL).hex(),
    )  # fmt: skip
    assert done.exit_code == Exit.OK, done.output
    page = json.loads(done.stdout)
    assert (page["verdict"], page["address"]) == (verdict.value, address)
    given = approval_of(page)
    assert given.verdict is verdict
    assert check_approval(roster, WITHDRAWAL, given, now_ns=NOW_NS) == row
    refused = cli("officer", *words, intent_file, "--key", file, "--expect-hash", "00" * 32)
    assert refused.exit_code == Exit.VERIFICATION
    assert "signature" not in refused.stdout


def test_a_rejection_by_an_ed25519_key_is_a_command_of_its_own(
    tmp_path: Path, intent_file: Path
) -> None:
    file = tmp_path / "ada.pem"
    cli("officer", "keygen", file, "--person", "ada")
    page = json.loads(cli("officer", "reject", intent_file, "--key", file).stdout)
    assert (page["kind"], page["verdict"]) == ("ed25519", "reject")
    key = load_officer_key(file)
    row = Officer("dan", key.public_key().public_bytes_raw())
    roster = roster_of(*ROSTER.officers, row)
    assert check_approval(roster, WITHDRAWAL, approval_of(page), now_ns=NOW_NS) == row


def test_a_wallets_key_opens_with_its_passphrase_only(tmp_path: Path) -> None:
    file, right = tmp_path / "key.pem", Secret(b"right")
    address = wallet_keygen(file, entropy=SeededEntropy(1, "wallet"), passphrase=right)
    assert len(address) == 20
    assert load_signing_key(file, passphrase=right) is not None
    for passphrase in (None, Secret(b"wrong")):
        with pytest.raises(Refused) as refused:
            load_signing_key(file, passphrase=passphrase)
        assert refused.value.reason is Reason.WRONG_PASSPHRASE
    with pytest.raises(Refused) as refused:
        load_officer_key(file, passphrase=right)
    assert refused.value.reason is Reason.MALFORMED


def test_the_challenge_can_be_compared_on_another_machine(intent_file: Path) -> None:
    for words, verdict in (([], Verdict.APPROVE), (["--reject"], Verdict.REJECT)):
        page = json.loads(cli("officer", "challenge", intent_file, *words).stdout)
        signable = approval_signable(WITHDRAWAL, verdict)
        assert page["message"] == signable.message.hex()
        assert page["typed_digest"] == "0x" + digest_of(signable).hex()
        answer = PasskeyOf("dan").device.get(
            {"challenge": page["passkey_challenge"], "rpId": "custody.example"}
        )
        assert page["intent_hash"] == intent_hash(WITHDRAWAL).hex()
        assert answer["type"] == "public-key"


def test_a_passkeys_answer_is_handed_in_for_its_own_intent_and_verdict_only(
    tmp_path: Path, intent_file: Path
) -> None:
    page = json.loads(cli("officer", "challenge", intent_file).stdout)
    answer = PasskeyOf("dan").device.get(
        {"challenge": page["passkey_challenge"], "rpId": "custody.example"}
    )
    file = tmp_path / "answer.json"
    file.write_text(json.dumps(answer))
    body = passkey_verdict(file, WITHDRAWAL, Verdict.APPROVE)
    assert body == {"kind": "webauthn", "verdict": "approve", "answer": answer}
    wrong: list[tuple[Any, Verdict]] = [
        (WITHDRAWAL, Verdict.REJECT),
        (withdrawal(withdrawal_id="wd_2"), Verdict.APPROVE),
    ]
    for intent, verdict in wrong:
        with pytest.raises(typer.Exit) as ended:
            passkey_verdict(file, intent, verdict)
        assert ended.value.exit_code == Exit.VERIFICATION


def test_an_address_is_shown_with_its_checksum(tmp_path: Path) -> None:
    _, address = made(tmp_path)
    assert address_text(read_address(address)) == address
