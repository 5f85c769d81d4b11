"""What a check says of random policies is true of every random request that is then decided."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter

from app.toml_text import toml_text
from custody.policy.check import check_policy
from custody.policy.decide import decide
from custody.policy.document import parse_policy
from custody.policy.request import DestinationKind, Facts, Movement, PolicyRequest
from custody.policy.world import INSIDE, SHAPES, Asset, World
from tests.support.policy_weather import (
    ASSETS,
    CHAINS,
    NOW,
    PERSONS,
    WALLETS,
    random_page,
    random_request,
)

POLICIES, REQUESTS = 60, 150
WORLD = World(
    assets=tuple(Asset(chain, key, 18, is_priced=True) for chain in CHAINS for key in ASSETS),
    wallets=frozenset(WALLETS),
    officers=frozenset(PERSONS),
    threshold=2,
)
IDLE = ("shadowed", "unreachable", "always_denied")


def plausible(dice: random.Random) -> PolicyRequest:
    """Return a random request of a shape that can happen."""
    asked = random_request(dice)
    shape = SHAPES[asked.kind]
    role = dice.choice(shape.roles)
    is_customer = role == "customer"
    entry = dice.choice((None, "e1")) if is_customer else None
    amount = abs(asked.amount)
    price = asked.price
    if price is not None:
        price = dataclasses.replace(price, at_ns=NOW, value=dice.choice((10**12, 1, 10**13)))
    place = dataclasses.replace(
        asked.destination,
        kind=dice.choice(shape.destination_kinds),
        entry=entry,
        entry_age_ns=None if entry is None else dice.choice((0, 60 * 10**9, 10**15)),
        last_editor=None,
    )
    return dataclasses.replace(
        asked,
        scale=18,
        amount=amount,
        roles=frozenset({role}),
        initiator=asked.initiator or "ada",
        wallet=INSIDE if place.kind is DestinationKind.OWN_CUSTOMER else asked.wallet or "hot",
        customer_no=dice.choice((7, 8, 9)) if is_customer else None,
        price=price,
        destination=place,
        effects=(Movement(asked.asset_key, place.address, amount),),
    )


def test_what_a_check_says_never_happens_does_not_happen() -> None:
    seen: Counter[str] = Counter()
    for n in range(POLICIES):
        dice = random.Random(f"check/{n}")
        page = random_page(dice)
        policy = parse_policy(toml_text(page).encode())
        flaws = {(flaw.code, flaw.place) for flaw in check_policy(policy, WORLD)}
        codes = {code for code, _ in flaws}
        assert "too_large" not in codes
        seen.update(codes)
        denies = {one.code: one.id for one in policy.denies}
        for _ in range(REQUESTS):
            asked = plausible(dice)
            found = decide(policy, asked, Facts())
            where = (n, asked, found)
            seen[f"decided {found.code.rstrip('_0123456789')}"] += 1
            if found.code == "missing_field":
                assert "missing_field" in codes, where
                continue
            if found.rule:
                place = f"rule {found.rule}"
                assert not any((code, place) in flaws for code in IDLE), where
            if found.code == "no_rule":
                assert "gap" in codes, where
            if found.code in denies:
                assert ("deny_never_fires", f"deny {denies[found.code]}") not in flaws, where
            if found.outcome.value == "allow" and not found.charges:
                assert ("allow_unbounded", f"rule {found.rule}") in flaws, where
            if found.outcome.value in ("allow", "require"):
                for charge in found.charges:
                    place = f"bucket {charge.bucket}"
                    assert ("bucket_covers_nothing", place) not in flaws, where
                assert ("rule_above_cap", f"rule {found.rule}") not in flaws, where
    for code in (*IDLE[:2], "gap", "deny_never_fires", "allow_unbounded", "bucket_covers_nothing"):
        assert seen[code], seen
    assert min(seen["decided no_rule"], seen["decided denied"], seen["decided "]) > 100, seen
