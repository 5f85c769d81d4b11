"""How one roster follows another: a folder of files, each signed by the quorum of the one before.

    roster-0001.toml  roster-0002.toml  …        named by serial

A file is the body (custody.keys.roster_text), then a fixed line, then one line per signature, which
the body's reader takes for comments:

    # --- signatures over strongroom/roster ---
    # <64 hex digits, Ed25519 public key> <128 hex digits, signature>

What officers sign is the canonical message strongroom/roster, version 1: serial i · SHA-256 of the
body b. Version n is signed by officers of version n-1 who were active when n was issued, the first
by its own. Rosters are signed offline, with Ed25519 keys in files and no others. Signatures may be
added to a file afterwards: its hash, which a start pins, is that of the body alone.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.errors import Reason, Refused
from core.ids import ChainId
from custody.keys import canonical
from custody.keys.edwards import check_signature
from custody.keys.roster import Roster
from custody.keys.roster_text import parse_body, render_body
from custody.keys.signable import Signable

TAG = "strongroom/roster"
VERSION = 1
MARKER = b"# --- signatures over strongroom/roster ---\n"
SIGNATURES_MAX = 64
_SIGNATURE = re.compile(rb"# ([0-9a-f]{64}) ([0-9a-f]{128})", re.ASCII)


@dataclass(frozen=True, slots=True)
class RosterSignature:
    """One officer's Ed25519 signature over a roster."""

    public_key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedRoster:
    """A roster and who signed it; nothing is believed before check_signed."""

    roster: Roster
    signatures: tuple[RosterSignature, ...]


@dataclass(frozen=True, slots=True)
class RosterChain:
    """Every roster that ever counted, oldest first; the last is the pinned one."""

    versions: tuple[Roster, ...]

    @property
    def pinned(self) -> Roster:
        """Return the roster that counts now."""
        return self.versions[-1]

    def by_hash(self, roster_hash: bytes) -> Roster:
        """Return a version by its hash. Refused: roster_mismatch."""
        for roster in self.versions:
            if roster.hash == roster_hash:
                return roster
        raise Refused(Reason.ROSTER_MISMATCH, "checked with a roster that was never pinned")

    def ever_held(self, chain: ChainId, address: str) -> bool:
        """Return whether an address was ever a contract wallet of ours."""
        return any(roster.wallet(chain, address) is not None for roster in self.versions)


def file_name(serial: int) -> str:
    """Return the name of a version's file."""
    return f"roster-{serial:04}.toml"


def load_rosters(folder: Path, pinned_hash: bytes) -> RosterChain:
    """Read the pinned roster and every one before it, each signed by the quorum of its predecessor.

    Files of later versions may lie beside it and are not looked into.

    Refused: roster_mismatch (no file has the pinned hash, or a version is not the one that its
    successor names), not_an_officer, bad_signature, quorum_not_met, issued_too_long_ago (before
    its predecessor), malformed, unknown_version, too_large.
    """
    for path in sorted(folder.glob("roster-*.toml")):
        body = path.read_bytes().partition(MARKER)[0]
        if hmac.compare_digest(hashlib.sha256(body).digest(), pinned_hash):
            last = parse_body(body).serial
            break
    else:
        raise Refused(Reason.ROSTER_MISMATCH, f"no roster in {folder.name} is the pinned one")
    return check_chain([_read(folder, serial) for serial in range(1, last + 1)], pinned_hash)


def newest(folder: Path) -> SignedRoster:
    """Return the roster of the highest serial in a folder, not checked. Refused: not_found, …"""
    paths = sorted(folder.glob("roster-*.toml"))
    if not paths:
        raise Refused(Reason.NOT_FOUND, f"no roster in {folder}")
    return parse_file(paths[-1].read_bytes())


def add_signature(signed: SignedRoster, signature: RosterSignature) -> SignedRoster:
    """Return a roster with one signature more; a key signs once. Refused: bad_signature."""
    check_signature(signature.public_key, signature.signature, roster_message(signed.roster))
    others = [one for one in signed.signatures if one.public_key != signature.public_key]
    return SignedRoster(signed.roster, (*others, signature))


def check_chain(signed: Sequence[SignedRoster], pinned_hash: bytes) -> RosterChain:
    """Return the chain of rosters, oldest first, when each follows the one before.

    Refused as load_rosters.
    """
    previous: Roster | None = None
    for number, one in enumerate(signed, 1):
        if one.roster.serial != number:
            raise Refused(Reason.ROSTER_MISMATCH, f"the roster of serial {number} is missing")
        check_signed(one, previous)
        previous = one.roster
    if previous is None or not hmac.compare_digest(previous.hash, pinned_hash):
        raise Refused(Reason.ROSTER_MISMATCH, "the newest roster is not the pinned one")
    return RosterChain(tuple(one.roster for one in signed))


def check_signed(signed: SignedRoster, previous: Roster | None) -> tuple[str, ...]:
    """Return the distinct persons of the previous roster who signed this one, sorted.

    Every signature of the file must be good. Refused: roster_mismatch, issued_too_long_ago,
    not_an_officer, bad_signature, quorum_not_met, too_large. Keys that were retired stay retired.
    """
    roster = signed.roster
    judges = previous or roster
    if previous is not None:
        if (roster.serial, roster.previous) != (previous.serial + 1, previous.hash):
            raise Refused(
                Reason.ROSTER_MISMATCH, f"{roster.serial} does not follow {previous.serial}"
            )
        if roster.issued_ns <= previous.issued_ns:
            raise Refused(Reason.ISSUED_TOO_LONG_AGO, "the previous roster was issued later")
        _check_rotations(roster, previous)
    elif roster.serial != 1:
        raise Refused(Reason.ROSTER_MISMATCH, "the first roster has serial 1")
    if len(signed.signatures) > SIGNATURES_MAX:
        raise Refused(Reason.TOO_LARGE, f"at most {SIGNATURES_MAX} signatures")
    signable = Signable(roster_message(roster), "Roster")
    persons = set()
    for one in signed.signatures:
        officer = judges.officer(one.public_key, roster.issued_ns)
        officer.check(signable, one.signature)
        persons.add(officer.person)
    if len(persons) < judges.threshold:
        raise Refused(
            Reason.QUORUM_NOT_MET, f"{len(persons)} of {judges.threshold} persons signed the roster"
        )
    return tuple(sorted(persons))


def _check_rotations(roster: Roster, previous: Roster) -> None:
    for one in previous.rotations:
        if roster.generation(one.chain, one.wallet) < one.generation:
            raise Refused(
                Reason.ROSTER_MISMATCH, f"retired keys of {one.chain} {one.wallet} do not come back"
            )


def roster_message(roster: Roster) -> bytes:
    """Return the bytes that officers sign."""
    return canonical.encode(TAG, VERSION, (roster.serial, roster.hash))


def sign_roster(private_key: Ed25519PrivateKey, roster: Roster) -> RosterSignature:
    """Sign with an officer's own key; runs where the officer is, never in the platform."""
    message, public_key = roster_message(roster), private_key.public_key()
    signature = private_key.sign(message)
    public_key.verify(signature, message)
    return RosterSignature(public_key.public_bytes_raw(), signature)


def parse_file(data: bytes) -> SignedRoster:
    """Return a file's roster and its signatures, not yet checked. Refused: malformed, …"""
    body, signatures = split_file(data)
    return SignedRoster(parse_body(body), signatures)


def render_file(signed: SignedRoster) -> bytes:
    """Return the bytes of a file."""
    lines = [f"# {one.public_key.hex()} {one.signature.hex()}\n" for one in signed.signatures]
    return render_body(signed.roster) + MARKER + "".join(lines).encode("ascii")


def split_file(data: bytes) -> tuple[bytes, tuple[RosterSignature, ...]]:
    """Return the body's bytes and the signatures of a file. Refused: malformed."""
    body, marker, tail = data.partition(MARKER)
    if marker and (not body.endswith(b"\n") or (tail and not tail.endswith(b"\n"))):
        raise Refused(Reason.MALFORMED, "the signatures of a roster stand on lines of their own")
    signatures = []
    for line in tail.split(b"\n")[:-1]:
        if (match := _SIGNATURE.fullmatch(line)) is None:
            raise Refused(Reason.MALFORMED, "a line after the body is no signature")
        key, signature = match[1].decode(), match[2].decode()
        signatures.append(RosterSignature(bytes.fromhex(key), bytes.fromhex(signature)))
    return body, tuple(signatures)


def _read(folder: Path, serial: int) -> SignedRoster:
    path = folder / file_name(serial)
    try:
        return parse_file(path.read_bytes())
    except FileNotFoundError as error:
        raise Refused(Reason.ROSTER_MISMATCH, f"{path.name} is missing") from error
