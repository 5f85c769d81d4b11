"""Where screening gets its answers: the list's file or address, and providers over HTTPS.

Nothing is asked over an unencrypted connection but on this machine itself, and nothing is believed
that is not exactly of the form it must have.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from app.secure_url import is_secure
from core.errors import Reason, Refused, Unavailable
from custody.keys.secret import Secret
from custody.screening import sdn
from custody.screening.cases import REFERENCE_MAX, Answer, Outcome, Question
from custody.screening.sdn import SanctionsList

CHUNK = 1 << 16
REPLY_BYTES_MAX = 4_096
LIST_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class FetchedList:
    """A list and the hash of the file that it was read from."""

    list: SanctionsList
    sha256: bytes


def read_list(source: str) -> FetchedList:
    """Read a list from a file or a URL.

    Refused: malformed, too_large, not_found, forbidden (a URL that is not https). Unavailable: the
    server did not answer with the whole file.
    """
    if "://" not in source:
        try:
            with Path(source).open("rb") as stream:
                return _read(iter(lambda: stream.read(CHUNK), b""))
        except OSError as error:
            raise Refused(Reason.NOT_FOUND, f"{source}: {error.strerror}") from error
    if not is_secure(source):
        raise Refused(Reason.FORBIDDEN, "lists are fetched over https")
    try:
        with httpx.stream("GET", source, timeout=LIST_TIMEOUT_S, follow_redirects=False) as reply:
            if reply.status_code != 200:
                raise Unavailable(f"the list's server answered {reply.status_code}")
            return _read(reply.iter_bytes(CHUNK))
    except httpx.HTTPError as error:
        raise Unavailable(f"the list's server: {type(error).__name__}") from error


def _read(chunks: Iterator[bytes]) -> FetchedList:
    digest = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for chunk in chunks:
            digest.update(chunk)
            yield chunk

    found = sdn.parse(hashed())
    return FetchedList(found, digest.digest())


@dataclass(frozen=True, slots=True)
class HttpProvider:
    """One provider: POST of a question, answered {"outcome": …, "reference": …}."""

    url: str
    token: Secret | None
    timeout_ms: int

    def ask(self, question: Question) -> Answer:
        """Return the provider's answer. Unavailable: none in time, or not of that form."""
        body = {
            "case_id": question.case_id,
            "chain": question.chain,
            "asset": question.asset_key,
            "address": question.address,
            "amount": str(question.amount),
        }
        headers = {}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token.reveal().decode('ascii')}"
        try:
            reply = httpx.post(
                self.url, json=body, headers=headers, timeout=self.timeout_ms / 1_000,
                follow_redirects=False,
            )  # fmt: skip
        except httpx.HTTPError as error:
            raise Unavailable(f"no answer: {type(error).__name__}") from error
        if reply.status_code != 200 or len(reply.content) > REPLY_BYTES_MAX:
            raise Unavailable(f"answered {reply.status_code}, {len(reply.content)} bytes")
        return _answer(reply.content)


def _answer(content: bytes) -> Answer:
    try:
        found = json.loads(content)
        outcome, reference = Outcome(found["outcome"]), found["reference"]
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable("an answer of another form") from error
    is_text = isinstance(reference, str) and reference.isascii() and reference.isprintable()
    if len(found) != 2 or not is_text or not 1 <= len(reference) <= REFERENCE_MAX:
        raise Unavailable("an answer of another form")
    return Answer(outcome, reference)
