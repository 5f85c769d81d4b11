"""Facts of reading that hold on every chain; custody is written against them."""

from __future__ import annotations

from functools import partial

import pytest

from chains.base import (
    NATIVE,
    Payment,
)
from core.errors import Corrupt, Reason, Unavailable
from tests.conformance.harness import (
    BLOCKS_TO_FINAL,
    ChainHarness,
    OddTokenHarness,
    TaggedHarness,
    TokenHarness,
    assets,
    invented,
    payments_at,
    refusal,
    some,
    wallet,
)


def head_block_payments(harness: ChainHarness, *watched: str) -> list[Payment]:
    return payments_at(harness.chain, harness.chain.head().height, *watched)


# ---- identity and blocks --------------------------------------------------------------------


def test_a_node_of_another_network_is_corrupt(harness: ChainHarness) -> None:
    harness.chain.check_identity()
    impostor = harness.impostor()
    assert impostor.traits.network != harness.chain.traits.network
    with pytest.raises(Corrupt):
        impostor.check_identity()


def test_a_test_network_says_so_and_names_its_curve(harness: ChainHarness) -> None:
    chain = harness.chain
    assert not chain.traits.is_main_network
    assert chain.traits.curve in {"secp256k1", "ed25519"}
    assert chain.traits.reorg_limit > BLOCKS_TO_FINAL


def test_every_block_names_its_parent_and_time_does_not_go_back(harness: ChainHarness) -> None:
    harness.mine(5)
    head = harness.chain.head()
    above = harness.chain.block_at(head.height)
    assert above is not None
    assert above.ref == head
    for height in range(head.height - 1, head.height - 6, -1):
        below = harness.chain.block_at(height)
        assert below is not None
        assert (below.ref.height, below.ref.hash) == (height, above.parent_hash)
        assert below.time_s <= above.time_s
        above = below


def test_there_is_no_block_above_the_head(harness: ChainHarness) -> None:
    harness.mine()
    assert harness.chain.block_at(harness.chain.head().height + 1) is None
    harness.mine()
    assert harness.chain.block_at(harness.chain.head().height) is not None


def test_a_reorganisation_changes_hashes_above_the_common_ancestor_only(
    forking_harness: ChainHarness,
) -> None:
    forking_harness.mine(4)
    head = forking_harness.chain.head().height
    before = [forking_harness.chain.block_at(height) for height in range(head - 3, head + 1)]
    forking_harness.reorg(2)
    after = [forking_harness.chain.block_at(height) for height in range(head - 3, head + 1)]
    assert forking_harness.chain.head().height > head
    assert [old == new for old, new in zip(before, after, strict=True)] == [
        True,
        True,
        False,
        False,
    ]


# ---- finality -------------------------------------------------------------------------------


def test_the_final_head_stays_below_the_head_and_never_goes_back(harness: ChainHarness) -> None:
    seen = 0
    for _ in range(3 * BLOCKS_TO_FINAL):
        harness.mine()
        final = harness.chain.final_head()
        if final is None:
            assert not seen
            continue
        block = harness.chain.block_at(final.height)
        assert block is not None
        assert block.ref == final
        assert seen <= final.height <= harness.chain.head().height - harness.blocks_to_final
        seen = final.height
    assert seen > BLOCKS_TO_FINAL


def test_a_stalled_finality_is_not_replaced_by_depth(tagged_harness: TaggedHarness) -> None:
    tagged_harness.mine(2 * BLOCKS_TO_FINAL)
    final = tagged_harness.chain.final_head()
    assert final is not None
    tagged_harness.stall_finality()
    head = tagged_harness.chain.head()
    tagged_harness.mine(3 * BLOCKS_TO_FINAL)
    shows_more = tagged_harness.blocks_to_final > 0
    assert (tagged_harness.chain.head().height > head.height) is shows_more
    assert tagged_harness.chain.final_head() == final
    tagged_harness.resume_finality()
    tagged_harness.mine()
    caught_up = tagged_harness.chain.final_head()
    assert caught_up is not None
    assert caught_up.height > final.height


def test_what_is_final_reads_the_same_for_ever(harness: ChainHarness) -> None:
    bob = harness.outsider("bob")
    harness.pay(bob, NATIVE, some(harness, 5))
    harness.mine(harness.blocks_to_final + 1)
    final = harness.chain.final_head()
    assert final is not None
    before = harness.chain.block_at(final.height), payments_at(harness.chain, final.height, bob)
    assert len(before[1]) == 1
    harness.mine(3)
    fresh = harness.connect()
    assert (fresh.block_at(final.height), payments_at(fresh, final.height, bob)) == before


# ---- payments -------------------------------------------------------------------------------


def test_a_payment_is_seen_with_its_key_and_amount(harness: ChainHarness) -> None:
    bob = harness.outsider("bob")
    for asset in assets(harness):
        amount = some(harness, 1_234, asset)
        tx_id = harness.pay(bob, asset, amount)
        harness.mine()
        height = harness.chain.head().height
        (payment,) = payments_at(harness.chain, height, bob, harness.outsider("carol"))
        assert (payment.tx_id, payment.asset_key, payment.to_address) == (tx_id, asset, bob)
        assert (payment.amount, payment.claimed, payment.anomaly) == (amount, amount, None)
        assert payment.position
        assert payments_at(harness.chain, height - 1, bob) == []
        assert payments_at(harness.chain, height, harness.outsider("carol")) == []
        status = harness.chain.tx_status(tx_id)
        assert (status.known, status.block) == (True, harness.chain.head())
        harness.mine()


def test_an_odd_token_is_credited_by_what_it_delivered(odd_harness: OddTokenHarness) -> None:
    bob = odd_harness.outsider("bob")
    odd_harness.pay(bob, odd_harness.odd_token, 1_000)
    odd_harness.mine()
    head = odd_harness.chain.head()
    (payment,) = payments_at(odd_harness.chain, head.height, bob)
    assert (payment.amount, payment.claimed, payment.anomaly) == (980, 1_000, "delivered_less")
    assert odd_harness.chain.balance_of(bob, odd_harness.odd_token, head) == 980


def test_a_block_read_twice_and_by_another_connection_gives_the_same_payments(
    harness: ChainHarness,
) -> None:
    bob = harness.outsider("bob")
    paid = [(asset, some(harness, n, asset)) for n in (5, 6) for asset in assets(harness)]
    for asset, amount in paid:
        harness.pay(bob, asset, amount)
    harness.mine()
    height = harness.chain.head().height
    first = payments_at(harness.chain, height, bob)
    harness.mine()
    assert payments_at(harness.chain, height, bob) == first
    assert payments_at(harness.connect(), height, bob) == first
    assert sorted((payment.asset_key, payment.amount) for payment in first) == sorted(paid)
    keys = {(payment.tx_id, payment.position, payment.asset_key) for payment in first}
    assert len(keys) == len(paid)


def test_a_block_that_was_reorganised_away_is_complete_or_unavailable_never_empty(
    forking_harness: ChainHarness,
) -> None:
    bob = forking_harness.outsider("bob")
    tx_id = forking_harness.pay(bob, NATIVE, some(forking_harness, 5))
    forking_harness.mine()
    old = forking_harness.chain.block_at(forking_harness.chain.head().height)
    assert old is not None
    before = forking_harness.chain.payments_in(old, {bob})
    assert len(before) == 1
    forking_harness.reorg(1)
    fresh = forking_harness.connect()
    try:
        found = fresh.payments_in(old, {bob})
    except Unavailable:
        found = before  # a block that proves itself may still be read
    assert found == before
    with pytest.raises(Unavailable):
        fresh.balance_of(bob, NATIVE, old.ref)
    assert fresh.tx_status(tx_id).block is None
    assert payments_at(fresh, old.ref.height, bob) == []
    assert fresh.balance_of(bob, NATIVE, fresh.head()) == 0


def test_state_after_a_block_nobody_made_is_unavailable(harness: ChainHarness) -> None:
    harness.mine()
    bob, head = harness.outsider("bob"), harness.chain.head()
    with pytest.raises(Unavailable):
        harness.chain.balance_of(bob, NATIVE, invented(head))
    assert harness.chain.balance_of(bob, NATIVE, head) == 0


def test_somebodys_failed_payment_pays_nobody(token_harness: TokenHarness) -> None:
    bob = token_harness.outsider("bob")
    tx_id = token_harness.pay_and_fail(bob, 5)
    token_harness.mine()
    assert head_block_payments(token_harness, bob) == []
    status = token_harness.chain.tx_status(tx_id)
    assert (status.block, status.succeeded) == (token_harness.chain.head(), False)
    assert token_harness.chain.balance_of(bob, token_harness.token, token_harness.chain.head()) == 0


def test_a_payment_of_nothing_is_no_payment(harness: ChainHarness) -> None:
    bob = harness.outsider("bob")
    for asset in assets(harness):
        harness.pay(bob, asset, 0)
    harness.mine()
    assert head_block_payments(harness, bob) == []


def test_a_balance_is_that_of_exactly_the_block_asked_for(harness: ChainHarness) -> None:
    bob = harness.outsider("bob")
    harness.mine()
    refs = [harness.chain.head()]
    for asset in assets(harness):
        harness.pay(bob, asset, some(harness, 5, asset))
        harness.mine()
        refs.append(harness.chain.head())
    for place, asset in enumerate(assets(harness)):
        amount = some(harness, 5, asset)
        balances = [harness.chain.balance_of(bob, asset, ref) for ref in refs]
        assert balances == [0 if at <= place else amount for at in range(len(refs))]
        many = harness.chain.balances_of([bob, harness.outsider("carol")], asset, refs[-1])
        assert many == {bob: amount, harness.outsider("carol"): 0}


# ---- addresses and control ------------------------------------------------------------------


def test_an_address_is_its_own_canonical_text(harness: ChainHarness) -> None:
    addresses = {wallet(harness, name, coins=0).address for name in ("alice", "bob", "carol")}
    assert len(addresses) == 3
    for address in addresses:
        assert harness.chain.parse_address(address) == address
    assert wallet(harness, "alice", coins=0).address in addresses


def test_what_is_no_destination_is_refused_with_its_reason(harness: ChainHarness) -> None:
    good = wallet(harness, coins=0).address
    everywhere = {
        "empty": ("", Reason.INVALID_ADDRESS),
        "space before": (f" {good}", Reason.INVALID_ADDRESS),
        "space after": (f"{good} ", Reason.INVALID_ADDRESS),
        "newline after": (f"{good}\n", Reason.INVALID_ADDRESS),
        "cut": (good[:-2], Reason.INVALID_ADDRESS),
        "longer": (f"{good}0", Reason.INVALID_ADDRESS),
        "full-width digit": (f"{good[:-1]}\uff11", Reason.INVALID_ADDRESS),
        "cyrillic a": (f"{good[:-1]}\u0430", Reason.INVALID_ADDRESS),
        "zero-width space": (f"{good}\u200b", Reason.INVALID_ADDRESS),
        "very long": (good * 1_000, Reason.INVALID_ADDRESS),
    }
    for what, (text, reason) in {**everywhere, **harness.bad_addresses()}.items():
        given = refusal(partial(harness.chain.parse_address, text))
        assert given is reason, what


def test_a_proof_of_control_holds_for_one_address_and_challenge(harness: ChainHarness) -> None:
    alice, bob = wallet(harness, coins=0), wallet(harness, "bob", coins=0)
    chain, challenge = harness.chain, b"strongroom reserves 2027-01-01"
    signature = alice.sign(chain.control_digest(challenge, address=alice.address))
    assert chain.control_proof(challenge, signature, address=alice.address)
    for words, signed, address in (
        (challenge, signature, bob.address),
        (challenge + b"!", signature, alice.address),
        (
            challenge,
            bob.sign(chain.control_digest(challenge, address=alice.address)),
            alice.address,
        ),
        (challenge, signature[:-2], alice.address),
        (challenge, b"", alice.address),
    ):
        given = refusal(partial(chain.control_proof, words, signed, address=address))
        assert given is Reason.BAD_SIGNATURE


def test_a_challenge_that_looks_like_a_transaction_has_another_digest(
    harness: ChainHarness,
) -> None:
    alice = wallet(harness)
    unsigned = alice.unsigned(alice.intent(harness.outsider("bob"), some(harness, 5)))
    for challenge in (unsigned.payload, unsigned.digest):
        digest = harness.chain.control_digest(challenge, address=alice.address)
        assert digest != unsigned.digest
