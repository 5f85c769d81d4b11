"""One cut of the books and the chains, and the report it makes.

`freeze` reads everything that must agree inside the caller's one read transaction: how far the
journal is booked, both chains of the ledger, the chains' final blocks as followed, every customer's
liabilities, every account and what is in flight. Balances at those blocks are asked of the nodes
afterwards (`assets.read_holdings`): a final block's state does not change. `plan_report` is pure
and refuses to publish what does not add up.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import sqlalchemy as sa

from chains.base import BlockRef
from core.clock import SECOND_NS
from core.errors import Corrupt, Unavailable
from core.ids import ChainId
from custody import catalogue, chain_state, settlement
from custody.catalogue import Asset
from custody.ledger.balances import CustomerBalance, all_customer_balances, balance_of, totals
from custody.ledger.chart import CHART, CUSTOMER_LIABILITIES, AccountKind, Side
from custody.ledger.records import Chain
from custody.ledger.transfers import Head, chain_head
from custody.reserves import verify
from custody.reserves.assets import FinalBlock, Holding, OwnAddress, rule_height
from custody.reserves.merkle_sum import AMOUNT_LIMIT, Leaf, Tree, leaf_node, salt_of
from custody.reserves.report import Draft, Link
from custody.wallets import addresses as wallet_addresses
from custody.withdrawals.states import INSIDE
from engine.events import Projected

REPORT_KIND = "strongroom/reserves-report/1"


class InFlightKind(enum.StrEnum):
    """Why addresses and books differ at the cut. Published names, never reused."""

    # The addresses hold more than the books:
    UNCREDITED_DEPOSIT = "uncredited_deposit"
    """Arrived by the final block, not booked: not yet credited, held, dust, counting."""
    UNATTRIBUTED_ARRIVAL = "unattributed_arrival"
    """Arrived by the final block and belongs to no customer we know of; own funding not booked."""
    UNLANDED_WITHDRAWAL = "unlanded_withdrawal"
    """Booked as broadcast, not in the chain up to the final block."""
    FEE_AFTER_BLOCK = "fee_after_block"
    """A network fee in the books that was paid after the final block."""
    # The addresses hold less than the books:
    UNPOSTED_DEPARTURE = "unposted_departure"
    """Left by the final block, not booked as broadcast."""
    UNBOOKED_NETWORK_FEE = "unbooked_network_fee"
    """A network fee paid by the final block, not booked."""
    DEPOSIT_AFTER_BLOCK = "deposit_after_block"
    """In the books, arrived after the final block (a height rule with steps)."""

    @property
    def sign(self) -> int:
        """Return +1 where the addresses hold more than the books, else -1."""
        return -1 if self.value in verify.SHORT else 1


@dataclass(frozen=True, slots=True)
class InFlight:
    """One thing by which addresses and books differ, named by the id of its row."""

    kind: InFlightKind
    id: str
    asset_no: int
    amount: int
    """Minor units, above 0."""


InFlightReader = Callable[[sa.Connection, Mapping[ChainId, BlockRef]], Sequence[InFlight]]
"""Reads, in the same transaction, what is in flight relative to each chain's final block."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The instant a report is about."""

    engine: Projected
    projected: Head
    treasury: Head
    blocks: tuple[FinalBlock, ...]


@dataclass(frozen=True, slots=True)
class Books:
    """Everything the books say at a cut."""

    cut: Cut
    assets: tuple[Asset, ...]
    owed: tuple[CustomerBalance, ...]
    totals: Mapping[tuple[AccountKind, int], int]
    in_flight: tuple[InFlight, ...]
    addresses: tuple[OwnAddress, ...]


@dataclass(frozen=True, slots=True)
class Header:
    """Who reports, and where the report stands in their chain of reports."""

    entity: str
    snapshot_id: str
    date_ns: int
    """Unix time of the cut; whole seconds are published."""
    previous: Link


def freeze(
    conn: sa.Connection,
    *,
    height_steps: Mapping[ChainId, int],
    schemes: Mapping[ChainId, str],
    in_flight: InFlightReader,
) -> Books:
    """Read one cut. `conn` is one open read transaction (`Database.read`), nothing else.

    Unavailable: a chain has no final block yet, or the rule's block is no longer kept. Refused:
    frozen (a chain under a deep reorganisation), unknown_chain. Corrupt: the books contradict
    themselves (I2, I17).
    """
    assets = tuple(catalogue.all_assets(conn))
    chains = sorted({asset.chain for asset in assets})
    blocks = tuple(final_block(conn, chain, height_steps.get(chain, 1)) for chain in chains)
    cut = Cut(
        engine=settlement.position(conn),
        projected=chain_head(conn, Chain.PROJECTED),
        treasury=chain_head(conn, Chain.TREASURY),
        blocks=blocks,
    )
    _refuse_half_booked(conn, assets)
    owed = tuple(all_customer_balances(conn))
    own = tuple(
        OwnAddress(chain, row.address, schemes[chain])
        for chain in chains
        for row in wallet_addresses.all_of(conn, chain)
    )
    books = Books(
        cut=cut,
        assets=assets,
        owed=owed,
        totals=totals(conn),
        in_flight=tuple(in_flight(conn, {block.chain: block.ref for block in blocks})),
        addresses=own,
    )
    _check_books(books)
    return books


def _refuse_half_booked(conn: sa.Connection, assets: Sequence[Asset]) -> None:
    """Wait while a payment between customers has left one and not yet reached the other."""
    for asset in assets:
        if balance_of(conn, AccountKind.IN_TRANSIT, INSIDE, asset.asset_no):
            raise Unavailable("a payment between customers is half booked")


def plan_report(
    books: Books,
    *,
    holdings: Sequence[Holding],
    header: Header,
    secret: bytes,
) -> Draft:
    """Decide the report of a cut. `secret`: 32 random bytes of this snapshot, kept with its leaves.

    Corrupt when addresses, books and what is in flight do not add up to the unit: a residual that
    nobody can name is never published. Refused as `merkle_sum.checked`.
    """
    assets = books.assets
    place = {int(asset.asset_no): index for index, asset in enumerate(assets)}
    head = _head(books, header)
    context = verify.context_of(head)
    leaves, below = _leaves(books, place, secret)
    tree = Tree.build(context, len(assets), leaves)
    overdrawn = [
        _amount(index, amount) | {"id": leaf_node(context, leaf).hash.hex()}
        for leaf in leaves
        for index, amount in enumerate(below[leaf.customer_no])
        if amount
    ]
    on_chain = [0] * len(assets)
    for holding in holdings:
        for asset_no, amount in holding.balances:
            on_chain[place[asset_no]] += amount
    sheet = [
        _sheet_line(
            books,
            asset,
            on_chain=on_chain[index],
            owed=tree.commitment.top.sums[index],
            overdrawn=sum(amounts[index] for amounts in below.values()),
        )
        for index, asset in enumerate(assets)
    ]
    commitment = tree.commitment
    body = head | {
        "tree": {
            "leaf_count": str(commitment.leaf_count),
            "sums": [str(each) for each in commitment.top.sums],
            "top": commitment.top.hash.hex(),
            "root": commitment.root.hex(),
        },
        "sheet": [{name: str(value) for name, value in line.items()} for line in sheet],
        "overdrawn": overdrawn,
        "in_flight": [
            _amount(place[line.asset_no], line.amount) | {"id": line.id, "kind": line.kind.value}
            for line in sorted(
                books.in_flight, key=lambda line: (line.asset_no, line.kind, line.id)
            )
        ],
        "addresses": [_address(holding, place) for holding in holdings],
    }
    return Draft(verify.canonical(body), tree)


def pledged(books: Books, encumbrances: Mapping[tuple[ChainId, str], str]) -> Books:
    """Return the cut with the stated encumbrances on its addresses (V07: pledged coins)."""
    return replace(
        books,
        addresses=tuple(
            replace(own, encumbrance=encumbrances.get((own.chain, own.address), own.encumbrance))
            for own in books.addresses
        ),
    )


def final_block(conn: sa.Connection, chain: ChainId, height_step: int) -> FinalBlock:
    """Return the block the rule chooses. Unavailable: none yet, or forgotten. Refused: frozen."""
    chain_state.refuse_if_frozen(conn, chain)
    state = chain_state.state(conn, chain)
    if state.final is None:
        raise Unavailable(f"{chain} has no final block yet")
    height = rule_height(state.final.height, height_step)
    if height == state.final.height:
        return FinalBlock(chain, state.network, state.final, height_step)
    block_hash = chain_state.hash_at(conn, chain, height)
    if block_hash is None:
        raise Unavailable(f"{chain} no longer keeps block {height}; wait for the next one")
    return FinalBlock(chain, state.network, BlockRef(height, block_hash), height_step)


def _check_books(books: Books) -> None:
    owed: dict[int, int] = {}
    for line in books.owed:
        owed[int(line.asset_no)] = owed.get(int(line.asset_no), 0) + line.total
    for asset in books.assets:
        number = int(asset.asset_no)
        stored = sum(_total(books, kind, asset) for kind in CUSTOMER_LIABILITIES)
        if stored != owed.get(number, 0):
            raise Corrupt(
                f"{asset.spec.symbol}: customers sum to {owed.get(number, 0)}, not {stored}"
            )
        sides = {Side.DEBIT: 0, Side.CREDIT: 0}
        for kind, rule in CHART.items():
            sides[rule.side] += _total(books, kind, asset)
        if sides[Side.DEBIT] != sides[Side.CREDIT]:
            raise Corrupt(f"{asset.spec.symbol}: the accounts do not sum to zero")
    if unlisted := {number for _, number in books.totals} - {int(a.asset_no) for a in books.assets}:
        raise Corrupt(f"the books hold assets that are not listed: {sorted(unlisted)}")


def _total(books: Books, kind: AccountKind, asset: Asset) -> int:
    return books.totals.get((kind, int(asset.asset_no)), 0)


def _leaves(
    books: Books, place: Mapping[int, int], secret: bytes
) -> tuple[list[Leaf], dict[int, tuple[int, ...]]]:
    """Return a leaf per customer who is owed or owes, and what each owes, never netted (V01)."""
    owed: dict[int, list[int]] = {}
    for line in books.owed:
        row = owed.setdefault(int(line.customer_no), [0] * len(place))
        row[place[int(line.asset_no)]] += line.total
    leaves, below = [], {}
    for customer_no, row in owed.items():
        if any(row):
            positive = tuple(max(0, amount) for amount in row)
            leaves.append(Leaf(customer_no, salt_of(secret, customer_no), positive))
            below[customer_no] = tuple(max(0, -amount) for amount in row)
    return leaves, below


def _sheet_line(
    books: Books, asset: Asset, *, on_chain: int, owed: int, overdrawn: int
) -> dict[str, int]:
    kinds = AccountKind
    line = {
        "customer_balances": _total(books, kinds.BALANCE, asset) + overdrawn,
        "pending_withdrawals": _total(books, kinds.WITHDRAWING, asset),
        "unidentified": _total(books, kinds.SUSPENSE, asset),
        "unswept": _total(books, kinds.DEPOSIT_ADDRESSES, asset),
        "hot": _total(books, kinds.HOT, asset),
        "warm": _total(books, kinds.WARM, asset),
        "cold": _total(books, kinds.COLD, asset),
        "in_transit": _total(books, kinds.IN_TRANSIT, asset),
        "receivable": _total(books, kinds.RECEIVABLE, asset),
        "overdrawn": overdrawn,
        "equity": _total(books, kinds.EQUITY, asset),
        "fee_income": _total(books, kinds.FEE_INCOME, asset),
        "rounding": _total(books, kinds.ROUNDING, asset),
        "network_fees": _total(books, kinds.NETWORK_FEES, asset),
        "loss": _total(books, kinds.LOSS, asset),
        "on_chain": on_chain,
    }
    line["assets"] = sum(line[name] for name in verify.OWNED)
    line["liabilities"] = sum(line[name] for name in verify.OWED)
    line["net"] = sum(line[n] for n in verify.EARNED) - sum(line[n] for n in verify.SPENT)
    symbol = asset.spec.symbol
    if line["customer_balances"] + line["pending_withdrawals"] != owed:
        raise Corrupt(f"{symbol}: the tree owes {owed}, the books do not")
    if line["assets"] - line["liabilities"] != line["net"]:
        raise Corrupt(f"{symbol}: assets minus liabilities are not equity")
    custody = sum(line[name] for name in verify.CUSTODY)
    flying = [each for each in books.in_flight if each.asset_no == int(asset.asset_no)]
    residual = on_chain - custody - sum(each.kind.sign * each.amount for each in flying)
    if residual:
        raise Corrupt(f"{symbol}: the addresses differ from the books by {residual}, unexplained")
    if any(abs(value) >= AMOUNT_LIMIT for value in line.values()):
        raise Corrupt(f"{symbol}: a line of 2^128 or more")
    return line


def _head(books: Books, header: Header) -> dict[str, object]:
    cut = books.cut
    date = datetime.fromtimestamp(header.date_ns // SECOND_NS, UTC)
    heads = (("projected", cut.projected), ("treasury", cut.treasury))
    return {
        "kind": REPORT_KIND,
        "entity": header.entity,
        "snapshot_id": header.snapshot_id,
        "number": str(header.previous.number + 1),
        "previous": header.previous.hash,
        "date": date.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "engine": {
            "epoch": str(cut.engine.epoch),
            "sequence": str(cut.engine.sequence),
            "hash": cut.engine.hash.hex(),
        },
        "ledger": [
            {"chain": name, "position": str(at.position), "hash": at.hash.hex()}
            for name, at in heads
        ],
        "blocks": [
            {
                "chain": block.chain,
                "network": block.network,
                "height": str(block.ref.height),
                "height_step": str(block.height_step),
                "hash": block.ref.hash,
            }
            for block in cut.blocks
        ],
        "assets": [
            {
                "chain": asset.chain,
                "key": asset.spec.key,
                "symbol": asset.spec.symbol,
                "scale": str(asset.spec.scale),
            }
            for asset in books.assets
        ],
    }


def _amount(index: int, amount: int) -> dict[str, str]:
    return {"asset": str(index), "amount": str(amount)}


def _address(holding: Holding, place: Mapping[int, int]) -> dict[str, object]:
    own = holding.own
    return {
        "chain": own.chain,
        "address": own.address,
        "scheme": own.scheme,
        "encumbrance": own.encumbrance,
        "balances": [_amount(place[number], amount) for number, amount in holding.balances],
    }
