"""Owners of a wallet change step by step, and each step is one that the guard signs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.base import Effect, SpendIntent, SpendKind
from chains.multisig import OWNERS, WalletState
from core.errors import Refused
from core.ids import ChainId
from custody.keys.roster import ContractWallet
from custody.keys.wallets import check_change, read_change
from custody.multisig.owners import plan_changes

CHAIN, WALLET = ChainId("local"), "0xwallet"
NAMES = [f"0xowner{number}" for number in range(9)]
owner_sets = st.lists(st.sampled_from(NAMES), min_size=1, max_size=7, unique=True)


@st.composite
def wallets(draw: st.DrawFn) -> tuple[list[str], int]:
    owners = draw(owner_sets)
    return owners, draw(st.integers(1, len(owners)))


def state_of(owners: list[str], threshold: int) -> WalletState:
    return WalletState(tuple(owners), threshold, 0, "", "", ())


def row_of(owners: list[str], threshold: int) -> ContractWallet:
    members = tuple(sorted(owners))
    return ContractWallet(CHAIN, WALLET, (), members=members, threshold=threshold)


def intent_of(effect: Effect) -> SpendIntent:
    return SpendIntent(
        spend_id="sp", kind=SpendKind.OWNERS, cause_id="own", chain=CHAIN, network="n",
        asset_key=effect.asset_key, source=WALLET, destination=effect.destination,
        amount=effect.amount, fee_max=1,
    )  # fmt: skip


def applied(state: WalletState, effect: Effect) -> WalletState:
    gone, new, threshold = read_change(WALLET, intent_of(effect))
    owners = [new if one == gone and new else one for one in state.owners]
    owners = [one for one in owners if one != gone]
    if new and new not in owners:
        owners.append(new)
    return state_of(owners, threshold or state.threshold)


@given(wallets(), wallets())
def test_any_owners_lead_to_any_others_by_steps_that_the_guard_signs(
    now: tuple[list[str], int], wanted: tuple[list[str], int]
) -> None:
    """As it is asked: one step at a time, planned anew from what the chain says then."""
    state, row = state_of(*now), row_of(*wanted)
    for _ in range(20):
        changes = plan_changes(row, row.members, state)
        if not changes:
            break
        check_change(row, state, row.members, intent_of(changes[0]))
        state = applied(state, changes[0])
        assert 1 <= state.threshold <= len(state.owners)
    assert (set(state.owners), state.threshold) == (set(wanted[0]), wanted[1])


@given(wallets(), wallets(), st.sampled_from(NAMES), st.sampled_from([*NAMES, WALLET]),
       st.integers(0, 9))  # fmt: skip
def test_no_step_leads_away_from_the_roster(
    now: tuple[list[str], int], wanted: tuple[list[str], int], gone: str, new: str, amount: int
) -> None:
    state, row = state_of(*now), row_of(*wanted)
    for key in (OWNERS, f"{OWNERS}-{gone}"):
        effect = Effect(key, new, amount)
        try:
            check_change(row, state, row.members, intent_of(effect))
        except Refused:
            continue
        after = applied(state, effect)
        assert set(after.owners) - set(state.owners) <= set(row.members)
        assert (set(state.owners) - set(after.owners)).isdisjoint(row.members)
        lowest, highest = sorted((state.threshold, row.threshold))
        assert lowest <= after.threshold <= highest
        assert after.threshold <= len(after.owners)


def test_a_step_that_changes_nothing_is_none() -> None:
    state, row = state_of(NAMES[:3], 2), row_of(NAMES[:3], 2)
    assert plan_changes(row, row.members, state) == []
    with pytest.raises(Refused):
        check_change(row, state, row.members, intent_of(Effect(OWNERS, WALLET, 2)))
