"""An officer's row in a roster (custody.keys.roster_text), by the kind of the key.

    kind = "ed25519"
    person = "ada"
    public_key = "<64 hex digits, Ed25519>"
    active_from_ns = 0
    active_until_ns = 9223372036854775807    # not active from then on

    kind = "webauthn"
    person  public_key = "<66 hex digits, a compressed point of P-256; or 64, Ed25519>"
    credential_id = "<hex digits>"  rp_id = "custody.example"
    origins = ["https://custody.example"]  synced = false  active_from_ns  active_until_ns

    kind = "eip712"
    person  address = "0x<40 hex digits with the checksum of EIP-55>"  active_from_ns
    active_until_ns

A draft may leave out the times, and the kind of an Ed25519 key in a file. synced says whether the
passkey may be on several devices. A wallet's address is the public key of
its row. Rosters are signed with Ed25519 keys, so a quorum of persons must hold one each.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from custody.keys.credentials import CredentialKind
from custody.keys.intent import TIME_LIMIT_NS
from custody.keys.passkey import EDWARDS_KEY_BYTES, Passkey, check_passkey
from custody.keys.roster import Officer
from custody.keys.roster_fields import Row, integer, malformed, octets, text, texts
from custody.keys.typed_approval import ADDRESS_BYTES, address_text, read_address

_PERSON = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_TIMES = ("active_from_ns", "active_until_ns")
_FIELDS = {
    CredentialKind.ED25519: ("public_key",),
    CredentialKind.WEBAUTHN: ("public_key", "credential_id", "rp_id", "origins", "synced"),
    CredentialKind.EIP712: ("address",),
}


def read_officer(row: Row, *, has_kind: bool) -> Officer:
    """Return the officer of a row; without has_kind it is a row of version 2. Refused: malformed.

    check_officer has the rest of the rules.
    """
    kind = CredentialKind.ED25519
    if has_kind:
        row = {"kind": kind.value, **row}
        if row["kind"] not in [member.value for member in CredentialKind]:
            raise malformed(f"an officer's kind is {', '.join(CredentialKind)}")
        kind = CredentialKind(row["kind"])
    row = {"active_from_ns": 0, "active_until_ns": TIME_LIMIT_NS - 1, **row}
    wanted = {"person", *_FIELDS[kind], *_TIMES, *(["kind"] if has_kind else [])}
    if set(row) != wanted:
        raise malformed(f"an officer of kind {kind} has {', '.join(sorted(wanted))}")
    is_wallet = kind is CredentialKind.EIP712
    return Officer(
        person=text(row, "person"),
        public_key=read_address(text(row, "address")) if is_wallet else octets(row, "public_key"),
        active_from_ns=integer(row, "active_from_ns", TIME_LIMIT_NS),
        active_until_ns=integer(row, "active_until_ns", TIME_LIMIT_NS),
        kind=kind,
        passkey=_passkey(row) if kind is CredentialKind.WEBAUTHN else None,
    )


def officer_pairs(officer: Officer, *, has_kind: bool) -> list[tuple[str, object]]:
    """Return the names and values of a row, in the order of its one spelling."""
    pairs: list[tuple[str, object]] = [("kind", officer.kind.value)] if has_kind else []
    pairs += [("person", officer.person)]
    if officer.kind is CredentialKind.EIP712:
        pairs += [("address", address_text(officer.public_key))]
    else:
        pairs += [("public_key", officer.public_key)]
    if (passkey := officer.passkey) is not None:
        names = ("credential_id", "rp_id", "origins", "synced")
        pairs += [(name, getattr(passkey, name)) for name in names]
    return pairs + [(name, getattr(officer, name)) for name in _TIMES]


def check_officer(officer: Officer, *, has_kind: bool) -> None:
    """Return when a row can be in a roster. Refused: malformed."""
    if not _PERSON.fullmatch(officer.person) or officer.active_from_ns >= officer.active_until_ns:
        raise malformed("an officer's person, or his times")
    if not has_kind and officer.kind is not CredentialKind.ED25519:
        raise malformed("version 2 of a roster knows Ed25519 keys only")
    if (officer.kind is CredentialKind.WEBAUTHN) != (officer.passkey is not None):
        raise malformed("a passkey's row, and no other, says which passkey")
    if officer.passkey is not None:
        check_passkey(officer.passkey, officer.public_key)
        return
    is_wallet = officer.kind is CredentialKind.EIP712
    if len(officer.public_key) != (ADDRESS_BYTES if is_wallet else EDWARDS_KEY_BYTES):
        raise malformed(f"a key of kind {officer.kind} has another length")


def check_can_be_followed(officers: Sequence[Officer], threshold: int) -> None:
    """Return when enough persons can sign the next roster. Refused: malformed."""
    persons = {one.person for one in officers if one.kind is CredentialKind.ED25519}
    if len(persons) < threshold:
        raise malformed(f"{threshold} persons need an Ed25519 key, or nobody signs the next roster")


def _passkey(row: Row) -> Passkey:
    if type(row["synced"]) is not bool:
        raise malformed("synced is true or false")
    return Passkey(
        octets(row, "credential_id"), text(row, "rp_id"), texts(row, "origins"), row["synced"]
    )
