"""One cut of the books, and a plan that publishes nothing it cannot explain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from chains.base import NATIVE, AssetSpec, Block, BlockRef
from core.errors import Corrupt, Reason, Refused, Unavailable
from core.ids import ChainId
from custody import catalogue, chain_state, settlement
from custody.db import Database
from custody.ledger import templates
from custody.ledger.balances import totals
from custody.ledger.chart import AccountKind
from custody.ledger.transfers import post
from custody.reserves import verify
from custody.reserves.assets import Holding, collect_proofs
from custody.reserves.report import proof_file, seal
from custody.reserves.snapshot import (
    Books,
    InFlight,
    InFlightKind,
    freeze,
    plan_report,
    pledged,
)
from custody.reserves.verify import check_proof, check_report
from custody.wallets.addresses import addresses
from tests.unit.custody.reserves import cases

CHAIN = cases.CHAIN
AT_NS = cases.DATE_NS
COIN, TOKEN = 1, 2


def nothing(_conn: sa.Connection, _blocks: Mapping[ChainId, BlockRef]) -> tuple[InFlight, ...]:
    return ()


def freeze_now(db: Database, **changes: Any) -> Books:
    arguments: dict[str, Any] = {
        "height_steps": {},
        "schemes": {CHAIN: "eip191"},
        "in_flight": nothing,
    } | changes
    with db.read() as conn:
        return freeze(conn, **arguments)


def spec(key: str, symbol: str, scale: int) -> AssetSpec:
    return AssetSpec(CHAIN, key, symbol, scale, 1, 1, 0, 1)


def deposit(conn: sa.Connection, *, sequence: int, customer: int, asset: int, amount: int) -> None:
    post(
        conn,
        templates.deposit_credited(
            sequence=sequence,
            n=0,
            customer_no=customer,
            asset_no=asset,
            amount=amount,
            wallet="deposits",
            deposit_id=f"dep_{sequence}",
        ),
    )


def add_address(conn: sa.Connection, name: str, account: str, customer: int | None) -> None:
    conn.execute(
        addresses.insert().values(
            chain=CHAIN,
            address=cases.address_of(name),
            account=account,
            key_index=0,
            customer_no=customer,
            created_at_ns=AT_NS,
        )
    )


def settle(conn: sa.Connection) -> None:
    """Two deposits, a withdrawal on its way, a fee and money of the operator's own."""
    deposit(conn, sequence=1, customer=1, asset=COIN, amount=1000)
    deposit(conn, sequence=2, customer=2, asset=TOKEN, amount=500)
    post(
        conn,
        templates.withdrawal_held(
            sequence=3, n=0, customer_no=1, asset_no=COIN, amount=305, withdrawal_id="wd_1"
        ),
    )
    treasury = [
        *templates.operator_funding(wallet="hot", asset_no=COIN, amount=400, deposit_id="dep_x"),
        *templates.suspense_to_equity(wallet="hot", asset_no=COIN, amount=390, entry_id="e_1"),
        *templates.withdrawal_broadcast(
            wallet="hot", asset_no=COIN, amount=300, withdrawal_id="wd_1"
        ),
        *templates.network_fee(wallet="hot", native_asset_no=COIN, amount=7, tx_id="0xaa"),
    ]
    post(conn, treasury, at_ns=AT_NS)
    conn.execute(
        settlement.projector.insert().values(projector_no=1, epoch=2, sequence=3, hash=b"h" * 32)
    )


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    opened = Database.open(database_url)
    try:
        opened.create_all()
        with opened.transaction() as conn:
            furnish(conn)
        yield opened
    finally:
        opened.close()


def furnish(conn: sa.Connection) -> None:
    """List two assets, open three customers and follow a chain up to final block 101."""
    catalogue.list_asset(conn, spec(NATIVE, "COIN", 18))
    catalogue.list_asset(conn, spec(cases.address_of("token"), "TOK", 6))
    for name in ("ann", "bob", "cy"):
        catalogue.add_customer(conn, name, now_ns=AT_NS)
    chain_state.register(conn, CHAIN, "31337:0xabc")
    add_address(conn, "hot", "hot", None)
    add_address(conn, "deposit", "deposits", 1)
    settle(conn)
    for height in (99, 100, 101):
        block = Block(BlockRef(height, f"0x{height:064x}"), f"0x{height - 1:064x}", 0)
        chain_state.append_block(conn, CHAIN, block, keep=64)
    chain_state.set_final(conn, CHAIN, BlockRef(101, f"0x{101:064x}"))


def landed(_conn: sa.Connection, _blocks: Mapping[ChainId, BlockRef]) -> tuple[InFlight, ...]:
    return (InFlight(InFlightKind.UNCREDITED_DEPOSIT, "dep_9", TOKEN, 40),)


def held(books: Books, *, coin: int, token: int) -> tuple[Holding, ...]:
    own = {each.address: each for each in books.addresses}
    return (
        Holding(own[cases.address_of("deposit")], ((1, 1000), (2, token))),
        Holding(own[cases.address_of("hot")], ((1, coin),)),
    )


def test_a_cut_of_the_real_books_becomes_a_report_that_verifies(db: Database) -> None:
    books = freeze_now(db, in_flight=landed)
    assert books.cut.engine.sequence == 3
    assert (books.cut.projected.position, books.cut.treasury.position) == (3, 4)
    assert books.cut.blocks[0].ref == BlockRef(101, f"0x{101:064x}")
    draft = plan_report(
        books,
        holdings=held(books, coin=93, token=540),
        header=cases.header(),
        secret=cases.SECRET,
    )
    sealed = seal(draft, collect_proofs(draft, cases.prove))
    report = check_report(sealed.data)
    proof = check_proof(report, proof_file(sealed, draft.tree, 1))
    assert proof["balances"] == ["1000", "0"]
    coin, token = report.body["sheet"]
    assert (coin["customer_balances"], coin["pending_withdrawals"]) == ("695", "305")
    assert (coin["hot"], coin["in_transit"], coin["network_fees"]) == ("93", "300", "7")
    assert (coin["unidentified"], coin["equity"], coin["net"]) == ("10", "390", "383")
    assert (token["on_chain"], token["unswept"]) == ("540", "500")


def test_a_residual_that_nobody_names_is_never_published(db: Database) -> None:
    books = freeze_now(db)
    for coin, token in ((93, 501), (93, 499), (94, 500)):
        with pytest.raises(Corrupt, match="unexplained"):
            plan_report(
                books,
                holdings=held(books, coin=coin, token=token),
                header=cases.header(),
                secret=cases.SECRET,
            )


def test_v06_everything_is_of_one_instant(db: Database) -> None:
    seen: list[Mapping[tuple[AccountKind, int], int]] = []

    def meanwhile(conn: sa.Connection, _blocks: Mapping[ChainId, BlockRef]) -> tuple[InFlight, ...]:
        with db.transaction() as other:
            deposit(other, sequence=9, customer=3, asset=COIN, amount=10**6)
        seen.append(totals(conn))
        return ()

    books = freeze_now(db, in_flight=meanwhile)
    with db.read() as conn:
        assert totals(conn) != books.totals  # the control: the deposit did land meanwhile
    assert seen == [books.totals]
    assert {line.customer_no for line in books.owed} == {1, 2}


def test_v06_the_height_rule_goes_back_to_a_block_that_is_kept(db: Database) -> None:
    blocks = freeze_now(db, height_steps={CHAIN: 50}).cut.blocks
    assert (blocks[0].ref.height, blocks[0].height_step) == (100, 50)
    with pytest.raises(Unavailable, match="no longer keeps"):
        freeze_now(db, height_steps={CHAIN: 60})


def test_without_finality_there_is_no_cut(db: Database) -> None:
    with db.transaction() as conn:
        conn.execute(chain_state.chain_states.update().values(final_height=-1))
    with pytest.raises(Unavailable, match="no final block"):
        freeze_now(db)


def test_a_frozen_chain_gives_no_cut(db: Database) -> None:
    with db.transaction() as conn:
        chain_state.freeze(conn, CHAIN, kind="deep_reorg", detail="", now_ns=AT_NS)
    with pytest.raises(Refused) as refused:
        freeze_now(db)
    assert refused.value.reason is Reason.FROZEN


def test_i17_books_that_contradict_themselves_give_no_report() -> None:
    wrong = cases.with_totals({(AccountKind.BALANCE, 2): 1300, (AccountKind.EQUITY, 2): -100})
    with pytest.raises(Corrupt, match="the tree owes 1200"):
        cases.draft(books=wrong)
    with pytest.raises(Corrupt, match="not equity"):
        cases.draft(books=cases.with_totals({(AccountKind.IN_TRANSIT, 2): 1}))


def test_v01_an_overdrawn_customer_is_listed_apart_and_never_netted() -> None:
    owed = (
        cases.owed(1, cases.COIN, 5 * 10**18, 10**18),
        cases.owed(2, cases.COIN, 3 * 10**18),
        cases.owed(2, cases.TOKEN, 700),
        cases.owed(3, cases.TOKEN, 1100),
        cases.owed(5, cases.TOKEN, -600),
    )
    case = cases.case(books=replace(cases.books(), owed=owed))
    body = check_report(case.sealed.data).body
    assert body["tree"]["sums"] == [str(9 * 10**18), "1800"]  # +700, +1100, -600: not 1200
    assert body["sheet"][1]["overdrawn"] == "600"
    (line,) = body["overdrawn"]
    assert (line["asset"], line["amount"]) == ("1", "600")


def test_every_kind_of_flight_has_the_sign_that_the_verifier_gives_it() -> None:
    assert {kind.value for kind in InFlightKind} == {*verify.BEYOND, *verify.SHORT}
    for kind in InFlightKind:
        assert kind.sign == (1 if kind.value in verify.BEYOND else -1)


def test_a_pledge_is_carried_into_the_report() -> None:
    place = (CHAIN, cases.address_of("hot"))
    books = pledged(cases.books(), {place: "loan 17"})
    assert {own.encumbrance for own in books.addresses} == {"", "loan 17"}


def test_customers_are_numbered_not_named() -> None:
    data = cases.case().sealed.data
    assert b"customer:" not in data
    assert b"ann" not in data
