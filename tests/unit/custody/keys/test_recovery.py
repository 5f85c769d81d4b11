"""K04: a seed restored from shares finds everything it owns on the chain, whatever the gaps."""

from __future__ import annotations

import random

import pytest

from chains.base import NATIVE
from chains.fake import FakeChain, FakeWorld, Output
from core.entropy import SeededEntropy
from core.errors import Reason, Refused
from custody.keys.recovery import find_money
from custody.keys.secret import Secret
from custody.keys.shares import Scheme, restore, split
from custody.keys.signers.base import KeyRef
from custody.keys.signers.seeded import SeededSigner
from tests.unit.custody.keys.networks import traits

SEED = Secret(SeededEntropy(4, "recovery").token_bytes(32))
GAP = 60


def paid(chain: FakeChain, world: FakeWorld, places: list[KeyRef], token: str) -> dict[str, int]:
    """Pay own addresses from outside, some in a token; return what was paid, by asset."""
    signer = SeededSigner(SEED, chain.traits)
    chance = random.Random(4)
    totals = {NATIVE: 0, token: 0}
    outputs = []
    for number, key in enumerate(places):
        asset = token if number % 3 == 0 else NATIVE
        amount = chance.randrange(1, 10**9)
        totals[asset] += amount
        outputs.append(Output(chain.address_of(signer.public_key(key)), asset, amount, amount))
    world.pay_many(outputs)
    world.mine(2)
    return totals


def sums(found: list[tuple[str, int]]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for asset, amount in found:
        totals[asset] = totals.get(asset, 0) + amount
    return totals


def test_K04_a_restored_seed_finds_all_of_the_balance() -> None:
    world = FakeWorld()
    token = world.add_token("USDX")
    chain = FakeChain(world)
    gaps = [0, 1, 2, 61, 62, 121, 181, 240]
    places = [KeyRef("deposits", index) for index in gaps]
    places += [KeyRef("hot", 0), KeyRef("gas", 0), KeyRef("cold", 0), KeyRef("cold", 59)]
    totals = paid(chain, world, places, token)
    shares = split(SEED, Scheme(iteration_exponent=0), entropy=SeededEntropy(5))
    signer = SeededSigner(restore(shares[2:]), chain.traits)

    found = find_money(chain, signer, [NATIVE, token], chain.head(), gap_limit=GAP)
    assert sums([(one.asset_key, one.amount) for one in found]) == totals
    assert [one.key for one in found] == places
    assert all(one.address == chain.address_of(signer.public_key(one.key)) for one in found)


def test_K04_a_gap_above_the_limit_needs_the_highest_number() -> None:
    world = FakeWorld()
    token = world.add_token("USDX")
    chain = FakeChain(world)
    places = [KeyRef("deposits", 3), KeyRef("deposits", 3 + GAP + 1)]
    paid(chain, world, places, token)
    signer = SeededSigner(SEED, chain.traits)
    head = chain.head()
    near = find_money(chain, signer, [NATIVE, token], head, gap_limit=GAP)
    assert [one.key for one in near] == places[:1]
    all_of_it = find_money(chain, signer, [NATIVE, token], head, gap_limit=GAP, at_least=100)
    assert [one.key for one in all_of_it] == places


def test_another_seed_or_another_path_finds_nothing() -> None:
    world = FakeWorld()
    token = world.add_token("USDX")
    chain = FakeChain(world)
    paid(chain, world, [KeyRef("hot", 0)], token)
    stranger = SeededSigner(Secret(bytes(32)), chain.traits)
    assert find_money(chain, stranger, [NATIVE, token], chain.head(), gap_limit=5) == []
    elsewhere = SeededSigner(SEED, traits(coin_type=chain.traits.coin_type + 1))
    with pytest.raises(Refused) as caught:
        find_money(chain, elsewhere, [NATIVE], chain.head(), gap_limit=5)
    assert caught.value.reason is Reason.MAIN_NETWORK
