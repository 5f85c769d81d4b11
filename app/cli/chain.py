"""`strongroom chain`: how far each chain is followed, from the database."""

from __future__ import annotations

import typer

from app.cli.options import settings
from app.cli.output import emit, errors_as_exit_codes

app = typer.Typer(help="Show the followed chains.")


@app.command(name="list")
def list_chains() -> None:
    """Show every registered chain: followed and final height, age, freezes, incidents."""
    with errors_as_exit_codes():
        from app.metrics import chain_facts
        from app.opening import open_database
        from core.clock import SECOND_NS, SystemClock
        from custody import chain_state

        now_s = SystemClock().now_ns() // SECOND_NS
        with open_database(settings()).read() as conn:
            facts = [chain_facts(conn, name, now_s) for name in chain_state.registered(conn)]
        emit(
            [
                {
                    "chain": one.chain,
                    "followed": one.followed_height,
                    "final": one.final_height,
                    "age_s": one.head_age_s,
                    "frozen": one.frozen,
                    "incidents": one.open_incidents,
                }
                for one in facts
            ]
        )
