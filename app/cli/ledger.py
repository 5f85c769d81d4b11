"""`strongroom ledger`: the books, recomputed from their rows."""

from __future__ import annotations

import typer

from app.cli.options import settings
from app.cli.output import Exit, emit, errors_as_exit_codes, fail, say

app = typer.Typer(help="Check the books.")


@app.command()
def check() -> None:
    """Recompute every balance, sign and hash from the rows alone; exit 8 when one is wrong."""
    with errors_as_exit_codes():
        from app.opening import open_database
        from custody.ledger.audit import audit
        from custody.ledger.records import Chain
        from custody.ledger.transfers import chain_head

        db = open_database(settings())
        with db.read() as conn:
            findings = audit(conn)
            heads = {chain.value: chain_head(conn, chain).position for chain in Chain}
        emit([{"check": one.check, "row": one.row, "what": one.what} for one in findings])
        if findings:
            fail(Exit.VERIFICATION, f"{len(findings)} checks failed", has_data=True)
        counts = ", ".join(f"{count} {chain}" for chain, count in heads.items())
        say(f"the books are sound: {counts} transfers")
