"""A whole platform in one process over one chain: its steps run when a test says so.

The same bootstrap, verbs and steps as in production; only the loop around them is the test's.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.bootstrap import ChainHome, Platform, account_keys, issue_address, prepare
from app.steps import Step, engine_steps, worker_steps
from chains.base import AssetSpec, Chain, ChainTraits, SpendKind
from core.clock import SECOND_NS, ManualClock
from core.entropy import SeededEntropy
from core.errors import Unavailable
from core.ids import AssetNo, CustomerNo, WithdrawalId
from custody import catalogue, policies, prices, settlement
from custody.catalogue import MarketRow
from custody.db import Database
from custody.keys.attestation import AttestationKey
from custody.keys.desk import KeyDesk, Notary, key_desk
from custody.keys.mandate import AssetCap, Mandate
from custody.keys.owners import OwnersInMemory
from custody.keys.policy_book import PoliciesInMemory
from custody.keys.publication import Publication, sign_publication
from custody.keys.roster import Officer, Roster, SpendLimit, Verdict, sign_approval
from custody.keys.roster_files import RosterChain
from custody.keys.roster_text import sealed
from custody.keys.secret import Secret
from custody.keys.signers.base import SECP256K1
from custody.keys.signers.local import LocalSigner
from custody.keys.store import Shelf
from custody.ledger import balances
from custody.policy.document import parse_policy
from custody.policy.request import PRICE_SCALE, Price
from custody.policy.rules import Policy
from custody.spending.drive import Patience, Problem
from custody.wallets.addresses import Address
from custody.wallets.inventory import GAS, HOT
from custody.withdrawals import approvals, decisions, states, workflow
from custody.withdrawals.decisions import Stored
from custody.withdrawals.notices import CodeNotice
from custody.withdrawals.states import Withdrawal
from custody.withdrawals.workflow import WithdrawalRequest, WithdrawalTerms
from engine.factory import engine_factory
from engine.files import Storage
from engine.recovery import recover
from engine.sequencer import Sequencer
from engine.simulated_files import SimulatedStorage
from engine.types import AddAsset, AddMarket, Command
from sweeper.policy import SweepRules
from tests.support.policies import document

OFFICERS = ("ada", "ben", "cleo")
FAR_NS = 1 << 62
HUGE = 1 << 200
ATTESTATION_KEY = AttestationKey(Secret(SeededEntropy(1, "attestation").token_bytes(32)))


def officer_key(person: str) -> Ed25519PrivateKey:
    """Return an officer's key, the same in every run."""
    return Ed25519PrivateKey.from_private_bytes(SeededEntropy(1, person).token_bytes(32))


def make_roster(threshold: int = 2, **fields: Any) -> Roster:
    """Return the roster of the three officers, with what else is in it."""
    officers = tuple(
        Officer(person, officer_key(person).public_key().public_bytes_raw()) for person in OFFICERS
    )
    first = Roster(serial=1, previous=b"", issued_ns=0, threshold=threshold, officers=officers)
    return sealed(dataclasses.replace(first, **fields))


def house_roster(chain: Chain, assets: Sequence[AssetSpec]) -> Roster:
    """Return the roster of a house: its officers, wide mandates, wide limits."""
    keys = sorted({"native", *(spec.key for spec in assets)})
    limits = (SpendLimit(chain.traits.chain, key, HUGE, HUGE, HUGE, HUGE) for key in keys)
    return make_roster(
        limits=tuple(limits),
        mandates=make_mandates(chain, keys),
        attestation_key=ATTESTATION_KEY.public_key,
    )


def make_mandates(chain: Chain, keys: Sequence[str]) -> tuple[Mandate, ...]:
    """Return wide mandates for everything that runs unattended."""
    caps = tuple(AssetCap(key, HUGE, HUGE) for key in keys)
    mandates = []
    for kind, accounts in (
        (SpendKind.WITHDRAWAL, ()),
        (SpendKind.SWEEP, ("hot",)),
        (SpendKind.TOP_UP, ("deposits",)),
        (SpendKind.CANCELLATION, ()),
    ):
        mandate = Mandate(
            mandate_id=f"test-{kind.value}",
            kind=kind,
            chain=chain.traits.chain,
            network=chain.traits.network,
            destinations=(),
            destination_accounts=accounts,
            caps=() if kind is SpendKind.CANCELLATION else caps,
            fee_max=HUGE,
            fee_window_max=HUGE,
            valid_from_ns=0,
            valid_until_ns=FAR_NS,
        )
        mandates.append(mandate)
    return tuple(mandates)


@dataclass(slots=True)
class Postbox:
    """Where customers find the codes that were sent to them."""

    notices: list[CodeNotice] = field(default_factory=list)
    is_full: bool = False

    def send_code(self, notice: CodeNotice) -> None:
        """Keep a notice."""
        if self.is_full:
            raise Unavailable("the postbox is full")
        self.notices.append(notice)


@dataclass(slots=True)
class House:
    """The platform, its engine, and what a test does with them."""

    platform: Platform
    home: ChainHome
    clock: ManualClock
    storage: Storage
    sequencer: Sequencer
    problems: list[Problem] = field(default_factory=list)
    postbox: Postbox = field(default_factory=Postbox)

    def steps(self) -> list[Step]:
        """Return every step of both processes."""
        worker = worker_steps(self.platform, self.problems.append)
        return engine_steps(self.platform, self.sequencer, self.sequencer.log) + worker

    def run(self, rounds: int = 8) -> None:
        """Run every step in order, some rounds, with a second between rounds."""
        for _ in range(rounds):
            for step in self.steps():
                step.run()
            self.clock.advance(SECOND_NS)

    def step(self, name: str) -> int:
        """Run one step by the end of its name."""
        (found,) = [step for step in self.steps() if step.name.endswith(name)]
        return found.run()

    def customer(self, external_id: str) -> CustomerNo:
        """Open a customer."""
        now_ns = self.clock.now_ns()
        opened = self.platform.db.run(
            lambda conn: catalogue.add_customer(conn, external_id, now_ns=now_ns)
        )
        return opened.customer_no

    def address(self, customer_no: CustomerNo) -> str:
        """Issue a deposit address."""
        return issue_address(self.platform, self.home.chain.traits.chain, customer_no).address

    def own_address(self, account: str) -> str:
        """Return an own wallet's address."""
        with self.platform.db.read() as conn:
            public_key = self.platform.keys_in(self.home, conn)(account, 0)
        return self.home.chain.address_of(public_key)

    def asset_no(self, key: str) -> AssetNo:
        """Return the number of a listed asset of the chain."""
        with self.platform.db.read() as conn:
            found = catalogue.asset_by_key(conn, self.home.chain.traits.chain, key)
        assert found is not None
        return found.asset_no

    def balance(self, customer_no: CustomerNo, key: str) -> int:
        """Return a customer's free balance in the books."""
        asset_no = self.asset_no(key)
        with self.platform.db.read() as conn:
            rows = balances.customer_balances(conn, customer_no)
        return sum(row.balance for row in rows if row.asset_no == asset_no)

    def withdraw(
        self, customer_no: CustomerNo, key: str, amount: int, to: str, *, client_id: str = "w1"
    ) -> Withdrawal:
        """Request a withdrawal."""
        asked = WithdrawalRequest(
            client_withdrawal_id=client_id,
            customer_no=customer_no,
            initiator=f"customer:{customer_no}",
            asset_no=self.asset_no(key),
            destination=to,
            amount=amount,
        )
        return self.platform.db.run(
            lambda conn: workflow.request(
                conn, asked, chain=self.home.chain, terms=self.home.terms,
                now_ns=self.clock.now_ns(),
            )
        )  # fmt: skip

    def approve(
        self,
        withdrawal_id: WithdrawalId,
        *persons: str,
        verdict: Verdict = Verdict.APPROVE,
    ) -> Withdrawal:
        """Have officers sign a withdrawal; by default two of them."""
        for person in persons or OFFICERS[:2]:
            row = self.withdrawal(withdrawal_id)
            given = sign_approval(officer_key(person), approvals.intent_of(row), verdict)
            add = partial(
                approvals.add,
                withdrawal_id=withdrawal_id,
                approval=given,
                roster=self.platform.roster,
                now_ns=self.clock.now_ns(),
            )
            self.platform.db.run(add)
        return self.withdrawal(withdrawal_id)

    def pin(self, **changes: Any) -> None:
        """Start the processes again with the next roster."""
        rosters, desk = self.platform.rosters, self.platform.signer
        after = sealed(
            dataclasses.replace(
                rosters.pinned,
                serial=rosters.pinned.serial + 1,
                previous=rosters.pinned.hash,
                issued_ns=rosters.pinned.issued_ns + 1,
                **changes,
            )
        )
        assert isinstance(desk, KeyDesk)
        guards = {
            name: dataclasses.replace(guard, roster=after) for name, guard in desk.guards.items()
        }
        self.platform = dataclasses.replace(
            self.platform,
            rosters=RosterChain((*rosters.versions, after)),
            signer=dataclasses.replace(desk, guards=guards),
        )

    def adopt(self, *entries: str, **options: Any) -> Policy:
        """Put the next policy in force, with other entries than the present one's."""

        def apply(conn: sa.Connection) -> Policy:
            now_ns = self.clock.now_ns()
            before = policies.newest(conn)
            assert before is not None
            body = document(*entries, serial=before.serial + 1, previous=before.hash, **options)
            return policies.add(conn, body, in_force_from_ns=now_ns, by="house", now_ns=now_ns)

        adopted = self.platform.db.run(apply)
        assert isinstance(self.platform.signer, KeyDesk)
        teach(self.platform.db, self.platform.signer.book, self.platform.roster)
        return adopted

    def price(self, key: str, dollars: int, *, source: str = "test") -> None:
        """Say what one whole coin is worth now."""
        now_ns = self.clock.now_ns()
        said = Price(dollars * 10**PRICE_SCALE, now_ns, source)
        asset_no = self.asset_no(key)
        self.platform.db.run(
            lambda conn: prices.record(conn, asset_no, said, by="test", now_ns=now_ns)
        )

    def decisions(self, cause_id: str) -> list[Stored]:
        """Return what was decided about a withdrawal or an own transfer."""
        with self.platform.db.read() as conn:
            return decisions.of(conn, cause_id)

    def withdrawal(self, withdrawal_id: WithdrawalId) -> Withdrawal:
        """Return a withdrawal as it stands."""
        with self.platform.db.read() as conn:
            return states.get(conn, withdrawal_id)


def _begin_policy(conn: sa.Connection, body: bytes, now_ns: int) -> None:
    if policies.newest(conn) is None:
        policies.add(conn, body, in_force_from_ns=0, by="house", now_ns=now_ns)


def teach(
    db: Database, book: PoliciesInMemory, roster: Roster, persons: Sequence[str] = OFFICERS
) -> None:
    """Have officers publish every policy of the database to a signer, each since its time."""
    with db.read() as conn:
        query = sa.select(policies.policies).order_by(policies.policies.c.serial)
        rows = list(conn.execute(query))
    for row in rows:
        found = parse_policy(row.body)
        signed = tuple(sign_publication(officer_key(person), found, ()) for person in persons)
        book.learn(Publication(row.body, (), signed), roster=roster, now_ns=row.in_force_from_ns)


def house_signer(traits: ChainTraits) -> LocalSigner:
    """Return the keys of a house on a chain, the same in every run."""
    return LocalSigner(Secret(SeededEntropy(1, "seed").token_bytes(32)), traits)


def start_engine(platform: Platform, storage: Storage) -> Sequencer:
    """Recover the engine as a new leader would, and tell it what is listed."""
    with platform.db.read() as conn:
        position = settlement.position(conn)
        assets, markets = catalogue.all_assets(conn), catalogue.all_markets(conn)
    sequencer = recover(
        storage,
        epoch=position.epoch + 1 + len(storage.names()),
        clock=platform.clock,
        lease=lambda: None,
        projected=position,
        factory=engine_factory(),
    )
    commands: list[Command] = [AddAsset(asset_no=asset.asset_no) for asset in assets]
    for row in markets:
        names = [field.name for field in dataclasses.fields(AddMarket)]
        commands.append(AddMarket(**{name: getattr(row, name) for name in names}))
    sequencer.execute(commands)
    return sequencer


@contextlib.contextmanager
def open_house(
    url: str,
    chain: Chain,
    assets: Sequence[AssetSpec],
    *,
    markets: Sequence[MarketRow] = (),
    clock: ManualClock | None = None,
    storage: Storage | None = None,
    terms: WithdrawalTerms | None = None,
    sweeps: SweepRules | None = None,
    policy: bytes | None = None,
    start_height: int = 0,
) -> Iterator[House]:
    """Open a house on a database (empty or used before), a chain and a journal.

    policy: its first one; by default two officers agree to every withdrawal.
    """
    clock = clock or ManualClock()
    storage = storage or SimulatedStorage(SeededEntropy(1, "disk"))
    db = Database.open(url)
    db.create_all()
    signer = house_signer(chain.traits)
    name, roster = chain.traits.chain, house_roster(chain, assets)
    notary = Notary(ATTESTATION_KEY, OwnersInMemory())
    book, scales = PoliciesInMemory(), {(name, spec.key): spec.scale for spec in assets}
    desk = key_desk(
        Shelf(storage), clock, roster, {name: (chain, signer)}, notary, book=book, scales=scales
    )
    is_derived = chain.traits.curve == SECP256K1  # else the signer makes keys one by one
    home = ChainHome(
        chain=chain,
        keys=account_keys(signer.account_xpub) if is_derived else {},
        terms=terms or WithdrawalTerms(network_fee_max=10**7),
        sweeps=sweeps or SweepRules(),
        patience=Patience(resend_after_ns=2 * SECOND_NS, bump_after_ns=10 * SECOND_NS),
        start_height=start_height,
    )
    postbox = Postbox()
    platform = Platform(
        notifier=postbox,
        db=db,
        clock=clock,
        entropy=SeededEntropy(1, "platform"),
        rosters=RosterChain((roster,)),
        signer=desk,
        chains={name: home},
    )
    prepare(platform, assets=assets, markets=markets)
    db.run(partial(_begin_policy, body=policy or document(), now_ns=clock.now_ns()))
    teach(db, book, roster)
    sequencer = start_engine(platform, storage)
    try:
        yield House(platform, home, clock, storage, sequencer, postbox=postbox)
    finally:
        db.close()


__all__ = ["GAS", "HOT", "OFFICERS", "Address", "House", "open_house"]
