"""The command line hands in every kind of verdict, and none that is not the intent's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.cli.output import Exit
from core.entropy import SeededEntropy
from core.ids import WithdrawalId
from custody.keys.credentials import CredentialKind
from custody.keys.officer_keys import wallet_keygen
from custody.keys.roster import Officer
from tests.integration.test_api_approvals import DAN, asked, front_of_three_rails
from tests.support.served import Served, listening


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    address = wallet_keygen(tmp_path / "fay.pem", entropy=SeededEntropy(1, "fay"))
    fay = Officer("fay", address, kind=CredentialKind.EIP712)
    url = f"sqlite:///{tmp_path / 'books.sqlite'}"
    with front_of_three_rails(url, fay) as front, listening(front, tmp_path) as made:
        yield made


def answered(served: Served, withdrawal_id: str, folder: Path, verdict: str) -> Path:
    """Return the file of what dan's passkey answered in a browser."""
    dan = served.front.officer("dan")
    page: dict[str, Any] = dan.get(f"/v1/approvals/{withdrawal_id}").json()
    (found,) = [one for one in page["to_sign"] if one["verdict"] == verdict]
    file = folder / f"{withdrawal_id}-{verdict}.json"
    file.write_text(json.dumps(DAN.device.get(found["passkeys"][0])))
    return file


def test_a_passkeys_answer_and_a_wallets_key_approve_on_the_command_line(
    served: Served, tmp_path: Path
) -> None:
    made = asked(served.front)
    dan, fay = served.front.officer("dan"), served.front.officer("fay")
    words = ("withdrawal", "approve", made, "--yes")
    before = served.json(dan, "withdrawal", "review", made)
    assert (before["given"], before["complete"]) == ("-", False)
    assert (before["simulation"], before["differences"]) == ("as_approved", "none")
    answer = answered(served, made, tmp_path, "approve")
    assert served.json(dan, *words, "--passkey", str(answer))["state"] == "held"
    key = ("--key", str(tmp_path / "fay.pem"))
    assert served.json(fay, *words, *key)["state"] == "approved"
    assert served.front.house.withdrawal(WithdrawalId(made)).state.value == "approved"
    after = served.json(dan, "withdrawal", "review", made)
    assert after["given"] == "dan approve by webauthn, fay approve by eip712"
    assert after["complete"] is True


def test_an_answer_to_something_else_is_not_even_handed_in(served: Served, tmp_path: Path) -> None:
    made, twin = asked(served.front, "w-1"), asked(served.front, "w-2")
    dan = served.front.officer("dan")
    for file, words in (
        (answered(served, twin, tmp_path, "approve"), ()),
        (answered(served, made, tmp_path, "approve"), ("--reject",)),
        (answered(served, made, tmp_path, "reject"), ()),
    ):
        done = served.run(
            dan, "withdrawal", "approve", made, "--yes", *words, "--passkey", str(file)
        )
        assert done.exit_code == Exit.VERIFICATION, done.output
    neither = served.run(dan, "withdrawal", "approve", made, "--yes")
    assert neither.exit_code == Exit.USAGE
    assert dan.get(f"/v1/approvals/{made}").json()["given"] == []
    no = answered(served, made, tmp_path, "reject")
    last = ("withdrawal", "approve", made, "--yes", "--reject", "--passkey", str(no))
    assert served.json(dan, *last)["state"] == "rejected"
