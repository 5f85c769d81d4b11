"""W06, W07: what a relayer carries for a wallet of several owners is exactly what was approved.

Each case changes one thing of an honest request that is signed: what the owners signed (as if all
of them had been fooled), their signatures, the transaction around them, the wallet on the chain, or
who asks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chains.base import NATIVE, Effect, FeeRate, SpendKind
from chains.evm.relay_payload import encode_relay_payload, read_relay_payload
from chains.evm.safe_build import execute_call
from chains.evm.wallet_payload import WalletTransaction
from chains.multisig import OWNERS
from core.errors import Reason
from custody.keys.authority import Standing
from custody.keys.guard import SignRequest
from custody.keys.intent import NO_POLICY, OWNERS_RULE
from tests.support.contract_wallets import call, raw
from tests.support.evm import GWEI
from tests.support.safes import DEVICES, Device
from tests.unit.custody.keys.conftest import shelf_in_memory
from tests.unit.custody.keys.evmroom import (
    CUSTOMER,
    GOLD,
    HOT,
    OTHER_SAFE,
    SAFE,
    THIEF,
    approved,
    room_of,
    silent_chain,
)
from tests.unit.custody.keys.relayroom import (
    ADA,
    BEN,
    CLEO,
    GAS_KEY,
    MEMBERS,
    NONCE,
    PAID,
    ROW,
    Desk,
    WalletChain,
    signatures_of,
)


@pytest.fixture
def desk() -> Desk:
    room = room_of(shelf_in_memory()).with_roster(wallets=(ROW,))
    return Desk(room.with_guard(chain=silent_chain(kind=WalletChain)))


def test_the_honest_twin_is_signed_once_and_claims_both_nonces(desk: Desk) -> None:
    request = desk.honest()
    assert desk.sign(request) == desk.sign(request)
    (entry,) = desk.room.entries()
    relayer = desk.room.address(GAS_KEY)
    assert entry.record.claims == (f"{relayer}/0", f"{SAFE}/{NONCE}")
    assert (entry.record.sender, entry.record.amount) == (relayer, 5_000_000)


def test_a_dearer_relay_of_the_same_is_signed(desk: Desk) -> None:
    desk.sign(desk.honest())
    dearer = desk.outer(desk.draft(), rate=FeeRate(12 * GWEI, 2 * GWEI))
    desk.sign(desk.request(dearer))
    assert len(desk.room.entries()) == 2


Change = Callable[[Desk], WalletTransaction]
_D, _X, _O = Reason.DELEGATE_CALL, Reason.EXTRA_EFFECT, Reason.OWNER_CHANGE
SIGNED_BY_ALL: dict[str, tuple[Change, Reason]] = {
    "delegate call": (lambda desk: desk.draft(operation=1), _D),
    "delegate call that looks like a transfer": (
        lambda desk: desk.draft(
            operation=1, to=raw(THIEF), value=0,
            data=call("transfer(address,uint256)", CUSTOMER, 5_000_000)), _D),
    "other receiver": (lambda desk: desk.draft(to=raw(THIEF)), Reason.INTENT_MISMATCH),
    "other amount": (lambda desk: desk.draft(value=5_000_001), Reason.INTENT_MISMATCH),
    "another payment beside": (
        lambda desk: desk.draft(*PAID, Effect(GOLD, THIEF, 1)), _X),
    "module": (
        lambda desk: desk.draft(to=raw(SAFE), value=0, data=call("enableModule(address)", THIEF)),
        _O),
    "guard": (
        lambda desk: desk.draft(to=raw(SAFE), value=0, data=call("setGuard(address)", THIEF)), _O),
    "fallback handler": (
        lambda desk: desk.draft(
            to=raw(SAFE), value=0, data=call("setFallbackHandler(address)", THIEF)), _O),
    "new owner": (
        lambda desk: desk.draft(
            to=raw(SAFE), value=0, data=call("addOwnerWithThreshold(address,uint256)", THIEF, 1)),
        _O),
    "owner swapped": (lambda desk: desk.draft(Effect(f"{OWNERS}-{MEMBERS[0]}", THIEF, 0)), _O),
    "threshold of one": (lambda desk: desk.draft(Effect(OWNERS, SAFE, 1)), _O),
    "approve": (
        lambda desk: desk.draft(
            to=raw(GOLD), value=0, data=call("approve(address,uint256)", THIEF, 2**256 - 1)),
        Reason.APPROVAL_CALL),
    "unknown call": (
        lambda desk: desk.draft(to=raw(GOLD), value=0, data=b"\xde\xad\xbe\xef"),
        Reason.UNKNOWN_CALL),
    "refund of gas": (lambda desk: desk.draft(gas_price=1), _X),
    "refund to somebody": (lambda desk: desk.draft(refund_receiver=raw(THIEF)), _X),
    "refund in a token": (lambda desk: desk.draft(gas_token=raw(GOLD)), _X),
    "base gas": (lambda desk: desk.draft(base_gas=1), _X),
    "a later nonce": (lambda desk: desk.draft(nonce=NONCE + 1), Reason.INTENT_MISMATCH),
    "a used nonce": (lambda desk: desk.draft(nonce=NONCE - 1), Reason.INTENT_MISMATCH),
    "another wallet": (lambda desk: desk.draft(safe=raw(OTHER_SAFE)), Reason.INTENT_MISMATCH),
    "another network": (lambda desk: desk.draft(chain_number=1), Reason.NOT_AN_OWNER),
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNED_BY_ALL)
def test_W06_what_all_owners_signed_is_not_relayed_when_it_was_not_approved(
    desk: Desk, name: str
) -> None:
    change, reason = SIGNED_BY_ALL[name]
    found = desk.reason(desk.request(desk.outer(change(desk), (ADA, BEN, CLEO))))
    if name == "another network":  # whose signatures these are, nobody can say
        assert found in (reason, Reason.BAD_SIGNATURE)
    else:
        assert found is reason
    desk.sign(desk.honest())


Mangle = Callable[[bytes], bytes]
MANGLED: dict[str, tuple[Mangle, Reason]] = {
    "one alone": (lambda row: row[:65], Reason.QUORUM_NOT_MET),
    "none": (lambda row: b"", Reason.BAD_SIGNATURE),
    "the same twice": (lambda row: row[:65] * 2, Reason.BAD_SIGNATURE),
    "in the wrong order": (lambda row: row[65:] + row[:65], Reason.BAD_SIGNATURE),
    "of a contract, v 0": (lambda row: row[:64] + b"\0" + row[65:], Reason.BAD_SIGNATURE),
    "approved hash, v 1": (lambda row: row[:64] + b"\1" + row[65:], Reason.BAD_SIGNATURE),
    "of a message, v 31": (
        lambda row: row[:64] + bytes((row[64] + 4,)) + row[65:], Reason.BAD_SIGNATURE),
    "cut": (lambda row: row[:-1], Reason.BAD_SIGNATURE),
    "high s": (lambda row: row[:32] + b"\xff" + row[33:], Reason.BAD_SIGNATURE),
}  # fmt: skip


@pytest.mark.parametrize("name", MANGLED)
def test_only_plain_signatures_of_enough_owners_in_order_count(desk: Desk, name: str) -> None:
    mangle, reason = MANGLED[name]
    transaction = desk.draft()
    row = b"".join(signatures_of(transaction, (ADA, BEN)))
    relay = transaction.safe + execute_call(transaction, [mangle(row)])
    assert desk.reason(desk.request(desk.carrying(relay))) is reason
    desk.sign(desk.honest())


def test_a_stranger_s_signature_does_not_count(desk: Desk) -> None:
    outer = desk.outer(desk.draft(), (ADA, DEVICES[5]))
    assert desk.reason(desk.request(outer)) is Reason.NOT_AN_OWNER


PICTURES: dict[str, tuple[dict[str, Any], Reason]] = {
    "a module": ({"extensions": (f"module {THIEF}",)}, _O),
    "other code": ({"code": THIEF}, _O),
    "another handler": ({"handler": THIEF}, _O),
    "one owner more": ({"owners": (*MEMBERS, THIEF)}, _O),
    "a lower threshold": ({"threshold": 1}, _O),
    "a higher threshold": ({"threshold": 3}, Reason.QUORUM_NOT_MET),
    "who signed is no owner any more": ({"owners": MEMBERS[:1]}, Reason.NOT_AN_OWNER),
    "the next nonce": ({"nonce": NONCE + 1}, Reason.INTENT_MISMATCH),
}


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_is_relayed_for_a_wallet_that_is_not_the_roster_s(desk: Desk, name: str) -> None:
    changes, reason = PICTURES[name]
    assert desk.on_chain(**changes).reason(desk.honest()) is reason
    desk.sign(desk.honest())


def test_the_transaction_around_it_carries_nothing_else(desk: Desk) -> None:
    honest = desk.honest()
    transaction = desk.draft()
    relay = transaction.safe + execute_call(transaction, signatures_of(transaction, (ADA, BEN)))
    nonce, inside = read_relay_payload(honest.unsigned.payload)
    spelled = encode_relay_payload(nonce + 1, inside)
    for outer, reasons in (
        (desk.carrying(raw(OTHER_SAFE) + relay[20:]), {Reason.INTENT_MISMATCH}),
        (desk.carrying(relay + bytes(32)), {Reason.UNDECODABLE}),
        (desk.carrying(relay[:-1]), {Reason.UNDECODABLE}),
        (desk.carrying(raw(GOLD) + call("approve(address,uint256)", THIEF, 1)),
         {Reason.UNDECODABLE}),
        (replace(honest.unsigned, payload=spelled), {Reason.NOT_AN_OWNER, Reason.BAD_SIGNATURE}),
        (replace(honest.unsigned, payload=inside), {Reason.UNKNOWN_CALL, Reason.UNDECODABLE}),
        (replace(honest.unsigned, nonce=1), {Reason.INTENT_MISMATCH}),
        (replace(honest.unsigned, sender=desk.room.address(HOT)), {Reason.INTENT_MISMATCH}),
    ):  # fmt: skip
        assert desk.reason(desk.request(outer)) in reasons
    desk.sign(honest)


def test_only_the_relayer_s_key_relays_and_only_for_a_wallet_of_the_roster(desk: Desk) -> None:
    honest = desk.honest()
    by_hot = desk.outer(desk.draft(), sender=HOT)
    assert desk.reason(replace(honest, unsigned=by_hot, key=HOT)) is Reason.INTENT_MISMATCH
    assert desk.reason(replace(honest, key=HOT)) is Reason.INTENT_MISMATCH
    sweep = replace(honest.intent, kind=SpendKind.SWEEP)
    assert desk.reason(replace(honest, intent=sweep)) is Reason.INTENT_MISMATCH
    nobody = Desk(desk.room.with_roster(wallets=()))
    assert nobody.reason(honest) is Reason.INTENT_MISMATCH


def test_a_mandate_relays_no_payment(desk: Desk) -> None:
    honest = desk.honest()
    standing = replace(honest, authority=Standing("mandate cancellation"))
    assert desk.reason(standing) in (Reason.POLICY_BLOCKED, Reason.INTENT_MISMATCH)


def test_an_approval_that_names_another_wallet_relays_nothing(desk: Desk) -> None:
    for wallet in ("hot", "vault"):
        withdrawal = desk.room.withdrawal(wallet=wallet)
        request = replace(desk.honest(), authority=approved(withdrawal))
        assert desk.reason(request) is Reason.INTENT_MISMATCH


# ---- W07: signatures that somebody kept


def test_W07_signatures_of_a_failed_attempt_pay_no_twin_and_no_other_nonce(desk: Desk) -> None:
    """Three attempts' signatures, every way to put them on another payload."""
    desk.sign(desk.honest())
    twin = desk.request(desk.outer(desk.draft(), nonce=1), "wd_2")
    assert desk.reason(twin) is Reason.EQUIVOCATION
    later = desk.on_chain(nonce=NONCE + 1)
    again = later.request(later.outer(desk.draft(nonce=NONCE + 1), nonce=1))
    assert later.reason(again) is Reason.EQUIVOCATION
    harvested = {
        nonce: signatures_of(desk.draft(nonce=nonce), (ADA, BEN, CLEO))
        for nonce in (NONCE - 1, NONCE, NONCE + 1)
    }
    fresh = desk.draft(Effect(NATIVE, THIEF, 5_000_000))
    for first in harvested:
        for second in harvested:
            row = [harvested[first][0], harvested[second][1]]
            outer = desk.carrying(fresh.safe + execute_call(fresh, row))
            assert desk.reason(desk.request(outer, "wd_3", destination=THIEF)) in (
                Reason.NOT_AN_OWNER,
                Reason.BAD_SIGNATURE,
            )
    assert len(desk.room.entries()) == 1


def test_a_burn_of_the_nonce_is_relayed_by_a_mandate_and_ends_the_payment(desk: Desk) -> None:
    honest = desk.honest()
    desk.sign(honest)
    burn = replace(
        honest.intent, spend_id="sp_1_burn", kind=SpendKind.CANCELLATION,
        cause_id=honest.intent.spend_id, asset_key=NATIVE, destination=SAFE, amount=0,
    )  # fmt: skip
    outer = desk.outer(desk.draft(Effect(NATIVE, SAFE, 0)), nonce=1)
    request = SignRequest(burn, Standing("mandate cancellation"), outer, GAS_KEY)
    desk.sign(request)
    dearer = desk.outer(desk.draft(), nonce=0, rate=FeeRate(20 * GWEI, 3 * GWEI))
    assert desk.reason(desk.request(dearer)) is Reason.EQUIVOCATION
    paying = replace(request, unsigned=desk.outer(desk.draft(), nonce=2))
    assert desk.reason(paying) is Reason.INTENT_MISMATCH


def test_a_second_burn_at_another_nonce_of_ours_is_relayed_for_the_same_spend_only(
    desk: Desk,
) -> None:
    honest = desk.honest()
    desk.sign(honest)

    def burn(name: str, cause: str, nonce: int) -> SignRequest:
        intent = replace(
            honest.intent, spend_id=name, kind=SpendKind.CANCELLATION, cause_id=cause,
            asset_key=NATIVE, destination=SAFE, amount=0,
        )  # fmt: skip
        outer = desk.outer(desk.draft(Effect(NATIVE, SAFE, 0)), nonce=nonce)
        return SignRequest(intent, Standing("mandate cancellation"), outer, GAS_KEY)

    desk.sign(burn("burn", honest.intent.spend_id, 1))
    desk.sign(burn("burn_burn", honest.intent.spend_id, 2))
    assert desk.reason(burn("other", "another spend", 3)) is Reason.EQUIVOCATION
    assert desk.reason(burn("burn_3", honest.intent.spend_id, 1)) is Reason.EQUIVOCATION


# ---- owners


def owners_request(desk: Desk, effect: Effect, devices: tuple[Device, ...]) -> SignRequest:
    withdrawal = desk.room.withdrawal(
        "own_1", wallet="treasury", rule=OWNERS_RULE, policy_hash=NO_POLICY,
        asset_key=effect.asset_key,
        destination=effect.destination, amount=effect.amount,
    )  # fmt: skip
    spend = desk.room.spend(withdrawal, SAFE, kind=SpendKind.OWNERS)
    return SignRequest(
        spend, approved(withdrawal), desk.outer(desk.draft(effect), devices), GAS_KEY
    )


def test_owners_change_by_their_own_kind_of_request_and_towards_the_roster_only(
    desk: Desk,
) -> None:
    dora, thief = DEVICES[3].address, DEVICES[6].address
    after = tuple(sorted({*MEMBERS[1:], dora}))
    planned = Desk(desk.room.with_roster(wallets=(replace(ROW, members=after),)))
    swap = Effect(f"{OWNERS}-{MEMBERS[0]}", dora, 0)
    for effect in (
        Effect(f"{OWNERS}-{MEMBERS[0]}", thief, 0),
        Effect(f"{OWNERS}-{MEMBERS[1]}", dora, 0),
        Effect(OWNERS, thief, 2),
        Effect(OWNERS, dora, 1),
        Effect(OWNERS, dora, 3),
        Effect(OWNERS, SAFE, 1),
        Effect(f"{OWNERS}-{MEMBERS[0]}", SAFE, 1),
    ):
        assert planned.reason(owners_request(planned, effect, (ADA, BEN))) is Reason.OWNER_CHANGE
    assert desk.reason(owners_request(desk, swap, (ADA, BEN))) is Reason.OWNER_CHANGE
    one = owners_request(planned, swap, (ADA,))
    assert planned.reason(one) is Reason.QUORUM_NOT_MET
    planned.sign(owners_request(planned, swap, (ADA, BEN)))
    assert planned.reason(planned.request(planned.outer(planned.draft(), nonce=1))) in (
        Reason.OWNER_CHANGE,
        Reason.NOT_AN_OWNER,
    )
