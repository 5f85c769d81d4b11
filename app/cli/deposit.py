"""`strongroom deposit`: where to pay in, and what arrived."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli import client
from app.cli.output import Exit, emit, emit_one, fail, say

app = typer.Typer(help="Deposit addresses and deposits.")

COLUMNS_OF_ADDRESS = ("chain", "address", "key_index", "attestation")
COLUMNS = (
    "deposit_id", "symbol", "amount", "state", "reason", "confirmations",
    "required_confirmations", "tx_id",
)  # fmt: skip


@app.command()
def address(
    chain: Annotated[str, typer.Argument(help="The chain's name, see `market assets`.")],
    new: Annotated[bool, typer.Option("--new", help="Issue another one.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Show only what the signer attested to for you.")
    ] = False,
    attestation_key: Annotated[
        str,
        typer.Option(
            help="The signer's public key, 64 hex digits, learnt from elsewhere than this server.",
            envvar="STRONGROOM_ATTESTATION_KEY",
            show_envvar=True,
        ),
    ] = "",
    customer: Annotated[
        int,
        typer.Option(help="Your customer number.", envvar="STRONGROOM_CUSTOMER", show_envvar=True),
    ] = 0,
) -> None:
    """Show one's addresses on a chain; without any the first is issued.

    With --verify nothing is believed but the attestation key: not the server, not the way to it.
    """
    if verify and not (attestation_key and customer):
        fail(Exit.USAGE, "--verify needs --attestation-key and --customer", reason="usage")
    rows = [] if new else client.pages("/v1/deposit-addresses", limit=1_000, chain=chain)
    if not rows:
        made = client.fresh_id()
        say(f"asking under the key {made}")
        rows = [client.ask("POST", "/v1/deposit-addresses", body={"chain": chain}, key=made)]
    if verify:
        _verify(rows, chain, customer, attestation_key)
        say(f"the signer attests to {len(rows)} of {len(rows)}")
    emit(rows, COLUMNS_OF_ADDRESS)


def _verify(rows: list[dict[str, object]], chain: str, customer: int, key: str) -> None:
    from app.cli.output import errors_as_exit_codes
    from core.ids import ChainId, CustomerNo
    from custody.keys.attestation import check_document

    with errors_as_exit_codes():
        for row in rows:
            check_document(
                row, public_key=key, chain=ChainId(chain), customer_no=CustomerNo(customer)
            )


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
