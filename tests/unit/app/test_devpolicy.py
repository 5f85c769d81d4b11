"""The policy of the development setup has no errors; what is said of it is meant."""

from __future__ import annotations

from app.devpolicy import dev_policy
from custody.policy.check import check_policy
from custody.policy.document import parse_policy
from custody.policy.flaws import Severity
from custody.policy.world import Asset, World


def test_the_first_policy_has_no_errors_and_its_warnings_are_meant() -> None:
    persons = ("ada", "bea", "cai")
    world = World(
        assets=(Asset("devnet", "native", 18, is_priced=True),),
        wallets=frozenset({"hot", "cold", "deposits", "gas", "treasury"}),
        officers=frozenset(persons),
        threshold=2,
    )
    policy = parse_policy(dev_policy(persons, threshold=2, issued_ns=1))
    flaws = check_policy(policy, world)
    assert [flaw for flaw in flaws if flaw.severity is Severity.ERROR] == []
    assert {flaw.code for flaw in flaws} == {"allow_unbounded", "no_delay", "old_price"}
