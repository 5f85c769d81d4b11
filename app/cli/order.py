"""`strongroom order`: trade. Every order has an id made before it is sent; repeat it to retry."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli import client
from app.cli.output import emit, emit_one, say

app = typer.Typer(help="Place, change, cancel and look up orders.")

MarketArgument = Annotated[str, typer.Argument(help="The market's name, see `market list`.")]
QuantityArgument = Annotated[str, typer.Argument(help="Base coins, as 0.5")]
PriceOption = Annotated[
    str, typer.Option("--price", help="Quote coins per base coin; the worst one you accept.")
]
KindOption = Annotated[
    bool, typer.Option("--market", help="Take what there is up to the price, now.")
]
TifOption = Annotated[str | None, typer.Option("--tif", help="gtc, ioc or fok")]
PostOption = Annotated[bool, typer.Option("--post-only", help="Refused when it would trade now.")]
IdOption = Annotated[
    str | None, typer.Option("--id", help="The client order id of an order that is sent again.")
]
IssuedOption = Annotated[
    str | None, typer.Option("--issued-at", help="The time of an order that is sent again.")
]
COLUMNS = (
    "order_id", "market", "side", "kind", "tif", "price", "quantity", "filled", "remaining",
    "state", "reason",
)  # fmt: skip


@app.command()
def buy(
    market: MarketArgument,
    quantity: QuantityArgument,
    price: PriceOption,
    at_market: KindOption = False,
    tif: TifOption = None,
    post_only: PostOption = False,
    client_order_id: IdOption = None,
    issued_at: IssuedOption = None,
) -> None:
    """Buy base coins."""
    body = _body("buy", market, quantity, price, tif, client_order_id, issued_at)
    _place(body, at_market=at_market, post_only=post_only)


@app.command()
def sell(
    market: MarketArgument,
    quantity: QuantityArgument,
    price: PriceOption,
    at_market: KindOption = False,
    tif: TifOption = None,
    post_only: PostOption = False,
    client_order_id: IdOption = None,
    issued_at: IssuedOption = None,
) -> None:
    """Sell base coins."""
    body = _body("sell", market, quantity, price, tif, client_order_id, issued_at)
    _place(body, at_market=at_market, post_only=post_only)


@app.command(name="list")
def list_orders(
    open_only: Annotated[bool, typer.Option("--open", help="Only open ones.")] = False,
    client_order_id: IdOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1)] = 100,
) -> None:
    """List one's orders, newest first."""
    status = "open" if open_only else None
    rows = client.pages("/v1/orders", limit=limit, status=status, client_order_id=client_order_id)
    emit(rows, COLUMNS)


@app.command()
def show(order_id: str) -> None:
    """Show one order."""
    emit_one(client.ask("GET", f"/v1/orders/{order_id}"))


@app.command()
def change(
    order_id: str,
    price: PriceOption,
    quantity: Annotated[str, typer.Option("--quantity", help="New total, filled part included.")],
) -> None:
    """Change price and total quantity of an open order."""
    body = {"price": price, "quantity": quantity}
    emit_one(client.ask("PATCH", f"/v1/orders/{order_id}", body=body))


@app.command()
def cancel(order_id: str) -> None:
    """Cancel one order."""
    emit_one(client.ask("DELETE", f"/v1/orders/{order_id}"))


@app.command(name="cancel-all")
def cancel_all(market: Annotated[str | None, typer.Option("--in")] = None) -> None:
    """Cancel every open order, in one market or everywhere."""
    emit_one(client.ask("DELETE", "/v1/orders", market=market))


@app.command()
def fills(limit: Annotated[int, typer.Option("--limit", min=1)] = 100) -> None:
    """List one's fills, newest first."""
    emit(client.pages("/v1/fills", limit=limit))


def _body(
    side: str,
    market: str,
    quantity: str,
    price: str,
    tif: str | None,
    client_order_id: str | None,
    issued_at: str | None,
) -> dict[str, Any]:
    from app.api.units import instant
    from core.clock import SystemClock

    body: dict[str, Any] = {
        "client_order_id": client_order_id or client.fresh_id(),
        "issued_at": issued_at or instant(SystemClock().now_ns()),
        "market": market,
        "side": side,
        "price": price,
        "quantity": quantity,
    }
    return body if tif is None else body | {"tif": tif}


def _place(body: dict[str, Any], *, at_market: bool, post_only: bool) -> None:
    body |= {"kind": "market" if at_market else "limit", "post_only": post_only}
    # Said before it is sent: with these two the same order can be sent again without harm.
    say(f"sending --id {body['client_order_id']} --issued-at {body['issued_at']}")
    emit_one(client.ask("POST", "/v1/orders", body=body))
