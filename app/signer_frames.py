"""What crosses the signer's socket: frames, and the only values that may stand in them.

A frame is 4 bytes of length, big-endian, then one MessagePack value of at most 4 MiB. It is decoded
straight into the types below: an unknown name, another type, a longer list or a deeper nesting than
they have is refused before anything is made of it. Intents cross as their canonical messages
(custody.keys.intent), entries of the log as theirs (custody.keys.signing_record), amounts as
decimal digits, because MessagePack ends at 64 bits.

One question, one answer, in turns; a connection on which that order broke is closed.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct

from chains.base import BATCH_ITEMS_MAX
from core.errors import Reason, Refused
from custody.keys.passkey import EVIDENCE_MAX
from custody.keys.publication import AUTHORS_MAX
from custody.keys.roster import APPROVALS_MAX, Verdict
from custody.keys.service import ENTRIES_MAX, POLICY_BYTES_MAX, REQUESTS_MAX
from custody.keys.signers.base import KEYS_AT_ONCE
from custody.keys.stop_book import SHOWN_MAX

FRAME_BYTES_MAX = 4 << 20
LENGTH_BYTES = 4
TEXT_MAX = 512
COINS_MAX = 4_096
RETRY_MS_MAX = 60_000

Text = Annotated[str, Meta(max_length=TEXT_MAX)]
Blob = Annotated[bytes, Meta(max_length=1 << 20)]
Short = Annotated[bytes, Meta(max_length=TEXT_MAX)]
Natural = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Amount = Annotated[str, Meta(max_length=78, pattern=r"\A(0|[1-9][0-9]*)\Z")]


class _Part(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a question or an answer."""


class Key(_Part, frozen=True):
    """KeyRef."""

    account: Text
    index: Natural


class Line(_Part, frozen=True):
    """Approval."""

    public_key: Short
    verdict: Verdict
    signature: Short
    evidence: Annotated[bytes, Meta(max_length=EVIDENCE_MAX)]


class ByOfficers(_Part, frozen=True, tag="approvals"):
    """Approvals."""

    withdrawal: Blob
    approvals: Annotated[list[Line], Meta(max_length=APPROVALS_MAX)]


class ByMandate(_Part, frozen=True, tag="mandate"):
    """Standing."""

    mandate_id: Text
    destination_key: Key | None


class ByRule(_Part, frozen=True, tag="allowance"):
    """Allowance."""

    withdrawal: Blob
    mandate_id: Text


class ByEach(_Part, frozen=True, tag="together"):
    """Together: the right of each withdrawal of a batch."""

    parts: Annotated[list[ByOfficers | ByMandate | ByRule], Meta(max_length=BATCH_ITEMS_MAX)]


class Unsigned(_Part, frozen=True):
    """UnsignedTx."""

    chain: Text
    sender: Text
    nonce: Natural
    payload: Blob
    digest: Blob
    fee_max: Amount


class Request(_Part, frozen=True):
    """SignRequest."""

    intent: Blob
    authority: ByOfficers | ByMandate | ByRule | ByEach
    unsigned: Unsigned
    key: Key
    input_keys: Annotated[list[Key], Meta(max_length=COINS_MAX)]
    change_keys: Annotated[list[Key], Meta(max_length=COINS_MAX)]


class Sign(_Part, frozen=True, tag="sign"):
    """KeyService.sign."""

    requests: Annotated[list[Request], Meta(min_length=1, max_length=REQUESTS_MAX)]


class Attest(_Part, frozen=True, tag="attest"):
    """KeyService.attest."""

    chain: Text
    network: Text
    address: Text
    account: Text
    key_index: Natural
    customer_no: Natural | None


class PublicKeys(_Part, frozen=True, tag="public_keys"):
    """KeyService.public_keys."""

    chain: Text
    account: Text
    first: Natural
    count: Natural


class AccountXpub(_Part, frozen=True, tag="account_xpub"):
    """KeyService.account_xpub."""

    chain: Text
    account: Text


class ProveControl(_Part, frozen=True, tag="prove_control"):
    """KeyService.prove_control."""

    chain: Text
    key: Key
    address: Text
    challenge: Blob


class Entries(_Part, frozen=True, tag="entries"):
    """KeyService.entries."""

    after: Natural
    limit: Natural


class LearnPolicy(_Part, frozen=True, tag="learn_policy"):
    """KeyService.learn_policy."""

    document: Blob
    authors: Annotated[list[Text], Meta(max_length=AUTHORS_MAX)]
    approvals: Annotated[list[Line], Meta(max_length=APPROVALS_MAX)]


class KnownPolicy(_Part, frozen=True, tag="known_policy"):
    """KeyService.known_policy."""

    serial: Natural


class Status(_Part, frozen=True, tag="status"):
    """KeyService.status."""


class Check(_Part, frozen=True, tag="check"):
    """KeyService.check."""


class Obey(_Part, frozen=True, tag="obey"):
    """KeyService.obey: the order's canonical bytes (custody.keys.stop_order)."""

    order: Blob


class Stops(_Part, frozen=True, tag="stops"):
    """KeyService.stops."""


Ask: TypeAlias = (
    Sign
    | Attest
    | PublicKeys
    | AccountXpub
    | ProveControl
    | Entries
    | Obey
    | Stops
    | LearnPolicy
    | KnownPolicy
    | Status
    | Check
)


class Signature(_Part, frozen=True, tag="signature"):
    """A released signature."""

    value: Blob


class Refusal(_Part, frozen=True, tag="refused"):
    """Refused."""

    reason: Reason
    detail: str


class Absence(_Part, frozen=True, tag="unavailable"):
    """Unavailable."""

    what: str
    retry_after_ms: Annotated[int, Meta(ge=0, le=RETRY_MS_MAX)]


class Contradiction(_Part, frozen=True, tag="corrupt"):
    """Corrupt: the signer has stopped."""

    what: str


class Signed(_Part, frozen=True, tag="signed"):
    """To sign."""

    answers: Annotated[list[Signature | Refusal], Meta(max_length=REQUESTS_MAX)]


class Bytes(_Part, frozen=True, tag="bytes"):
    """To attest and prove_control."""

    value: Blob


class Words(_Part, frozen=True, tag="text"):
    """To account_xpub."""

    value: Text


class OneKey(_Part, frozen=True):
    """IssuedKey."""

    account: Text
    index: Natural
    public_key: Short
    proof: Short


class Keys(_Part, frozen=True, tag="keys"):
    """To public_keys."""

    keys: Annotated[list[OneKey], Meta(max_length=KEYS_AT_ONCE)]


class Page(_Part, frozen=True, tag="page"):
    """To entries: canonical messages."""

    messages: Annotated[list[Blob], Meta(max_length=ENTRIES_MAX)]


class Orders(_Part, frozen=True, tag="orders"):
    """To stops: canonical bytes of orders."""

    orders: Annotated[list[Blob], Meta(max_length=SHOWN_MAX)]


class State(_Part, frozen=True, tag="state"):
    """SignerStatus, to status."""

    chains: Annotated[list[Text], Meta(max_length=1_024)]
    position: Natural
    roster_hash: Short


class Learned(_Part, frozen=True, tag="learned"):
    """PolicyStanding, to learn_policy."""

    serial: Natural
    policy_hash: Short
    learned_at_ns: Natural
    in_force_from_ns: Natural


class PolicyFile(_Part, frozen=True, tag="policy"):
    """To known_policy."""

    value: Annotated[bytes, Meta(max_length=POLICY_BYTES_MAX)]


class Done(_Part, frozen=True, tag="done"):
    """To check and obey."""


Told: TypeAlias = (
    Signed
    | Bytes
    | Words
    | Keys
    | Page
    | Orders
    | Learned
    | PolicyFile
    | State
    | Done
    | Refusal
    | Absence
    | Contradiction
)


_asks: msgspec.msgpack.Decoder[Ask] = msgspec.msgpack.Decoder(Ask, strict=True)
_tells: msgspec.msgpack.Decoder[Told] = msgspec.msgpack.Decoder(Told, strict=True)
_encoder = msgspec.msgpack.Encoder()
_T = TypeVar("_T")


def frame(value: Ask | Told) -> bytes:
    """Return the bytes of a frame. Refused: too_large, malformed (a number above 64 bits)."""
    try:
        body = _encoder.encode(value)
    except OverflowError as error:
        raise Refused(Reason.MALFORMED, "a number that no chain has") from error
    if len(body) > FRAME_BYTES_MAX:
        raise Refused(Reason.TOO_LARGE, f"a frame has at most {FRAME_BYTES_MAX} bytes")
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def body_bytes(head: bytes) -> int:
    """Return the length that a frame's first 4 bytes tell. Refused: too_large."""
    length = int.from_bytes(head, "big")
    if length > FRAME_BYTES_MAX:
        raise Refused(Reason.TOO_LARGE, f"a frame has at most {FRAME_BYTES_MAX} bytes")
    return length


def read_ask(body: bytes) -> Ask:
    """Return the question of a frame's body. Refused: malformed."""
    return _read(_asks, body)


def read_told(body: bytes) -> Told:
    """Return the answer of a frame's body. Refused: malformed."""
    return _read(_tells, body)


def _read(decoder: msgspec.msgpack.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Refused(Reason.MALFORMED, "a frame that is none of ours") from error
