"""`strongroom policy publish|approve|list|show`: how the next version comes into force."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli import client
from app.cli.officer import PassphraseOption, passphrase_of
from app.cli.output import Exit, emit, emit_one, errors_as_exit_codes, fail, say

HashArgument = Annotated[str, typer.Argument(help="The policy's hash, 64 hex digits.")]
COLUMNS = ("hash", "serial", "state", "in_force", "due")


def publish(
    document: Annotated[Path, typer.Argument(help="The next version, TOML.")],
    draft: Annotated[
        bool, typer.Option("--draft", help="Only keep it as a draft; ask nobody yet.")
    ] = False,
) -> None:
    """Propose the next version: it needs the quorum of the one in force, and then its delay.

    Exit 5: the document is refused, with file, line, rule and reason; the version in force stays.
    """
    with errors_as_exit_codes():
        from custody.policy.document import parse_policy

        try:
            data = document.read_bytes()
        except OSError as error:
            fail(Exit.USAGE, f"{document}: {error.strerror}", reason="not_found")
        parse_policy(data, name=document.name)
        text = data.decode("ascii")
    kept = client.ask("POST", "/v1/policy-drafts", body={"document": text})
    if draft:
        emit_one(_row(kept))
        return
    shown = client.ask("POST", f"/v1/policies/{kept['hash']}/propose", body={})
    say(f"needs {shown['quorum']} without {', '.join(shown['authors'])}; then {shown['delay_s']} s")
    emit_one(_row(shown))


def approve(
    policy_hash: HashArgument,
    key_file: Annotated[Path, typer.Option("--key", help="The officer's private key file.")],
    passphrase_file: PassphraseOption = None,
    reject: Annotated[bool, typer.Option("--reject", help="Reject it: one is enough.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Show what the version changes, sign exactly that document, and hand the verdict in."""
    shown = client.ask("GET", f"/v1/policies/{policy_hash}")
    with errors_as_exit_codes():
        from custody.keys.officer_keys import load_officer_key
        from custody.keys.publication import sign_publication
        from custody.keys.roster import Verdict
        from custody.policy.document import parse_policy

        policy = parse_policy(shown["document"].encode("ascii", "replace"))
        if policy.hash.hex() != policy_hash:
            fail(Exit.VERIFICATION, "this is another policy's document", reason="intent_mismatch")
        before = client.ask("GET", f"/v1/policies/{policy.previous.hex()}")["document"]
        say(_changes(before, shown["document"]))
        say(f"written by {', '.join(shown['authors']) or 'nobody named'}; hash {policy_hash}")
        verdict = Verdict.REJECT if reject else Verdict.APPROVE
        if not yes:
            typer.confirm(f"{verdict.value} exactly this?", abort=True, err=True)
        key = load_officer_key(key_file, passphrase=passphrase_of(passphrase_file))
        signed = sign_publication(key, policy, shown["authors"], verdict)
        body = {
            "public_key": signed.public_key.hex(),
            "verdict": signed.verdict.value,
            "signature": signed.signature.hex(),
        }
    emit_one(_row(client.ask("POST", f"/v1/policies/{policy_hash}/approvals", body=body)))


def list_all(limit: Annotated[int, typer.Option("--limit", min=1, max=100)] = 50) -> None:
    """List the version in force and those on their way, the newest first."""
    emit([_row(one) for one in client.ask("GET", "/v1/policies", limit=limit)["data"]])


def show(
    policy_hash: HashArgument,
    document: Annotated[bool, typer.Option("--document", help="Only the document.")] = False,
) -> None:
    """Show one version: its state, who approved it, and its document."""
    shown = client.ask("GET", f"/v1/policies/{policy_hash}")
    if document:
        typer.echo(shown["document"], nl=False)
        return
    emit_one(_row(shown))


def _row(shown: dict[str, Any]) -> dict[str, object]:
    said = ",".join(f"{one['person']} {one['verdict']}" for one in shown["said"])
    return {
        **{name: shown[name] for name in COLUMNS},
        "authors": ",".join(shown["authors"]) or None,
        "said": said or None,
        "reason": shown["reason"],
    }


def _changes(before: str, after: str) -> str:
    import difflib

    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), "in force", "proposed", lineterm="", n=1
    )
    return "\n".join(lines)


def add_to(app: typer.Typer) -> None:
    """Add the commands to `strongroom policy`."""
    app.command()(publish)
    app.command()(approve)
    app.command("list")(list_all)
    app.command()(show)
