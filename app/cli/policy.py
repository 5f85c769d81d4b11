"""`strongroom policy`: what a policy says, what is wrong with it, and what another would change.

write a draft -> check -> diff against the one in force -> simulate on the past -> publish
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import policy_publish
from app.cli.output import Exit, Output, Talk, emit, errors_as_exit_codes, fail, say
from core.clock import SECOND_NS

if TYPE_CHECKING:
    from custody.policy.bounds import Question
    from custody.policy.record import Record
    from custody.policy.rules import Policy
    from custody.policy.world import World

app = typer.Typer(help="Check, compare, explain and try policies; docs/policy.md is the guide.")

policy_publish.add_to(app)

RECORDS_BYTES_MAX = 1 << 30
SHOWN_MAX = 20
"""Payments of a counter-example that a table shows."""

DocumentArgument = Annotated[Path, typer.Argument(help="A policy document, TOML.")]
RosterOption = Annotated[
    Path | None,
    typer.Option("--roster", help="A roster's file, or their folder; else that of the settings."),
]
AssetsOption = Annotated[
    Path | None, typer.Option("--assets", help="The listed assets; else those of the settings.")
]
UnpricedOption = Annotated[
    list[str] | None,
    typer.Option("--no-price", help="An asset, <chain>/<key>, that no source gives a price of."),
]
RecordsOption = Annotated[
    Path | None,
    typer.Option("--records", help="Records of decisions, one per line; else the database's."),
]


@app.command()
def check(
    document: DocumentArgument,
    roster: RosterOption = None,
    assets: AssetsOption = None,
    unpriced: UnpricedOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Warnings make the exit code 8 too.")
    ] = False,
) -> None:
    """Find what nobody meant: rules never reached, gaps, quorums that cannot be met, …

    Exit 5: the document cannot be read (file, line, rule and reason of every fault); 8: flaws.
    """
    with errors_as_exit_codes():
        from custody.policy.check import check_policy
        from custody.policy.flaws import Severity

        policy = _policy(document)
        flaws = check_policy(policy, _world(roster, assets, unpriced or []))
        emit(
            [
                {
                    "severity": flaw.severity.value,
                    "code": flaw.code,
                    "place": flaw.place,
                    "what": flaw.text,
                    "example": flaw.example or None,
                }
                for flaw in flaws
            ]
        )
        errors = sum(flaw.severity is Severity.ERROR for flaw in flaws)
        if errors or (strict and flaws):
            text = f"{errors} errors, {len(flaws) - errors} warnings"
            fail(Exit.VERIFICATION, text, reason="flaws", has_data=True)
        say(f"policy {policy.serial} has no errors; its hash is {policy.hash.hex()}")


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(help="The policy in force.")],
    new: Annotated[Path, typer.Argument(help="The draft.")],
    roster: RosterOption = None,
    assets: AssetsOption = None,
) -> None:
    """Show what a draft writes differently, and which payments become easier or harder.

    Without --assets and --roster only what the two documents name themselves is compared.
    """
    with errors_as_exit_codes():
        from custody.policy.diff import shifts, text_changes

        before, after = _policy(old), _policy(new)
        world = _world_or_named((before, after), roster, assets)
        emit(
            [
                {
                    "kind": "text",
                    "place": one.place,
                    "what": one.what,
                    "before": one.before or None,
                    "after": one.after or None,
                }
                for one in text_changes(before, after)
            ]
            + [
                {
                    "kind": one.direction.value,
                    "place": f"{one.cells} kinds of requests",
                    "what": one.example,
                    "before": one.before,
                    "after": one.after,
                }
                for one in shifts(before, after, world)
            ]
        )


@app.command()
def explain(
    withdrawal: Annotated[
        str | None, typer.Argument(help="The withdrawal's id; its decisions are in the database.")
    ] = None,
    records: RecordsOption = None,
    policies: Annotated[
        list[Path] | None, typer.Option("--policy", help="A document that a record names.")
    ] = None,
) -> None:
    """Make stored decisions again, bit for bit, and show the way each came; exit 8: not the same.

    With --records and --policy it needs no platform, no database and no network.
    """
    with errors_as_exit_codes():
        from custody.policy.record import decision_hash, encode_record, repeated

        rows: list[dict[str, object]] = []
        wrong = 0
        for record, known in _past(withdrawal, records, policies or []):
            again = repeated(record, known)
            is_same = encode_record(again) == encode_record(record)
            wrong += not is_same
            rows += _explained(record, is_same)
            say(f"{record.moment.value}: decision hash {decision_hash(record).hex()}")
        if not rows:
            fail(Exit.NOT_FOUND, "no stored decision", reason="not_found")
        emit(rows)
        if wrong:
            text = f"{wrong} decisions are not what their records and policies say"
            fail(Exit.VERIFICATION, text, reason="corrupt", has_data=True)


@app.command()
def simulate(
    draft: DocumentArgument,
    records: RecordsOption = None,
    bound: Annotated[
        str | None, typer.Option("--bound", help="USD: can people move more than this?")
    ] = None,
    hours: Annotated[int, typer.Option("--hours", min=1, max=8_784)] = 24,
    persons: Annotated[int, typer.Option("--persons", min=0, max=8)] = 1,
    accounts: Annotated[
        int, typer.Option("--accounts", min=0, max=8, help="Customers' accounts they have.")
    ] = 1,
    prices: Annotated[
        list[str] | None, typer.Option("--price", help="<chain>/<key>=USD of one whole coin.")
    ] = None,
    roster: RosterOption = None,
    assets: AssetsOption = None,
) -> None:
    """Decide every stored request again by a draft, and show what would have changed.

    With --bound no record is read: payments are searched for by which so many persons together move
    more than that in so many hours. Exit 8 when there are some; they have been replayed.
    """
    with errors_as_exit_codes():
        from custody.policy import simulate as simulation

        policy = _policy(draft)
        if bound is not None:
            question = _question(bound, hours, persons, accounts, prices or [])
            _tell_bound(policy, _world_or_named((policy,), roster, assets), question)
            return
        found = simulation.simulate(_records(records) if records else _submissions(), policy)
        emit(
            [
                {
                    "request": one.request_id,
                    "becomes": one.becomes.value,
                    "before": one.before,
                    "after": one.after,
                }
                for one in found.differences
            ]
        )
        say(f"{len(found.differences)} of {found.requests} requests would be decided differently")


def _question(bound: str, hours: int, persons: int, accounts: int, prices: list[str]) -> Question:
    from core.money import parse_amount
    from custody.policy.bounds import Question
    from custody.policy.request import PRICE_SCALE, USD_SCALE

    found: dict[tuple[str, str], int] = {}
    for text in prices:
        asset, _, usd = text.rpartition("=")
        chain, slash, key = asset.partition("/")
        if not (chain and slash and key):
            fail(Exit.USAGE, "--price is <chain>/<key>=USD", reason="malformed")
        found[chain, key] = parse_amount(usd, PRICE_SCALE)
        if not found[chain, key]:
            fail(Exit.USAGE, f"{asset} must be worth something", reason="malformed")
    return Question(
        usd=parse_amount(bound, USD_SCALE),
        window_ns=hours * 3_600 * SECOND_NS,
        persons=persons,
        accounts=accounts,
        prices=found,
    )


def _tell_bound(policy: Policy, world: World, question: Question) -> None:
    from core.money import format_amount
    from custody.policy.bounds import Verdict, answer
    from custody.policy.request import USD_SCALE

    found = answer(policy, world, question)
    steps = found.steps if found.verdict is Verdict.BROKEN else ()
    shown = steps if Talk.output is Output.JSON else steps[:SHOWN_MAX]
    start_ns = min((step.request.now_ns for step in steps), default=0)
    emit(
        [
            {
                "at_s": (step.request.now_ns - start_ns) // SECOND_NS,
                "released_s": (step.released_ns - start_ns) // SECOND_NS,
                "usd": format_amount(step.worth, USD_SCALE),
                "payment": step.in_words(),
            }
            for step in shown
        ]
    )
    if len(shown) < len(steps):
        say(f"and {len(steps) - len(shown)} payments more; -o json has them all")
    for line in found.because:
        say(f"counted in {line}")
    most = "no bound" if found.ceiling is None else f"{format_amount(found.ceiling, USD_SCALE)} USD"
    moved = format_amount(found.moved, USD_SCALE)
    text = f"{found.verdict.value}: {moved} USD were moved in the replay, the proof says {most}"
    if found.verdict is Verdict.BROKEN:
        fail(Exit.VERIFICATION, text, reason="bound_broken", has_data=True)
    say(text)


def _explained(record: Record, is_same: bool) -> list[dict[str, object]]:
    decision = record.decision
    lines: list[dict[str, object]] = [
        {
            "request": record.request.request_id,
            "moment": record.moment.value,
            "stage": line.stage.value,
            "rule": line.rule or None,
            "condition": line.condition or None,
            "observed": line.observed or None,
            "verdict": line.verdict,
        }
        for line in decision.trace
    ]
    summary = {
        **dict.fromkeys(("request", "moment", "stage", "rule", "condition", "observed")),
        "request": record.request.request_id,
        "moment": record.moment.value,
        "stage": "decision",
        "rule": decision.rule or None,
        "condition": decision.requirement.quorum.text if decision.requirement else None,
        "observed": "repeated bit for bit" if is_same else "NOT the same when repeated",
        "verdict": f"{decision.outcome.value} {decision.code}".strip(),
    }
    return [*lines, summary]


def _policy(path: Path) -> Policy:
    from custody.policy.document import parse_policy

    return parse_policy(_bytes(path), name=str(path))


def _past(
    withdrawal: str | None, records: Path | None, documents: list[Path]
) -> Iterator[tuple[Record, Mapping[bytes, Policy]]]:
    """Yield records with the policies they name, from files or from the database."""
    if records is not None:
        known = {one.hash: one for one in map(_policy, documents)}
        for record in _records(records):
            if withdrawal in (None, record.request.request_id):
                yield record, known
        return
    from app.cli.options import settings
    from app.opening import open_database
    from app.policy_records import policies_of, records_of

    if withdrawal is None:
        fail(Exit.USAGE, "name a withdrawal, or a file by --records", reason="malformed")
    db = open_database(settings())
    for record in records_of(db, withdrawal):
        yield record, policies_of(db, record)


def _submissions() -> list[Record]:
    from app.cli.options import settings
    from app.opening import open_database
    from app.policy_records import submissions

    return submissions(open_database(settings()))


def _records(path: Path) -> list[Record]:
    from custody.policy.record import decode_record

    text = _bytes(path).decode("ascii", "replace")
    return [decode_record(line) for line in text.splitlines() if line.strip()]


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > RECORDS_BYTES_MAX:
            fail(Exit.USAGE, f"{path} is too large", reason="too_large")
        return path.read_bytes()
    except OSError as error:
        fail(Exit.USAGE, f"{path}: {error.strerror}", reason="not_found")


def _world_or_named(
    policies: tuple[Policy, ...], roster: Path | None, assets: Path | None
) -> World:
    """Return the world of files when one is named, else only what the policies name."""
    if roster is not None or assets is not None:
        return _world(roster, assets, [])
    from app.policy_world import world_named_in

    return world_named_in(policies)


def _world(roster: Path | None, assets: Path | None, unpriced: list[str]) -> World:
    from app.cli.options import settings
    from app.policy_world import world_of

    if roster is not None and assets is not None:
        return world_of(assets, roster, unpriced=unpriced)
    from app.opening import open_chains

    chosen = settings()
    return world_of(
        assets or chosen.catalogue.assets_file,
        roster or chosen.officers.roster_folder,
        chains=tuple(chosen.chains),
        unpriced=unpriced,
        canonical={name: one.parse_address for name, one in open_chains(chosen).items()},
    )
