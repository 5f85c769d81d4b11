"""A policy as its officers wrote it: frozen values, read strictly from TOML (docs/policy.md).

version = 1
serial = 1
previous = ""                      # sha256 of the policy before, 64 hex digits
issued_ns = 1_790_000_000_000_000_000

[publish]                          # what the next version needs: this one's quorum and delay
quorum = "2 of officers"
delay_s = 86_400

[price]
stale_after_s = 900                # a price this old is none

[groups.officers]
persons = ["ada", "ben", "eve"]

[[denies]]                         # always win, in any order
id = "no-contracts"
code = "contract_destination"
kinds = ["withdrawal"]             # kinds, chains, assets and wallets always stand there;
chains = ["*"]                     # roles, initiators, customers, destinations,
assets = ["*"]                     # destination_kinds, in_book, entry_age_min_s,
wallets = ["*"]                    # min_usd, max_usd, min_coins, max_coins may
destination_kinds = ["contract"]

[[rules]]                          # in order, the first that matches
id = "small"
…                                  # the same conditions
max_usd = "1000"                   # [min, max)
outcome = "require"                # allow | block (with code) | require
quorum = "1 of officers"
delay_s = 0
expiry_s = 86_400
exclude = ["eve"]                  # persons or groups who may not approve

[[buckets]]                        # for every t: the sum over (t - window, t] <= cap
id = "daily"
…                                  # the same conditions, but no window of the amount
per = ["customer"]                 # initiator customer wallet destination asset, or global
unit = "usd"                       # or coins, of one asset on one chain
cap = "10000"
window_s = 86_400
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from core.errors import Reason, Refused
from core.money import MAX_SCALE
from custody.policy.decision import Outcome
from custody.policy.fields import BadPolicy, Faults, Fields
from custody.policy.lines import Lines, entry_place
from custody.policy.quorum import Quorum
from custody.policy.request import USD_SCALE, DestinationKind
from custody.policy.rules import Bucket, Deny, Per, Policy, Publish, Rule, Unit
from custody.policy.scope import ANY, SETS, STATED, Coins, Scope, Window

__all__ = ["BadPolicy", "Policy", "parse_policy", "policy_hash"]

FORMAT_VERSION = 1
DOCUMENT_BYTES_MAX = 1 << 20
RULES_MAX = 1_000
"""Of rules, and of denies, and of buckets."""
GROUPS_MAX = 64
PERSONS_MAX = 256
SERIAL_LIMIT = 1 << 31
TIME_LIMIT_NS = 1 << 63

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_GROUP = re.compile(r"[a-z][a-z0-9_-]{0,63}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TEXT = re.compile(r"[!-~]{1,256}", re.ASCII)
_HEAD = ("version", "serial", "previous", "issued_ns", "publish", "price", "groups")
_LISTS = ("denies", "rules", "buckets")
_CONDITIONS = (*SETS, "in_book", "entry_age_min_s")
_WINDOW = ("min_usd", "max_usd", "min_coins", "max_coins")
_REQUIRE = ("quorum", "delay_s", "expiry_s", "exclude", "signers")

T = TypeVar("T")
Table = Mapping[str, Any]


def policy_hash(data: bytes) -> bytes:
    """Return the hash that approvals and signatures carry: SHA-256 of the file's bytes."""
    return hashlib.sha256(data).digest()


def parse_policy(data: bytes, *, name: str = "policy") -> Policy:
    """Read a policy document strictly; `name` stands in front of every complaint.

    Refused (BadPolicy): malformed, with file, line, place and reason of every fault;
    unknown_version, too_large.
    """
    if len(data) > DOCUMENT_BYTES_MAX:
        raise BadPolicy((f"{name}:1: a policy has at most 1 MiB",), Reason.TOO_LARGE)
    try:
        text = data.decode("ascii")
        page = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise BadPolicy((f"{name}:{line}: a policy has ASCII characters only",)) from error
    except (ValueError, RecursionError) as error:
        found = re.search(r"line ([0-9]+)", str(error))
        line = int(found[1]) if found else 1
        raise BadPolicy((f"{name}:{line}: not TOML: {error}",)) from error
    if page.get("version") != FORMAT_VERSION:
        complaint = f"{name}:1: version: this program reads version {FORMAT_VERSION}"
        raise BadPolicy((complaint,), Reason.UNKNOWN_VERSION)
    return _Document(page, Lines(text), name).policy(policy_hash(data))


class _Document:
    """Reads one document, collecting its faults."""

    def __init__(self, page: Table, lines: Lines, name: str) -> None:
        self._page, self._name = page, name
        self._faults = Faults(lines, name)
        self._groups: dict[str, frozenset[str]] = {}

    def policy(self, hash_: bytes) -> Policy:
        """Return the policy of the whole document. Refused: malformed."""
        head = Fields(self._faults, "", "", self._page)
        head.only(*_HEAD, *_LISTS)
        self._groups = self._read_groups()
        serial = head.integer("serial", 1, SERIAL_LIMIT)
        previous = head.text("previous", _HASH) if self._page.get("previous") != "" else ""
        if (serial == 1) != (previous == ""):
            head.complain("previous", "the first version follows none, and every other one does")
        issued_ns = head.integer("issued_ns", 0, TIME_LIMIT_NS)
        price = self._table("price", "stale_after_s")
        stale_after_ns = price.seconds("stale_after_s", low=1)
        publish = self._table("publish", "quorum", "delay_s")
        terms = Publish(self.quorum(publish, "quorum"), publish.seconds("delay_s"))
        denies = self._entries("denies", "deny", self._deny)
        rules = self._entries("rules", "rule", self._rule)
        buckets = self._entries("buckets", "bucket", self._bucket)
        self._faults.end()
        return Policy(
            serial=serial,
            previous=bytes.fromhex(previous),
            issued_ns=issued_ns,
            publish=terms,
            stale_after_ns=stale_after_ns,
            groups=self._groups,
            denies=denies,
            rules=rules,
            buckets=buckets,
            hash=hash_,
            name=self._name,
        )

    def quorum(self, fields: Fields, key: str) -> Quorum:
        """Read a quorum of groups that are there."""
        found = fields.value(key, str, "")
        try:
            quorum = Quorum.parse(found)
        except Refused as refusal:
            fields.complain(key, refusal.detail)
            return Quorum("")
        for group in sorted(quorum.groups - set(self._groups)):
            fields.complain(key, f"there is no group {group!r}")
        return quorum

    def _read_groups(self) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        groups = self._page.get("groups", {})
        if not isinstance(groups, dict) or len(groups) > GROUPS_MAX:
            self._faults.add("groups", "", "groups", f"at most {GROUPS_MAX} tables [groups.NAME]")
            return found
        for name, table in groups.items():
            fields = Fields(self._faults, f"groups.{name}", f"group {name!r}", table)
            if not _GROUP.fullmatch(name) or name in ("of", "and", "or"):
                fields.complain("", "a group has a lower-case name other than of, and, or")
            fields.only("persons")
            found[name] = fields.texts("persons", _ID, most=PERSONS_MAX)
        return found

    def _table(self, name: str, *keys: str) -> Fields:
        fields = Fields(self._faults, name, name, self._page.get(name, {}))
        fields.only(*keys)
        return fields

    def _entries(self, table: str, noun: str, read: Callable[[Fields], T]) -> tuple[T, ...]:
        entries = self._page.get(table, [])
        if not isinstance(entries, list) or len(entries) > RULES_MAX:
            self._faults.add(table, "", table, f"at most {RULES_MAX} tables [[{table}]]")
            return ()
        found, seen = [], set()
        for number, entry in enumerate(entries):
            name = entry.get("id") if isinstance(entry, dict) else None
            label = f"{noun} {name!r}" if isinstance(name, str) else f"{noun} {number + 1}"
            fields = Fields(self._faults, entry_place(table, number), label, entry)
            found.append(read(fields))
            if isinstance(name, str) and name in seen:
                fields.complain("id", "stands twice")
            seen.add(name if isinstance(name, str) else "")
        return tuple(found)

    def _deny(self, fields: Fields) -> Deny:
        fields.only("id", "code", *_CONDITIONS, *_WINDOW)
        return Deny(fields.text("id", _ID), fields.text("code", _CODE), _scope(fields))

    def _rule(self, fields: Fields) -> Rule:
        id_, scope = fields.text("id", _ID), _scope(fields)
        found = fields.choice("outcome", (Outcome.ALLOW, Outcome.BLOCK, Outcome.REQUIRE))
        outcome = Outcome(found)
        more = {Outcome.BLOCK: ("code",), Outcome.REQUIRE: _REQUIRE}.get(outcome, ())
        fields.only("id", "outcome", *more, *_CONDITIONS, *_WINDOW)
        if outcome is Outcome.BLOCK:
            return Rule(id_, scope, outcome, code=fields.text("code", _CODE))
        if outcome is Outcome.ALLOW:
            return Rule(id_, scope, outcome)
        delay_ns, expiry_ns = fields.seconds("delay_s"), fields.seconds("expiry_s", low=1)
        if delay_ns >= expiry_ns:
            fields.complain("delay_s", "approvals expire before the delay is over")
        return Rule(
            id_,
            scope,
            outcome,
            quorum=self.quorum(fields, "quorum"),
            delay_ns=delay_ns,
            expiry_ns=expiry_ns,
            exclude=self._exclude(fields),
            signers=tuple(sorted(fields.texts("signers", _TEXT, is_optional=True))),
        )

    def _exclude(self, fields: Fields) -> frozenset[str]:
        everyone = frozenset[str]().union(*self._groups.values())
        found: set[str] = set()
        for name in sorted(fields.texts("exclude", _ID, is_optional=True)):
            if (name in self._groups) == (name in everyone):
                fields.complain("exclude", f"{name!r} is not the name of one person or one group")
            found |= self._groups.get(name, {name})
        return frozenset(found)

    def _bucket(self, fields: Fields) -> Bucket:
        fields.only("id", "per", "unit", "cap", "window_s", *_CONDITIONS)
        scope = _scope(fields)
        unit = Unit(fields.choice("unit", tuple(Unit)))
        if unit is Unit.COINS:
            _check_one_asset(fields, scope, "unit")
        names = fields.texts("per", _ID)
        if not names or names - set(Per) or (Per.GLOBAL in names and len(names) > 1):
            fields.complain("per", f"some of {', '.join(Per)}; global stands alone")
            names = frozenset()
        return Bucket(
            id=fields.text("id", _ID),
            scope=scope,
            per=tuple(per for per in Per if per in names),
            unit=unit,
            cap=fields.decimal("cap", USD_SCALE if unit is Unit.USD else MAX_SCALE) or Coins(0, 0),
            window_ns=fields.seconds("window_s", low=1),
        )


def _scope(fields: Fields) -> Scope:
    sets = {name: fields.names(name) for name in SETS if name in STATED or name in fields.table}
    unknown = sets.get("destination_kinds", frozenset()) - {ANY, *DestinationKind}
    if unknown:
        fields.complain("destination_kinds", f"{min(unknown)!r} is none of them")
    window = Window(
        min_usd=fields.usd("min_usd"),
        max_usd=fields.usd("max_usd"),
        min_coins=fields.decimal("min_coins", MAX_SCALE, is_optional=True),
        max_coins=fields.decimal("max_coins", MAX_SCALE, is_optional=True),
    )
    if window.max_usd is not None and (window.min_usd or 0) >= window.max_usd:
        fields.complain("max_usd", "nothing lies in [min_usd, max_usd)")
    least = 0 if window.min_coins is None else window.min_coins.at_least(MAX_SCALE)
    if window.max_coins is not None and least >= window.max_coins.at_least(MAX_SCALE):
        fields.complain("max_coins", "nothing lies in [min_coins, max_coins)")
    scope = Scope(
        sets,
        window,
        in_book=fields.boolean("in_book"),
        entry_age_min_ns=(
            fields.seconds("entry_age_min_s") if "entry_age_min_s" in fields.table else None
        ),
    )
    if window.names_coins:
        _check_one_asset(fields, scope, "min_coins" if window.min_coins else "max_coins")
    return scope


def _check_one_asset(fields: Fields, scope: Scope, key: str) -> None:
    for name in ("chains", "assets"):
        if len(scope.names(name)) != 1 or ANY in scope.names(name):
            fields.complain(key, f"whole coins are of one asset: name one of {name}")
