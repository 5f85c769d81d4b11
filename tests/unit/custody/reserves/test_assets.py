"""What addresses hold is read at one final block, and each of them proves who controls it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import pytest

from chains.base import NATIVE, BlockRef, ChainReader
from core.errors import Reason, Refused, Unavailable
from core.ids import ChainId
from custody.reserves.assets import (
    OwnAddress,
    challenges,
    collect_proofs,
    read_holdings,
    rule_height,
)
from custody.reserves.report import seal
from custody.reserves.verify import Scheme
from tests.unit.custody.reserves import cases

TOKEN_KEY = cases.ASSETS[1].spec.key
REF = cases.CUT.blocks[0].ref


class ScriptedReader:
    """Knows balances at one block and nothing of any other."""

    def __init__(self, balances: dict[tuple[str, str], int]) -> None:
        self.balances = balances

    def balances_of(
        self, addresses: Sequence[str], asset_key: str, at: BlockRef
    ) -> Mapping[str, int]:
        if at != REF:
            raise Unavailable("no state of that block")
        return {address: self.balances.get((address, asset_key), 0) for address in addresses}


def readers(balances: dict[tuple[str, str], int]) -> dict[ChainId, ChainReader]:
    return {cases.CHAIN: cast(ChainReader, ScriptedReader(balances))}


HELD = {
    (cases.address_of("hot"), NATIVE): 10,
    (cases.address_of("hot"), "0xcounterfeit"): 10**30,
    (cases.address_of("deposit"), TOKEN_KEY): 20,
    (cases.address_of("stranger"), NATIVE): 99,
}


def test_listed_assets_of_own_addresses_are_counted_and_nothing_else() -> None:
    held = read_holdings(
        readers(HELD), blocks=cases.CUT.blocks, assets=cases.ASSETS, addresses=cases.OWN.values()
    )
    assert {each.own.address: each.balances for each in held} == {
        cases.address_of("hot"): ((1, 10),),
        cases.address_of("deposit"): ((2, 20),),
    }
    assert [each.own.address for each in held] == sorted(each.own.address for each in held)


def test_a_node_without_that_block_is_unavailable_never_zero() -> None:
    blocks = [replace(cases.CUT.blocks[0], ref=BlockRef(121, "0x00"))]
    with pytest.raises(Unavailable):
        read_holdings(
            readers(HELD), blocks=blocks, assets=cases.ASSETS, addresses=cases.OWN.values()
        )


def test_an_address_of_a_chain_without_a_block_is_refused() -> None:
    elsewhere = OwnAddress(ChainId("elsewhere"), "x", "eip191")
    with pytest.raises(Refused) as refused:
        read_holdings(
            readers(HELD), blocks=cases.CUT.blocks, assets=cases.ASSETS, addresses=[elsewhere]
        )
    assert refused.value.reason is Reason.UNKNOWN_CHAIN


@pytest.mark.parametrize(
    ("final", "step", "height"),
    [(0, 1, 0), (7, 1, 7), (119, 10, 110), (120, 10, 120), (9, 100, 0)],
)
def test_v06_the_height_is_chosen_by_a_rule(final: int, step: int, height: int) -> None:
    assert rule_height(final, step) == height


def test_every_address_signs_its_own_challenge() -> None:
    draft = cases.draft()
    assert len({challenge for _, challenge in challenges(draft)}) == 3
    assert [own.address for own, _ in challenges(draft)] == [
        holding.own.address for holding in cases.holdings()
    ]


def test_v07_the_wrong_owner_and_a_broken_signature_are_refused() -> None:
    draft = cases.draft()
    for prove in (
        lambda _chain, _address, challenge: cases.sign("stranger", challenge),
        lambda _chain, _address, _challenge: b"",
        lambda _chain, address, challenge: cases.prove(_chain, address, challenge + b" "),
    ):
        with pytest.raises(Refused) as refused:
            collect_proofs(draft, prove)
        assert refused.value.reason is Reason.BAD_SIGNATURE
    assert len(collect_proofs(draft, cases.prove)) == 3


def test_a_scheme_that_nobody_can_check_is_refused_until_it_is_given() -> None:
    held = [replace(each, own=replace(each.own, scheme="other")) for each in cases.holdings()]
    draft = cases.draft(holdings=held)

    def prove(_chain: ChainId, address: str, challenge: bytes) -> bytes:
        return address.encode() + challenge[-8:]

    schemes: dict[str, Scheme] = {
        "other": lambda challenge, proof: (
            proof[:-8].decode() if proof[-8:] == challenge[-8:] else ""
        )
    }
    with pytest.raises(Refused) as refused:
        collect_proofs(draft, prove)
    assert refused.value.reason is Reason.UNKNOWN_VERSION
    proofs = collect_proofs(draft, prove, more_schemes=schemes)
    assert seal(draft, proofs, more_schemes=schemes).link.number == 1
