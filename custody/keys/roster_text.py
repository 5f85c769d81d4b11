"""The body of a roster as text: a TOML file with exactly one spelling.

    version = 3
    serial = 1
    previous = ""                            # sha256 of the previous body, 64 hex digits
    issued_ns = 1790000000000000000
    threshold = 2

    [signer]                                 # optional
    attestation_key = "<64 hex digits, Ed25519>"

    [[officers]]     kind  person  …          # custody.keys.officer_rows
    [[nodes]]        chain  urls  quorum
    [[limits]]       chain  asset_key  amount_max  window_max  fee_max  fee_window_max
    [[mandates]]     mandate_id  kind  chain  network  destinations  destination_accounts
                     caps = [{ asset_key, amount_max, window_max }]
                     fee_max  fee_window_max  valid_from_ns  valid_until_ns
    [[wallets]]      chain  address  owners = ["hot/0"]  members = ["<address>"]  threshold
                     wallet = "treasury"  code  handler
    [[delegates]]    chain  address
    [[rotations]]    chain  wallet = "hot"  generation = 2

Amounts are strings of decimal digits, since TOML promises integers of 64 bits only. Officers may
leave out their times and the kind of a file's key in a draft; `parse_body` takes nothing but what
`render_body` writes. Version 2 is read and written as ever: its officers have Ed25519 keys only,
and no line `kind`; its contract wallets have own keys as owners only.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from chains.base import SpendKind
from core.errors import Reason, Refused
from custody.keys.intent import TIME_LIMIT_NS
from custody.keys.mandate import AssetCap, Mandate, check_mandate
from custody.keys.officer_rows import (
    check_can_be_followed,
    check_officer,
    officer_pairs,
    read_officer,
)
from custody.keys.roster import (
    ContractWallet,
    Delegate,
    Node,
    Officer,
    Roster,
    Rotation,
    SpendLimit,
)
from custody.keys.roster_fields import (
    ROWS_MAX,
    Row,
    amount,
    integer,
    malformed,
    named,
    sha256_or_key,
    text,
    texts,
)
from custody.keys.signers.base import GENERATIONS_MAX, KeyRef, account_of
from custody.keys.wallet_rows import check_wallet, read_wallet, wallet_pairs

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FILE_VERSION = 3
VERSION_OF_ED25519_ALONE = 2
BODY_BYTES_MAX = 1 << 20
OFFICERS_MAX = 64
URLS_MAX = 16
THRESHOLD_MIN = 2
SERIAL_LIMIT = 1 << 31
_HEAD = ("version", "serial", "previous", "issued_ns", "threshold")
_TABLES = ("officers", "nodes", "limits", "mandates", "wallets", "delegates", "rotations")

T = TypeVar("T")


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
    version = page.get("version")
    if type(version) is not int or version not in {VERSION_OF_ED25519_ALONE, FILE_VERSION}:
        raise Refused(Reason.UNKNOWN_VERSION, "roster")
    if not set(_HEAD) <= set(page) or not set(page) <= {*_HEAD, *_TABLES, "signer"}:
        raise malformed(f"a roster has {', '.join(_HEAD)}, and {', '.join(_TABLES)}")
    roster = Roster(
        serial=integer(page, "serial", SERIAL_LIMIT),
        previous=sha256_or_key(page, "previous", empty=True),
        issued_ns=integer(page, "issued_ns", TIME_LIMIT_NS),
        threshold=integer(page, "threshold", OFFICERS_MAX + 1),
        officers=_rows(page, "officers", partial(read_officer, has_kind=version == FILE_VERSION)),
        attestation_key=_attestation_key(page.get("signer")),
        nodes=_rows(page, "nodes", _node),
        limits=_rows(page, "limits", _limit),
        mandates=_rows(page, "mandates", _mandate),
        wallets=_rows(page, "wallets", partial(read_wallet, is_version_2=version != FILE_VERSION)),
        delegates=_rows(page, "delegates", _delegate),
        rotations=_rows(page, "rotations", _rotation),
        version=version,
    )
    return sealed(roster)


def sealed(roster: Roster) -> Roster:
    """Return a roster with the hash of its body. Refused: malformed."""
    _check(roster)
    return dataclasses.replace(roster, hash=hashlib.sha256(render_body(roster)).digest())


def render_body(roster: Roster) -> bytes:
    """Return the one spelling of a roster's body; its SHA-256 is what a start pins."""
    lines = [
        f"version = {roster.version}",
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
            lines += [f"{key} = {_value(key, value)}" for key, value in _pairs(row, roster)]
    return ("\n".join(lines) + "\n").encode("ascii")


def officer_text(officer: Officer) -> str:
    """Return the row of an officer as a draft takes it. Refused: malformed."""
    check_officer(officer, has_kind=True)
    pairs = officer_pairs(officer, has_kind=True)
    return "\n".join(["[[officers]]", *(f"{key} = {_value(key, value)}" for key, value in pairs)])


def _pairs(row: DataclassInstance, roster: Roster) -> list[tuple[str, object]]:
    if isinstance(row, Officer):
        return officer_pairs(row, has_kind=roster.version == FILE_VERSION)
    if isinstance(row, ContractWallet):
        return wallet_pairs(row, is_version_2=roster.version != FILE_VERSION)
    return [(field.name, getattr(row, field.name)) for field in dataclasses.fields(row)]


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
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f'"{value}"' if name.endswith("_max") else str(value)
    return json.dumps(str(value))  # printable ASCII: a JSON string is a TOML string


def _check(roster: Roster) -> None:
    persons = {officer.person for officer in roster.officers}
    if not THRESHOLD_MIN <= roster.threshold <= len(persons):
        raise malformed(f"threshold must be {THRESHOLD_MIN}..{len(persons)} distinct persons")
    if len(roster.officers) > OFFICERS_MAX:
        raise malformed(f"at most {OFFICERS_MAX} officers")
    if roster.serial < 1 or (roster.serial == 1) != (roster.previous == b""):
        raise malformed("the first roster has serial 1 and no previous one")
    if roster.version not in {VERSION_OF_ED25519_ALONE, FILE_VERSION}:
        raise Refused(Reason.UNKNOWN_VERSION, "roster")
    for officer in roster.officers:
        check_officer(officer, has_kind=roster.version == FILE_VERSION)
    for wallet in roster.wallets:
        check_wallet(wallet, is_version_2=roster.version != FILE_VERSION)
    check_can_be_followed(roster.officers, roster.threshold)
    for what, names in (
        ("key", [officer.public_key for officer in roster.officers]),
        ("passkey", [o.passkey.credential_id for o in roster.officers if o.passkey is not None]),
        ("chain of nodes", [node.chain for node in roster.nodes]),
        ("limit", [(limit.chain, limit.asset_key) for limit in roster.limits]),
        ("mandate", [mandate.mandate_id for mandate in roster.mandates]),
        ("wallet", [(wallet.chain, wallet.address) for wallet in roster.wallets]),
        ("name of a wallet", [(wallet.chain, wallet.wallet) for wallet in roster.wallets]),
        ("delegate", [(one.chain, one.address) for one in roster.delegates]),
        ("rotation", [(one.chain, one.wallet) for one in roster.rotations]),
    ):
        if len(set(names)) != len(names):
            raise malformed(f"a {what} stands in the roster twice")


def _rows(page: Row, name: str, read: Callable[[Row], T]) -> tuple[T, ...]:
    rows = page.get(name, [])
    if not isinstance(rows, list) or len(rows) > ROWS_MAX:
        raise malformed(f"{name} of a roster is an array of at most {ROWS_MAX} tables")
    if not all(isinstance(row, dict) for row in rows):
        raise malformed(f"{name} of a roster is an array of tables")
    return tuple(read(row) for row in rows)


def _node(row: Row) -> Node:
    named(row, Node)
    urls = texts(row, "urls")
    if not 1 <= integer(row, "quorum", URLS_MAX + 1) <= len(urls) <= URLS_MAX:
        raise malformed("a chain's nodes and their quorum")
    return Node(text(row, "chain"), urls, row["quorum"])


def _limit(row: Row) -> SpendLimit:
    named(row, SpendLimit)
    amounts = (amount(row, n) for n in ("amount_max", "window_max", "fee_max", "fee_window_max"))
    return SpendLimit(text(row, "chain"), text(row, "asset_key"), *amounts)


def _mandate(row: Row) -> Mandate:
    named(row, Mandate)
    if row["kind"] not in [member.value for member in SpendKind]:
        raise malformed("a mandate's kind")
    mandate = Mandate(
        mandate_id=text(row, "mandate_id"),
        kind=SpendKind(row["kind"]),
        chain=text(row, "chain"),
        network=text(row, "network"),
        destinations=texts(row, "destinations"),
        destination_accounts=texts(row, "destination_accounts"),
        caps=_rows(row, "caps", _cap),
        fee_max=amount(row, "fee_max"),
        fee_window_max=amount(row, "fee_window_max"),
        valid_from_ns=integer(row, "valid_from_ns", TIME_LIMIT_NS),
        valid_until_ns=integer(row, "valid_until_ns", TIME_LIMIT_NS),
    )
    check_mandate(mandate)
    return mandate


def _cap(row: Row) -> AssetCap:
    named(row, AssetCap)
    return AssetCap(text(row, "asset_key"), amount(row, "amount_max"), amount(row, "window_max"))


def _delegate(row: Row) -> Delegate:
    named(row, Delegate)
    return Delegate(text(row, "chain"), text(row, "address"))


def _rotation(row: Row) -> Rotation:
    named(row, Rotation)
    generation = integer(row, "generation", GENERATIONS_MAX + 1)
    try:
        account_of(text(row, "wallet"), generation)
    except Refused as refused:
        raise malformed(refused.detail) from refused
    if generation < 2:
        raise malformed("a rotation begins with generation 2")
    return Rotation(text(row, "chain"), row["wallet"], generation)


def _attestation_key(table: object) -> bytes | None:
    if table is None:
        return None
    if not isinstance(table, dict) or set(table) != {"attestation_key"}:
        raise malformed("the signer's table has attestation_key")
    return sha256_or_key(table, "attestation_key")
