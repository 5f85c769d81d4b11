"""A contract wallet's transaction: its hash is EIP-712's, and it does what its bytes say."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from chains.base import CODE, NATIVE, Effect, FeeRate
from chains.evm import open_evm
from chains.evm.params import MULTI_SEND_CALL_ONLY
from chains.evm.wallet_payload import (
    WalletTransaction,
    encode_wallet_payload,
    read_wallet_payload,
    wallet_digest,
)
from chains.multisig import OWNERS
from core.errors import Reason, Refused
from custody.keys import canonical
from tests.support.contract_wallets import (
    MULTI_SEND,
    ZERO,
    SafeTx,
    call,
    delegation,
    inner,
    multi_send,
)
from tests.support.evm import FIRST, config_for, listed

NUMBER = 31_337
TOKEN = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
SAFE = "0x41675C099F32341bf84BFc5382aF534df5C7461a"
ALICE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
THIEF = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
CHAIN = open_evm(config_for(["http://127.0.0.1:9"], listed(TOKEN), genesis="0x" + "0" * 64))
PAY = SafeTx(NUMBER, SAFE, ALICE, 5, nonce=3)
TRANSFER = call("transfer(address,uint256)", ALICE, 7)
TOKENS = SafeTx(NUMBER, SAFE, TOKEN, 0, TRANSFER, nonce=4)
BOTH = SafeTx(NUMBER, SAFE, MULTI_SEND, 0, operation=1, nonce=5,
              data=multi_send([inner(ALICE, 5), inner(TOKEN, 0, TRANSFER)]))  # fmt: skip
PAID, TOKENS_PAID = Effect(NATIVE, ALICE, 5), Effect(TOKEN, ALICE, 7)


def reason_of(payload: bytes, sender: str = SAFE) -> Reason:
    with pytest.raises(Refused) as refused:
        CHAIN.decode(payload, sender=sender)
    return refused.value.reason


@pytest.mark.parametrize(
    ("transaction", "effects"),
    [(PAY, (PAID,)), (TOKENS, (TOKENS_PAID,)), (BOTH, (PAID, TOKENS_PAID))],
    ids=["native", "token", "multisend"],
)
def test_it_is_read_as_exactly_its_effects(
    transaction: SafeTx, effects: tuple[Effect, ...]
) -> None:
    decoded = CHAIN.decode(transaction.payload(), sender=SAFE)
    assert decoded.effects == effects
    assert (decoded.nonce, decoded.fee_max) == (transaction.nonce, 0)
    assert decoded.source_is_contract
    assert decoded.claims(SAFE) == (f"{SAFE}/{transaction.nonce}",)
    assert decoded.digest == transaction.digest()
    assert CHAIN.rate_of(transaction.payload()) == FeeRate(0, 0)


words = st.one_of(st.integers(0, 3), st.integers(0, 2**256 - 1))
addresses = st.binary(min_size=20, max_size=20)


@given(
    st.tuples(
        st.integers(1, 2**64), addresses, addresses, words, st.binary(max_size=90),
        st.integers(0, 255), words, words, words, addresses, addresses, words,
    )
)  # fmt: skip
def test_its_hash_is_that_of_eth_account_and_its_bytes_are_canonical(values: Any) -> None:
    ours = WalletTransaction(*values)
    texts: list[Any] = ["0x" + one.hex() if isinstance(one, bytes) else one for one in values]
    texts[4] = values[4]
    theirs = SafeTx(*texts)
    assert wallet_digest(ours) == theirs.digest()
    payload = encode_wallet_payload(ours)
    assert payload == theirs.payload()
    assert read_wallet_payload(payload) == ours
    assert canonical.decode("strongroom/contract-wallet-transaction", 1, payload) == values


def test_no_other_bytes_read_as_the_same_transaction() -> None:
    payload, seen = BOTH.payload(), read_wallet_payload(BOTH.payload())
    for position in range(len(payload)):
        for mutated in (
            payload[:position],
            payload[:position] + bytes([payload[position] ^ 1]) + payload[position + 1 :],
            payload[:position] + b"\0" + payload[position:],
        ):
            try:
                other = read_wallet_payload(mutated)
            except Refused:
                continue
            assert other != seen
            assert encode_wallet_payload(other) == mutated


@given(st.binary(max_size=400))
def test_no_bytes_make_the_reader_fail_otherwise_than_by_refusing(data: bytes) -> None:
    head = PAY.payload()[:43]
    for payload in (head + data, b"\x05" + data):
        try:
            CHAIN.decode(payload, sender=SAFE)
        except Refused:
            continue


def sending(*calls: bytes, **changes: Any) -> SafeTx:
    return BOTH.with_(data=multi_send(calls), **changes)


def raw_multi(
    packed: bytes, *, offset: int = 32, size: int | None = None, tail: bytes = b""
) -> bytes:
    selector = call("multiSend(bytes)", b"")[:4]
    length = len(packed) if size is None else size
    pad = bytes(-len(packed) % 32)
    return selector + offset.to_bytes(32, "big") + length.to_bytes(32, "big") + packed + pad + tail


_A, _O, _D = Reason.APPROVAL_CALL, Reason.OWNER_CHANGE, Reason.DELEGATE_CALL
_U, _X, _B = Reason.UNKNOWN_CALL, Reason.EXTRA_EFFECT, Reason.UNDECODABLE
REFUSED: dict[str, tuple[SafeTx, Reason]] = {
    "another network": (PAY.with_(chain_id=1), Reason.WRONG_NETWORK),
    "no network": (PAY.with_(chain_id=0), Reason.MISSING_NETWORK),
    "another wallet": (PAY.with_(safe=THIEF), Reason.INTENT_MISMATCH),
    "delegate call": (PAY.with_(operation=1), _D),
    "delegate call with a transfer": (TOKENS.with_(operation=1), _D),
    "delegate call to MultiSend": (
        BOTH.with_(to="0x38869bf66a61cF6bDB996A6aE40D5853Fd43B526"), _D),
    "delegate call inside": (sending(inner(ALICE, 5), inner(THIEF, operation=1)), _D),
    "operation 2": (PAY.with_(operation=2), _B),
    "multisend as a call": (BOTH.with_(operation=0), _U),
    "multisend with coin": (BOTH.with_(value=1), _B),
    "another function of multisend": (BOTH.with_(data=TRANSFER), _U),
    "approve": (TOKENS.with_(data=call("approve(address,uint256)", THIEF, 1)), _A),
    "approve inside": (
        sending(inner(TOKEN, 0, TRANSFER),
                inner(TOKEN, 0, call("approve(address,uint256)", THIEF, 1))), _A),
    "permit": (TOKENS.with_(data=call(
        "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)",
        SAFE, THIEF, 1, 1, 27, b"r" * 32, b"s" * 32)), _A),
    "new owner, cut": (PAY.with_(
        to=SAFE, value=0, data=call("addOwnerWithThreshold(address,uint256)", THIEF, 1)[:-1]), _B),
    "new owner and a word": (PAY.with_(
        to=SAFE, value=0,
        data=call("addOwnerWithThreshold(address,uint256)", THIEF, 1) + bytes(32)), _B),
    "new owner with coin": (PAY.with_(
        to=SAFE, value=1, data=call("addOwnerWithThreshold(address,uint256)", THIEF, 1)), _B),
    "owner of 21 bytes": (PAY.with_(
        to=SAFE, value=0, data=call("swapOwner(address,address,address)", ALICE, ALICE, THIEF)[:4]
        + b"\1" * 96), _B),
    "another wallet's owner": (PAY.with_(
        to=THIEF, value=0, data=call("changeThreshold(uint256)", 1)), _O),
    "swapped owner inside": (sending(inner(ALICE, 5), inner(
        SAFE, 0, call("swapOwner(address,address,address)", ALICE, ALICE, THIEF))), _O),
    "module": (PAY.with_(to=SAFE, value=0, data=call("enableModule(address)", THIEF)), _O),
    "guard": (PAY.with_(to=SAFE, value=0, data=call("setGuard(address)", THIEF)), _O),
    "fallback": (PAY.with_(
        to=SAFE, value=0, data=call("setFallbackHandler(address)", THIEF)), _O),
    "owner inside": (
        sending(inner(ALICE, 5), inner(SAFE, 0, call("enableModule(address)", THIEF))), _O),
    "nobody knows": (TOKENS.with_(data=b"\xde\xad\xbe\xef"), _U),
    "refund price": (PAY.with_(gas_price=1), _X),
    "refund base": (PAY.with_(base_gas=1), _X),
    "refund token": (PAY.with_(gas_token=TOKEN), _X),
    "refund receiver": (PAY.with_(refund_receiver=THIEF), _X),
    "absurd gas": (PAY.with_(safe_tx_gas=30_000_000), Reason.FEE_ABOVE_CAP),
    "to nobody": (PAY.with_(to=ZERO), Reason.FORBIDDEN_DESTINATION),
    "to itself through the zero address": (
        sending(inner(ALICE, 5), inner(ZERO, 1)), Reason.FORBIDDEN_DESTINATION),
    "token with coin": (TOKENS.with_(value=1), _B),
    "inner call cut": (BOTH.with_(data=raw_multi(inner(ALICE, 5)[:-1])), _B),
    "inner call too long": (BOTH.with_(data=raw_multi(inner(ALICE, 5) + b"\0" * 84)), _B),
    "too many inner calls": (sending(*[inner(ALICE, 1)] * 65), _B),
    "another offset": (BOTH.with_(data=raw_multi(inner(ALICE, 5), offset=64)), _B),
    "size beyond the end": (BOTH.with_(data=raw_multi(inner(ALICE, 5), size=999)), _B),
    "bytes behind": (BOTH.with_(data=raw_multi(inner(ALICE, 5), tail=bytes(32))), _B),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_W06_what_would_do_anything_else_is_refused_by_its_name(name: str) -> None:
    transaction, reason = REFUSED[name]
    assert reason_of(transaction.payload()) is reason


@pytest.mark.parametrize(
    ("data", "effect"),
    [
        (call("addOwnerWithThreshold(address,uint256)", ALICE, 2), Effect(OWNERS, ALICE, 2)),
        (call("changeThreshold(uint256)", 3), Effect(OWNERS, SAFE, 3)),
        (
            call("removeOwner(address,address,uint256)", TOKEN, ALICE, 2),
            Effect(f"{OWNERS}-{ALICE}", SAFE, 2),
        ),
        (
            call("swapOwner(address,address,address)", TOKEN, ALICE, THIEF),
            Effect(f"{OWNERS}-{ALICE}", THIEF, 0),
        ),
    ],
)
def test_a_change_of_owners_is_read_as_who_goes_who_comes_and_the_threshold(
    data: bytes, effect: Effect
) -> None:
    decoded = CHAIN.decode(PAY.with_(to=SAFE, value=0, data=data).payload(), sender=SAFE)
    assert decoded.effects == (effect,)


def test_both_pinned_multisends_are_understood_and_no_other() -> None:
    for address in MULTI_SEND_CALL_ONLY:
        assert CHAIN.decode(BOTH.with_(to=address).payload(), sender=SAFE).effects
    assert reason_of(BOTH.with_(to=THIEF).payload()) is Reason.DELEGATE_CALL


def test_a_multisend_of_nothing_does_nothing() -> None:
    assert CHAIN.decode(sending().payload(), sender=SAFE).effects == ()


def test_one_signature_makes_no_transaction_of_a_wallet() -> None:
    from chains.base import UnsignedTx

    payload = PAY.payload()
    unsigned = UnsignedTx(CHAIN.traits.chain, SAFE, 3, payload, PAY.digest(), 0)
    with pytest.raises(Refused) as refused:
        CHAIN.assemble(unsigned, FIRST.sign(PAY.digest()))
    assert refused.value.reason is Reason.UNDECODABLE


def test_every_field_is_in_the_hash() -> None:
    for field in fields(SafeTx):
        value = getattr(PAY, field.name)
        other = value + 1 if isinstance(value, int) else b"x" if value == b"" else THIEF
        assert PAY.with_(**{field.name: other}).digest() != PAY.digest(), field.name


# ---- delegations (EIP-7702)


def test_a_delegation_is_read_as_the_code_it_lets_run() -> None:
    decoded = CHAIN.decode(delegation(NUMBER, SAFE, 9), sender=ALICE)
    assert (decoded.effects, decoded.nonce) == ((Effect(CODE, SAFE, 0),), 9)
    assert (decoded.fee_max, decoded.source_is_contract) == (0, False)
    assert CHAIN.rate_of(delegation(NUMBER, SAFE, 9)) == FeeRate(0, 0)


def test_its_digest_is_the_one_that_eth_account_signs() -> None:
    account = Account.from_key(b"\x11" * 32)
    for nonce in (0, 127, 128, 2**63):
        signed = account.sign_authorization({"chainId": NUMBER, "address": SAFE, "nonce": nonce})
        assert CHAIN.decode(delegation(NUMBER, SAFE, nonce), sender=ALICE).digest == bytes(
            signed.authorization_hash
        )


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (delegation(0, SAFE, 9), Reason.MISSING_NETWORK),
        (delegation(1, SAFE, 9), Reason.WRONG_NETWORK),
        (delegation(NUMBER, SAFE, 2**64), Reason.UNDECODABLE),
        (delegation(NUMBER, ZERO, 9), Reason.FORBIDDEN_DESTINATION),
        (delegation(NUMBER, SAFE, 9) + b"\0", Reason.UNDECODABLE),
        (delegation(NUMBER, SAFE, 9)[:-1], Reason.UNDECODABLE),
        (b"\x05", Reason.UNDECODABLE),
        (b"\x05" + b"\xc0" * 70, Reason.UNDECODABLE),
    ],
)
def test_S09_a_delegation_of_another_network_or_none_is_refused(
    payload: bytes, reason: Reason
) -> None:
    assert reason_of(payload, ALICE) is reason
