"""What stands at a destination, and whether money may go there at all (W12).

The node is asked before the transaction (`survey`), everything else is read in it (`judge`):
own wallets, customers' own deposit addresses, tokens' contracts, contracts that take no such
payment, and addresses that look like one the customer used before (address poisoning: somebody
plants an address with the same ends in a history and waits for it to be copied).
"""

from __future__ import annotations

import re

import sqlalchemy as sa

from chains.base import Chain, Standing
from core.errors import Reason, Refused
from core.ids import ChainId, CustomerNo
from custody import catalogue, chain_state
from custody.db import Int64, Text, next_number, table
from custody.keys.roster import Roster
from custody.policy.request import DestinationKind, Finding, Verdict
from custody.wallets import addresses

LOOK = 3
"""Characters at each end by which people recognise an address; who plants one matches as many."""
_SEPARATED = re.compile(r"[a-z]{1,83}1[02-9ac-hj-np-z]([02-9ac-hj-np-z]+)", re.ASCII)

used_destinations = table(
    "used_destinations",
    sa.Column("customer_no", Int64, sa.ForeignKey("customers.customer_no"), primary_key=True),
    sa.Column("chain", Text, sa.ForeignKey("chain_states.chain"), primary_key=True),
    sa.Column("address", Text, primary_key=True),
    sa.Column("likeness", Text, nullable=False),
    sa.Column("used_no", Int64, nullable=False, unique=True),
    sa.Column("first_used_ns", Int64, nullable=False),
    sa.Index("ix_used_destinations_likeness", "customer_no", "chain", "likeness"),
)
"""Where each customer's money was to go, in the order in which addresses were first used."""


def survey(chain: Chain, address: str, *, asset_key: str, roster: Roster | None = None) -> Standing:
    """Ask the nodes what stands at an address; before any transaction.

    roster: names the contracts that accounts of ours run, where money would be lost. Refused: as
    parse_address. Unavailable: nobody answered, and then nothing may be held for it.
    """
    canonical = chain.parse_address(address)
    if roster is not None and roster.allows_delegate(chain.traits.chain, canonical):
        raise Refused(Reason.FORBIDDEN_DESTINATION, "a contract that accounts of ours run")
    return chain.standing_of(canonical, asset_key=asset_key)


def judge(
    conn: sa.Connection,
    chain: ChainId,
    customer_no: CustomerNo | None,
    address: str,
    *,
    standing: Standing | None = None,
) -> tuple[DestinationKind, tuple[Finding, ...]]:
    """Return what an address is to us, and what forbids paying to it.

    customer_no: whose payment it is, None for our own transfers.
    """
    ours = addresses.find(conn, chain, address)
    if ours is not None:
        if customer_no is None:
            return DestinationKind.OWN_WALLET, ()
        if ours.customer_no is None:
            return DestinationKind.OWN_WALLET, (_block(Reason.OWN_ADDRESS, "an own wallet"),)
        if ours.customer_no == customer_no:
            why = _block(Reason.OWN_ADDRESS, "the customer's own deposit address")
            return DestinationKind.OWN_CUSTOMER, (why,)
        return DestinationKind.OWN_CUSTOMER, ()
    kind = DestinationKind.EXTERNAL
    if standing in (Standing.CONTRACT, Standing.REFUSES):
        kind = DestinationKind.CONTRACT
    return kind, tuple(_against(conn, chain, address, standing))


def note_used(
    conn: sa.Connection, chain: ChainId, customer_no: CustomerNo, address: str, now_ns: int
) -> None:
    """Remember that a customer's payment was accepted for an address, or that he confirmed it."""
    known = sa.select(used_destinations.c.used_no).where(
        used_destinations.c.customer_no == customer_no,
        used_destinations.c.chain == chain,
        used_destinations.c.address == address,
    )
    if conn.execute(known).first() is not None:
        return
    conn.execute(
        used_destinations.insert().values(
            customer_no=customer_no,
            chain=chain,
            address=address,
            likeness=likeness(address),
            used_no=next_number(conn, "used_destination"),
            first_used_ns=now_ns,
        )
    )


def look_alike_of(
    conn: sa.Connection, chain: ChainId, customer_no: CustomerNo, address: str
) -> str | None:
    """Return the address that this one could be taken for: another of the same look, used before.

    Of two alike the one that was used first stays usable.
    """
    query = (
        sa.select(used_destinations.c.address)
        .where(
            used_destinations.c.customer_no == customer_no,
            used_destinations.c.chain == chain,
            used_destinations.c.likeness == likeness(address),
        )
        .order_by(used_destinations.c.used_no)
        .limit(1)
    )
    first = conn.execute(query).scalar_one_or_none()
    return None if first in (None, address) else first


def likeness(address: str) -> str:
    """Return both ends of an address: two of one likeness are easily taken for one another.

    What all addresses of a network share (`0x`; everything up to the separator and the version
    after it, BIP-173; else one character) is left out, and so is the case of letters.
    """
    separated = _SEPARATED.fullmatch(address)
    if separated is not None:
        body = separated.group(1)
    else:
        body = address[2:] if address.startswith("0x") else address[1:]
    return f"{body[:LOOK]}~{body[-LOOK:]}".lower()


def _against(
    conn: sa.Connection, chain: ChainId, address: str, standing: Standing | None
) -> list[Finding]:
    found = []
    if catalogue.asset_by_key(conn, chain, address) is not None:
        found.append(_block(Reason.FORBIDDEN_DESTINATION, "a token's own contract"))
    elif standing is Standing.REFUSES:
        found.append(_block(Reason.FORBIDDEN_DESTINATION, "the contract takes no such payment"))
    found += [
        _block(Reason.OWN_ADDRESS, f"ours on {other}, and only there")
        for other in chain_state.registered(conn)
        if other != chain and addresses.find(conn, other, address) is not None
    ]
    return found


def _block(reason: Reason, detail: str) -> Finding:
    return Finding(Verdict.BLOCK, reason.value, detail)
