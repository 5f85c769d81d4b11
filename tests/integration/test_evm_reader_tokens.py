"""Tokens as they are: cases D01, D02, D06, each with a control that was credited."""

from __future__ import annotations

import pytest

from infra.devnet.deploy import Deployer
from infra.devnet.nodes import AnvilNode
from tests.support.evm import Opener, brief, listed, minted, payments_of, watched_address

ALICE, BOB, CAROL = (watched_address(number) for number in (1, 2, 3))
WATCHED = {ALICE, BOB, CAROL}


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
    moved = [chain.tx_status(tx_id).effect_amount for tx_id in sent]
    assert moved == [74, 0, 0], "our own transfers share the same way"


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
