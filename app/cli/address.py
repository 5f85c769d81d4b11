"""`strongroom address`: one's address book: add, confirm by a code, list, remove."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli import client
from app.cli.output import emit, emit_one, say

app = typer.Typer(help="The address book: whom one may pay.")

IdArgument = Annotated[str, typer.Argument(help="The entry's id, addr_…")]
OwnerOption = Annotated[
    int | None, typer.Option("--customer", min=1, help="Whose book, for staff.")
]
COLUMNS = ("entry_id", "label", "chain", "address", "tag", "state", "usable_at", "last_editor")


@app.command()
def add(
    chain: Annotated[str, typer.Argument()],
    address: Annotated[str, typer.Argument()],
    label: Annotated[str, typer.Option("--label", help="What you call it.")],
    tag: Annotated[str | None, typer.Option("--tag", help="Tag or memo.")] = None,
    request: Annotated[
        str | None, typer.Option("--id", help="The id of a request that is sent again.")
    ] = None,
    customer: OwnerOption = None,
) -> None:
    """Enter an address; a one-time code goes to the customer by another way."""
    key = request or client.fresh_id()
    say(f"asking under --id {key}")
    body = {"chain": chain, "address": address, "label": label}
    if tag is not None:
        body["tag"] = tag
    asked = body if customer is None else {**body, "customer_no": customer}
    emit_one(client.ask("POST", "/v1/address-book", body=asked, key=key))


@app.command()
def confirm(
    entry_id: IdArgument,
    code: Annotated[
        str, typer.Option("--code", prompt="code", hide_input=True, help="As it was sent to you.")
    ],
) -> None:
    """Confirm an entry by its code; it is usable after its cool-down."""
    path = f"/v1/address-book/{entry_id}/confirm"
    emit_one(client.ask("POST", path, body={"code": code}))


@app.command()
def code(entry_id: IdArgument) -> None:
    """Have another code sent."""
    emit_one(client.ask("POST", f"/v1/address-book/{entry_id}/code"))


@app.command(name="list")
def list_entries(
    limit: Annotated[int, typer.Option("--limit", min=1)] = 100, customer: OwnerOption = None
) -> None:
    """List the book in the order of its entries."""
    emit(client.pages("/v1/address-book", limit=limit, customer_no=customer), COLUMNS)


@app.command()
def remove(entry_id: IdArgument, customer: OwnerOption = None) -> None:
    """Take an entry out at once."""
    emit_one(client.ask("DELETE", f"/v1/address-book/{entry_id}", customer_no=customer))


@app.command()
def required(
    on: Annotated[
        bool | None, typer.Option("--on/--off", help="Off holds withdrawals for a day.")
    ] = None,
) -> None:
    """Show or switch whether withdrawals go to confirmed entries only."""
    if on is None:
        emit_one(client.ask("GET", "/v1/address-book-rule"))
    else:
        emit_one(client.ask("POST", "/v1/address-book-rule", body={"required": on}))


@app.command()
def received(limit: Annotated[int, typer.Option("--limit", min=1)] = 100) -> None:
    """List what other customers paid to one's addresses, without a chain transaction."""
    emit(client.pages("/v1/received", limit=limit))
