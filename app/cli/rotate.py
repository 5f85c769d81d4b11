"""`strongroom keys rotate`: empty retired keys onto the wallet's present ones, by quorum."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import settings
from app.cli.output import Exit, emit, emit_one, errors_as_exit_codes, fail, say

if TYPE_CHECKING:
    from custody.keys.intent import WithdrawalIntent
    from custody.keys.roster import Approval

app = typer.Typer(help="Move a wallet to new keys, once the roster has retired the old ones.")

ChainArgument = Annotated[str, typer.Argument(help="The chain.")]
AccountArgument = Annotated[
    str, typer.Argument(help="The account of the retired keys: hot, or hot.2 the next time.")
]
EXPIRY_S = 3_600


@app.command()
def ask(
    chain: ChainArgument,
    account: AccountArgument,
    name: Annotated[str, typer.Option(help="What this move is called, like rot-2026-11.")],
    by: Annotated[str, typer.Option(help="The person who asks; may not approve.")],
    to: Annotated[Path, typer.Option(help="Folder for the intents that officers approve.")],
    fee_max: Annotated[
        int | None, typer.Option(help="Most native minor units one transaction may cost.")
    ] = None,
    expiry_s: Annotated[int, typer.Option(help="How long approvals count.")] = EXPIRY_S,
) -> None:
    """Write one intent per asset that the retired address holds; officers approve them offline."""
    with errors_as_exit_codes():
        from app.opening import open_platform
        from core.clock import SECOND_NS
        from core.ids import ChainId
        from custody.keys.intent import encode
        from custody.spending import rotations

        platform = open_platform(settings())
        try:
            home = platform.home(ChainId(chain))
            made = rotations.ask(
                platform.db,
                home.chain,
                account,
                roster=platform.roster,
                rotation_id=name,
                initiator=by,
                fee_max=home.terms.network_fee_max if fee_max is None else fee_max,
                expires_ns=platform.clock.now_ns() + expiry_s * SECOND_NS,
            )
        finally:
            platform.close()
        to.mkdir(exist_ok=True)
        files = [to / f"{name}-{number}.intent" for number in range(1, len(made) + 1)]
        for path, intent in zip(files, made, strict=True):
            path.write_text(encode(intent).hex() + "\n", "ascii")
        emit(
            [
                {
                    "file": path,
                    "asset_key": intent.asset_key,
                    "amount_minor": str(intent.amount),
                    "destination": intent.destination,
                }
                for path, intent in zip(files, made, strict=True)
            ]
        )
        say("now officers: strongroom -o json officer approve FILE --key KEY > APPROVAL")


@app.command()
def send(
    chain: ChainArgument,
    account: AccountArgument,
    intent_file: Annotated[Path, typer.Argument(help="One of the intents that `ask` wrote.")],
    approval: Annotated[list[Path], typer.Option(help="An officer's answer, JSON; repeat.")],
) -> None:
    """Hand one approved move to the worker, which has it signed, sends it and books it."""
    with errors_as_exit_codes():
        from app.opening import open_platform
        from core.ids import ChainId
        from custody.spending import rotations

        intent = read_move(intent_file)
        given = [read_approval(path) for path in approval]
        platform = open_platform(settings())
        try:
            spend = rotations.carry_out(
                platform.db,
                platform.home(ChainId(chain)).chain,
                account,
                intent,
                given,
                roster=platform.roster,
                clock=platform.clock,
            )
        finally:
            platform.close()
        emit_one(
            {
                "spend_id": spend.spend_id,
                "from": f"{spend.account} {spend.source}",
                "to": f"{spend.destination_account} {spend.destination}",
                "amount_minor": str(spend.amount),
                "state": spend.state.value,
            }
        )


def read_move(path: Path) -> WithdrawalIntent:
    """Return the intent in a file of hex digits; ends the process when it holds none."""
    from custody.keys import intent as intents

    try:
        found = intents.decode(bytes.fromhex(path.read_text("ascii").strip()))
    except (OSError, ValueError) as error:
        fail(Exit.USAGE, f"{path}: {error}", reason="malformed")
    if not isinstance(found, intents.WithdrawalIntent):
        fail(Exit.VERIFICATION, f"{path} is no intent of a move", reason="undecodable")
    return found


def read_approval(path: Path) -> Approval:
    """Return an officer's answer in a JSON file; ends the process when it holds none."""
    from app.cli.verdicts import approval_of

    try:
        return approval_of(json.loads(path.read_text("ascii")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        fail(Exit.USAGE, f"{path}: {error}", reason="malformed")
