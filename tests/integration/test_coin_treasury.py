"""Withdrawals from a treasury of several owners on a real node that spends coins.

Approved by officers, shown to owners as payloads, signed on two makes of devices, sent, booked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from chains.base import NATIVE, BroadcastOutcome, SpendKind
from chains.bitcoin.descriptor import Form
from chains.bitcoin.params import COIN
from core.errors import Reason, Refused
from custody import chain_state
from custody.multisig import coin_watch, cosign, rows
from custody.multisig.rows import ProposalState
from custody.withdrawals.states import WithdrawalState
from infra.devnet.coin_nodes import CoreNode, start_core
from tests.support.bitcoin import CHAIN
from tests.support.coin_money import Mint
from tests.support.coin_treasury import Scene, open_scene
from tests.support.databases import Databases
from tests.support.owners import DEVICES, by_btclib, officers, treasury_of

OUTSIDE = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry"
KINDS = {
    "wsh-2-of-3": (Form.SCRIPT_HASH, 2, 3, "sqlite"),
    "taproot-3-of-5": (Form.TAPROOT_SCRIPT, 3, 5, "postgresql"),
}


@pytest.fixture
def node() -> Iterator[CoreNode]:
    """Start a node: the same keys own coins in every test."""
    with start_core() as started:
        yield started


@pytest.fixture
def mint(node: CoreNode) -> Mint:
    """Return what pays coins of that node."""
    return Mint(node)


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def scene(
    request: pytest.FixtureRequest, node: CoreNode, mint: Mint, databases: Databases
) -> Iterator[Scene]:
    form, threshold, count, database = request.param
    treasury = treasury_of(form, threshold, count)
    with databases.fresh(database) as url, open_scene(node, mint, treasury, url) as opened:
        opened.fund(3 * COIN, 2 * COIN)
        yield opened


@pytest.fixture
def small(node: CoreNode, mint: Mint, databases: Databases) -> Iterator[Scene]:
    """Open a platform with a treasury of two of three officers, which holds two coins."""
    treasury = treasury_of(Form.SCRIPT_HASH, 2, 3)
    with databases.fresh("sqlite") as url, open_scene(node, mint, treasury, url) as opened:
        opened.fund(3 * COIN, 2 * COIN)
        yield opened


def test_a_withdrawal_is_approved_signed_by_owners_sent_and_booked(scene: Scene) -> None:
    wanted = scene.approved(COIN, OUTSIDE)
    row = scene.proposed(wanted)
    before, outside = scene.books(), scene.paid_to(OUTSIDE)
    quorum = scene.desk.row.threshold
    for number in range(quorum - 1):
        scene.cosign(row, number, device=DEVICES[number % 2])
    scene.house.run(2)
    assert scene.proposal(wanted).state is ProposalState.OPEN
    assert scene.spends(SpendKind.WITHDRAWAL) == []
    scene.cosign(row, quorum - 1, device=by_btclib)
    scene.done(row, ProposalState.DONE)
    assert scene.house.withdrawal(wanted).state is WithdrawalState.CONFIRMED
    assert scene.paid_to(OUTSIDE) == outside + COIN
    (spend,) = scene.spends(SpendKind.WITHDRAWAL)
    assert spend.fee_paid
    assert scene.books() == before - COIN - spend.fee_paid == scene.paid_to(scene.treasury.address)
    assert scene.incidents() == []
    scene.assert_equations_hold()


def test_what_ended_after_a_signature_is_paid_back_before_its_money_is_free(small: Scene) -> None:
    scene = small
    wanted = scene.approved(COIN, OUTSIDE)
    row = scene.proposed(wanted)
    scene.cosign(row, 0)
    kept = [scene.answer(row, 0), scene.answer(row, 1)]
    burn = scene.burnt(row)
    scene.house.run(2)
    free = scene.house.balance(scene.customer, NATIVE)
    assert scene.desk.wallet.coins_of(burn.unsigned) == scene.desk.wallet.coins_of(row.unsigned)
    with pytest.raises(Refused) as refused:
        cosign.hand_in(scene.desk, row.proposal_id, kept[1], person="officer-1")
    assert refused.value.reason is Reason.ILLEGAL_TRANSITION
    scene.cosign(burn, 1, 2)
    scene.done(row, ProposalState.DEAD)
    scene.house.run(2)
    assert scene.house.balance(scene.customer, NATIVE) > free
    assert scene.paid_to(scene.treasury.address) == scene.books()
    # Whoever kept both signatures of what ended can do nothing with them any more.
    given = [one for each in kept for _, one in scene.desk.wallet.take(row.unsigned, each)]
    signed = scene.desk.wallet.finalise(row.unsigned, list(dict.fromkeys(given)))
    assert scene.chain.broadcast(signed.raw).outcome is not BroadcastOutcome.ACCEPTED
    assert scene.incidents() == []
    scene.assert_equations_hold()


def test_two_withdrawals_never_take_the_same_coin(small: Scene) -> None:
    scene = small
    first, second = (scene.proposed(scene.approved(COIN, OUTSIDE, f"w{n}")) for n in (1, 2))
    coins = [set(scene.desk.wallet.coins_of(row.unsigned)) for row in (first, second)]
    assert not coins[0] & coins[1]
    third = scene.approved(COIN, OUTSIDE, "w3")
    scene.house.step("wallets.propose")
    with scene.house.platform.db.read() as conn:
        assert rows.find_by_cause(conn, third, SpendKind.WITHDRAWAL) is None
    assert "treasury_short" in scene.house.problems[-1].why
    for row in (first, second):
        scene.cosign(row, 0, 2)
    scene.done(first, ProposalState.DONE)
    scene.done(second, ProposalState.DONE)
    waiting = scene.proposed(third)  # their change is final now
    assert waiting.state is ProposalState.OPEN


def test_signatures_of_strangers_and_of_other_payments_are_not_taken(small: Scene) -> None:
    scene = small
    row = scene.proposed(scene.approved(COIN, OUTSIDE))
    other = scene.proposed(scene.approved(COIN, OUTSIDE, "w2"))
    answer = scene.answer(row, 0)
    for returned, reason in (
        (scene.answer(other, 0), Reason.INTENT_MISMATCH),
        (row.payload, Reason.QUORUM_NOT_MET),
        (answer[:-1], Reason.UNDECODABLE),
        (b"", Reason.UNDECODABLE),
    ):
        with pytest.raises(Refused) as refused:
            cosign.hand_in(scene.desk, row.proposal_id, returned, person="officer-0")
        assert refused.value.reason is reason
    assert cosign.count(scene.desk, row) == 0
    scene.cosign(row, 0)
    scene.cosign(row, 0, device=by_btclib)  # again, and by another device: one person, once
    assert cosign.count(scene.desk, row) == 1
    scene.house.run(2)
    assert scene.spends(SpendKind.WITHDRAWAL) == []


def test_a_treasury_whose_roster_names_other_owners_pays_nothing(small: Scene) -> None:
    scene = small
    row = scene.proposed(scene.approved(COIN, OUTSIDE))
    (honest,) = scene.house.platform.roster.wallets
    stranger = scene.chain.address_of(treasury_of(Form.SCRIPT_HASH, 2, 3, first=70).keys[0])
    members = tuple(sorted((stranger, *honest.members[1:])))
    scene.house.pin(wallets=(replace(honest, members=members),))
    scene.cosign(row, *[n for n in range(3) if _address(scene, n) in members])
    scene.house.run(2)
    assert scene.spends(SpendKind.WITHDRAWAL) == []
    assert any("owner_change" in one.why for one in scene.house.problems)
    scene.house.pin(wallets=(honest,))
    scene.done(row, ProposalState.DONE)


def test_a_coin_that_owners_spend_elsewhere_stops_the_chain(small: Scene) -> None:
    scene = small
    row = scene.proposed(scene.approved(COIN, OUTSIDE))
    given = [
        signature
        for number in (0, 1)
        for _, signature in scene.desk.wallet.take(row.unsigned, scene.answer(row, number))
    ]
    stolen = scene.desk.wallet.finalise(row.unsigned, given)
    assert coin_watch.watch(scene.desk) is None
    assert scene.chain.broadcast(stolen.raw).outcome is BroadcastOutcome.ACCEPTED
    scene.until(lambda: "wallet_changed" in scene.incidents())
    with scene.house.platform.db.read() as conn:
        assert chain_state.state(conn, CHAIN).frozen


def _address(scene: Scene, number: int) -> str:
    """Return the address of an officer's key."""
    return scene.chain.address_of(officers(3)[number].key(Form.SCRIPT_HASH).at(0))
