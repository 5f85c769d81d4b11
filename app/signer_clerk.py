"""Answers what stands in frames: the verbs of the key service, its health, and what was counted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from app.shielded import shielded
from app.signer_frames import (
    AccountXpub,
    Ask,
    Attest,
    Bytes,
    Check,
    Done,
    Entries,
    KnownPolicy,
    LearnPolicy,
    Obey,
    Orders,
    PolicyFile,
    ProveControl,
    PublicKeys,
    Sign,
    Status,
    Stops,
    Told,
    Words,
    read_ask,
)
from app.signer_lanes import SigningLanes
from app.signer_wire import (
    asked_of,
    claim_of,
    key_of_wire,
    keys_of,
    learned_of,
    page_of,
    publication_of,
    signed_of,
    state_of,
    told_of_error,
)
from core.clock import SECOND_NS, Clock
from core.errors import Corrupt, Refused, StrongroomError
from core.ids import ChainId
from custody.keys.guard import SignRequest
from custody.keys.service import Answer, KeyService
from custody.keys.stop_order import SignedStop, decode_signed, encode_signed

HEALTH_NS = 5 * SECOND_NS
"""How long one real signature proves that the keys are there."""
BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0, 5.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

_log = structlog.get_logger("signer")


class SignerMetrics:
    """Counts answers by reason. No label names a person, a key or an amount."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._answers = Counter(
            "strongroom_signer_answers", "Answers of the signer", ("verb", "outcome"),
            registry=registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "strongroom_signer_seconds", "Time of one answer", ("verb",), buckets=BUCKETS,
            registry=registry,
        )  # fmt: skip
        self._batches = Histogram(
            "strongroom_signer_batch", "Requests of one durable write", ("chain",),
            buckets=BATCHES, registry=registry,
        )  # fmt: skip
        self._position = Gauge(
            "strongroom_signer_position", "Entries in the signer's log", registry=registry
        )
        self._healthy = Gauge(
            "strongroom_signer_healthy", "1 when every chain's keys really sign", registry=registry
        )

    def answered(self, verb: str, outcome: str, seconds: float | None = None) -> None:
        """Note one answer."""
        self._answers.labels(verb, outcome).inc()
        if seconds is not None:
            self._seconds.labels(verb).observe(seconds)

    def batch(self, chain: ChainId, size: int) -> None:
        """Note one batch."""
        self._batches.labels(chain).observe(size)

    def stands(self, position: int) -> None:
        """Note how long the log is."""
        self._position.set(position)

    def checked(self, *, is_healthy: bool) -> None:
        """Note the outcome of a check."""
        self._healthy.set(int(is_healthy))


@dataclass(slots=True)
class Clerk:
    """Turns the body of a frame into its answer. Thread-safe."""

    service: KeyService
    lanes: SigningLanes
    clock: Clock
    metrics: SignerMetrics
    on_corrupt: Callable[[Corrupt], None]
    _checking: threading.Lock = field(default_factory=threading.Lock)
    _checked_ns: int | None = None
    _ailment: StrongroomError | None = None

    def answer(self, body: bytes) -> Told:
        """Return the answer to a frame, whatever stands in it."""
        started_ns = self.clock.monotonic_ns()
        verb, outcome = "none", "answered"
        try:
            ask = read_ask(body)
            verb = type(ask).__name__.lower()
            return shielded(lambda: self._tell(ask), verb)
        except StrongroomError as error:
            outcome = error.reason.value if isinstance(error, Refused) else type(error).__name__
            if isinstance(error, Corrupt):
                self.on_corrupt(error)
            return told_of_error(error)
        finally:
            took_ns = self.clock.monotonic_ns() - started_ns
            self.metrics.answered(verb, outcome.lower(), took_ns / SECOND_NS)

    def check(self) -> None:
        """Have the keys really sign, unless they just did; raise why they do not."""
        with self._checking:
            now_ns = self.clock.monotonic_ns()
            if self._checked_ns is None or now_ns - self._checked_ns >= HEALTH_NS:
                self._ailment = None
                try:
                    shielded(self.service.check, "check")
                    self.metrics.stands(self.service.status().position)
                except StrongroomError as error:
                    self._ailment = error
                self._checked_ns = self.clock.monotonic_ns()
                self.metrics.checked(is_healthy=self._ailment is None)
            if self._ailment is not None:
                raise self._ailment

    def _tell(self, ask: Ask) -> Told:
        match ask:
            case Sign():
                return signed_of(self._sign([asked_of(request) for request in ask.requests]))
            case Attest():
                return Bytes(self.service.attest(claim_of(ask)))
            case PublicKeys():
                keys = self.service.public_keys(
                    ChainId(ask.chain), ask.account, ask.first, ask.count
                )
                return keys_of(keys)
            case AccountXpub():
                return Words(self.service.account_xpub(ChainId(ask.chain), ask.account))
            case ProveControl():
                key = key_of_wire(ask.key)
                proof = self.service.prove_control(
                    ChainId(ask.chain), key, ask.address, ask.challenge
                )
                return Bytes(proof)
            case Entries():
                return page_of(self.service.entries(ask.after, ask.limit))
            case Status():
                return state_of(self.service.status())
            case LearnPolicy() | KnownPolicy() | Obey() | Stops():
                return self._tell_officers(ask)
            case Check():
                self.check()
                return Done()

    def _tell_officers(self, ask: LearnPolicy | KnownPolicy | Obey | Stops) -> Told:
        """Answer what officers decide for all payments: policies and stops."""
        match ask:
            case LearnPolicy():
                return learned_of(self.service.learn_policy(publication_of(ask)))
            case KnownPolicy():
                return PolicyFile(self.service.known_policy(ask.serial))
            case Obey():
                self._obey(decode_signed(ask.order))
                return Done()
            case Stops():
                return Orders([encode_signed(one) for one in self.service.stops()])

    def _obey(self, order: SignedStop) -> None:
        """Past the lanes: a stop waits for nothing."""
        self.service.obey(order)
        statement = order.statement
        _log.warning(
            "obeys", kind=statement.kind, scope=statement.subject, by=statement.statement_id
        )

    def _sign(self, requests: list[SignRequest]) -> list[Answer]:
        answers = self.lanes.sign(requests)
        for request, answer in zip(requests, answers, strict=True):
            if isinstance(answer, Refused):
                self.metrics.answered("signature", answer.reason.value)
                _log.warning(
                    "refused",
                    reason=answer.reason.value,
                    detail=answer.detail,
                    chain=request.intent.chain,
                    spend=request.intent.spend_id,
                )
            else:
                self.metrics.answered("signature", "released")
        return answers
