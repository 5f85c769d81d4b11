"""Facts of simulating a payment that hold on every chain: what it would do, and nothing done."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from chains.base import NATIVE, BalanceChange
from core.errors import Reason
from tests.conformance.harness import (
    ChainHarness,
    OddTokenHarness,
    TokenHarness,
    assets,
    owner_of,
    refusal,
    some,
    wallet,
)


def test_a_payment_changes_two_balances_and_nothing_else(simulating: ChainHarness) -> None:
    for asset in assets(simulating):
        alice, chain = owner_of(simulating, asset), simulating.chain
        amount = simulating.coin // 3 if asset == NATIVE else 700
        bob, head = simulating.outsider("bob"), chain.head()
        owned = chain.balance_of(alice.address, asset, head)
        ran = chain.simulate(alice.unsigned(alice.intent(bob, amount, asset)))
        assert (ran.succeeded, ran.others, ran.detail, ran.at) == (True, (), "", head)
        assert set(ran.changes) == {
            BalanceChange(alice.address, asset, owned, owned - amount),
            BalanceChange(bob, asset, 0, amount),
        }
        simulating.mine()
        assert chain.balance_of(bob, asset, chain.head()) == 0
        assert chain.balance_of(alice.address, asset, chain.head()) == owned


def test_a_simulation_says_what_arrives_not_what_was_asked(odd_harness: OddTokenHarness) -> None:
    """Of a token that keeps a part of every transfer less arrives, and somebody else gets it."""
    alice, chain, odd = wallet(odd_harness), odd_harness.chain, odd_harness.odd_token
    odd_harness.fund(alice.address, 1_000_000, odd)
    bob = odd_harness.outsider("bob")
    ran = chain.simulate(alice.unsigned(alice.intent(bob, 500_000, odd)))
    assert ran.succeeded
    (arrived,) = [one.after - one.before for one in ran.changes if one.address == bob]
    assert 0 < arrived < 500_000


def test_what_would_fail_is_said_to_fail(token_harness: TokenHarness) -> None:
    alice, chain = wallet(token_harness), token_harness.chain
    for asset, amount in ((token_harness.token, 1), (NATIVE, 100 * token_harness.coin)):
        bob = token_harness.outsider("bob")
        ran = chain.simulate(alice.unsigned(alice.intent(bob, amount, asset)))
        assert not ran.succeeded
        assert ran.detail
        assert (ran.changes, ran.others) == ((), ())


def test_what_cannot_be_read_is_not_simulated(simulating: ChainHarness) -> None:
    alice = wallet(simulating)
    unsigned = alice.unsigned(alice.intent(simulating.outsider("bob"), some(simulating, 5)))
    for payload in (b"", b"\x03" + unsigned.payload[1:], unsigned.payload + b"\x00"):
        broken = replace(unsigned, payload=payload)
        assert refusal(partial(simulating.chain.simulate, broken)) is Reason.UNDECODABLE
