"""The ceremony at a real terminal: what the persons see, what stays, what the process shows."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.toml_text import toml_text
from core.entropy import SystemEntropy
from custody.keys.officer_keys import officer_keygen
from custody.keys.private_file import write_private_file
from custody.keys.secret import Secret
from custody.keys.share_delivery import read_share_file
from custody.keys.shares import restore
from custody.keys.signers.keystore import open_keystore
from custody.keys.transcript import verify
from tests.support.configs import TABLES
from tests.support.typist import Typist, typist

HOLDERS = ("cy", "di", "ed", "fay", "gus")
PASSPHRASE, EXTRA = "canary keystore passphrase", "canary shares passphrase"
STRONGROOM = str(Path(sys.executable).with_name("strongroom"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "strongroom.toml").write_text(toml_text(TABLES), "utf-8")
    for person in ("ada", "ben"):
        officer_keygen(tmp_path / f"{person}.pem", entropy=SystemEntropy())
    write_private_file(tmp_path / "passphrase", PASSPHRASE.encode() + b"\n")
    return tmp_path


def words_of(place: Path, *more: str) -> list[str]:
    return [
        *("--config", str(place / "strongroom.toml"), "keys", "ceremony", "test-1"),
        *("--presiding", f"ada={place / 'ada.pem'}", "--witness", f"ben={place / 'ben.pem'}"),
        *(word for holder in HOLDERS for word in ("--holder", holder)),
        *("--transcript", str(place / "transcript.txt"), "--xpubs", str(place / "xpubs.toml")),
        *("--keystore", str(place / "keystore"), *more),
    ]


@pytest.fixture
def table(place: Path) -> Iterator[Typist]:
    with typist(*words_of(place, "--with-passphrase"), cwd=str(place)) as person:
        yield person


def read_page(table: Typist) -> list[str]:
    page = table.wait_for("Enter wipes this page. ")
    found = sorted((int(n), word) for n, word in re.findall(r"(\d+)\. ([a-z]+)", page))
    assert [place for place, _ in found] == list(range(1, 34))
    return [word for _, word in found]


def open_it(table: Typist) -> None:
    for question in ("New passphrase of keystore: ", "Again: "):
        table.wait_for(question)
        table.type(PASSPHRASE)
    table.wait_for("nobody else? [yes/no] ")
    table.type("yes")
    for question in ("  Passphrase: ", "  Again: "):
        table.wait_for(question)
        table.type(EXTRA)


def hand_out(table: Typist) -> list[list[str]]:
    papers = []
    for holder in HOLDERS:
        table.wait_for(f"Does {holder} sit here, alone, with pen and paper? [yes/no] ")
        table.type("yes")
        papers.append(read_page(table))
        table.type("")
        table.wait_for("shows the share again.\r\n\r\n")
        for first in range(0, 33, 11):
            table.type(" ".join(word[:4] for word in papers[-1][first : first + 11]))
    return papers


def test_K07_a_ceremony_at_a_terminal(place: Path, table: Typist) -> None:
    before = {path.name for path in place.iterdir()}
    open_it(table)
    papers = hand_out(table)
    process = Path(f"/proc/{table.process.pid}")
    outside = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    assert {path.name for path in place.iterdir()} == before, "nothing was written so far"
    table.wait_for("as its keeper wrote it down: ")
    table.type(EXTRA)
    table.wait_for("is what stands above what you saw? [yes/no] ")
    table.type("yes")
    assert table.finish() == 0

    made = {path.name for path in place.iterdir()} - before
    assert made == {"transcript.txt", "xpubs.toml", "keystore"}
    shares = [Secret(" ".join(paper).encode()) for paper in papers]
    seed = restore(shares[1:4], Secret(EXTRA.encode()))
    assert seed == open_keystore(place / "keystore", Secret(PASSPHRASE.encode()))

    secrets = {" ".join(paper[start : start + 3]) for paper in papers for start in range(4, 30)}
    secrets |= {PASSPHRASE, EXTRA, seed.reveal().hex()}
    written = "".join((place / name).read_text() for name in ("transcript.txt", "xpubs.toml"))
    for text in (table.stays, written, outside.decode()):
        assert not [secret for secret in secrets if secret in text]
    assert len(table.pages) == 2 * len(HOLDERS), "each share was shown once and typed once"
    assert "10 of 10 sets of 3 shares restored the addresses below" in table.stays
    signed = verify((place / "transcript.txt").read_bytes())
    assert signed.transcript.holders == HOLDERS
    assert signed.transcript.accounts[1].addresses[0] in table.stays


def test_an_interrupt_wipes_the_page_and_leaves_nothing(place: Path, table: Typist) -> None:
    before = {path.name for path in place.iterdir()}
    open_it(table)
    table.wait_for("Does cy sit here, alone, with pen and paper? [yes/no] ")
    table.type("yes")
    words = read_page(table)
    table.process.terminate()
    assert table.finish() != 0
    assert {path.name for path in place.iterdir()} == before
    assert " ".join(words[4:6]) not in table.stays
    assert len(table.pages) == 1, "the page was left and wiped"


def test_without_a_terminal_no_share_is_shown(place: Path) -> None:
    command = [STRONGROOM, *words_of(place, "--passphrase-file", str(place / "passphrase"))]
    done = subprocess.run(
        command, capture_output=True, stdin=subprocess.DEVNULL, start_new_session=True, text=True
    )
    assert done.returncode == 5
    assert done.stderr == ("error: forbidden: shares are shown on a terminal, and here is none\n")
    assert not (place / "keystore").exists()


def test_shares_go_to_files_when_that_is_asked_for(place: Path) -> None:
    more = ("--passphrase-file", str(place / "passphrase"), "--share-files", str(place / "shares"))
    done = subprocess.run(
        [STRONGROOM, *words_of(place, *more)],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    shares = [read_share_file(path) for path in sorted((place / "shares").iterdir())]
    assert restore(shares[:3]) == open_keystore(place / "keystore", Secret(PASSPHRASE.encode()))
    assert not [share for share in shares if share.reveal().decode() in done.stdout + done.stderr]

    check = [STRONGROOM, "keys", "transcript", "verify", str(place / "transcript.txt")]
    good = subprocess.run(check, capture_output=True, text=True)
    assert good.returncode == 0
    assert "compare by hand" in good.stdout
    strangers = subprocess.run([*check, "--officer-key", "00" * 32], capture_output=True, text=True)
    assert strangers.returncode == 5
    again = subprocess.run([STRONGROOM, *words_of(place, *more)], capture_output=True, text=True)
    assert again.returncode == 6, "an old transcript is not overwritten"


def test_a_drill_restores_from_typed_shares_and_leaves_only_its_log(place: Path) -> None:
    more = ("--passphrase-file", str(place / "passphrase"), "--share-files", str(place / "shares"))
    command = [STRONGROOM, *words_of(place, *more)]
    subprocess.run(command, capture_output=True, check=True, start_new_session=True)
    shares = [read_share_file(path) for path in sorted((place / "shares").iterdir())]
    before = {path.name for path in place.iterdir()}
    drill = [
        *("--config", place / "strongroom.toml", "keys", "drill", "2026-q4"),
        *("--by", f"ada={place / 'ada.pem'}", "--log", place / "drills.log"),
        *("--from-shares", place / "transcript.txt"),
    ]
    with typist(*drill, cwd=str(place)) as table:
        table.wait_for("An empty line ends it.\r\n\r\n")
        table.type("academic acid")
        table.type("")
        for share in shares[2:]:
            table.wait_for("An empty line ends it.\r\n\r\n")
            table.type(share.reveal().decode())
        assert table.finish() == 0
        assert "the same addresses  shares 3 ed, 4 fay, 5 gus" in table.stays
        assert not [share for share in shares if share.reveal().decode() in table.stays]
    assert {path.name for path in place.iterdir()} - before == {"drills.log"}
    seen = subprocess.run(
        [STRONGROOM, "keys", "drills", str(place / "drills.log")], capture_output=True, text=True
    )
    assert seen.returncode == 0
    assert "ceremony test-1" in seen.stdout
