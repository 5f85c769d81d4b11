"""What the reader sees of a real node: threat cases D01–D15, each with a control that was paid."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from chains.base import NATIVE, Payment
from chains.evm.chain import EvmChain
from core.errors import Corrupt, Unavailable
from infra.devnet.deploy import Contract, Deployer
from infra.devnet.nodes import AnvilNode
from tests.support.evm import ETHER, Opener, listed, payments_of, watched_address

ALICE, BOB, CAROL = (watched_address(number) for number in (1, 2, 3))
WATCHED = {ALICE, BOB, CAROL}


@pytest.fixture
def open_on() -> Iterator[Opener]:
    """Return what opens chains; they are closed with the test."""
    with Opener() as opener:
        yield opener


@pytest.fixture
def chain(anvil: AnvilNode, open_on: Opener) -> EvmChain:
    """Open the test's node without listed tokens."""
    return open_on(anvil.url)


def brief(payments: list[Payment]) -> list[tuple[str, str, int, str | None]]:
    """Return (position, recipient, amount, anomaly) of each payment."""
    return [(p.position, p.to_address, p.amount, p.anomaly) for p in payments]


def minted(contracts: Deployer, name: str, *arguments: object) -> Contract:
    """Deploy a token of which its creator has a million units."""
    token = contracts.deploy(name, *arguments)
    token.send("mint", token.creator, 1_000_000)
    return token


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


def test_one_transaction_may_hold_many_token_payments(
    anvil: AnvilNode, contracts: Deployer, open_on: Opener
) -> None:
    token = minted(contracts, "DemoToken", "Demo Dollar", "USDX", 6)
    payer = contracts.deploy("Payer")
    token.send("approve", payer.address, 1_000)
    chain = open_on(anvil.url, assets=[listed(token.address)])
    sent = payer.send("payToken", token.address, [ALICE, BOB, ALICE], [1, 2, 3])
    payments = payments_of(chain, anvil, sent, WATCHED)
    assert [(p.asset_key, p.to_address, p.amount) for p in payments] == [
        (token.address, ALICE, 1),
        (token.address, BOB, 2),
        (token.address, ALICE, 3),
    ]
    assert len({p.position for p in payments}) == 3


def test_the_position_of_a_payment_survives_its_move_to_another_block(
    anvil: AnvilNode, contracts: Deployer, open_on: Opener
) -> None:
    token = minted(contracts, "DemoToken", "Demo Dollar", "USDX", 6)
    chain = open_on(anvil.url, assets=[listed(token.address)])
    snapshot = anvil.snapshot()
    sent = token.send("transfer", ALICE, 7)
    alone = payments_of(chain, anvil, sent, WATCHED)
    raw = anvil.call("eth_getRawTransactionByHash", sent)
    anvil.revert(snapshot)
    # The same transaction again, now behind another event of the same block.
    anvil.call("evm_setAutomine", False)
    second = contracts.accounts[1]
    other = {"from": second, "to": token.address, "data": token.data("approve", BOB, 1)}
    fees = {"maxPriorityFeePerGas": hex(10**11), "maxFeePerGas": hex(10**12)}
    anvil.call("eth_sendTransaction", {**other, "gas": hex(10**5), **fees})
    assert anvil.call("eth_sendRawTransaction", raw) == sent
    anvil.mine()
    receipt = anvil.call("eth_getTransactionReceipt", sent)
    assert receipt["logs"][0]["logIndex"] == "0x1"
    assert payments_of(chain, anvil, sent, WATCHED) == alone


def test_D01_counterfeit_token_is_another_asset(
    anvil: AnvilNode, contracts: Deployer, open_on: Opener
) -> None:
    real = minted(contracts, "DemoToken", "Tether USD", "USDT", 6)
    fake = minted(contracts, "CounterfeitToken", "Tether USD", "USDT")
    chain = open_on(anvil.url, assets=[listed(real.address, "USDT")])
    sent = fake.send("transfer", ALICE, 1_000_000)
    assert [p.asset_key for p in payments_of(chain, anvil, sent, WATCHED)] == [fake.address]
    control = real.send("transfer", ALICE, 1_000)
    assert [p.asset_key for p in payments_of(chain, anvil, control, WATCHED)] == [real.address]


@pytest.mark.parametrize(
    ("form", "delivered"),
    [
        (0, []),
        (1, [("log:0", ALICE, 0, "not_delivered")]),
        (2, [("log:0", ALICE, 50, "delivered_less")]),
    ],
)
def test_D02_token_that_returns_false_counts_for_what_it_moved(
    anvil: AnvilNode,
    contracts: Deployer,
    open_on: Opener,
    form: int,
    delivered: list[tuple[str, str, int, str | None]],
) -> None:
    token = minted(contracts, "FalseToken", form)
    chain = open_on(anvil.url, assets=[listed(token.address, odd=True)])
    sent = token.send("transfer", ALICE, 100)
    assert int(contracts.receipt(sent)["status"], 16) == 1
    payments = payments_of(chain, anvil, sent, WATCHED)
    assert brief(payments) == delivered
    assert all(p.claimed == 100 for p in payments)
    # Control: the same reader credits the same token when it does move.
    control = token.send("mint", ALICE, 30)
    assert brief(payments_of(chain, anvil, control, WATCHED)) == [("log:0", ALICE, 30, None)]


def test_D02_several_claims_share_what_arrived_in_their_order(
    anvil: AnvilNode, contracts: Deployer, open_on: Opener
) -> None:
    token = minted(contracts, "FalseToken", 2)
    chain = open_on(anvil.url, assets=[listed(token.address, odd=True)])
    anvil.call("evm_setAutomine", False)
    sent = [token.send("transfer", ALICE, amount, gas=200_000) for amount in (100, 40, 8)]
    anvil.mine()
    payments = payments_of(chain, anvil, sent[0], WATCHED)
    assert sum(p.claimed for p in payments) == 148
    assert [p.amount for p in payments] == [74, 0, 0]
    assert sum(p.amount for p in payments) == token.ask("balanceOf", ALICE)


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


def test_D04_control_inner_payments_that_hold_are_seen_with_their_path(
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
    assert brief(payments_of(chain, anvil, deep, WATCHED)) == [
        ("trace:0.0.0.0", ALICE, ETHER, None)
    ]
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
    ("honest", "odd", "amount", "anomaly"),
    [
        (False, True, 98, "delivered_less"),
        (True, True, 98, None),
        (True, False, 98, None),
    ],
)
def test_D06_fee_on_transfer_credits_what_arrived(
    anvil: AnvilNode,
    contracts: Deployer,
    open_on: Opener,
    honest: bool,
    odd: bool,
    amount: int,
    anomaly: str | None,
) -> None:
    token = minted(contracts, "FeeToken", honest)
    chain = open_on(anvil.url, assets=[listed(token.address, odd=odd)])
    sent = token.send("transfer", ALICE, 100)
    assert brief(payments_of(chain, anvil, sent, WATCHED)) == [("log:0", ALICE, amount, anomaly)]
    assert token.ask("balanceOf", ALICE) == 98


def test_D06_a_rebase_is_no_payment_and_shrinks_what_odd_tokens_credit(
    anvil: AnvilNode, contracts: Deployer, open_on: Opener
) -> None:
    token = minted(contracts, "RebasingToken")
    chain = open_on(anvil.url, assets=[listed(token.address, odd=True)])
    control = token.send("transfer", ALICE, 100_000)
    assert brief(payments_of(chain, anvil, control, WATCHED)) == [("log:0", ALICE, 100_000, None)]
    up = token.send("rebase", 105, 100)
    assert token.ask("balanceOf", ALICE) == 105_000
    assert payments_of(chain, anvil, up, WATCHED) == []
    anvil.call("evm_setAutomine", False)
    token.send("transfer", ALICE, 1_000, gas=200_000)
    down = token.send("rebase", 95, 100, gas=200_000)
    anvil.mine()
    assert brief(payments_of(chain, anvil, down, WATCHED)) == [("log:0", ALICE, 0, "not_delivered")]


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


def test_an_odd_token_whose_balance_cannot_be_read_delivers_nothing(
    anvil: AnvilNode, contracts: Deployer, open_on: Opener
) -> None:
    """OddLogs has no balanceOf at all: its claim is shown, with nothing delivered."""
    odd = contracts.deploy("OddLogs")
    chain = open_on(anvil.url, assets=[listed(odd.address, odd=True)])
    sent = odd.send("dataOfLength", BOB, ALICE, 32)
    assert brief(payments_of(chain, anvil, sent, WATCHED)) == [
        ("log:0", ALICE, 0, "balance_unreadable")
    ]
