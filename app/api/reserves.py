"""Proof of reserves: the published reports as the bytes they are, and one's own inclusion proof."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response

from app.api.guard import GuardedRoute, In, OwnNo, Shop
from app.api.shapes import PAGE_MAX, Cursor, Limit, Page, Shown, number_in_path
from core.errors import Corrupt, Reason, Refused, Unavailable
from custody.reserves import report, verify
from custody.reserves.report import Link, Sealed

router = APIRouter(route_class=GuardedRoute)

_FILE_NAME = re.compile(r"[0-9]{10}\.json", re.ASCII)
_NUMBER_MAX = 10**10


class ReportView(Shown):
    """One published report."""

    number: int
    date: str
    entity: str
    root: str
    hash: str
    previous: str


@router.get("/v1/reserves")
def list_reports(shop: In, limit: Limit = 50, cursor: Cursor = None) -> Page[ReportView]:
    """Return published reports, newest first."""
    folder = shop.context.reports_folder
    numbers = [] if folder is None or not folder.is_dir() else _numbers(folder)
    before = _NUMBER_MAX if cursor is None else int(cursor)
    chosen = [number for number in numbers if number < before][: min(limit, PAGE_MAX)]
    more = str(chosen[-1]) if chosen and chosen[-1] != numbers[-1] else None
    return Page[ReportView](data=[_view(_read(shop, each)[1]) for each in chosen], next_cursor=more)


@router.get("/v1/reserves/{number}", responses={200: {"description": "The report, byte by byte"}})
def read_report(number: str, shop: In) -> Response:
    """Return a report's file; check it offline with `python verify.py`."""
    data, _ = _read(shop, number_in_path(number, Reason.NOT_FOUND))
    return Response(data, media_type="application/json")


@router.get(
    "/v1/reserves/{number}/proof", responses={200: {"description": "The proof, byte by byte"}}
)
def read_proof(number: str, owner: OwnNo, shop: In) -> Response:
    """Return the asking customer's own inclusion proof; verify.py takes it beside the report."""
    data, whole = _read(shop, number_in_path(number, Reason.NOT_FOUND))
    folder = shop.context.leaves_folder
    if folder is None:
        raise Refused(Reason.NOT_FOUND, "no proofs are kept for this report")
    name = f"{int(whole['body']['number']):010d}.json"
    try:
        leaves = (folder / name).read_bytes()
    except FileNotFoundError as error:
        raise Refused(Reason.NOT_FOUND, "no proofs are kept for this report") from error
    except OSError as error:
        raise Unavailable(f"leaves: {error.strerror}") from error
    link = Link(int(whole["body"]["number"]), whole["hash"])
    sealed = Sealed(link, whole["body"]["tree"]["root"], data)
    tree = shop.trees.get(link.hash, lambda: report.read_leaves(sealed, leaves))
    return Response(report.proof_file(sealed, tree, owner), media_type="application/json")


def _numbers(folder: Path) -> list[int]:
    names = [path.name for path in folder.iterdir() if _FILE_NAME.fullmatch(path.name)]
    return sorted((int(name[:10]) for name in names), reverse=True)


def _read(shop: Shop, number: int) -> tuple[bytes, dict[str, Any]]:
    """Return a report's bytes and content. Corrupt when it is not what its own hash says."""
    folder = shop.context.reports_folder
    no_such = Refused(Reason.NOT_FOUND, "there is no such report")
    if folder is None or number >= _NUMBER_MAX:
        raise no_such
    try:
        data = (folder / f"{number:010d}.json").read_bytes()
    except FileNotFoundError as error:
        raise no_such from error
    except OSError as error:
        raise Unavailable(f"report {number}: {error.strerror}") from error
    try:
        whole: dict[str, Any] = verify.parse(data, verify.REPORT)
    except verify.Refuted as error:
        raise Corrupt(f"report {number}: {error}") from error
    rest = {name: value for name, value in whole.items() if name != "hash"}
    if hashlib.sha256(verify.canonical(rest)).hexdigest() != whole["hash"]:
        raise Corrupt(f"report {number} is not what its hash says")
    return data, whole


def _view(whole: dict[str, Any]) -> ReportView:
    body = whole["body"]
    return ReportView(
        number=int(body["number"]),
        date=body["date"],
        entity=body["entity"],
        root=body["tree"]["root"],
        hash=whole["hash"],
        previous=body["previous"],
    )
