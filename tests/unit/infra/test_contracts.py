"""Each contract of contracts/src does the one thing it was written for, on a real node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak

from infra.devnet.deploy import Contract, Deployer, TransactionFailed
from infra.devnet.nodes import RpcRefused
from infra.devnet.solidity import CompilationFailed, artifacts

TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
ENOUGH_GAS = 500_000


def new_address(number: int) -> str:
    """Return an address nobody used."""
    return "0x" + number.to_bytes(20, "big").hex()


ALICE, BOB = new_address(0xA11CE), new_address(0xB0B)


def error(signature: str) -> str:
    """Return how the node names a contract's own error."""
    return "custom error 0x" + keccak(text=signature)[:4].hex()


def balance(contracts: Deployer, address: str) -> int:
    """Return the native coin of an address."""
    return int(contracts.node.call("eth_getBalance", address, "latest"), 16)


def claims(contracts: Deployer, transaction: str) -> list[tuple[str, int]]:
    """Return (recipient, value) of every well-formed transfer event of a transaction."""
    return [
        ("0x" + log["topics"][2][-40:], int(log["data"], 16))
        for log in contracts.receipt(transaction)["logs"]
        if log["topics"][0] == TRANSFER and len(log["topics"]) == 3 and len(log["data"]) == 66
    ]


def minted(contracts: Deployer, name: str, *arguments: object) -> Contract:
    """Deploy a token of which its creator has a million units."""
    token = contracts.deploy(name, *arguments)
    token.send("mint", token.creator, 1_000_000)
    return token


def test_the_demo_token_is_honest(contracts: Deployer) -> None:
    token = minted(contracts, "DemoToken", "Demo Dollar", "USDX", 6)
    assert (token.ask("symbol"), token.ask("decimals")) == ("USDX", 6)
    sent = token.send("transfer", ALICE, 250)
    assert claims(contracts, sent) == [(ALICE, 250)]
    assert token.ask("balanceOf", ALICE) == 250
    with pytest.raises(RpcRefused, match=error("OwnableUnauthorizedAccount(address)")):
        token.send("mint", ALICE, 1, sender=contracts.accounts[1])


@pytest.mark.parametrize(
    ("form", "claimed", "delivered"), [(0, [], 0), (1, [(ALICE, 100)], 0), (2, [(ALICE, 100)], 50)]
)
def test_the_false_token_answers_false(
    contracts: Deployer, form: int, claimed: list[tuple[str, int]], delivered: int
) -> None:
    token = minted(contracts, "FalseToken", form)
    assert token.ask("transfer", ALICE, 100) is False
    assert claims(contracts, token.send("transfer", ALICE, 100)) == claimed
    assert token.ask("balanceOf", ALICE) == delivered


@pytest.mark.parametrize(("honest", "claimed"), [(True, 98), (False, 100)])
def test_the_fee_token_keeps_two_percent(contracts: Deployer, honest: bool, claimed: int) -> None:
    token = minted(contracts, "FeeToken", honest)
    sent = token.send("transfer", ALICE, 100)
    assert claims(contracts, sent)[0] == (ALICE, claimed)
    assert token.ask("balanceOf", ALICE) == 98


def test_the_rebasing_token_changes_balances_without_an_event(contracts: Deployer) -> None:
    token = minted(contracts, "RebasingToken")
    token.send("transfer", ALICE, 100)
    assert claims(contracts, token.send("rebase", 3, 2)) == []
    assert token.ask("balanceOf", ALICE) == 150


def test_the_no_return_token_moves_and_answers_nothing(contracts: Deployer) -> None:
    token = minted(contracts, "NoReturnToken")
    call = {"from": token.creator, "to": token.address, "data": token.data("transfer", ALICE, 9)}
    assert contracts.node.call("eth_call", call, "latest") == "0x"
    assert claims(contracts, token.send("transfer", ALICE, 9)) == [(ALICE, 9)]
    assert token.ask("balanceOf", ALICE) == 9


def test_the_counterfeit_claims_a_name_and_payments(contracts: Deployer) -> None:
    real = contracts.deploy("DemoToken", "Demo Dollar", "USDX", 6)
    copy = contracts.deploy("CounterfeitToken", "Demo Dollar", "USDX")
    assert (copy.ask("name"), copy.ask("symbol")) == (real.ask("name"), real.ask("symbol"))
    assert claims(contracts, copy.send("pretend", BOB, ALICE, 5)) == [(ALICE, 5)]
    assert copy.ask("balanceOf", ALICE) == 0


def test_the_pausable_token_stops_everybody_or_somebody(contracts: Deployer) -> None:
    token = minted(contracts, "PausableBlocklistToken")
    token.send("transfer", ALICE, 1)
    token.send("setBlocked", ALICE, True)
    with pytest.raises(RpcRefused, match=error("OwnerIsBlocked(address)")):
        token.send("transfer", ALICE, 1)
    token.send("transfer", BOB, 1)
    token.send("setPaused", True)
    with pytest.raises(RpcRefused, match=error("TransfersArePaused()")):
        token.send("transfer", BOB, 1)
    failed = token.send("transfer", BOB, 1, gas=ENOUGH_GAS)
    with pytest.raises(TransactionFailed):
        contracts.receipt(failed)
    assert (token.ask("balanceOf", ALICE), token.ask("balanceOf", BOB)) == (1, 1)


def odd_log(contracts: Deployer, function: str, *arguments: object) -> dict[str, Any]:
    """Return the one log that a trick emits."""
    odd = contracts.deploy("OddLogs")
    (log,) = contracts.receipt(odd.send(function, *arguments))["logs"]
    assert isinstance(log, dict)
    return log


def test_odd_logs_look_like_transfers_and_are_none(contracts: Deployer) -> None:
    four = odd_log(contracts, "fourTopics", BOB, ALICE, 7)
    assert (len(four["topics"]), four["data"]) == (4, "0x")
    short = {n: odd_log(contracts, "dataOfLength", BOB, ALICE, n) for n in (0, 16, 31, 64)}
    for length, log in short.items():
        assert (len(log["topics"]), len(log["data"])) == (3, 2 + 2 * length)
    dirty = odd_log(contracts, "dirtyRecipient", BOB, ALICE, 7)
    assert dirty["topics"][2] != "0x" + "00" * 12 + ALICE[2:]
    assert dirty["topics"][2][-40:] == ALICE[2:]
    bare = odd_log(contracts, "nothingIndexed", BOB, ALICE, 7)
    assert (len(bare["topics"]), len(bare["data"])) == (1, 2 + 192)
    for log in (four, *short.values(), dirty, bare):
        assert log["topics"][0] == TRANSFER
    assert odd_log(contracts, "raw", [], b"\x01")["topics"] == []


def test_the_payer_pays_from_inside(contracts: Deployer) -> None:
    payer = contracts.deploy("Payer")
    token = minted(contracts, "DemoToken", "Demo Dollar", "USDX", 6)
    payer.send("pay", [ALICE, BOB, ALICE], [1, 2, 4], value=7)
    assert (balance(contracts, ALICE), balance(contracts, BOB)) == (5, 2)
    payer.send("payDeep", ALICE, 10, 5, value=10)
    assert balance(contracts, ALICE) == 15
    token.send("approve", payer.address, 6)
    sent = payer.send("payToken", token.address, [ALICE, BOB, ALICE], [1, 2, 3])
    assert claims(contracts, sent) == [(ALICE, 1), (BOB, 2), (ALICE, 3)]


@pytest.mark.parametrize("function", ["payInsideARevertingFrame", "paySucceedingInsideReverting"])
def test_the_payer_pays_nobody_in_a_frame_that_reverts(contracts: Deployer, function: str) -> None:
    payer = contracts.deploy("Payer")
    sent = payer.send(function, ALICE, 10, value=10)
    assert contracts.receipt(sent)["status"] == "0x1"
    assert balance(contracts, ALICE) == 0
    trace = contracts.node.call("debug_traceTransaction", sent, {"tracer": "callTracer"})
    assert ALICE in str(trace)


def test_the_payer_keeps_one_payment_and_undoes_another(contracts: Deployer) -> None:
    payer = contracts.deploy("Payer")
    payer.send("payOneAndUndoOne", ALICE, BOB, 10, value=20)
    assert (balance(contracts, ALICE), balance(contracts, BOB)) == (10, 0)


def test_the_payer_fails_as_a_whole_when_the_outer_call_reverts(contracts: Deployer) -> None:
    payer = contracts.deploy("Payer")
    sent = payer.send("payThenRevert", ALICE, 10, value=10, gas=ENOUGH_GAS)
    with pytest.raises(TransactionFailed):
        contracts.receipt(sent)
    assert balance(contracts, ALICE) == 0


def test_the_forcer_needs_nobody_s_consent(contracts: Deployer) -> None:
    refusing = contracts.deploy("Receiver", 1)
    with pytest.raises(RpcRefused, match=error("Refused()")):
        contracts.pay(refusing.address, 5)
    contracts.deploy("ForcerMaker").send("force", refusing.address, value=5)
    contracts.deploy("Forcer", refusing.address, value=6)
    assert balance(contracts, refusing.address) == 11


def test_the_receiver_has_its_moods(contracts: Deployer) -> None:
    receiver = contracts.deploy("Receiver", 0)
    contracts.receipt(contracts.pay(receiver.address, 5))
    receiver.send("setMood", 3)
    contracts.receipt(contracts.pay(receiver.address, 5))
    assert receiver.ask("received") == 5
    receiver.send("setMood", 2)
    with pytest.raises(RpcRefused):
        contracts.pay(receiver.address, 5)


def test_a_warning_of_the_compiler_stops_the_build(tmp_path: Path) -> None:
    (tmp_path / "X.sol").write_text(
        "// SPDX-License-Identifier: Apache-2.0\npragma solidity 0.8.37;\n"
        "contract X { function f() external { uint256 unused = 1; } }\n"
    )
    with pytest.raises(CompilationFailed, match="Unused local variable"):
        artifacts(tmp_path, tmp_path / "cache")


def test_artefacts_are_compiled_once_for_one_cause(tmp_path: Path) -> None:
    source = "// SPDX-License-Identifier: Apache-2.0\npragma solidity 0.8.37;\ncontract X {}\n"
    (tmp_path / "X.sol").write_text(source)
    first = artifacts(tmp_path, tmp_path / "cache")
    (stored,) = (tmp_path / "cache").iterdir()
    written = stored.stat().st_mtime_ns
    assert artifacts(tmp_path, tmp_path / "cache") == first
    assert stored.stat().st_mtime_ns == written
    (tmp_path / "X.sol").write_text(source.replace("contract X {}", "contract Y {}"))
    assert [*artifacts(tmp_path, tmp_path / "cache")] == ["Y"]
