"""The way out on a real network: payments, tickets, failures, replacements, sweeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from solders.keypair import Keypair

from chains.base import (
    NATIVE,
    BlockRef,
    BroadcastOutcome,
    Effect,
    FeeRate,
    SpendKind,
    Standing,
)
from chains.solana import programs
from chains.solana.chain import SolanaChain
from chains.solana.params import SIGNATURE_FEE
from core.errors import Reason, Refused, Unavailable
from infra.devnet.surfpool_tokens import Powers, create_token_2022
from tests.support.solana import DEPOSIT, GAS, HOT
from tests.support.solana_town import Town, listed, start_town

_COIN = 10**9


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with start_town() as started:
        yield started


def _somebody() -> Keypair:
    return Keypair()


def test_a_payment_lands_and_its_fee_is_what_left_all_accounts(town: Town) -> None:
    receiver, before = _somebody(), town.lamports(HOT)
    intent = town.intent(HOT, receiver.pubkey(), _COIN)
    unsigned = town.build(intent, ticket=town.ticket())
    decoded = town.chain.decode(unsigned.payload, sender=unsigned.sender)
    signed = town.signed(unsigned, HOT)

    assert decoded.effects == (Effect(NATIVE, str(receiver.pubkey()), _COIN),)
    assert decoded.fee_max == unsigned.fee_max == SIGNATURE_FEE + 2 * 5
    assert town.chain.tx_status(signed.tx_id).known is False
    assert town.chain.broadcast(signed.raw).outcome is BroadcastOutcome.ACCEPTED
    town.front.pass_slots()
    status = town.chain.tx_status(signed.tx_id)
    assert (status.succeeded, status.effect_amount) == (True, _COIN)
    assert status.block is not None
    assert status.fee == before - town.lamports(HOT) - _COIN == unsigned.fee_max
    assert town.lamports(receiver) == _COIN


@pytest.mark.parametrize("is_new", [False, True])
def test_tokens_reach_the_receivers_derived_account_and_opening_it_is_a_cost(
    town: Town, is_new: bool
) -> None:
    token = town.new_token if is_new else town.token
    receiver = _somebody()
    intent = town.intent(HOT, receiver.pubkey(), 7, token.key)
    fees = []
    for paid in (7, 14):
        before = town.lamports(HOT)
        unsigned = town.build(intent, ticket=town.ticket())
        signed = town.signed(unsigned, HOT)
        town.chain.broadcast(signed.raw)
        town.front.pass_slots()
        status = town.chain.tx_status(signed.tx_id)
        assert (status.succeeded, status.effect_amount) == (True, 7)
        assert town.held(token, receiver) == paid
        assert status.fee == before - town.lamports(HOT) <= unsigned.fee_max
        fees.append(status.fee)

    rent = town.lamports(token.account_of(receiver.pubkey()))
    assert fees[0] - fees[1] == rent <= programs.OPENING_COST[bytes(token.program)]


def test_an_account_opened_by_another_between_building_and_landing_costs_nothing(
    town: Town,
) -> None:
    receiver = _somebody()
    unsigned = town.build(
        town.intent(HOT, receiver.pubkey(), 7, town.token.key), ticket=town.ticket()
    )
    signed = town.signed(unsigned, HOT)
    town.token.open(receiver.pubkey())
    town.chain.broadcast(signed.raw)
    town.front.pass_slots()

    status = town.chain.tx_status(signed.tx_id)
    assert (status.succeeded, status.effect_amount) == (True, 7)
    assert status.fee < 10_000


def test_a_failed_payment_is_included_with_its_fee_and_its_ticket_is_used(town: Town) -> None:
    """D10: what was included and failed is known as such, and nothing was moved."""
    receiver, ticket = _somebody(), town.ticket()
    intent = town.intent(HOT, receiver.pubkey(), 10**17)
    capped = replace(intent, fee_max=_COIN)
    unsigned = town.chain.build(capped, nonce=0, rate=FeeRate(9, 9), units=2, ticket=ticket)
    signed, before = town.signed(unsigned, HOT), town.lamports(HOT)
    assert town.chain.broadcast(signed.raw).outcome is BroadcastOutcome.ACCEPTED
    town.front.pass_slots()

    status = town.chain.tx_status(signed.tx_id)
    assert status.block is not None
    assert (status.succeeded, status.effect_amount) == (False, 0)
    assert status.fee == before - town.lamports(HOT) > 0
    assert town.chain.spent_coins([ticket], town.chain.head()) == {ticket}
    assert ticket not in town.chain.tickets(str(HOT.pubkey()), town.chain.head())


def test_what_would_fail_is_told_before_it_is_built(town: Town) -> None:
    with pytest.raises(Unavailable, match="would_fail"):
        town.chain.fee_units(town.intent(HOT, _somebody().pubkey(), 10**17))
    with pytest.raises(Unavailable, match=r"would_fail.*Rent"):
        town.chain.fee_units(town.intent(HOT, _somebody().pubkey(), 1))

    assert town.chain.fee_units(town.intent(HOT, _somebody().pubkey(), _COIN)) == 2


def test_of_two_prices_on_one_ticket_exactly_one_lands(town: Town) -> None:
    for first_wins in (True, False):
        receiver, ticket = _somebody(), town.ticket()
        intent = town.intent(HOT, receiver.pubkey(), _COIN)
        cheap = town.build(intent, ticket=ticket)
        current = town.chain.rate_of(cheap.payload)
        dear = town.build(
            intent, ticket=ticket, rate=town.chain.bump(town.chain.fee_rate(), current=current)
        )
        attempts = [town.signed(one, HOT) for one in (cheap, dear)]
        assert town.chain.rate_of(dear.payload).max_rate > current.max_rate
        order = attempts if first_wins else attempts[::-1]
        for one in order:
            town.chain.broadcast(one.raw)
        town.front.pass_slots()
        town.chain.broadcast(order[1].raw)
        town.front.pass_slots()

        statuses = [town.chain.tx_status(one.tx_id) for one in order]
        assert [one.succeeded for one in statuses] == [True, False]
        assert statuses[1].block is None
        assert town.lamports(receiver) == _COIN


def test_a_cancellation_moves_nothing_and_shuts_out_what_it_cancels(town: Town) -> None:
    receiver, ticket = _somebody(), town.ticket()
    payment = town.signed(
        town.build(town.intent(HOT, receiver.pubkey(), _COIN), ticket=ticket), HOT
    )
    cancelling = town.build(town.cancellation(HOT), ticket=ticket)
    assert town.chain.decode(cancelling.payload, sender=cancelling.sender).effects == ()
    cancelled = town.signed(cancelling, HOT)
    town.chain.broadcast(cancelled.raw)
    town.front.pass_slots()
    town.chain.broadcast(payment.raw)
    town.front.pass_slots()

    assert town.chain.tx_status(cancelled.tx_id).succeeded
    assert town.chain.tx_status(payment.tx_id).block is None
    assert town.lamports(receiver) == 0


def test_a_ticket_is_used_at_the_slot_that_used_it_and_not_before(town: Town) -> None:
    ticket, earlier = town.ticket(), town.chain.head()
    signed = town.signed(
        town.build(town.intent(HOT, _somebody().pubkey(), _COIN), ticket=ticket), HOT
    )
    town.front.pass_slots(2)
    unused = town.chain.head()
    town.chain.broadcast(signed.raw)
    town.front.pass_slots()
    block = town.chain.tx_status(signed.tx_id).block
    assert block is not None

    # Somebody names the account in a transaction of his own: that uses nothing up.
    town.node.pay(ticket.partition(":")[0], 1_000_000)
    town.front.pass_slots()
    for at in (earlier, unused, BlockRef(block.height - 1, "")):
        assert town.chain.spent_coins([ticket], at) == frozenset()
    for at in (block, town.chain.head()):
        assert town.chain.spent_coins([ticket], at) == {ticket}
    with pytest.raises(Unavailable, match="ticket_used"):
        town.build(town.intent(HOT, _somebody().pubkey(), _COIN), ticket=ticket)


def test_tickets_are_the_senders_own_and_a_node_that_is_behind_says_none(town: Town) -> None:
    head = town.chain.head()
    accounts = {
        owner: [text.partition(":")[0] for text in town.chain.tickets(str(owner.pubkey()), head)]
        for owner in (HOT, GAS, DEPOSIT)
    }

    assert accounts == {
        HOT: town.nonces[str(HOT.pubkey())],
        GAS: town.nonces[str(GAS.pubkey())],
        DEPOSIT: [],
    }
    with pytest.raises(Unavailable, match="node_behind"):
        town.chain.tickets(str(HOT.pubkey()), BlockRef(head.height + 100, ""))
    for text in ("", "nothing", f"{town.nonces[str(HOT.pubkey())][0]}:", "a:b"):
        with pytest.raises(Refused) as refused:
            town.chain.spent_coins([text], head)
        assert refused.value.reason is Reason.MALFORMED


def test_a_sweep_is_paid_for_by_gas_and_takes_the_rent_of_the_emptied_account_back(
    town: Town,
) -> None:
    source = town.token.account_of(DEPOSIT.pubkey())
    rent, held = town.lamports(source), town.held(town.token, HOT)
    assert town.lamports(DEPOSIT) == 0
    intent = town.intent(DEPOSIT, HOT.pubkey(), 5_000, town.token.key, SpendKind.SWEEP)
    unsigned = town.build(intent, ticket=town.ticket(GAS))
    signers = town.chain.decode(unsigned.payload, sender=unsigned.sender).signers
    assert signers == (str(GAS.pubkey()), str(DEPOSIT.pubkey()))
    signed, before = town.signed(unsigned, GAS, DEPOSIT), town.lamports(GAS)
    town.chain.broadcast(signed.raw)
    town.front.pass_slots()

    status = town.chain.tx_status(signed.tx_id)
    assert (status.succeeded, status.effect_amount) == (True, 5_000)
    assert status.fee == 2 * SIGNATURE_FEE + 5 * 92 == unsigned.fee_max
    assert town.held(town.token, HOT) - held == 5_000
    assert town.node.account(source) is None
    assert town.lamports(GAS) - before == rent - status.fee


def test_a_sweep_that_does_not_empty_its_account_leaves_it_open(town: Town) -> None:
    owner = _somebody()
    town.token.give(owner.pubkey(), 10)
    town.front.pass_slots()
    intent = town.intent(owner, HOT.pubkey(), 9, town.token.key, SpendKind.SWEEP)
    signed = town.signed(town.build(intent, ticket=town.ticket(GAS)), GAS, owner)
    town.chain.broadcast(signed.raw)
    town.front.pass_slots()

    assert town.chain.tx_status(signed.tx_id).succeeded
    assert town.held(town.token, owner) == 1


def test_an_account_with_withheld_fees_is_swept_and_left_open(town: Town) -> None:
    """Closing it would fail, and the sweep with it."""
    owner = _somebody()
    token = create_token_2022(town.node, powers=Powers(fee_bp=100))
    params = replace(town.params, scales={token.key: 6})
    chain = SolanaChain(params, town.chain.nodes, [listed(token.key, 6)])
    token.open(HOT.pubkey())
    token.pay(owner.pubkey(), 10_000)
    town.front.pass_slots()
    assert town.held(token, owner) == 9_900
    intent = town.intent(owner, HOT, 9_900, token.key, SpendKind.SWEEP)
    unsigned = chain.build(
        intent, nonce=0, rate=FeeRate(5, 5), units=chain.fee_units(intent), ticket=town.ticket(GAS)
    )
    made = b"".join(bytes(key.sign_message(unsigned.digest)) for key in (GAS, owner))
    signed = chain.assemble(unsigned, made)
    chain.broadcast(signed.raw)
    town.front.pass_slots()

    status = chain.tx_status(signed.tx_id)
    assert (status.succeeded, status.effect_amount) == (True, 9_801)
    assert town.node.account(token.account_of(owner.pubkey())) is not None


def test_coins_of_a_deposit_address_are_swept_to_the_last_lamport(town: Town) -> None:
    owner = _somebody()
    town.node.pay(owner.pubkey(), _COIN)
    town.front.pass_slots()
    intent = town.intent(owner, HOT.pubkey(), _COIN, kind=SpendKind.SWEEP)
    signed = town.signed(town.build(intent, ticket=town.ticket(GAS)), GAS, owner)
    town.chain.broadcast(signed.raw)
    town.front.pass_slots()

    assert town.chain.tx_status(signed.tx_id).effect_amount == _COIN
    assert town.lamports(owner) == 0


def test_the_cancellation_of_a_sweep_is_signed_by_both_and_moves_nothing(town: Town) -> None:
    owner, ticket = _somebody(), town.ticket(GAS)
    cancelling = town.build(town.cancellation(owner), ticket=ticket)
    decoded = town.chain.decode(cancelling.payload, sender=cancelling.sender)
    assert decoded.signers == (str(GAS.pubkey()), str(owner.pubkey()))
    assert decoded.effects == (Effect(NATIVE, str(owner.pubkey()), 0),)
    signed = town.signed(cancelling, GAS, owner)
    town.chain.broadcast(signed.raw)
    town.front.pass_slots()

    assert town.chain.tx_status(signed.tx_id).succeeded
    assert town.chain.spent_coins([ticket], town.chain.head()) == {ticket}


def test_signatures_are_taken_in_the_order_of_the_signers_only(town: Town) -> None:
    intent = town.intent(DEPOSIT, HOT.pubkey(), 1, town.new_token.key, SpendKind.SWEEP)
    unsigned = town.build(intent, ticket=town.ticket(GAS))
    town.signed(unsigned, GAS, DEPOSIT)

    for keys in ((DEPOSIT, GAS), (GAS, GAS), (GAS,), (GAS, DEPOSIT, GAS), (HOT, DEPOSIT)):
        with pytest.raises(Refused) as refused:
            town.signed(unsigned, *keys)
        assert refused.value.reason is Reason.BAD_SIGNATURE


def test_what_stands_at_an_address(town: Town) -> None:
    """W12: programs, mints, accounts of tokens and of nonces keep what is paid to them."""
    frozen = _somebody()
    town.token.give(frozen.pubkey(), 1)
    town.token.freeze(frozen.pubkey())
    town.front.pass_slots()
    nonce = town.nonces[str(HOT.pubkey())][0]
    cases = {
        (str(_somebody().pubkey()), NATIVE): Standing.ACCOUNT,
        (str(HOT.pubkey()), NATIVE): Standing.ACCOUNT,
        (str(HOT.pubkey()), town.token.key): Standing.ACCOUNT,
        (str(_somebody().pubkey()), town.token.key): Standing.ACCOUNT,
        (town.token.key, NATIVE): Standing.REFUSES,
        (str(town.token.account_of(HOT.pubkey())), NATIVE): Standing.REFUSES,
        (str(town.token.account_of(HOT.pubkey())), town.token.key): Standing.REFUSES,
        (str(town.token.program), NATIVE): Standing.REFUSES,
        (nonce, NATIVE): Standing.REFUSES,
        (str(frozen.pubkey()), town.token.key): Standing.REFUSES,
        (str(frozen.pubkey()), NATIVE): Standing.ACCOUNT,
    }

    for (address, key), standing in cases.items():
        assert town.chain.standing_of(address, asset_key=key) is standing, (address, key)


def test_control_of_an_address_is_proven_by_what_can_be_no_transaction(town: Town) -> None:
    challenge = bytes(range(32))
    address = str(HOT.pubkey())
    message = town.chain.control_digest(challenge, address=address)
    proof = bytes(HOT.sign_message(message))

    made = town.chain.control_proof(challenge, proof, address=address)
    assert made == bytes(HOT.pubkey()) + proof
    with pytest.raises(Refused):
        town.chain.decode(message, sender=address)
    for wrong in (challenge[::-1], b""):
        with pytest.raises(Refused) as refused:
            town.chain.control_proof(wrong, proof, address=address)
        assert refused.value.reason is Reason.BAD_SIGNATURE
    with pytest.raises(Refused):
        town.chain.control_proof(challenge, proof, address=str(GAS.pubkey()))
