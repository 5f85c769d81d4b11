"""`strongroom`: one program. Groups import what they need when they run, so --help is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli import (
    address,
    chain,
    config,
    control,
    customer,
    database,
    demo,
    deposit,
    engine,
    intent,
    journal,
    key,
    keys,
    ledger,
    market,
    officer,
    order,
    policy,
    price,
    reserve,
    roster,
    screening,
    serve,
    sim,
    statement,
    up,
    wallet,
    withdrawal,
)
from app.cli.options import Chosen
from app.cli.output import Output, Talk

app = typer.Typer(
    name="strongroom",
    help="Custody and settlement for digital assets, around a small and very fast engine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(serve.app, name="serve")
app.add_typer(database.app, name="db")
app.add_typer(config.app, name="config")
app.add_typer(ledger.app, name="ledger")
app.add_typer(journal.app, name="journal")
app.add_typer(engine.app, name="engine")
app.add_typer(chain.app, name="chain")
app.add_typer(officer.app, name="officer")
app.add_typer(roster.app, name="roster")
app.add_typer(policy.app, name="policy")
app.add_typer(intent.app, name="intent")
app.add_typer(statement.app, name="statement")
app.add_typer(control.app, name="control")
app.add_typer(key.app, name="key")
app.add_typer(keys.app, name="keys")
app.add_typer(address.app, name="address")
app.add_typer(customer.app, name="customer")
app.add_typer(deposit.app, name="deposit")
app.add_typer(market.app, name="market")
app.add_typer(order.app, name="order")
app.add_typer(withdrawal.app, name="withdrawal")
app.add_typer(wallet.app, name="wallet")
app.add_typer(screening.app, name="screening")
app.add_typer(price.app, name="price")
app.add_typer(reserve.app, name="reserve")
app.add_typer(demo.app, name="demo")
app.command(name="up")(up.up)
app.command(name="sim")(sim.sim)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file.", envvar="STRONGROOM_CONFIG", show_envvar=True),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        import importlib.metadata

        typer.echo(f"strongroom {importlib.metadata.version('strongroom')}")
        raise typer.Exit


@app.callback()
def options(
    config_file: ConfigOption = None,
    output: Annotated[
        Output, typer.Option("--output", "-o", help="How data is written.")
    ] = Output.TABLE,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No talk, only data.")] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Read the options that stand before the noun."""
    Chosen.config_file = config_file
    Talk.output, Talk.quiet = output, quiet


def main() -> None:
    """Run the command line."""
    app()
