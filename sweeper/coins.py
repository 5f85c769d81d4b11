"""One sweep step where coins are spent: many deposits, one transaction, no change."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import sqlalchemy as sa

from chains.base import NATIVE, Chain, Coin, FeeRate, SpendIntent, SpendKind
from core.clock import SECOND_NS, Clock
from core.errors import Reason, Refused, Unavailable
from core.ids import ChainId, derived_id
from custody import catalogue, chain_state, deposit_rows, fee_history
from custody.catalogue import Asset
from custody.db import Database
from custody.deposits import deposit_id_of_coin
from custody.spending import claims, means, plan, rows, sweep_items
from custody.spending.drive import Note, Problem
from custody.spending.means import Means
from custody.spending.sweep_items import Unswept
from custody.wallets import addresses, coins
from custody.wallets.addresses import DEPOSITS, Address
from custody.wallets.inventory import HOT
from custody.withdrawals import judging
from sweeper.coin_policy import CoinCandidate, Gathering, decide, groups
from sweeper.policy import SweepRules

DEPOSITS_MAX = 5_000
"""Deposits looked at in one step, the largest first."""
REMEMBERED_NS = 24 * 3_600 * SECOND_NS
"""How long a failed sweep counts against its coins."""


def step(
    db: Database, chain: Chain, *, rules: SweepRules, clock: Clock, note: Note, sweeps_max: int
) -> int:
    """Plan sweeps of final coins; return how many were planned.

    Only while fees are low: below the cap, and not above the given percentile of what they were.
    """
    chain_id, now_ns = chain.traits.chain, clock.now_ns()
    rate = chain.fee_rate()
    db.run(lambda conn: fee_history.note(conn, chain_id, rate.max_rate, now_ns=now_ns))
    with db.read() as conn:
        usual = fee_history.percentile(conn, chain_id, rules.rate_percentile)
        if rate.max_rate > rules.rate_max or (usual is not None and rate.max_rate > usual):
            return 0
        asset = catalogue.native_asset(conn, chain_id)
        hot = addresses.own_wallet(conn, chain_id, HOT)
        found = candidates(conn, chain_id, asset, now_ns=now_ns)
    useful = _worth_their_fee(chain, found, hot, rate, rules)
    planned = 0
    for group in groups(useful, rules=rules, now_ns=now_ns):
        if planned == sweeps_max:
            break
        gathering = _gathering(chain, group, asset, hot, rate, rules)
        if isinstance(gathering, Gathering):
            planned += _planned(db, chain, gathering, asset, hot, clock, note)
    return planned


def candidates(
    conn: sa.Connection, chain: ChainId, asset: Asset, *, now_ns: int
) -> list[CoinCandidate]:
    """Return the coins that may be swept: final, unused, held by nothing, of credited deposits.

    A deposit whose own coin is used already stands in what a cancelled sweep brought back to its
    address.
    """
    final = chain_state.state(conn, chain).final
    if final is None:
        return []
    held = claims.held(conn, chain)
    failed = sweep_items.failures(conn, chain, since_ns=now_ns - REMEMBERED_NS)
    found, orphans = [], dict[str, list[Unswept]]()
    for name, item in sweep_items.unswept_coins(conn, chain, asset.asset_no, limit=DEPOSITS_MAX):
        own = coins.get(conn, chain, name)
        if own is None:
            continue  # its block is followed again after a resolution
        if own.used_height is not None:
            orphans.setdefault(item.address, []).append(item)
        elif own.height <= final.height and name not in held:
            count, last_ns = failed.get(item.deposit_id, (0, 0))
            found.append(CoinCandidate(own.coin, (item,), count, last_ns))
    for address, items in orphans.items():
        for own in coins.unused(conn, chain, address=address, up_to=final.height):
            row = deposit_rows.find(conn, deposit_id_of_coin(chain, own.coin.outpoint))
            if row is not None or own.coin.outpoint in held:
                continue
            if brought := _brought_back(conn, chain, own.coin, items):
                count, last_ns = max(failed.get(item.deposit_id, (0, 0)) for item in brought)
                found.append(CoinCandidate(own.coin, brought, count, last_ns))
    return found


def _brought_back(
    conn: sa.Connection, chain: ChainId, coin: Coin, items: Sequence[Unswept]
) -> tuple[Unswept, ...]:
    """Return which deposits a coin stands for: those of the cancelled sweep that made it.

    Several sweeps of one address may have been cancelled: were each of their coins to stand for all
    of it, the first that is swept would leave the others to nobody.
    """
    spend_id = rows.spend_of_tx(conn, chain, coin.outpoint.partition(":")[0])
    if spend_id is None:
        return ()
    gathered = {name for name, _ in sweep_items.of(conn, spend_id)}
    return tuple(item for item in items if item.deposit_id in gathered)


def _worth_their_fee(
    chain: Chain,
    found: Sequence[CoinCandidate],
    hot: Address,
    rate: FeeRate,
    rules: SweepRules,
) -> list[CoinCandidate]:
    """Leave out coins that are not worth some times what spending them costs (D13)."""
    if not found:
        return []
    probe = _intent(chain, found, hot, amount=_sum(found), fee_max=0, cause_id="probe")
    dear = FeeRate(rate.max_rate * rules.cost_multiple, rate.tip_rate)
    try:
        chosen = chain.choose(probe, [one.coin for one in found], rate=dear)
    except Refused as refused:
        if refused.reason not in (Reason.EXCEEDS_AVAILABLE, Reason.BELOW_MINIMUM):
            raise
        return []
    names = {coin.outpoint for coin in chosen}
    return [one for one in found if one.coin.outpoint in names]


def _gathering(
    chain: Chain, group: Sequence[CoinCandidate], asset: Asset, hot: Address, rate: FeeRate,
    rules: SweepRules,
) -> Gathering | str:  # fmt: skip
    probe = _intent(chain, group, hot, amount=_sum(group), fee_max=0, cause_id="probe")
    try:
        cost = means.cost_of(chain, probe, rate, [one.coin for one in group])
    except Refused as refused:
        return str(refused)
    return decide(group, cost=cost, minimum=asset.spec.sweep_minimum, rules=rules)


def _planned(
    db: Database, chain: Chain, gathering: Gathering, asset: Asset, hot: Address, clock: Clock,
    note: Note,
) -> bool:  # fmt: skip
    first = gathering.candidates[0].coin.owner
    try:
        plan.open_lane(db, chain, first)
        why = db.run(
            partial(_apply, chain=chain, gathering=gathering, asset=asset, hot=hot, clock=clock)
        )
    except (Refused, Unavailable) as error:
        why = str(error)
    if why is not None:
        note(Problem(first, why))
    return why is None


def _apply(
    conn: sa.Connection,
    chain: Chain,
    gathering: Gathering,
    asset: Asset,
    hot: Address,
    clock: Clock,
) -> str | None:
    """Plan one sweep as the policy allows it; return what the policy has against it."""
    chain_id, now_ns = chain.traits.chain, clock.now_ns()
    source = addresses.of_address(conn, chain_id, gathering.candidates[0].coin.owner)
    earlier = rows.count_touching(conn, chain_id, source.address)
    intent = _intent(
        chain, gathering.candidates, hot, amount=gathering.amount, fee_max=gathering.fee,
        cause_id=derived_id(SpendKind.SWEEP.value, chain_id, source.address, earlier),
    )  # fmt: skip
    payment = judging.Payment(
        cause_id=intent.cause_id,
        kind=SpendKind.SWEEP.value,
        initiator=judging.PLATFORM,
        roles=frozenset({judging.PLATFORM}),
        customer_no=None,
        asset=asset,
        address=hot.address,
        amount=gathering.amount,
        wallet=DEPOSITS,
    )
    why = judging.own_transfer(conn, payment, now_ns=now_ns)
    if why is not None:
        return f"{Reason.POLICY_BLOCKED.value}: {why}"
    taken = sweep_items.gathered(conn, [item.deposit_id for item in gathering.deposits])
    if taken:
        raise Refused(Reason.IN_PROGRESS, f"{taken[0]} is gathered already")
    spend = plan.reserve(
        conn, intent, source=source, asset_no=asset.asset_no, destination_account=hot.account,
        now_ns=now_ns, claims=Means(coins=tuple(one.coin for one in gathering.candidates)),
    )  # fmt: skip
    sweep_items.add(conn, spend.spend_id, gathering.deposits)
    return None


def _sum(group: Sequence[CoinCandidate]) -> int:
    return sum(one.coin.amount for one in group)


def _intent(
    chain: Chain,
    group: Sequence[CoinCandidate],
    hot: Address,
    *,
    amount: int,
    fee_max: int,
    cause_id: str,
) -> SpendIntent:
    return SpendIntent(
        spend_id=derived_id("spend", cause_id),
        kind=SpendKind.SWEEP,
        cause_id=cause_id,
        chain=chain.traits.chain,
        network=chain.traits.network,
        asset_key=NATIVE,
        source=group[0].coin.owner,
        destination=hot.address,
        amount=amount,
        fee_max=fee_max,
    )
