"""A platform on a real node whose treasury is several officers', who sign on their own devices.

What a test does: pay in, ask for a withdrawal, approve it, have owners sign, mine, look.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from app import equations
from app.bootstrap import prepare
from chains.base import NATIVE, AssetSpec, SpendKind
from chains.bitcoin.chain import BitcoinChain
from chains.bitcoin.opening import open_bitcoin
from chains.bitcoin.params import COIN
from chains.bitcoin.treasury import Treasury
from chains.registry import ChainConfig
from core.entropy import SeededEntropy
from core.ids import CustomerNo, WithdrawalId
from custody import chain_state
from custody.keys.roster import ContractWallet
from custody.ledger import balances
from custody.ledger.chart import AccountKind
from custody.multisig import cosign, rows
from custody.multisig.coin_desk import CoinDesk
from custody.multisig.rows import Proposal, ProposalState
from custody.spending import rows as spends
from custody.spending.rows import Spend
from custody.withdrawals import workflow
from custody.withdrawals.terms import WithdrawalTerms
from engine.simulated_files import SimulatedStorage
from infra.devnet.coin_nodes import CoreNode
from sweeper.policy import SweepRules
from tests.support.bitcoin import CHAIN, LOCAL
from tests.support.coin_money import Mint
from tests.support.house import House, open_house
from tests.support.owners import Device, by_bdk, officers
from tests.support.policies import required

CONFIRMATIONS = 2
ROUNDS_MAX = 30
ASSET = AssetSpec(CHAIN, NATIVE, "BTC", 8, 1_000, 1_000, 500, 10_000)


@dataclass(slots=True)
class Scene:
    """One platform, its node, and a treasury of officers."""

    node: CoreNode
    mint: Mint
    chain: BitcoinChain
    house: House
    treasury: Treasury
    customer: CustomerNo = field(init=False)

    @property
    def desk(self) -> CoinDesk:
        """Return the treasury's desk under the roster of now."""
        (desk,) = self.house.platform.coin_desks(self.house.home)
        return desk

    def until(self, done: Callable[[], bool]) -> None:
        """Run rounds with a block between them until something holds; fail when it never does."""
        for _ in range(ROUNDS_MAX):
            self.house.run(1)
            if done():
                return
            self.node.mine()
        raise AssertionError(f"never came true: {self.house.problems[-5:]}")

    def fund(self, *amounts: int) -> None:
        """Pay coins to the treasury and to a customer, and let them become final."""
        self.mint.pay(self.treasury.address, *amounts)
        self.customer = self.house.customer("alice")
        self.mint.pay(self.house.address(self.customer), 5 * COIN)
        self.until(lambda: self.house.balance(self.customer, NATIVE) == 5 * COIN)
        self.until(lambda: self.books() == sum(amounts))

    def books(self) -> int:
        """Return what the books say the treasury holds."""
        with self.house.platform.db.read() as conn:
            return balances.balance_of(
                conn, AccountKind.WARM, "treasury", self.house.asset_no(NATIVE)
            )

    def approved(self, amount: int, to: str, name: str = "w1") -> WithdrawalId:
        """Ask for a withdrawal that the treasury pays, and have officers approve it."""
        row = self.house.withdraw(self.customer, NATIVE, amount, to, client_id=name)
        assert row.wallet == "treasury"
        self.house.step("funding")
        self.house.step("settlement")
        self.house.approve(row.withdrawal_id)
        return row.withdrawal_id

    def proposal(self, cause_id: str, kind: SpendKind = SpendKind.WITHDRAWAL) -> Proposal:
        """Return the proposal of a cause."""
        with self.house.platform.db.read() as conn:
            row = rows.find_by_cause(conn, cause_id, kind)
        assert row is not None, f"nothing was proposed: {self.house.problems[-3:]}"
        return row

    def proposed(self, cause_id: str, kind: SpendKind = SpendKind.WITHDRAWAL) -> Proposal:
        """Have a cause proposed and return the proposal."""
        self.house.step("wallets.propose")
        return self.proposal(cause_id, kind)

    def burnt(self, row: Proposal) -> Proposal:
        """Have the customer cancel what was proposed; return what pays its coins back."""
        cancel = partial(
            workflow.cancel,
            withdrawal_id=WithdrawalId(row.cause_id),
            by="customer",
            now_ns=self.house.clock.now_ns(),
        )
        self.house.platform.db.run(cancel)
        return self.proposed(row.intent.spend_id, SpendKind.CANCELLATION)

    def answer(self, row: Proposal, number: int, device: Device = by_bdk) -> bytes:
        """Return what an officer's device gives back for what he is shown now."""
        shown = cosign.payload_of(self.desk, row)
        who = officers(len(self.treasury.keys))[number]
        return device(who, shown, self.treasury.descriptor)

    def cosign(self, row: Proposal, *numbers: int, device: Device = by_bdk) -> None:
        """Have officers sign and hand it in."""
        for number in numbers:
            answer = self.answer(row, number, device)
            cosign.hand_in(self.desk, row.proposal_id, answer, person=f"officer-{number}")

    def done(self, row: Proposal, *states: ProposalState) -> Proposal:
        """Run until a proposal stands in one of these states."""
        self.until(lambda: self.proposal(row.cause_id, row.kind).state in states)
        return self.proposal(row.cause_id, row.kind)

    def spends(self, *kinds: SpendKind) -> list[Spend]:
        """Return all spends of some kinds in the order they were planned."""
        with self.house.platform.db.read() as conn:
            return [one for one in spends.all_of(conn, CHAIN) if one.kind in kinds]

    def incidents(self) -> list[str]:
        """Return the kinds of open incidents."""
        with self.house.platform.db.read() as conn:
            return [one.kind for one in chain_state.open_incidents(conn)]

    def paid_to(self, address: str) -> int:
        """Return what the node's unspent coins of an address hold."""
        found = self.node.call("scantxoutset", "start", [f"addr({address})"])
        total: int = round(found["total_amount"] * COIN)
        return total

    def assert_equations_hold(self) -> None:
        """Let everything arrive, then compare books, engine, signature log and chain."""
        self.node.mine(CONFIRMATIONS)
        self.house.run(4)
        assert self.broken_equations() == []

    def broken_equations(self) -> list[str]:
        """Return the equations that do not hold, I17 aside: nothing is published here."""
        found = equations.check(self.house.platform, self.house.storage)
        return [f"{one.name}: {one.findings}" for one in found[:-1] if not one.holds]


@contextlib.contextmanager
def open_scene(node: CoreNode, mint: Mint, treasury: Treasury, url: str) -> Iterator[Scene]:
    """Open a platform whose policy pays every withdrawal from a treasury."""
    config = ChainConfig(
        chain=CHAIN, kind="bitcoin", node_urls=(node.url,), quorum=1, chain_number=0,
        genesis_hash=LOCAL.genesis_hash, assets=(ASSET,), fee_floor=2, fee_cap=200, tip=0,
        reorg_limit=50, confirmations=CONFIRMATIONS,
    )  # fmt: skip
    chain = open_bitcoin(config)
    with contextlib.closing(chain), open_house(
        url, chain, [ASSET], sweeps=SweepRules(rate_max=0),
        storage=SimulatedStorage(SeededEntropy(1, "disk")),
        terms=WithdrawalTerms(network_fee_max=COIN // 100),
    ) as house:  # fmt: skip
        house.adopt(required("treasury", wallets=["treasury"]))
        house.pin(wallets=(row_of(treasury, chain),))
        prepare(house.platform, assets=(), markets=())
        yield Scene(node, mint, chain, house, treasury)


def row_of(treasury: Treasury, chain: BitcoinChain) -> ContractWallet:
    """Return the roster's row of a treasury."""
    return ContractWallet(
        CHAIN, treasury.address, (), members=tuple(sorted(map(chain.address_of, treasury.keys))),
        threshold=treasury.descriptor.threshold, wallet="treasury", code=treasury.descriptor.text,
    )  # fmt: skip
