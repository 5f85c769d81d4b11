"""The transcript of a key ceremony: text for people, strict enough to be signed, without a secret.

A file is lines of printable ASCII, `name: value`, in one order, then one signature per role:

    strongroom key ceremony transcript, version 1
    ceremony: …            …
    account CHAIN NAME: …  the path, the network and SHA-256 of the extended public key
    address CHAIN NAME 0: …
    signed by presiding: PUBLIC KEY SIGNATURE
    signed by witness: PUBLIC KEY SIGNATURE

Each signature is Ed25519 over the canonical message strongroom/key-ceremony, version 1, of the role
and all lines above the signatures. `parse` takes exactly what `render` writes, so no byte can
change: a body that reads otherwise fails its signatures, one that reads alike is not canonical.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.errors import Reason, Refused
from core.ids import ChainId
from custody.keys import canonical
from custody.keys.edwards import check_signature

TAG = "strongroom/key-ceremony"
VERSION = 1
HEAD = f"strongroom key ceremony transcript, version {VERSION}"
ROLES = ("presiding", "witness")
NO_XPUB = "none on this curve"
TEXT_MAX = 256
FILE_BYTES_MAX = 1 << 18
_TIME = "%Y-%m-%d %H:%M:%S UTC"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_SIGNATURE = re.compile(r"([0-9a-f]{64}) ([0-9a-f]{128})", re.ASCII)
_ACCOUNT = re.compile(r"(m/\S+) on (\S+), xpub sha256 (.+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """What anybody may know of one account of one chain."""

    chain: ChainId
    network: str
    account: str
    path: str
    xpub_sha256: str
    """64 hex digits of SHA-256 of the extended public key's text, or NO_XPUB."""
    addresses: tuple[str, ...]
    """The first ones, from number 0 on."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What happened. Times are unix seconds."""

    ceremony: str
    tool: str
    began_s: int
    ended_s: int
    presiding: str
    witness: str
    holders: tuple[str, ...]
    entropy: str
    shares: str
    """The scheme in words."""
    share_set: int
    """The number that is common to all shares of this ceremony."""
    delivered: str
    """How every holder got a share and gave it back."""
    verified: str
    home: str
    """Where the seed lies now."""
    destroyed: str
    machine: str
    accounts: tuple[AccountFacts, ...]


@dataclass(frozen=True, slots=True)
class RoleSignature:
    """One role's signature over a transcript."""

    public_key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedTranscript:
    """A transcript and the signatures of the presiding officer and the witness, in this order."""

    transcript: Transcript
    signatures: tuple[RoleSignature, RoleSignature]


def sign_transcript(
    transcript: Transcript, presiding: Ed25519PrivateKey, witness: Ed25519PrivateKey
) -> SignedTranscript:
    """Sign with the keys of both roles.

    Refused: malformed, quorum_not_met (one person or one key for both roles).
    """
    made = []
    for role, key in zip(ROLES, (presiding, witness), strict=True):
        signature = key.sign(_message(role, body_lines(transcript)))
        made.append(RoleSignature(key.public_key().public_bytes_raw(), signature))
    signed = SignedTranscript(transcript, (made[0], made[1]))
    _check_signatures(signed)
    return signed


def render(signed: SignedTranscript) -> bytes:
    """Return the bytes of the file. Refused: malformed."""
    lines = [
        *body_lines(signed.transcript),
        *(
            f"signed by {role}: {one.public_key.hex()} {one.signature.hex()}"
            for role, one in zip(ROLES, signed.signatures, strict=True)
        ),
    ]
    return ("\n".join(lines) + "\n").encode("ascii")


def verify(data: bytes, *, trusted: Sequence[bytes] = ()) -> SignedTranscript:
    """Return a transcript whose two signatures hold.

    trusted: public keys, both signers' must be among them; without any, who signed is for the
    reader to judge. Refused: malformed, unknown_version, bad_signature, quorum_not_met,
    not_an_officer.
    """
    signed = parse(data)
    _check_signatures(signed)
    for one in signed.signatures:
        if trusted and one.public_key not in trusted:
            raise Refused(Reason.NOT_AN_OFFICER, one.public_key.hex())
    return signed


def parse(data: bytes) -> SignedTranscript:
    """Return what a file says, its signatures not yet checked. Refused: malformed, …"""
    if type(data) is not bytes or len(data) > FILE_BYTES_MAX or not data.isascii():
        raise _malformed("not a short ASCII file")
    lines = data.decode("ascii").split("\n")
    if lines[0] != HEAD:
        if lines[0].startswith(HEAD.rstrip("0123456789")):
            raise Refused(Reason.UNKNOWN_VERSION, "a transcript")
        raise _malformed("another first line")
    try:
        signed = _parse(_Lines(lines[1:]))
    except ValueError as error:
        raise _malformed("a number or a time") from error
    if render(signed) != data:
        raise _malformed("not the canonical spelling")
    return signed


def body_lines(transcript: Transcript) -> list[str]:
    """Return the lines that are signed. Refused: malformed."""
    body = transcript
    pairs = [
        ("ceremony", body.ceremony),
        ("tool", body.tool),
        ("began", _moment(body.began_s)),
        ("ended", _moment(body.ended_s)),
        ("presiding", body.presiding),
        ("witness", body.witness),
        *((f"holder {n}", holder) for n, holder in enumerate(body.holders, 1)),
        ("entropy", body.entropy),
        ("shares", body.shares),
        ("share set", str(body.share_set)),
        ("delivered", body.delivered),
        ("verified", body.verified),
        ("home", body.home),
        ("destroyed", body.destroyed),
        ("machine", body.machine),
    ]
    for one in body.accounts:
        where = f"{one.chain} {one.account}"
        pairs.append(
            (f"account {where}", f"{one.path} on {one.network}, xpub sha256 {one.xpub_sha256}")
        )
        pairs += [(f"address {where} {n}", text) for n, text in enumerate(one.addresses)]
    names = [body.ceremony, body.presiding, body.witness, *body.holders]
    names += [name for one in body.accounts for name in (one.chain, one.account)]
    if not all(_NAME.fullmatch(name) for name in names):
        raise _malformed("a name has letters, digits and . _ - only, at most 64")
    if not 0 <= body.began_s <= body.ended_s:
        raise _malformed("it ended before it began")
    for name, value in pairs:
        if not 0 < len(value) <= TEXT_MAX or value != value.strip() or not value.isprintable():
            raise _malformed(name)
    return [HEAD, *(f"{name}: {value}" for name, value in pairs)]


def check_persons(presiding: str, witness: str, holders: Sequence[str]) -> None:
    """Refused: malformed (a name), quorum_not_met (one person in two roles or with two shares)."""
    if not all(_NAME.fullmatch(name) for name in (presiding, witness, *holders)):
        raise _malformed("a name has letters, digits and . _ - only, at most 64")
    if presiding == witness or len(set(holders)) != len(holders):
        raise Refused(Reason.QUORUM_NOT_MET, "a person has one role, and at most one share")


def _check_signatures(signed: SignedTranscript) -> None:
    body = signed.transcript
    check_persons(body.presiding, body.witness, body.holders)
    if len({one.public_key for one in signed.signatures}) != len(ROLES):
        raise Refused(Reason.QUORUM_NOT_MET, "both roles signed with one key")
    lines = body_lines(body)
    for role, one in zip(ROLES, signed.signatures, strict=True):
        check_signature(one.public_key, one.signature, _message(role, lines))


def _message(role: str, lines: Sequence[str]) -> bytes:
    return canonical.encode(TAG, VERSION, (role, tuple(lines)))


class _Lines:
    """Lines `name: value`, taken in order."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines, self._next = lines, 0

    def take(self, name: str) -> str:
        value = self.take_if(name)
        if value is None:
            raise _malformed(f"{name} is missing")
        return value

    def take_if(self, name: str) -> str | None:
        line = self._lines[self._next] if self._next < len(self._lines) else ""
        if not line.startswith(f"{name}: "):
            return None
        self._next += 1
        return line[len(name) + 2 :]

    def numbered(self, name: str, first: int) -> Iterator[str]:
        number = first
        while (value := self.take_if(f"{name} {number}")) is not None:
            yield value
            number += 1

    def peek(self) -> str:
        return self._lines[self._next] if self._next < len(self._lines) else ""


def _parse(lines: _Lines) -> SignedTranscript:
    transcript = Transcript(
        ceremony=lines.take("ceremony"),
        tool=lines.take("tool"),
        began_s=_seconds(lines.take("began")),
        ended_s=_seconds(lines.take("ended")),
        presiding=lines.take("presiding"),
        witness=lines.take("witness"),
        holders=tuple(lines.numbered("holder", 1)),
        entropy=lines.take("entropy"),
        shares=lines.take("shares"),
        share_set=int(lines.take("share set")),
        delivered=lines.take("delivered"),
        verified=lines.take("verified"),
        home=lines.take("home"),
        destroyed=lines.take("destroyed"),
        machine=lines.take("machine"),
        accounts=tuple(_accounts(lines)),
    )
    first, second = (_signature(lines.take(f"signed by {role}")) for role in ROLES)
    return SignedTranscript(transcript, (first, second))


def _accounts(lines: _Lines) -> Iterator[AccountFacts]:
    while lines.peek().startswith("account "):
        name = lines.peek().partition(": ")[0]
        _, chain, account = name.split(" ")
        found = _ACCOUNT.fullmatch(lines.take(name))
        if found is None:
            raise _malformed(name)
        path, network, xpub_sha256 = found.groups()
        addresses = tuple(lines.numbered(f"address {chain} {account}", 0))
        yield AccountFacts(ChainId(chain), network, account, path, xpub_sha256, addresses)


def _signature(value: str) -> RoleSignature:
    found = _SIGNATURE.fullmatch(value)
    if found is None:
        raise _malformed("a signature line")
    return RoleSignature(bytes.fromhex(found[1]), bytes.fromhex(found[2]))


def _moment(unix_s: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=unix_s)).strftime(_TIME)


def _seconds(text: str) -> int:
    moment = datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)


def _malformed(detail: str) -> Refused:
    return Refused(Reason.MALFORMED, f"a transcript: {detail}")
