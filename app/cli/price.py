"""`strongroom price`: what coins are worth, for limits in USD (ops)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli import client
from app.cli.output import emit, emit_one, errors_as_exit_codes

app = typer.Typer(help="Prices in USD that limits are counted with.")

COLUMNS = ("symbol", "price", "at", "source", "recorded_by", "asset")
AT_ONCE = 100


@app.command(name="set")
def set_price(
    asset: Annotated[str, typer.Argument(help="<chain>/<key>, or a symbol only one asset has.")],
    price: Annotated[str, typer.Argument(help="USD for one whole coin, as decimal text.")],
    source: Annotated[str, typer.Option("--source", help="Who says so.")],
    at: Annotated[
        str | None, typer.Option("--at", help="When, like 2026-01-31T12:00:00Z; default now.")
    ] = None,
) -> None:
    """Record one price."""
    when = at or client.ask("GET", "/v1/time")["time"]
    one = {"asset": client.asset_id(asset), "price": price, "at": when, "source": source}
    emit_one(client.ask("POST", "/v1/prices", body={"prices": [one]}))


@app.command(name="list")
def list_prices(
    asset: Annotated[str | None, typer.Argument(help="One asset: its history.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100)] = 50,
) -> None:
    """List the newest price of every asset, or the history of one."""
    named = None if asset is None else client.asset_id(asset)
    emit(client.ask("GET", "/v1/prices", asset=named, limit=limit)["data"], COLUMNS)


@app.command(name="import")
def import_prices(
    file: Annotated[Path, typer.Argument(help="A feed: a TOML file of [[prices]].")],
) -> None:
    """Record every price of a file; imported again it changes nothing."""
    with errors_as_exit_codes():
        from app.price_feed import read_feed

        entries = read_feed(file)
    recorded = 0
    for first in range(0, len(entries), AT_ONCE):
        body = {"prices": entries[first : first + AT_ONCE]}
        recorded += client.ask("POST", "/v1/prices", body=body)["recorded"]
    emit_one({"read": len(entries), "recorded": recorded})
