"""Each fault reaches the client, is counted, and does to the real node what it says."""

from __future__ import annotations

import http.client
import itertools
import json
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest

from infra.devnet.nodes import AnvilNode, RpcRefused, call
from tests.support.faults import (
    Body,
    Close,
    Error,
    Fault,
    Hang,
    Huge,
    Reset,
    Result,
    Rewritten,
    Routed,
    Slow,
    Status,
    Truncated,
    WrongId,
)
from tests.support.proxy import FaultProxy

NOBODY = "0x" + "11" * 20


def post(url: str, body: Any, *, timeout_s: float = 10) -> tuple[int, dict[str, str], bytes]:
    """Send a body and return status, headers and bytes."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
    with closing(connection):
        connection.request("POST", "/", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()


def request(method: str, *params: object, number: int = 1) -> dict[str, Any]:
    """Return a JSON-RPC request."""
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}


def set_balance(wei: int) -> dict[str, Any]:
    """Return a request whose effect on the node can be seen."""
    return request("anvil_setBalance", NOBODY, hex(wei))


def balance(node: AnvilNode) -> int:
    """Return what the node itself says, not the proxy."""
    return int(node.call("eth_getBalance", NOBODY, "latest"), 16)


def test_without_rules_the_node_answers_through_the_proxy(
    anvil: AnvilNode, proxy: FaultProxy
) -> None:
    anvil.mine(3)
    assert call(proxy.url, "eth_blockNumber") == "0x3"
    with pytest.raises(RpcRefused, match="eth_noSuchThing"):
        call(proxy.url, "eth_noSuchThing")
    assert proxy.received == {"eth_blockNumber": 1, "eth_noSuchThing": 1}
    assert proxy.forwarded == proxy.received


BROKEN: list[tuple[Callable[[bool], Fault], type[Exception]]] = [
    (lambda after: Close(after_forwarding=after), http.client.RemoteDisconnected),
    (lambda after: Reset(after_forwarding=after), ConnectionResetError),
    (lambda after: Hang(after_forwarding=after), TimeoutError),
]


@pytest.mark.parametrize(("fault", "error"), BROKEN)
@pytest.mark.parametrize("after", [False, True])
def test_a_broken_connection_hides_whether_the_node_did_the_work(
    anvil: AnvilNode,
    proxy: FaultProxy,
    fault: Callable[[bool], Fault],
    error: type[Exception],
    after: bool,
) -> None:
    rule = proxy.add(fault(after), "anvil_setBalance", times=1)
    with pytest.raises(error):
        post(proxy.url, set_balance(5), timeout_s=0.3)
    assert rule.count == 1
    assert proxy.forwarded["anvil_setBalance"] == int(after)
    assert balance(anvil) == (5 if after else 0)
    post(proxy.url, set_balance(6))
    assert (rule.count, balance(anvil)) == (1, 6)


@pytest.mark.parametrize("after", [False, True])
def test_an_error_or_a_status_hides_it_too(
    anvil: AnvilNode, proxy: FaultProxy, after: bool
) -> None:
    error = proxy.add(
        Error(-32000, "nonce too low", data="0x", after_forwarding=after), "anvil_setBalance"
    )
    with pytest.raises(RpcRefused, match="nonce too low") as refusal:
        call(proxy.url, "anvil_setBalance", NOBODY, "0x5")
    assert (refusal.value.code, refusal.value.error["data"]) == (-32000, "0x")
    assert balance(anvil) == (5 if after else 0)
    error.stop()
    status = proxy.add(Status(503, retry_after_s=7, after_forwarding=after), "anvil_setBalance")
    code, headers, _ = post(proxy.url, set_balance(6))
    assert (code, headers["Retry-After"]) == (503, "7")
    assert balance(anvil) == (6 if after else 0)
    assert (error.count, status.count) == (1, 1)


@pytest.mark.parametrize("code", [429, 500, 502])
def test_a_status_is_given_as_asked(proxy: FaultProxy, code: int) -> None:
    rule = proxy.add(Status(code))
    assert post(proxy.url, request("eth_blockNumber"))[0] == code
    assert rule.count == 1


def test_a_result_is_given_without_asking_the_node(proxy: FaultProxy) -> None:
    null = proxy.add(Result(None), "eth_getTransactionReceipt")
    other = proxy.add(Result("0xff"), "eth_blockNumber")
    assert call(proxy.url, "eth_getTransactionReceipt", "0x" + "00" * 32) is None
    assert call(proxy.url, "eth_blockNumber") == "0xff"
    assert (null.count, other.count) == (1, 1)
    assert not proxy.forwarded


def test_a_truncated_answer_breaks_off(proxy: FaultProxy) -> None:
    rule = proxy.add(Truncated(keep_bytes=15), times=1)
    honest = proxy.add(Truncated(keep_bytes=15, honest_length=True))
    with pytest.raises(http.client.IncompleteRead):
        post(proxy.url, request("eth_blockNumber"))
    status, headers, body = post(proxy.url, request("eth_blockNumber"))
    assert (status, headers["Content-Length"], len(body)) == (200, "15", 15)
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)
    assert (rule.count, honest.count) == (1, 1)


def test_a_body_is_given_as_it_is(proxy: FaultProxy) -> None:
    page = b"<html>please sign in</html>"
    rule = proxy.add(Body(page))
    assert post(proxy.url, request("eth_blockNumber"))[2] == page
    assert rule.count == 1


def test_a_slow_answer_is_right_but_late(anvil: AnvilNode, proxy: FaultProxy) -> None:
    rule = proxy.add(Slow(0.3), "eth_chainId")
    began = time.monotonic()
    assert call(proxy.url, "eth_chainId") == "0x7a69"
    assert time.monotonic() - began >= 0.3
    with pytest.raises(TimeoutError):
        call(proxy.url, "eth_chainId", timeout_s=0.1)
    assert rule.count == 2


def test_a_rewritten_result_counts_only_when_it_changed(
    anvil: AnvilNode, proxy: FaultProxy
) -> None:
    def hide_odd(params: Any, result: Any) -> Any:
        if int(params[0], 16) % 2:
            result["transactions"].append("0xlie")
        return result

    rule = proxy.add(Rewritten(hide_odd), "eth_getBlockByNumber")
    anvil.mine(2)
    for height in ("0x1", "0x2"):
        told = call(proxy.url, "eth_getBlockByNumber", height, False)
        true = anvil.call("eth_getBlockByNumber", height, False)
        assert (told == true) is (height == "0x2")
    assert rule.count == 1


def test_a_call_is_routed_to_another_node(
    anvil: AnvilNode, proxy: FaultProxy, start_node: Callable[..., AnvilNode]
) -> None:
    other = start_node()
    anvil.mine(1)
    other.mine(4)
    rule = proxy.add(Routed(other.url), "eth_blockNumber", when=lambda params: not params, times=1)
    assert call(proxy.url, "eth_blockNumber") == "0x4"
    assert call(proxy.url, "eth_blockNumber") == "0x1"
    assert rule.count == 1


def test_a_huge_reply_is_huge(proxy: FaultProxy) -> None:
    rule = proxy.add(Huge(5_000_000))
    assert len(call(proxy.url, "eth_blockNumber")) == 5_000_002
    assert rule.count == 1


def test_an_answer_comes_under_another_s_id(proxy: FaultProxy) -> None:
    rule = proxy.add(WrongId())
    answer = json.loads(post(proxy.url, request("eth_chainId", number=9))[2])
    assert (answer["id"], answer["result"]) == ("somebody-else", "0x7a69")
    assert rule.count == 1


def test_a_rule_skips_counts_down_and_looks_at_params(proxy: FaultProxy) -> None:
    rule = proxy.add(
        Result("0xbad"), "eth_getBalance", when=lambda params: params[0] == NOBODY, skip=1, times=2
    )
    someone = "0x" + "22" * 20
    told = [
        call(proxy.url, "eth_getBalance", address, "latest")
        for address in (NOBODY, someone, NOBODY, NOBODY, NOBODY)
    ]
    assert told == ["0x0", "0x0", "0xbad", "0xbad", "0x0"]
    rule.wait(2)
    with pytest.raises(AssertionError, match="happened 2 times, not 3"):
        rule.wait(3, timeout_s=0.01)


def test_the_first_rule_that_fits_decides_and_cleared_rules_do_not(proxy: FaultProxy) -> None:
    first = proxy.add(Result("0x1"), "eth_chainId")
    second = proxy.add(Result("0x2"))
    assert call(proxy.url, "eth_chainId") == "0x1"
    assert call(proxy.url, "eth_blockNumber") == "0x2"
    proxy.clear()
    assert call(proxy.url, "eth_chainId") == "0x7a69"
    assert (first.count, second.count) == (1, 1)


def test_in_a_batch_each_call_is_treated_by_itself(proxy: FaultProxy) -> None:
    rule = proxy.add(Result("0xbad"), "eth_blockNumber")
    batch = [request("eth_chainId", number=1), request("eth_blockNumber", number=2)]
    answers = json.loads(post(proxy.url, batch)[2])
    assert [(a["id"], a["result"]) for a in answers] == [(1, "0x7a69"), (2, "0xbad")]
    proxy.add(Status(500), "eth_chainId")
    assert post(proxy.url, batch)[0] == 500
    assert rule.count == 1


def test_a_connection_kept_open_serves_several_calls(proxy: FaultProxy) -> None:
    parts = urlsplit(proxy.url)
    assert parts.hostname is not None
    with closing(http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)) as connection:
        for number in itertools.count(1):
            connection.request("POST", "/", json.dumps(request("eth_chainId", number=number)))
            assert json.loads(connection.getresponse().read())["id"] == number
            if number == 3:
                break
        proxy.go_down()
        connection.auto_open = 0
        with pytest.raises((http.client.HTTPException, OSError)):  # noqa: PT012
            connection.request("POST", "/", json.dumps(request("eth_chainId")))
            connection.getresponse()


def test_a_proxy_that_is_down_refuses_and_comes_back_on_the_same_port(proxy: FaultProxy) -> None:
    url = proxy.url
    proxy.go_down()
    with pytest.raises(ConnectionRefusedError):
        call(url, "eth_chainId")
    proxy.come_up()
    assert proxy.url == url
    assert call(url, "eth_chainId") == "0x7a69"


def test_going_down_ends_a_call_that_hangs(proxy: FaultProxy) -> None:
    proxy.add(Hang())
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        call(proxy.url, "eth_chainId", timeout_s=0.2)
    proxy.go_down()
    proxy.come_up()
    assert time.monotonic() - began < 5


def test_a_dead_node_behind_the_proxy_is_a_bad_gateway(anvil: AnvilNode, proxy: FaultProxy) -> None:
    rule = proxy.add(Slow(0), "eth_chainId")
    anvil.stop()
    assert post(proxy.url, request("eth_chainId"))[0] == 502
    assert rule.count == 0


def test_a_fault_that_itself_fails_is_reported_at_the_end(anvil: AnvilNode) -> None:
    def broken(params: Any, result: Any) -> Any:
        raise ZeroDivisionError

    proxy = FaultProxy(anvil.url)
    proxy.add(Rewritten(broken))
    with pytest.raises(http.client.HTTPException):
        call(proxy.url, "eth_chainId")
    with pytest.raises(AssertionError, match="the proxy itself failed"):
        proxy.stop()
