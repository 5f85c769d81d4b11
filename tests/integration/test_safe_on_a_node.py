"""Safe 1.5.0 on a real node: what owners sign is executed, and nothing else ever is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chains.base import NATIVE, Effect
from chains.evm.chain import EvmChain
from chains.evm.params import MULTI_SEND_CALL_ONLY
from chains.multisig import OWNERS
from core.errors import Reason, Refused, Unavailable
from infra.devnet.deploy import Contract, Deployer
from infra.devnet.nodes import AnvilNode
from infra.devnet.safe import deploy_safe
from tests.support.evm import ETHER, Opener, listed, watched_address
from tests.support.safes import DEVICES, OnNode, safe_on

ALICE, BOB = watched_address(1), watched_address(2)
QUORUMS = pytest.mark.parametrize(("threshold", "owners"), [(2, 3), (3, 5)])


@pytest.fixture
def direct(anvil: AnvilNode, token: Contract, open_on: Opener) -> EvmChain:
    return open_on(anvil.url, assets=[listed(token.address)])


@pytest.fixture
def safe(direct: EvmChain, contracts: Deployer) -> OnNode:
    return safe_on(direct, contracts, threshold=2, owners=3)


def reason_of(safe: OnNode, *effects: Effect, count: int = 2) -> Reason:
    with pytest.raises(Refused) as refused:
        safe.execute(*effects, devices=safe.devices[:count])
    return refused.value.reason


def test_the_package_s_contracts_stand_where_they_stand_everywhere(contracts: Deployer) -> None:
    made = deploy_safe(contracts)
    assert made.multisend.address in MULTI_SEND_CALL_ONLY
    assert made.singleton.ask("VERSION") == "1.5.0"
    assert deploy_safe(contracts).singleton.address == made.singleton.address


@QUORUMS
def test_a_wallet_is_read_as_it_was_created(
    direct: EvmChain, contracts: Deployer, threshold: int, owners: int
) -> None:
    safe = safe_on(direct, contracts, threshold=threshold, owners=owners)
    state = safe.state()
    assert state.owners == tuple(one.address for one in DEVICES[:owners])
    assert (state.threshold, state.nonce, state.extensions) == (threshold, 0, ())
    assert state.code == safe.contracts.singleton.address
    assert state.handler == safe.contracts.handler.address


def test_what_is_no_wallet_has_no_state(direct: EvmChain, token: Contract) -> None:
    for address in (ALICE, token.address):
        with pytest.raises(Unavailable, match="no_wallet"):
            direct.wallets.state(address, direct.head())


@QUORUMS
def test_owners_pay_coins_tokens_and_several_at_once(
    direct: EvmChain, contracts: Deployer, token: Contract, threshold: int, owners: int
) -> None:
    safe = safe_on(direct, contracts, threshold=threshold, owners=owners)
    token.send("mint", safe.address, 1_000)
    coins, tokens = Effect(NATIVE, ALICE, ETHER), Effect(token.address, BOB, 700)
    for effects, moved in (((coins,), ETHER), ((tokens,), 700), ((coins, coins), 2 * ETHER)):
        status = safe.execute(*effects, devices=safe.devices[-threshold:])
        assert (status.succeeded, status.effect_amount) == (True, moved)
    assert direct.balance_of(ALICE, NATIVE, direct.head()) == 3 * ETHER
    assert token.ask("balanceOf", BOB) == 700
    assert safe.state().nonce == 3


def test_the_relayers_transaction_is_read_as_what_the_wallet_does(
    safe: OnNode, token: Contract
) -> None:
    token.send("mint", safe.address, 1_000)
    effects = (Effect(NATIVE, ALICE, 5), Effect(token.address, BOB, 7))
    draft = safe.draft(*effects)
    signers = safe.devices[1:]
    relay = safe.chain.wallets.join(draft, safe.signed_by(draft, signers), safe.state())
    outer = safe.relayed(relay, wallet_nonce=0)
    decoded = safe.chain.decode(outer.payload, sender=outer.sender)
    assert (decoded.effects, decoded.digest) == (effects, outer.digest)
    assert decoded.relayed is not None
    assert decoded.relayed.wallet == safe.address
    assert decoded.relayed.digest == draft.digest
    assert set(decoded.relayed.signers) == {one.address for one in signers}
    assert decoded.claims(outer.sender) == (f"{outer.sender}/{outer.nonce}", f"{safe.address}/0")
    assert safe.wallet.ask("getTransactionHash", *_arguments(draft)) == draft.digest


def _arguments(draft: object) -> tuple[object, ...]:
    from chains.evm.wallet_payload import read_wallet_payload

    read = read_wallet_payload(draft.payload)  # type: ignore[attr-defined]
    texts = ["0x" + one.hex() for one in (read.to, read.gas_token, read.refund_receiver)]
    return (
        texts[0], read.value, read.data, read.operation, read.safe_tx_gas, 0, 0,
        texts[1], texts[2], read.nonce,
    )  # fmt: skip


def test_signatures_of_another_nonce_are_nobodys(safe: OnNode) -> None:
    draft = safe.draft(Effect(NATIVE, ALICE, 5))
    relay = safe.chain.wallets.join(draft, safe.signed_by(draft, safe.devices[:2]), safe.state())
    owners = {one.address for one in DEVICES}
    for nonce in (1, 7):
        outer = safe.relayed(relay, wallet_nonce=nonce)
        try:
            decoded = safe.chain.decode(outer.payload, sender=outer.sender)
        except Refused:
            continue  # as nobody's, or as two strangers' in the wrong order
        assert decoded.relayed is not None
        assert owners.isdisjoint(decoded.relayed.signers)


def test_an_inner_failure_is_a_failure_and_uses_the_nonce_up(
    safe: OnNode, contracts: Deployer, token: Contract
) -> None:
    draft = safe.draft(Effect(NATIVE, ALICE, 9 * ETHER))
    relay = safe.chain.wallets.join(draft, safe.signed_by(draft, safe.devices[:2]), safe.state())
    assert safe.execute(Effect(NATIVE, BOB, 5 * ETHER), devices=safe.devices[1:]).succeeded
    late = safe.draft(Effect(NATIVE, ALICE, 2 * ETHER))
    late_relay = safe.chain.wallets.join(late, safe.signed_by(late, safe.devices[:2]), safe.state())
    safe.wallet.node.set_balance(safe.address, 1)
    with pytest.raises(Unavailable, match="would_revert"):
        safe.relayed(late_relay, wallet_nonce=1)
    status = safe.send(safe.relayed(late_relay, wallet_nonce=1, units=400_000))
    assert (status.succeeded, status.effect_amount) == (False, 0)
    assert status.block is not None
    assert safe.state().nonce == 2
    safe.wallet.node.set_balance(safe.address, 20 * ETHER)
    for harvested, nonce in ((relay, 0), (late_relay, 1)):
        assert not safe.send(safe.relayed(harvested, wallet_nonce=nonce, units=400_000)).succeeded
    assert safe.chain.balance_of(ALICE, NATIVE, safe.chain.head()) == 0


def test_too_few_the_same_twice_strangers_and_other_forms_of_signatures_are_not_joined(
    safe: OnNode,
) -> None:
    draft, state = safe.draft(Effect(NATIVE, ALICE, 5)), safe.state()
    first, second = safe.signed_by(draft, safe.devices[:2])
    (foreign,) = safe.signed_by(draft, DEVICES[5:6])
    join = safe.chain.wallets.join
    assert join(draft, [second, first], state) == join(draft, [first, second], state)
    contract = bytes(12) + bytes.fromhex(ALICE[2:]) + (65).to_bytes(32, "big") + b"\0"
    approved = bytes(12) + bytes.fromhex(DEVICES[1].address[2:]) + bytes(32) + b"\1"
    for signatures, reason in (
        ([first], Reason.QUORUM_NOT_MET),
        ([first, first], Reason.ALREADY_APPROVED),
        ([first, foreign], Reason.NOT_AN_OWNER),
        ([first, contract], Reason.BAD_SIGNATURE),
        ([first, approved], Reason.BAD_SIGNATURE),
        ([first, second[:64] + bytes((second[64] + 4,))], Reason.BAD_SIGNATURE),
        ([first, second[:64]], Reason.BAD_SIGNATURE),
    ):
        with pytest.raises(Refused) as refused:
            join(draft, signatures, state)
        assert refused.value.reason is reason
    with pytest.raises(Refused):
        join(draft, [first, second], replace(state, nonce=1))


def test_the_chain_refuses_what_is_not_joined(safe: OnNode) -> None:
    draft, state = safe.draft(Effect(NATIVE, ALICE, 5)), safe.state()
    first, second = sorted(
        safe.signed_by(draft, safe.devices[:2]),
        key=lambda one: safe.chain.wallets.owner_of(draft, one).lower(),
    )
    honest = safe.chain.wallets.join(draft, [first, second], state)
    for tampered in (
        honest.replace(second, bytes(65)),
        honest.replace(first + second, second + first),
        honest.replace(first + second, first + first),
    ):
        assert tampered != honest
        assert not safe.send(safe.relayed(tampered, wallet_nonce=0, units=400_000)).succeeded
    assert safe.send(safe.relayed(honest, wallet_nonce=0)).succeeded
    assert not safe.send(safe.relayed(honest, wallet_nonce=0, units=400_000)).succeeded


def test_owners_change_only_as_their_effect_says(safe: OnNode) -> None:
    ada, ben, cleo = (one.address for one in safe.devices)
    dora, eve = DEVICES[3].address, DEVICES[4].address
    signing = {one.address: one for one in DEVICES}

    def change(asset_key: str, destination: str, amount: int) -> None:
        state = safe.state()
        devices = [signing[owner] for owner in state.owners[: state.threshold]]
        assert safe.execute(Effect(asset_key, destination, amount), devices=devices).succeeded

    change(f"{OWNERS}-{ben}", dora, 0)
    assert set(safe.state().owners) == {ada, dora, cleo}
    change(OWNERS, eve, 3)
    assert (set(safe.state().owners), safe.state().threshold) == ({ada, dora, cleo, eve}, 3)
    change(f"{OWNERS}-{ada}", safe.address, 2)
    assert (set(safe.state().owners), safe.state().threshold) == ({dora, cleo, eve}, 2)
    change(OWNERS, safe.address, 3)
    assert safe.state().threshold == 3
    with pytest.raises(Refused):
        safe.draft(Effect(f"{OWNERS}-{ada}", dora, 0))


def test_modules_and_guards_are_seen(safe: OnNode) -> None:
    node = safe.wallet.node
    node.call("anvil_impersonateAccount", safe.address)
    safe.wallet.send("enableModule", ALICE, sender=safe.address)
    assert safe.state().extensions == (f"module {ALICE}",)
    safe.wallet.send("setFallbackHandler", BOB, sender=safe.address)
    assert safe.state().handler == BOB
    node.call("anvil_setStorageAt", safe.address, "0x" + "0" * 64, "0x" + BOB[2:].rjust(64, "0"))
    with pytest.raises(Unavailable):
        safe.state()
