"""Misconfigurations, each one change of the good policy in docs/policy.example.toml."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

Table = dict[str, Any]
Change = Callable[[Table], object]

EXAMPLE = Path(__file__).parents[4] / "docs" / "policy.example.toml"


def good() -> Table:
    """Return the good policy as tables."""
    return tomllib.loads(EXAMPLE.read_text("ascii"))


def rule(name: str, **changes: Any) -> Change:
    """Change keys of one rule; None takes a key away."""
    return _change("rules", name, changes)


def deny(name: str, **changes: Any) -> Change:
    """Change keys of one deny."""
    return _change("denies", name, changes)


def bucket(name: str, **changes: Any) -> Change:
    """Change keys of one bucket."""
    return _change("buckets", name, changes)


def _change(table: str, name: str, changes: Table) -> Change:
    def change(page: Table) -> None:
        (entry,) = (one for one in page[table] if one["id"] == name)
        for key, value in changes.items():
            if value is None:
                del entry[key]
            else:
                entry[key] = value

    return change


def copied(table: str, name: str, before: str | None = None, **changes: Any) -> Change:
    """Add a changed copy of an entry, at the end or before another one."""

    def change(page: Table) -> None:
        (entry,) = (one for one in page[table] if one["id"] == name)
        ids = [one["id"] for one in page[table]]
        at = len(ids) if before is None else ids.index(before)
        page[table].insert(at, {**copy.deepcopy(entry), "id": "added", **changes})

    return change


def without(table: str, name: str) -> Change:
    """Take an entry away."""

    def change(page: Table) -> None:
        page[table] = [one for one in page[table] if one["id"] != name]

    return change


def at(*path: str, value: object) -> Change:
    """Set one value of the document's head."""

    def change(page: Table) -> None:
        for key in path[:-1]:
            page = page[key]
        page[path[-1]] = value

    return change


def _last_rule_first(page: Table) -> None:
    page["rules"].insert(0, page["rules"].pop())


D, B = "deny no-foreign-contracts", "bucket customer-day"
MISCONFIGURED: list[tuple[str, Change, str, str]] = [
    ("the block of everything stands first", _last_rule_first, "shadowed", "rule small-known"),
    (
        "a rule stands twice",
        copied("rules", "medium", before="the-rest"),
        "shadowed",
        "rule added",
    ),
    (
        "two rules together take everything from a third",
        copied("rules", "medium", before="the-rest", max_usd="20000", wallets=["hot"]),
        "shadowed",
        "rule added",
    ),
    (
        "a deny ends all that a rule lets through",
        deny("no-foreign-contracts", destination_kinds=["contract", "own_customer"]),
        "always_denied",
        "rule internal",
    ),
    (
        "a rule is about what cannot be",
        rule("internal", kinds=["sweep"]),
        "unreachable",
        "rule internal",
    ),
    ("nothing blocks the rest", without("rules", "the-rest"), "no_final_block", "policy"),
    ("the rest is not covered", without("rules", "the-rest"), "gap", "kind withdrawal"),
    ("the last block is narrow", rule("the-rest", kinds=["withdrawal"]), "gap", "kind batch"),
    ("a deny names nothing", deny("no-foreign-contracts", wallets=[]), "empty_set", D),
    ("a rule names nothing", rule("medium", roles=[]), "empty_set", "rule medium"),
    ("a bucket names nothing", bucket("customer-day", kinds=[]), "bucket_covers_nothing", B),
    ("a kind is misspelt", deny("no-foreign-contracts", kinds=["withdrawl"]), "unknown_kind", D),
    (
        "a chain is unknown",
        rule("medium", chains=["devnet", "third"]),
        "unknown_chain",
        "rule medium",
    ),
    ("an asset is unknown", rule("medium", assets=["0xt1"]), "unknown_asset", "rule medium"),
    ("a wallet is unknown", rule("large", wallets=["tresury"]), "unknown_wallet", "rule large"),
    ("a role is unknown", rule("owners", roles=["officers"]), "unknown_role", "rule owners"),
    ("a signer is unknown", rule("large", signers=["vault"]), "unknown_wallet", "rule large"),
    (
        "no chain has the asset",
        rule("medium", chains=["second"], assets=["0xt0"]),
        "no_such_asset",
        "rule medium",
    ),
    (
        "a member is no officer",
        at("groups", "board", "persons", value=["max", "nia", "zed"]),
        "not_an_officer",
        "group board",
    ),
    (
        "a group is empty",
        at("groups", "compliance", "persons", value=[]),
        "empty_group",
        "group compliance",
    ),
    (
        "a group decides nothing",
        at("groups", "spare", value={"persons": ["ada"]}),
        "unused_group",
        "group spare",
    ),
    (
        "a quorum asks for more than there are",
        rule("medium", quorum="4 of officers"),
        "quorum_unreachable",
        "rule medium",
    ),
    (
        "a quorum would count a person twice",
        rule("medium", quorum="2 of compliance and 1 of compliance"),
        "quorum_unreachable",
        "rule medium",
    ),
    (
        "exclusions make a quorum impossible",
        rule("medium", exclude=["officers"]),
        "quorum_unreachable",
        "rule medium",
    ),
    (
        "a quorum is below the roster's threshold",
        rule("medium", quorum="2 of officers or 1 of board"),
        "below_threshold",
        "rule medium",
    ),
    (
        "a quorum stands and falls with one person",
        rule("medium", quorum="3 of officers"),
        "indispensable",
        "rule medium",
    ),
    (
        "the next version needs one person",
        at("publish", "quorum", value="1 of board"),
        "below_threshold",
        "publish",
    ),
    (
        "no next version can be published",
        at("publish", "quorum", value="3 of compliance"),
        "quorum_unreachable",
        "publish",
    ),
    ("a new version counts at once", at("publish", "delay_s", value=0), "no_delay", "publish"),
    (
        "a price of last week is fresh",
        at("price", "stale_after_s", value=604_800),
        "old_price",
        "price",
    ),
    (
        "approvals expire within the delay",
        rule("large", delay_s=259_200),
        "refused",
        "rule 'large': delay_s: approvals expire before the delay is over",
    ),
    ("approvals expire too soon", rule("large", delay_s=259_000), "little_time", "rule large"),
    (
        "a window holds nothing",
        rule("medium", min_usd="60000"),
        "refused",
        "rule 'medium': max_usd: nothing lies in [min_usd, max_usd)",
    ),
    ("a hole between two windows", rule("medium", min_usd="1001"), "hole", "rule medium"),
    (
        "larger payments are easier than smaller ones",
        rule("small-known", max_usd=None, min_usd="1000"),
        "weaker_when_larger",
        "rule small-known",
    ),
    (
        "a bound is finer than the asset",
        rule("internal", chains=["devnet"], assets=["0xt0"], max_coins="0.0000001"),
        "too_fine",
        "rule internal",
    ),
    (
        "an age is asked of what may not be in the book",
        rule("small-known", in_book=None),
        "age_without_book",
        "rule small-known",
    ),
    (
        "a bucket per customer covers what has none",
        bucket("everything-day", per=["customer"]),
        "missing_field",
        "bucket everything-day",
    ),
    (
        "a rule names customers of what has none",
        rule("own-transfers", customers=[7]),
        "missing_field",
        "rule own-transfers",
    ),
    (
        "payments are allowed that nothing counts",
        without("buckets", "own-day"),
        "allow_unbounded",
        "rule own-transfers",
    ),
    (
        "owners change without an officer",
        rule("owners", outcome="allow", quorum=None, delay_s=None, expiry_s=None),
        "allow_owner_change",
        "rule owners",
    ),
    (
        "strangers are paid unasked",
        rule("internal", destination_kinds=["external"], wallets=["hot"]),
        "allow_stranger",
        "rule internal",
    ),
    (
        "own transfers wait for officers",
        rule("own-transfers", outcome="block", code="x"),
        "own_transfer",
        "rule own-transfers",
    ),
    ("a cap is nothing", bucket("customer-day", cap="0"), "cap_of_nothing", "bucket customer-day"),
    (
        "a bucket counts nothing that is let through",
        bucket("customer-day", wallets=["cold"]),
        "bucket_covers_nothing",
        "bucket customer-day",
    ),
    (
        "a bucket is never full before another",
        copied("buckets", "customer-day", cap="200000"),
        "never_binds",
        "bucket added",
    ),
    (
        "even the smallest amount is above a cap",
        rule("large", min_usd="300000"),
        "rule_above_cap",
        "rule large",
    ),
    (
        "a deny stands behind a wider one",
        copied("denies", "nothing-above-five-million", min_usd="6000000"),
        "deny_covered",
        "deny added",
    ),
    (
        "a deny is about what cannot be",
        deny("no-foreign-contracts", kinds=["sweep"]),
        "deny_never_fires",
        "deny no-foreign-contracts",
    ),
    (
        "a quorum names a group that is not there",
        rule("medium", quorum="2 of oficers"),
        "refused",
        "rule 'medium': quorum: there is no group 'oficers'",
    ),
    (
        "a key is misspelt",
        rule("medium", in_bok=True),
        "refused",
        "rule 'medium': in_bok: is not a key here",
    ),
]
