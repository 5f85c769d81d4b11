"""Tampered payloads of an account chain and its contract wallets (W06, S09, W05).

Each case changes the bytes of one honest request, its twin, and what is told beside them, so that
nothing but the named thing is wrong. tampered_rights has the half about who may ask for what.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import rlp  # type: ignore[import-untyped]

from chains.base import NATIVE, SpendKind
from chains.evm.address import checksum
from core.errors import Reason
from custody.keys.authority import Approvals
from custody.keys.guard import SignRequest, sign_once
from custody.keys.signers import KeyRef
from tests.support.contract_wallets import ZERO, call, delegation, inner, raw
from tests.support.evm import GWEI
from tests.unit.custody.keys.evmroom import (
    BRASS,
    CUSTOMER,
    DELEGATE,
    GAS,
    GOLD,
    NUMBER,
    OTHER_SAFE,
    RATE,
    SAFE,
    THIEF,
    UNUSED_DELEGATE,
    EvmRoom,
    batched,
    delegation_told,
    plain,
    told,
    transfer_inside,
    transfer_of,
    type_2,
    wallet_changed,
)

Asked = tuple[EvmRoom, SignRequest]
Twin = Callable[[EvmRoom], SignRequest]
Tamper = Callable[[EvmRoom, SignRequest], Asked]


@dataclass(frozen=True, slots=True)
class Case:
    """One tampered request: what it starts from, what is changed, why it is refused."""

    name: str
    reason: Reason
    twin: Twin
    tamper: Tamper


COINS, TOKENS = EvmRoom.coins, EvmRoom.tokens
PAY, PAY_TOKENS, BATCH = EvmRoom.safe, EvmRoom.safe_tokens, EvmRoom.multisend
SWEEP, DELEGATION = EvmRoom.sweep, EvmRoom.delegating
LOOK_ALIKE = checksum(raw(CUSTOMER)[:3] + raw(THIEF)[3:-3] + raw(CUSTOMER)[-3:])
assert (LOOK_ALIKE[:8].lower(), LOOK_ALIKE[-6:].lower()) == (
    CUSTOMER[:8].lower(),
    CUSTOMER[-6:].lower(),
)


def made(**fields: Any) -> Tamper:
    """Return the change of fields of a type-2 transaction, truthfully told."""
    return lambda room, asked: (
        room,
        replace(asked, unsigned=told(asked.intent, plain(asked.intent, **fields))),
    )


def bytes_of(write: Callable[[SignRequest], bytes], nonce: int = 0, fee: int = 0) -> Tamper:
    """Return the change to other bytes."""
    return lambda room, asked: (
        room,
        replace(asked, unsigned=told(asked.intent, (write(asked), nonce, fee))),
    )


def calling(signature: str, *values: Any) -> Tamper:
    """Return the change to another function of the token."""
    return made(data=call(signature, *values))


def as_if(**changes: Any) -> Tamper:
    """Return the change to bytes that carry out another intent than the one that is shown."""
    return lambda room, asked: (
        room,
        replace(asked, unsigned=told(asked.intent, plain(replace(asked.intent, **changes)))),
    )


def intended(**changes: Any) -> Tamper:
    """Return the change of the intent and its bytes; the approved withdrawal stays."""

    def tamper(room: EvmRoom, asked: SignRequest) -> Asked:
        intent = replace(asked.intent, **changes)
        return room, replace(asked, intent=intent, unsigned=told(intent, plain(intent)))

    return tamper


def everywhere(**changes: Any) -> Tamper:
    """Return the change of withdrawal, intent and bytes alike, under the approvals given before."""

    def tamper(room: EvmRoom, asked: SignRequest) -> Asked:
        assert isinstance(asked.authority, Approvals)
        authority = replace(
            asked.authority, withdrawal=replace(asked.authority.withdrawal, **changes)
        )
        _, changed = intended(**changes)(room, asked)
        return room, replace(changed, authority=authority)

    return tamper


def wallet(**fields: Any) -> Tamper:
    """Return the change of fields of a contract wallet's transaction."""
    return lambda room, asked: (room, wallet_changed(asked, **fields))


def on_wallet(signature: str, *values: Any) -> Tamper:
    """Return the change to a call of the contract wallet to itself."""
    return wallet(to=SAFE, value=0, data=call(signature, *values))


def beside(*calls: bytes) -> Tamper:
    """Return the change that adds calls behind the right one in a multisend."""
    return lambda room, asked: (
        room,
        wallet_changed(asked, **batched(transfer_inside(asked.intent), *calls)),
    )


def telling(**changes: Any) -> Tamper:
    """Return the change of what is told beside honest bytes."""
    return lambda room, asked: (room, replace(asked, unsigned=replace(asked.unsigned, **changes)))


def by_key(key: KeyRef) -> Tamper:
    """Return the change of the key that is asked to sign."""
    return lambda room, asked: (room, replace(asked, key=key))


def old_style(*more: int) -> Tamper:
    """Return the change to a transaction of type 0, with what EIP-155 adds or without."""
    return bytes_of(
        lambda asked: bytes(
            rlp.encode(
                [0, RATE, GAS, raw(asked.intent.destination), asked.intent.amount, b"", *more]
            )
        ),
        fee=RATE * GAS,
    )


def set_code(asked: SignRequest) -> bytes:
    """Write a transaction of type 4 that delegates our account to a thief."""
    items = rlp.decode(type_2(asked.intent)[1:])
    return b"\x04" + bytes(rlp.encode([*items, [[NUMBER, raw(THIEF), 0, 0, 1, 1]]]))


def personal(asked: SignRequest) -> bytes:
    """Write a personal message whose text is a transaction."""
    text = type_2(asked.intent)
    return b"\x19Ethereum Signed Message:\n%d" % len(text) + text


def delegate_to(number: int, delegate: str, *, honest_intent: bool = False) -> Tamper:
    """Return the change of an authorisation's network or delegate."""

    def tamper(room: EvmRoom, asked: SignRequest) -> Asked:
        shown = asked.intent.destination if honest_intent else delegate
        intent = replace(asked.intent, destination=shown)
        return room, delegation_told(replace(asked, intent=intent), number, delegate)

    return tamper


def after(first: Callable[[EvmRoom], SignRequest], then: Tamper) -> Tamper:
    """Return the change after something else was signed."""

    def tamper(room: EvmRoom, asked: SignRequest) -> Asked:
        sign_once(room.guard, first(room))
        return then(room, asked)

    return tamper


def same(room: EvmRoom, asked: SignRequest) -> Asked:
    """Change nothing: what was signed before is what stands against it."""
    return room, asked


PERMIT = "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)"
PERMIT_2 = "approve(address,address,uint160,uint48)"
MISMATCH, UNREAD, UNKNOWN = Reason.INTENT_MISMATCH, Reason.UNDECODABLE, Reason.UNKNOWN_CALL
ALLOWED, OWNERS, FEE = Reason.APPROVAL_CALL, Reason.OWNER_CHANGE, Reason.FEE_ABOVE_CAP
EXTRA, DELEGATED, FOREIGN = Reason.EXTRA_EFFECT, Reason.DELEGATE_CALL, Reason.FOREIGN_DELEGATE
NOWHERE, ELSEWHERE, TWICE = Reason.MISSING_NETWORK, Reason.WRONG_NETWORK, Reason.EQUIVOCATION
FORGED, LOST = Reason.BAD_SIGNATURE, Reason.FORBIDDEN_DESTINATION
MOST = 2**256 - 1
TYPED = b'{"types": {}, "primaryType": "%s", "domain": {}, "message": {}}'

PAYMENTS = [
    Case("bytes_pay_a_thief", MISMATCH, COINS, as_if(destination=THIEF)),
    Case("bytes_pay_a_look_alike", MISMATCH, COINS, as_if(destination=LOOK_ALIKE)),
    Case("intent_names_a_look_alike", MISMATCH, COINS, intended(destination=LOOK_ALIKE)),
    Case("everything_names_a_look_alike", FORGED, COINS, everywhere(destination=LOOK_ALIKE)),
    Case("tokens_to_a_look_alike", MISMATCH, TOKENS, as_if(destination=LOOK_ALIKE)),
    Case("one_wei_more", MISMATCH, COINS, as_if(amount=5_000_001)),
    Case("one_wei_less", MISMATCH, COINS, as_if(amount=4_999_999)),
    Case("decimals_6_become_18_in_the_bytes", MISMATCH, TOKENS, as_if(amount=5_000_000 * 10**12)),
    Case("decimals_6_become_8_in_the_bytes", MISMATCH, TOKENS, as_if(amount=5_000_000 * 10**2)),
    Case("decimals_6_become_18_in_the_intent", MISMATCH, TOKENS,
         intended(amount=5_000_000 * 10**12)),
    Case("decimals_6_become_18_everywhere", FORGED, TOKENS, everywhere(amount=5_000_000 * 10**12)),
    Case("all_there_is", MISMATCH, TOKENS, as_if(amount=MOST)),
    Case("another_token_in_the_bytes", MISMATCH, TOKENS, as_if(asset_key=BRASS)),
    Case("another_token_in_the_intent", MISMATCH, TOKENS, intended(asset_key=BRASS)),
    Case("another_token_everywhere", FORGED, TOKENS, everywhere(asset_key=BRASS)),
    Case("coins_instead_of_tokens", MISMATCH, TOKENS, as_if(asset_key=NATIVE)),
    Case("tokens_instead_of_coins", MISMATCH, COINS, as_if(asset_key=GOLD)),
    Case("coins_beside_tokens", UNREAD, TOKENS, made(value=1)),
    Case("address_in_lower_case", Reason.INVALID_ADDRESS, COINS,
         everywhere(destination=CUSTOMER.lower())),
    Case("address_with_another_checksum", Reason.INVALID_ADDRESS, COINS,
         everywhere(destination=CUSTOMER.swapcase().replace("0X", "0x"))),
    Case("address_of_nobody", LOST, COINS, everywhere(destination=ZERO)),
    Case("tokens_to_their_own_contract", LOST, TOKENS, as_if(destination=GOLD)),
    Case("tokens_to_nobody_in_the_bytes", LOST, TOKENS, as_if(destination=ZERO)),
]  # fmt: skip
CALLS = [
    Case("approve", ALLOWED, TOKENS, calling("approve(address,uint256)", THIEF, MOST)),
    Case("increase_allowance", ALLOWED, TOKENS,
         calling("increaseAllowance(address,uint256)", THIEF, 1)),
    Case("approval_for_all", ALLOWED, TOKENS,
         calling("setApprovalForAll(address,bool)", THIEF, True)),
    Case("permit", ALLOWED, TOKENS,
         calling(PERMIT, CUSTOMER, THIEF, MOST, MOST, 27, b"r" * 32, b"s" * 32)),
    Case("approval_through_permit2", ALLOWED, TOKENS,
         calling(PERMIT_2, GOLD, THIEF, 2**160 - 1, 1)),
    Case("permit_as_typed_data", ALLOWED, TOKENS, bytes_of(lambda _asked: TYPED % b"Permit")),
    Case("ownership_of_the_token", OWNERS, TOKENS, calling("transferOwnership(address)", THIEF)),
    Case("upgrade", OWNERS, TOKENS, calling("upgradeTo(address)", THIEF)),
    Case("upgrade_and_call", OWNERS, TOKENS,
         calling("upgradeToAndCall(address,bytes)", THIEF, b"")),
    Case("transfer_from", UNKNOWN, TOKENS,
         calling("transferFrom(address,address,uint256)", CUSTOMER, THIEF, 1)),
    Case("multicall", UNKNOWN, TOKENS, calling("multicall(bytes)", b"")),
    Case("a_wallets_transaction_as_a_call", UNKNOWN, COINS,
         made(to=raw(SAFE), value=0, data=call("execTransaction(address,uint256)", THIEF, 1))),
    Case("nobody_knows", UNKNOWN, TOKENS, made(data=b"\xde\xad\xbe\xef" + bytes(64))),
    Case("coins_with_a_message", UNKNOWN, COINS, made(data=b"\0")),
    Case("dirty_recipient", UNREAD, TOKENS,
         made(data=call("transfer(address,uint256)", CUSTOMER, 1)[:4] + b"\1" + bytes(63))),
    Case("call_data_with_more", UNREAD, TOKENS,
         bytes_of(lambda asked: type_2(asked.intent, data=transfer_of(asked.intent) + b"\0"))),
]  # fmt: skip
NETWORKS = [
    Case("main_network", ELSEWHERE, COINS, made(number=1)),
    Case("next_network", ELSEWHERE, COINS, made(number=NUMBER + 1)),
    Case("network_0", NOWHERE, COINS, made(number=0)),
    Case("before_eip_155", NOWHERE, COINS, old_style()),
    Case("eip_155_of_network_0", NOWHERE, COINS, old_style(0, 0, 0)),
    Case("eip_155_of_another_network", ELSEWHERE, COINS, old_style(1, 0, 0)),
    Case("eip_155_of_this_network", UNREAD, COINS, old_style(NUMBER, 0, 0)),
    Case("intent_of_another_network", ELSEWHERE, COINS,
         everywhere(network="eip155:1/0x" + "11" * 32)),
    Case("typed_data_digest", UNREAD, COINS, bytes_of(lambda _asked: b"\x19\x01" + bytes(64))),
    Case("typed_data", UNREAD, COINS, bytes_of(lambda _asked: TYPED % b"Mail")),
    Case("personal_message_that_is_a_transaction", UNREAD, COINS, bytes_of(personal)),
    Case("set_code_transaction", UNREAD, COINS, bytes_of(set_code)),
    Case("type_1", UNREAD, COINS, bytes_of(lambda asked: b"\x01" + type_2(asked.intent)[1:])),
    Case("contract_creation", UNREAD, COINS, made(to=b"")),
    Case("access_list", UNREAD, COINS, made(access=[[raw(THIEF), []]])),
    Case("byte_behind", UNREAD, COINS, bytes_of(lambda asked: type_2(asked.intent) + b"\0")),
    Case("byte_missing", UNREAD, COINS, bytes_of(lambda asked: type_2(asked.intent)[:-1])),
]  # fmt: skip
FEES_AND_NONCES = [
    Case("ten_thousand_gwei", FEE, COINS, made(rate=10_000 * GWEI)),
    Case("thirty_million_gas", FEE, COINS, made(gas=30_000_000)),
    Case("fee_above_the_intent", FEE, COINS, made(rate=101 * GWEI)),
    Case("intents_fee_above_the_approved", FEE, COINS, intended(fee_max=10**16 + 1)),
    Case("fee_told_smaller", MISMATCH, COINS, telling(fee_max=1)),
    Case("nonce_told_otherwise", MISMATCH, COINS, telling(nonce=1)),
    Case("digest_told_otherwise", MISMATCH, COINS, telling(digest=b"\1" * 32)),
    Case("sender_told_otherwise", MISMATCH, COINS, telling(sender=THIEF)),
    Case("another_key_signs", MISMATCH, COINS, by_key(KeyRef("hot", 1))),
    Case("nonce_of_another_withdrawal", TWICE, lambda room: room.coins("wd_2", nonce=1, amount=9),
         after(EvmRoom.coins, made(nonce=0))),
    Case("bytes_of_a_twin_withdrawal", TWICE, lambda room: room.coins("wd_2", nonce=1),
         after(EvmRoom.coins, made(nonce=0))),
    Case("second_nonce_of_a_withdrawal", TWICE, COINS, after(EvmRoom.coins, made(nonce=1))),
    Case("cheaper_replacement", TWICE, lambda room: room.coins("wd_2", nonce=1),
         after(EvmRoom.coins, lambda room, _asked: made(rate=RATE - 1)(room, room.coins()))),
]  # fmt: skip
WALLETS = [
    Case("extra_call", EXTRA, BATCH, beside(inner(THIEF, 1))),
    Case("extra_call_of_the_same_transfer", EXTRA, BATCH,
         lambda room, asked: beside(transfer_inside(asked.intent))(room, asked)),
    Case("extra_approval", ALLOWED, BATCH,
         beside(inner(GOLD, 0, call("approve(address,uint256)", THIEF, MOST)))),
    Case("extra_module", OWNERS, BATCH,
         beside(inner(SAFE, 0, call("enableModule(address)", THIEF)))),
    Case("extra_delegate_call", DELEGATED, BATCH, beside(inner(THIEF, operation=1))),
    Case("empty_multisend", MISMATCH, BATCH, wallet(**batched())),
    Case("multisend_of_another_transfer", MISMATCH, BATCH, wallet(**batched(inner(THIEF, 1)))),
    Case("delegate_call", DELEGATED, PAY, wallet(operation=1)),
    Case("delegate_call_that_looks_like_a_transfer", DELEGATED, PAY_TOKENS, wallet(operation=1)),
    Case("delegate_call_to_another_multisend", DELEGATED, BATCH,
         lambda room, asked: (room, wallet_changed(
             asked, **{**batched(transfer_inside(asked.intent)), "to": OTHER_SAFE}))),
    Case("new_owner", OWNERS, PAY, on_wallet("addOwnerWithThreshold(address,uint256)", THIEF, 1)),
    Case("swapped_owner", OWNERS, PAY,
         on_wallet("swapOwner(address,address,address)", CUSTOMER, CUSTOMER, THIEF)),
    Case("removed_owner", OWNERS, PAY,
         on_wallet("removeOwner(address,address,uint256)", CUSTOMER, CUSTOMER, 1)),
    Case("threshold", OWNERS, PAY, on_wallet("changeThreshold(uint256)", 1)),
    Case("module", OWNERS, PAY, on_wallet("enableModule(address)", THIEF)),
    Case("guard", OWNERS, PAY, on_wallet("setGuard(address)", ZERO)),
    Case("fallback_handler", OWNERS, PAY, on_wallet("setFallbackHandler(address)", THIEF)),
    Case("refund_price", EXTRA, PAY, wallet(gas_price=1)),
    Case("refund_receiver", EXTRA, PAY, wallet(refund_receiver=THIEF)),
    Case("refund_token", EXTRA, PAY, wallet(gas_token=GOLD)),
    Case("wallets_absurd_gas", FEE, PAY, wallet(safe_tx_gas=30_000_000)),
    Case("wallets_other_destination", MISMATCH, PAY, wallet(to=LOOK_ALIKE)),
    Case("wallets_other_amount", MISMATCH, PAY, wallet(value=5_000_001)),
    Case("wallet_of_another_network", ELSEWHERE, PAY, wallet(chain_id=1)),
    Case("wallet_of_no_network", NOWHERE, PAY, wallet(chain_id=0)),
    Case("another_wallet", MISMATCH, PAY, wallet(safe=OTHER_SAFE)),
    Case("wallet_that_is_not_in_the_roster", MISMATCH, PAY,
         lambda room, asked: (room.with_roster(wallets=()), asked)),
    Case("key_that_is_no_owner", MISMATCH, PAY, by_key(KeyRef("cold", 1))),
    Case("owners_own_account_instead", MISMATCH, PAY,
         lambda room, asked: (room, replace(
             asked, unsigned=told(asked.intent, plain(asked.intent))))),
    Case("wallets_nonce_of_another_withdrawal", TWICE,
         lambda room: room.safe("wd_2", nonce=8, amount=9), after(EvmRoom.safe, wallet(nonce=7))),
    Case("wallets_bytes_of_a_twin_withdrawal", TWICE, lambda room: room.safe("wd_2", nonce=8),
         after(EvmRoom.safe, wallet(nonce=7))),
    Case("wallets_second_nonce_of_a_withdrawal", TWICE, PAY, after(EvmRoom.safe, wallet(nonce=8))),
    Case("paid_by_the_wallet_and_again_by_an_account", TWICE, COINS, after(EvmRoom.safe, same)),
    Case("wallets_gas_changed_at_the_same_nonce", TWICE, PAY,
         after(EvmRoom.safe, wallet(safe_tx_gas=1))),
]  # fmt: skip
DELEGATIONS = [
    Case("delegation_to_a_thief", FOREIGN, DELEGATION, delegate_to(NUMBER, THIEF)),
    Case("delegation_to_a_thief_under_an_honest_intent", FOREIGN, DELEGATION,
         delegate_to(NUMBER, THIEF, honest_intent=True)),
    Case("delegation_that_the_mandate_does_not_name", FOREIGN, DELEGATION,
         delegate_to(NUMBER, UNUSED_DELEGATE)),
    Case("delegation_to_another_of_ours", MISMATCH, DELEGATION,
         delegate_to(NUMBER, UNUSED_DELEGATE, honest_intent=True)),
    Case("delegation_on_every_network", NOWHERE, DELEGATION, delegate_to(0, DELEGATE)),
    Case("delegation_on_another_network", ELSEWHERE, DELEGATION, delegate_to(1, DELEGATE)),
    Case("delegation_to_nobody", LOST, DELEGATION, delegate_to(NUMBER, ZERO)),
    Case("delegation_in_the_name_of_a_withdrawal", MISMATCH, COINS,
         bytes_of(lambda _asked: delegation(NUMBER, DELEGATE, 0))),
    Case("payment_in_the_name_of_a_delegation", MISMATCH, DELEGATION,
         lambda room, asked: (room, replace(asked, unsigned=told(
             asked.intent, (type_2(replace(asked.intent, amount=1)), 0, RATE * GAS))))),
    Case("delegation_of_the_cold_wallet", MISMATCH, DELEGATION, by_key(KeyRef("cold", 0))),
    Case("delegation_at_a_nonce_that_is_taken", TWICE,
         lambda room: room.own(SpendKind.SWEEP, "job_2", asset_key=GOLD),
         after(EvmRoom.sweep, lambda room, _asked: (room, room.delegating()))),
]  # fmt: skip
PAYLOADS = [*PAYMENTS, *CALLS, *NETWORKS, *FEES_AND_NONCES, *WALLETS, *DELEGATIONS]
