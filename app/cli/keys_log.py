"""`strongroom keys export` and `keys log`: what leaves the signer for others to check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import settings
from app.cli.output import Exit, emit, emit_one, errors_as_exit_codes, fail

if TYPE_CHECKING:
    from custody.keys.signing_record import Mark

app = typer.Typer(help="Export the signer's log and check it offline.")

FileArgument = Annotated[Path, typer.Argument(help="The exported file.")]


def export_accounts(
    to: Annotated[Path, typer.Argument(help="File for the accounts' public keys.")],
    account: Annotated[
        list[str] | None, typer.Option(help="A wallet's next keys too, like hot.2; repeat.")
    ] = None,
    deposit_keys: Annotated[
        int, typer.Option(min=1, help="How many deposit keys, where none derive publicly.")
    ] = 1_000,
) -> None:
    """Write every account's extended public key, or its keys, attested; run where the keys are."""
    with errors_as_exit_codes():
        from app.signer_home import export_accounts as export
        from core.errors import Reason, Refused
        from custody.keys.accounts_file import render_accounts

        accounts = export(settings(), account or (), deposit_keys=deposit_keys)
        if to.exists():
            raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, str(to))
        to.write_bytes(render_accounts(accounts))
        emit([{"chain": one.line.chain, "account": one.line.account} for one in accounts])


def make_anchor() -> None:
    """Put the anchor of [signer.pkcs11] into the token where it is missing; once, at set-up."""
    with errors_as_exit_codes():
        from app.signer_keys import open_anchor
        from core.errors import Reason, Refused
        from custody.keys.signers.pkcs11_anchor import TokenAnchor

        anchor = open_anchor(settings().signer)
        if not isinstance(anchor, TokenAnchor):
            raise Refused(Reason.MALFORMED, "signer.pkcs11.anchor names none")
        anchor.make()
        mark = anchor.read()
        anchor.close()
        emit_one({"records": mark.position, "hash": mark.hash.hex()})


@app.command()
def export(to: FileArgument) -> None:
    """Fetch the whole log from the running signer into a file, and its policies beside it."""
    with errors_as_exit_codes():
        import contextlib

        from app.files import open_rosters
        from app.signer_client import SignerClient
        from custody.keys.log_file import whole_log, write_log
        from custody.keys.policy_export import learned_by, write_policies

        rosters = open_rosters(settings())
        with contextlib.closing(SignerClient(settings().signer.socket)) as signer:
            last = write_log(to, whole_log(signer))
            policies = write_policies(to, learned_by(signer, rosters.by_hash))
        end = "-" if last is None else f"{last.position}:{last.hash.hex()}"
        records = 0 if last is None else last.position
        emit_one({"records": records, "end": end, "policies": str(policies)})


@app.command()
def verify(
    file: FileArgument,
    end: Annotated[
        str | None,
        typer.Option("--end", metavar="RECORDS:HASH", help="How far it must reach at least."),
    ] = None,
) -> None:
    """Check an exported log offline: its chain of hashes, I7, I8, I9 and I10; exit 8 on findings.

    Rosters, the accounts' public keys and the chains' rules come from the settings, never from the
    file: every record must carry the officers' signatures or a mandate that counted that day. The
    policies in the folder beside it count as far as their quorums signed them.
    """
    with errors_as_exit_codes():
        from app.auditing import open_auditor
        from custody.keys.audit import audit
        from custody.keys.log_file import read_log_file
        from custody.keys.policy_export import folder_of

        entries = read_log_file(file)
        with open_auditor(settings(), folder_of(file), end=_mark(end)) as auditor:
            found = audit(entries, auditor)
        if found:
            emit([{"invariant": f.invariant, "record": f.position, "what": f.what} for f in found])
            fail(Exit.VERIFICATION, f"{len(found)} findings", reason="corrupt", has_data=True)
        emit_one({"records": len(entries), "holds": "hash chain, I7, I8, I9, I10"})


def _mark(text: str | None) -> Mark | None:
    """Read how far a log reaches, as `export` told it. Refused: malformed."""
    from core.errors import Reason, Refused
    from custody.keys.signing_record import Mark

    if text is None:
        return None
    records, _, digest = text.partition(":")
    try:
        return Mark(int(records), bytes.fromhex(digest))
    except ValueError as error:
        raise Refused(Reason.MALFORMED, "--end is RECORDS:HASH, as export told it") from error
