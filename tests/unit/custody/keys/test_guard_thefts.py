"""What a thief gets who owns the platform and asks the guard for things in clever orders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from chains.base import Block, BlockRef, FeeRate, SpendKind
from chains.bitcoin.params import COIN
from chains.fake.chain import FakeChain
from core.clock import DAY_NS, SECOND_NS
from core.errors import Reason, Refused
from custody.keys.authority import Standing
from custody.keys.guard import SignRequest, sign_batch, sign_once
from custody.keys.intent import NO_POLICY, WithdrawalIntent
from custody.keys.roster import Rotation, SpendLimit
from custody.keys.signers import KeyRef
from custody.keys.transaction import CHANGE_KEYS
from custody.keys.watermark import MAIN_NETWORK
from tests.support.bitcoin import (
    CHANGE,
    FEE,
    address_of,
    coin_of,
    draft_of,
    funding,
    intent_of,
)
from tests.support.bitcoin import HOT as HOT_COINS
from tests.unit.custody.keys.coinroom import Coinroom
from tests.unit.custody.keys.conftest import shelf_in_memory
from tests.unit.custody.keys.evmroom import HOT as HOT_OWNER
from tests.unit.custody.keys.evmroom import (
    EvmRoom,
    SilentChain,
    approved,
    paying,
    room_of,
    silent_chain,
    wallet_told,
)
from tests.unit.custody.keys.guardroom import CHAIN, HOT, Guardroom
from tests.unit.custody.keys.officers import HOUR_NS

DEARER = FeeRate(26, 3)
DEAREST = FeeRate(33, 4)


def refusal(room: Guardroom | Coinroom | EvmRoom, request: SignRequest) -> Reason:
    before = room.entries()
    with pytest.raises(Refused) as refused:
        sign_once(room.guard, request)
    assert room.entries() == before
    return refused.value.reason


# ---- fees are money too: whoever makes blocks earns them ----------------------------------------


def cancellations(room: Guardroom, count: int) -> list[SignRequest]:
    """Return cancellations of nothing, one nonce each, all under one spend id."""
    return [
        room.cancellation(
            replace(room.request().intent, spend_id=f"nothing {nonce}"), nonce=nonce, name="same"
        )
        for nonce in range(count)
    ]


def test_cancellations_at_several_nonces_all_count_whatever_their_spend_id(
    room: Guardroom,
) -> None:
    asked = cancellations(room, 4)
    fee = asked[0].unsigned.fee_max
    room = room.with_mandate(
        SpendKind.CANCELLATION, fee_max=10_000, fee_window_max=10_000 + 2 * fee
    )
    for one in asked[:3]:
        room.sign(one)
    assert refusal(room, asked[3]) is Reason.POLICY_BLOCKED
    room.clock.advance(DAY_NS)
    room.sign(asked[3])


def test_cancellations_at_several_nonces_all_count_against_the_limits(room: Guardroom) -> None:
    asked = cancellations(room, 3)
    fee = asked[0].unsigned.fee_max
    limits = (SpendLimit(CHAIN, asked[0].intent.asset_key, 10**12, 10**12, fee, 2 * fee),)
    room = room.with_roster(limits=limits)
    answers = sign_batch(room.guard, asked)
    assert [isinstance(answer, bytes) for answer in answers] == [True, True, False]
    assert isinstance(answers[2], Refused)
    assert answers[2].reason is Reason.SIGNER_LIMIT


def test_a_dearer_cancellation_at_the_same_nonce_counts_once(room: Guardroom) -> None:
    (asked,) = cancellations(room, 1)
    dearer = replace(asked, unsigned=room.unsigned(asked.intent, rate=DEARER))
    most = dearer.unsigned.fee_max
    limits = (SpendLimit(CHAIN, asked.intent.asset_key, 10**12, 10**12, most, most),)
    room = room.with_roster(limits=limits)
    room.sign(asked)
    room.sign(dearer)


# ---- one approval, one payment -------------------------------------------------------------------


def move(room: Guardroom) -> WithdrawalIntent:
    there = room.guard.address_of(KeyRef("hot.2", 0))
    return room.withdrawal("rot_1", rule="rotation", destination=there, policy_hash=NO_POLICY)


def test_an_approved_move_of_a_wallet_is_signed_once_whatever_its_spend_id(
    room: Guardroom,
) -> None:
    room = room.with_roster(rotations=(Rotation(CHAIN, "hot", 2),))
    approved = move(room)

    def asked(name: str, nonce: int) -> SignRequest:
        spend = room.spend_of(approved, name, kind=SpendKind.ROTATION)
        return SignRequest(spend, room.approved(approved), room.unsigned(spend, nonce=nonce), HOT)

    room.sign(asked("one", 0))
    assert refusal(room, asked("other", 1)) is Reason.EQUIVOCATION
    assert refusal(room, asked("one", 1)) is Reason.EQUIVOCATION
    room.sign(asked("one", 0))


def test_a_spend_cannot_be_replaced_in_steps_that_no_node_takes(room: Guardroom) -> None:
    """A million signatures of one spend would make each next one slower for everybody."""
    room.sign(room.request(rate=FeeRate(320, 2)))
    assert refusal(room, room.request(rate=FeeRate(339, 3))) is Reason.EQUIVOCATION
    room.sign(room.request(rate=FeeRate(340, 3)))
    assert refusal(room, room.request(rate=FeeRate(341, 4))) is Reason.EQUIVOCATION


class Slow(FakeChain):
    """Its node takes its time: other things are signed meanwhile."""

    meanwhile: list[Callable[[], object]]

    def head(self) -> BlockRef:
        while self.meanwhile:
            self.meanwhile.pop()()
        return super().head()


def test_approvals_that_expire_while_the_node_is_asked_are_worth_nothing(room: Guardroom) -> None:
    slow = Slow(room.world, rate_cap=100_000)
    sweep = room.sweep("sw_1", 100)

    def later() -> None:
        room.clock.advance(2 * HOUR_NS)
        room.sign(sweep)

    request = room.request()
    slow.meanwhile = [later]
    with pytest.raises(Refused) as refused:
        sign_once(room.with_guard(chain=slow).guard, request)
    assert refused.value.reason is Reason.APPROVAL_EXPIRED
    assert len(room.entries()) == 1


# ---- coins ---------------------------------------------------------------------------------------


def swept(
    paid: int, *outputs: tuple[str, int], keys: tuple[KeyRef, ...], change: tuple[KeyRef, ...] = ()
) -> SignRequest:
    """Return a sweep of one coin of each key to the hot wallet, and what else it pays."""
    coins = [coin_of(funding(address_of(key), COIN // 10, salt=key.index)) for key in keys]
    source = address_of(keys[0])
    intent = intent_of(
        address_of(HOT_COINS), paid, kind=SpendKind.SWEEP, source=source, cause_id="job 1"
    )
    unsigned = draft_of(coins, (address_of(HOT_COINS), paid), *outputs).unsigned(sender=source)
    return SignRequest(intent, Standing("mandate sweep"), unsigned, keys[0], keys, change)


def test_a_sweep_leaves_nothing_at_another_customers_address() -> None:
    """What arrives at a deposit address is credited to its customer, who may be a thief."""
    victim, thief = KeyRef("deposits", 5), KeyRef("deposits", 3)
    coin = COIN // 10
    kept = coin - 50_000 - FEE
    rob = swept(50_000, (address_of(thief), kept), keys=(victim,), change=(thief,))
    assert refusal(Coinroom(), rob) is Reason.FOREIGN_CHANGE
    merged = swept(50_000, (address_of(thief), coin + kept), keys=(victim, thief), change=(thief,))
    assert refusal(Coinroom(), merged) is Reason.FOREIGN_CHANGE
    half = (coin + kept) // 2
    twice = swept(
        50_000, (address_of(thief), half), (address_of(thief), half + 1),
        keys=(victim, thief), change=(thief, KeyRef("deposits", 4)),
    )  # fmt: skip
    assert refusal(Coinroom(), twice) is Reason.FOREIGN_CHANGE
    own = swept(50_000, (address_of(victim), kept), keys=(victim,), change=(victim,))
    Coinroom().joined(own)


def test_a_cancellation_brings_no_customers_coins_to_another() -> None:
    victim, thief = KeyRef("deposits", 5), KeyRef("deposits", 3)
    coins = [
        coin_of(funding(address_of(key), COIN // 10, salt=key.index)) for key in (victim, thief)
    ]

    def cancelling(source: KeyRef, keys: tuple[KeyRef, ...], amount: int) -> SignRequest:
        spend = intent_of(
            address_of(source), 0, kind=SpendKind.CANCELLATION, source=address_of(source),
            spend_id="cancel", cause_id="nothing",
        )  # fmt: skip
        draft = draft_of(coins[: len(keys)], (address_of(source), amount))
        unsigned = draft.unsigned(sender=address_of(source))
        return SignRequest(spend, Standing("mandate cancellation"), unsigned, source, keys)

    alone = COIN // 10 - FEE
    assert refusal(Coinroom(), cancelling(thief, (victim,), alone)) is Reason.FOREIGN_CHANGE
    both = cancelling(thief, (victim, thief), COIN // 5 - FEE)
    assert refusal(Coinroom(), both) is Reason.FOREIGN_CHANGE
    Coinroom().joined(cancelling(victim, (victim,), alone))


def test_a_cancellation_pays_where_a_restored_seed_is_looked_for() -> None:
    far, coin = KeyRef("hot", CHANGE_KEYS), coin_of(funding(address_of(HOT_COINS), COIN))

    def cancelling(source: KeyRef) -> SignRequest:
        spend = intent_of(
            address_of(source), 0, kind=SpendKind.CANCELLATION, source=address_of(source),
            spend_id="cancel", cause_id="nothing",
        )  # fmt: skip
        draft = draft_of([coin], (address_of(source), COIN - FEE))
        unsigned = draft.unsigned(sender=address_of(source))
        return SignRequest(spend, Standing("mandate cancellation"), unsigned, source, (HOT_COINS,))

    assert refusal(Coinroom(), cancelling(far)) is Reason.FOREIGN_CHANGE
    Coinroom().joined(cancelling(CHANGE))


# ---- contract wallets ----------------------------------------------------------------------------


def test_a_second_owner_of_a_wallet_is_refused_and_stops_nobody() -> None:
    """Corrupt would end the process, and anybody could ask for it again and again."""
    room = room_of(shelf_in_memory())
    request = room.safe()
    signature = sign_once(room.guard, request)
    assert refusal(room, replace(request, key=HOT_OWNER)) is Reason.EQUIVOCATION
    assert sign_once(room.guard, request) == signature


class Dated(SilentChain):
    """Its one block was made when the clock of the tests began."""

    def block_at(self, height: int) -> Block | None:
        return Block(self.head(), "", room_of(shelf_in_memory()).clock.now_ns() // SECOND_NS)


def test_a_clock_far_ahead_signs_for_no_contract_wallet_either() -> None:
    """It would open every window of 24 hours."""
    room = room_of(shelf_in_memory())
    room = room.with_guard(chain=silent_chain(kind=Dated), bounds=MAIN_NETWORK)
    late = room.later(3 * 3_600 * SECOND_NS)
    request = late.safe()
    assert refusal(late, request) is Reason.SIGNER_CLOCK
    sign_once(room.guard, room.safe())


def test_what_a_payload_says_of_itself_is_quoted_in_plain_letters() -> None:
    """Whoever reads a refusal, a log or a screen, gets it; nobody fails on writing it down."""
    room = room_of(shelf_in_memory())
    honest = room.coins()
    typed = b'{"primaryType":"Permit\\ud800\\n\\u202e"}'
    request = replace(honest, unsigned=replace(honest.unsigned, payload=typed))
    with pytest.raises(Refused) as refused:
        sign_once(room.guard, request)
    assert refused.value.reason is Reason.APPROVAL_CALL
    assert refused.value.detail.isascii()
    assert refused.value.detail.isprintable()


def test_an_account_of_our_own_signs_no_contract_wallets_transaction() -> None:
    """Code that the account runs (EIP-7702) could take such a signature at another time."""
    room = room_of(shelf_in_memory())
    intent = room.withdrawal()
    spend = room.spend(intent, room.address(HOT_OWNER))
    made = paying(spend, 0).with_(safe=spend.source)
    asked = SignRequest(spend, approved(intent), wallet_told(spend, made), HOT_OWNER)
    assert refusal(room, asked) is Reason.INTENT_MISMATCH
    sign_once(room.guard, room.coins())
