"""`strongroom demo run`: every scene, the proof of reserves, the equations, and a report."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

from app import equations
from app.bootstrap import Platform
from app.demo import page, scenes, scenes_beside
from app.demo.report import AssetLine, DemoReport, write
from app.demo.stage import CUSTOMERS, Stage, Tell, open_stage
from app.opening import open_platform
from core.errors import Corrupt
from custody import catalogue
from custody.ledger import balances
from custody.ledger.chart import AccountKind
from custody.reserves import report as reserves
from custody.reserves import verify
from custody.reserves.publish import Prover, Published, publish
from engine.files import DiskStorage
from indexers.reconcile import reconcile

FOLDER = Path("var/demo")
VERIFIER_REFUTES = 8


def run(folder: Path, tell: Tell) -> DemoReport:
    """Run the whole way and write report.json and report.html into the folder.

    Unavailable: a part did not answer in time. The report says whether every equation holds.
    """
    for old in ("reserves", "leaves"):
        shutil.rmtree(folder / old, ignore_errors=True)
        (folder / old).mkdir(parents=True)
    with open_stage(folder / "platform", tell, with_others=True) as stage:
        stage.report.chains = len(stage.setup.chains)
        scenes.fund_own_wallets(stage)
        addresses = scenes.issue_addresses(stage, CUSTOMERS)
        scenes.deposit(stage, addresses)
        scenes_beside.reorganise(stage, addresses["alice"])
        scenes_beside.deposit(stage)
        scenes.trade(stage)
        scenes.sweep(stage)
        scenes.withdraw(stage)
        scenes_beside.withdraw(stage)
        scenes.settle(stage)
        scenes_beside.sweeps(stage)
        stage.stop_processes()
        _finish(stage, folder)
        stage.report.seconds_ms = stage.elapsed_ms()
        write(stage.report, folder, page.page(stage.report))
        return stage.report


def _finish(stage: Stage, folder: Path) -> None:
    settings = stage.setup.settings()
    platform = open_platform(settings)
    with contextlib.closing(platform):
        published = _prove_reserves(stage, platform, folder)
        journal = DiskStorage(settings.data.folder / "journal")
        stage.report.equations += equations.check(
            platform, journal, published=published.sealed.data
        )
        stage.report.assets += _asset_lines(platform)


def _prove_reserves(stage: Stage, platform: Platform, folder: Path) -> Published:
    """Publish a report; the stand-alone verifier judges it, its proofs and a changed copy."""
    provers = {
        chain_id: Prover(home.chain, platform.signer) for chain_id, home in platform.chains.items()
    }
    published = publish(
        platform.db, provers, entity="Strongroom demo", folder=folder / "reserves",
        leaves_folder=folder / "leaves", clock=platform.clock, entropy=platform.entropy,
    )  # fmt: skip
    verdicts = {}
    for leaf in published.tree.leaves:
        proof = folder / "reserves" / f"proof-{leaf.customer_no}.json"
        proof.write_bytes(reserves.proof_file(published.sealed, published.tree, leaf.customer_no))
        code = _verify(published.path, proof)
        verdicts[f"customer {leaf.customer_no}"] = f"exit {code}"
        if code:
            raise Corrupt(f"the proof of customer {leaf.customer_no} does not verify")
    changed = folder / "reserves-changed.json"
    data = published.path.read_bytes()
    place = data.index(b'"equity":"') + len(b'"equity":"')
    other = b"8" if data[place : place + 1] == b"9" else b"9"
    changed.write_bytes(data[:place] + other + data[place + 1 :])
    refuted = _verify(changed)
    if refuted != VERIFIER_REFUTES:
        raise Corrupt("the verifier accepts a changed report")
    stage.note(
        "An auditor's proof of reserves verifies; with one digit changed it does not",
        root=published.sealed.root, report=published.sealed.link.hash, file=published.path,
        changed_copy=f"exit {refuted}", **verdicts,
    )  # fmt: skip
    return published


def _verify(*files: Path) -> int:
    """Run the verifier as a stranger would: alone, isolated, offline."""
    command = [sys.executable, "-I", "-S", str(verify.__file__), *map(str, files)]
    return subprocess.run(command, capture_output=True, check=False).returncode


def _asset_lines(platform: Platform) -> list[AssetLine]:
    on_chain: dict[int, int] = {}
    for home in platform.chains.values():
        for line in reconcile(platform.db, home.chain).lines:
            on_chain[line.asset_no] = on_chain.get(line.asset_no, 0) + line.on_chain
    with platform.db.read() as conn:
        totals = balances.totals(conn)
        owed = balances.liabilities(conn)
        listed = catalogue.all_assets(conn)
    return [
        AssetLine(
            symbol=asset.spec.symbol,
            scale=asset.spec.scale,
            liabilities=owed.get(asset.asset_no, 0),
            on_chain=on_chain.get(asset.asset_no, 0),
            **{
                kind.value: totals.get((kind, asset.asset_no), 0)
                for kind in (
                    AccountKind.FEE_INCOME,
                    AccountKind.NETWORK_FEES,
                    AccountKind.SUSPENSE,
                    AccountKind.EQUITY,
                )
            },
        )
        for asset in listed
    ]
