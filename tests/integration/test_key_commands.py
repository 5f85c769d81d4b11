"""`strongroom keys` against running processes: a drill, and a wallet that moves to new keys."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.children import Child, process_arguments
from app.devsetup import CHAIN, DevSetup, fund_wallets, make_dev
from app.up import wait_until_live
from core.clock import SystemClock
from custody.keys.drill_log import DrillLog
from custody.keys.officer_keys import load_officer_key
from custody.keys.roster import Roster, Rotation
from custody.keys.roster_files import (
    SignedRoster,
    file_name,
    newest,
    render_file,
    sign_roster,
)
from infra.devnet.nodes import AnvilNode, start_anvil
from infra.devnet.servers import free_port
from tests.unit.custody.keys.officers import next_roster

STRONGROOM = str(Path(sys.executable).with_name("strongroom"))
WAIT_S = 120.0
OFFICERS = ("ada", "ben")


@pytest.fixture(scope="module")
def node() -> Iterator[AnvilNode]:
    with start_anvil() as running:
        yield running


@pytest.fixture(scope="module")
def setup(node: AnvilNode, tmp_path_factory: pytest.TempPathFactory) -> DevSetup:
    """Make a setup whose newest roster retires the hot wallet's first keys."""
    folder = tmp_path_factory.mktemp("keys") / "dev"
    made = make_dev(folder, node, http_port=free_port())
    fund_wallets(made, node)
    first = newest(folder / "rosters").roster
    second = next_roster(first, rotations=(Rotation(CHAIN, "hot", 2),))
    assert first.hash.hex() in made.config_file.read_text()
    done = cli(made, "keys", "export", folder / "accounts-2.toml", "--account", "hot.2")
    assert done.returncode == 0, done.stderr
    pin(made, first, second)
    return made


def pin(made: DevSetup, first: Roster, second: Roster) -> None:
    """Sign the second roster by the first one's quorum and name it and the accounts anew."""
    keys = [load_officer_key(made.officer_key_file(person)) for person in OFFICERS]
    signed = SignedRoster(second, tuple(sign_roster(key, second) for key in keys))
    (made.folder / "rosters" / file_name(2)).write_bytes(render_file(signed))
    text = made.config_file.read_text("utf-8")
    text = text.replace(first.hash.hex(), second.hash.hex())
    text = text.replace('"accounts.toml"', '"accounts-2.toml"')
    made.config_file.write_text(text, "utf-8")


@pytest.fixture(scope="module")
def running(setup: DevSetup) -> Iterator[DevSetup]:
    """Run signer, engine and worker under the new roster."""
    children = [
        Child(
            name,
            process_arguments(setup.config_file, name),
            log_file=setup.folder / f"{name}.log",
        )
        for name in ("signer", "engine", "worker")
    ]
    try:
        for child in children:
            child.start()
        wait_until_live(setup, children)
        yield setup
    finally:
        for child in children:
            child.kill()


def cli(setup: DevSetup, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a command as a person would, with its answer as JSON."""
    command = [STRONGROOM, "--config", setup.config_file, "-o", "json", *words]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True)


def wait_for(what: str, is_true: Callable[[], bool], node: AnvilNode) -> None:
    """Mine until something holds."""
    deadline = time.monotonic() + WAIT_S
    while not is_true():
        assert time.monotonic() < deadline, f"{what} never came"
        node.mine(2)
        time.sleep(0.3)


def balance(node: AnvilNode, address: str) -> int:
    return int(node.call("eth_getBalance", address, "latest"), 16)


def test_a_wallet_moves_and_then_every_wallet_proves_control(
    running: DevSetup, node: AnvilNode, tmp_path: Path
) -> None:
    ask = ("keys", "rotate", "ask", CHAIN, "hot", "--name", "rot-1", "--by", "olga")
    asked = cli(running, *ask, "--to", tmp_path)
    assert asked.returncode == 0, asked.stderr
    intent = tmp_path / "rot-1-1.intent"
    answers = []
    for person in OFFICERS:
        key = running.officer_key_file(person)
        done = cli(running, "officer", "approve", intent, "--key", key)
        answers += ["--approval", str(tmp_path / f"{person}.json")]
        (tmp_path / f"{person}.json").write_text(done.stdout)

    send = ("keys", "rotate", "send", CHAIN, "hot", intent)
    alone = cli(running, *send, *answers[:2])
    assert (alone.returncode, json.loads(alone.stdout)["code"]) == (5, "quorum_not_met")
    sent = json.loads(cli(running, *send, *answers).stdout)
    assert sent["to"].startswith("hot.2 0x")
    there = sent["to"].split()[1]
    wait_for("the money", lambda: balance(node, there) == int(sent["amount_minor"]) > 0, node)

    log = tmp_path / "drills.log"
    by = f"ada={running.officer_key_file('ada')}"
    done = cli(running, "keys", "drill", "2026-q4", "--by", by, "--log", log)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {row["verdict"] for row in rows} == {"proven"}
    assert there in {row["where"] for row in rows}
    records = DrillLog(log, SystemClock()).records()
    assert {record.detail["key"] for record in records} == {"hot/0", "hot.2/0", "gas/0"}

    cli(running, "keys", "log", "export", tmp_path / "log")
    checked = cli(running, "keys", "log", "verify", tmp_path / "log")
    assert checked.returncode == 0, checked.stdout
