"""A drill over a whole platform on a real node: every own wallet and customers' addresses."""

from __future__ import annotations

from pathlib import Path

from core.entropy import SystemEntropy
from custody.keys.drill import Drill, Target, prove_all, sample
from custody.keys.drill_log import Author, DrillLog
from custody.wallets import addresses
from tests.support.evm import CHAIN
from tests.support.house import officer_key
from tests.support.threats import Stage


def test_every_own_wallet_and_a_sample_of_customers_prove_control(
    stage: Stage, tmp_path: Path
) -> None:
    scene = stage()
    for name in ("alice", "bob", "cleo"):
        scene.customer(name)
    house = scene.house
    log = DrillLog(tmp_path / "drills.log", house.clock)
    author = Author("ada", officer_key("ada"))
    drill = Drill("2026-q4", "regular drill", author, log, house.clock, SystemEntropy())
    with house.platform.db.read() as conn:
        rows = addresses.all_of(conn, CHAIN)
    targets = [
        Target(row, house.home.public_key_of(row.account, row.key_index))
        for row in sample(rows, 2, drill.entropy)
    ]
    records = list(prove_all(drill, house.platform.signer, house.home.chain, targets))
    assert [record.detail["verdict"] for record in records] == ["proven"] * 4
    keys = [record.detail["key"] for record in records]
    assert {"hot/0", "gas/0"} < set(keys)
    assert len([key for key in keys if key.startswith("deposits/")]) == 2
    assert {record.detail["checked_by"] for record in records} == {"eip191, stand-alone verifier"}
