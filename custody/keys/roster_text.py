"""The body of a roster as text: a TOML file with exactly one spelling.

    version = 2
    serial = 1
    previous = ""                            # sha256 of the previous body, 64 hex digits
    issued_ns = 1790000000000000000
    threshold = 2

    [signer]                                 # optional
    attestation_key = "<64 hex digits, Ed25519>"

    [[officers]]
    person = "ada"
    public_key = "<64 hex digits, Ed25519>"
    active_from_ns = 0
    active_until_ns = 9223372036854775807    # not active from then on

    [[nodes]]        chain  urls  quorum
    [[limits]]       chain  asset_key  amount_max  window_max  fee_max  fee_window_max
    [[mandates]]     mandate_id  kind  chain  network  destinations  destination_accounts
                     caps = [{ asset_key, amount_max, window_max }]
                     fee_max  fee_window_max  valid_from_ns  valid_until_ns
    [[wallets]]      chain  address  owners = ["hot/0"]
    [[delegates]]    chain  address
    [[rotations]]    chain  wallet = "hot"  generation = 2

Amounts are strings of decimal digits, since TOML promises integers of 64 bits only. Officers may
leave out their times in a draft; `parse_body` takes nothing but what `render_body` writes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from chains.base import SpendKind
from core.errors import Reason, Refused
from core.money import AMOUNT_LIMIT
from custody.keys.intent import TIME_LIMIT_NS
from custody.keys.mandate import AssetCap, Mandate, check_mandate
from custody.keys.roster import (
    ContractWallet,
    Delegate,
    Node,
    Officer,
    Roster,
    Rotation,
    SpendLimit,
)
from custody.keys.signers.base import GENERATIONS_MAX, KeyRef, account_of

FILE_VERSION = 2
BODY_BYTES_MAX = 1 << 20
OFFICERS_MAX = 64
ROWS_MAX = 1_024
URLS_MAX = 16
THRESHOLD_MIN = 2
SERIAL_LIMIT = 1 << 31
_PERSON = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_HASH_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)
_AMOUNT = re.compile(r"0|[1-9][0-9]{0,76}", re.ASCII)
_OWNER = re.compile(r"([a-z]+(?:\.[0-9]{1,2})?)/(0|[1-9][0-9]{0,9})", re.ASCII)
_TEXT = re.compile(r"[ -~]{1,256}", re.ASCII)
_HEAD = ("version", "serial", "previous", "issued_ns", "threshold")
_TABLES = ("officers", "nodes", "limits", "mandates", "wallets", "delegates", "rotations")

T = TypeVar("T")
Row = Mapping[str, Any]


def parse_body(data: bytes) -> Roster:
    """Return the roster of a body's bytes, which have one spelling only.

    Refused: malformed, unknown_version, too_large.
    """
    roster = parse_draft(data)
    if render_body(roster) != data:
        raise Refused(Reason.MALFORMED, "not the canonical spelling of a roster")
    return roster


def parse_draft(
    data: bytes, *, previous: Roster | None = None, issued_ns: int | None = None
) -> Roster:
    """Return the roster of a TOML file of any spelling; its hash is that of the canonical body.

    serial, previous and issued_ns may be left out of the file when issued_ns is given here.
    Refused: malformed, unknown_version, too_large.
    """
    if len(data) > BODY_BYTES_MAX:
        raise Refused(Reason.TOO_LARGE, "a roster has at most 1 MiB")
    try:
        page = tomllib.loads(data.decode("ascii"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise Refused(Reason.MALFORMED, "a roster is an ASCII TOML file") from error
    if issued_ns is not None:
        follows = (1, "") if previous is None else (previous.serial + 1, previous.hash.hex())
        page = {"serial": follows[0], "previous": follows[1], "issued_ns": issued_ns, **page}
    if page.get("version") != FILE_VERSION:
        raise Refused(Reason.UNKNOWN_VERSION, "roster")
    if not set(_HEAD) <= set(page) or not set(page) <= {*_HEAD, *_TABLES, "signer"}:
        raise _malformed(f"a roster has {', '.join(_HEAD)}, and {', '.join(_TABLES)}")
    roster = Roster(
        serial=_integer(page, "serial", SERIAL_LIMIT),
        previous=_hash(page, "previous", empty=True),
        issued_ns=_integer(page, "issued_ns", TIME_LIMIT_NS),
        threshold=_integer(page, "threshold", OFFICERS_MAX + 1),
        officers=_rows(page, "officers", _officer),
        attestation_key=_attestation_key(page.get("signer")),
        nodes=_rows(page, "nodes", _node),
        limits=_rows(page, "limits", _limit),
        mandates=_rows(page, "mandates", _mandate),
        wallets=_rows(page, "wallets", _wallet),
        delegates=_rows(page, "delegates", _delegate),
        rotations=_rows(page, "rotations", _rotation),
    )
    return sealed(roster)


def sealed(roster: Roster) -> Roster:
    """Return a roster with the hash of its body. Refused: malformed."""
    _check(roster)
    return dataclasses.replace(roster, hash=hashlib.sha256(render_body(roster)).digest())


def render_body(roster: Roster) -> bytes:
    """Return the one spelling of a roster's body; its SHA-256 is what a start pins."""
    lines = [
        f"version = {FILE_VERSION}",
        f"serial = {roster.serial}",
        f'previous = "{roster.previous.hex()}"',
        f"issued_ns = {roster.issued_ns}",
        f"threshold = {roster.threshold}",
    ]
    if roster.attestation_key is not None:
        lines += ["", "[signer]", f'attestation_key = "{roster.attestation_key.hex()}"']
    for name in _TABLES:
        for row in getattr(roster, name):
            lines += ["", f"[[{name}]]"]
            lines += [
                f"{field.name} = {_value(field.name, getattr(row, field.name))}"
                for field in dataclasses.fields(row)
            ]
    return ("\n".join(lines) + "\n").encode("ascii")


def _value(name: str, value: object) -> str:
    if isinstance(value, bytes):
        return f'"{value.hex()}"'
    if isinstance(value, KeyRef):
        return f'"{value.account}/{value.index}"'
    if isinstance(value, AssetCap):
        inner = [f"{field.name} = {_value(field.name, getattr(value, field.name))}"
                 for field in dataclasses.fields(value)]  # fmt: skip
        return "{ " + ", ".join(inner) + " }"
    if isinstance(value, tuple):
        return "[" + ", ".join(_value(name, one) for one in value) + "]"
    if isinstance(value, int):
        return f'"{value}"' if name.endswith("_max") else str(value)
    return json.dumps(str(value))  # printable ASCII: a JSON string is a TOML string


def _check(roster: Roster) -> None:
    persons = {officer.person for officer in roster.officers}
    if not THRESHOLD_MIN <= roster.threshold <= len(persons):
        raise _malformed(f"threshold must be {THRESHOLD_MIN}..{len(persons)} distinct persons")
    if len(roster.officers) > OFFICERS_MAX:
        raise _malformed(f"at most {OFFICERS_MAX} officers")
    if roster.serial < 1 or (roster.serial == 1) != (roster.previous == b""):
        raise _malformed("the first roster has serial 1 and no previous one")
    for what, names in (
        ("key", [officer.public_key for officer in roster.officers]),
        ("chain of nodes", [node.chain for node in roster.nodes]),
        ("limit", [(limit.chain, limit.asset_key) for limit in roster.limits]),
        ("mandate", [mandate.mandate_id for mandate in roster.mandates]),
        ("wallet", [(wallet.chain, wallet.address) for wallet in roster.wallets]),
        ("delegate", [(one.chain, one.address) for one in roster.delegates]),
        ("rotation", [(one.chain, one.wallet) for one in roster.rotations]),
    ):
        if len(set(names)) != len(names):
            raise _malformed(f"a {what} stands in the roster twice")


def _rows(page: Row, name: str, read: Callable[[Row], T]) -> tuple[T, ...]:
    rows = page.get(name, [])
    if not isinstance(rows, list) or len(rows) > ROWS_MAX:
        raise _malformed(f"{name} of a roster is an array of at most {ROWS_MAX} tables")
    if not all(isinstance(row, dict) for row in rows):
        raise _malformed(f"{name} of a roster is an array of tables")
    return tuple(read(row) for row in rows)


def _officer(row: Row) -> Officer:
    row = {"active_from_ns": 0, "active_until_ns": TIME_LIMIT_NS - 1, **row}
    _named(row, Officer)
    since = _integer(row, "active_from_ns", TIME_LIMIT_NS)
    until = _integer(row, "active_until_ns", TIME_LIMIT_NS)
    if not _PERSON.fullmatch(_text(row, "person")) or since >= until:
        raise _malformed("an officer's person, or his times")
    return Officer(row["person"], _hash(row, "public_key"), since, until)


def _node(row: Row) -> Node:
    _named(row, Node)
    urls = _texts(row, "urls")
    if not 1 <= _integer(row, "quorum", URLS_MAX + 1) <= len(urls) <= URLS_MAX:
        raise _malformed("a chain's nodes and their quorum")
    return Node(_text(row, "chain"), urls, row["quorum"])


def _limit(row: Row) -> SpendLimit:
    _named(row, SpendLimit)
    amounts = (_amount(row, n) for n in ("amount_max", "window_max", "fee_max", "fee_window_max"))
    return SpendLimit(_text(row, "chain"), _text(row, "asset_key"), *amounts)


def _mandate(row: Row) -> Mandate:
    _named(row, Mandate)
    if row["kind"] not in {member.value for member in SpendKind}:
        raise _malformed("a mandate's kind")
    mandate = Mandate(
        mandate_id=_text(row, "mandate_id"),
        kind=SpendKind(row["kind"]),
        chain=_text(row, "chain"),
        network=_text(row, "network"),
        destinations=_texts(row, "destinations"),
        destination_accounts=_texts(row, "destination_accounts"),
        caps=_rows(row, "caps", _cap),
        fee_max=_amount(row, "fee_max"),
        fee_window_max=_amount(row, "fee_window_max"),
        valid_from_ns=_integer(row, "valid_from_ns", TIME_LIMIT_NS),
        valid_until_ns=_integer(row, "valid_until_ns", TIME_LIMIT_NS),
    )
    check_mandate(mandate)
    return mandate


def _cap(row: Row) -> AssetCap:
    _named(row, AssetCap)
    return AssetCap(_text(row, "asset_key"), _amount(row, "amount_max"), _amount(row, "window_max"))


def _wallet(row: Row) -> ContractWallet:
    _named(row, ContractWallet)
    owners = []
    for text in _texts(row, "owners"):
        if (match := _OWNER.fullmatch(text)) is None:
            raise _malformed("an owner of a wallet is account/index")
        try:
            owners.append(KeyRef(match[1], int(match[2])))
        except Refused as refused:
            raise _malformed(refused.detail) from refused
    return ContractWallet(_text(row, "chain"), _text(row, "address"), tuple(owners))


def _delegate(row: Row) -> Delegate:
    _named(row, Delegate)
    return Delegate(_text(row, "chain"), _text(row, "address"))


def _rotation(row: Row) -> Rotation:
    _named(row, Rotation)
    generation = _integer(row, "generation", GENERATIONS_MAX + 1)
    try:
        account_of(_text(row, "wallet"), generation)
    except Refused as refused:
        raise _malformed(refused.detail) from refused
    if generation < 2:
        raise _malformed("a rotation begins with generation 2")
    return Rotation(_text(row, "chain"), row["wallet"], generation)


def _named(row: Row, kind: type) -> None:
    names = {field.name for field in dataclasses.fields(kind)}
    if set(row) != names:
        raise _malformed(f"{kind.__name__.lower()} has {', '.join(sorted(names))}")


def _text(row: Row, name: str) -> Any:
    value = row[name]
    if type(value) is not str or not _TEXT.fullmatch(value):
        raise _malformed(f"{name} is a short ASCII text")
    return value


def _texts(row: Row, name: str) -> tuple[str, ...]:
    values = row[name]
    if type(values) is not list or len(values) > ROWS_MAX:
        raise _malformed(f"{name} is a list of texts")
    return tuple(_text({name: value}, name) for value in values)


def _integer(row: Row, name: str, limit: int) -> int:
    value = row[name]
    if type(value) is not int or not 0 <= value < limit:
        raise _malformed(f"{name} is an integer in 0..{limit - 1}")
    return value


def _amount(row: Row, name: str) -> int:
    value = row[name]
    if type(value) is not str or not _AMOUNT.fullmatch(value) or int(value) >= AMOUNT_LIMIT:
        raise _malformed(f"{name} is an amount: a string of decimal digits")
    return int(value)


def _hash(row: Row, name: str, *, empty: bool = False) -> bytes:
    value = row[name]
    if empty and value == "":
        return b""
    if type(value) is not str or not _HASH_HEX.fullmatch(value):
        raise _malformed(f"{name} is 64 lower-case hex digits")
    return bytes.fromhex(value)


def _attestation_key(table: object) -> bytes | None:
    if table is None:
        return None
    if not isinstance(table, dict) or set(table) != {"attestation_key"}:
        raise _malformed("the signer's table has attestation_key")
    return _hash(table, "attestation_key")


def _malformed(detail: str) -> Refused:
    return Refused(Reason.MALFORMED, detail)
