"""A whole platform over real nodes that spend coins, for the cases of threats.md."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from app import equations
from chains.base import NATIVE, AssetSpec
from chains.bitcoin.chain import BitcoinChain
from chains.bitcoin.opening import open_bitcoin
from chains.bitcoin.params import NETWORKS
from chains.bitcoin.tx import Tx, TxOut
from chains.registry import ChainConfig
from core.errors import Unavailable
from core.ids import ChainId, CustomerNo
from custody import chain_state, deposit_rows, pending
from custody.deposit_rows import Deposit
from custody.pending import Pending
from custody.withdrawals.workflow import WithdrawalTerms
from infra.devnet.coin_nodes import MINER_WITNESS, CoreNode, start_core
from infra.devnet.servers import free_port
from sweeper.policy import SweepRules
from tests.support.databases import Databases
from tests.support.house import House, open_house

CHAIN = ChainId("coins")
NEVER = 1 << 60
CONFIRMATIONS = 3
WAIT_S = 30


@dataclass(slots=True)
class CoinScene:
    """One platform on some nodes; `node` is where blocks are made."""

    node: CoreNode
    chain: BitcoinChain
    house: House
    refused: list[Unavailable] = field(default_factory=list)
    """What steps could not do for the world's sake."""

    def run(self, rounds: int = 1) -> None:
        """Run every step as the worker's loop does: go on where one is Unavailable."""
        for _ in range(rounds):
            for step in self.house.steps():
                try:
                    step.run()
                except Unavailable as error:
                    self.refused.append(error)
            self.house.clock.advance(1_000_000_000)

    def settle(self, blocks: int = CONFIRMATIONS + 1) -> None:
        """Make blocks, with rounds between them."""
        self.run(2)
        for _ in range(blocks):
            self.node.mine()
            self.run(2)

    def customer(self, name: str) -> tuple[CustomerNo, str]:
        """Return a customer and an address of his."""
        number = self.house.customer(name)
        return number, self.house.address(number)

    def credited(self, customer: CustomerNo) -> int:
        """Return a customer's free balance in the books."""
        return self.house.balance(customer, NATIVE)

    def deposits(self, customer: CustomerNo | None = None) -> list[Deposit]:
        """Return the deposit rows of a customer, or of everybody."""
        with self.house.platform.db.read() as conn:
            return deposit_rows.list_deposits(conn, customer_no=customer, chain=CHAIN, limit=1_000)

    def waiting(self) -> list[Pending]:
        """Return what is shown as waiting for a block."""
        with self.house.platform.db.read() as conn:
            return pending.of_customer(conn, None)

    def followed(self) -> dict[int, str]:
        """Return the blocks that the follower holds, by height."""
        with self.house.platform.db.read() as conn:
            return {ref.height: ref.hash for ref in chain_state.followed(conn, CHAIN, limit=10_000)}

    def assert_gapless(self) -> None:
        """Compare every followed block with the node's."""
        held = self.followed()
        assert sorted(held) == list(range(min(held), self.node.height() + 1))
        for height in sorted(held)[-20:]:
            assert held[height] == self.node.call("getblockhash", height)

    def assert_equations_hold(self) -> None:
        """Let everything arrive, then compare books, engine, signature log and chain."""
        self.settle()
        found = equations.check(self.house.platform, self.house.storage)
        assert [each for each in found if not each.holds and each.name != "I17"] == []


@contextlib.contextmanager
def coin_scene(
    databases: Databases,
    node: CoreNode,
    urls: Sequence[str] = (),
    *,
    quorum: int = 1,
    sweep_minimum: int = NEVER,
    bands: tuple[tuple[int, int], ...] = (),
) -> Iterator[CoinScene]:
    """Open a platform over some nodes (default: the one where blocks are made)."""
    spec = AssetSpec(
        chain=CHAIN, key=NATIVE, symbol="BTC", scale=8, deposit_minimum=1_000,
        withdrawal_minimum=1_000, withdrawal_fee=500, sweep_minimum=sweep_minimum,
    )  # fmt: skip
    config = ChainConfig(
        kind="bitcoin", chain=CHAIN, node_urls=tuple(urls) or (node.url,), quorum=quorum,
        chain_number=0, genesis_hash=NETWORKS["regtest"].genesis_hash, fee_floor=1, fee_cap=500,
        tip=0, assets=(spec,), batch_max=20, confirmations=CONFIRMATIONS, bands=bands,
    )  # fmt: skip
    with (
        databases.fresh("sqlite") as url,
        contextlib.closing(open_bitcoin(config)) as chain,
        open_house(
            url, chain, [spec], terms=WithdrawalTerms(network_fee_max=100_000), sweeps=SweepRules()
        ) as house,
    ):
        yield CoinScene(node, chain, house)


@dataclass(slots=True)
class Pair:
    """Two nodes of one network that can be parted and joined again."""

    here: CoreNode
    there: CoreNode
    meeting: str

    def part(self) -> None:
        """Let neither hear of the other."""
        for node in (self.here, self.there):
            node.call("setnetworkactive", False)
        until(lambda: not self.here.call("getpeerinfo") and not self.there.call("getpeerinfo"))

    def join(self) -> None:
        """Connect them and wait until both name the same newest block."""
        for node in (self.here, self.there):
            node.call("setnetworkactive", True)
        self.here.call("addnode", self.meeting, "onetry")
        until(lambda: len({node.call("getbestblockhash") for node in (self.here, self.there)}) == 1)


@contextlib.contextmanager
def two_nodes() -> Iterator[Pair]:
    """Start two nodes that hear of each other."""
    with contextlib.ExitStack() as stack:
        meeting = f"127.0.0.1:{free_port()}"
        listening = ("-listen=1", f"-bind={meeting}", "-listenonion=0", "-discover=0")
        there = stack.enter_context(start_core(extra=listening))
        here = stack.enter_context(start_core())
        pair = Pair(here, there, meeting)
        here.call("addnode", meeting, "onetry")
        until(lambda: bool(there.call("getpeerinfo")))
        here.mine()  # leaves the first download, in which nothing is relayed
        pair.join()
        yield pair


def until(done: Callable[[], bool]) -> None:
    """Wait for something; AssertionError when it does not happen."""
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def spent_otherwise(tx: Tx, *outputs: TxOut) -> Tx:
    """Return another transaction over the same coins, which everybody may spend."""
    other = Tx(2, tx.inputs, outputs, 0)
    return other.signed(((MINER_WITNESS,),) * len(tx.inputs))
