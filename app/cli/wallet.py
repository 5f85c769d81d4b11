"""`strongroom wallet`: wallets of several owners, and who owns them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import client
from app.cli.options import settings
from app.cli.output import Exit, emit, emit_one, errors_as_exit_codes, fail, say

if TYPE_CHECKING:
    from app.bootstrap import Platform
    from custody.multisig.propose import Desk

app = typer.Typer(help="Wallets of several owners: what waits for them, and other owners.")

COLUMNS = ("proposal_id", "kind", "wallet", "wallet_nonce", "destination", "amount_minor", "state")
EXPIRY_S = 86_400
PSBT_MARK, QR_MARK = b"psbt\xff", "SR1:"
ChainArgument = Annotated[str, typer.Argument(help="The chain.")]
WalletArgument = Annotated[str, typer.Argument(help="The wallet's name in the roster.")]


@app.command()
def pending() -> None:
    """List what waits for owners' signatures."""
    emit(client.ask("GET", "/v1/cosigning")["data"], COLUMNS)


@app.command()
def show(
    proposal_id: Annotated[str, typer.Argument(help="The proposal's id.")],
    document: Annotated[
        Path | None, typer.Option("--typed-data", help="Write what a device signs here.")
    ] = None,
) -> None:
    """Show one proposal: what it does, who owns the wallet, who signed."""
    found = client.ask("GET", f"/v1/cosigning/{proposal_id}")
    if document is not None:
        document.write_text(json.dumps(found["typed_data"], indent=1) + "\n", "utf-8")
        say(f"{document}: for eth_signTypedData_v4 of an owner's wallet")
    owners = found.pop("owners")
    found.pop("typed_data")
    emit_one(found)
    emit(owners)


@app.command(name="psbt-export")
def psbt_export(
    proposal_id: Annotated[str, typer.Argument(help="The proposal's id.")],
    to: Annotated[Path, typer.Option(help="File to write.")],
    form: Annotated[str, typer.Option("--as", help="file, base64 or qr.")] = "file",
) -> None:
    """Write what the next owner's device is shown: a file, one line of base64, or QR texts."""
    found = client.ask("GET", f"/v1/cosigning/{proposal_id}/psbt")
    if form == "file":
        to.write_bytes(base64.b64decode(found["base64"]))
    elif form == "base64":
        to.write_text(found["base64"] + "\n", "ascii")
    elif form == "qr" and found["parts"]:
        to.write_text("\n".join(found["parts"]) + "\n", "ascii")
    else:
        fail(Exit.USAGE, f"{form}: file, base64 or qr; what is long needs a file")
    emit_one({"file": to, "as": form, "qr_codes": len(found["parts"]),
              "signed": len(found["signed"])})  # fmt: skip


@app.command(name="psbt-import")
def psbt_import(
    proposal_id: Annotated[str, typer.Argument(help="The proposal's id.")],
    files: Annotated[list[Path], typer.Argument(help="What a device gave back; QR texts: all.")],
) -> None:
    """Hand in what a device gave back: a file, base64, or QR texts in any order, one a line."""
    body = _returned([path.read_bytes() for path in files])
    found = client.ask("POST", f"/v1/cosigning/{proposal_id}/psbt", body=body)
    emit([{"owner": owner} for owner in found["signed"]])


def _returned(contents: list[bytes]) -> dict[str, object]:
    """Return the body of a request: which of the three forms it is, the bytes say."""
    if len(contents) == 1 and contents[0].startswith(PSBT_MARK):
        return {"base64": base64.b64encode(contents[0]).decode("ascii")}
    lines = [line for one in contents for line in one.decode("ascii", "replace").split()]
    if len(lines) == 1 and not lines[0].startswith(QR_MARK):
        return {"base64": lines[0]}
    return {"parts": lines}


@app.command(name="owners-ask")
def owners_ask(
    chain: ChainArgument,
    wallet: WalletArgument,
    name: Annotated[str, typer.Option(help="What this change is called, like own-2026-11.")],
    by: Annotated[str, typer.Option(help="The person who asks; may not approve.")],
    to: Annotated[Path, typer.Option(help="File for the intent that officers approve.")],
    expiry_s: Annotated[int, typer.Option(help="How long approvals count.")] = EXPIRY_S,
) -> None:
    """Write the next change that leads from the chain's owners to the roster's."""
    with errors_as_exit_codes():
        from app.opening import open_platform
        from core.clock import SECOND_NS
        from custody.keys.intent import encode, render
        from custody.multisig import owners

        platform = open_platform(settings())
        try:
            desk = _desk(platform, chain, wallet)
            intent = owners.ask(
                desk,
                change_id=name,
                initiator=by,
                fee_max=desk.gate.terms.network_fee_max,
                expires_ns=platform.clock.now_ns() + expiry_s * SECOND_NS,
            )
        finally:
            platform.close()
        to.write_text(encode(intent).hex() + "\n", "ascii")
        say(render(intent))
        emit_one({"file": to, "change": intent.asset_key, "to": intent.destination,
                  "threshold": str(intent.amount)})  # fmt: skip


@app.command(name="owners-send")
def owners_send(
    chain: ChainArgument,
    wallet: WalletArgument,
    intent_file: Annotated[Path, typer.Argument(help="The intent that `owners-ask` wrote.")],
    approval: Annotated[list[Path], typer.Option(help="An officer's answer, JSON; repeat.")],
) -> None:
    """Hand one approved change to the present owners, who sign it like a payment."""
    with errors_as_exit_codes():
        from app.cli.rotate import read_approval, read_move
        from app.opening import open_platform
        from custody.multisig import owners

        intent, given = read_move(intent_file), [read_approval(path) for path in approval]
        platform = open_platform(settings())
        try:
            desk = _desk(platform, chain, wallet)
            made = owners.carry_out(desk, intent, given, roster=platform.roster)
        finally:
            platform.close()
        emit_one({"proposal_id": made.proposal_id, "wallet_nonce": str(made.nonce),
                  "state": made.state.value})  # fmt: skip


def _desk(platform: Platform, chain: str, wallet: str) -> Desk:
    from core.ids import ChainId

    desks = platform.wallet_desks(platform.home(ChainId(chain)))
    found = next((desk for desk in desks if desk.row.wallet == wallet), None)
    if found is None:
        fail(Exit.USAGE, f"the roster names no wallet {wallet} on {chain}", reason="not_found")
    return found
