"""One sweep step: gather what is unswept, decide, and put planned spends on the one road out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import sqlalchemy as sa

from chains.base import NATIVE, BlockRef, Chain, FeeRate, SpendIntent, SpendKind
from core.clock import Clock
from core.errors import Reason, Refused, Unavailable
from core.ids import AssetNo, derived_id
from custody import catalogue, chain_state
from custody.catalogue import Asset
from custody.db import Database
from custody.spending import drive, means, plan, rows, sweep_items
from custody.spending.drive import Note, Problem
from custody.spending.means import NOTHING, Means
from custody.spending.sweep_items import Heap
from custody.wallets import addresses
from custody.wallets.addresses import Address
from custody.wallets.inventory import GAS, HOT
from custody.withdrawals import judging
from sweeper import coins
from sweeper.policy import (
    Action,
    Candidate,
    SweepRules,
    Verdict,
    is_resting,
    plan_sweeps,
)

DEPOSITS_MAX = 500
"""Deposits gathered by one sweep."""
ADDRESSES_PER_LOOK = 50
ACTIONS_MAX = 50
"""Spends planned in one step. What waits does not count, or it would stop the others."""
COST_MARGIN_PERCENT = 150
"""Room for fees to rise between planning and signing."""


def step(
    db: Database,
    chain: Chain,
    *,
    rules: SweepRules,
    clock: Clock,
    note: Note,
    actions_max: int = ACTIONS_MAX,
) -> int:
    """Plan sweeps and top-ups of a chain; return how many spends were planned.

    One poisoned address (a token that reverts, a blocked account) is noted and never stops the
    others.
    """
    chain_id = chain.traits.chain
    with db.read() as conn:
        if chain_state.state(conn, chain_id).frozen:
            return 0
    if chain.traits.spends_coins:
        return coins.step(db, chain, rules=rules, clock=clock, note=note, sweeps_max=actions_max)
    with db.read() as conn:
        listed = {asset.asset_no: asset for asset in catalogue.all_assets(conn)}
        waiting = [
            heap
            for heap in sweep_items.heaps(conn, chain_id)
            if heap.amount >= listed[heap.asset_no].spec.sweep_minimum
        ]
        flying = drive.in_flight(conn, chain_id)
        if not waiting:
            return 0
        hot = addresses.own_wallet(conn, chain_id, HOT)
        gas = addresses.own_wallet(conn, chain_id, GAS)
    fees = chain.fee_rate()
    rate = fees.max_rate
    if rate > rules.rate_max:
        return 0
    busy = {spend.source for spend in flying} | {spend.destination for spend in flying}
    look = _Look(db, chain, listed, hot, fees, rules, note, clock)
    planned = 0
    for heaps in _some_addresses([heap for heap in waiting if heap.address not in busy]):
        for action in plan_sweeps(look.candidates(heaps), rate=rate, rules=rules):
            if planned == actions_max:
                return planned
            if action.verdict is not Verdict.WAIT:
                planned += _planned(db, chain, action, hot=hot, gas=gas, clock=clock, note=note)
    return planned


def _some_addresses(waiting: Sequence[Heap]) -> Iterator[list[Heap]]:
    """Yield heaps some addresses at a time; all heaps of an address come together."""
    some: list[Heap] = []
    for count, (_, heaps) in enumerate(groupby(waiting, key=lambda heap: heap.address), start=1):
        some += heaps
        if count % ADDRESSES_PER_LOOK == 0:
            yield some
            some = []
    yield some


def _planned(
    db: Database, chain: Chain, action: Action, *, hot: Address, gas: Address, clock: Clock,
    note: Note,
) -> bool:  # fmt: skip
    source = gas.address if action.verdict is Verdict.TOP_UP else action.candidate.address
    try:
        plan.open_lane(db, chain, source)
        wanted = NOTHING
        if chain.traits.uses_tickets:
            wanted = Means(ticket=means.free_ticket(db, chain, gas.address))
        why = db.run(
            partial(
                _apply, chain=chain, action=action, hot=hot, gas=gas, wanted=wanted, clock=clock
            )
        )
    except (Refused, Unavailable) as error:
        why = str(error)
    if why is not None:
        note(Problem(action.candidate.address, why))
    return why is None


@dataclass(slots=True)
class _Look:
    """What one step asks the chain about heaps; one that cannot be looked at is noted and left."""

    db: Database
    chain: Chain
    listed: Mapping[AssetNo, Asset]
    hot: Address
    fees: FeeRate
    rules: SweepRules
    note: Note
    clock: Clock
    native_cost: int = 0
    """What the sweep of a native heap costs, once one was looked at: it is the same for all."""

    def candidates(self, heaps: Sequence[Heap]) -> list[Candidate]:
        """Return the candidates among some heaps."""
        head = self.chain.head()
        found = []
        for heap in heaps:
            is_native = self.listed[heap.asset_no].spec.key == NATIVE
            if is_native and heap.amount < self.rules.cost_multiple * self.native_cost:
                continue
            try:
                candidate = self._candidate(heap, head, is_native=is_native)
            except (Refused, Unavailable) as error:
                self.note(Problem(heap.address, str(error)))
            else:
                found.append(candidate)
                if is_native:
                    self.native_cost = candidate.cost
        return found

    def _candidate(self, heap: Heap, head: BlockRef, *, is_native: bool) -> Candidate:
        chain, asset = self.chain, self.listed[heap.asset_no]
        probe = _intent(
            chain, asset, SpendKind.SWEEP, source=heap.address, destination=self.hot.address,
            amount=1, fee_max=0, cause_id="probe",
        )  # fmt: skip
        with self.db.read() as conn:
            items = sweep_items.unswept(conn, chain.traits.chain, limit=DEPOSITS_MAX, heap=heap)
            source = addresses.of_address(conn, chain.traits.chain, heap.address)
            failures, last_ns = rows.failures_from(
                conn, chain.traits.chain, heap.address, heap.asset_no
            )
        now_ns = self.clock.now_ns()
        return Candidate(
            address=heap.address,
            key_index=source.key_index,
            asset_no=heap.asset_no,
            is_native=is_native,
            minimum=asset.spec.sweep_minimum,
            deposits=tuple(items),
            balance=chain.balance_of(heap.address, asset.spec.key, head),
            native_balance=chain.balance_of(heap.address, NATIVE, head),
            cost=means.cost_of(chain, probe, self.fees) * COST_MARGIN_PERCENT // 100,
            pays_fee=not chain.traits.uses_tickets,
            balance_least=chain.traits.balance_least,
            busy=False,
            resting=is_resting(failures=failures, last_ns=last_ns, now_ns=now_ns),
        )


def _apply(
    conn: sa.Connection,
    chain: Chain,
    action: Action,
    *,
    hot: Address,
    gas: Address,
    wanted: Means,
    clock: Clock,
) -> str | None:
    """Plan one action as the policy allows it; return what the policy has against it."""
    candidate = action.candidate
    chain_id = chain.traits.chain
    if rows.touching(conn, chain_id, candidate.address):
        raise Refused(Reason.IN_PROGRESS, candidate.address)
    # The number of earlier spends makes the cause unique and, since it is read under the same lock
    # that writes the new one, one cause can never be planned twice.
    earlier = rows.count_touching(conn, chain_id, candidate.address)
    if action.verdict is Verdict.SWEEP:
        asset = catalogue.asset(conn, candidate.asset_no)
        source = addresses.of_address(conn, chain_id, candidate.address)
        kind, target = SpendKind.SWEEP, hot
    else:
        asset = catalogue.native_asset(conn, chain_id)
        source = gas
        kind, target = SpendKind.TOP_UP, addresses.of_address(conn, chain_id, candidate.address)
    intent = _intent(
        chain, asset, kind, source=source.address, destination=target.address,
        amount=action.amount, fee_max=candidate.cost,
        cause_id=derived_id(kind.value, chain_id, candidate.address, earlier),
    )  # fmt: skip
    payment = judging.Payment(
        cause_id=intent.cause_id,
        kind=kind.value,
        initiator=judging.PLATFORM,
        roles=frozenset({judging.PLATFORM}),
        customer_no=None,
        asset=asset,
        address=target.address,
        amount=action.amount,
        wallet=source.account,
    )
    why = judging.own_transfer(conn, payment, now_ns=clock.now_ns())
    if why is not None:
        return f"{Reason.POLICY_BLOCKED.value}: {why}"
    spend = plan.reserve(
        conn, intent, source=source, asset_no=asset.asset_no,
        destination_account=target.account, now_ns=clock.now_ns(), claims=wanted,
    )  # fmt: skip
    if action.verdict is Verdict.SWEEP:
        sweep_items.add(conn, spend.spend_id, candidate.deposits)
    return None


def _intent(
    chain: Chain,
    asset: Asset,
    kind: SpendKind,
    *,
    source: str,
    destination: str,
    amount: int,
    fee_max: int,
    cause_id: str,
) -> SpendIntent:
    return SpendIntent(
        spend_id=derived_id("spend", cause_id),
        kind=kind,
        cause_id=cause_id,
        chain=chain.traits.chain,
        network=chain.traits.network,
        asset_key=asset.spec.key,
        source=source,
        destination=destination,
        amount=amount,
        fee_max=fee_max,
    )
