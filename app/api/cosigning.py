"""Wallets of several owners: what waits for owners' signatures, and taking them.

An officer signs with the wallet key that the roster names as his and that is an owner: on his own
device, by `typed_data` through eth_signTypedData_v4. Where coins are spent his device takes a PSBT,
as a file, base64 or texts for QR codes, and gives it back with signatures in it.
"""

from __future__ import annotations

import base64
import json
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter
from pydantic import Field

from app.api.guard import Caller, GuardedRoute, In, Shop
from app.api.shapes import Asked, Limit, Page, Shown
from app.bootstrap import ChainHome, Platform
from core.errors import Reason, Refused
from core.ids import ChainId
from custody.keys import typed_approval
from custody.multisig import cosign, rows
from custody.multisig.coin_desk import CoinDesk
from custody.multisig.cosign import AnyDesk
from custody.multisig.rows import Proposal, ProposalState

router = APIRouter(route_class=GuardedRoute)


class OwnerView(Shown):
    """One owner of the wallet, by the roster, and whether he signed."""

    owner: str
    person: str | None
    signed: bool


class ProposalView(Shown):
    """What a wallet is to do at one of its nonces."""

    proposal_id: str
    kind: str
    cause_id: Annotated[str, Field(description="The withdrawal, the change, or what is burnt")]
    chain: str
    wallet: str
    address: str
    wallet_nonce: str
    asset_key: str
    destination: str
    amount_minor: str
    digest: Annotated[str, Field(description="What every owner signs, 0x and 64 hex digits")]
    state: str
    reason: str | None
    threshold: int
    owners: list[OwnerView]


class ProposalCase(ProposalView):
    """A proposal with what an owner's device is asked to sign."""

    typed_data: Annotated[
        dict[str, Any], Field(description="For eth_signTypedData_v4; empty where coins are spent")
    ]


class NewCosignature(Asked):
    """An owner's signature over a proposal."""

    owner: Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$", description="With its checksum")]
    signature: Annotated[str, Field(pattern=r"^0x[0-9a-f]{130}$")]


class PsbtView(Shown):
    """What owners' devices are shown, with every signature that was handed in."""

    proposal_id: str
    base64: str
    parts: Annotated[list[str], Field(description="For QR codes; empty where it needs a file")]
    signed: Annotated[list[str], Field(description="Owners whose signatures are in it")]


class NewPsbt(Asked):
    """What a device gave back: base64, or the texts of its QR codes in any order."""

    base64: Annotated[str, Field(max_length=65_000)] = ""
    parts: Annotated[
        list[Annotated[str, Field(max_length=1_000)]],
        Field(max_length=100, default_factory=list),
    ]


@router.get("/v1/cosigning")
def list_proposals(shop: In, limit: Limit = 50) -> Page[ProposalView]:
    """Return what waits for owners, on every chain, oldest first."""
    platform = shop.context.platform
    with platform.db.read() as conn:
        found = [
            (desk, row)
            for desk in _desks(platform)
            for row in rows.in_state(conn, desk.chain_id, ProposalState.OPEN)
            if row.address == desk.row.address
        ]
        data = [_view(conn, platform, desk, row) for desk, row in found[:limit]]
    return Page[ProposalView](data=data)


@router.get("/v1/cosigning/{proposal_id}")
def read_proposal(proposal_id: str, shop: In) -> ProposalCase:
    """Return one proposal, whatever its state, with what owners sign."""
    return _case(shop, proposal_id)


@router.post("/v1/cosigning/{proposal_id}/signatures", status_code=201)
def add_signature(
    proposal_id: str, asked: NewCosignature, caller: Caller, shop: In
) -> ProposalCase:
    """Hand in one's own signature; the same one again changes nothing."""
    platform = shop.context.platform
    now_ns = platform.clock.now_ns()
    officer = platform.roster.officer(typed_approval.read_address(asked.owner), now_ns)
    if officer.person != caller.subject:
        raise Refused(Reason.FORBIDDEN, "an officer hands in his own signature")
    with platform.db.read() as conn:
        row = rows.get(conn, proposal_id)
    signature = bytes.fromhex(asked.signature[2:])
    desk = _desk_of(platform, row)
    cosign.add(desk, proposal_id, signature, owner=asked.owner, person=officer.person)
    return _case(shop, proposal_id)


@router.get("/v1/cosigning/{proposal_id}/psbt")
def read_psbt(proposal_id: str, shop: In) -> PsbtView:
    """Return what the next owner's device is shown."""
    return _psbt(shop.context.platform, proposal_id)


@router.post("/v1/cosigning/{proposal_id}/psbt", status_code=201)
def add_psbt(proposal_id: str, asked: NewPsbt, caller: Caller, shop: In) -> PsbtView:
    """Hand in what a device gave back; every owner's signature in it is checked and kept."""
    platform = shop.context.platform
    if caller.subject not in {officer.person for officer in platform.roster.officers}:
        raise Refused(Reason.FORBIDDEN, "an officer hands in owners' signatures")
    desk, row = _coin_desk(platform, proposal_id)
    if bool(asked.base64) == bool(asked.parts):
        raise Refused(Reason.MALFORMED, "either base64 or parts")
    returned = desk.wallet.seen(asked.parts) if asked.parts else _bytes(asked.base64)
    cosign.hand_in(desk, row.proposal_id, returned, person=caller.subject)
    return _psbt(platform, proposal_id)


def _psbt(platform: Platform, proposal_id: str) -> PsbtView:
    desk, row = _coin_desk(platform, proposal_id)
    payload = cosign.payload_of(desk, row)
    try:
        parts = desk.wallet.shown(payload)
    except Refused:
        parts = []
    with platform.db.read() as conn:
        signed = [one.owner for one in rows.signatures(conn, proposal_id)]
    text = base64.b64encode(payload).decode("ascii")
    return PsbtView(proposal_id=proposal_id, base64=text, parts=parts, signed=signed)


def _coin_desk(platform: Platform, proposal_id: str) -> tuple[CoinDesk, Proposal]:
    with platform.db.read() as conn:
        row = rows.get(conn, proposal_id)
    desk = _desk_of(platform, row)
    if not isinstance(desk, CoinDesk):
        raise Refused(Reason.NOT_FOUND, f"{proposal_id} is signed as typed data")
    return desk, row


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Refused(Reason.MALFORMED, "no base64") from error


def _case(shop: Shop, proposal_id: str) -> ProposalCase:
    platform = shop.context.platform
    with platform.db.read() as conn:
        row = rows.get(conn, proposal_id)
        desk = _desk_of(platform, row)
        shown = _view(conn, platform, desk, row)
    document: dict[str, Any] = {}
    if not isinstance(desk, CoinDesk):
        document = json.loads(cosign.request_of(desk, row, row.address).document)
    return ProposalCase(**shown.model_dump(), typed_data=document)


def _view(conn: sa.Connection, platform: Platform, desk: AnyDesk, row: Proposal) -> ProposalView:
    signed = {one.owner for one in rows.signatures(conn, row.proposal_id)}
    persons = _persons(platform)
    return ProposalView(
        proposal_id=row.proposal_id,
        kind=row.kind.value,
        cause_id=row.cause_id,
        chain=row.chain,
        wallet=row.wallet,
        address=row.address,
        wallet_nonce=str(row.nonce),
        asset_key=row.intent.asset_key,
        destination=row.intent.destination,
        amount_minor=str(row.intent.amount),
        digest="0x" + row.digest.hex(),
        state=row.state.value,
        reason=row.reason,
        threshold=desk.row.threshold,
        owners=[
            OwnerView(owner=owner, person=persons.get(owner), signed=owner in signed)
            for owner in sorted(desk.owners | signed)
        ],
    )


def _persons(platform: Platform) -> dict[str, str]:
    """Return whose each wallet key in the roster is, by address."""
    return {
        typed_approval.address_text(officer.public_key): officer.person
        for officer in platform.roster.officers
        if len(officer.public_key) == typed_approval.ADDRESS_BYTES
    }


def _desks(platform: Platform) -> list[AnyDesk]:
    return [desk for home in platform.chains.values() for desk in _desks_of(platform, home)]


def _desks_of(platform: Platform, home: ChainHome) -> list[AnyDesk]:
    return [*platform.wallet_desks(home), *platform.coin_desks(home)]


def _desk_of(platform: Platform, row: Proposal) -> AnyDesk:
    for desk in _desks_of(platform, platform.home(ChainId(row.chain))):
        if desk.row.address == row.address:
            return desk
    raise Refused(Reason.NOT_FOUND, f"{row.wallet} is not in the roster any more")
