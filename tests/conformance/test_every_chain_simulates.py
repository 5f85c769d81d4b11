"""Facts of simulating a payment that hold on every chain: what it would do, and nothing done."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from chains.base import NATIVE, BalanceChange
from core.errors import Reason
from tests.conformance.harness import ChainHarness, refusal, wallet


@pytest.mark.parametrize("is_token", [False, True])
def test_a_payment_changes_two_balances_and_nothing_else(
    is_token: bool, harness: ChainHarness
) -> None:
    alice, chain = wallet(harness), harness.chain
    asset, amount = (harness.token, 700) if is_token else (NATIVE, harness.coin // 3)
    if is_token:
        harness.fund(alice.address, 1_000, asset)
    bob, head = harness.outsider("bob"), chain.head()
    owned = chain.balance_of(alice.address, asset, head)
    ran = chain.simulate(alice.unsigned(alice.intent(bob, amount, asset)))
    assert (ran.succeeded, ran.others, ran.detail, ran.at) == (True, (), "", head)
    assert set(ran.changes) == {
        BalanceChange(alice.address, asset, owned, owned - amount),
        BalanceChange(bob, asset, 0, amount),
    }
    harness.mine()
    assert chain.balance_of(bob, asset, chain.head()) == 0
    assert chain.balance_of(alice.address, asset, chain.head()) == owned


def test_a_simulation_says_what_arrives_not_what_was_asked(harness: ChainHarness) -> None:
    """Of a token that keeps a part of every transfer less arrives, and somebody else gets it."""
    alice, chain = wallet(harness), harness.chain
    harness.fund(alice.address, 1_000_000, harness.odd_token)
    bob = harness.outsider("bob")
    ran = chain.simulate(alice.unsigned(alice.intent(bob, 500_000, harness.odd_token)))
    assert ran.succeeded
    (arrived,) = [one.after - one.before for one in ran.changes if one.address == bob]
    assert 0 < arrived < 500_000


@pytest.mark.parametrize("is_token", [False, True])
def test_what_would_fail_is_said_to_fail(is_token: bool, harness: ChainHarness) -> None:
    alice, chain = wallet(harness), harness.chain
    asset, amount = (harness.token, 1) if is_token else (NATIVE, 100 * harness.coin)
    ran = chain.simulate(alice.unsigned(alice.intent(harness.outsider("bob"), amount, asset)))
    assert not ran.succeeded
    assert ran.detail
    assert (ran.changes, ran.others) == ((), ())


def test_what_cannot_be_read_is_not_simulated(harness: ChainHarness) -> None:
    alice = wallet(harness, coins=0)
    unsigned = alice.unsigned(alice.intent(harness.outsider("bob"), 1))
    for payload in (b"", b"\x03" + unsigned.payload[1:], unsigned.payload + b"\x00"):
        broken = replace(unsigned, payload=payload)
        assert refusal(partial(harness.chain.simulate, broken)) is Reason.UNDECODABLE
