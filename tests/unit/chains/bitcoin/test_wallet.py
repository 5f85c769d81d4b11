"""A treasury over the seam: drafted, signed by owners, decoded by the script that it brings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chains.base import Coin, Effect, FeeRate, SpendKind, UnsignedTx
from chains.bitcoin.descriptor import Form
from chains.bitcoin.params import COIN
from chains.bitcoin.psbt_fields import IN_LEAF, IN_PREVIOUS_TX, IN_SCRIPT, read_parts
from chains.bitcoin.treasury import Treasury, judge
from chains.bitcoin.tx import Tx
from chains.bitcoin.wallet import OwnedCoins, open_wallet
from core.errors import Reason, Refused
from tests.support.bitcoin import HOT, OFFLINE, PARAMS, STRANGER, address_of, funding
from tests.support.owners import DEVICES, officers, payment, treasury_of

KINDS = [(Form.SCRIPT_HASH, 2, 3), (Form.TAPROOT_SCRIPT, 3, 5)]
EVERY_KIND = pytest.mark.parametrize("kind", KINDS, ids=["wsh", "taproot"])
RATE = FeeRate(5, 5)


def opened(treasury: Treasury, *sources: Tx) -> OwnedCoins:
    """Return the wallet of a treasury, to which a node says where coins come from."""
    known = {tx.tx_id: tx.serialise() for tx in sources}
    return open_wallet(
        treasury.address, treasury.descriptor.text, PARAMS,
        previous_of=known.__getitem__, height=lambda: 0,
    )  # fmt: skip


def coins_in(treasury: Treasury, source: Tx) -> list[Coin]:
    """Return the coins that a transaction made for a treasury."""
    return [
        Coin(f"{source.tx_id}:{index}", treasury.address, output.amount)
        for index, output in enumerate(source.outputs)
    ]


def drafted(kind: tuple[Form, int, int]) -> tuple[Treasury, OwnedCoins, UnsignedTx]:
    """Return a wallet and what its owners are asked to sign: 4 of 1, 3 and 2 coins."""
    treasury = treasury_of(*kind)
    source = funding(treasury.address, COIN, 3 * COIN, 2 * COIN)
    wallet = opened(treasury, source)
    made = wallet.draft(payment(treasury, 4 * COIN), coins_in(treasury, source), rate=RATE)
    return treasury, wallet, made


@EVERY_KIND
def test_a_draft_takes_the_largest_coins_and_no_more_than_needed(
    kind: tuple[Form, int, int],
) -> None:
    _, wallet, made = drafted(kind)
    assert sorted(coin.amount for coin in wallet.coins_of(made)) == [2 * COIN, 3 * COIN]


@EVERY_KIND
def test_owners_sign_over_the_seam_and_the_result_passes_a_second_script_engine(
    kind: tuple[Form, int, int],
) -> None:
    treasury, wallet, made = drafted(kind)
    payload, given = made.payload, []
    for number, who in enumerate(officers(kind[2])[: kind[1]]):
        texts = wallet.shown(payload)
        answer = DEVICES[number % 2](who, wallet.seen(texts[::-1]), treasury.descriptor)
        for owner, signature in wallet.take(made, answer):
            assert owner in wallet.owners
            assert wallet.owner_of(made, signature) == owner
            given.append(signature)
        payload = wallet.joined(made, list(dict.fromkeys(given)))
        if number < kind[1] - 1:
            with pytest.raises(Refused) as refused:
                wallet.finalise(made, list(dict.fromkeys(given)))
            assert refused.value.reason is Reason.QUORUM_NOT_MET
    signed = wallet.finalise(made, list(dict.fromkeys(given)))
    assert signed.tx_id == read_parts(made.payload).tx.tx_id


@EVERY_KIND
def test_a_payload_is_decoded_without_the_descriptor(kind: tuple[Form, int, int]) -> None:
    treasury, wallet, made = drafted(kind)
    decoded = OFFLINE.decode(made.payload, sender=treasury.address)
    judged = judge(made.payload, payment(treasury, 4 * COIN), treasury, height=lambda: 0)
    scope = 0 if treasury.is_taproot else 1
    assert [one.digest for one in decoded.inputs] == [
        judged.digest(index, scope=scope) for index in range(2)
    ]
    assert (decoded.fee_max, decoded.digest) == (made.fee_max, made.digest)
    assert decoded.claims(treasury.address) == tuple(
        coin.outpoint for coin in wallet.coins_of(made)
    )
    assert Effect("native", STRANGER, 4 * COIN) in decoded.effects


@EVERY_KIND
def test_a_payload_that_brings_no_script_or_another_one_is_not_decoded(
    kind: tuple[Form, int, int],
) -> None:
    treasury, _, made = drafted(kind)
    other = treasury_of(*kind, first=40)
    parts = read_parts(made.payload)
    first = dict(parts.inputs[0])
    field = next(key for key in first if key[0] in (IN_SCRIPT, IN_LEAF))
    for value in (None, other.script if field[0] == IN_SCRIPT else other.script + b"\xc0"):
        told = {key: old for key, old in first.items() if key != field}
        if value is not None:
            told[field] = value
        changed = replace(parts, inputs=(told, *parts.inputs[1:])).serialise()
        with pytest.raises(Refused):
            OFFLINE.decode(changed, sender=treasury.address)
    told = {key: old for key, old in first.items() if key[0] != IN_PREVIOUS_TX}
    changed = replace(parts, inputs=(told, *parts.inputs[1:])).serialise()
    with pytest.raises(Refused) as refused:
        OFFLINE.decode(changed, sender=treasury.address)
    assert refused.value.reason is Reason.UNPROVEN_AMOUNT
    with pytest.raises(Refused):
        OFFLINE.decode(made.payload, sender=other.address)
    with pytest.raises(Refused):
        OFFLINE.decode(made.payload, sender=address_of(HOT))


def test_a_coin_told_with_another_amount_is_not_drafted() -> None:
    treasury = treasury_of(*KINDS[0])
    source = funding(treasury.address, 3 * COIN)
    wallet, (coin,) = opened(treasury, source), coins_in(treasury, source)
    asked = payment(treasury, COIN)
    assert wallet.draft(asked, [coin], rate=RATE).fee_max > 0
    for wrong, reason in (
        (replace(coin, amount=4 * COIN), Reason.UNPROVEN_AMOUNT),
        (replace(coin, owner=STRANGER), Reason.FOREIGN_INPUT),
        (replace(coin, outpoint="x"), Reason.MALFORMED),
    ):
        with pytest.raises(Refused) as refused:
            wallet.draft(asked, [wrong], rate=RATE)
        assert refused.value.reason is reason
    with pytest.raises(Refused) as refused:
        wallet.draft(payment(treasury, 5 * COIN), [coin], rate=RATE)
    assert refused.value.reason is Reason.EXCEEDS_AVAILABLE


def test_a_cancellation_uses_every_coin_it_is_given() -> None:
    treasury = treasury_of(*KINDS[0])
    source = funding(treasury.address, COIN, 3 * COIN, 2 * COIN)
    wallet, coins = opened(treasury, source), coins_in(treasury, source)
    back = payment(treasury, 0, destination=treasury.address, kind=SpendKind.CANCELLATION)
    assert set(wallet.coins_of(wallet.draft(back, coins, rate=RATE))) == set(coins)


def test_the_descriptor_of_another_address_opens_no_wallet() -> None:
    ours, other = treasury_of(*KINDS[0]), treasury_of(*KINDS[0], first=40)
    assert OFFLINE.coin_wallet(ours.address, ours.descriptor.text).threshold == 2
    with pytest.raises(Refused) as refused:
        OFFLINE.coin_wallet(ours.address, other.descriptor.text)
    assert refused.value.reason is Reason.OWNER_CHANGE
