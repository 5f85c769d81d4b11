"""Deposits of a real network of slots become rows and balances, each as the cases say."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from spl.token.constants import TOKEN_PROGRAM_ID
from spl.token.instructions import close_account
from spl.token.models import CloseAccountParams

from app import equations
from chains.base import NATIVE, AssetSpec
from chains.registry import ChainConfig, open_chain
from chains.solana.address import to_text
from core.errors import Unavailable
from custody.deposit_rows import Deposit, DepositState, deposit_of, deposits
from custody.keys.signers.base import KeyRef
from custody.ledger.audit import audit
from custody.withdrawals.workflow import WithdrawalTerms
from infra.devnet.surfpool import LAMPORTS
from infra.devnet.surfpool_tokens import Powers, Token, create_token, create_token_2022
from sweeper.policy import SweepRules
from tests.support.house import GAS, HOT, House, house_signer, open_house
from tests.support.solana_town import CHAIN, Town, start_town
from tests.unit.custody.keys.networks import traits

EVER = 1 << 90
"""A sweep minimum that nothing reaches: deposits stay where they are."""


def own(account: str) -> str:
    signer = house_signer(traits(coin_type=501, curve="ed25519"))
    return to_text(signer.public_key(KeyRef(account, 0)))


class World:
    """A network with an honest token, one that withholds a fee, and one of a powerful issuer."""

    def __init__(self, town: Town) -> None:
        self.town, node = town, town.node
        self.first = town.front.final()
        """Where our own wallets got their first money."""
        self.fee = create_token_2022(node, powers=Powers(fee_bp=100))
        powers = Powers(permanent_delegate=Keypair().pubkey())
        self.power = create_token_2022(node, powers=powers)
        town.front.pass_slots()

    def listed(self) -> list[AssetSpec]:
        rows = (
            (NATIVE, "SOL", 9),
            (self.town.token.key, "TOK", 6),
            (self.town.new_token.key, "NEW", 9),
            (self.fee.key, "FEE", 6),
            (self.power.key, "POWER", 6),
        )
        return [
            AssetSpec(CHAIN, key, symbol, scale, 1_000, 1_000, 500, EVER)
            for key, symbol, scale in rows
        ]


@pytest.fixture
def world() -> Iterator[World]:
    with start_town(hot=own(HOT), gas=own(GAS)) as town:
        yield World(town)


@pytest.fixture
def house(database_url: str, world: World) -> Iterator[House]:
    town, listed = world.town, world.listed()
    config = ChainConfig(
        kind="solana", chain=CHAIN, node_urls=(town.front.url,), quorum=1, chain_number=0,
        genesis_hash=town.params.genesis_hash, fee_floor=5, fee_cap=10_000, tip=0,
        assets=tuple(listed), tickets=town.params.tickets,
    )  # fmt: skip
    with (
        contextlib.closing(open_chain(config)) as chain,
        open_house(
            database_url, chain, listed, terms=WithdrawalTerms(network_fee_max=10_000_000),
            sweeps=SweepRules(), start_height=world.first,
        ) as opened,
    ):  # fmt: skip
        yield opened


def rows(house: House, asset_key: str, address: str) -> list[Deposit]:
    query = sa.select(deposits).where(
        deposits.c.asset_key == asset_key, deposits.c.address == address
    )
    with house.platform.db.read() as conn:
        return [deposit_of(row) for row in conn.execute(query.order_by(deposits.c.arrival_no))]


def settle(house: House, world: World) -> None:
    for _ in range(3):
        world.town.front.pass_slots()
        house.run(4)


def everything_holds(house: House) -> None:
    with house.platform.db.read() as conn:
        assert audit(conn) == []
    found = equations.check(house.platform, house.storage)
    assert [each for each in found if not each.holds and each.name != "I17"] == []
    assert house.problems == []


def test_every_kind_of_money_is_credited_once_across_skipped_slots(
    house: House, world: World
) -> None:
    alice, town = house.customer("alice"), world.town
    address = house.address(alice)
    town.node.pay(address, LAMPORTS)
    town.front.pass_slots()
    town.front.skip(3)
    tokens: tuple[Token, ...] = (town.token, town.new_token)
    for token in tokens:
        token.pay(address, 70_000)
    settle(house, world)
    town.front.skip(2)
    town.node.pay(address, 2 * LAMPORTS)
    settle(house, world)
    assert house.balance(alice, NATIVE) == 3 * LAMPORTS
    assert [house.balance(alice, token.key) for token in tokens] == [70_000, 70_000]
    assert [row.state for row in rows(house, NATIVE, address)] == [
        DepositState.CREDITED,
        DepositState.CREDITED,
    ]
    everything_holds(house)


def test_D06_a_withheld_fee_is_not_credited(house: House, world: World) -> None:
    alice = house.customer("alice")
    world.fee.pay(house.address(alice), 100_000)
    settle(house, world)
    assert house.balance(alice, world.fee.key) == 99_000
    everything_holds(house)


def test_D11_counterfeits_and_tokens_under_another_power_are_listed_and_not_credited(
    house: House, world: World
) -> None:
    alice, node = house.customer("alice"), world.town.node
    address = house.address(alice)
    counterfeit = create_token(node)
    counterfeit.give(address, 10**12)
    world.power.give(address, 50_000)
    world.town.token.give(address, 50_000)
    world.town.token.freeze(address)
    settle(house, world)
    found = {
        key: [(row.state, row.reason, row.amount) for row in rows(house, key, address)]
        for key in (counterfeit.key, world.power.key, world.town.token.key)
    }
    assert found == {
        counterfeit.key: [(DepositState.UNATTRIBUTED, "unlisted_asset", 10**12)],
        world.power.key: [(DepositState.UNATTRIBUTED, "powerful_issuer", 50_000)],
        world.town.token.key: [(DepositState.UNATTRIBUTED, "foreign_authority", 50_000)],
    }
    assert [house.balance(alice, key) for key in (world.power.key, world.town.token.key)] == [0, 0]
    everything_holds(house)


def test_D05_D10_what_no_transfer_brought_is_claimable_and_what_failed_is_nothing(
    house: House, world: World
) -> None:
    alice, node = house.customer("alice"), world.town.node
    address, mallory = house.address(alice), Keypair()
    node.pay(mallory.pubkey(), LAMPORTS)
    world.town.token.open(mallory.pubkey())
    closing = close_account(
        CloseAccountParams(
            program_id=TOKEN_PROGRAM_ID,
            account=world.town.token.account_of(mallory.pubkey()),
            dest=Pubkey.from_string(address),
            owner=mallory.pubkey(),
        )
    )
    node.send([closing], [mallory])
    world.town.token.open(address)
    source = world.town.token.account_of(node.payer.pubkey())
    world.town.token.give(node.payer.pubkey(), 1)
    target = world.town.token.account_of(address)
    moved = world.town.token.moving(source, target, node.payer.pubkey(), 10**15)
    node.send([moved], preflight=False)
    settle(house, world)
    (row,) = rows(house, NATIVE, address)
    assert (row.state, row.reason) == (DepositState.UNATTRIBUTED, "unexplained_balance")
    assert row.amount == node.rent(165)
    assert rows(house, world.town.token.key, address) == []
    assert house.balance(alice, NATIVE) == 0
    everything_holds(house)


def test_N01_a_lost_block_holds_everything_up_and_nothing_is_missed(
    house: House, world: World
) -> None:
    alice, front = house.customer("alice"), world.town.front
    address = house.address(alice)
    world.town.node.pay(address, LAMPORTS)
    lost = front.pass_slots()
    front.forgotten.add(lost)
    front.pass_slots(5)
    for _ in range(3):
        with pytest.raises(Unavailable, match="incomplete_block"):
            house.run(8)
    assert house.balance(alice, NATIVE) == 0
    assert rows(house, NATIVE, address) == []
    front.forgotten.clear()
    settle(house, world)
    assert house.balance(alice, NATIVE) == LAMPORTS
    everything_holds(house)
