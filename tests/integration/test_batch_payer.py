"""BatchPayer.sol on a node: whatever an item does, the others are paid exactly once."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from eth_abi.abi import decode, encode
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils.crypto import keccak

from infra.devnet.deploy import Contract, Deployer
from infra.devnet.nodes import AnvilNode, RpcRefused
from tests.support.delegating import NO_DELEGATE, delegate
from tests.support.evm import FIRST, SECOND, watched_address

ZERO = "0x" + "00" * 20
PAY = "pay(address,uint256,(address,uint256)[])"
ITEM_GAS = 60_000
ENOUGH = 2_000_000


class Mood(enum.IntEnum):
    """Those of Troublemaker.sol."""

    HONEST = 0
    REVERTS = 1
    SAYS_FALSE = 2
    SAYS_TWO = 3
    SAYS_LITTLE = 4
    BURNS = 5
    ANSWERS_LONG = 6
    REVERTS_LONG = 7
    PAYS_AGAIN = 8
    PAYS_ONE_AGAIN = 9


def call_data(token: str, items: Sequence[tuple[str, int]], item_gas: int = ITEM_GAS) -> str:
    types = ["address", "uint256", "(address,uint256)[]"]
    return "0x" + (keccak(text=PAY)[:4] + encode(types, [token, item_gas, list(items)])).hex()


@dataclass(frozen=True)
class Payer:
    """An account that runs BatchPayer's code."""

    node: AnvilNode
    address: str

    def send(self, data: str, *, sender: str | None = None, gas: int = ENOUGH) -> dict[str, Any]:
        """Send a transaction to the account, by default from itself; return its receipt."""
        sent = self.node.call(
            "eth_sendTransaction",
            {"from": sender or self.address, "to": self.address, "data": data, "gas": hex(gas)},
        )
        self.node.mine()
        receipt: dict[str, Any] = self.node.call("eth_getTransactionReceipt", sent)
        return receipt

    def pay(
        self, token: str, items: Sequence[tuple[str, int]], *, gas: int = ENOUGH,
        item_gas: int = ITEM_GAS,
    ) -> list[bool]:  # fmt: skip
        """Pay and return what the account's events say of each item; [] when all was undone."""
        receipt = self.send(call_data(token, items, item_gas), gas=gas)
        paid = "0x" + keccak(text="ItemPaid(uint256,address,uint256)").hex()
        failed = "0x" + keccak(text="ItemFailed(uint256,address,uint256)").hex()
        own = [log for log in receipt["logs"] if log["address"] == self.address.lower()]
        assert {log["topics"][0] for log in own} <= {paid, failed}
        assert [int(log["topics"][1], 16) for log in own] == list(range(len(own)))
        for log, (to, amount) in zip(own, items, strict=False):
            assert (int(log["topics"][2], 16), int(log["data"], 16)) == (int(to, 16), amount)
        assert (receipt["status"] == "0x1") == (len(own) == len(items))
        return [log["topics"][0] == paid for log in own]

    def balance(self, address: str) -> int:
        return int(self.node.call("eth_getBalance", address, "latest"), 16)


@pytest.fixture
def payer(anvil: AnvilNode, contracts: Deployer) -> Payer:
    code = contracts.deploy("BatchPayer").address
    return Payer(anvil, delegate(anvil, FIRST, code, carrier=SECOND))


@pytest.fixture
def trouble(contracts: Deployer, payer: Payer) -> Contract:
    token = contracts.deploy("Troublemaker")
    token.send("mint", payer.address, 10**12)
    return token


def three(middle: str) -> list[tuple[str, int]]:
    return [(watched_address(1), 5), (middle, 7), (watched_address(2), 9)]


BAD_TOKENS = (
    Mood.REVERTS, Mood.SAYS_FALSE, Mood.SAYS_TWO, Mood.SAYS_LITTLE, Mood.BURNS, Mood.REVERTS_LONG,
)  # fmt: skip


@pytest.mark.parametrize("mood", [Mood.HONEST, *BAD_TOKENS])
def test_a_token_payment_that_fails_undoes_itself_and_no_other(
    mood: Mood, payer: Payer, trouble: Contract
) -> None:
    bad = watched_address(3)
    trouble.send("setMood", mood, bad)
    fails = mood in BAD_TOKENS
    assert payer.pay(trouble.address, three(bad)) == [True, not fails, True]
    balances = [trouble.ask("balanceOf", to) for to, _ in three(bad)]
    assert balances == [5, 0 if fails else 7, 9]
    assert trouble.ask("balanceOf", payer.address) == 10**12 - sum(balances)


@pytest.mark.parametrize("mood", [Mood.HONEST, Mood.REVERTS, Mood.BURNS, Mood.REVERTS_LONG])
def test_a_native_payment_that_fails_undoes_itself_and_no_other(
    mood: Mood, payer: Payer, trouble: Contract
) -> None:
    trouble.send("setMood", mood, trouble.address)
    fails = mood is not Mood.HONEST
    items = three(trouble.address)
    assert payer.pay(ZERO, items) == [True, not fails, True]
    assert [payer.balance(to) for to, _ in items] == [5, 0 if fails else 7, 9]


@pytest.mark.parametrize("token", [True, False])
def test_a_long_answer_is_not_read(token: bool, payer: Payer, trouble: Contract) -> None:
    bad = watched_address(3) if token else trouble.address
    trouble.send("setMood", Mood.ANSWERS_LONG, bad)
    asset = trouble.address if token else ZERO
    # A megabyte costs its maker more than an item's bound; with that much more it is an honest yes.
    assert payer.pay(asset, three(bad)) == [True, False, True]
    assert payer.pay(asset, three(bad), item_gas=5_000_000, gas=16_000_000) == [True, True, True]


@pytest.mark.parametrize("mood", [Mood.PAYS_AGAIN, Mood.PAYS_ONE_AGAIN])
@pytest.mark.parametrize("token", [True, False])
def test_nobody_who_is_paid_can_have_himself_paid_again(
    token: bool, mood: Mood, payer: Payer, trouble: Contract
) -> None:
    bad = watched_address(3) if token else trouble.address
    trouble.send("setMood", mood, bad)
    asset = trouble.address if token else ZERO
    assert payer.pay(asset, three(bad), item_gas=400_000) == [True, True, True]
    assert trouble.ask("entered") == 0
    paid = trouble.ask("balanceOf", bad) if token else payer.balance(bad)
    assert paid == 7


@pytest.mark.parametrize("which", [PAY, "payOne(address,address,uint256)"])
def test_only_the_account_itself_can_ask_it_to_pay(which: str, payer: Payer) -> None:
    stranger = str(Account.from_key(SECOND.secret_hex).address)
    one = encode(["address", "address", "uint256"], [ZERO, stranger, 5])
    data = call_data(ZERO, [(stranger, 5)])
    if which != PAY:
        data = "0x" + (keccak(text=which)[:4] + one).hex()
    before = payer.balance(stranger)
    receipt = payer.send(data, sender=stranger)
    assert receipt["status"] == "0x0"
    assert payer.balance(stranger) < before
    assert payer.send(data)["status"] == "0x1", "the control: the account may"


def test_every_item_has_its_whole_bound_or_nothing_is_paid(
    payer: Payer, contracts: Deployer
) -> None:
    """EIP-150: of what is left a call gets 63/64, so too little gas could fail an item alone."""
    burner = contracts.deploy("Receiver", 2).address
    items = [(burner, 1)] * 6 + [(watched_address(1), 5)]
    outcomes = set()
    needed = 52_000 + len(items) * (ITEM_GAS + 7_000) + ITEM_GAS // 63
    for gas in [*range(200_000, needed, 12_500), needed]:
        found = payer.pay(ZERO, items, gas=gas)
        assert found in ([], [False] * 6 + [True]), f"{gas} gas failed the honest item"
        outcomes.add((gas, bool(found)))
    assert (needed, True) in outcomes, "what the builder gives suffices"
    assert (200_000, False) in outcomes
    assert payer.balance(watched_address(1)) == 5 * sum(paid for _, paid in outcomes)


def test_the_account_takes_what_an_account_without_code_takes(
    payer: Payer, contracts: Deployer, anvil: AnvilNode
) -> None:
    sender = contracts.accounts[2]
    before = payer.balance(payer.address)
    for data, gas in (("0x", 30_000), ("0xfeedbeef", 40_000), ("0x" + "00" * 5, 40_000)):
        transaction = {"from": sender, "to": payer.address, "value": "0x5", "data": data}
        anvil.call("eth_sendTransaction", {**transaction, "gas": hex(gas)})
    anvil.mine()
    assert payer.balance(payer.address) == before + 15
    hooks = {
        "onERC721Received(address,address,uint256,bytes)":
            (["address", "address", "uint256", "bytes"], [sender, sender, 1, b""]),
        "onERC1155Received(address,address,uint256,uint256,bytes)":
            (["address", "address", "uint256", "uint256", "bytes"], [sender, sender, 1, 1, b""]),
    }  # fmt: skip
    for name, (types, values) in hooks.items():
        selector = keccak(text=name)[:4]
        data = "0x" + (selector + encode(types, values)).hex()
        answer = anvil.call("eth_call", {"from": sender, "to": payer.address, "data": data})
        assert bytes.fromhex(answer[2:])[:4] == selector


def test_the_accounts_own_key_still_signs_for_it(payer: Payer, anvil: AnvilNode) -> None:
    message = encode_defunct(text="ours")
    digest = keccak(b"\x19E" + message.header + message.body)
    answers = []
    for key in (FIRST, SECOND):
        signature = bytes(Account.sign_message(message, key.secret_hex).signature)
        data = keccak(text="isValidSignature(bytes32,bytes)")[:4]
        data += encode(["bytes32", "bytes"], [digest, signature])
        answer = anvil.call("eth_call", {"to": payer.address, "data": "0x" + data.hex()})
        answers.append(decode(["bytes4"], bytes.fromhex(answer[2:]))[0].hex())
    assert answers == ["1626ba7e", "ffffffff"]


def test_a_batch_touches_no_storage(payer: Payer, anvil: AnvilNode, trouble: Contract) -> None:
    data = call_data(trouble.address, three(watched_address(3)))
    trace = anvil.call(
        "debug_traceCall",
        {"from": payer.address, "to": payer.address, "data": data, "gas": hex(ENOUGH)},
        "latest",
        {"tracer": "prestateTracer", "tracerConfig": {"diffMode": True}},
    )
    changed = {owner for owner, state in trace["post"].items() if state.get("storage")}
    assert changed == {trouble.address.lower()}


def test_an_account_that_runs_no_code_pays_nothing_and_says_nothing(payer: Payer) -> None:
    items = three(watched_address(3))
    assert payer.pay(ZERO, items) == [True] * 3
    delegate(payer.node, FIRST, NO_DELEGATE, carrier=SECOND)
    receipt = payer.send(call_data(ZERO, items))
    assert (receipt["status"], receipt["logs"]) == ("0x1", [])
    assert [payer.balance(to) for to, _ in items] == [5, 7, 9]


def test_the_code_alone_owns_nothing_and_pays_nobody(contracts: Deployer, anvil: AnvilNode) -> None:
    code = contracts.deploy("BatchPayer")
    with pytest.raises(RpcRefused):
        anvil.call(
            "eth_call",
            {"from": contracts.accounts[0], "to": code.address,
             "data": call_data(ZERO, [(watched_address(1), 1)])},
        )  # fmt: skip
