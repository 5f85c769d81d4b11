"""What the reader sees of a real node: threat cases D01–D15, each with a control that was paid."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chains.base import NATIVE, Payment
from chains.evm.chain import EvmChain
from core.errors import Corrupt, Unavailable
from infra.devnet.deploy import Deployer
from infra.devnet.nodes import AnvilNode
from tests.support.evm import ETHER, Opener, brief, listed, minted, payments_of, watched_address

ALICE, BOB, CAROL = (watched_address(number) for number in (1, 2, 3))
WATCHED = {ALICE, BOB, CAROL}


@pytest.fixture
def chain(anvil: AnvilNode, open_on: Opener) -> EvmChain:
    """Open the test's node without listed tokens."""
    return open_on(anvil.url)


def native_balance(anvil: AnvilNode, address: str) -> int:
    """Return the node's own word on a balance now."""
    return int(anvil.call("eth_getBalance", address, "latest"), 16)


def test_a_plain_payment_is_seen_once_with_its_sender(
    chain: EvmChain, anvil: AnvilNode, contracts: Deployer
) -> None:
    sent = contracts.pay(ALICE, 5 * ETHER)
    assert payments_of(chain, anvil, sent, WATCHED) == [
        Payment(
            tx_id=sent,
            position="tx",
            asset_key=NATIVE,
            to_address=ALICE,
            from_address=contracts.accounts[0],
            amount=5 * ETHER,
            claimed=5 * ETHER,
        )
    ]
    assert payments_of(chain, anvil, sent, {BOB}) == []


@pytest.mark.parametrize(
    ("function", "gas"),
    [
        ("payThenRevert", 500_000),
        ("payInsideARevertingFrame", None),
        ("paySucceedingInsideReverting", None),
    ],
)
def test_D04_reverted_inner_payments_are_not_payments(
    chain: EvmChain, anvil: AnvilNode, contracts: Deployer, function: str, gas: int | None
) -> None:
    payer = contracts.deploy("Payer")
    sent = payer.send(function, ALICE, ETHER, value=ETHER, gas=gas)
    status = int(anvil.call("eth_getTransactionReceipt", sent)["status"], 16)
    assert status == (0 if function == "payThenRevert" else 1)
    frames = str(anvil.call("debug_traceTransaction", sent, {"tracer": "callTracer"}))
    assert ALICE.lower() in frames, "the stimulus: a frame that paid and was undone"
    assert payments_of(chain, anvil, sent, WATCHED) == []
    assert native_balance(anvil, ALICE) == 0


def test_D04_control_inner_payments_that_hold_are_seen_in_their_order(
    chain: EvmChain, anvil: AnvilNode, contracts: Deployer
) -> None:
    payer = contracts.deploy("Payer")
    sent = payer.send("pay", [ALICE, BOB, CAROL], [1, 2, 3], value=6)
    assert brief(payments_of(chain, anvil, sent, WATCHED)) == [
        ("trace:0", ALICE, 1, None),
        ("trace:1", BOB, 2, None),
        ("trace:2", CAROL, 3, None),
    ]
    deep = payer.send("payDeep", ALICE, ETHER, 3, value=ETHER)
    assert brief(payments_of(chain, anvil, deep, WATCHED)) == [("trace:0", ALICE, ETHER, None)]
    mixed = payer.send("payOneAndUndoOne", ALICE, BOB, ETHER, value=2 * ETHER)
    assert brief(payments_of(chain, anvil, mixed, WATCHED)) == [("trace:0", ALICE, ETHER, None)]


@pytest.mark.parametrize("form", ["constructor", "inner frame"])
def test_D05_forced_ether_is_unattributed_not_credited(
    chain: EvmChain, anvil: AnvilNode, contracts: Deployer, form: str
) -> None:
    if form == "constructor":
        contracts.deploy("Forcer", ALICE, value=77)
        sent = anvil.call("eth_getBlockByNumber", "latest", False)["transactions"][0]
    else:
        sent = contracts.deploy("ForcerMaker").send("force", ALICE, value=77)
    assert native_balance(anvil, ALICE) == 77
    (payment,) = payments_of(chain, anvil, sent, WATCHED)
    assert (payment.amount, payment.claimed) == (77, 0)
    assert payment.anomaly == "unexplained_balance"
    assert payment.position == f"balance:{ALICE}"


def test_D05_fees_of_the_block_are_unattributed(
    chain: EvmChain, anvil: AnvilNode, contracts: Deployer
) -> None:
    anvil.call("anvil_setCoinbase", BOB)
    sent = contracts.pay(ALICE, 5)
    gained = native_balance(anvil, BOB)
    assert gained > 0
    assert brief(payments_of(chain, anvil, sent, WATCHED)) == [
        ("tx", ALICE, 5, None),
        (f"balance:{BOB}", BOB, gained, "unexplained_balance"),
    ]


def test_D05_a_watched_sender_s_own_spending_explains_itself(
    chain: EvmChain, anvil: AnvilNode, contracts: Deployer
) -> None:
    payer = contracts.deploy("Payer")
    sender = contracts.accounts[1]
    sent = payer.send("pay", [ALICE, sender], [1, 2], sender=sender, value=3)
    failed = payer.send("payThenRevert", ALICE, 9, sender=sender, value=9, gas=400_000)
    watched = {*WATCHED, sender}
    assert brief(payments_of(chain, anvil, sent, watched)) == [
        ("trace:0", ALICE, 1, None),
        ("trace:1", sender, 2, None),
    ]
    assert payments_of(chain, anvil, failed, watched) == []


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        ("fourTopics", 1),
        ("dataOfLength", 0),
        ("dataOfLength", 31),
        ("dataOfLength", 33),
        ("dirtyRecipient", 5),
        ("nothingIndexed", 5),
    ],
)
def test_events_that_only_look_like_transfers_are_not_payments(
    chain: EvmChain, anvil: AnvilNode, contracts: Deployer, function: str, argument: int
) -> None:
    odd = contracts.deploy("OddLogs")
    sent = odd.send(function, BOB, ALICE, argument)
    assert len(contracts.receipt(sent)["logs"]) == 1
    assert payments_of(chain, anvil, sent, WATCHED) == []
    control = odd.send("dataOfLength", BOB, ALICE, 32)
    assert brief(payments_of(chain, anvil, control, WATCHED)) == [("log:0", ALICE, 1, None)]


def test_D13_zero_value_events_leave_no_trace(
    chain: EvmChain, anvil: AnvilNode, contracts: Deployer
) -> None:
    fake = contracts.deploy("CounterfeitToken", "Tether USD", "USDT")
    sent = fake.send("pretend", BOB, ALICE, 0)
    assert len(contracts.receipt(sent)["logs"]) == 1
    assert payments_of(chain, anvil, sent, WATCHED) == []
    assert payments_of(chain, anvil, contracts.pay(ALICE, 0), WATCHED) == []
    control = fake.send("pretend", BOB, ALICE, 1)
    assert brief(payments_of(chain, anvil, control, WATCHED)) == [("log:0", ALICE, 1, None)]


def test_D14_an_address_without_code_yet_receives_as_any_other(
    chain: EvmChain, anvil: AnvilNode, contracts: Deployer
) -> None:
    creator = contracts.accounts[3]
    first = contracts.deploy("Receiver", 0, sender=creator)
    again = anvil.snapshot()
    wallet = contracts.deploy("Receiver", 0, sender=creator).address
    anvil.revert(again)
    assert anvil.call("eth_getCode", wallet, "latest") == "0x"
    sent = contracts.pay(wallet, ETHER)
    assert brief(payments_of(chain, anvil, sent, {wallet})) == [("tx", wallet, ETHER, None)]
    control = contracts.pay(first.address, ETHER)
    assert payments_of(chain, anvil, control, {wallet}) == []


def test_D15_a_node_of_another_network_stops_the_chain(
    start_node: Callable[..., AnvilNode], open_on: Opener
) -> None:
    ours, other = start_node(), start_node(chain_id=1337)
    chain = open_on(ours.url)
    chain.check_identity()
    assert chain.traits.network.startswith("eip155:31337/0x")
    mixed = open_on(ours.url, other.url)
    with pytest.raises(Corrupt, match="1337"):
        mixed.check_identity()
    # Same number, other genesis: another network all the same.
    twin = start_node(timestamp=1_600_000_000)
    with pytest.raises(Corrupt):
        open_on(ours.url, twin.url).check_identity()


def test_final_is_what_the_chain_says_and_genesis_is_none(
    chain: EvmChain, anvil: AnvilNode
) -> None:
    assert chain.final_head() is None
    anvil.mine(2)
    assert chain.final_head() is None
    anvil.mine(3)
    final = chain.final_head()
    assert final is not None
    assert (final.height, chain.head().height) == (3, 5)
    block = chain.block_at(3)
    assert block is not None
    assert block.ref == final
    above = chain.block_at(4)
    assert above is not None
    assert above.parent_hash == final.hash
    assert chain.block_at(6) is None


def test_R07_a_stalled_final_tag_is_never_replaced(
    start_node: Callable[..., AnvilNode], open_on: Opener
) -> None:
    node = start_node(slots_in_an_epoch=32)
    chain = open_on(node.url)
    node.mine(40)
    assert chain.head().height == 40
    assert chain.final_head() is None
    node.mine(30)
    final = chain.final_head()
    assert final is not None
    assert final.height == 70 - 64


def test_balances_are_read_after_exactly_one_block(
    anvil: AnvilNode, contracts: Deployer, open_on: Opener
) -> None:
    token = minted(contracts, "DemoToken", "Demo Dollar", "USDX", 6)
    chain = open_on(anvil.url, assets=[listed(token.address)])
    before = chain.head()
    contracts.pay(ALICE, 3)
    token.send("transfer", ALICE, 4)
    after = chain.head()
    assert (chain.balance_of(ALICE, NATIVE, before), chain.balance_of(ALICE, NATIVE, after)) == (
        0,
        3,
    )
    assert chain.balance_of(ALICE, token.address, before) == 0
    assert chain.balance_of(ALICE, token.address, after) == 4
    with pytest.raises(Unavailable, match="balance_unreadable"):
        chain.balance_of(ALICE, BOB, after)
