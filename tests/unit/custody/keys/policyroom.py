"""Policies for tests: short documents, and books that have learned them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.ids import ChainId
from custody.keys.policy_book import PoliciesInMemory
from custody.keys.publication import Publication, sign_publication
from custody.keys.roster import Roster
from custody.keys.ruling import Law
from custody.policy.document import parse_policy
from custody.policy.rules import Policy
from tests.unit.custody.keys.officers import ADA, BEA, ROSTER

EXPIRY_S = 10 * 365 * 86_400
ALL = {"kinds": ["*"], "chains": ["*"], "assets": ["*"], "wallets": ["*"]}
QUORUM = {**ALL, "id": "quorum", "outcome": "require", "quorum": "2 of officers",
          "delay_s": 0, "expiry_s": EXPIRY_S}  # fmt: skip

Table = Mapping[str, object]


def document(
    rules: Sequence[Table] = (QUORUM,),
    *,
    officers: Sequence[str] = ("ada", "bea", "cai", "dan"),
    denies: Sequence[Table] = (),
    buckets: Sequence[Table] = (),
    groups: Mapping[str, Sequence[str]] | None = None,
    after: Policy | None = None,
    issued_ns: int | None = None,
    publish: str = "2 of officers",
    delay_s: int = 3_600,
) -> bytes:
    """Return the text of a policy; `after` is the version that it follows."""
    issued_ns = issued_ns or (1 if after is None else after.issued_ns + 1)
    lines = [
        "version = 1",
        f"serial = {1 if after is None else after.serial + 1}",
        f'previous = "{"" if after is None else after.hash.hex()}"',
        f"issued_ns = {issued_ns}",
        f'[publish]\nquorum = "{publish}"\ndelay_s = {delay_s}',
        "[price]\nstale_after_s = 900",
    ]
    for name, persons in {"officers": officers, **(groups or {})}.items():
        lines.append(f"[groups.{name}]\npersons = {_value(list(persons))}")
    for name, tables in (("denies", denies), ("rules", rules), ("buckets", buckets)):
        for table in tables:
            lines.append(f"[[{name}]]")
            lines += [f"{key} = {_value(value)}" for key, value in table.items()]
    return ("\n".join(lines) + "\n").encode()


def policy(*args: Any, **kwargs: Any) -> Policy:
    """Return the policy of `document`."""
    return parse_policy(document(*args, **kwargs))


def published(text: bytes, *keys: Ed25519PrivateKey, authors: Sequence[str] = ()) -> Publication:
    """Return a document with the approvals of some keys."""
    found = parse_policy(text)
    given = tuple(sign_publication(key, found, authors) for key in keys)
    return Publication(text, tuple(authors), given)


def law_of(
    roster: Roster,
    text: bytes,
    *keys: Ed25519PrivateKey,
    now_ns: int,
    scales: Mapping[tuple[ChainId, str], int] | None = None,
) -> Law:
    """Return a law under one first policy, which the keys published."""
    book = PoliciesInMemory()
    book.learn(published(text, *keys), roster=roster, now_ns=now_ns)
    return Law(book, scales or {})


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value) if isinstance(value, int) else f'"{value}"'


def _for(customer_no: int, rule: str, **terms: object) -> Table:
    return {**QUORUM, "id": rule, "customers": [customer_no], **terms}


ONE_COIN = 10**6
"""Of the asset that LAW knows the decimal places of."""
RULES: Sequence[Table] = (
    _for(9, "large", chains=["local"], assets=["native"], min_coins="1", quorum="3 of officers"),
    _for(10, "slow", delay_s=600, expiry_s=3_600),
    _for(11, "without-bea", exclude=["bea"]),
    _for(12, "board", quorum="1 of officers and 1 of board"),
    {**ALL, "id": "small", "customers": [13], "outcome": "allow"},
    {**ALL, "id": "closed", "customers": [14], "outcome": "block", "code": "closed"},
    _for(15, "by-one", quorum="1 of officers"),
    QUORUM,
)
FORBIDDEN = "0x90F79bf6EB2c4f870365E785982E1f101E93b906"
TERMS: Mapping[str, Any] = {
    "groups": {"board": ["cai"]},
    "denies": [{**ALL, "id": "never", "code": "never", "destinations": [FORBIDDEN]}],
}
DOCUMENT = document(RULES, **TERMS)
POLICY = policy(RULES, **TERMS)
"""Two of the officers agree to everything of most customers."""
LAW = law_of(ROSTER, DOCUMENT, ADA, BEA, now_ns=0, scales={(ChainId("local"), "native"): 6})
