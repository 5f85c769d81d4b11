"""After a run: the invariants, and what the customers were promised against what is there."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator

from app import equations
from app.api.units import order_id as order_id_text
from app.bootstrap import Platform
from app.data_folder import JOURNAL_NAME
from app.opening import open_platform
from app.signer_home import open_signer
from custody import catalogue, deposit_rows
from custody.ledger import balances
from custody.ledger.chart import AccountKind
from custody.withdrawals import states
from custody.withdrawals.states import TERMINAL, TRANSITIONS, WithdrawalState
from engine.blocks import GENESIS
from engine.events import OrderAccepted
from engine.files import DiskStorage, Storage
from engine.journal import JournalReader
from engine.recovery import ReferenceFactory, replay
from engine.sequencer import apply_block
from engine.snapshot import read_snapshot, snapshot_names
from infra.devnet.deploy import Contract
from tests.support.killing.customers import COIN, Ledger
from tests.support.killing.run import Outcome

EQUATIONS = ("I1", "I2", "I3", "I4", "I5", "I6", "I7")
PAID = {"pay": "confirmed", "reject": "rejected", "cancel": "cancelled", "too_much": "refused"}
ORDER_REFUSALS = frozenset({"exceeds_available", "self_trade"})


def findings(outcome: Outcome, token: Contract) -> list[str]:
    """Return everything that is not as it must be; the processes are stopped, the node runs."""
    signer = open_signer(outcome.setup.settings())
    platform = dataclasses.replace(open_platform(outcome.setup.settings()), signer=signer.desk)
    storage = DiskStorage(outcome.setup.settings().data.folder / JOURNAL_NAME)
    found = [*outcome.ledger.surprises]
    found += [f"{name} ended with {code}" for name, code in outcome.last_codes.items() if code]
    for equation in equations.check(platform, storage):
        if equation.name in EQUATIONS:
            found += [f"{equation.name}: {each}" for each in equation.findings]
    found += _replayed_states(storage)
    found += _orders(storage, outcome.ledger, platform)
    found += _withdrawals(platform, outcome, token)
    found += _deposits(platform, outcome)
    found += _conservation(platform, outcome)
    platform.close()
    signer.close()
    return found


def _replayed_states(storage: Storage) -> Iterator[str]:
    """I12: what a live process wrote down of its state is what the journal alone gives."""
    snapshots = {
        (one := read_snapshot(storage, name)).position.sequence: one.state_hash
        for name in snapshot_names(storage)
    }
    if not snapshots:
        yield "I12: no process ever wrote a snapshot"
    engine = ReferenceFactory().new()
    for block in JournalReader(storage).blocks_from(0):
        apply_block(engine, block)
        live = snapshots.pop(engine.sequence, None)
        if live is not None and live != engine.state_hash():
            yield f"I12: the live state at {engine.sequence} is not the replayed one"
    if snapshots:
        yield f"I12: snapshots at {sorted(snapshots)} lie at no end of a block"
    recovered, _, _ = replay(storage, projected=GENESIS, factory=ReferenceFactory())
    if recovered.state_hash() != engine.state_hash():
        yield "I12: recovery gives another state than the journal alone"


def _orders(storage: Storage, ledger: Ledger, platform: Platform) -> Iterator[str]:
    """I12, I13: every acknowledged order is in the journal, and no client id made two."""
    _, log, _ = replay(storage, projected=GENESIS, factory=ReferenceFactory())
    accepted: Counter[tuple[int, int]] = Counter()
    ids: dict[tuple[int, int], int] = {}
    for block in log.blocks_after(0, 1 << 30):
        for event in block.events:
            if isinstance(event, OrderAccepted):
                key = (event.customer_no, event.client_order_id)
                accepted[key] += 1
                ids[key] = event.order_id
    numbers = _customer_numbers(platform, {who for who, _ in ledger.orders_asked})
    for key, count in accepted.items():
        if count > 1:
            yield f"I13: order {key} was accepted {count} times"
    for who, client_id, order_id in ledger.orders_acknowledged:
        found = ids.get((numbers[who], int(client_id, 16)))
        if found is None or order_id != order_id_text(found):
            yield f"I12: {who} was promised {order_id}, the journal has {found}"
    for who, client_id, reason in ledger.orders_refused:
        if reason not in ORDER_REFUSALS or (numbers[who], int(client_id, 16)) in ids:
            yield f"I13: order {client_id} of {who} was refused ({reason}) and is there"
    asked = {(numbers[who], int(client_id, 16)) for who, client_id in ledger.orders_asked}
    if set(ids) - asked:
        yield f"I13: orders that nobody asked for: {set(ids) - asked}"


def _withdrawals(platform: Platform, outcome: Outcome, token: Contract) -> Iterator[str]:
    """Each was paid exactly once or cleanly given back; transitions followed the graph."""
    with platform.db.read() as conn:
        rows = states.in_states(conn, frozenset(), limit=1_000_000)
        timelines = {row.withdrawal_id: states.timeline(conn, row.withdrawal_id) for row in rows}
    by_client_id = {row.client_withdrawal_id: row for row in rows}
    asked = {one.client_id: one for one in outcome.ledger.withdrawals}
    if len(by_client_id) != len(rows) or by_client_id.keys() - asked.keys():
        yield f"I13: {len(rows)} withdrawals of {len(asked)} requests"
    for client_id, request in asked.items():
        row = by_client_id.get(client_id)
        if row is None:
            yield f"{client_id} is lost"
            continue
        if row.state.value != PAID[request.plan]:
            yield f"{client_id} should be {PAID[request.plan]} and is {row.state}: {row.reason}"
        arrived = _arrived(outcome, token, request.asset, request.destination)
        wanted = request.amount if row.state is WithdrawalState.CONFIRMED else 0
        if arrived != wanted:
            yield f"I7: {client_id} is {row.state}, {arrived} of {wanted} arrived"
        path = [entry.state for entry in timelines[row.withdrawal_id]]
        yield from _path(client_id, path)


def _path(client_id: str, path: list[WithdrawalState]) -> Iterator[str]:
    steps = {(before, after) for (before, _), after in TRANSITIONS.items()}
    if path[0] is not WithdrawalState.REQUESTED or path[-1] not in TERMINAL:
        yield f"I13: {client_id} went {path}"
    for before, after in itertools.pairwise(path):
        if (before, after) not in steps:
            yield f"I13: {client_id} went from {before} to {after}"


def _arrived(outcome: Outcome, token: Contract, asset: str, destination: str) -> int:
    if asset == COIN:
        return int(outcome.node.call("eth_getBalance", destination, "latest"), 16)
    return int(token.ask("balanceOf", destination))


def _deposits(platform: Platform, outcome: Outcome) -> Iterator[str]:
    """I6: every payment a customer made is credited once, with its amount, to its owner."""
    numbers = _customer_numbers(platform, {one.customer for one in outcome.ledger.deposits})
    with platform.db.read() as conn:
        rows = deposit_rows.list_deposits(conn, limit=1_000_000)
    credited = Counter(
        (row.tx_id, int(row.customer_no), row.amount)
        for row in rows
        if row.state is deposit_rows.DepositState.CREDITED and row.customer_no is not None
    )
    sent = Counter(
        (one.tx_id, numbers[one.customer], one.amount) for one in outcome.ledger.deposits
    )
    if credited != sent:
        yield f"I6: sent only {sent - credited}, credited only {credited - sent}"


def _conservation(platform: Platform, outcome: Outcome) -> Iterator[str]:
    """What customers sent is what is owed to them, what they were paid, and what they paid us."""
    with platform.db.read() as conn:
        for asset in outcome.setup.assets:
            listed = catalogue.asset_by_key(conn, outcome.setup.chain, asset.key)
            assert listed is not None
            owed = balances.liabilities(conn).get(listed.asset_no, 0)
            fees = sum(
                total
                for (kind, asset_no), total in balances.totals(conn).items()
                if kind is AccountKind.FEE_INCOME and asset_no == listed.asset_no
            )
            sent = sum(one.amount for one in outcome.ledger.deposits if one.asset == asset.symbol)
            paid = sum(
                one.amount
                for one in outcome.ledger.withdrawals
                if one.asset == asset.symbol and one.plan == "pay"
            )
            if sent != owed + paid + fees:
                yield f"{asset.symbol}: {sent} sent, {owed} owed, {paid} paid, {fees} fees"


def _customer_numbers(platform: Platform, names: set[str]) -> dict[str, int]:
    found = {}
    with platform.db.read() as conn:
        for name in names:
            customer = catalogue.customer_by_external_id(conn, name)
            assert customer is not None
            found[name] = int(customer.customer_no)
    return found
