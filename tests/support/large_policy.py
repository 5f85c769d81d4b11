"""A large policy and requests for it: 200 rules, 50 denies and 50 buckets, for measurements."""

from __future__ import annotations

import random
from typing import Any

from app.toml_text import toml_text
from core.ids import ChainId
from custody.policy.document import Policy, parse_policy
from custody.policy.request import (
    Destination,
    DestinationKind,
    Movement,
    PolicyRequest,
    Price,
)

RULES, DENIES, BUCKETS = 200, 50, 50
ASSETS, STEPS = 20, 10
NOW = 1_790_000_000 * 10**9
PERSONS = [f"officer-{n}" for n in range(9)]


def large_policy() -> Policy:
    """Return a policy in which a request passes many rules of its own asset before one matches."""
    rules = [_rule(step, asset) for step in range(STEPS) for asset in range(ASSETS)]
    denies = [
        {"id": f"d{n}", "code": "denied", **_sets(n % ASSETS), "destinations": [f"0xbad{n}"]}
        for n in range(DENIES)
    ]
    per = ("initiator", "customer", "wallet", "destination", "asset", "global")
    buckets = [
        {
            "id": f"b{n}",
            **(_sets(None) if n < 10 else _sets(n % ASSETS)),
            "per": [per[n % len(per)]],
            "unit": "usd",
            "cap": "1000000000",
            "window_s": 3_600 * (1 + n),
        }
        for n in range(BUCKETS)
    ]
    assert (len(rules), len(denies), len(buckets)) == (RULES, DENIES, BUCKETS)
    page = {
        "version": 1,
        "serial": 1,
        "previous": "",
        "issued_ns": NOW,
        "publish": {"quorum": "2 of officers", "delay_s": 86_400},
        "price": {"stale_after_s": 900},
        "groups": {"officers": {"persons": PERSONS[:5]}, "board": {"persons": PERSONS[4:]}},
        "denies": denies,
        "rules": rules,
        "buckets": buckets,
    }
    return parse_policy(toml_text(page).encode())


def large_requests(count: int, seed: int = 1) -> list[PolicyRequest]:
    """Return requests of every asset and size."""
    dice = random.Random(seed)
    return [_request(n, dice.randrange(ASSETS), dice.randrange(STEPS)) for n in range(count)]


def _sets(asset: int | None) -> dict[str, Any]:
    assets = ["*"] if asset is None else [f"0xa55e7{asset}"]
    return {"kinds": ["withdrawal"], "chains": ["devnet"], "assets": assets, "wallets": ["hot"]}


def _rule(step: int, asset: int) -> dict[str, Any]:
    return {
        "id": f"r{step}-{asset}",
        **_sets(asset),
        "roles": ["customer"],
        "destination_kinds": ["external"],
        "min_usd": str(step * 1_000),
        "max_usd": str((step + 1) * 1_000),
        "outcome": "require",
        "quorum": "2 of officers and (1 of board or 3 of officers)",
        "delay_s": 60,
        "expiry_s": 86_400,
    }


def _request(number: int, asset: int, step: int) -> PolicyRequest:
    amount, key = (step * 1_000 + 500) * 10**18, f"0xa55e7{asset}"
    address = f"0x{number:040x}"
    return PolicyRequest(
        request_id=f"wd_{number}",
        kind="withdrawal",
        initiator=f"customer:{number}",
        roles=frozenset({"customer"}),
        customer_no=number,
        chain=ChainId("devnet"),
        asset_key=key,
        scale=18,
        amount=amount,
        price=Price(10**12, NOW, "bench"),
        wallet="hot",
        destination=Destination(
            address, DestinationKind.EXTERNAL, entry=f"ab_{number}", entry_age_ns=10**15
        ),
        effects=(Movement(key, address, amount),),
        now_ns=NOW,
    )
