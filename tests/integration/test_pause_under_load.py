"""A running platform pays as fast as it can; an officer pauses it; nothing is signed any more."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.main import app
from app.demo.stage import Stage, open_stage
from app.devsetup import CHAIN, OFFICERS, fund_wallets
from app.signer_client import SignerClient
from chains.base import SpendKind
from core.errors import Reason
from core.ids import WithdrawalId
from core.money import parse_amount
from custody.keys.authority import Approvals
from custody.keys.guard import SignRequest
from custody.keys.log_file import whole_log
from custody.keys.roster import Verdict
from custody.keys.signers.base import KeyRef
from custody.spending import drafts
from custody.spending import rows as spending
from custody.withdrawals import approvals, states
from custody.withdrawals.states import WithdrawalState

NATIVE = f"{CHAIN}/native"
COIN = 10**18
PAYMENTS = 40
SIGNED_FIRST = 8
"""Payments signed before the pause: the control."""
LOOKS_ON_S = 6.0
PROMISED_S = 5.0


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("loaded") / "platform"
    with open_stage(folder, lambda _line: None) as opened:
        fund_wallets(opened.setup, opened.node, coins=100)
        address = opened.ask("alice", "POST", "/v1/deposit-addresses", key="a", chain=CHAIN)
        opened.deployer.pay(address["address"], 50 * COIN)
        opened.wait_for("a credit", partial(has, opened, 50 * COIN))
        yield opened


def has(stage: Stage, amount: int) -> bool:
    rows = stage.ask("alice", "GET", "/v1/balances")["data"]
    texts = [row["available"] for row in rows if row["asset"] == NATIVE]
    return sum(parse_amount(text, 18) for text in texts) >= amount


def state(stage: Stage, withdrawal_id: str) -> WithdrawalState:
    with stage.db.read() as conn:
        return states.get(conn, WithdrawalId(withdrawal_id)).state


def request(stage: Stage, number: int) -> str:
    asked = stage.ask(
        "alice", "POST", "/v1/withdrawals", key=f"w-{number}", asset=NATIVE,
        destination=stage.deployer.accounts[7], amount=f"0.{100 + number}",
    )  # fmt: skip
    return str(asked["withdrawal_id"])


def approve(stage: Stage, withdrawal_id: str) -> None:
    stage.wait_for("the hold", lambda: state(stage, withdrawal_id) is WithdrawalState.HELD)
    for person in OFFICERS[:2]:
        stage.judge(person, withdrawal_id, Verdict.APPROVE)


def command(stage: Stage, *words: str) -> dict[str, object]:
    """Run a command as the first officer does at his own machine."""
    environment = {
        "STRONGROOM_URL": stage.setup.http_url,
        "STRONGROOM_API_KEY_FILE": str(stage.setup.token_file(OFFICERS[0])),
    }
    told = CliRunner(env=environment).invoke(app, ["-o", "json", "-q", *words])
    assert told.exit_code == 0, told.output
    page: dict[str, object] = json.loads(told.stdout)
    return page


def signed_payments(signer: SignerClient) -> dict[str, int]:
    """Return when each withdrawal was signed, by the signer's own log."""
    return {
        entry.record.cause_id: entry.record.signed_at_ns
        for entry in whole_log(signer)
        if entry.record.kind == SpendKind.WITHDRAWAL
    }


def asked_again(stage: Stage, withdrawal_id: str) -> SignRequest:
    """Return the request by which a payment was signed, as the platform has it in its tables."""
    with stage.db.read() as conn:
        row = states.get(conn, WithdrawalId(withdrawal_id))
        spend = spending.find_by_cause(conn, withdrawal_id, SpendKind.WITHDRAWAL)
        assert spend is not None
        unsigned = drafts.draft(conn, spend, 1, cancels=False)
        given = tuple(approvals.of(conn, row.withdrawal_id))
    assert unsigned is not None
    authority = Approvals(approvals.intent_of(row), given)
    return SignRequest(spend.intent, authority, unsigned, KeyRef(spend.account, spend.key_index))


def hammer(signer: SignerClient, asked: SignRequest, over: threading.Event) -> list[float]:
    """Ask for one signature again and again; return when it was given out."""
    given = []
    while not over.is_set():
        (answer,) = signer.sign([asked])
        if isinstance(answer, bytes):
            given.append(time.monotonic())
        else:
            assert answer.reason is Reason.PAUSED, answer
    return given


def test_after_pause_returns_no_signature_is_made_or_given_out(
    stage: Stage, tmp_path: Path
) -> None:
    signer = SignerClient(stage.setup.settings().signer.socket)
    over = threading.Event()
    with contextlib.closing(signer), ThreadPoolExecutor(2) as pool:
        try:
            payments = [request(stage, number) for number in range(PAYMENTS)]
            for withdrawal_id in payments:
                approve(stage, withdrawal_id)
            stage.wait_for("payments", lambda: len(signed_payments(signer)) >= SIGNED_FIRST)
            first = next(iter(signed_payments(signer)))
            # Whoever holds the platform goes on asking, past everything that would stop it.
            thieves = [
                pool.submit(hammer, signer, asked_again(stage, first), over) for _ in range(2)
            ]
            late = [request(stage, PAYMENTS + number) for number in range(PAYMENTS)]
            for withdrawal_id in late:
                approve(stage, withdrawal_id)
            told = command(
                stage, "control", "pause", "platform", "--key",
                str(stage.setup.officer_key_file(OFFICERS[0])), "--because", "a drill",
            )  # fmt: skip
            returned, returned_ns = time.monotonic(), time.time_ns()
            deadline = returned + LOOKS_ON_S
            while time.monotonic() < deadline:
                stage.node.mine()
                time.sleep(0.2)
        finally:
            over.set()
        made = signed_payments(signer)
        given = [at for thief in thieves for at in thief.result(30)]
    assert told["signer_told"] is True
    assert given, "the control: before the pause signatures were given out"
    last_given_s = max(given) - returned
    last_made_s = (max(made.values()) - returned_ns) / 1e9
    print(
        f"{len(made)} payments signed; last made {last_made_s:.3f} s, last given out "
        f"{last_given_s:.3f} s after the pause returned"
    )
    assert last_made_s <= 0
    assert last_given_s < PROMISED_S / 5
    unpaid = [one for one in [*payments, *late] if one not in made]
    assert unpaid, "nothing was left to stop"
    assert len(made) >= SIGNED_FIRST
    _resume(stage, tmp_path, str(told["stop_id"]))
    stage.wait_for(
        "everything to be paid",
        lambda: all(state(stage, one) is WithdrawalState.CONFIRMED for one in [*payments, *late]),
    )


def _resume(stage: Stage, folder: Path, stop_id: str) -> None:
    file = folder / "resume"
    drafted = command(stage, "control", "resume", "platform", "--stop", stop_id)
    file.write_text(str(drafted["statement"]))
    words = ["control", "send", str(file)]
    for person in OFFICERS[:2]:
        key = str(stage.setup.officer_key_file(person))
        signed = command(stage, "statement", "sign", str(file), "--key", key)
        words += ["--signature", str(signed["signature"])]
    assert command(stage, *words)["kind"] == "resume"
