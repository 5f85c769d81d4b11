"""W11 on a real network: what nodes answer to sent bytes, and what the chain says in the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from solders.keypair import Keypair

from chains.base import BlockRef, BroadcastOutcome, FeeRate, SignedTx
from chains.solana.address import encode58
from core.errors import Unavailable
from tests.support.faults import (
    Body,
    Close,
    Error,
    Fault,
    Huge,
    Reset,
    Result,
    Rewritten,
    Status,
    Truncated,
    WrongId,
)
from tests.support.proxy import FaultProxy
from tests.support.solana import HOT
from tests.support.solana_town import Town, start_town

ACCEPTED, KNOWN = BroadcastOutcome.ACCEPTED, BroadcastOutcome.ALREADY_KNOWN
REJECTED, UNKNOWN = BroadcastOutcome.REJECTED, BroadcastOutcome.UNKNOWN
_COIN = 10**9
_WAIT_S = 20


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    """Start a network whose slots pass by the clock: bytes run as they come."""
    with start_town(manual=False) as started:
        yield started


def _until(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def _open_ticket(town: Town) -> str:
    found: list[str] = []

    def is_there() -> bool:
        try:
            found[:] = [town.ticket()]
        except Unavailable:
            return False
        now = town.node.nonce(found[0].partition(":")[0])
        return found[0].endswith(f":{now}")

    _until(is_there)
    return found[0]


def _payment(town: Town, *, amount: int = _COIN, rate: int = 5) -> SignedTx:
    intent = town.intent(HOT, Keypair().pubkey(), amount)
    unsigned = town.chain.build(
        replace(intent, fee_max=_COIN),
        nonce=0, rate=FeeRate(rate, rate), units=2, ticket=_open_ticket(town),
    )  # fmt: skip
    return town.signed(unsigned, HOT)


def _lands(town: Town, signed: SignedTx) -> None:
    _until(lambda: town.chain.tx_status(signed.tx_id).block is not None)


def test_W11_the_same_bytes_again_are_already_known_before_and_after_they_are_final(
    town: Town,
) -> None:
    direct, signed = town.open(town.node.url), _payment(town)

    assert direct.broadcast(signed.raw).outcome is ACCEPTED
    assert direct.broadcast(signed.raw).outcome is KNOWN
    _until(lambda: town.chain.tx_status(signed.tx_id).known)
    _lands(town, signed)
    assert direct.broadcast(signed.raw).outcome is KNOWN
    assert town.chain.tx_status(signed.tx_id).effect_amount == _COIN


def test_W11_a_signature_of_nobody_is_rejected_and_bytes_that_are_no_transaction(
    town: Town,
) -> None:
    direct, signed = town.open(town.node.url), _payment(town)
    forged = signed.raw[:5] + bytes((signed.raw[5] ^ 1,)) + signed.raw[6:]

    for raw in (forged, b"", b"\x00", b"\x01" + bytes(70), signed.raw[:-3], bytes(1_300)):
        assert direct.broadcast(raw).outcome is REJECTED, raw[:8]
    assert direct.broadcast(signed.raw).outcome is ACCEPTED
    _lands(town, signed)


def test_W11_a_node_may_take_what_can_never_land_and_the_chain_says_that_its_ticket_is_used(
    town: Town,
) -> None:
    """Nodes drop it silently, here and on the real network: their word is not what counts."""
    direct, ticket = town.open(town.node.url), _open_ticket(town)
    first, second = _payment(town), _payment(town, rate=9)
    assert direct.broadcast(first.raw).outcome is ACCEPTED
    assert direct.broadcast(second.raw).outcome in (ACCEPTED, UNKNOWN)
    _lands(town, first)
    direct.broadcast(second.raw)

    assert town.chain.tx_status(second.tx_id).block is None
    head = town.chain.head()
    assert town.chain.spent_coins([ticket], head) == {ticket}


def test_W11_what_fails_on_chain_is_accepted_and_told_as_failed(town: Town) -> None:
    """No node runs it first: it lands, costs its fee, and its ticket is used."""
    signed, ticket = _payment(town, amount=10**17), _open_ticket(town)
    assert town.chain.broadcast(signed.raw).outcome is ACCEPTED
    _lands(town, signed)

    status = town.chain.tx_status(signed.tx_id)
    assert (status.succeeded, status.effect_amount) == (False, 0)
    assert status.fee > 0
    assert town.chain.spent_coins([ticket], town.chain.head()) == {ticket}


FAULTS: dict[str, Fault] = {
    "closed after the work": Close(after_forwarding=True),
    "closed before": Close(),
    "reset after the work": Reset(after_forwarding=True),
    "503 after the work": Status(503, after_forwarding=True),
    "429": Status(429),
    "cut short": Truncated(),
    "cut short with an honest length": Truncated(honest_length=True),
    "a page": Body(b"<html>please log in</html>"),
    "another request's": WrongId(),
    "null": Result(None),
    "another signature": Result(encode58(bytes(range(64)))),
    "a list": Rewritten(lambda _, result: [result]),
    "blockhash not found, yet done": Error(
        -32_002, "Transaction simulation failed: Blockhash not found", after_forwarding=True
    ),
    "insufficient funds, yet done": Error(
        -32_002, "Transaction results in an account with insufficient funds", after_forwarding=True
    ),
    "unhealthy": Error(-32_005, "Node is behind by 42 slots"),
    "words nobody has heard": Error(-32_099, "done by magic", after_forwarding=True),
    "huge": Huge(70 << 20),
}


@pytest.mark.parametrize("case", FAULTS)
def test_W11_an_unclear_answer_is_unknown_and_the_chain_tells_later(town: Town, case: str) -> None:
    signed = _payment(town)
    with FaultProxy(town.front.url) as proxy:
        chain = town.open(proxy.url)
        rule = proxy.add(FAULTS[case], "sendTransaction")
        assert chain.broadcast(signed.raw).outcome is UNKNOWN
        assert rule.count == 1, "the bytes are sent once, never repeated by the client itself"
        rule.stop()
        # Some of the faults kept the bytes from the node; sending them again is always right.
        assert chain.broadcast(signed.raw).outcome in (ACCEPTED, KNOWN)
        _lands(town, signed)
        assert chain.tx_status(signed.tx_id).effect_amount == _COIN


def test_W11_one_node_that_took_the_bytes_is_enough(town: Town) -> None:
    signed = _payment(town)
    with FaultProxy(town.node.url) as refusing, FaultProxy(town.node.url) as silent:
        refusing.add(Error(-32_602, "failed to deserialize"), "sendTransaction")
        silent.add(Close(), "sendTransaction")
        assert town.open(refusing.url).broadcast(signed.raw).outcome is REJECTED
        assert town.open(silent.url, refusing.url).broadcast(signed.raw).outcome is UNKNOWN
        three = town.open(refusing.url, silent.url, town.node.url)
        assert three.broadcast(signed.raw).outcome is ACCEPTED
    _lands(town, signed)


LIES: dict[str, tuple[str, Fault]] = {
    "another fee": (
        "getTransaction",
        Rewritten(lambda _, page: page and _with_meta(page, postBalances=_raised(page))),
    ),
    "a failure that was none": (
        "getTransaction",
        Rewritten(lambda _, page: page and _with_meta(page, err={"InstructionError": [3, "x"]})),
    ),
    "another block": (
        "getBlock",
        Rewritten(lambda _, page: page and {**page, "blockhash": encode58(bytes(32))}),
    ),
    "never heard of it": ("getSignatureStatuses", Result({"context": {}, "value": [None]})),
}


def _with_meta(page: dict[str, object], **changes: object) -> dict[str, object]:
    meta = page["meta"]
    assert isinstance(meta, dict)
    return {**page, "meta": {**meta, **changes}}


def _raised(page: dict[str, object]) -> list[int]:
    meta = page["meta"]
    assert isinstance(meta, dict)
    first, *rest = meta["postBalances"]
    return [first - 1, *rest]


@pytest.mark.parametrize("case", LIES)
def test_N02_a_node_that_lies_about_a_payment_is_contradicted(town: Town, case: str) -> None:
    method, lie = LIES[case]
    signed = _payment(town)
    town.chain.broadcast(signed.raw)
    _lands(town, signed)
    honest = town.chain.tx_status(signed.tx_id)
    with FaultProxy(town.front.url) as proxy:
        rule = proxy.add(lie, method)
        alone = town.open(proxy.url).tx_status(signed.tx_id)
        with pytest.raises(Unavailable, match="nodes_disagree"):
            town.open(proxy.url, town.front.url).tx_status(signed.tx_id)
        assert rule.count

    assert alone != honest
    assert town.open(town.front.url, town.front.url).tx_status(signed.tx_id) == honest


NONSENSE: dict[str, tuple[str, Fault]] = {
    "null": ("getMultipleAccounts", Result(None)),
    "no context": ("getMultipleAccounts", Result({"value": []})),
    "too few accounts": ("getMultipleAccounts", Result({"context": {"slot": 1}, "value": []})),
    "too many accounts": (
        "getMultipleAccounts",
        Rewritten(lambda _, page: {**page, "value": page["value"] * 2}),
    ),
    "no base64": (
        "getMultipleAccounts",
        Rewritten(
            lambda _, page: {
                **page,
                "value": [each and {**each, "data": ["!", "base64"]} for each in page["value"]],
            }
        ),
    ),
    "negative coins": (
        "getMultipleAccounts",
        Rewritten(
            lambda _, page: {
                **page, "value": [each and {**each, "lamports": -1} for each in page["value"]],
            }
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NONSENSE)
def test_an_answer_that_is_none_is_unavailable(town: Town, case: str) -> None:
    method, fault = NONSENSE[case]
    with FaultProxy(town.front.url) as proxy:
        chain = town.open(proxy.url)
        head = town.chain.head()
        assert chain.tickets(str(HOT.pubkey()), BlockRef(head.height, head.hash))
        rule = proxy.add(fault, method)
        with pytest.raises(Unavailable):
            chain.tickets(str(HOT.pubkey()), BlockRef(head.height, head.hash))
        assert rule.count
