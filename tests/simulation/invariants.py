"""The invariants of rules §8 as questions to a run; each returns findings that name ids."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from chains.fake import FakeChain
from core.errors import Corrupt, Unavailable
from custody import audit_log, catalogue, chain_state, deposit_rows, settlement
from custody.db import Database
from custody.deposit_rows import Deposit, DepositState
from custody.funding import FundingKind, FundingState, funding
from custody.funding import causes_of as funding_causes
from custody.keys import audit as keys_audit
from custody.keys.audit import Auditor
from custody.keys.derivation import AccountKeys
from custody.keys.desk import KeyDesk
from custody.ledger import audit as ledger_audit
from custody.ledger import balances
from custody.ledger.accounts import accounts
from custody.ledger.chart import CUSTOMER_LIABILITIES, AccountKind
from custody.ledger.records import Chain, transfers
from custody.reserves import publish, snapshot
from custody.reserves.assets import read_holdings
from custody.reserves.report import NO_REPORT
from custody.spending import plan, rows, sweep_items
from custody.spending.rows import SpendState
from custody.withdrawals import approvals, inside, states
from custody.withdrawals.states import INSIDE, RELEASING, TRANSITIONS, WithdrawalState
from engine.invariants import broken_invariants
from engine.recovery import ReferenceFactory, replay
from indexers import reconcile
from tests.simulation import model, own_keys
from tests.simulation.machine import CHAIN, ENGINE, Machine
from tests.simulation.officers import Officers
from tests.simulation.people import People
from tests.simulation.rulers import Rulers

ALL = 1_000_000


@dataclass(frozen=True, slots=True)
class Bench:
    """Where the judges sit: a connection of their own, an honest node, and what people remember."""

    machine: Machine
    people: People
    officers: Officers
    rulers: Rulers
    db: Database
    chain: FakeChain
    keys: Mapping[str, AccountKeys]

    def all_deposits(self, conn: sa.Connection) -> list[Deposit]:
        """Return every deposit row."""
        return deposit_rows.list_deposits(conn, limit=ALL)


Question = Callable[[Bench], Iterator[str]]


def books(bench: Bench) -> Iterator[str]:
    """I1, I2, I3 and both hash chains of the ledger."""
    with bench.db.read() as conn:
        for finding in ledger_audit.audit(conn):
            yield str(finding)


def books_equal_engine(bench: Bench) -> Iterator[str]:
    """I4: at the projector's sequence, book balances are what the engine has; holds likewise."""
    process = bench.machine.processes.get(ENGINE)
    if process is None or process.sequencer is None or process.sequencer.failure is not None:
        return
    with process.sequencer.reading() as engine, bench.db.read() as conn:
        if settlement.position(conn).sequence != engine.sequence:
            return
        booked = {
            (int(row.customer_no), int(row.asset_no)): (row.balance, row.withdrawing)
            for row in balances.all_customer_balances(conn)
            if row.balance or row.withdrawing
        }
        held = {
            (no, asset_no): (balance.available + balance.locked, balance.held)
            for no in engine.customers()
            for asset_no, balance in engine.balances(no).items()
            if any(balance)
        }
        for key in sorted({*booked, *held}):
            if booked.get(key) != held.get(key):
                yield f"I4: customer, asset {key}: books {booked.get(key)}, engine {held.get(key)}"
        live = _live_holds(conn)
        withdrawing = sum(one for _, one in booked.values())
        if withdrawing != live:
            yield f"I4: {withdrawing} is withdrawing, live withdrawals hold {live}"


def _live_holds(conn: sa.Connection) -> int:
    done = conn.execute(
        sa.select(funding.c.kind, funding.c.amount, funding.c.cause_id).where(
            funding.c.state == FundingState.DONE.value
        )
    ).all()
    sign = {FundingKind.HOLD: 1, FundingKind.CAPTURE: -1, FundingKind.RELEASE: -1}
    return sum(sign.get(FundingKind(row.kind), 0) * row.amount for row in done)


def books_equal_chain(bench: Bench) -> Iterator[str]:
    """I5: every difference between chain and books is explained by an id."""
    with bench.db.read() as conn:
        state = chain_state.state(conn, CHAIN)
    if state.frozen or state.final is None or not bench.machine.world.has(state.final):
        return
    try:
        result = reconcile.reconcile(bench.db, bench.chain)
    except Unavailable:
        return
    for line in result.lines:
        if line.unexplained:
            yield (
                f"I5: {line.account} asset {line.asset_no} at {result.at.height}: on chain"
                f" {line.on_chain}, books {line.books}, residuals"
                f" {[(r.cause_id, r.why, r.amount) for r in line.residuals]}"
            )


def deposits_equal_chain(bench: Bench) -> Iterator[str]:
    """I6: credited deposits are final payments of that amount, and no final payment is missed."""
    with bench.db.read() as conn:
        state = chain_state.state(conn, CHAIN)
        rows_ = bench.all_deposits(conn)
        funded = conn.execute(
            sa.select(funding.c.cause_id, funding.c.amount, funding.c.state).where(
                funding.c.kind == FundingKind.CREDIT.value
            )
        ).all()
        taken_back = funding_causes(conn, FundingKind.DEBIT)
    if state.frozen or state.final is None or not bench.machine.world.has(state.final):
        return
    by_id = {row.deposit_id: row for row in rows_}
    world = bench.machine.world
    final = {
        (paid.tx_id, paid.position, paid.asset_key): paid
        for paid in world.final_payments_to(bench.people.addresses)
    }
    for row in rows_:
        # After a resolution finality rises again towards what had been final before.
        again = row.deposit_id in taken_back or (
            row.deposit_id in bench.officers.kept and row.block.height > state.final.height
        )
        if row.state in (DepositState.FINAL, DepositState.CREDITED) and not again:
            paid = final.get((row.tx_id, row.position, row.asset_key))
            if paid is None or row.customer_no is None:
                yield f"I6: {row.deposit_id} is {row.state} and not final on chain"
            elif (paid.amount, bench.people.addresses.get(paid.to_address)) != (
                row.amount, row.customer_no,
            ):  # fmt: skip
                yield f"I6: {row.deposit_id} is not the payment {paid}"
    for cause_id, amount, _ in funded:
        if by_id[cause_id].amount != amount:
            yield f"I6: {cause_id} of {by_id[cause_id].amount} was funded with {amount}"
    yield from _missed(bench, rows_, state.final.height)


def _missed(bench: Bench, rows_: list[Deposit], final_height: int) -> Iterator[str]:
    known = {(row.tx_id, row.position, row.asset_key): row for row in rows_}
    undecided = (DepositState.SEEN, DepositState.COUNTING, DepositState.ORPHANED)
    own = own_addresses(bench)
    for block, receipt in bench.machine.world.final_receipts():
        if block.ref.height > final_height:
            break
        for paid in receipt.payments:
            if paid.to_address not in bench.people.addresses or paid.from_address in own:
                continue
            row = known.get((paid.tx_id, paid.position, paid.asset_key))
            if row is None or row.state in undecided:
                yield f"I6: {paid.tx_id}/{paid.position} is final at {block.ref.height}: {row}"


def own_addresses(bench: Bench) -> frozenset[str]:
    """Return every address the platform has a key for."""
    return frozenset([*bench.people.addresses, bench.machine.cast.hot, bench.machine.cast.gas])


def paid_once(bench: Bench) -> Iterator[str]:
    """I7: a destination gets its withdrawal once or never, and never after a release."""
    with bench.db.read() as conn:
        withdrawals = states.in_states(conn, frozenset(), limit=ALL)
        settled = inside.settled_ids(conn)
        received = funding_causes(conn, FundingKind.RECEIVE)
        captured = funding_causes(conn, FundingKind.CAPTURE)
    for row in withdrawals:
        if row.wallet == INSIDE:
            ended = row.state is WithdrawalState.CONFIRMED
            told = {row.withdrawal_id in ids for ids in (settled, received, captured)}
            if told != {ended}:
                yield f"I7: {row.withdrawal_id} is {row.state}, and its settlement says otherwise"
            continue
        paid = model.paid_to(bench.machine.world, row.destination)
        if len(paid) > 1:
            yield f"I7: {row.withdrawal_id} was paid {len(paid)} times"
        if paid and row.state in (RELEASING | {WithdrawalState.REFUSED}):
            yield f"I7: {row.withdrawal_id} is {row.state} and was paid"
        if paid and (paid[0].claimed, paid[0].asset_key) != (row.amount, _key(bench, row.asset_no)):
            yield f"I7: {row.withdrawal_id} was paid {paid[0]}"


def _key(bench: Bench, asset_no: int) -> str:
    return bench.machine.cast.assets[asset_no - 1].key


def signatures(bench: Bench) -> Iterator[str]:
    """I7, I8, I9, I10 by the auditor of the signature log, who believes keys and rosters only."""
    auditor = Auditor(
        rosters=bench.machine.cast.rosters,
        chains={CHAIN: bench.chain},
        public_key_of=lambda _chain, key: bench.keys[key.account].public_key_checked(key.index),
        law=bench.machine.cast.law,
    )
    with bench.db.read() as conn:
        waiting = rows.in_states(conn, CHAIN, [SpendState.PLANNED], limit=1)
        for finding in keys_audit.audit(bench.machine.shelf.entries(), auditor):
            if finding.invariant == "I9" and "never signed" in finding.what and waiting:
                continue  # a lane is signed in any order; at rest it has no gap
            yield f"{finding.invariant}: signature {finding.position}: {finding.what}"
        for row in conn.execute(sa.select(approvals.approvals)):
            if (row.person, row.withdrawal_id, row.verdict) not in bench.officers.meant:
                yield f"I8: {row.person} never signed {row.verdict} of {row.withdrawal_id}"


def lanes(bench: Bench) -> Iterator[str]:
    """I9: the spends of a sender own the nonces below the lane's next one, each exactly once."""
    with bench.db.read() as conn:
        taken: dict[str, list[int]] = {}
        for spend in rows.all_of(conn, CHAIN):
            taken.setdefault(spend.source, []).append(spend.nonce)
        for source, nonces in taken.items():
            if nonces != list(range(plan.next_nonce(conn, CHAIN, source) or 0)):
                yield f"I9: the lane of {source} has nonces {nonces}"


def owners(bench: Bench) -> Iterator[str]:
    """I15: every address derives again and has the signer's word for its owner."""
    yield from own_keys.findings(bench.db, bench.chain, bench.keys)


def sweeps(bench: Bench) -> Iterator[str]:
    """P05: what a sweep gathers was credited before it was gathered."""
    booked = (DepositState.CREDITED.value, DepositState.REVERSED.value)
    with bench.db.read() as conn:
        query = (
            sa.select(sweep_items.sweep_items.c.spend_id, deposit_rows.deposits.c.deposit_id)
            .join(
                deposit_rows.deposits,
                deposit_rows.deposits.c.deposit_id == sweep_items.sweep_items.c.deposit_id,
            )
            .where(deposit_rows.deposits.c.state.not_in(booked))
        )
        for row in conn.execute(query):
            yield f"P05: {row.spend_id} gathers {row.deposit_id}, which is not credited"


def engine(bench: Bench) -> Iterator[str]:
    """I3, I11 as the engine answers them."""
    process = bench.machine.processes.get(ENGINE)
    if process is not None and process.sequencer is not None:
        with process.sequencer.reading() as live:
            yield from broken_invariants(live)


def journal(bench: Bench) -> Iterator[str]:
    """I12: the journal replays to the live state, and holds everything that was answered."""
    process = bench.machine.processes.get(ENGINE)
    if process is None or process.sequencer is None or process.sequencer.failure is not None:
        return
    if process.sequencer._journal._file is None:
        return  # a sync failed and nobody was answered: the next append or opening decides
    with bench.db.read() as conn:
        booked = settlement.position(conn)
    try:
        whole, _, _ = replay(bench.machine.storage, factory=ReferenceFactory())
        restarted, _, _ = replay(
            bench.machine.storage, projected=booked, factory=ReferenceFactory()
        )
    except Corrupt as error:
        yield f"I12: {error}"
        return
    with process.sequencer.reading() as live:
        found = [one.state_hash().hex() for one in (live, whole, restarted)]
    if len(set(found)) != 1:
        yield f"I12: live, replayed and restarted states differ: {found}"
    answered = bench.machine.acknowledged
    if whole.sequence < answered:
        yield f"I12: {answered} was answered, the journal ends at {whole.sequence}"


def transitions(bench: Bench) -> Iterator[str]:
    """I13: every withdrawal walked the declared graph, and one request has one withdrawal."""
    allowed = {(before, after) for (before, _), after in TRANSITIONS.items()}
    with bench.db.read() as conn:
        walked: dict[str, list[WithdrawalState]] = {}
        for event in conn.execute(
            sa.select(states.withdrawal_events).order_by(states.withdrawal_events.c.event_no)
        ):
            walked.setdefault(event.withdrawal_id, []).append(WithdrawalState(event.state))
        withdrawals = states.in_states(conn, frozenset(), limit=ALL)
    for row in withdrawals:
        path = walked[row.withdrawal_id]
        if path[0] is not WithdrawalState.REQUESTED or path[-1] is not row.state:
            yield f"I13: {row.withdrawal_id} is {row.state} after {path}"
        for pair in itertools.pairwise(path):
            if pair not in allowed:
                yield f"I13: {row.withdrawal_id} went {pair[0]} -> {pair[1]}"
    known = {row.withdrawal_id for row in withdrawals}
    for asked in bench.people.asked:
        if asked.withdrawal_id is not None and asked.withdrawal_id not in known:
            yield f"I13: {asked.withdrawal_id} was accepted and is gone"


def audit_records(bench: Bench) -> Iterator[str]:
    """I14: the audit log is one chain, and every request and verdict stands in it."""
    with bench.db.read() as conn:
        bad = audit_log.verify(conn)
        if bad is not None:
            yield f"I14: audit record {bad.number}: {bad.why}"
        subjects = {
            (record.action, record.subject) for record in audit_log.records(conn, limit=ALL)
        }
        for row in states.in_states(conn, frozenset(), limit=ALL):
            if ("withdrawal.request", row.withdrawal_id) not in subjects:
                yield f"I14: nobody recorded the request of {row.withdrawal_id}"


def treasury(bench: Bench) -> Iterator[str]:
    """I16: treasury entries touch no customer, and network fees booked are those the chain took."""
    with bench.db.read() as conn:
        owed = [kind.value for kind in CUSTOMER_LIABILITIES]
        touching = sa.or_(
            accounts.c.account_id == transfers.c.debit_account,
            accounts.c.account_id == transfers.c.credit_account,
        )
        query = sa.select(transfers.c.cause_id).where(
            transfers.c.chain == Chain.TREASURY.value,
            sa.exists().where(touching, accounts.c.kind.in_(owed)),
        )
        for cause_id in conn.execute(query).scalars():
            yield f"I16: {cause_id} moved a customer's money without the journal"
        booked = balances.totals(conn).get(
            (AccountKind.NETWORK_FEES, int(catalogue.native_asset(conn, CHAIN).asset_no)), 0
        )
        ended = [
            spend for spend in rows.all_of(conn, CHAIN)
            if spend.state in (SpendState.CONFIRMED, SpendState.FAILED)
        ]  # fmt: skip
        tx_ids = {a.tx_id for spend in ended for a in rows.attempts(conn, spend.spend_id)}
        state = chain_state.state(conn, CHAIN)
    newest = max((spend.final_height or 0 for spend in ended), default=0)
    if state.frozen or newest > bench.machine.world.final.ref.height:
        return  # final blocks fell out; what they held is mined again
    on_chain = sum(receipt.fee for receipt in bench.machine.world.paid_out(tx_ids).values())
    if booked != on_chain:
        yield f"I16: network fees of ended spends: books {booked}, chain {on_chain}"


def reserves(bench: Bench) -> Iterator[str]:
    """I17: a report of this moment adds up: liabilities of the tree, assets, equity, in flight."""
    with bench.db.read() as conn:
        state = chain_state.state(conn, CHAIN)
    if state.frozen or state.final is None or not bench.machine.world.has(state.final):
        return
    prover = publish.Prover(bench.chain, KeyDesk({}))
    header = snapshot.Header("simulation", "snap_1", bench.machine.clock.now_ns(), NO_REPORT)
    try:
        books_ = publish._freeze(bench.db, {CHAIN: prover}, {})
        holdings = read_holdings(
            {CHAIN: bench.chain},
            blocks=books_.cut.blocks,
            assets=books_.assets,
            addresses=books_.addresses,
        )
        snapshot.plan_report(books_, holdings=holdings, header=header, secret=bytes(32))
    except Corrupt as error:
        yield f"I17: {error}"


CHEAP: tuple[Question, ...] = (books_equal_engine, paid_once, lanes, sweeps, engine)
DEAR: tuple[Question, ...] = (
    books, books_equal_chain, deposits_equal_chain, signatures, journal, transitions,
    audit_records, treasury, reserves, owners,
)  # fmt: skip


def ask(bench: Bench, questions: tuple[Question, ...]) -> list[str]:
    """Return every finding of some questions."""
    return [finding for question in questions for finding in question(bench)]
