"""What can be said of a scope by somebody who knows only the payment: the signer.

It knows what an approved withdrawal says of itself, and neither price, roles, address book nor what
stands at a destination. So a scope matches, does not match, or may match; a rule that may match is
left to those who decided, one that cannot is refused, and so is one behind a rule that must match.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from core.errors import Reason, Refused
from custody.policy.index import ScopeIndex
from custody.policy.rules import Deny, Policy, Rule
from custody.policy.scope import ANY, Scope, View, Window


class Match(enum.Enum):
    """Whether a scope matches, as far as the payment itself tells."""

    NO = "no"
    MAYBE = "maybe"
    YES = "yes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One payment as it describes itself."""

    kind: str
    initiator: str
    customer_no: int
    chain: str
    asset_key: str
    scale: int | None
    """None: how many decimal places the asset has is not known."""
    amount: int
    wallet: str
    destination: str

    def view(self) -> View:
        """Return it as scopes look at it; what is not known is absent."""
        values = {
            "kinds": (self.kind,),
            "chains": (self.chain,),
            "assets": (self.asset_key,),
            "wallets": (self.wallet,),
            "roles": (),
            "initiators": (self.initiator,),
            "customers": (str(self.customer_no),),
            "destinations": (self.destination,),
            "destination_kinds": (),
        }
        return View(
            values,
            amount=self.amount,
            scale=self.scale or 0,
            usd=None,
            price="no_price",
            in_book=False,
            entry_age_ns=None,
        )


def can_match(scope: Scope, known: Known) -> Match:
    """Return whether a scope matches a payment: no, yes, or maybe where that is not for us to say.

    A window of whole coins of an asset whose decimal places are not known may match.
    """
    view, is_open = known.view(), False
    for field, names in scope.sets.items():
        found = view.values[field]
        if not names or (found and ANY not in names and names.isdisjoint(found)):
            return Match.NO
        is_open |= not found and ANY not in names
    window = scope.window
    if known.scale is not None:
        coins = Window(min_coins=window.min_coins, max_coins=window.max_coins)
        if not coins.contains(known.amount, known.scale, None):
            return Match.NO
    is_open |= window.names_usd or (window.names_coins and known.scale is None)
    is_open |= scope.in_book is not None or scope.entry_age_min_ns is not None
    return Match.MAYBE if is_open else Match.YES


def rule_for(policy: Policy, rule_id: str, known: Known) -> Rule:
    """Return the rule that a payment names, when it can be the first that matches.

    Refused: policy_blocked (no such rule, it cannot match, an earlier one must),
    unknown_asset (it counts whole coins of an asset whose decimal places are not known).
    """
    rule = policy.rule(rule_id)
    if rule is None:
        raise Refused(Reason.POLICY_BLOCKED, f"policy {policy.serial} has no rule {rule_id!r}")
    if can_match(rule.scope, known) is Match.NO:
        raise Refused(Reason.POLICY_BLOCKED, f"rule {rule_id} does not match this payment")
    if rule.scope.window.names_coins and known.scale is None:
        raise Refused(Reason.UNKNOWN_ASSET, f"decimal places of {known.asset_key}")
    for number in _candidates(policy.index.rules, known):
        earlier = policy.rules[number]
        if earlier.id == rule_id:
            return rule
        if can_match(earlier.scope, known) is Match.YES:
            raise Refused(Reason.POLICY_BLOCKED, f"rule {earlier.id} comes before {rule_id}")
    raise AssertionError("the index names every rule that can match")


def deny_of(policy: Policy, known: Known) -> Deny | None:
    """Return the first hard deny that certainly matches a payment, None when there is none."""
    for number in _candidates(policy.index.denies, known):
        if can_match(policy.denies[number].scope, known) is Match.YES:
            return policy.denies[number]
    return None


def _candidates(index: ScopeIndex, known: Known) -> Iterator[int]:
    return index.candidates(known.view())
