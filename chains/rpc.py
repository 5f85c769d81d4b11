"""JSON-RPC over HTTP, and agreement between several nodes.

A node's own error is data (`RpcError`): the caller knows which words mean what. Everything that
is not an answer (no connection, a deadline, 429, 5xx, truncated or oversized JSON, another id)
is `Unavailable`. Only reads are repeated; bytes that move money are sent once per call and
judged by their sender.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Generic, Protocol, TypeVar

import httpx
import msgspec

from core.clock import Clock, SystemClock
from core.errors import Unavailable

MEGABYTE = 1 << 20
MILLISECOND_NS = 1_000_000
REPLY_LIMIT = 64 * MEGABYTE
TIMEOUT_MS = 10_000
READ_ATTEMPTS = 3
BACKOFF_MS = 50
BENCH_MS = 30_000
"""How long a silent node is left out where a quorum can be had without it."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RpcError:
    """A node's own refusal, as it worded it."""

    code: int
    message: str


@dataclass(frozen=True, slots=True)
class RpcCall:
    """One method with its parameters."""

    method: str
    params: tuple[object, ...] = ()


class NodeTimeout(Unavailable):
    """A node did not answer in time; not asked again within the same question."""


class NodesDisagree(Unavailable):
    """Nodes gave different answers and no quorum shares one: credits wait, a person looks."""


@dataclass(slots=True)
class RpcCounters:
    """What one node did so far; plain numbers for metrics."""

    requests: int = 0
    retries: int = 0
    transport_errors: int = 0
    node_errors: int = 0
    oversized: int = 0
    incomplete: int = 0
    """Answers that contradicted themselves or the block's header."""
    minority: int = 0
    """Answers that a quorum of the other nodes contradicted."""


class _Reply(msgspec.Struct):
    id: int | None = None
    result: object = None
    error: object = None


# A number with a fraction is read exactly as it is written: nodes write amounts so.
_REPLY = msgspec.json.Decoder(_Reply, float_hook=Decimal)
_REPLIES = msgspec.json.Decoder(list[_Reply], float_hook=Decimal)


class RpcClient:
    """One node. Thread-safe as its httpx client is."""

    def __init__(
        self,
        url: str,
        *,
        timeout_ms: int = TIMEOUT_MS,
        reply_limit: int = REPLY_LIMIT,
        attempts: int = READ_ATTEMPTS,
        clock: Clock | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.counters = RpcCounters()
        self._url = url
        self._timeout_ms = timeout_ms
        self._reply_limit = reply_limit
        self._attempts = attempts
        self._clock: Clock = clock or SystemClock()
        self._http = httpx.Client(
            timeout=timeout_ms / 1000,
            transport=transport,
            trust_env=False,
            headers={"content-type": "application/json", "accept-encoding": "identity"},
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(self, method: str, *params: object) -> object:
        """Ask a read, repeating it a bounded number of times; a node's error comes back as
        RpcError.
        """
        return self.ask_many([RpcCall(method, params)])[0]

    def ask_many(self, calls: Sequence[RpcCall]) -> list[object]:
        """Ask several reads in one request; answers in the order asked, each a result or an
        RpcError.
        """
        if not calls:
            return []
        for attempt in range(self._attempts):
            try:
                return self._exchange(calls)
            except NodeTimeout:
                raise
            except Unavailable:
                if attempt + 1 == self._attempts:
                    raise
                self.counters.retries += 1
                self._clock.sleep(BACKOFF_MS * MILLISECOND_NS << attempt)
        raise AssertionError("attempts is at least one")

    def read(self, method: str, *params: object) -> object:
        """Ask a read whose refusal means no answer. Unavailable: the node's own words."""
        return required(self.ask(method, *params), method)

    def send_once(self, method: str, *params: object) -> object:
        """Ask exactly once: for bytes that move money, which their sender repeats, nobody else."""
        return self._exchange([RpcCall(method, params)])[0]

    def _exchange(self, calls: Sequence[RpcCall]) -> list[object]:
        requests = [
            {"jsonrpc": "2.0", "id": number, "method": call.method, "params": list(call.params)}
            for number, call in enumerate(calls)
        ]
        self.counters.requests += 1
        body = msgspec.json.encode(requests[0] if len(requests) == 1 else requests)
        content = self._post(body)
        try:
            if len(calls) == 1:
                replies = [_REPLY.decode(content)]
            else:
                replies = _REPLIES.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self.counters.transport_errors += 1
            raise Unavailable(f"node_reply_malformed: {error}") from error
        by_id = {reply.id: reply for reply in replies}
        if len(replies) != len(calls) or set(by_id) != set(range(len(calls))):
            self.counters.transport_errors += 1
            raise Unavailable("node_reply_malformed: ids do not match the request")
        return [self._answer(by_id[number]) for number in range(len(calls))]

    def _answer(self, reply: _Reply) -> object:
        if reply.error is None:
            return reply.result
        self.counters.node_errors += 1
        fields = reply.error if isinstance(reply.error, dict) else {}
        code, message = fields.get("code"), fields.get("message")
        return RpcError(
            code=code if type(code) is int else 0,
            message=message[:500] if isinstance(message, str) else "",
        )

    def _post(self, body: bytes) -> bytes:
        deadline_ns = self._clock.monotonic_ns() + self._timeout_ms * MILLISECOND_NS
        content = bytearray()
        try:
            with self._http.stream("POST", self._url, content=body) as response:
                if response.status_code != httpx.codes.OK:
                    raise Unavailable(f"node_http_status: {response.status_code}")
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > self._reply_limit:
                        self.counters.oversized += 1
                        raise Unavailable(f"node_reply_oversized: above {self._reply_limit} bytes")
                    if self._clock.monotonic_ns() > deadline_ns:
                        raise NodeTimeout("node_timeout: reply not finished in time")
        except httpx.TimeoutException as error:
            self.counters.transport_errors += 1
            raise NodeTimeout(f"node_timeout: {type(error).__name__}") from error
        except httpx.HTTPError as error:
            self.counters.transport_errors += 1
            raise Unavailable(f"node_unreachable: {type(error).__name__}") from error
        except Unavailable:
            self.counters.transport_errors += 1
            raise
        return bytes(content)


def required(answer: object, what: str) -> object:
    """Return an answer that must be there. Unavailable: the node refused, or answered null."""
    if isinstance(answer, RpcError):
        raise Unavailable(f"node_error: {what}: {answer.code} {answer.message}")
    if answer is None:
        raise Unavailable(f"node_null: {what}")
    return answer


class HasCounters(Protocol):
    """A node whose behaviour is counted."""

    @property
    def counters(self) -> RpcCounters:
        """Return its counters."""
        ...


N = TypeVar("N", bound=HasCounters)


@dataclass(frozen=True, slots=True)
class Vote(Generic[N, T]):
    """What one node answered."""

    node: N
    value: T


@dataclass(slots=True)
class NodeSet(Generic[N]):
    """Nodes that are asked together.

    A quorum is a majority, so two answers can never both have one.
    """

    nodes: tuple[N, ...]
    quorum: int
    disagreements: int = 0
    """Questions on which no quorum shared an answer."""
    too_few: int = 0
    """Questions that fewer nodes than a quorum answered."""
    clock: Clock = field(default_factory=SystemClock)
    _benched_until_ns: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.nodes:
            raise ValueError("at least one node is configured")
        if not len(self.nodes) < 2 * self.quorum <= 2 * len(self.nodes):
            raise ValueError("a quorum is a majority of the configured nodes")

    def votes(self, ask: Callable[[N], T], what: str) -> list[Vote[N, T]]:
        """Ask every node; those that do not answer have no vote.

        Unavailable: fewer answers than a quorum.
        """
        votes: list[Vote[N, T]] = []
        last: Unavailable | None = None
        for number, node in self._awake():
            try:
                votes.append(Vote(node, ask(node)))
            except NodeTimeout as error:
                self._benched_until_ns[number] = (
                    self.clock.monotonic_ns() + BENCH_MS * MILLISECOND_NS
                )
                last = error
            except Unavailable as error:
                last = error
        if len(votes) < self.quorum:
            self.too_few += 1
            assert last is not None, "each node votes or fails"
            if len(self.nodes) == 1:
                raise last
            raise Unavailable(
                f"too_few_nodes: {what}: {len(votes)} of {self.quorum} answered: {last.what}"
            ) from last
        return votes

    def _awake(self) -> list[tuple[int, N]]:
        """Return the nodes without those that were silent lately, or all where all are needed."""
        now_ns = self.clock.monotonic_ns()
        numbered = list(enumerate(self.nodes))
        awake = [
            (number, node)
            for number, node in numbered
            if self._benched_until_ns.get(number, now_ns) <= now_ns
        ]
        return awake if len(awake) >= self.quorum else numbered

    def agree(self, ask: Callable[[N], T], what: str) -> T:
        """Return the answer that a quorum shares.

        Unavailable: too few answers. NodesDisagree: no quorum.
        """
        return self.settle(self.votes(ask, what), what)

    def settle(self, votes: Sequence[Vote[N, T]], what: str) -> T:
        """Return the value that a quorum of these votes shares. NodesDisagree: there is none."""
        for candidate in votes:
            agreeing = sum(1 for vote in votes if vote.value == candidate.value)
            if agreeing >= self.quorum:
                for vote in votes:
                    vote.node.counters.minority += vote.value != candidate.value
                return candidate.value
        self.disagreements += 1
        raise NodesDisagree(f"nodes_disagree: {what}: no quorum of {self.quorum}")

    def first(self, ask: Callable[[N], T], what: str) -> T:
        """Return the first node's answer that is one; only for answers that prove themselves."""
        last: Unavailable | None = None
        for node in self.nodes:
            try:
                return ask(node)
            except Unavailable as error:
                last = error
        assert last is not None, what
        raise last
