"""Tampered requests over coins whose bytes alone are in order (S08, K04, W05).

Each changes one thing of an honest request. What the guard finds out, it finds out with its own
keys and the intent: whose the coins are, where the change goes, whether the fee was approved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from bip_utils import Bip32Slip10Secp256k1  # type: ignore[import-untyped]

from chains.bitcoin.address import script_of, script_of_key
from chains.bitcoin.hashes import hash160
from chains.bitcoin.params import COIN, NETWORKS
from core.errors import Reason
from custody.keys.secret import Secret
from custody.keys.signers import KeyRef, LocalSigner
from tests.support.bitcoin import (
    CHANGE,
    FEE,
    HOT,
    LOCAL,
    OFFLINE,
    SEED,
    SIGNER,
    STRANGER,
    Draft,
    DraftInput,
    DraftOutput,
    Wallet,
    address_of,
    coin_of,
    funding,
)
from tests.unit.custody.keys.coinroom import Asked

ATTACKER = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry"
FAR = KeyRef("hot", 1_000_000)
OTHER_ACCOUNT = KeyRef("cold", CHANGE.index)
CHANGE_KEY = SIGNER.public_key(CHANGE)

MISMATCH, FOREIGN_INPUT = Reason.INTENT_MISMATCH, Reason.FOREIGN_INPUT
FOREIGN_CHANGE, EXTRA = Reason.FOREIGN_CHANGE, Reason.EXTRA_EFFECT


@dataclass(frozen=True, slots=True)
class RequestCase:
    """One tampered request, made of the honest one."""

    name: str
    reason: Reason
    tamper: Callable[[Asked], Asked]


def honest() -> Asked:
    """Return the request that every case starts from."""
    return Asked(Wallet().draft())


def pay(script: bytes) -> Callable[[Asked], Asked]:
    """Return the change that pays the destination's amount to another script."""
    return lambda asked: asked.changed(draft=asked.draft.with_output(0, script=script))


def keep(script: bytes, *keys: KeyRef) -> Callable[[Asked], Asked]:
    """Return the change that sends what is left to another script, naming these change keys."""
    named = keys or (CHANGE,)
    return lambda asked: asked.changed(
        draft=asked.draft.with_output(1, script=script), change_keys=named
    )


def shift(amount: int) -> Callable[[Asked], Asked]:
    """Return the change that pays so much more to the destination, out of the change."""

    def tamper(asked: Asked) -> Asked:
        first, second = asked.draft.outputs
        draft = asked.draft.with_output(0, amount=first.amount + amount)
        return asked.changed(draft=draft.with_output(1, amount=second.amount - amount))

    return tamper


def outputs(*amounts: tuple[str, int]) -> Callable[[Asked], Asked]:
    """Return the change that has exactly these outputs."""
    made = tuple(DraftOutput(amount, script_of(address, LOCAL)) for address, amount in amounts)
    return lambda asked: asked.changed(draft=asked.draft.changed(outputs=made))


def spend(address: str, *, named: tuple[KeyRef, ...] = (HOT, HOT)) -> Callable[[Asked], Asked]:
    """Return the change whose second coin, of the same amount, is another address's."""
    coin = coin_of(funding(address, 2 * COIN, salt=7))
    other = DraftInput(coin.tx_id, coin.index, coin.previous)
    return lambda asked: asked.changed(
        draft=asked.draft.changed(inputs=(asked.draft.inputs[0], other)), input_keys=named
    )


def say(**changes: object) -> Callable[[Asked], Asked]:
    """Return the change that says something else beside the payload."""
    return lambda asked: asked.changed(said=changes)


def about(**changes: object) -> Callable[[Asked], Asked]:
    """Return the change of the intent, approved as changed."""
    return lambda asked: asked.about(**changes)


def claimed_path(draft: Draft) -> Draft:
    """Say of an attacker's output that it is ours, in the field that says such things."""
    path = b"\x00" * 4 + b"".join(
        step.to_bytes(4, "little")
        for step in (84 + (1 << 31), 1 + (1 << 31), 1 + (1 << 31), 0, CHANGE.index)
    )
    hint = ((b"\x02" + CHANGE_KEY, path),)
    return draft.with_output(1, script=script_of(ATTACKER, LOCAL), more=hint)


def key_at(path: str) -> bytes:
    """Return the script of another key of the same seed."""
    key = Bip32Slip10Secp256k1.FromSeed(SEED).DerivePath(path).PublicKey()
    return script_of_key(bytes(key.RawCompressed().ToBytes()))


def look_alike() -> bytes:
    """Return a script whose address begins and ends like the destination's for most of it."""
    script = bytearray(script_of(STRANGER, LOCAL))
    script[12] ^= 1
    return bytes(script)


_STRANGER_HASH = script_of(STRANGER, LOCAL)[2:]
_OTHER_SEED = LocalSigner(Secret(b"\x77" * 64), OFFLINE.traits)
_FOREIGN = OFFLINE.address_of(_OTHER_SEED.public_key(HOT))

REQUEST_CASES = (
    # the destination
    RequestCase("pays_more", MISMATCH, shift(1_000)),
    RequestCase("pays_less_and_keeps_it", MISMATCH, shift(-1_000)),
    RequestCase("pays_an_attacker", MISMATCH, pay(script_of(ATTACKER, LOCAL))),
    RequestCase("pays_a_look_alike", MISMATCH, pay(look_alike())),
    RequestCase("pays_the_old_kind_of_the_key", MISMATCH, pay(
        b"\x76\xa9\x14" + _STRANGER_HASH + b"\x88\xac")),
    RequestCase("pays_the_hash_as_a_script", MISMATCH, pay(b"\xa9\x14" + _STRANGER_HASH + b"\x87")),
    RequestCase("pays_only_the_change", MISMATCH, outputs((address_of(CHANGE), 5 * COIN - FEE))),
    RequestCase("pays_in_two_parts", MISMATCH, outputs(
        (STRANGER, 2 * COIN), (STRANGER, 2 * COIN), (address_of(CHANGE), COIN - FEE))),
    RequestCase("pays_twice", FOREIGN_CHANGE, outputs(
        (STRANGER, 4 * COIN), (STRANGER, COIN - FEE))),
    RequestCase("pays_somebody_beside", EXTRA, outputs(
        (STRANGER, 4 * COIN), (ATTACKER, 50_000), (address_of(CHANGE), COIN - FEE - 50_000))),
    RequestCase("pays_somebody_last", EXTRA, outputs(
        (address_of(CHANGE), COIN - FEE - 50_000), (STRANGER, 4 * COIN), (ATTACKER, 50_000))),
    RequestCase("change_in_two_parts", EXTRA, outputs(
        (STRANGER, 4 * COIN), (address_of(CHANGE), FEE), (address_of(CHANGE), COIN - 2 * FEE))),
    # the change
    RequestCase("change_to_an_attacker", FOREIGN_CHANGE, keep(script_of(ATTACKER, LOCAL))),
    RequestCase("change_said_to_be_ours", FOREIGN_CHANGE, lambda asked: asked.changed(
        draft=claimed_path(asked.draft))),
    RequestCase("change_nobody_named", FOREIGN_CHANGE, keep(key_at("m/84'/1'/1'/0/6"))),
    RequestCase("change_at_a_far_index", FOREIGN_CHANGE, keep(key_at("m/84'/1'/1'/0/1000000"))),
    RequestCase("change_at_a_far_index_named", FOREIGN_CHANGE, keep(
        key_at("m/84'/1'/1'/0/1000000"), FAR)),
    RequestCase("change_to_another_account", FOREIGN_CHANGE, keep(key_at("m/84'/1'/3'/0/5"))),
    RequestCase("change_to_another_account_named", FOREIGN_CHANGE, keep(
        key_at("m/84'/1'/3'/0/5"), OTHER_ACCOUNT)),
    RequestCase("change_to_the_inner_branch", FOREIGN_CHANGE, keep(key_at("m/84'/1'/1'/1/5"))),
    RequestCase("change_to_another_purpose", FOREIGN_CHANGE, keep(key_at("m/44'/1'/1'/0/5"))),
    RequestCase("change_to_another_coin", FOREIGN_CHANGE, keep(key_at("m/84'/0'/1'/0/5"))),
    RequestCase("change_to_the_old_kind", FOREIGN_CHANGE, keep(
        b"\x76\xa9\x14" + hash160(CHANGE_KEY) + b"\x88\xac")),
    RequestCase("change_to_a_wrapped_program", FOREIGN_CHANGE, keep(
        b"\xa9\x14" + hash160(b"\x00\x14" + hash160(CHANGE_KEY)) + b"\x87")),
    RequestCase("change_to_the_taproot_key", FOREIGN_CHANGE, keep(
        b"\x51\x20" + CHANGE_KEY[1:])),
    RequestCase("no_change_key_named", EXTRA, lambda asked: asked.changed(change_keys=())),
    # the coins
    RequestCase("coin_of_a_stranger", FOREIGN_INPUT, spend(STRANGER)),
    RequestCase("coin_of_another_seed", FOREIGN_INPUT, spend(_FOREIGN)),
    RequestCase("coin_of_another_account", FOREIGN_INPUT, spend(
        address_of(KeyRef("deposits", 0)), named=(HOT, KeyRef("deposits", 0)))),
    RequestCase("coin_of_another_account_unnamed", FOREIGN_INPUT, spend(
        address_of(KeyRef("deposits", 0)))),
    RequestCase("coins_in_another_order", FOREIGN_INPUT, spend(
        address_of(CHANGE), named=(CHANGE, HOT))),
    RequestCase("key_missing", FOREIGN_INPUT, lambda asked: asked.changed(input_keys=(HOT,))),
    RequestCase("key_too_many", FOREIGN_INPUT, lambda asked: asked.changed(input_keys=(HOT,) * 3)),
    RequestCase("no_keys", FOREIGN_INPUT, lambda asked: asked.changed(input_keys=())),
    RequestCase("keys_of_others", FOREIGN_INPUT, lambda asked: asked.changed(
        input_keys=(CHANGE, CHANGE))),
    # the fee
    RequestCase("fee_above_the_approved", Reason.FEE_ABOVE_CAP, about(fee_max=FEE - 1)),
    # what is said beside the payload
    RequestCase("another_digest", MISMATCH, say(digest=b"\x01" * 32)),
    RequestCase("a_smaller_fee_is_said", MISMATCH, say(fee_max=FEE - 1)),
    RequestCase("a_nonce_is_said", MISMATCH, say(nonce=1)),
    RequestCase("another_sender_is_said", MISMATCH, say(sender=address_of(CHANGE))),
    RequestCase("another_chain_is_said", MISMATCH, say(chain="other")),
    RequestCase("key_of_another_address", MISMATCH, lambda asked: asked.changed(key=CHANGE)),
    RequestCase("key_that_pays_no_withdrawal", MISMATCH, lambda asked: asked.changed(
        key=KeyRef("deposits", 0))),
    # the intent
    RequestCase("intent_of_another_network", Reason.WRONG_NETWORK, about(
        network=f"bip122:{NETWORKS['main'].genesis_hash}")),
    RequestCase("intent_of_another_asset", MISMATCH, about(asset_key="token")),
    RequestCase("intent_of_nothing", Reason.ZERO_AMOUNT, about(amount=0)),
    RequestCase("destination_of_another_network", Reason.WRONG_NETWORK, about(
        destination="bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")),
    RequestCase("destination_in_capitals", Reason.INVALID_ADDRESS, about(
        destination=STRANGER.upper())),
    RequestCase("destination_with_a_wrong_checksum", Reason.INVALID_ADDRESS, about(
        destination=STRANGER[:-1] + "q")),
    RequestCase("destination_that_burns", Reason.FORBIDDEN_DESTINATION, about(
        destination="bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202")),
)  # fmt: skip


def reordered(asked: Asked) -> Asked:
    """Return the same request with its outputs the other way round, which is as honest."""
    return asked.changed(draft=asked.draft.changed(outputs=asked.draft.outputs[::-1]))


def replaced(asked: Asked, fee: int, **changes: object) -> Asked:
    """Return the same request at another fee, taken from the change."""
    draft = asked.draft.with_output(1, amount=COIN - fee)
    return asked.changed(draft=replace(draft, **changes))  # type: ignore[arg-type]
