"""`strongroom keys drill`: prove that the keys are ours and that the shares restore them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.keys_parts import networks_of, officer_key_of, person_of, terminal_of
from app.cli.options import settings
from app.cli.output import Exit, emit, errors_as_exit_codes, fail, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.cli.keys_parts import Screen
    from custody.keys.drill import Drill
    from custody.keys.drill_log import DrillRecord
    from custody.keys.secret import Secret

SAMPLE = 10
TRIES_MAX = 10
COLUMNS = ("number", "what", "where", "verdict", "checked_by")


def drill(
    name: Annotated[str, typer.Argument(help="What this drill is called, like 2026-q4.")],
    by: Annotated[str, typer.Option(metavar="PERSON=KEYFILE", help="Who answers for it.")],
    log: Annotated[Path, typer.Option(help="The log of drills; lines are only ever added.")],
    purpose: Annotated[str, typer.Option(help="Why it is held.")] = "regular drill",
    sample: Annotated[
        int, typer.Option(min=0, help="How many customers' addresses, beside every own wallet.")
    ] = SAMPLE,
    from_shares: Annotated[
        Path | None,
        typer.Option(metavar="TRANSCRIPT", help="Restore from shares; compare with this."),
    ] = None,
    share_file: Annotated[
        list[Path] | None, typer.Option(help="A share's file, mode 0600; typed without any.")
    ] = None,
    with_passphrase: Annotated[
        bool, typer.Option("--with-passphrase", help="The shares have a passphrase.")
    ] = False,
) -> None:
    """Prove control of our addresses by fresh challenges, or restore the seed from shares.

    Each finding is signed into the log. No key and no share touches the disk.
    """
    with errors_as_exit_codes():
        from core.clock import SystemClock
        from core.entropy import SystemEntropy
        from custody.keys.drill import Drill
        from custody.keys.drill_log import Author, DrillLog

        terminal = terminal_of(needed=from_shares is not None and not share_file)
        person, key_file = person_of(by)
        clock = SystemClock()
        held = Drill(
            name=name,
            purpose=purpose,
            author=Author(person, officer_key_of(key_file, terminal)),
            log=DrillLog(log, clock),
            clock=clock,
            entropy=SystemEntropy(),
        )
        if from_shares is None:
            found = _prove(held, sample)
        else:
            found = [_restore(held, from_shares, share_file or (), with_passphrase, terminal)]
        emit([_row(record) for record in found], COLUMNS)


def drills(log: Annotated[Path, typer.Argument(help="The log of drills.")]) -> None:
    """Check every line of a log of drills and show them."""
    with errors_as_exit_codes():
        from core.clock import SystemClock
        from custody.keys.drill_log import DrillLog

        if not log.exists():
            fail(Exit.NOT_FOUND, str(log), reason="not_found")
        records = DrillLog(log, SystemClock()).records()
        emit([{"date": one.date, "who": one.who, **_row(one), "key": one.key} for one in records])


def _prove(held: Drill, count: int) -> list[DrillRecord]:
    from app.opening import open_platform
    from core.errors import Reason, Refused
    from custody.keys.drill import Target, prove_all
    from custody.keys.drill import sample as sample_of
    from custody.wallets import addresses

    platform = open_platform(settings())
    found: list[DrillRecord] = []
    try:
        for name, home in platform.chains.items():
            with platform.db.read() as conn:
                rows = addresses.all_of(conn, name)
            if not rows:
                raise Refused(Reason.NOT_FOUND, f"no address of {name} is known")
            targets = [
                Target(row, home.public_key_of(row.account, row.key_index))
                for row in sample_of(rows, count, held.entropy)
            ]
            found += prove_all(held, platform.signer, home.chain, targets)
    finally:
        platform.close()
    return found


def _restore(
    held: Drill,
    transcript: Path,
    share_files: Sequence[Path],
    with_passphrase: bool,
    terminal: Screen,
) -> DrillRecord:
    from app.cli.machine import quiet_machine
    from custody.keys.drill import restore_drill
    from custody.keys.share_delivery import read_share_file
    from custody.keys.transcript import verify

    say(quiet_machine())
    try:
        expected = verify(transcript.read_bytes())
    except OSError as error:
        fail(Exit.NOT_FOUND, f"{transcript}: {error.strerror}", reason="not_found")
    chains = list(dict.fromkeys(str(one.chain) for one in expected.transcript.accounts))
    shares = [read_share_file(path) for path in share_files] or _typed(terminal)
    passphrase = terminal.ask_secret("Passphrase: ") if with_passphrase else None
    return restore_drill(held, shares, passphrase, networks_of(chains), expected)


def _typed(terminal: Screen) -> list[Secret]:
    from core.errors import Reason, Refused
    from custody.keys.shares import complete, facts_of

    shares: list[Secret] = []
    wanted = 1
    tries_left = TRIES_MAX
    while len(shares) < wanted:
        of = f" of {wanted}" if shares else ""
        typed = terminal.ask_page(
            f"Share {len(shares) + 1}{of}: its holder types the words, everybody else looks away.\n"
            "Four letters of a word are enough. An empty line ends it.",
            _is_share,
        )
        try:
            share = complete(typed)
            facts = facts_of(share)
        except Refused as refused:
            tries_left -= 1
            if refused.reason is not Reason.BAD_SHARE or not tries_left:
                raise
            terminal.say(f"  {refused.detail}; {tries_left} tries are left")
            continue
        wanted = facts.threshold
        shares.append(share)
        terminal.say(f"  share {facts.number} was read, {len(shares)} of {wanted}")
    return shares


def _is_share(typed: Secret) -> bool:
    from core.errors import Refused
    from custody.keys.shares import complete, facts_of

    try:
        facts_of(complete(typed))
    except Refused:
        return False
    return True


def _row(record: DrillRecord) -> dict[str, object]:
    detail = record.detail
    return {
        "number": record.number,
        "what": record.what,
        "where": detail.get("address") or f"ceremony {detail.get('ceremony')}",
        "verdict": detail.get("verdict"),
        "checked_by": detail.get("checked_by") or f"shares {detail.get('shares')}",
    }
