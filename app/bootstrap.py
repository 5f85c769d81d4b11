"""Build the platform once from plain values.

Everything else is handed what it needs as arguments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from chains.base import AssetSpec, Chain, SpendIntent, SpendKind, UnsignedTx
from core.clock import Clock
from core.entropy import Entropy
from core.errors import Reason, Refused, Unavailable
from core.ids import ChainId, CustomerNo, WithdrawalId
from custody import catalogue, chain_state, policies, stops
from custody.catalogue import MarketRow
from custody.db import Database
from custody.keys.authority import Allowance, Approvals, Authority, Standing, Together
from custody.keys.batch import singles
from custody.keys.derivation import AccountKeys, PublicKeys
from custody.keys.guard import SignRequest
from custody.keys.mandate import covers
from custody.keys.publication import Publication
from custody.keys.roster import Roster
from custody.keys.roster_files import RosterChain
from custody.keys.rotation import accounts_in_use
from custody.keys.service import KeyService, sign_one
from custody.keys.signers.base import KeyRef, wallet_of
from custody.keys.wallets import owners_of
from custody.multisig.coin_desk import CoinDesk
from custody.multisig.propose import Desk
from custody.policy.decision import Outcome
from custody.screening.cases import Provider
from custody.spending import rotations
from custody.spending.drive import Patience
from custody.spending.rows import Spend, SpendState
from custody.spending.sign import Release
from custody.wallets import addresses
from custody.wallets.addresses import DEPOSITS, Address, PublicKeyOf
from custody.wallets.inventory import OWN_WALLETS
from custody.wallets.key_stock import KeyStock, keys_in
from custody.withdrawals import approvals, judging, states, workflow
from custody.withdrawals.book_rows import BookTerms
from custody.withdrawals.notices import NobodyTold, Notifier
from custody.withdrawals.releasing import Gate
from custody.withdrawals.states import Withdrawal
from custody.withdrawals.workflow import WithdrawalTerms
from sweeper.policy import SweepRules


@dataclass(frozen=True, slots=True)
class ChainHome:
    """One chain with everything that is set per chain."""

    chain: Chain
    keys: Mapping[str, PublicKeys]
    """Public keys of every account: no private key stands behind them."""
    terms: WithdrawalTerms
    sweeps: SweepRules
    patience: Patience
    start_height: int | None = None

    def public_key_of(self, account: str, index: int) -> bytes:
        """Return an own public key, derived by two libraries that agree."""
        return self.keys[account].public_key_checked(index)

    @property
    def makes_keys(self) -> bool:
        """Return whether the signer makes keys one by one: there is no public derivation."""
        return not self.keys

    def public_key_again(self, account: str, index: int) -> bytes:
        """Return an own public key as the second library alone derives it. Refused: unknown_key."""
        keys = self.keys.get(account)
        if keys is None:
            raise Refused(Reason.UNKNOWN_KEY, f"no account {account!r}")
        return keys.public_key_again(index)


@dataclass(frozen=True, slots=True)
class Platform:
    """The whole platform but its engine: what steps and verbs are handed."""

    db: Database
    clock: Clock
    entropy: Entropy
    rosters: RosterChain
    signer: KeyService
    chains: Mapping[ChainId, ChainHome]
    book: BookTerms = field(default_factory=BookTerms)
    """How customers' address books behave."""
    notifier: Notifier = field(default_factory=NobodyTold)
    """Who hands one-time codes to customers."""
    providers: Mapping[str, Provider] = field(default_factory=dict)
    """Who is asked about every withdrawal, by name."""
    genesis: Publication | None = None
    """The first policy; None: the database has one already."""

    @property
    def roster(self) -> Roster:
        """Return the roster that counts now."""
        return self.rosters.pinned

    @property
    def attestation_key(self) -> bytes:
        """Return the public key that every shown address is checked against.

        Unavailable: the roster names none, so no address can be shown.
        """
        key = self.roster.attestation_key
        if key is None:
            raise Unavailable("the roster names no attestation key")
        return key

    def keys_in(self, home: ChainHome, conn: sa.Connection) -> PublicKeyOf:
        """Return what gives a chain's public keys in a transaction, each of them checked."""
        if home.makes_keys:
            return keys_in(conn, home.chain.traits, attestation_key=self.attestation_key)
        return home.public_key_of

    def stock_of(self, home: ChainHome) -> KeyStock:
        """Return the stock of a chain whose keys the signer makes."""
        traits = home.chain.traits
        accounts = (DEPOSITS, *accounts_in_use(self.roster, traits.chain, OWN_WALLETS))
        return KeyStock(traits, self.signer, lambda: self.attestation_key, accounts)

    def wallet_desks(self, home: ChainHome) -> list[Desk]:
        """Return a desk for each wallet of several owners that the roster names on a chain."""
        chain, wallets = home.chain, home.chain.wallets
        if wallets is None:
            return []

        return [
            Desk(
                db=self.db,
                chain=chain,
                wallets=wallets,
                row=row,
                owners=owners_of(row, self._owner_address(home)),
                clock=self.clock,
                gate=Gate(self.roster, home.terms, self.clock),
            )
            for row in self.roster.wallets_of(chain.traits.chain)
        ]

    def coin_desks(self, home: ChainHome) -> list[CoinDesk]:
        """Return a desk for each wallet of several owners on a chain that spends coins.

        Refused: malformed, owner_change (a row's descriptor is another address's).
        """
        chain, found = home.chain, []
        for row in self.roster.wallets_of(chain.traits.chain):
            wallet = chain.coin_wallet(row.address, row.code) if row.code else None
            if wallet is None:
                continue
            owners = owners_of(row, self._owner_address(home))
            gate = Gate(self.roster, home.terms, self.clock)
            found.append(CoinDesk(self.db, chain, wallet, row, owners, self.clock, gate))
        return found

    def _owner_address(self, home: ChainHome) -> Callable[[KeyRef], str]:
        def address_of(key: KeyRef) -> str:
            if key.account not in home.keys:
                raise Unavailable(f"the accounts of the signer were exported without {key.account}")
            return home.chain.address_of(home.public_key_of(key.account, key.index))

        return address_of

    def close(self) -> None:
        """Let go of the database, of the signer and of every node."""
        self.signer.close()
        for home in self.chains.values():
            home.chain.close()
        self.db.close()

    def home(self, chain: ChainId) -> ChainHome:
        """Return a configured chain. Refused: unknown_chain."""
        found = self.chains.get(chain)
        if found is None:
            raise Refused(Reason.UNKNOWN_CHAIN, chain)
        return found


def account_keys(
    xpub_of: Callable[[str], str], accounts: Sequence[str] = (DEPOSITS, *OWN_WALLETS)
) -> dict[str, AccountKeys]:
    """Export every account's xpub once; from here on the platform derives without the signer."""
    return {account: AccountKeys(xpub_of(account)) for account in accounts}


def prepare(
    platform: Platform, *, assets: Sequence[AssetSpec], markets: Sequence[MarketRow]
) -> None:
    """Check every chain's identity, then register chains, assets, own wallets and markets.

    The first policy too.

    Idempotent.

    Markets name assets by the numbers that `assets` get in the order given.
    """
    for home in platform.chains.values():
        home.chain.check_identity()
        if home.makes_keys:
            platform.stock_of(home).step(platform.db, clock=platform.clock)

    def apply(conn: sa.Connection) -> None:
        now_ns = platform.clock.now_ns()
        if platform.genesis is not None:
            policies.begin(conn, platform.genesis, roster=platform.roster, now_ns=now_ns)
        for chain_id, home in platform.chains.items():
            chain_state.register(conn, chain_id, home.chain.traits.network)
            public_key_of = platform.keys_in(home, conn)
            for account in accounts_in_use(platform.roster, chain_id, OWN_WALLETS):
                address = home.chain.address_of(public_key_of(account, 0))
                addresses.register_own(conn, chain_id, account, address, now_ns=now_ns)
            for one in platform.roster.wallets_of(chain_id):
                addresses.register_own(conn, chain_id, one.wallet, one.address, now_ns=now_ns)
        for spec in assets:
            catalogue.list_asset(conn, spec, now_ns=now_ns)
        for row in markets:
            catalogue.list_market(conn, row)

    platform.db.run(apply)


def issue_address(platform: Platform, chain_id: ChainId, customer_no: CustomerNo) -> Address:
    """Issue a customer's next deposit address.

    Refused: unknown_chain, unknown_customer, bad_attestation. Unavailable: the signer is away; the
    address stays reserved for the same customer.
    """
    home = platform.home(chain_id)

    def apply(conn: sa.Connection) -> Address:
        catalogue.customer(conn, customer_no)
        return addresses.reserve(
            conn,
            chain_id,
            customer_no,
            public_key_of=platform.keys_in(home, conn),
            address_of=home.chain.address_of,
            now_ns=platform.clock.now_ns(),
        )

    row = platform.db.run(apply)
    if row.attestation is None:
        row = attest_address(platform, row)
        platform.db.run(lambda conn: addresses.put_attestation(conn, row))
    return row


def attest_address(platform: Platform, row: Address) -> Address:
    """Return a reserved address with the signer's attestation, checked; nothing is stored.

    Refused: bad_attestation. Unavailable: the signer is away.
    """
    return addresses.attest(
        row,
        platform.signer,
        network=platform.home(row.chain).chain.traits.network,
        attestation_key=platform.attestation_key,
    )


def release_of(platform: Platform) -> Release:
    """Bind the signer to the authority that each spend claims."""

    def release(spend: Spend, intent: SpendIntent, unsigned: UnsignedTx) -> bytes:
        is_first = spend.state is SpendState.PLANNED
        authority = authority_of(platform, intent, spend.cause_id, is_first=is_first)
        key = KeyRef(spend.account, spend.key_index)
        chain = platform.home(spend.chain).chain
        input_keys, change_keys = keys_needed(platform.db, chain, intent, unsigned, key)
        request = SignRequest(intent, authority, unsigned, key, input_keys, change_keys)
        return sign_one(platform.signer, request)

    return release


def keys_needed(
    db: Database, chain: Chain, intent: SpendIntent, unsigned: UnsignedTx, key: KeyRef
) -> tuple[tuple[KeyRef, ...], tuple[KeyRef, ...]]:
    """Return whose each input or signature is, and which own keys get change.

    As the draft's bytes say; the signer reads and derives all of it again. Change goes back to the
    source and nowhere else. Refused: not_found (an owner is none of ours).
    """
    traits = chain.traits
    if not (traits.spends_coins or traits.uses_tickets):
        return (), ()
    decoded = chain.decode(unsigned.payload, sender=unsigned.sender)
    owners = [one.owner for one in decoded.inputs] or list(decoded.signers)
    with db.read() as conn:
        found = {one: addresses.of_address(conn, traits.chain, one) for one in set(owners)}
    keys = tuple(KeyRef(found[one].account, found[one].key_index) for one in owners)
    back = sum(one.destination == intent.source for one in decoded.effects)
    gets_change = decoded.inputs and back and intent.kind is not SpendKind.CANCELLATION
    return keys, (key,) if gets_change else ()


def with_chain(platform: Platform, chain_id: ChainId, home: ChainHome) -> Platform:
    """Return the platform with one chain's home replaced."""
    return dataclasses.replace(platform, chains={**platform.chains, chain_id: home})


def _refuse_stopped(conn: sa.Connection, row: Withdrawal) -> None:
    """Give no first signature to a customer who owes us: the spend is abandoned, its hold ends."""
    try:
        workflow.refuse_if_stopped(conn, row)
    except Refused as refused:
        raise Refused(Reason.POLICY_BLOCKED, refused.detail) from refused


def _right_of(
    conn: sa.Connection,
    platform: Platform,
    intent: SpendIntent,
    withdrawal_id: str,
    *,
    is_first: bool,
) -> Approvals | Allowance:
    row = states.get(conn, WithdrawalId(withdrawal_id))
    if is_first:
        _refuse_stopped(conn, row)
    stops.refuse_if_stopped(
        conn, chain=row.chain, asset_key=intent.asset_key, customer_no=row.customer_no,
        now_ns=platform.clock.now_ns(),
    )  # fmt: skip
    withdrawal, now_ns = approvals.intent_of(row), platform.clock.now_ns()
    if judging.taken_of(conn, row.withdrawal_id).decision.outcome is Outcome.ALLOW:
        single = next(one for one in singles(intent) if one.cause_id == withdrawal_id)
        return Allowance(_mandate_for(platform.roster, single, None, now_ns=now_ns), withdrawal)
    return Approvals(withdrawal, tuple(approvals.of(conn, row.withdrawal_id)))


def authority_of(
    platform: Platform, intent: SpendIntent, cause_id: str, *, is_first: bool
) -> Authority:
    """Return by what right a spend may be signed; the signer verifies all of it again.

    is_first: no bytes of it are out yet; later ones replace them and pay nothing more. Refused:
    policy_blocked (its customer owes us, or no mandate), paused, frozen.
    """
    with platform.db.read() as conn:
        if intent.kind is SpendKind.WITHDRAWAL:
            return _right_of(conn, platform, intent, cause_id, is_first=is_first)
        if intent.kind is SpendKind.BATCH:
            each = [one.cause_id for one in intent.items]
            rights = [_right_of(conn, platform, intent, i, is_first=is_first) for i in each]
            return Together(tuple(rights))
        if intent.kind in (SpendKind.ROTATION, SpendKind.OWNERS):
            return rotations.authority_of(conn, cause_id)
        own = addresses.find(conn, intent.chain, intent.destination)
    account = None if own is None else wallet_of(own.account)
    mandate_id = _mandate_for(platform.roster, intent, account, now_ns=platform.clock.now_ns())
    if own is None or intent.kind is SpendKind.CANCELLATION:
        return Standing(mandate_id, None)
    return Standing(mandate_id, KeyRef(own.account, own.key_index))


def _mandate_for(roster: Roster, intent: SpendIntent, account: str | None, *, now_ns: int) -> str:
    """Return the mandate that covers a spend now; when none does, one whose refusal says why."""
    same_kind = [one for one in roster.mandates_of(intent.chain) if one.kind is intent.kind]
    for mandate in same_kind:
        if not mandate.valid_from_ns <= now_ns < mandate.valid_until_ns:
            continue
        try:
            covers(mandate, intent, destination_account=account)
        except Refused:
            continue
        return mandate.mandate_id
    if not same_kind:
        raise Refused(Reason.POLICY_BLOCKED, f"no mandate for a {intent.kind}")
    return same_kind[-1].mandate_id
