"""`strongroom market`: what is listed and what trades; operators halt and resume it."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli import client
from app.cli.output import emit, emit_one

app = typer.Typer(help="Assets, markets, books and trades; halt and resume.")

MarketArgument = Annotated[str, typer.Argument(help="The market's name, see `market list`.")]


@app.command()
def assets() -> None:
    """List assets."""
    emit(client.ask("GET", "/v1/assets")["data"])


@app.command(name="list")
def list_markets() -> None:
    """List markets."""
    emit(client.ask("GET", "/v1/markets")["data"])


@app.command()
def book(
    market: MarketArgument, depth: Annotated[int, typer.Option("--depth", min=1, max=500)] = 10
) -> None:
    """Show the best levels: asks from above down to the spread, then bids."""
    found = client.ask("GET", f"/v1/markets/{market}/book", depth=depth)
    rows = [("ask", *level) for level in reversed(found["asks"])]
    rows += [("bid", *level) for level in found["bids"]]
    emit([{"side": side, "price": price, "quantity": amount} for side, price, amount in rows])


@app.command()
def trades(
    market: MarketArgument, limit: Annotated[int, typer.Option("--limit", min=1, max=100)] = 20
) -> None:
    """Show the latest trades, newest first."""
    emit(client.ask("GET", f"/v1/markets/{market}/trades", limit=limit)["data"])


@app.command()
def halt(market: MarketArgument) -> None:
    """Take nothing but cancels in a market until it is resumed, also after a restart."""
    emit_one(client.ask("POST", f"/v1/markets/{market}/halt"))


@app.command()
def resume(market: MarketArgument) -> None:
    """Take orders in a market again."""
    emit_one(client.ask("POST", f"/v1/markets/{market}/resume"))
