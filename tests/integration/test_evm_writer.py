"""The road out on a real node: build, decode, sign, send, follow; and every answer a node gives."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_account import Account

from chains.base import (
    NATIVE,
    BroadcastOutcome,
    FeeRate,
    SignedTx,
    SpendIntent,
    SpendKind,
    TxStatus,
)
from chains.evm.chain import EvmChain, WouldRevert
from core.errors import Unavailable
from infra.devnet.deploy import Contract, Deployer
from infra.devnet.nodes import AnvilNode
from tests.support.evm import ETHER, FIRST, GWEI, DevKey, Opener, listed, withdrawal
from tests.support.evm import watched_address as address
from tests.support.faults import Close, Error, Reset, Result, Rewritten, Status, Truncated
from tests.support.proxy import FaultProxy

ACCEPTED, KNOWN, REJECTED, UNKNOWN = BroadcastOutcome


@pytest.fixture
def chain(anvil: AnvilNode, open_on: Opener) -> EvmChain:
    """Open the test's node."""
    return open_on(anvil.url)


def nonce_of(chain: EvmChain, key: DevKey = FIRST) -> int:
    """Return the next nonce in the state after the head."""
    return chain.used_nonces(chain.address_of(key.public_key), chain.head())


def signed(
    chain: EvmChain, intent: SpendIntent, *, nonce: int, rate: FeeRate, key: DevKey = FIRST
) -> SignedTx:
    """Build, check by the decoder, sign and assemble."""
    unsigned = chain.build(intent, nonce=nonce, rate=rate, units=chain.fee_units(intent))
    decoded = chain.decode(unsigned.payload, sender=intent.source)
    assert decoded.digest == unsigned.digest
    assert decoded.fee_max == unsigned.fee_max <= intent.fee_max
    (effect,) = decoded.effects
    assert (effect.asset_key, effect.destination) == (intent.asset_key, intent.destination)
    assert effect.amount == intent.amount
    return chain.assemble(unsigned, key.sign(unsigned.digest))


def raw_of(**fields: object) -> bytes:
    """Sign a transaction with eth-account, so that its fields may be wrong."""
    base: dict[str, object] = {
        "type": 2,
        "chainId": 31_337,
        "nonce": 0,
        "gas": 21_000,
        "maxFeePerGas": 10 * GWEI,
        "maxPriorityFeePerGas": 1,
        "to": address(9),
        "value": 1,
    }
    account = Account.from_key(FIRST.secret_hex)
    return bytes(account.sign_transaction({**base, **fields}).raw_transaction)


def test_a_withdrawal_of_native_coin_goes_the_whole_way(chain: EvmChain, anvil: AnvilNode) -> None:
    intent = withdrawal(chain, address(1), 3 * ETHER)
    nonce = nonce_of(chain)
    tx = signed(chain, intent, nonce=nonce, rate=chain.fee_rate())
    assert chain.tx_status(tx.tx_id) == TxStatus(known=False)
    anvil.call("evm_setAutomine", False)
    assert chain.broadcast(tx.raw).outcome is ACCEPTED
    assert chain.tx_status(tx.tx_id) == TxStatus(known=True)
    anvil.mine()
    status = chain.tx_status(tx.tx_id)
    assert status.block == chain.head()
    assert (status.succeeded, status.effect_amount) == (True, 3 * ETHER)
    receipt = anvil.call("eth_getTransactionReceipt", tx.tx_id)
    paid = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
    assert status.fee == paid > 0
    assert chain.balance_of(address(1), NATIVE, chain.head()) == 3 * ETHER
    assert nonce_of(chain) == nonce + 1


def test_a_withdrawal_of_a_token_goes_the_whole_way(
    anvil: AnvilNode, contracts: Deployer, open_on: Opener
) -> None:
    token = contracts.deploy("DemoToken", "Demo Dollar", "USDX", 6)
    chain = open_on(anvil.url, assets=[listed(token.address)])
    intent = withdrawal(chain, address(1), 700, asset_key=token.address)
    token.send("mint", intent.source, 1_000)
    tx = signed(chain, intent, nonce=nonce_of(chain), rate=chain.fee_rate())
    assert chain.broadcast(tx.raw).outcome is ACCEPTED
    anvil.mine()
    status = chain.tx_status(tx.tx_id)
    assert (status.succeeded, status.effect_amount) == (True, 700)
    assert token.ask("balanceOf", address(1)) == 700


def test_a_reverted_token_transfer_costs_its_fee_and_moves_nothing(
    anvil: AnvilNode, contracts: Deployer, open_on: Opener
) -> None:
    token = contracts.deploy("PausableBlocklistToken")
    chain = open_on(anvil.url, assets=[listed(token.address)])
    intent = withdrawal(chain, address(1), 700, asset_key=token.address)
    token.send("mint", intent.source, 1_000)
    units = chain.fee_units(intent)
    token.send("setPaused", True)
    unsigned = chain.build(intent, nonce=nonce_of(chain), rate=chain.fee_rate(), units=units)
    tx = chain.assemble(unsigned, FIRST.sign(unsigned.digest))
    assert chain.broadcast(tx.raw).outcome is ACCEPTED
    anvil.mine()
    status = chain.tx_status(tx.tx_id)
    assert status.block is not None
    assert (status.succeeded, status.effect_amount) == (False, 0)
    assert status.fee > 0


def test_a_bumped_spend_replaces_the_first_and_only_one_lands(
    chain: EvmChain, anvil: AnvilNode
) -> None:
    anvil.call("evm_setAutomine", False)
    intent = withdrawal(chain, address(1), ETHER)
    first_rate = FeeRate(max_rate=3 * GWEI, tip_rate=GWEI)
    nonce = nonce_of(chain)
    first = signed(chain, intent, nonce=nonce, rate=first_rate)
    assert chain.broadcast(first.raw).outcome is ACCEPTED
    # Control: at the same rate nothing replaces it. (This node wants more, others a tenth.)
    same = signed(chain, replace(intent, amount=7), nonce=nonce, rate=first_rate)
    refused = chain.broadcast(same.raw)
    assert (refused.outcome, refused.detail) == (UNKNOWN, "replacement transaction underpriced")
    bumped = chain.bump(first_rate, current=first_rate)
    assert (bumped.max_rate, bumped.tip_rate) == (3_375_000_000, 1_125_000_000)
    second = signed(chain, intent, nonce=nonce, rate=bumped)
    assert chain.broadcast(second.raw).outcome is ACCEPTED
    anvil.mine()
    assert chain.tx_status(second.tx_id).succeeded
    assert chain.tx_status(first.tx_id).block is None
    assert chain.balance_of(address(1), NATIVE, chain.head()) == ETHER
    assert chain.broadcast(first.raw).outcome is UNKNOWN


def test_a_cancellation_takes_the_nonce_of_a_spend(chain: EvmChain, anvil: AnvilNode) -> None:
    anvil.call("evm_setAutomine", False)
    intent = withdrawal(chain, address(1), ETHER)
    rate = FeeRate(3 * GWEI, GWEI)
    nonce = nonce_of(chain)
    tx = signed(chain, intent, nonce=nonce, rate=rate)
    assert chain.broadcast(tx.raw).outcome is ACCEPTED
    cancellation = replace(intent, kind=SpendKind.CANCELLATION, destination=intent.source, amount=0)
    undo = signed(chain, cancellation, nonce=nonce, rate=chain.bump(rate, current=rate))
    assert chain.broadcast(undo.raw).outcome is ACCEPTED
    anvil.mine()
    assert chain.tx_status(undo.tx_id).succeeded
    assert chain.tx_status(tx.tx_id).block is None
    assert chain.used_nonces(intent.source, chain.head()) == nonce + 1


def test_R06_a_reorged_spend_is_known_to_be_gone_and_the_same_bytes_land_again(
    chain: EvmChain, anvil: AnvilNode
) -> None:
    tx = signed(
        chain, withdrawal(chain, address(1), ETHER), nonce=nonce_of(chain), rate=chain.fee_rate()
    )
    assert chain.broadcast(tx.raw).outcome is ACCEPTED
    anvil.mine()
    before = chain.tx_status(tx.tx_id)
    assert before.block is not None
    anvil.reorg(2)
    assert chain.tx_status(tx.tx_id).block is None
    assert chain.broadcast(tx.raw).outcome is ACCEPTED
    anvil.mine()
    after = chain.tx_status(tx.tx_id)
    assert after.succeeded
    assert after.block != before.block


@pytest.mark.parametrize(
    ("words", "fields", "outcome"),
    [
        ("insufficient funds", {"value": 10**40}, UNKNOWN),
        ("less than block base fee", {"maxFeePerGas": 1}, UNKNOWN),
        ("intrinsic gas too high", {"gas": 10**9}, UNKNOWN),
        ("chain id", {"chainId": 1}, REJECTED),
        ("intrinsic gas too low", {"gas": 20_000}, REJECTED),
        ("priority fee", {"maxPriorityFeePerGas": 10**12}, REJECTED),
    ],
)
def test_W11_refusals_are_final_only_when_the_bytes_can_never_land(
    chain: EvmChain, words: str, fields: dict[str, object], outcome: BroadcastOutcome
) -> None:
    result = chain.broadcast(raw_of(**{"nonce": nonce_of(chain), **fields}))
    assert words in result.detail.lower()
    assert result.outcome is outcome


@pytest.mark.parametrize("junk", [b"", b"\xde\xad\xbe\xef", raw_of()[:-2]])
def test_W11_bytes_that_are_no_transaction_are_rejected(chain: EvmChain, junk: bytes) -> None:
    assert chain.broadcast(junk).outcome is REJECTED


def test_W11_the_same_bytes_twice_are_already_known_and_afterwards_unknown(
    chain: EvmChain, anvil: AnvilNode
) -> None:
    anvil.call("evm_setAutomine", False)
    raw = raw_of(nonce=nonce_of(chain))
    assert chain.broadcast(raw).outcome is ACCEPTED
    assert chain.broadcast(raw).outcome is KNOWN
    anvil.mine()
    late = chain.broadcast(raw)
    assert (late.outcome, late.detail) == (UNKNOWN, "nonce too low")


@pytest.mark.parametrize(
    "fault",
    [
        Close(after_forwarding=True),
        Reset(after_forwarding=True),
        Status(503, after_forwarding=True),
        Status(429),
        Truncated(),
        Truncated(honest_length=True),
        Result(None),
        Result("0x" + "11" * 32),
        Rewritten(lambda _, result: [result]),
        Error(-32_000, "already done by magic", after_forwarding=True),
        Error(-32_000, "nonce too low", after_forwarding=True),
        Error(-32_000, "insufficient funds for gas * price + value", after_forwarding=True),
        Error(-32_000, "replacement transaction underpriced", after_forwarding=True),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_W11_an_unclear_answer_is_unknown_and_the_chain_tells_later(
    anvil: AnvilNode, proxy: FaultProxy, open_on: Opener, fault: object
) -> None:
    chain = open_on(proxy.url)
    tx = signed(
        chain, withdrawal(chain, address(1), 5), nonce=nonce_of(chain), rate=chain.fee_rate()
    )
    rule = proxy.add(fault, "eth_sendRawTransaction")  # type: ignore[arg-type]
    assert chain.broadcast(tx.raw).outcome is UNKNOWN
    assert rule.count == 1, "the bytes are sent once, never repeated by the client itself"
    proxy.clear()
    anvil.mine()
    landed = chain.tx_status(tx.tx_id).block is not None
    # Only two of the faults kept the bytes from the node; resending them is always right.
    assert chain.broadcast(tx.raw).outcome is (UNKNOWN if landed else ACCEPTED)
    anvil.mine()
    assert chain.tx_status(tx.tx_id).succeeded
    assert chain.balance_of(address(1), NATIVE, chain.head()) == 5


def test_W11_one_node_that_took_the_bytes_is_enough(
    anvil: AnvilNode, proxy: FaultProxy, open_on: Opener
) -> None:
    with FaultProxy(anvil.url) as dead:
        chain = open_on(proxy.url, dead.url, anvil.url)
        raw = raw_of(nonce=nonce_of(chain))
        dead.add(Close(), "eth_sendRawTransaction")
        proxy.add(Error(-32_000, "rlp: nonsense"), "eth_sendRawTransaction")
        assert chain.broadcast(raw).outcome is ACCEPTED


def test_N05_a_stale_nonce_of_one_node_is_outvoted(
    anvil: AnvilNode, proxy: FaultProxy, contracts: Deployer, open_on: Opener
) -> None:
    for _ in range(4):
        contracts.pay(address(1), 1)
    sender = contracts.accounts[0]
    rule = proxy.add(
        Rewritten(lambda _, result: hex(int(result, 16) - 3)), "eth_getTransactionCount"
    )
    liar = open_on(proxy.url)
    assert liar.used_nonces(sender, liar.head()) == 1
    three = open_on(proxy.url, anvil.url, anvil.url)
    assert three.used_nonces(sender, three.head()) == 4
    assert rule.count == 2
    two = open_on(proxy.url, anvil.url)
    with pytest.raises(Unavailable, match="nodes_disagree"):
        two.used_nonces(sender, two.head())


@pytest.mark.parametrize(
    ("answer", "rate"),
    [
        (Result(None), FeeRate(GWEI, GWEI)),
        (Error(-32_000, "no"), FeeRate(GWEI, GWEI)),
        (Result({"baseFeePerGas": []}), FeeRate(GWEI, GWEI)),
        (Result({"baseFeePerGas": ["-0x1"]}), FeeRate(GWEI, GWEI)),
        (Result({"baseFeePerGas": [-1]}), FeeRate(GWEI, GWEI)),
        (Result({"baseFeePerGas": ["0x0"]}), FeeRate(GWEI, GWEI)),
        (Result({"baseFeePerGas": [hex(10**6 * GWEI)]}), FeeRate(300 * GWEI, GWEI)),
        (Result({"baseFeePerGas": [hex(40 * GWEI)]}), FeeRate(81 * GWEI, GWEI)),
    ],
)
def test_N06_fee_answers_are_held_between_floor_and_cap(
    proxy: FaultProxy, open_on: Opener, answer: Result | Error, rate: FeeRate
) -> None:
    chain = open_on(proxy.url)
    honest = chain.fee_rate()
    assert GWEI < honest.max_rate < 10 * GWEI
    rule = proxy.add(answer, "eth_feeHistory")
    assert chain.fee_rate() == rate
    assert rule.count == 1


def test_N06_an_absurd_gas_estimate_is_not_used(proxy: FaultProxy, open_on: Opener) -> None:
    chain = open_on(proxy.url)
    intent = withdrawal(chain, address(1), 5)
    assert chain.fee_units(intent) == 21_000
    rule = proxy.add(Result(hex(30_000_000)), "eth_estimateGas")
    with pytest.raises(Unavailable, match="gas_estimate_out_of_range"):
        chain.fee_units(intent)
    assert rule.count == 1


def paused(contracts: Deployer) -> Contract:
    """Deploy a token whose transfers revert."""
    token = contracts.deploy("PausableBlocklistToken")
    token.send("setPaused", True)
    return token


def test_P03_a_transfer_that_would_fail_is_never_built(
    anvil: AnvilNode, contracts: Deployer, open_on: Opener
) -> None:
    reverting = paused(contracts)
    lying = contracts.deploy("FalseToken", 1)
    silent = contracts.deploy("NoReturnToken")
    tokens = [reverting, lying, silent]
    chain = open_on(anvil.url, assets=[listed(token.address) for token in tokens])
    for token in tokens:
        token.send("mint", contracts.accounts[0], 1_000)
    for token in (reverting, lying):
        with pytest.raises(WouldRevert):
            chain.fee_units(withdrawal(chain, address(1), 5, asset_key=token.address))
    # Control: an old token that answers nothing at all is served.
    intent = withdrawal(chain, address(1), 5, asset_key=silent.address)
    tx = signed(chain, intent, nonce=nonce_of(chain), rate=chain.fee_rate())
    assert chain.broadcast(tx.raw).outcome is ACCEPTED
    anvil.mine()
    assert chain.tx_status(tx.tx_id).effect_amount == 5


def test_a_contract_as_destination_gets_the_gas_it_needs(
    anvil: AnvilNode, contracts: Deployer, chain: EvmChain
) -> None:
    receiver = contracts.deploy("Receiver", 0)
    intent = withdrawal(chain, receiver.address, 5)
    assert chain.fee_units(intent) > 21_000
    tx = signed(chain, intent, nonce=nonce_of(chain), rate=chain.fee_rate())
    assert chain.broadcast(tx.raw).outcome is ACCEPTED
    anvil.mine()
    assert chain.tx_status(tx.tx_id).effect_amount == 5
