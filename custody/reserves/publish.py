"""Make and publish one report: gather, freeze one cut, decide, have every address sign, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from chains.base import BlockRef, Chain
from core.clock import Clock
from core.entropy import Entropy
from core.errors import Unavailable
from core.ids import ChainId, new_id
from custody import residuals
from custody.db import Database
from custody.keys.private_file import write_private_file
from custody.keys.service import KeyService
from custody.keys.signers.base import KeyRef
from custody.reserves import assets, report, snapshot, verify
from custody.reserves.merkle_sum import Tree
from custody.reserves.report import Sealed
from custody.reserves.snapshot import Books, InFlight, InFlightKind
from custody.residuals import Residual, Statuses, Why
from custody.spending.rows import TO_CUSTOMERS
from custody.wallets import addresses

TRIES_MAX = 5


@dataclass(frozen=True, slots=True)
class Prover:
    """A chain and who proves control of its addresses."""

    chain: Chain
    signer: KeyService
    scheme: str = ""
    """How; empty: as the chain does."""


@dataclass(frozen=True, slots=True)
class Published:
    """A report as published, where it stands, and the tree that customers' proofs come from."""

    sealed: Sealed
    path: Path
    tree: Tree


def publish(
    db: Database,
    provers: Mapping[ChainId, Prover],
    *,
    entity: str,
    folder: Path,
    leaves_folder: Path,
    clock: Clock,
    entropy: Entropy,
    height_steps: Mapping[ChainId, int] | None = None,
    more_schemes: Mapping[str, verify.Scheme] | None = None,
) -> Published:
    """Publish a report of this moment in a folder that holds the chain of reports.

    The leaves, from which customers' proofs are made, go to a private folder under the same name.
    Unavailable: a chain has no final block, went on meanwhile, or does not answer. Refused: frozen.
    Corrupt: books, addresses and what is in flight do not add up.
    """
    books = _freeze(db, provers, height_steps or {})
    holdings = assets.read_holdings(
        {chain_id: prover.chain for chain_id, prover in provers.items()},
        blocks=books.cut.blocks,
        assets=books.assets,
        addresses=books.addresses,
    )
    header = snapshot.Header(
        entity=entity,
        snapshot_id=new_id("snap", clock=clock, entropy=entropy),
        date_ns=clock.now_ns(),
        previous=report.last(folder),
    )
    draft = snapshot.plan_report(
        books, holdings=holdings, header=header, secret=entropy.token_bytes(32)
    )
    proofs = assets.collect_proofs(draft, _prove(db, provers), more_schemes=more_schemes)
    sealed = report.seal(draft, proofs, more_schemes=more_schemes)
    path = report.write(folder, sealed)
    leaves_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private_file(leaves_folder / path.name, report.leaves_file(sealed, draft.tree))
    return Published(sealed, path, draft.tree)


def in_flight_of(found: Sequence[Residual]) -> list[InFlight]:
    """Return the residuals that matter for a total.

    Own transfers cancel out within it, but for what an odd token keeps of them on the way.
    """
    kept: dict[tuple[str, int], int] = {}
    lines = []
    for residual in found:
        kinds = (None, *TO_CUSTOMERS)
        of_total = residual.kind in kinds or residual.why is Why.NETWORK_FEE
        if of_total:
            kind = _kind(residual)
            amount = abs(residual.amount)
            lines.append(InFlight(kind, residual.cause_id, int(residual.asset_no), amount))
        else:
            key = (residual.cause_id, int(residual.asset_no))
            kept[key] = kept.get(key, 0) + residual.amount
    for (cause_id, asset_no), amount in kept.items():
        if amount:
            lines.append(InFlight(_kind_of_sent(amount), cause_id, asset_no, abs(amount)))
    return lines


def _kind(residual: Residual) -> InFlightKind:
    more = residual.amount > 0
    if residual.why is Why.NETWORK_FEE:
        return InFlightKind.FEE_AFTER_BLOCK if more else InFlightKind.UNBOOKED_NETWORK_FEE
    if residual.why is Why.SENT:
        return _kind_of_sent(residual.amount)
    if not more:
        return InFlightKind.DEPOSIT_AFTER_BLOCK
    if residual.why is Why.UNATTRIBUTED:
        return InFlightKind.UNATTRIBUTED_ARRIVAL
    return InFlightKind.UNCREDITED_DEPOSIT


def _kind_of_sent(amount: int) -> InFlightKind:
    return InFlightKind.UNLANDED_WITHDRAWAL if amount > 0 else InFlightKind.UNPOSTED_DEPARTURE


def _freeze(
    db: Database, provers: Mapping[ChainId, Prover], height_steps: Mapping[ChainId, int]
) -> Books:
    for _ in range(TRIES_MAX):
        with db.read() as conn:
            asked = {chain_id: residuals.open_transactions(conn, chain_id) for chain_id in provers}
            before = _blocks(conn, provers, height_steps)
        statuses = {
            chain_id: residuals.ask_statuses(provers[chain_id].chain, tx_ids)
            for chain_id, tx_ids in asked.items()
        }
        with db.read() as conn:
            if _blocks(conn, provers, height_steps) != before:
                continue
            return snapshot.freeze(
                conn,
                height_steps=height_steps,
                schemes={
                    chain_id: prover.scheme or prover.chain.traits.control
                    for chain_id, prover in provers.items()
                },
                in_flight=partial(_in_flight, statuses=statuses),
            )
    raise Unavailable("the chains went on during every try", retry_after_ms=2_000)


def _in_flight(
    conn: sa.Connection,
    blocks: Mapping[ChainId, BlockRef],
    statuses: Mapping[ChainId, Statuses],
) -> list[InFlight]:
    return [
        line
        for chain_id, at in blocks.items()
        for line in in_flight_of(residuals.residuals(conn, chain_id, at, statuses[chain_id]))
    ]


def _blocks(
    conn: sa.Connection, chains: Mapping[ChainId, Prover], height_steps: Mapping[ChainId, int]
) -> dict[ChainId, BlockRef]:
    return {
        chain_id: snapshot.final_block(conn, chain_id, height_steps.get(chain_id, 1)).ref
        for chain_id in chains
    }


def _prove(db: Database, provers: Mapping[ChainId, Prover]) -> assets.Prover:
    def prove(chain: ChainId, address: str, challenge: bytes) -> bytes:
        with db.read() as conn:
            own = addresses.of_address(conn, chain, address)
        key = KeyRef(own.account, own.key_index)
        return provers[chain].signer.prove_control(chain, key, address, challenge)

    return prove
