"""A node answers when it is handed over and leaves nothing behind, however its owner ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.devnet.nodes import GENESIS_TIME_S, AnvilNode, RpcRefused, start_anvil
from infra.devnet.servers import ServerFailed, free_port

ROOT = Path(__file__).resolve().parents[3]
GONE_WITHIN_S = 15

OWNER = """
import sys, time
from infra.devnet.nodes import start_anvil
node = start_anvil()
children = open(f"/proc/{node.process.keeper_pid}/task/{node.process.keeper_pid}/children").read()
print(node.process.keeper_pid, children.split()[0], node.process.folder, flush=True)
time.sleep(600)
"""


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def eventually(fact: Callable[[], bool]) -> bool:
    """Return whether fact becomes true in time."""
    deadline = time.monotonic() + GONE_WITHIN_S
    while not fact() and time.monotonic() < deadline:
        time.sleep(0.01)
    return fact()


def start_owner() -> tuple[subprocess.Popen[str], int, int, Path]:
    """Start a process that owns a node; return it with keeper, node and folder."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER], cwd=ROOT, stdout=-1, text=True)
    assert owner.stdout is not None
    keeper, node, folder = owner.stdout.readline().split()
    owner.stdout.close()
    return owner, int(keeper), int(node), Path(folder)


def test_a_stopped_node_is_gone_with_its_folder() -> None:
    node = start_anvil()
    assert node.height() == 0
    assert node.process.folder.is_dir()
    node.stop()
    assert not node.process.folder.exists()
    with pytest.raises(OSError, match="refused"):
        node.height()
    node.stop()


def test_a_killed_owner_takes_its_node_along() -> None:
    owner, keeper, node, folder = start_owner()
    assert is_alive(keeper)
    assert is_alive(node)
    owner.kill()
    owner.wait()
    assert eventually(lambda: not is_alive(node) and not is_alive(keeper))
    assert eventually(lambda: not folder.exists())


def test_a_killed_keeper_takes_its_node_along() -> None:
    owner, keeper, node, folder = start_owner()
    os.kill(keeper, signal.SIGKILL)
    assert eventually(lambda: not is_alive(node))
    owner.kill()
    owner.wait()
    # Nobody is left who could have removed it.
    for path in [*folder.iterdir()]:
        path.unlink()
    folder.rmdir()


def test_the_signals_of_a_terminal_do_not_reach_the_node() -> None:
    owner, keeper, node, folder = start_owner()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(keeper, number)
    time.sleep(0.1)
    assert is_alive(node)
    owner.kill()
    owner.wait()
    assert eventually(lambda: not is_alive(node) and not folder.exists())


def test_a_node_that_cannot_start_says_why() -> None:
    with start_anvil() as other:
        port = int(other.url.rpartition(":")[2])
        with pytest.raises(ServerFailed, match="in use"):
            start_anvil(port=port, chain_id=5)


def test_final_is_two_blocks_below_the_head(anvil: AnvilNode) -> None:
    anvil.mine(5)
    assert anvil.call("eth_getBlockByNumber", "finalized", False)["number"] == hex(3)
    assert anvil.call("eth_getBlockByNumber", "latest", False)["number"] == hex(5)


def test_a_refusal_of_the_node_is_raised(anvil: AnvilNode) -> None:
    with pytest.raises(RpcRefused, match="eth_noSuchThing") as refusal:
        anvil.call("eth_noSuchThing")
    assert refusal.value.code == -32601


def test_the_same_steps_give_the_same_block_hashes(
    start_node: Callable[..., AnvilNode],
) -> None:
    hashes = []
    for _ in range(2):
        node = start_node(no_mining=True, timestamp=GENESIS_TIME_S)
        for number in range(1, 5):
            node.mine(time_s=GENESIS_TIME_S + 12 * number)
        node.reorg(2)
        hashes.append(node.call("eth_getBlockByNumber", "latest", False)["hash"])
    assert hashes[0] == hashes[1]


def test_a_reorg_replaces_blocks_and_keeps_the_height(anvil: AnvilNode) -> None:
    anvil.mine(5)
    before = [anvil.call("eth_getBlockByNumber", hex(n), False)["hash"] for n in range(6)]
    anvil.reorg(2)
    after = [anvil.call("eth_getBlockByNumber", hex(n), False)["hash"] for n in range(6)]
    assert before[:4] == after[:4]
    assert not {*before[4:]} & {*after[4:]}
    assert anvil.call("eth_getBlockByHash", before[5], False) is None


def test_a_snapshot_brings_the_state_back_once(anvil: AnvilNode) -> None:
    someone = anvil.call("eth_accounts")[0]
    before = anvil.snapshot()
    anvil.set_balance(someone, 5)
    assert int(anvil.call("eth_getBalance", someone, "latest"), 16) == 5
    anvil.revert(before)
    assert int(anvil.call("eth_getBalance", someone, "latest"), 16) == 10_000 * 10**18
    with pytest.raises(RpcRefused, match="unknown snapshot"):
        anvil.revert(before)


def test_a_node_with_a_state_file_goes_on_where_it_stopped(tmp_path: Path) -> None:
    state = tmp_path / "devnet" / "state.json"
    with start_anvil(state=state) as node:
        node.mine(3)
        node.set_balance("0x" + "11" * 20, 77)
        head = node.call("eth_getBlockByNumber", "latest", False)["hash"]
    with start_anvil(state=state) as again:
        assert again.height() == 3
        assert again.call("eth_getBlockByNumber", "latest", False)["hash"] == head
        assert int(again.call("eth_getBalance", "0x" + "11" * 20, "latest"), 16) == 77


def test_a_node_on_a_given_port_with_a_given_clock() -> None:
    port = free_port()
    with start_anvil(port=port, block_time=1, chain_id=7, accounts=3) as node:
        assert node.url == f"http://127.0.0.1:{port}"
        assert int(node.call("eth_chainId"), 16) == 7
        assert len(node.call("eth_accounts")) == 3
        assert eventually(lambda: node.height() >= 1)
