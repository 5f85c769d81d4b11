"""What a child pays for a payment to us that pays too little, and when fees are cheap."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.bitcoin import fees
from chains.bitcoin.node import BitcoinNode
from chains.bitcoin.package import COUNT_MAX, SIZE_MAX, Package, package_of, plan_child_fee, submit
from chains.rpc import RpcClient
from core.errors import Reason, Refused, Unavailable

ENTRY = {
    "ancestorcount": 2, "ancestorsize": 300, "descendantcount": 1, "descendantsize": 150,
    "fees": {"ancestor": 0.00000301},
}  # fmt: skip


def node_saying(result: object, error: object = None) -> BitcoinNode:
    """Return a node that answers everything alike."""

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"id": 0, "result": result, "error": error})

    transport = httpx.MockTransport(answer)
    return BitcoinNode(RpcClient("http://node", attempts=1, transport=transport))


@given(
    size=st.integers(100, 90_000),
    parent_rate=st.integers(0, 50),
    child=st.integers(100, 500),
    rate=st.integers(1, 200),
)
def test_the_package_earns_the_wished_rate_and_no_more(
    size: int, parent_rate: int, child: int, rate: int
) -> None:
    package = Package(1, size, parent_rate * size, 1, size)
    if parent_rate >= rate:
        with pytest.raises(Refused):
            plan_child_fee(package, child, rate)
        return
    fee = plan_child_fee(package, child, rate)
    assert package.fee + fee == rate * (size + child)
    assert fee >= child * fees.RELAY_STEP


@pytest.mark.parametrize(
    "package",
    [
        Package(COUNT_MAX, 5_000, 0, 1, 200),
        Package(1, SIZE_MAX - 100, 0, 1, 200),
        Package(1, 200, 0, COUNT_MAX, 5_000),
        Package(1, 200, 0, 2, SIZE_MAX - 100),
    ],
)
def test_a_child_beyond_the_limits_of_nodes_is_not_planned(package: Package) -> None:
    with pytest.raises(Refused) as refused:
        plan_child_fee(package, 110, 10)
    assert refused.value.reason is Reason.TOO_LARGE
    assert plan_child_fee(Package(COUNT_MAX - 1, 5_000, 0, 1, 200), 110, 10)


def test_a_package_is_read_to_the_unit() -> None:
    assert package_of(node_saying(ENTRY), "ab" * 32) == Package(2, 300, 301, 1, 150)


@pytest.mark.parametrize(
    "changes",
    [
        {"ancestorcount": 0}, {"ancestorsize": "300"}, {"descendantsize": None},
        {"fees": None}, {"fees": {}}, {"fees": {"ancestor": -1}}, {"fees": {"ancestor": "many"}},
        {"fees": {"ancestor": 1e-9}}, {"fees": {"ancestor": True}}, {"fees": {"ancestor": 1e300}},
    ],
)  # fmt: skip
def test_an_entry_that_makes_no_sense_is_no_answer(changes: dict[str, object]) -> None:
    with pytest.raises(Unavailable):
        package_of(node_saying(ENTRY | changes), "ab" * 32)


def test_what_does_not_wait_has_no_package() -> None:
    with pytest.raises(Unavailable):
        package_of(node_saying(None, {"code": -5, "message": "Transaction not in mempool"}), "ab")


def test_what_a_node_says_of_a_package_is_told_by_transaction() -> None:
    good: dict[str, object] = {"aa": {"txid": "11"}, "bb": {"txid": "22"}}
    assert submit(node_saying({"tx-results": good}), [b"1", b"2"]) == {}
    bad = good | {"bb": {"txid": "22", "error": "dust"}}
    assert submit(node_saying({"tx-results": bad}), [b"1", b"2"]) == {"22": "dust"}
    refused = node_saying(None, {"code": -25, "message": "package topology disallowed"})
    assert "topology" in submit(refused, [b"1"])["package"]
    for nonsense in (None, 7, {"tx-results": None}):
        with pytest.raises(Unavailable):
            submit(node_saying(nonsense), [b"1"])
