"""JSON-RPC over HTTP: every way of not answering is Unavailable; agreement needs a majority."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.rpc import (
    BENCH_MS,
    NodesDisagree,
    NodeSet,
    NodeTimeout,
    RpcCall,
    RpcClient,
    RpcCounters,
    RpcError,
)
from core.clock import ManualClock
from core.errors import Unavailable

Handler = Callable[[Any], httpx.Response]


class Script:
    """Answers requests in turn with what the test lists, the last one for ever."""

    def __init__(self, *steps: Handler) -> None:
        self.steps = list(steps)
        self.bodies: list[Any] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.bodies.append(body)
        return (self.steps.pop(0) if len(self.steps) > 1 else self.steps[0])(body)


def client_of(
    script: Script, *, clock: ManualClock | None = None, limit: int = 10_000
) -> RpcClient:
    """Return a client whose network is the script."""
    return RpcClient(
        "http://node",
        transport=httpx.MockTransport(script),
        clock=clock or ManualClock(),
        reply_limit=limit,
    )


def result(value: object) -> Handler:
    """Answer every call with a value."""

    def answer(body: Any) -> httpx.Response:
        rows = [
            {"jsonrpc": "2.0", "id": call["id"], "result": value}
            for call in (body if isinstance(body, list) else [body])
        ]
        return httpx.Response(200, json=rows if isinstance(body, list) else rows[0])

    return answer


def raw(status: int, content: bytes) -> Handler:
    """Answer with these bytes."""
    return lambda body: httpx.Response(status, content=content)


def raising(error: Exception) -> Handler:
    """Fail as the network does."""

    def answer(body: Any) -> httpx.Response:
        raise error

    return answer


BROKEN: list[Handler] = [
    raw(429, b""),
    raw(500, b"no"),
    raw(302, b""),
    raw(200, b""),
    raw(200, b'{"jsonrpc":"2.0","id":0,"resu'),
    raw(200, b"<html>"),
    raw(200, b'"text"'),
    raw(200, b"[]"),
    raw(200, b'{"id":7,"result":1}'),
    raw(200, b'{"id":"0","result":1}'),
    raw(200, b'{"id":0,"result":"\xff"}'),
    raw(200, b'{"id":0,"result":' + b"[" * 5_000 + b"]" * 4_000),
    raising(httpx.ConnectError("refused")),
    raising(httpx.RemoteProtocolError("cut")),
]


@pytest.mark.parametrize("fault", BROKEN)
def test_what_is_no_answer_is_unavailable_after_three_tries(fault: Handler) -> None:
    script = Script(fault)
    client = client_of(script)
    with pytest.raises(Unavailable):
        client.ask("eth_x")
    assert len(script.bodies) == 3
    assert (client.counters.retries, client.counters.transport_errors) == (2, 3)


@pytest.mark.parametrize("fault", BROKEN)
def test_a_fault_that_passes_is_not_noticed(fault: Handler) -> None:
    assert client_of(Script(fault, result(5))).ask("eth_x") == 5


@pytest.mark.parametrize("fault", BROKEN)
def test_sending_is_never_repeated(fault: Handler) -> None:
    script = Script(fault, result(5))
    with pytest.raises(Unavailable):
        client_of(script).send_once("eth_sendRawTransaction", "0x")
    assert len(script.bodies) == 1


def test_a_timeout_is_not_repeated_within_one_question() -> None:
    script = Script(raising(httpx.ReadTimeout("slow")), result(5))
    with pytest.raises(NodeTimeout):
        client_of(script).ask("eth_x")
    assert len(script.bodies) == 1


def test_a_reply_that_drips_is_given_up_at_the_deadline() -> None:
    clock = ManualClock()

    class Drip(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            for _ in range(1_000):
                clock.advance(1_000_000_000)
                yield b" "

    client = client_of(Script(lambda body: httpx.Response(200, stream=Drip())), clock=clock)
    with pytest.raises(NodeTimeout):
        client.ask("eth_x")
    assert clock.monotonic_ns() <= 12 * 10**9


def test_an_oversized_reply_is_cut_off_while_it_arrives() -> None:
    read = 0

    class Flood(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            nonlocal read
            while True:
                read += 1_000
                yield b"0" * 1_000

    client = client_of(Script(lambda body: httpx.Response(200, stream=Flood())))
    with pytest.raises(Unavailable, match="oversized"):
        client.send_once("eth_x")
    assert read == 11_000
    assert client.counters.oversized == 1


def test_a_node_s_error_is_data_and_a_required_read_makes_it_unavailable() -> None:
    script = Script(raw(200, b'{"id":0,"error":{"code":-32000,"message":"unknown block"}}'))
    client = client_of(script)
    assert client.ask("eth_x") == RpcError(-32_000, "unknown block")
    with pytest.raises(Unavailable, match="unknown block"):
        client.read("eth_x")
    assert len(script.bodies) == 2, "a node's own words are not asked for again"
    with pytest.raises(Unavailable, match="node_null"):
        client_of(Script(result(None))).read("eth_x")


@pytest.mark.parametrize("error", [b"5", b'"x"', b'{"code":"1","message":5}', b"{}"])
def test_a_malformed_error_is_still_an_error(error: bytes) -> None:
    client = client_of(Script(raw(200, b'{"id":0,"error":' + error + b"}")))
    assert client.ask("eth_x") == RpcError(0, "")


def test_a_batch_is_matched_by_id_and_must_be_whole() -> None:
    def reversed_rows(body: Any) -> httpx.Response:
        rows = [{"id": call["id"], "result": call["method"]} for call in reversed(body)]
        return httpx.Response(200, json=rows)

    calls = [RpcCall("eth_a"), RpcCall("eth_b"), RpcCall("eth_c")]
    assert client_of(Script(reversed_rows)).ask_many(calls) == ["eth_a", "eth_b", "eth_c"]
    assert client_of(Script(reversed_rows)).ask_many([]) == []
    for rows in (
        [{"id": 0, "result": 1}, {"id": 1, "result": 1}],
        [{"id": n, "result": 1} for n in (0, 1, 1)],
        [{"id": n, "result": 1} for n in (0, 1, 2, 3)],
        [{"id": n, "result": n} for n in (0, 1, 2, 2)],
        {"id": 0, "error": {"code": 1, "message": "no batches"}},
    ):
        client = client_of(Script(raw(200, json.dumps(rows).encode())))
        with pytest.raises(Unavailable):
            client.ask_many(calls)


class Peer:
    """A node of which only the answer matters."""

    def __init__(self, answer: int | Unavailable) -> None:
        self.answer = answer
        self.counters = RpcCounters()
        self.asked = 0

    def ask(self) -> int:
        """Answer, or fail."""
        self.asked += 1
        if isinstance(self.answer, Unavailable):
            raise self.answer
        return self.answer


def ask(peer: Peer) -> int:
    """Ask a peer."""
    return peer.ask()


@given(st.lists(st.integers(0, 2), min_size=1, max_size=7), st.data())
def test_an_answer_is_agreed_exactly_when_a_quorum_gave_it(
    answers: list[int], data: st.DataObject
) -> None:
    quorum = data.draw(st.integers(len(answers) // 2 + 1, len(answers)))
    nodes = NodeSet(tuple(Peer(answer) for answer in answers), quorum)
    shared = [value for value in set(answers) if answers.count(value) >= quorum]
    if shared:
        assert nodes.agree(ask, "value") == shared[0]
        minority = sum(node.counters.minority for node in nodes.nodes)
        assert minority == len(answers) - answers.count(shared[0])
    else:
        with pytest.raises(NodesDisagree):
            nodes.agree(ask, "value")
        assert nodes.disagreements == 1


def test_silence_is_no_vote() -> None:
    nodes = NodeSet((Peer(1), Peer(Unavailable("gone")), Peer(1)), 2)
    assert nodes.agree(ask, "value") == 1
    alone = NodeSet((Peer(1), Peer(Unavailable("gone")), Peer(Unavailable("gone"))), 2)
    with pytest.raises(Unavailable, match="too_few_nodes: value: 1 of 2"):
        alone.agree(ask, "value")
    assert alone.too_few == 1


@pytest.mark.parametrize(("count", "quorum"), [(0, 0), (1, 0), (2, 1), (3, 1), (3, 4), (4, 2)])
def test_a_quorum_that_two_answers_could_both_have_is_refused(count: int, quorum: int) -> None:
    with pytest.raises(ValueError, match=r"quorum|at least one"):
        NodeSet(tuple(Peer(1) for _ in range(count)), quorum)


def test_a_silent_node_rests_unless_it_is_needed() -> None:
    clock = ManualClock()
    silent, good, other = Peer(NodeTimeout("silent")), Peer(1), Peer(1)
    nodes = NodeSet((silent, good, other), 2, clock=clock)
    for _ in range(3):
        assert nodes.agree(ask, "value") == 1
    assert (silent.asked, good.asked) == (1, 3)
    good.answer = NodeTimeout("silent too")
    with pytest.raises(Unavailable):
        nodes.agree(ask, "value")
    silent.answer = 1
    assert nodes.agree(ask, "value") == 1, "now it is needed"
    clock.advance((BENCH_MS + 1) * 1_000_000)
    good.answer = 1
    nodes.agree(ask, "value")
    assert (silent.asked, good.asked, other.asked) == (3, 6, 6)


def test_the_first_provable_answer_is_enough() -> None:
    nodes = NodeSet((Peer(Unavailable("incomplete")), Peer(2), Peer(3)), 2)
    assert nodes.first(ask, "contents") == 2
    dead = NodeSet((Peer(Unavailable("first")), Peer(Unavailable("last"))), 2)
    with pytest.raises(Unavailable, match="last"):
        dead.first(ask, "contents")
