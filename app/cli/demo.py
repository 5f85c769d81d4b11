"""`strongroom demo run`: watch money go the whole way, then look at the page it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.output import Exit, Output, Talk, emit, errors_as_exit_codes, say

if TYPE_CHECKING:
    from app.demo.report import DemoReport, StepLine

app = typer.Typer(help="The whole way on one machine, with real processes and a real node.")


@app.command()
def run(
    folder: Annotated[
        Path, typer.Option("--folder", help="Where the run and its report are kept.")
    ] = Path("var/demo"),
) -> None:
    """Deposit, credit, trade, sweep, withdraw under approval, prove; then check the equations."""
    with errors_as_exit_codes():
        from app.demo.run import run as run_demo

        say("DEMONSTRATION: every key is a toy, the chain is local, nothing has value.")
        report = run_demo(folder, _tell)
        _show(report)
        say(f"report: {folder / 'report.json'}   page: {folder / 'report.html'}")
        if not report.holds:
            raise typer.Exit(Exit.VERIFICATION)


def _tell(step: StepLine) -> None:
    from core.money import format_amount

    say(f"✓ {step.title}  ({format_amount(step.at_ms, 3)} s)")
    for name, value in step.evidence.items():
        say(f"    {name}: {value}")


def _show(report: DemoReport) -> None:
    from app.demo.report import AMOUNTS, as_page
    from core.money import format_amount

    if Talk.output is Output.JSON:
        emit([as_page(report)])
        return
    emit(
        [
            {"asset": line.symbol, **{name: line.text(name) for name in AMOUNTS}}
            for line in report.assets
        ]
    )
    typer.echo("")
    emit(
        [
            {
                "equation": each.name,
                "holds": "yes" if each.holds else "NO",
                "compared": each.compared,
            }
            for each in report.equations
        ]
    )
    for each in report.equations:
        for finding in each.findings:
            typer.echo(f"{each.name}: {finding}")
    verdict = "every equation holds" if report.holds else "AN EQUATION DOES NOT HOLD"
    typer.echo(f"\n{verdict}; {len(report.steps)} steps, {format_amount(report.seconds_ms, 3)} s")
