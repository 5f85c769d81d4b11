"""Coins that wait, and coins that only look like ours, on a real node: D08 and D09."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from coincurve import PublicKey

from chains.base import NATIVE
from chains.bitcoin.address import script_of
from chains.bitcoin.hashes import hash160, sha256, tagged
from chains.bitcoin.params import COIN, MATURITY
from chains.bitcoin.tx import TxOut
from core.ids import CustomerNo
from custody.deposit_rows import DepositState
from custody.wallets import addresses
from custody.withdrawals.states import WithdrawalState
from infra.devnet.coin_money import LOCAL, Miner
from infra.devnet.coin_nodes import CoreNode, start_core
from tests.support.bitcoin import STRANGER
from tests.support.coin_scene import CHAIN, CoinScene, coin_scene, spent_otherwise
from tests.support.databases import Databases

ELSEWHERE = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry"
FAR = 0x7FFFFFFF


@pytest.fixture
def node() -> Iterator[CoreNode]:
    """Start the node where blocks are made."""
    with start_core() as started:
        yield started


@pytest.fixture
def miner(node: CoreNode) -> Miner:
    """Return who pays coins of that node."""
    return Miner(node)


def to(address: str, amount: int = COIN) -> TxOut:
    return TxOut(amount, script_of(address, LOCAL))


def assert_not_spendable(scene: CoinScene, customer: CustomerNo) -> None:
    """Try to withdraw what only waits."""
    assert scene.credited(customer) == 0
    row = scene.house.withdraw(customer, NATIVE, 10_000, STRANGER, client_id="early")
    scene.run(2)
    assert scene.house.withdrawal(row.withdrawal_id).state is WithdrawalState.REFUSED


def test_D08_what_waits_is_shown_and_not_spendable_and_gone_when_it_is_replaced(
    node: CoreNode, miner: Miner, databases: Databases
) -> None:
    with coin_scene(databases, node) as scene:
        (mallory, to_mallory), (bob, to_bob) = scene.customer("mallory"), scene.customer("bob")
        scene.run(2)
        first = miner.spend(to(to_mallory), fee=200, replaceable=True)
        other = miner_of_others(node).spend(to(to_bob))
        scene.run(2)
        assert {(one.tx_id, one.amount) for one in scene.waiting()} == {
            (first.tx_id, COIN),
            (other.tx_id, COIN),
        }
        assert scene.deposits() == []
        assert_not_spendable(scene, mallory)
        stolen = spent_otherwise(first, to(STRANGER, 49 * COIN))
        node.call("sendrawtransaction", stolen.serialise().hex(), 0)
        assert first.tx_id not in node.call("getrawmempool"), "the control: it was replaced"
        scene.run(2)
        assert [one.tx_id for one in scene.waiting()] == [other.tx_id]
        scene.settle()
        assert scene.waiting() == []
        assert (scene.credited(mallory), scene.credited(bob)) == (0, COIN)
        assert [each.tx_id for each in scene.deposits()] == [other.tx_id]
        scene.assert_equations_hold()


def test_D08_a_waiting_payment_that_a_block_contradicts_disappears_uncounted(
    node: CoreNode, miner: Miner, databases: Databases
) -> None:
    with coin_scene(databases, node) as scene:
        mallory, to_mallory = scene.customer("mallory")
        scene.run(2)
        first = miner.spend(to(to_mallory))
        scene.run(2)
        assert [one.tx_id for one in scene.waiting()] == [first.tx_id]
        stolen = spent_otherwise(first, to(STRANGER, 49 * COIN))
        node.call("generateblock", ELSEWHERE, [stolen.serialise().hex()])
        assert node.call("getrawmempool") == [], "the control: it was evicted"
        scene.run(2)
        assert (scene.waiting(), scene.deposits(), scene.credited(mallory)) == ([], [], 0)
        scene.assert_equations_hold()


def miner_of_others(node: CoreNode) -> Miner:
    """Return who pays from other coins."""
    return Miner(node, [], 10)


def public_key_of(scene: CoinScene, address: str) -> bytes:
    with scene.house.platform.db.read() as conn:
        row = addresses.find(conn, CHAIN, address)
    assert row is not None
    key = scene.house.home.keys[row.account].public_key(row.key_index)
    assert script_of(address, LOCAL)[2:] == hash160(key), "the control: the key is the address's"
    return key


def odd_outputs(key: bytes, address: str) -> dict[str, bytes]:
    """Return scripts that somebody may take for a payment to this key."""
    thief = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
    own = script_of(address, LOCAL)
    locked = b"\x04" + FAR.to_bytes(4, "little") + b"\xb1\x75" + b"\x21" + key + b"\xac"
    leaf = b"\x20" + key[1:] + b"\xac"
    return {
        "bare 1-of-2": b"\x51\x21" + key + b"\x21" + thief + b"\x52\xae",
        "a lock far away": b"\x00\x20" + sha256(locked),
        "our address as a note": b"\x6a" + bytes((len(address),)) + address.encode(),
        "our script as a note": b"\x6a" + bytes((len(own),)) + own,
        "the old form of our key": b"\x76\xa9\x14" + hash160(key) + b"\x88\xac",
        "the bare key": b"\x21" + key + b"\xac",
        "our script wrapped": b"\xa9\x14" + hash160(own) + b"\x87",
        "a taproot key that is ours": b"\x51\x20" + key[1:],
        "a taproot script of our key": b"\x51\x20" + output_key(thief[1:], leaf),
        "our script and one byte more": own + b"\x61",
    }


def output_key(internal: bytes, leaf: bytes) -> bytes:
    """Return the output key over one leaf. Source: BIP-341."""
    leaf_hash = tagged("TapLeaf", b"\xc0" + bytes((len(leaf),)) + leaf)
    tweak = tagged("TapTweak", internal + leaf_hash)
    return PublicKey(b"\x02" + internal).add(tweak).format()[1:]


def test_D09_only_the_exact_script_that_was_issued_is_credited(
    node: CoreNode, miner: Miner, databases: Databases
) -> None:
    with coin_scene(databases, node) as scene:
        alice, to_alice = scene.customer("alice")
        scene.run(2)
        odd = odd_outputs(public_key_of(scene, to_alice), to_alice)
        outputs = [TxOut(0 if script[:1] == b"\x6a" else COIN, script) for script in odd.values()]
        made = spent_otherwise(miner.spend(to(STRANGER)), *outputs)
        # Straight into a block, past what nodes relay.
        node.call("generateblock", ELSEWHERE, [made.serialise().hex()])
        held = node.call("getrawtransaction", made.tx_id, 2)
        assert held["confirmations"] == 1, "the control: they are on the chain"
        scene.settle()
        assert (scene.deposits(), scene.credited(alice)) == ([], 0)
        assert scene.refused == [], "an output that nobody here knows stops nothing"
        paid = miner_of_others(node).pay(to_alice, COIN)
        scene.settle()
        assert [each.tx_id for each in scene.deposits()] == [paid]
        assert scene.credited(alice) == COIN
        scene.assert_equations_hold()


def test_D09_a_coinbase_is_credited_a_hundred_blocks_later_and_never_before(
    node: CoreNode, databases: Databases
) -> None:
    with coin_scene(databases, node) as scene:
        alice, to_alice = scene.customer("alice")
        scene.run(2)
        node.mine(to=to_alice)
        made = node.height()
        node.mine(MATURITY - 1)
        scene.run(3)
        assert max(scene.followed()) == made + MATURITY - 1
        assert (scene.deposits(), scene.credited(alice)) == ([], 0)
        node.mine()
        scene.run(2)
        (deposit,) = scene.deposits()
        assert deposit.block.height == made + MATURITY
        assert scene.credited(alice) == 0
        scene.settle()
        assert scene.credited(alice) == 50 * COIN
        assert [each.state for each in scene.deposits()] == [DepositState.CREDITED]
        scene.assert_equations_hold()
