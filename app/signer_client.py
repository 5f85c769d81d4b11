"""The key service on the other side of the signer's socket.

Asking again is always safe, so a question is asked anew when its connection broke before the
answer came. A signer that is silent is left alone for a while: what waits for signatures must not
hold up what does not.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from app.signer_frames import (
    Absence,
    AccountXpub,
    Ask,
    Bytes,
    Check,
    Contradiction,
    Done,
    Entries,
    Keys,
    KnownPolicy,
    Learned,
    Obey,
    Orders,
    Page,
    PolicyFile,
    ProveControl,
    PublicKeys,
    Refusal,
    Sign,
    Signed,
    State,
    Status,
    Stops,
    Told,
    Words,
    frame,
    read_told,
)
from app.signer_socket import connect, receive_frame, send_frame
from app.signer_wire import (
    answers_of,
    attest_of,
    entries_of,
    error_of_told,
    issued_of,
    key_to_wire,
    learn_of,
    request_of,
    standing_of,
    status_of,
)
from core.errors import Corrupt, Refused, Unavailable
from core.ids import ChainId
from custody.keys.attestation import AddressClaim
from custody.keys.guard import SignRequest
from custody.keys.issued_keys import IssuedKey
from custody.keys.publication import Publication
from custody.keys.service import Answer, PolicyStanding, SignerAway, SignerStatus
from custody.keys.signers.base import KeyRef
from custody.keys.signing_record import Entry
from custody.keys.stop_order import SignedStop, decode_own, encode_signed

TRIES = 3
PAUSE_MS = 50
DOUBLINGS_MAX = 4
MILLISECOND_NS = 1_000_000

_Told = TypeVar("_Told")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long a client waits."""

    connect_ms: int = 2_000
    answer_ms: int = 20_000
    """The signer asks its own nodes before it answers."""
    frame_ms: int = 5_000
    rest_ms: int = 3_000
    """After a silence every question is answered with SignerAway for so long; twice as long after
    the next one, up to sixteen times."""


class SignerClient:
    """A KeyService over a socket. Thread-safe; connections are kept and shared."""

    def __init__(self, path: Path, *, waits: Waits | None = None) -> None:
        """Connect when something is asked, not yet."""
        self.path = path
        self._waits = waits or Waits()
        self._lock = threading.Lock()
        self._idle: list[socket.socket] = []
        self._rests_until_ns = 0
        self._silences = 0
        self._is_closed = False

    def sign(self, requests: Sequence[SignRequest]) -> list[Answer]:
        """Have requests signed; see KeyService."""
        answers = answers_of(self._ask(Sign([request_of(request) for request in requests]), Signed))
        if len(answers) != len(requests):
            raise SignerAway("the signer answered another question")
        return answers

    def attest(self, claim: AddressClaim) -> bytes:
        """Have an address attested; see KeyService."""
        return self._ask(attest_of(claim), Bytes).value

    def public_keys(self, chain: ChainId, account: str, first: int, count: int) -> list[IssuedKey]:
        """Fetch public keys; see KeyService."""
        return issued_of(self._ask(PublicKeys(chain, account, first, count), Keys))

    def account_xpub(self, chain: ChainId, account: str) -> str:
        """Fetch an account's extended public key; see KeyService."""
        return self._ask(AccountXpub(chain, account), Words).value

    def prove_control(self, chain: ChainId, key: KeyRef, address: str, challenge: bytes) -> bytes:
        """Have control proven; see KeyService."""
        ask = ProveControl(chain, key_to_wire(key), address, challenge)
        return self._ask(ask, Bytes).value

    def entries(self, after: int, limit: int) -> list[Entry]:
        """Fetch a page of the log; see KeyService."""
        return entries_of(self._ask(Entries(after, limit), Page))

    def learn_policy(self, publication: Publication) -> PolicyStanding:
        """Hand over the next version of the policy; see KeyService."""
        return standing_of(self._ask(learn_of(publication), Learned))

    def known_policy(self, serial: int) -> bytes:
        """Fetch the file of a version; see KeyService."""
        return self._ask(KnownPolicy(serial), PolicyFile).value

    def status(self) -> SignerStatus:
        """Ask how the signer stands; see KeyService."""
        return status_of(self._ask(Status(), State))

    def obey(self, order: SignedStop) -> None:
        """Have a stop or a resumption obeyed; see KeyService."""
        self._ask(Obey(encode_signed(order)), Done)

    def stops(self) -> list[SignedStop]:
        """Ask what is stopped; see KeyService."""
        return [decode_own(one) for one in self._ask(Stops(), Orders).orders]

    def check(self) -> None:
        """Ask whether the keys really sign; see KeyService."""
        self._ask(Check(), Done)

    def close(self) -> None:
        """Let go of the connections; the client is of no use afterwards."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _ask(self, ask: Ask, wanted: type[_Told]) -> _Told:
        """Return the answer. Refused: as the signer says. SignerAway: no answer, or a sick one."""
        told = self._exchange(frame(ask))
        if isinstance(told, wanted):
            return told
        if isinstance(told, Refusal | Absence | Contradiction):
            error = error_of_told(told)
            if isinstance(error, Corrupt):
                # Its records contradict each other, not ours: it stops, and we wait for a person.
                raise SignerAway(f"the signer has stopped: {error}") from error
            if isinstance(error, Unavailable):
                raise SignerAway(error.what, error.retry_after_ms)
            raise error
        raise SignerAway("the signer answered another question")

    def _exchange(self, question: bytes) -> Told:
        if time.monotonic_ns() < self._rests_until_ns:
            raise SignerAway("the signer was silent a moment ago")
        for left in reversed(range(TRIES)):
            try:
                return self._try(question, fresh=left < TRIES - 1)
            except TimeoutError as error:
                rest_ns = self._waits.rest_ms * MILLISECOND_NS << min(self._silences, DOUBLINGS_MAX)
                self._silences += 1
                self._rests_until_ns = time.monotonic_ns() + rest_ns
                raise SignerAway("the signer is silent") from error
            except OSError as error:
                if not left:
                    raise SignerAway(f"no signer at {self.path.name}: {error}") from error
            except Refused as refused:
                raise SignerAway("the signer's answer cannot be read") from refused
            time.sleep(PAUSE_MS / 1_000)
        raise AssertionError("the last try answers or raises")

    def _try(self, question: bytes, *, fresh: bool) -> Told:
        """Ask once. OSError: the connection broke, before or after the signer heard it."""
        waits = self._waits
        connection = self._connection(fresh=fresh)
        with contextlib.ExitStack() as opened:
            opened.callback(connection.close)
            send_frame(connection, question, timeout_ms=waits.frame_ms)
            body = receive_frame(connection, first_ms=waits.answer_ms, frame_ms=waits.frame_ms)
            if body is None:
                raise ConnectionError("closed before an answer")
            told = read_told(bytes(body))
            self._silences = 0
            with self._lock:
                if not self._is_closed:
                    self._idle.append(connection)
                    opened.pop_all()
        return told

    def _connection(self, *, fresh: bool) -> socket.socket:
        """Return an idle connection, or a new one; after a failure the idle ones count as dead."""
        with self._lock:
            if self._is_closed:
                raise SignerAway("this client is closed")
            if not fresh and self._idle:
                return self._idle.pop()
            dead, self._idle = self._idle, []
        for connection in dead:
            connection.close()
        return connect(self.path, timeout_ms=self._waits.connect_ms)
