"""The guard over coins: a corpus of tampered requests, and what may be signed after what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chains.base import SpendKind
from chains.bitcoin.params import COIN
from core.errors import Reason, Refused, Unavailable
from custody.keys.authority import Standing
from custody.keys.guard import SignRequest, sign_batch, sign_once
from custody.keys.signers import KeyRef
from custody.keys.transaction import CHANGE_KEYS
from tests.support.bitcoin import (
    CHANGE,
    FEE,
    HOT,
    STRANGER,
    Draft,
    Wallet,
    address_of,
    coin_of,
    draft_of,
    funding,
    intent_of,
)
from tests.support.coin_node import CoinNode
from tests.support.tampered_coins import CASES_OF_BYTES, Case, siphon
from tests.unit.custody.keys.coinroom import Asked, Coinroom
from tests.unit.custody.keys.tampered_requests import (
    REQUEST_CASES,
    RequestCase,
    honest,
    reordered,
    replaced,
)

PARENTS = {one.tx_id: one.previous.hex() for one in Wallet().coins}
"""The transactions that the wallet's coins come from, as a node has them."""


@pytest.fixture
def room() -> Coinroom:
    """Return a guard that has signed nothing yet."""
    return Coinroom()


def refusal(room: Coinroom, asked: Asked) -> Reason:
    """Return why a request gets no signature; the log must not have grown."""
    before = room.entries()
    with pytest.raises(Refused) as refused:
        sign_once(room.guard, room.request(asked))
    assert room.entries() == before
    return refused.value.reason


@pytest.mark.parametrize("case", CASES_OF_BYTES, ids=lambda case: case.name)
def test_tampered_bytes_get_no_signature_and_their_twin_does(room: Coinroom, case: Case) -> None:
    twin = Asked(case.twin())
    assert refusal(room, twin.changed(draft=case.tamper(twin.draft))) is case.reason
    assert room.entries() == []
    assert room.sign(twin)
    assert len(room.entries()) == 1


@pytest.mark.parametrize("case", REQUEST_CASES, ids=lambda case: case.name)
def test_a_tampered_request_gets_no_signature_and_its_twin_does(
    room: Coinroom, case: RequestCase
) -> None:
    assert refusal(room, case.tamper(honest())) is case.reason
    assert room.entries() == []
    assert room.sign(honest())


def test_the_corpus_is_large_and_names_each_case_once() -> None:
    names = [case.name for case in (*CASES_OF_BYTES, *REQUEST_CASES)]
    assert len(set(names)) == len(names) >= 120


def test_a_whole_corpus_in_one_batch_gets_one_signature(room: Coinroom) -> None:
    asked = [case.tamper(honest()) for case in REQUEST_CASES]
    asked.insert(len(asked) // 2, honest())
    answers = sign_batch(room.guard, [room.request(one) for one in asked])
    signed = [answer for answer in answers if isinstance(answer, bytes)]
    assert len(signed) == len(room.entries()) == 1
    assert len(signed[0]) == 2 * 65


def test_what_the_log_could_not_hold_is_refused_before_anything_is_signed(room: Coinroom) -> None:
    funded = funding(address_of(HOT), *[COIN] * 10_000)
    coins = [coin_of(funded, number) for number in range(3)]
    draft = draft_of(coins, (STRANGER, 2 * COIN), (address_of(CHANGE), COIN - FEE))
    intent = intent_of(STRANGER, 2 * COIN)
    asked = Asked(draft, intent, input_keys=(HOT,) * 3)
    assert refusal(room, asked) is Reason.TOO_LARGE
    fewer = draft_of(coins[:2], (STRANGER, 2 * COIN - FEE))
    assert room.sign(Asked(fewer, replace(intent, amount=2 * COIN - FEE), change_keys=()))


def test_the_order_of_outputs_says_nothing(room: Coinroom) -> None:
    assert room.sign(reordered(honest()))


def test_change_goes_where_a_restored_seed_is_looked_for(room: Coinroom) -> None:
    far = KeyRef("hot", 1_000_000)
    coin = coin_of(funding(address_of(far), 5 * COIN))
    last = KeyRef("hot", CHANGE_KEYS - 1)
    for number, own in enumerate((far, last)):
        change = (address_of(own), COIN - FEE * (number + 1))
        draft = draft_of([coin], (STRANGER, 4 * COIN), change)
        assert room.sign(Asked(draft, input_keys=(far,), change_keys=(own,)))
    beyond = KeyRef("hot", CHANGE_KEYS)
    draft = draft_of([coin], (STRANGER, 4 * COIN), (address_of(beyond), COIN - 28_000))
    asked = Asked(draft, input_keys=(far,), change_keys=(beyond,))
    assert refusal(room, asked) is Reason.FOREIGN_CHANGE


def test_the_same_request_gets_the_same_bytes(room: Coinroom) -> None:
    assert room.sign(honest()) == room.sign(honest())
    assert len(room.entries()) == 1


def test_the_siphon_is_refused_in_both_halves_and_the_honest_whole_is_signed(
    room: Coinroom,
) -> None:
    halves = [case for case in CASES_OF_BYTES if case.name.startswith("siphon_lies")]
    assert len(halves) == 2
    for case in halves:
        tampered = Asked(case.tamper(siphon()))
        assert refusal(room, tampered) is Reason.UNPROVEN_AMOUNT
    assert room.entries() == []
    assert room.sign(Asked(siphon()))


# ---- what may be signed after what --------------------------------------------------------------


def other_withdrawal(draft: object, **changes: object) -> Asked:
    """Return another customer's withdrawal over a draft."""
    intent = Wallet().intent(spend_id="spend-2", cause_id="withdrawal-2", **changes)
    return Asked(draft, intent)  # type: ignore[arg-type]


def test_a_coin_belongs_to_one_spend(room: Coinroom) -> None:
    room.sign(honest())
    coins = Wallet().coins
    assert refusal(room, other_withdrawal(honest().draft)) is Reason.EQUIVOCATION
    for shared in coins[:2]:
        rest = shared.amount + 7 * COIN - 4 * COIN - FEE
        draft = draft_of([shared, coins[2]], (STRANGER, 4 * COIN), (address_of(CHANGE), rest))
        assert refusal(room, other_withdrawal(draft)) is Reason.EQUIVOCATION
    free = draft_of(coins[2:], (STRANGER, 4 * COIN), (address_of(CHANGE), 3 * COIN - FEE))
    assert room.sign(other_withdrawal(free).changed(input_keys=(HOT,)))


def test_a_replacement_pays_more_and_shares_a_coin(room: Coinroom) -> None:
    room.sign(honest())
    assert refusal(room, replaced(honest(), FEE - 5_000)) is Reason.EQUIVOCATION
    assert refusal(room, replaced(honest(), FEE + 1)) is Reason.EQUIVOCATION
    assert room.sign(replaced(honest(), 2 * FEE))
    assert refusal(room, replaced(honest(), FEE + 5_000)) is Reason.EQUIVOCATION
    coins = Wallet().coins
    more = draft_of(coins, (STRANGER, 4 * COIN), (address_of(CHANGE), 8 * COIN - 4 * FEE))
    assert room.sign(Asked(more, input_keys=(HOT,) * 3))


def test_another_attempt_without_a_common_coin_is_refused(room: Coinroom) -> None:
    """Both could land: then the customer is paid twice."""
    room.sign(honest())
    for spend_id in ("spend-1", "spend-3"):
        assert refusal(room, apart().about(spend_id=spend_id)) is Reason.EQUIVOCATION


def test_each_pair_of_attempts_shares_a_coin_not_only_neighbours(room: Coinroom) -> None:
    """First and third would both land, though each shares a coin with the second."""
    coins = Wallet().coins
    change = address_of(CHANGE)
    first = draft_of(coins[:2], (STRANGER, 4 * COIN), (change, COIN - FEE))
    second = draft_of(coins[1:], (STRANGER, 4 * COIN), (change, 5 * COIN - 2 * FEE))
    third = draft_of(coins[2:], (STRANGER, 4 * COIN), (change, 3 * COIN - 27_000))
    assert room.sign(Asked(first))
    assert room.sign(Asked(second))
    assert refusal(room, Asked(third, input_keys=(HOT,))) is Reason.EQUIVOCATION


def test_a_replacement_does_the_same(room: Coinroom) -> None:
    room.sign(honest())
    draft = draft_of(
        Wallet().coins[:2], (STRANGER, 3 * COIN), (address_of(CHANGE), 2 * COIN - 2 * FEE)
    )
    less = replace(Wallet().intent(), amount=3 * COIN)
    assert refusal(room, Asked(draft, less)) is Reason.EQUIVOCATION


def cancelling(fee: int) -> Draft:
    """Return the transaction that pays the first coin of the honest withdrawal back."""
    return draft_of(Wallet().coins[:1], (address_of(HOT), 3 * COIN - fee))


def apart() -> Asked:
    """Return the honest withdrawal over a coin that nothing else uses."""
    change = 3 * COIN - 2 * FEE
    draft = draft_of(Wallet().coins[2:], (STRANGER, 4 * COIN), (address_of(CHANGE), change))
    return Asked(draft, replace(Wallet().intent(), spend_id="spend-3"), input_keys=(HOT,))


def test_after_its_cancellation_a_spend_gets_no_more(room: Coinroom) -> None:
    room.sign(honest())
    room.joined(room.cancellation(cancelling(FEE)))
    assert refusal(room, replaced(honest(), 3 * FEE)) is Reason.EQUIVOCATION
    assert refusal(room, apart()) is Reason.EQUIVOCATION


def test_a_cancellation_pays_nobody_else(room: Coinroom) -> None:
    room.sign(honest())
    request = room.cancellation(draft_of(Wallet().coins[:1], (STRANGER, 3 * COIN - FEE)))
    with pytest.raises(Refused) as refused:
        sign_once(room.guard, request)
    assert refused.value.reason is Reason.FOREIGN_CHANGE


def test_other_coins_pay_once_the_cancellation_is_final(room: Coinroom) -> None:
    room.sign(honest())
    cancel = room.joined(room.cancellation(cancelling(FEE)))
    room.node.transactions = PARENTS | {cancel.tx_id: cancel.raw.hex()}
    assert refusal(room, apart()) is Reason.EQUIVOCATION
    room.node.mined = {cancel.tx_id: room.node.height}
    assert refusal(room, apart()) is Reason.EQUIVOCATION
    room.node.height += 5
    assert room.sign(apart())
    assert room.findings() == []


def with_more_coins(fee: int) -> Asked:
    """Return a replacement of the honest withdrawal that uses the third coin as well."""
    change = 8 * COIN - fee
    draft = draft_of(Wallet().coins, (STRANGER, 4 * COIN), (address_of(CHANGE), change))
    return Asked(draft, input_keys=(HOT,) * 3)


def test_a_coin_that_the_version_on_chain_left_alone_is_free_again(room: Coinroom) -> None:
    first = room.joined(room.request(honest()))
    room.sign(with_more_coins(4 * FEE))
    free = draft_of(Wallet().coins[2:], (STRANGER, 4 * COIN), (address_of(CHANGE), 3 * COIN - FEE))
    other = other_withdrawal(free).changed(input_keys=(HOT,))
    assert refusal(room, other) is Reason.EQUIVOCATION
    room.node.transactions = PARENTS | {first.tx_id: first.raw.hex()}
    assert refusal(room, other) is Reason.EQUIVOCATION
    room.node.mined = {first.tx_id: room.node.height}
    assert refusal(room, other) is Reason.EQUIVOCATION
    room.node.height += 5
    assert room.sign(other)
    assert room.findings() == []


def test_a_coin_is_not_free_while_the_version_on_chain_uses_it(room: Coinroom) -> None:
    room.sign(honest())
    second = room.joined(room.request(with_more_coins(4 * FEE)))
    room.node.transactions = PARENTS | {second.tx_id: second.raw.hex()}
    room.node.mined = {second.tx_id: room.node.height}
    room.node.height += 5
    free = draft_of(Wallet().coins[2:], (STRANGER, 4 * COIN), (address_of(CHANGE), 3 * COIN - FEE))
    other = other_withdrawal(free).changed(input_keys=(HOT,))
    assert refusal(room, other) is Reason.EQUIVOCATION


def test_an_auditor_believes_no_proof_without_a_version_that_leaves_the_coin(
    room: Coinroom,
) -> None:
    first = room.joined(room.request(honest()))
    room.sign(with_more_coins(4 * FEE))
    room.node.transactions = PARENTS | {first.tx_id: first.raw.hex()}
    room.node.mined = {first.tx_id: room.node.height - 10}
    free = draft_of(Wallet().coins[2:], (STRANGER, 4 * COIN), (address_of(CHANGE), 3 * COIN - FEE))
    assert room.sign(other_withdrawal(free).changed(input_keys=(HOT,)))
    last = room.entries()[2]
    assert last.record.proven_dead == "2"
    silent = replace(last, record=replace(last.record, proven_dead=""))
    found = {finding.invariant for finding in room.findings_in([*room.entries()[:2], silent])}
    assert "I7" in found
    alone = [room.entries()[1], last]
    assert "I7" in {finding.invariant for finding in room.findings_in(alone)}


def test_a_sweep_gathers_the_coins_of_many_keys(room: Coinroom) -> None:
    keys = [KeyRef("deposits", number) for number in range(12)]
    coins = [coin_of(funding(address_of(key), 100_000, salt=key.index)) for key in keys]
    amount = 12 * 100_000 - 30_000
    intent = intent_of(
        address_of(HOT), amount, kind=SpendKind.SWEEP, source=address_of(keys[0]), cause_id="job 1"
    )
    unsigned = draft_of(coins, (address_of(HOT), amount)).unsigned(sender=address_of(keys[0]))
    request = SignRequest(intent, Standing("mandate sweep"), unsigned, keys[0], tuple(keys))
    room.joined(request)
    assert len(room.entries()[0].signature) == 12 * 65
    mixed = replace(request, input_keys=(*keys[1:], keys[0]))
    with pytest.raises(Refused) as refused:
        sign_once(Coinroom().guard, mixed)
    assert refused.value.reason is Reason.FOREIGN_INPUT


def test_an_auditor_finds_an_honest_log_right_and_a_changed_one_wrong(room: Coinroom) -> None:
    room.sign(honest())
    room.sign(replaced(honest(), 2 * FEE))
    assert room.findings() == []
    entry = room.entries()[0]
    swapped = replace(entry, signature=entry.signature[65:] + entry.signature[:65])
    renamed = replace(entry, record=replace(entry.record, input_keys=(("hot", 1),) * 2))
    for changed in (swapped, renamed):
        found = {finding.invariant for finding in room.findings_in([changed])}
        assert {"I8", "log"} <= found


# ---- what the node says -------------------------------------------------------------------------


def spent_elsewhere() -> CoinNode:
    """Return a node on which the first coin is spent by a transaction that nobody here knows."""
    coin = Wallet().coins[0]
    known = {one.tx_id: one.previous.hex() for one in Wallet().coins}
    return CoinNode(missing={f"{coin.tx_id}:{coin.index}"}, transactions=known)


def test_a_signer_that_does_not_know_a_spent_coin_is_stale() -> None:
    """Yesterday's store was restored: what it signed since is on the chain, not in the log."""
    assert refusal(Coinroom(spent_elsewhere()), honest()) is Reason.STALE_SIGNER


def test_one_node_that_saw_the_coin_spent_is_enough() -> None:
    room = Coinroom(CoinNode(), CoinNode(), spent_elsewhere())
    assert refusal(room, honest()) is Reason.STALE_SIGNER


def test_a_coin_that_the_log_gave_away_may_be_spent_on_the_chain(room: Coinroom) -> None:
    room.sign(honest())
    gone = spent_elsewhere()
    room.node.missing, room.node.transactions = gone.missing, gone.transactions
    room.clock.advance(60 * 10**9)
    assert room.sign(replaced(honest(), 2 * FEE))


def test_without_a_node_nothing_is_signed(room: Coinroom) -> None:
    room.node.is_silent = True
    with pytest.raises(Unavailable):
        room.sign(honest())
    assert room.entries() == []
    room.node.is_silent = False
    assert room.sign(honest())
