"""Small policies and one plain request, to be changed in one place each."""

from __future__ import annotations

import dataclasses
from typing import Any

from app.toml_text import toml_text
from core.clock import DAY_NS, SECOND_NS
from core.ids import ChainId
from custody.policy.decide import decide
from custody.policy.decision import Decision
from custody.policy.document import Policy, parse_policy
from custody.policy.request import (
    Destination,
    DestinationKind,
    Facts,
    Movement,
    PolicyRequest,
    Price,
)

Table = dict[str, Any]
NOW = 1_790_000_000 * SECOND_NS
COIN = 10**18
USD = 10**6
STALE_S = 900
ALL: Table = {"kinds": ["*"], "chains": ["*"], "assets": ["*"], "wallets": ["*"]}
GROUPS = {"officers": ("ada", "ben", "eve"), "compliance": ("kim", "ada")}


def page(
    *, rules: list[Table], denies: list[Table] | None = None, buckets: list[Table] | None = None
) -> Table:
    """Return a document as tables; every entry gets the sets that it does not name."""
    return {
        "version": 1,
        "serial": 1,
        "previous": "",
        "issued_ns": NOW,
        "publish": {"quorum": "2 of officers", "delay_s": 86_400},
        "price": {"stale_after_s": STALE_S},
        "groups": {name: {"persons": list(persons)} for name, persons in GROUPS.items()},
        "denies": [{"code": "denied", **ALL, **one} for one in denies or []],
        "rules": [{**ALL, **one} for one in rules],
        "buckets": [{**ALL, "window_s": 86_400, **one} for one in buckets or []],
    }


def policy(
    *, rules: list[Table], denies: list[Table] | None = None, buckets: list[Table] | None = None
) -> Policy:
    """Return a policy of a few entries."""
    return parse_policy(toml_text(page(rules=rules, denies=denies, buckets=buckets)).encode())


def allow(name: str, **more: Any) -> Table:
    """Return a rule that allows."""
    return {"id": name, "outcome": "allow", **more}


def require(name: str, quorum: str = "2 of officers", **more: Any) -> Table:
    """Return a rule that needs officers."""
    terms = {"quorum": quorum, "delay_s": 60, "expiry_s": 3_600}
    return {"id": name, "outcome": "require", **terms, **more}


def block(name: str, code: str = "blocked", **more: Any) -> Table:
    """Return a rule that blocks."""
    return {"id": name, "outcome": "block", "code": code, **more}


def request(amount: int = COIN, **changes: Any) -> PolicyRequest:
    """Return a withdrawal of one coin, worth 100 USD, to an old entry of the address book."""
    plain = PolicyRequest(
        request_id="wd_1",
        kind="withdrawal",
        initiator="customer:7",
        roles=frozenset({"customer"}),
        customer_no=7,
        chain=ChainId("devnet"),
        asset_key="native",
        scale=18,
        amount=amount,
        price=Price(100 * 10**12, NOW, "test"),
        wallet="hot",
        destination=Destination(
            "0xa1", DestinationKind.EXTERNAL, entry="ab_1", entry_age_ns=2 * DAY_NS
        ),
        effects=(Movement("native", "0xa1", amount),),
        now_ns=NOW,
    )
    return dataclasses.replace(plain, **changes)


def decided(one: Policy, asked: PolicyRequest | None = None, **facts: Any) -> Decision:
    """Return what a policy says of a request."""
    return decide(one, asked or request(), Facts(**facts))
