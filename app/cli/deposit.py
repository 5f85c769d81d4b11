"""`strongroom deposit`: where to pay in, and what arrived."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli import client
from app.cli.output import emit, emit_one, say

app = typer.Typer(help="Deposit addresses and deposits.")

COLUMNS = (
    "deposit_id", "symbol", "amount", "state", "reason", "confirmations",
    "required_confirmations", "tx_id",
)  # fmt: skip


@app.command()
def address(
    chain: Annotated[str, typer.Argument(help="The chain's name, see `market assets`.")],
    new: Annotated[bool, typer.Option("--new", help="Issue another one.")] = False,
) -> None:
    """Show one's addresses on a chain; without any the first is issued."""
    rows = [] if new else client.pages("/v1/deposit-addresses", limit=1_000, chain=chain)
    if not rows:
        made = client.fresh_id()
        say(f"asking under the key {made}")
        rows = [client.ask("POST", "/v1/deposit-addresses", body={"chain": chain}, key=made)]
    emit(rows)


@app.command(name="list")
def list_deposits(
    state: Annotated[str | None, typer.Option("--state")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1)] = 100,
) -> None:
    """List deposits in the order they arrived."""
    emit(client.pages("/v1/deposits", limit=limit, state=state), COLUMNS)


@app.command()
def show(deposit_id: str) -> None:
    """Show one deposit."""
    emit_one(client.ask("GET", f"/v1/deposits/{deposit_id}"))
