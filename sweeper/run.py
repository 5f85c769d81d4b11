"""One sweep step: gather what is unswept, decide, and put planned spends on the one road out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial

import sqlalchemy as sa

from chains.base import NATIVE, Chain, SpendIntent, SpendKind
from core.clock import Clock
from core.errors import Reason, Refused, Unavailable
from core.ids import AssetNo, derived_id
from custody import catalogue, chain_state
from custody.catalogue import Asset
from custody.db import Database
from custody.spending import drive, plan, rows, sweep_items
from custody.spending.drive import Note, Problem
from custody.spending.rows import Spend
from custody.spending.sweep_items import Unswept
from custody.wallets import addresses
from custody.wallets.addresses import Address
from custody.wallets.inventory import GAS, HOT
from sweeper.policy import Action, Candidate, SweepRules, Verdict, plan_sweeps

DEPOSITS_MAX = 500
"""Unswept deposits looked at in one step."""
ACTIONS_MAX = 50
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
        waiting = sweep_items.unswept(conn, chain_id, limit=DEPOSITS_MAX)
        flying = drive.in_flight(conn, chain_id)
        listed = {asset.asset_no: asset for asset in catalogue.all_assets(conn)}
        if not waiting:
            return 0
        hot = addresses.own_wallet(conn, chain_id, HOT)
        gas = addresses.own_wallet(conn, chain_id, GAS)
    rate = chain.fee_rate().max_rate
    candidates = _gather(chain, waiting, flying, listed, hot, rate, note)
    planned = 0
    for action in plan_sweeps(candidates, rate=rate, rules=rules)[:actions_max]:
        if action.verdict is Verdict.WAIT:
            continue
        source = gas.address if action.verdict is Verdict.TOP_UP else action.candidate.address
        try:
            plan.open_lane(db, chain, source)
            apply = partial(_apply, chain=chain, action=action, hot=hot, gas=gas, clock=clock)
            db.run(apply)
        except (Refused, Unavailable) as error:
            note(Problem(action.candidate.address, str(error)))
        else:
            planned += 1
    return planned


def _gather(
    chain: Chain,
    waiting: Sequence[Unswept],
    flying: Sequence[Spend],
    listed: Mapping[AssetNo, Asset],
    hot: Address,
    rate: int,
    note: Note,
) -> list[Candidate]:
    groups: dict[tuple[str, AssetNo], list[Unswept]] = defaultdict(list)
    for item in waiting:
        groups[(item.address, item.asset_no)].append(item)
    busy = {spend.source for spend in flying} | {spend.destination for spend in flying}
    head = chain.head()
    found = []
    for (address, asset_no), items in groups.items():
        asset = listed[asset_no]
        probe = _intent(
            chain, asset, SpendKind.SWEEP, source=address, destination=hot.address, amount=1,
            fee_max=0, cause_id="probe",
        )  # fmt: skip
        try:
            candidate = Candidate(
                address=address,
                key_index=items[0].key_index,
                asset_no=asset_no,
                is_native=asset.spec.key == NATIVE,
                minimum=asset.spec.sweep_minimum,
                deposits=tuple(items),
                balance=chain.balance_of(address, asset.spec.key, head),
                native_balance=chain.balance_of(address, NATIVE, head),
                cost=chain.fee_units(probe) * rate * COST_MARGIN_PERCENT // 100,
                busy=address in busy,
            )
        except (Refused, Unavailable) as error:
            note(Problem(address, str(error)))
        else:
            found.append(candidate)
    return found


def _apply(
    conn: sa.Connection,
    chain: Chain,
    action: Action,
    *,
    hot: Address,
    gas: Address,
    clock: Clock,
) -> None:
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
    spend = plan.reserve(
        conn, intent, source=source, asset_no=asset.asset_no,
        destination_account=target.account, now_ns=clock.now_ns(),
    )  # fmt: skip
    if action.verdict is Verdict.SWEEP:
        sweep_items.add(conn, spend.spend_id, candidate.deposits)


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
