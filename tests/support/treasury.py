"""A platform with a treasury: a Safe whose owners are officers' wallets, on a test's node."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from app.bootstrap import prepare
from chains.base import NATIVE, SpendKind
from core.ids import WithdrawalId
from custody.keys import typed_approval
from custody.keys.credentials import CredentialKind
from custody.keys.roster import ContractWallet, Officer
from custody.keys.signers.base import KeyRef
from custody.ledger.chart import AccountKind
from custody.multisig import cosign, rows
from custody.multisig.propose import Desk
from custody.multisig.rows import Proposal, ProposalState
from custody.withdrawals import approvals
from custody.withdrawals.states import Withdrawal
from infra.devnet.deploy import Contract
from infra.devnet.safe import SafeContracts, deploy_safe
from tests.support.evm import CHAIN, ETHER
from tests.support.policies import required
from tests.support.rails import FileKey, PasskeyOf, WalletKey, give
from tests.support.safes import DEVICES, Device
from tests.support.threats import Customer, Scene, Stage

PERSONS = ("ada", "ben", "cleo", "dora", "eve")
SPARE = DEVICES[5]
"""Who takes a place in a rotation."""


@dataclass(slots=True)
class Treasury:
    """A scene, its wallet, and what officers do with their devices."""

    scene: Scene
    contracts: SafeContracts
    wallet: Contract
    devices: dict[str, Device]
    """By person."""

    @property
    def address(self) -> str:
        """Return the wallet's address."""
        return self.wallet.address

    @property
    def desk(self) -> Desk:
        """Return the wallet's desk under the roster of now."""
        house = self.scene.house
        (desk,) = house.platform.wallet_desks(house.home)
        return desk

    def requested(self, customer: Customer, amount: int, to: str, name: str = "w1") -> WithdrawalId:
        """Ask for a withdrawal that the treasury pays, and let it be held."""
        row = self.scene.house.withdraw(customer.number, NATIVE, amount, to, client_id=name)
        assert row.wallet == "treasury"
        self.scene.house.step("funding")
        self.scene.house.step("settlement")
        return row.withdrawal_id

    def approve(self, withdrawal_id: WithdrawalId, *persons: str) -> Withdrawal:
        """Have officers approve, each by another kind of credential."""
        house = self.scene.house
        for person in persons or PERSONS[:2]:
            intent = approvals.intent_of(house.withdrawal(withdrawal_id))
            add = partial(
                approvals.add,
                withdrawal_id=withdrawal_id,
                approval=give(rail_of(person), intent),
                roster=house.platform.roster,
                now_ns=house.clock.now_ns(),
            )
            house.platform.db.run(add)
        return house.withdrawal(withdrawal_id)

    def proposal(self, cause_id: str, kind: SpendKind = SpendKind.WITHDRAWAL) -> Proposal:
        """Return the proposal of a cause."""
        with self.scene.house.platform.db.read() as conn:
            row = rows.find_by_cause(conn, cause_id, kind)
        assert row is not None, f"nothing was proposed for {cause_id}"
        return row

    def burn_of(self, row: Proposal) -> Proposal:
        """Return the burn of a proposal."""
        return self.proposal(row.intent.spend_id, SpendKind.CANCELLATION)

    def signature(self, row: Proposal, person: str) -> bytes:
        """Have an owner sign on his device."""
        device = self.devices[person]
        return device.sign(cosign.request_of(self.desk, row, device.address))

    def cosign(self, row: Proposal, *persons: str) -> None:
        """Have owners sign and hand it in."""
        for person in persons:
            owner = self.devices[person].address
            signature = self.signature(row, person)
            cosign.add(self.desk, row.proposal_id, signature, owner=owner, person=person)

    def proposed(self, cause_id: str, kind: SpendKind = SpendKind.WITHDRAWAL) -> Proposal:
        """Run until a cause has a proposal."""
        self.scene.house.step("wallets.propose")
        return self.proposal(cause_id, kind)

    def until(self, row: Proposal, *states: ProposalState) -> Proposal:
        """Run until a proposal stands in one of these states."""

        def done() -> bool:
            return self.proposal(row.cause_id, row.kind).state in states

        self.scene.until(done)
        return self.proposal(row.cause_id, row.kind)

    def books(self) -> int:
        """Return what the books say the treasury holds of the native coin."""
        return self.scene.book(AccountKind.WARM, "treasury")


def rail_of(person: str) -> FileKey | WalletKey | PasskeyOf:
    """Return the credential that a person approves with: one of each kind among the first three."""
    if person == "ada":
        return PasskeyOf(person)
    return WalletKey(person) if person == "ben" else FileKey(person)


def treasury_on(
    stage: Stage,
    *,
    threshold: int,
    owners: int,
    coins: int = 20,
    own_keys: tuple[KeyRef, ...] = (),
    database: str = "sqlite",
) -> tuple[Treasury, Customer]:
    """Open a platform whose policy pays every withdrawal from a new treasury, and a customer.

    own_keys: own keys that are owners beside the persons.
    """
    scene = stage(database=database)
    contracts = deploy_safe(scene.contracts)
    devices = dict(zip(PERSONS, DEVICES, strict=False))
    chosen = list(devices.values())[:owners]
    house, members = scene.house, [one.address for one in chosen]
    keys = [house.home.public_key_of(key.account, key.index) for key in own_keys]
    wallet = contracts.wallet([*members, *map(scene.chain.address_of, keys)], threshold)
    row = row_of(contracts, wallet, members, threshold)
    scene.house.adopt(required("treasury", wallets=["treasury"]), persons=PERSONS)
    scene.house.pin(
        officers=officers_with(devices),
        wallets=(replace(row, owners=own_keys),),
    )
    prepare(scene.house.platform, assets=(), markets=())
    scene.contracts.pay(wallet.address, coins * ETHER)
    customer = scene.funded(wei=5 * ETHER)
    return Treasury(scene, contracts, wallet, devices), customer


def row_of(
    contracts: SafeContracts, wallet: Contract, owners: list[str], threshold: int
) -> ContractWallet:
    """Return the roster's row of a wallet."""
    return ContractWallet(
        CHAIN, wallet.address, (), members=tuple(sorted(owners)), threshold=threshold,
        wallet="treasury", code=contracts.singleton.address, handler=contracts.handler.address,
    )  # fmt: skip


def officers_with(devices: dict[str, Device]) -> tuple[Officer, ...]:
    """Return every person's rows: what he approves with, and the wallet key that is an owner."""
    rows_ = [rail_of(person).row(person) for person in PERSONS]
    rows_ += [
        Officer(person, typed_approval.read_address(device.address), kind=CredentialKind.EIP712)
        for person, device in [*devices.items(), ("fay", SPARE)]
    ]
    return tuple(rows_)


__all__ = ["Treasury", "give", "treasury_on"]
