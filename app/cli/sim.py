"""`strongroom sim`: tell one seed of the simulation again, from a clone of the repository."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.output import Exit, errors_as_exit_codes, fail, say

SHOWN = (
    "withdrawals signed", "withdrawals confirmed", "crashes while money was in flight",
    "reorged deposits", "deep reorgs", "lost broadcasts", "bumps", "sweeps", "top-ups", "trades",
)  # fmt: skip

SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Which story.")]
StepsOption = Annotated[int | None, typer.Option("--steps", min=1, help="How much of it.")]
BugOption = Annotated[str | None, typer.Option("--bug", help="Plant a bug, by its name.")]


CoinsOption = Annotated[bool, typer.Option("--coins", help="The chain spends coins.")]


def sim(
    seed: SeedOption, steps: StepsOption = None, bug: BugOption = None, coins: CoinsOption = False
) -> None:
    """Run one seed; the last line holds what it exercised and the hash of how it ended."""
    with errors_as_exit_codes():
        try:
            from tests.simulation.planted import BUGS
            from tests.simulation.world import STEPS, run
        except ModuleNotFoundError as error:
            fail(Exit.FAILED, f"the simulation lives in a clone of the repository: {error}")
        if bug is not None and bug not in BUGS:
            fail(Exit.USAGE, f"no such bug; there are: {', '.join(BUGS)}")
        result = run(seed, steps or STEPS, bug=bug, coins=coins)
        for finding in result.findings:
            say(finding)
        if result.findings:
            fail(Exit.VERIFICATION, f"seed {seed}: {result.findings[0]}", reason="invariant_broken")
        counts = ", ".join(f"{result.counts[name]} {name}" for name in SHOWN)
        typer.echo(f"seed {seed}: {result.steps} steps, {counts}, state {result.state_hash}")
