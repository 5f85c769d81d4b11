"""Policies for tests: the one every house begins with, and documents that change one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

OFFICERS = ("ada", "ben", "cleo")
STALE_AFTER_S = 900


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_text(one) for one in value) + "]"
    return str(value) if isinstance(value, int) else f'"{value}"'


def scoped(table: str, **values: object) -> str:
    """Return one entry of a list of tables, for withdrawals everywhere unless it says otherwise."""
    everywhere = {name: ["*"] for name in ("chains", "assets", "wallets")}
    scope = {"kinds": ["withdrawal"], **everywhere, **values}
    return "\n".join([f"\n[[{table}]]", *(f"{n} = {_text(v)}" for n, v in scope.items()), ""])


def required(rule: str = "two", quorum: str = "2 of officers", **values: object) -> str:
    """Return a rule that asks officers; without delay and for a day unless it says otherwise."""
    values = {"outcome": "require", "quorum": quorum, "delay_s": 0, "expiry_s": 86_400} | values
    return scoped("rules", id=rule, **values)


def allowed(rule: str = "small", **values: object) -> str:
    """Return a rule that asks nobody."""
    return scoped("rules", id=rule, outcome="allow", **values)


def denied(deny: str, code: str, **values: object) -> str:
    """Return a hard deny."""
    return scoped("denies", id=deny, code=code, **values)


def bucket(name: str, per: str, cap: str, *, unit: str = "usd", **values: object) -> str:
    """Return a window of a day."""
    values = {"window_s": 86_400} | values
    return scoped("buckets", id=name, per=[per], unit=unit, cap=cap, **values)


OWN = allowed("own", kinds=["sweep", "top_up", "rotation"], destination_kinds=["own_wallet"])


def document(
    *entries: str,
    serial: int = 1,
    previous: bytes = b"",
    persons: Sequence[str] = OFFICERS,
    groups: Mapping[str, Sequence[str]] | None = None,
    stale_after_s: int = STALE_AFTER_S,
) -> bytes:
    """Return a policy of some entries; with none, two officers agree to every withdrawal."""
    head = [
        f'version = 1\nserial = {serial}\nprevious = "{previous.hex()}"\nissued_ns = 0',
        '[publish]\nquorum = "2 of officers"\ndelay_s = 0',
        f"[price]\nstale_after_s = {stale_after_s}",
    ]
    everyone = {"officers": persons, **(groups or {})}
    head += [f"[groups.{name}]\npersons = {_text(list(who))}" for name, who in everyone.items()]
    return "\n".join([*head, OWN, *(entries or (required(),))]).encode("ascii")
