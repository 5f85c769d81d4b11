"""Two real nodes part and meet again; deposits, own payments and sweeps across the fork end right.

Each node makes blocks of its own; then one gets the longer branch of the other and gives its own up
as nodes do. What only waits is shown, and gone when it is replaced (D08, R03, R06).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from app import equations
from chains.base import NATIVE, AssetSpec, SpendKind
from chains.bitcoin.address import script_of
from chains.bitcoin.tx import Tx, TxIn, TxOut
from chains.registry import ChainConfig, open_chain
from core.clock import SECOND_NS
from core.ids import ChainId, CustomerNo
from custody import deposit_rows, pending
from custody.deposit_rows import Deposit, DepositState
from custody.spending import rows
from custody.spending.rows import Attempt, Spend, SpendState
from custody.wallets import coins
from custody.withdrawals.states import Withdrawal, WithdrawalState
from custody.withdrawals.workflow import WithdrawalTerms
from indexers.reconcile import reconcile
from infra.devnet.coin_money import FEE, LOCAL, Miner
from infra.devnet.coin_nodes import MINER, MINER_WITNESS, CoreNode, start_core
from tests.support.house import HOT, House, open_house

CHAIN = ChainId("coins")
COIN = 100_000_000
OUTSIDE = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
"""The program of an example in BIP-173: nobody's key here."""
ELSEWHERE = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry"
"""Another one; where the second node mines to, so that its blocks are not the first one's."""
GENESIS = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
CONFIRMATIONS = 6


@dataclass(slots=True)
class Stage:
    """The platform on one node, another node that hears what it is told, and who pays."""

    house: House
    here: CoreNode
    there: CoreNode
    miner: Miner

    def tell(self, giver: CoreNode, taker: CoreNode) -> None:
        """Give all blocks of one node to another, oldest first."""
        for height in range(1, giver.height() + 1):
            name = giver.call("getblockhash", height)
            if height > taker.height() or taker.call("getblockhash", height) != name:
                taker.call("submitblock", giver.call("getblock", name, 0))

    def settle(self, blocks: int) -> None:
        """Make blocks one after another, and let the platform work on each."""
        for _ in range(blocks):
            self.here.mine()
            self.house.run(2)

    def meet(self, *, blocks: int) -> None:
        """Let the other node make so many blocks and give its branch to the platform's."""
        before = self.here.call("getbestblockhash")
        self.there.mine(blocks, to=ELSEWHERE)
        self.tell(self.there, self.here)
        assert self.here.call("getbestblockhash") == self.there.call("getbestblockhash")
        assert self.here.call("getblockheader", before)["confirmations"] == -1
        self.house.run(3)

    def customer(self, name: str) -> tuple[CustomerNo, str]:
        """Open a customer with an address."""
        customer_no = self.house.customer(name)
        return customer_no, self.house.address(customer_no)

    def deposits(self, customer_no: CustomerNo) -> list[Deposit]:
        """Return a customer's deposits."""
        with self.house.platform.db.read() as conn:
            return deposit_rows.list_deposits(conn, customer_no=customer_no)

    def spends(self, kind: SpendKind) -> list[Spend]:
        """Return the spends of a kind."""
        with self.house.platform.db.read() as conn:
            return [one for one in rows.all_of(conn, CHAIN) if one.kind is kind]

    def attempts(self, spend: Spend) -> list[Attempt]:
        """Return the signed versions of a spend."""
        with self.house.platform.db.read() as conn:
            return rows.attempts(conn, spend.spend_id)

    def waiting(self, customer_no: CustomerNo) -> list[str]:
        """Return the transactions that are shown as waiting."""
        with self.house.platform.db.read() as conn:
            return [one.tx_id for one in pending.of_customer(conn, customer_no)]

    def withdraw(self, customer_no: CustomerNo, amount: int) -> Withdrawal:
        """Ask for a payment to outside and have it approved."""
        row = self.house.withdraw(customer_no, NATIVE, amount, OUTSIDE)
        self.house.run(1)
        return self.house.approve(row.withdrawal_id)

    def respend(self, paid: Tx) -> Tx:
        """Return a transaction that uses the same coins for something else, at a higher fee."""
        kept = sum(output.amount for output in paid.outputs) - 5 * FEE
        output = TxOut(kept, script_of(ELSEWHERE, LOCAL))
        made = Tx(2, tuple(TxIn(one.outpoint, 0xFFFFFFFD) for one in paid.inputs), (output,), 0)
        return made.signed(((MINER_WITNESS,),) * len(made.inputs))

    def everything_holds(self) -> None:
        """Compare books, chain and journal."""
        result = reconcile(self.house.platform.db, self.house.home.chain)
        assert result.holds, result.unexplained
        found = equations.check(self.house.platform, self.house.storage)
        assert [each for each in found if not each.holds and each.name != "I17"] == []


@pytest.fixture
def sweep_minimum() -> int:
    """Return the least that is swept: more than there is, but where a test is about sweeps."""
    return 1_000 * COIN


@pytest.fixture
def stage(database_url: str, sweep_minimum: int) -> Iterator[Stage]:
    """Open the platform over the first of two nodes that know the same blocks."""
    spec = AssetSpec(
        chain=CHAIN, key=NATIVE, symbol="BTC", scale=8, deposit_minimum=1_000,
        withdrawal_minimum=1_000, withdrawal_fee=500, sweep_minimum=sweep_minimum,
    )  # fmt: skip
    with start_core() as here, start_core() as there:
        config = ChainConfig(
            kind="bitcoin", chain=CHAIN, node_urls=(here.url,), quorum=1, chain_number=0,
            genesis_hash=GENESIS, fee_floor=1, fee_cap=500, tip=0, assets=(spec,), batch_max=20,
            confirmations=CONFIRMATIONS,
        )  # fmt: skip
        terms = WithdrawalTerms(network_fee_max=100_000)
        with (
            contextlib.closing(open_chain(config)) as chain,
            open_house(database_url, chain, [spec], terms=terms) as house,
        ):
            made = Stage(house, here, there, Miner(here))
            made.miner.pay(house.own_address(HOT), 2 * COIN, COIN)
            yield made


def rich(stage: Stage) -> CustomerNo:
    """Give a customer a coin that is final, on both nodes."""
    alice, address = stage.customer("alice")
    stage.miner.pay(address, COIN)
    stage.house.run(1)
    stage.settle(CONFIRMATIONS + 1)
    assert stage.house.balance(alice, NATIVE) == COIN
    stage.tell(stage.here, stage.there)
    return alice


def test_of_deposits_across_a_fork_one_is_credited_once_and_the_other_never(stage: Stage) -> None:
    rich(stage)
    (bob, bobs), (mallory, mallorys) = stage.customer("bob"), stage.customer("mallory")
    kept = stage.miner.spend(TxOut(COIN, script_of(bobs, LOCAL)))
    stage.there.call("sendrawtransaction", kept.serialise().hex(), 0)
    stage.settle(1)
    lost = stage.miner.spend(TxOut(COIN, script_of(mallorys, LOCAL)), replaceable=True)
    other = stage.respend(lost)
    stage.settle(2)
    assert [one.state for one in stage.deposits(mallory)] == [DepositState.COUNTING]
    # What pays mallory spends the change of what pays bob; there it goes elsewhere.
    stage.there.call("sendrawtransaction", other.serialise().hex(), 0)
    stage.meet(blocks=4)
    stage.settle(2 * CONFIRMATIONS)
    assert [one.state for one in stage.deposits(bob)] == [DepositState.CREDITED]
    assert stage.house.balance(bob, NATIVE) == COIN
    assert [one.state for one in stage.deposits(mallory)] == [DepositState.ORPHANED]
    assert stage.house.balance(mallory, NATIVE) == 0
    with stage.house.platform.db.read() as conn:
        assert coins.unused(conn, CHAIN, address=mallorys) == []
    assert lost.tx_id != other.tx_id
    stage.everything_holds()


@pytest.mark.parametrize("mined_there", ["nothing", "the first version"])
def test_a_payment_of_ours_across_a_fork_is_paid_once(stage: Stage, mined_there: str) -> None:
    alice = rich(stage)
    row = stage.withdraw(alice, COIN // 4)
    stage.house.run(1)
    (spend,) = stage.spends(SpendKind.WITHDRAWAL)
    if mined_there == "the first version":
        stage.house.clock.advance(11 * SECOND_NS)
        assert stage.house.step("spending.move") == 1
    made = stage.attempts(spend)
    stage.here.call("generateblock", MINER, [made[-1].raw.hex()])
    stage.settle(1)
    if mined_there == "the first version":
        assert len(made) == 2
        stage.there.call("generateblock", ELSEWHERE, [made[0].raw.hex()])
    stage.meet(blocks=3)
    assert stage.house.withdrawal(row.withdrawal_id).state is WithdrawalState.BROADCAST
    stage.house.clock.advance(3 * SECOND_NS)
    stage.settle(2 * CONFIRMATIONS)
    assert stage.house.withdrawal(row.withdrawal_id).state is WithdrawalState.CONFIRMED
    head = stage.house.home.chain.head()
    assert stage.house.home.chain.balance_of(OUTSIDE, NATIVE, head) == COIN // 4
    assert len(stage.attempts(spend)) == len(made), "nothing was signed again"
    assert stage.house.balance(alice, NATIVE) == COIN - COIN // 4 - 500
    stage.everything_holds()


@pytest.mark.parametrize("sweep_minimum", [100_000])
def test_a_sweep_across_a_fork_gathers_each_deposit_once(stage: Stage) -> None:
    addresses = [stage.customer(f"customer {number}")[1] for number in range(3)]
    for address in addresses:
        stage.miner.pay(address, COIN)
    stage.house.run(1)
    stage.settle(CONFIRMATIONS)
    stage.tell(stage.here, stage.there)
    stage.house.run(3)
    (spend,) = stage.spends(SpendKind.SWEEP)
    stage.settle(2)
    assert stage.spends(SpendKind.SWEEP)[0].state is SpendState.BROADCAST
    stage.meet(blocks=4)
    stage.house.clock.advance(3 * SECOND_NS)
    stage.settle(2 * CONFIRMATIONS)
    (done,) = stage.spends(SpendKind.SWEEP)
    assert (done.spend_id, done.state) == (spend.spend_id, SpendState.CONFIRMED)
    assert len(stage.attempts(done)) == 1
    assert done.fee_paid is not None
    assert done.amount + done.fee_paid == 3 * COIN
    with stage.house.platform.db.read() as conn:
        assert coins.unused(conn, CHAIN, account="deposits") == []
    stage.everything_holds()


def test_what_waits_is_shown_never_counted_and_gone_when_it_is_replaced(stage: Stage) -> None:
    alice, address = stage.customer("alice")
    stage.settle(1)
    paid = stage.miner.spend(TxOut(COIN, script_of(address, LOCAL)), replaceable=True)
    stage.house.run(2)
    assert stage.waiting(alice) == [paid.tx_id]
    assert stage.house.balance(alice, NATIVE) == 0
    assert stage.deposits(alice) == []
    other = stage.respend(paid)
    stage.here.call("sendrawtransaction", other.serialise().hex(), 0)
    stage.house.run(1)
    assert stage.waiting(alice) == []
    stage.settle(2 * CONFIRMATIONS)
    assert stage.deposits(alice) == []
    assert stage.house.balance(alice, NATIVE) == 0
    stage.everything_holds()
