"""A whole platform on a real node, for the cases of threats.md: what a case does and looks at.

def test_case(stage: Stage) -> None:
    scene = stage(token)                 # a house on the test's node
    alice = scene.customer("alice")
    scene.contracts.pay(alice.address, ETHER)
    scene.go()                           # blocks and rounds until everything is final
    assert scene.credited(alice) == ETHER
    scene.assert_equations_hold()
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import sqlalchemy as sa

from app import equations
from app.bootstrap import with_chain
from chains.base import NATIVE, AssetSpec, SpendKind
from chains.evm import open_evm
from chains.evm.chain import EvmChain
from core.clock import ManualClock
from core.entropy import SeededEntropy
from core.errors import Unavailable
from core.ids import CustomerNo, WithdrawalId
from custody import chain_state, deposit_rows, funding
from custody.catalogue import MarketRow
from custody.chain_state import ChainState
from custody.deposit_rows import Deposit
from custody.keys.service import ENTRIES_MAX
from custody.ledger import balances
from custody.ledger.chart import AccountKind
from custody.spending import rows as spending_rows
from custody.spending.rows import Attempt, Spend
from custody.withdrawals import states, workflow
from custody.withdrawals.states import Withdrawal, WithdrawalState
from custody.withdrawals.workflow import WithdrawalTerms
from engine.files import Storage
from engine.simulated_files import SimulatedStorage
from infra.devnet.deploy import Deployer
from infra.devnet.nodes import AnvilNode
from sweeper.policy import SweepRules
from tests.support.databases import Databases
from tests.support.evm import CHAIN, ETHER, config_for, genesis_hash, listed
from tests.support.house import GAS, HOT, House, open_house

NO_SWEEPS = SweepRules(rate_max=0)
"""Rules under which nothing is ever swept, for cases about something else."""
SETTLE_TRIES = 25
PATIENT_MS = 10_000
"""How long a node may take; only cases about silence wait for it, however busy the machine is."""
BLOCKS_TO_FINALITY = 3
OUTSIDE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
"""An address that is not ours (and has no say): the second account of the test mnemonic."""


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer with his first deposit address."""

    number: CustomerNo
    address: str


@dataclass(slots=True)
class Scene:
    """One platform and its world."""

    node: AnvilNode
    contracts: Deployer
    chain: EvmChain
    house: House
    url: str
    refused: list[Unavailable] = field(default_factory=list)
    """What steps could not do for the world's sake, while `run` was told to bear it."""

    # ---- time

    def run(self, rounds: int = 1, *, bear: bool = False) -> None:
        """Run every step; with bear, go on as the worker's loop does where one is Unavailable."""
        if not bear:
            self.house.run(rounds)
            return
        for _ in range(rounds):
            for step in self.house.steps():
                try:
                    step.run()
                except Unavailable as error:
                    self.refused.append(error)
            self.house.clock.advance(1_000_000_000)

    def until(self, done: Callable[[], bool], *, tries: int = SETTLE_TRIES) -> None:
        """Run rounds, with blocks between them, until something holds; fail when it never does."""
        for _ in range(tries):
            self.run()
            if done():
                return
            self.node.mine(BLOCKS_TO_FINALITY)
        raise AssertionError(f"never came true: {self.house.problems[-5:]}")

    def go(self) -> None:
        """Let everything on its way arrive: deposits decided, spends ended, books written."""
        self.node.mine(BLOCKS_TO_FINALITY)
        self.until(self.is_settled)

    def is_settled(self) -> bool:
        """Return whether nothing is on its way (what waits for officers does not count)."""
        with self.house.platform.db.read() as conn:
            flying = spending_rows.in_states(conn, CHAIN, spending_rows.IN_FLIGHT)
            live = states.in_states(conn, [WithdrawalState.REQUESTED, *states.SEALING], chain=CHAIN)
            undecided = deposit_rows.list_deposits(conn, chain=CHAIN, states=deposit_rows.UNDECIDED)
            return not (flying or live or undecided or funding.pending(conn))

    # ---- what a case does

    def customer(self, name: str) -> Customer:
        """Open a customer with one deposit address."""
        number = self.house.customer(name)
        return Customer(number, self.house.address(number))

    def fund_wallets(self, ether: int = 10) -> None:
        """Bring native coin to the hot wallet and the gas wallet, as operators do."""
        self.contracts.pay(self.house.own_address(HOT), ether * ETHER)
        self.contracts.pay(self.house.own_address(GAS), ether * ETHER)

    def funded(self, name: str = "alice", wei: int = 3 * ETHER) -> Customer:
        """Return a customer with credited native coin, beside wallets that can pay."""
        self.fund_wallets()
        found = self.customer(name)
        self.contracts.pay(found.address, wei)
        self.go()
        assert self.credited(found) == wei
        return found

    def approved(
        self,
        customer: Customer,
        amount: int,
        *,
        key: str = NATIVE,
        to: str = OUTSIDE,
        by: Sequence[str] = (),
        client_id: str = "w1",
    ) -> WithdrawalId:
        """Request a withdrawal, let the engine hold it, and have officers approve it."""
        row = self.house.withdraw(customer.number, key, amount, to, client_id=client_id)
        self.house.step("funding")
        self.house.step("settlement")
        assert self.withdrawal(row.withdrawal_id).state is WithdrawalState.HELD
        self.house.approve(row.withdrawal_id, *by)
        return row.withdrawal_id

    def cancel(self, withdrawal_id: WithdrawalId) -> Withdrawal:
        """Cancel a withdrawal as its customer does."""
        cancel = partial(
            workflow.cancel,
            withdrawal_id=withdrawal_id,
            by="customer",
            now_ns=self.house.clock.now_ns(),
        )
        return self.house.platform.db.run(cancel)

    def set_sweeps(self, rules: SweepRules) -> None:
        """Let operators change when deposits are gathered."""
        home = replace(self.house.home, sweeps=rules)
        self.house.home = home
        self.house.platform = with_chain(self.house.platform, CHAIN, home)

    # ---- what a case looks at

    def credited(self, customer: Customer, key: str = NATIVE) -> int:
        """Return a customer's free balance in the books."""
        return self.house.balance(customer.number, key)

    def deposits(self, customer: Customer | None = None) -> list[Deposit]:
        """Return the deposit rows of a customer, or of everybody and the own wallets."""
        number = None if customer is None else customer.number
        with self.house.platform.db.read() as conn:
            return deposit_rows.list_deposits(conn, customer_no=number, chain=CHAIN, limit=100_000)

    def withdrawal(self, withdrawal_id: WithdrawalId) -> Withdrawal:
        """Return a withdrawal as it stands."""
        return self.house.withdrawal(withdrawal_id)

    def spends(self, *kinds: SpendKind) -> list[Spend]:
        """Return all spends of some kinds in the order they were planned."""
        with self.house.platform.db.read() as conn:
            found = spending_rows.all_of(conn, CHAIN)
        return [spend for spend in found if spend.kind in kinds]

    def attempts(self, spend: Spend) -> list[Attempt]:
        """Return a spend's saved bytes."""
        with self.house.platform.db.read() as conn:
            return spending_rows.attempts(conn, spend.spend_id)

    def digests(self, cause_id: str | None = None) -> list[bytes]:
        """Return every digest in the signature log, or those signed for one cause."""
        return [
            entry.record.digest
            for entry in self.house.platform.signer.entries(0, ENTRIES_MAX)
            if cause_id in (None, entry.record.cause_id)
        ]

    def state(self) -> ChainState:
        """Return where the chain stands with us."""
        with self.house.platform.db.read() as conn:
            return chain_state.state(conn, CHAIN)

    def incidents(self) -> list[str]:
        """Return the kinds of open incidents."""
        with self.house.platform.db.read() as conn:
            return [incident.kind for incident in chain_state.open_incidents(conn)]

    def book(self, kind: AccountKind, owner: str, key: str = NATIVE) -> int:
        """Return the balance of an account in the books."""
        asset_no = self.house.asset_no(key)
        with self.house.platform.db.read() as conn:
            return balances.balance_of(conn, kind, owner, asset_no)

    def owed(self, key: str = NATIVE) -> int:
        """Return what the books owe all customers of an asset."""
        with self.house.platform.db.read() as conn:
            return balances.liabilities(conn).get(self.house.asset_no(key), 0)

    def sql(self, statement: str, **values: Any) -> int:
        """Change rows behind everybody's back, as whoever has the database can."""
        with self.house.platform.db.transaction() as conn:
            return conn.execute(sa.text(statement), values).rowcount

    def followed_hashes(self) -> dict[int, str]:
        """Return the blocks we hold, by height."""
        with self.house.platform.db.read() as conn:
            return {ref.height: ref.hash for ref in chain_state.followed(conn, CHAIN, limit=10_000)}

    def hash_on_node(self, height: int) -> str:
        """Return the hash the node itself names at a height."""
        return str(self.node.call("eth_getBlockByNumber", hex(height), False)["hash"])

    # ---- the equations

    def broken_equations(self) -> list[str]:
        """Return the equations that do not hold, I17 aside: nothing is published here."""
        found = equations.check(self.house.platform, self.house.storage)
        assert [each.name for each in found] == [*(f"I{n}" for n in range(1, 8)), "I17"]
        return [f"{each.name}: {each.findings}" for each in found[:-1] if not each.holds]

    def assert_equations_hold(self) -> None:
        """Let everything arrive, then compare books, engine, signature log and chain."""
        self.go()
        assert self.broken_equations() == []


def held_by_chain(scene: Scene, address: str = OUTSIDE) -> int:
    """Return the native coin of an address as the node itself says it."""
    return int(scene.node.call("eth_getBalance", address, "latest"), 16)


class Stage:
    """Opens scenes for a test; what it opened ends with the test."""

    def __init__(self, databases: Databases, node: AnvilNode) -> None:
        self.node = node
        self.contracts = Deployer(node)
        self._databases = databases
        self._stack = contextlib.ExitStack()

    def __call__(
        self,
        *tokens: AssetSpec,
        nodes: Sequence[str] = (),
        database: str = "sqlite",
        url: str | None = None,
        storage: Storage | None = None,
        clock: ManualClock | None = None,
        sweeps: SweepRules = NO_SWEEPS,
        terms: WithdrawalTerms | None = None,
        markets: Sequence[MarketRow] = (),
        **changes: Any,
    ) -> Scene:
        """Open a platform that lists the native coin and some tokens.

        nodes: the urls that it asks (default: the test's node). url, storage and clock are those of
        an earlier scene whose process died. changes replace fields of the chain's configuration.
        """
        if url is None:
            url = self._stack.enter_context(self._databases.fresh(database))
        assets = [listed(NATIVE, "ETH"), *tokens]
        urls = list(nodes) or [self.node.url]
        changes.setdefault("timeout_ms", PATIENT_MS)
        config = config_for(urls, *assets, genesis=genesis_hash(self.node.url))
        chain = self._stack.enter_context(contextlib.closing(open_evm(replace(config, **changes))))
        house = self._stack.enter_context(
            open_house(
                url,
                chain,
                assets,
                sweeps=sweeps,
                markets=markets,
                storage=storage or SimulatedStorage(SeededEntropy(1, "disk")),
                clock=clock,
                terms=terms or WithdrawalTerms(network_fee_max=ETHER // 10),
            )
        )
        return Scene(self.node, self.contracts, chain, house, url)

    def use(self, node: AnvilNode) -> None:
        """Let the next scenes stand on another node."""
        self.node, self.contracts = node, Deployer(node)

    def close(self) -> None:
        """End every scene."""
        self._stack.close()


def reopened(stage: Stage, scene: Scene, *tokens: AssetSpec, **options: Any) -> Scene:
    """Let a scene's process die where it stands and start another on the same books and journal."""
    scene.house.platform.db.close()
    return stage(
        *tokens,
        url=scene.url,
        storage=scene.house.storage,
        clock=scene.house.clock,
        **options,
    )
