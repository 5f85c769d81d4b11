"""The local network that spends by slots, and what stands in front of it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.system_program import (
    AdvanceNonceAccountParams,
    TransferParams,
    advance_nonce_account,
    transfer,
)
from solders.transaction import VersionedTransaction

from infra.devnet.nodes import RpcRefused, call
from infra.devnet.surfpool import LAMPORTS, SurfpoolNode, start_surfpool
from infra.devnet.surfpool_front import CLEANED_UP, NOT_YET, SKIPPED, Front
from infra.devnet.surfpool_tokens import (
    Powers,
    Token,
    create_token,
    create_token_2022,
)

FULL = {"encoding": "base64", "maxSupportedTransactionVersion": 0, "rewards": False}


@pytest.fixture
def node() -> Iterator[SurfpoolNode]:
    with start_surfpool(manual=True) as running:
        yield running


@pytest.fixture
def front(node: SurfpoolNode) -> Iterator[Front]:
    with Front(node) as running:
        running.pass_slots()
        yield running


def block(front: Front, slot: int) -> dict[str, Any]:
    return dict(call(front.url, "getBlock", slot, FULL))


def refusal(front: Front, slot: int) -> int | None:
    with pytest.raises(RpcRefused) as refused:
        block(front, slot)
    return refused.value.code


def owned(token: Token, owner: object) -> int:
    return int.from_bytes(token.node.data(token.account_of(str(owner)))[64:72], "little")


def lamports(front: Front, address: object, *, commitment: str) -> dict[str, Any]:
    return dict(call(front.url, "getBalance", str(address), {"commitment": commitment}))


def test_blocks_link_across_skipped_slots_and_tell_the_time(front: Front) -> None:
    first = front.pass_slots(3)
    front.skip(2)
    last = front.pass_slots(2)
    made = call(front.url, "getBlocks", first, last)
    assert made == [first, first + 3, first + 4]
    above = block(front, first + 4)
    for slot in (first + 3, first):
        below = block(front, slot)
        assert (above["parentSlot"], above["previousBlockhash"]) == (slot, below["blockhash"])
        assert 1_700_000_000 < below["blockTime"] <= above["blockTime"]
        above = below
    assert refusal(front, first + 1) == SKIPPED
    assert refusal(front, last + 1) == NOT_YET
    assert refusal(front, 1) == CLEANED_UP


def test_what_was_sent_runs_in_the_next_slot_and_no_state_knows_it_earlier(front: Front) -> None:
    bob, node = Keypair().pubkey(), front.node
    moved = TransferParams(from_pubkey=node.payer.pubkey(), to_pubkey=bob, lamports=LAMPORTS)
    message = MessageV0.try_compile(node.payer.pubkey(), [transfer(moved)], [], node.blockhash())
    raw = bytes(VersionedTransaction(message, [node.payer]))
    encoded = base64.b64encode(raw).decode()
    tx_id = call(front.url, "sendTransaction", encoded, {"encoding": "base64"})
    assert lamports(front, bob, commitment="finalized")["value"] == 0
    final = front.pass_slots()
    told = lamports(front, bob, commitment="finalized")
    assert (told["value"], told["context"]["slot"]) == (LAMPORTS, final)
    assert call(front.url, "getTransaction", tx_id, FULL)["slot"] == final
    (status,) = call(front.url, "getSignatureStatuses", [tx_id])["value"]
    assert status["confirmationStatus"] == "finalized"


def test_a_failed_transaction_uses_its_durable_nonce_up(front: Front) -> None:
    node, alice = front.node, Keypair()
    node.pay(alice.pubkey(), LAMPORTS)
    account = node.create_nonce(alice.pubkey())
    front.pass_slots()
    value = node.nonce(account)
    steps: list[Instruction] = [
        advance_nonce_account(
            AdvanceNonceAccountParams(
                nonce_pubkey=type(alice.pubkey()).from_string(account),
                authorized_pubkey=alice.pubkey(),
            )
        ),
        transfer(
            TransferParams(
                from_pubkey=alice.pubkey(), to_pubkey=node.payer.pubkey(), lamports=2 * LAMPORTS
            )
        ),
    ]
    message = MessageV0.try_compile(alice.pubkey(), steps, [], value)
    encoded = base64.b64encode(bytes(VersionedTransaction(message, [alice]))).decode()
    with pytest.raises(RpcRefused):
        call(front.url, "sendTransaction", encoded, {"encoding": "base64"})
    tx_id = call(
        front.url, "sendTransaction", encoded, {"encoding": "base64", "skipPreflight": True}
    )
    front.pass_slots()
    found = call(front.url, "getTransaction", tx_id, FULL)
    assert found["meta"]["err"] is not None
    assert found["meta"]["fee"] == 5_000
    assert node.nonce(account) != value


def test_a_branch_and_a_node_behind_differ_from_the_others(
    node: SurfpoolNode, front: Front
) -> None:
    with Front(node, lag=3) as behind, Front(node) as other:
        last = front.pass_slots(5)
        other.branch = (last - 1, "other")
        assert behind.final() == last - 3
        assert refusal(behind, last) == NOT_YET
        assert block(behind, last - 3) == block(front, last - 3)
        assert block(other, last - 2) == block(front, last - 2)
        assert block(other, last - 1)["blockhash"] != block(front, last - 1)["blockhash"]
        front.freeze()
        assert front.final() == last == other.pass_slots(4) - 4


@pytest.mark.parametrize("is_2022", [False, True])
def test_tokens_reach_the_associated_account(is_2022: bool, node: SurfpoolNode) -> None:
    bob = Keypair().pubkey()
    token = create_token_2022(node) if is_2022 else create_token(node)
    token.pay(bob, 1_000)
    assert owned(token, bob) == 1_000
    token.freeze(bob)
    with pytest.raises(RpcRefused):
        token.pay(bob, 1_000)


def test_a_mint_with_powers_uses_them(node: SurfpoolNode) -> None:
    bob, thief = Keypair().pubkey(), Keypair()
    token = create_token_2022(node, powers=Powers(fee_bp=200, permanent_delegate=thief.pubkey()))
    token.pay(bob, 1_000)
    assert owned(token, bob) == 980
    token.open(thief.pubkey())
    taken = token.moving(
        token.account_of(bob), token.account_of(thief.pubkey()), thief.pubkey(), 980
    )
    node.send([taken], [thief])
    assert owned(token, bob) == 0
    frozen = create_token_2022(node, powers=Powers(frozen_at_birth=True, hook=thief.pubkey()))
    with pytest.raises(RpcRefused):
        frozen.give(bob, 5)


def test_a_network_that_runs_by_the_clock_tells_states_with_their_slot() -> None:
    with start_surfpool(slot_ms=20) as node, Front(node) as front:
        bob = Keypair().pubkey()
        tx_id = node.pay(bob, LAMPORTS)
        told = lamports(front, bob, commitment="finalized")
        assert told["value"] == LAMPORTS
        found = call(front.url, "getTransaction", tx_id, FULL)
        assert found["slot"] <= told["context"]["slot"] <= front.final()
