"""`strongroom customer`: open and find customers (ops); who am I, and what do I have."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli import client
from app.cli.output import emit, emit_one

app = typer.Typer(help="Customers, and one's own balances.")


@app.command(name="open")
def open_customer(
    external_id: Annotated[str, typer.Argument(help="Your own id for the customer.")],
) -> None:
    """Open a customer; the same id again is the same customer."""
    emit_one(client.ask("POST", "/v1/customers", body={"external_id": external_id}))


@app.command(name="list")
def list_customers(limit: Annotated[int, typer.Option("--limit", min=1)] = 100) -> None:
    """List customers by number."""
    emit(client.pages("/v1/customers", limit=limit))


@app.command()
def show(customer_no: Annotated[int, typer.Argument(min=1)]) -> None:
    """Show one customer."""
    emit_one(client.ask("GET", f"/v1/customers/{customer_no}"))


@app.command()
def whoami() -> None:
    """Show whose key this is."""
    emit_one(client.ask("GET", "/v1/me"))


@app.command()
def balance() -> None:
    """Show one's own balances."""
    emit(client.ask("GET", "/v1/balances")["data"])
