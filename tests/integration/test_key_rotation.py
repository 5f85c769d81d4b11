"""A wallet moves to new keys on a real node: by quorum, with its books, and customers unharmed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.bootstrap import Platform, account_keys, prepare, with_chain
from chains.base import NATIVE, SpendKind
from core.errors import Reason, Refused
from custody.keys.desk import KeyDesk
from custody.keys.roster import Rotation, sign_approval
from custody.keys.roster_files import RosterChain
from custody.keys.rotation import accounts_in_use
from custody.ledger.chart import AccountKind
from custody.spending import rotations
from custody.spending.rows import Spend, SpendState
from custody.wallets.addresses import DEPOSITS
from custody.wallets.inventory import OWN_WALLETS
from custody.withdrawals.states import WithdrawalState
from sweeper.policy import SweepRules
from tests.support.evm import CHAIN, ETHER, listed, minted
from tests.support.house import HOT, officer_key
from tests.support.threats import OUTSIDE, Scene, Stage
from tests.unit.custody.keys.officers import next_roster

FEE = ETHER // 100


def retire_hot(scene: Scene) -> None:
    """Start signer and platform anew under a roster that retires the hot wallet's first keys."""
    platform = scene.house.platform
    roster = next_roster(platform.roster, rotations=(Rotation(CHAIN, "hot", 2),))
    desk = platform.signer
    assert isinstance(desk, KeyDesk)
    guards = {name: replace(guard, roster=roster) for name, guard in desk.guards.items()}
    signer = replace(desk, guards=guards)
    keys = account_keys(
        lambda account: signer.account_xpub(CHAIN, account),
        [DEPOSITS, *accounts_in_use(roster, CHAIN, OWN_WALLETS)],
    )
    home = replace(scene.house.home, keys=keys)
    scene.house.home = home
    platform = with_chain(
        replace(platform, rosters=RosterChain((*platform.rosters.versions, roster)), signer=signer),
        CHAIN,
        home,
    )
    scene.house.platform = platform
    prepare(platform, assets=(), markets=())


def asked(platform: Platform, name: str) -> list[Spend]:
    """Ask for a move of everything and have two officers approve each part."""
    chain, clock = platform.home(CHAIN).chain, platform.clock
    made = rotations.ask(
        platform.db, chain, "hot", roster=platform.roster, rotation_id=name, initiator="olga",
        fee_max=FEE, expires_ns=clock.now_ns() + 10**15,
    )  # fmt: skip
    return [
        rotations.carry_out(
            platform.db,
            chain,
            "hot",
            intent,
            [sign_approval(officer_key(person), intent) for person in ("ada", "ben")],
            roster=platform.roster,
            clock=clock,
        )
        for intent in made
    ]


def held(scene: Scene, account: str, key: str = NATIVE) -> int:
    chain = scene.chain
    return chain.balance_of(scene.house.own_address(account), key, chain.head())


def test_a_wallet_moves_to_new_keys_and_the_books_stay_whole(stage: Stage) -> None:
    token = minted(stage.contracts, "DemoToken", "Demo", "DEMO", 6)
    asset = listed(token.address)
    scene = stage(asset, sweeps=SweepRules())
    alice = scene.funded()
    token.send("transfer", scene.house.own_address(HOT), 5_000)
    scene.go()
    owed = scene.owed()
    booked = scene.book(AccountKind.HOT, "hot")
    before = held(scene, "hot")
    assert scene.book(AccountKind.HOT, "hot", token.address) == 5_000

    retire_hot(scene)
    spends = asked(scene.house.platform, "rot-1")
    assert [spend.intent.asset_key for spend in spends] == [token.address, NATIVE]
    scene.go()
    done = scene.spends(SpendKind.ROTATION)
    assert [spend.state for spend in done] == [SpendState.CONFIRMED] * 2
    fees = sum(spend.fee_paid or 0 for spend in done)
    assert held(scene, "hot.2", token.address) == 5_000
    assert held(scene, "hot") + held(scene, "hot.2") + fees == before
    assert held(scene, "hot") < 2 * FEE

    assert scene.owed() == owed, "customers are owed what they were"
    assert scene.book(AccountKind.HOT, "hot", token.address) == 0
    assert scene.book(AccountKind.HOT, "hot.2", token.address) == 5_000
    now = scene.book(AccountKind.HOT, "hot") + scene.book(AccountKind.HOT, "hot.2")
    assert now == booked - fees
    scene.assert_equations_hold()

    # The new keys pay, what arrives at the old address is credited as before and follows.
    paid = scene.house.withdraw(alice.number, NATIVE, ETHER, OUTSIDE)
    scene.run(4)
    scene.house.approve(paid.withdrawal_id)
    scene.go()
    assert scene.withdrawal(paid.withdrawal_id).state is WithdrawalState.CONFIRMED
    assert [spend.account for spend in scene.spends(SpendKind.WITHDRAWAL)] == ["hot.2"]
    scene.contracts.pay(scene.house.own_address("hot"), ETHER)
    scene.go()
    assert scene.book(AccountKind.HOT, "hot") >= ETHER
    asked(scene.house.platform, "rot-2")
    scene.go()
    assert scene.book(AccountKind.HOT, "hot") == held(scene, "hot") < 4 * FEE
    scene.contracts.pay(alice.address, ETHER)
    scene.go()
    swept = [one for one in scene.spends(SpendKind.SWEEP) if one.state is SpendState.CONFIRMED]
    assert {spend.destination_account for spend in swept[-1:]} == {"hot.2"}
    scene.assert_equations_hold()


def test_nothing_moves_without_a_roster_or_a_quorum(stage: Stage) -> None:
    scene = stage()
    scene.funded()
    platform = scene.house.platform
    with pytest.raises(Refused) as caught:
        asked(platform, "rot-1")
    assert caught.value.reason is Reason.INTENT_MISMATCH, "these are the present keys"
    retire_hot(scene)
    platform = scene.house.platform
    chain, clock = platform.home(CHAIN).chain, platform.clock
    (intent,) = rotations.ask(
        platform.db, chain, "hot", roster=platform.roster, rotation_id="rot-1", initiator="ada",
        fee_max=FEE, expires_ns=clock.now_ns() + 10**15,
    )  # fmt: skip
    for persons in (["ben"], ["ada", "ben"], []):
        given = [sign_approval(officer_key(person), intent) for person in persons]
        with pytest.raises(Refused) as caught:
            rotations.carry_out(
                platform.db, chain, "hot", intent, given, roster=platform.roster, clock=clock
            )
        assert caught.value.reason in {Reason.QUORUM_NOT_MET, Reason.INITIATOR_CANNOT_APPROVE}
    assert scene.spends(SpendKind.ROTATION) == []


def test_the_same_move_again_is_the_same_spend(stage: Stage) -> None:
    scene = stage()
    scene.funded()
    retire_hot(scene)
    platform = scene.house.platform
    chain, clock = platform.home(CHAIN).chain, platform.clock
    (intent,) = rotations.ask(
        platform.db, chain, "hot", roster=platform.roster, rotation_id="rot-1", initiator="olga",
        fee_max=FEE, expires_ns=clock.now_ns() + 10**15,
    )  # fmt: skip
    given = [sign_approval(officer_key(person), intent) for person in ("ada", "cleo")]

    def again() -> Spend:
        return rotations.carry_out(
            platform.db, chain, "hot", intent, given, roster=platform.roster, clock=clock
        )

    first = again()
    assert again().spend_id == first.spend_id
    scene.go()
    assert again().state is SpendState.CONFIRMED
    assert len(scene.spends(SpendKind.ROTATION)) == 1
