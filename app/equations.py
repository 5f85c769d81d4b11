"""The equations of the money, recomputed from the outside.

I1-I7 and I17, each with what was compared.

Nothing stored is believed: the books are audited row by row, the engine is rebuilt from its
journal, and the chain is read again from its first block.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from app.bootstrap import ChainHome, Platform
from chains.base import SpendKind
from core.errors import StrongroomError
from core.ids import ChainId
from custody import catalogue, chain_state, deposit_rows, settlement
from custody.deposit_rows import DepositState
from custody.deposits import deposit_id_of
from custody.keys.audit import Auditor
from custody.keys.audit import audit as audit_signatures
from custody.keys.log_file import whole_log
from custody.keys.policy_export import learned_by
from custody.keys.ruling import Law
from custody.keys.signers.base import KeyRef
from custody.ledger import balances
from custody.ledger.audit import audit as audit_ledger
from custody.multisig import holds
from custody.reserves import verify
from custody.spending import rows as spending_rows
from custody.spending.outcome import as_written
from custody.spending.rows import Attempt, Spend
from custody.wallets import addresses
from custody.wallets.addresses import DEPOSITS
from custody.withdrawals import inside, states
from custody.withdrawals.states import INSIDE, Withdrawal, WithdrawalState
from engine.base import Engine
from engine.factory import engine_factory
from engine.files import Storage
from engine.recovery import replay
from indexers.reconcile import reconcile

FINDINGS_MAX = 20
_UNPAID = frozenset(
    {
        WithdrawalState.REFUSED,
        WithdrawalState.REJECTED,
        WithdrawalState.CANCELLED,
        WithdrawalState.EXPIRED,
        WithdrawalState.FAILED,
    }
)


@dataclass(frozen=True, slots=True)
class Equation:
    """One invariant: what was compared, and every finding against it."""

    name: str
    compared: str
    findings: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Return whether nothing was found against it."""
        return not self.findings


def check(
    platform: Platform, storage: Storage, *, published: bytes | None = None
) -> list[Equation]:
    """Check a settled platform: no step may run meanwhile.

    published: the newest report of reserves, for I17; without one I17 does not hold.
    """
    with platform.db.read() as conn:
        position = settlement.position(conn)
    engine, _, end = replay(storage, projected=position, factory=engine_factory())
    with platform.db.read() as conn:
        found = [*_of_ledger(conn), _of_engine(conn, engine, behind=end != position)]
    found += [_i5(platform), _i6(platform), _i7(platform), _i17(platform, published)]
    return found


def _equation(name: str, compared: str, findings: Sequence[str]) -> Equation:
    return Equation(name, compared, tuple(findings[:FINDINGS_MAX]))


def _of_ledger(conn: sa.Connection) -> list[Equation]:
    found: dict[str, list[str]] = {"I1": [], "I2": [], "I3": []}
    for finding in audit_ledger(conn):
        found.get(finding.check, found["I1"]).append(str(finding))
    accounts = sum(1 for _ in balances.all_accounts(conn))
    what = {
        "I1": "every transfer, its accounts, asset and place in its hash chain",
        "I2": f"stored totals of {accounts} accounts with the sums of their transfers",
        "I3": "the sign of every customer's account",
    }
    return [_equation(name, what[name], found[name]) for name in found]


def _of_engine(conn: sa.Connection, engine: Engine, *, behind: bool) -> Equation:
    findings = ["the books have not followed the journal to its end"] if behind else []
    booked = {
        (int(row.customer_no), int(row.asset_no)): (row.balance, row.withdrawing)
        for row in balances.all_customer_balances(conn)
        if row.total
    }
    in_engine = {
        (customer_no, asset_no): (held.available + held.locked, held.held)
        for customer_no in engine.customers()
        for asset_no, held in engine.balances(customer_no).items()
        if any(held)
    }
    findings += [
        f"{key}: books {booked.get(key)}, engine {in_engine.get(key)}"
        for key in sorted(booked.keys() | in_engine.keys())
        if booked.get(key, (0, 0)) != in_engine.get(key, (0, 0))
    ]
    live = [*states.in_states(conn, states.LIVE, limit=1_000_000), *holds.held_back(conn)]
    owed: Counter[int] = Counter()
    for row in live:
        if row.state is not WithdrawalState.REQUESTED:
            owed[row.asset_no] += row.amount + row.fee
    held_by_asset: Counter[int] = Counter()
    for (_, asset_no), (_, withdrawing) in booked.items():
        held_by_asset[asset_no] += withdrawing
    if +owed != +held_by_asset:
        findings.append(f"live withdrawals {dict(owed)}, withdrawing {dict(held_by_asset)}")
    compared = f"{len(booked)} balances with the engine at sequence {engine.sequence}"
    return _equation("I4", compared, findings)


def _i5(platform: Platform) -> Equation:
    findings, lines = [], 0
    for chain_id, home in platform.chains.items():
        try:
            result = reconcile(platform.db, home.chain)
        except StrongroomError as error:
            findings.append(f"{chain_id}: {error}")
            continue
        lines += len(result.lines)
        findings += [f"{chain_id} {what} unexplained" for what in result.unexplained]
    return _equation("I5", f"{lines} wallets x assets with the nodes' balances", findings)


def _i6(platform: Platform) -> Equation:
    findings: list[str] = []
    seen = 0
    for chain_id, home in platform.chains.items():
        on_chain = _final_payments(platform, chain_id, home)
        seen += len(on_chain)
        with platform.db.read() as conn:
            credited = {
                row.deposit_id: row.amount
                for row in deposit_rows.list_deposits(
                    conn, chain=chain_id, states=[DepositState.CREDITED], limit=1_000_000
                )
            }
            others = {
                row.deposit_id
                for row in deposit_rows.list_deposits(conn, chain=chain_id, limit=1_000_000)
                if row.state is not DepositState.CREDITED
            }
        for deposit_id, amount in credited.items():
            if on_chain.get(deposit_id) != amount:
                told = on_chain.get(deposit_id)
                findings.append(f"{deposit_id}: credited {amount}, on chain {told}")
        missing = on_chain.keys() - credited.keys() - others
        findings += [f"{deposit_id}: on chain and unknown to us" for deposit_id in missing]
    return _equation("I6", f"{seen} final payments read again from the chain", findings)


def _final_payments(platform: Platform, chain_id: ChainId, home: ChainHome) -> Mapping[str, int]:
    """Read a chain again up to our final block; payments to customers' addresses, not our own."""
    with platform.db.read() as conn:
        final = chain_state.state(conn, chain_id).final
        own = [row for row in addresses.all_of(conn, chain_id) if row.account == DEPOSITS]
        listed = {a.spec.key for a in catalogue.all_assets(conn) if a.chain == chain_id}
    watched = frozenset(row.address for row in own)
    found: dict[str, int] = {}
    if final is None:
        return found
    for height in range(home.start_height or 0, final.height + 1):
        block = home.chain.block_at(height)
        if block is None:
            continue
        payments = home.chain.payments_in(block, watched)
        with platform.db.read() as conn:
            ours = spending_rows.own_tx_ids(conn, chain_id, [paid.tx_id for paid in payments])
        for paid in payments:
            if paid.tx_id not in ours and paid.asset_key in listed and paid.amount:
                found[deposit_id_of(chain_id, paid)] = paid.amount
    return found


def _public_key_of(platform: Platform, chain: ChainId, key: KeyRef) -> bytes:
    with platform.db.read() as conn:
        return platform.keys_in(platform.home(chain), conn)(key.account, key.index)


def _i7(platform: Platform) -> Equation:
    findings: list[str] = []
    with platform.db.read() as conn:
        specs = [asset.spec for asset in catalogue.all_assets(conn)]
    scales = {(spec.chain, spec.key): spec.scale for spec in specs}
    auditor = Auditor(
        rosters=platform.rosters,
        chains={chain_id: home.chain for chain_id, home in platform.chains.items()},
        public_key_of=partial(_public_key_of, platform),
        law=Law(learned_by(platform.signer, platform.rosters.by_hash), scales),
    )
    log = list(whole_log(platform.signer))
    findings += [f"{f.invariant} {f.position}: {f.what}" for f in audit_signatures(log, auditor)]
    with platform.db.read() as conn:
        rows = states.in_states(conn, frozenset(), limit=1_000_000)
        inside_ids = inside.settled_ids(conn)
        spends = [
            (spend, spending_rows.attempts(conn, spend.spend_id))
            for chain_id in platform.chains
            for spend in spending_rows.all_of(conn, chain_id)
            if spend.kind in spending_rows.TO_CUSTOMERS
        ]
    landed = _landed(platform, spends)
    for row in rows:
        paid = landed[row.withdrawal_id]
        if len(paid) > 1:
            findings.append(f"{row.withdrawal_id} was paid {len(paid)} times: {paid}")
        if row.state in _UNPAID and paid:
            findings.append(f"{row.withdrawal_id} is {row.state} and was paid: {paid}")
        if row.wallet == INSIDE:
            findings += _paid_inside(row, inside_ids, paid)
        elif row.state is WithdrawalState.CONFIRMED and not paid:
            findings.append(f"{row.withdrawal_id} is confirmed and was never paid")
    return _equation(
        "I7", f"{len(rows)} withdrawals with the chain and the signature log", findings
    )


def _landed(
    platform: Platform, spends: Sequence[tuple[Spend, Sequence[Attempt]]]
) -> Mapping[str, list[str]]:
    """Return the transactions that paid each withdrawal, alone or in a batch."""
    found: dict[str, list[str]] = defaultdict(list)
    for spend, attempts in spends:
        chain = platform.home(spend.chain).chain
        for attempt in attempts:
            status = as_written(chain, spend, attempt, chain.tx_status(attempt.tx_id))
            if status.block is None or not status.succeeded or attempt.cancels:
                continue
            pairs = zip(spend.intent.items, status.items, strict=True)
            each = [one.cause_id for one, item in pairs if item.paid and item.amount]
            for cause in each if spend.kind is SpendKind.BATCH else [spend.cause_id]:
                found[cause].append(attempt.tx_id)
    return found


def _paid_inside(row: Withdrawal, settled: frozenset[str], paid: Sequence[str]) -> list[str]:
    """Return what is wrong with a payment between customers: it never meets the chain."""
    findings = [f"{row.withdrawal_id} is settled inside and was paid: {paid}"] if paid else []
    if (row.state is WithdrawalState.CONFIRMED) != (row.withdrawal_id in settled):
        findings.append(f"{row.withdrawal_id} is {row.state}, and its settlement says otherwise")
    return findings


def _i17(platform: Platform, published: bytes | None) -> Equation:
    if published is None:
        return _equation("I17", "no report", ["no report of reserves was published"])
    try:
        report = verify.check_report(published)
    except verify.Refuted as error:
        return _equation("I17", "the newest report", [f"the report does not verify: {error}"])
    findings = []
    with platform.db.read() as conn:
        owed = balances.liabilities(conn)
        listed = catalogue.all_assets(conn)
    sums = [int(each) for each in report.body["tree"]["sums"]]
    for asset, total in zip(listed, sums, strict=True):
        booked = owed.get(asset.asset_no, 0)
        if total != booked:
            findings.append(f"{asset.spec.symbol}: the proof owes {total}, the books {booked}")
    return _equation("I17", f"the proof's totals of {len(sums)} assets with the books", findings)
