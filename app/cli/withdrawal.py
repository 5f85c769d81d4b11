"""`strongroom withdrawal`: pay out, follow, cancel; and what officers do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli import client
from app.cli.output import Exit, emit, emit_one, errors_as_exit_codes, fail, say

app = typer.Typer(help="Ask for withdrawals, follow them, approve them.")

ENDS = ("confirmed", "refused", "rejected", "cancelled", "expired", "failed")
POLL_NS = 500_000_000
IdArgument = Annotated[str, typer.Argument(help="The withdrawal's id, wd_…")]
COLUMNS = ("withdrawal_id", "symbol", "amount", "fee", "destination", "state", "reason")


@app.command()
def create(
    asset: Annotated[str, typer.Argument(help="<chain>/<key>, or a symbol only one asset has.")],
    amount: Annotated[str, typer.Argument(help="Whole coins that arrive, as 0.5")],
    to: Annotated[str, typer.Option("--to", help="The destination's address.")],
    request: Annotated[
        str | None, typer.Option("--id", help="The id of a request that is sent again.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until it ends.")] = False,
    timeout_s: Annotated[int, typer.Option("--timeout", min=1, help="Seconds to wait.")] = 600,
) -> None:
    """Ask for a withdrawal; its money is held at once, and paid after officers approved."""
    body = {"asset": client.asset_id(asset), "destination": to, "amount": amount}
    key = request or client.fresh_id()
    say(f"asking under --id {key}")
    made = client.ask("POST", "/v1/withdrawals", body=body, key=key)
    if wait:
        made = _wait(made["withdrawal_id"], timeout_s)
    emit_one(_plain(made))


@app.command(name="list")
def list_withdrawals(
    state: Annotated[str | None, typer.Option("--state")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1)] = 100,
) -> None:
    """List withdrawals in the order they were asked for."""
    emit(client.pages("/v1/withdrawals", limit=limit, state=state), COLUMNS)


@app.command()
def show(withdrawal_id: IdArgument) -> None:
    """Show one withdrawal with its transactions."""
    emit_one(_plain(client.ask("GET", f"/v1/withdrawals/{withdrawal_id}")))


@app.command()
def timeline(withdrawal_id: IdArgument) -> None:
    """Show everything that happened to one withdrawal."""
    emit(client.ask("GET", f"/v1/withdrawals/{withdrawal_id}")["timeline"])


@app.command()
def explain(
    withdrawal_id: IdArgument,
    record: Annotated[
        bool, typer.Option("--record", help="Everything that was given, as JSON.")
    ] = False,
) -> None:
    """Show what the policy decided about a withdrawal, and every thing that it looked at."""
    found = client.ask("GET", f"/v1/withdrawals/{withdrawal_id}/decisions")["data"]
    if record:
        emit([{"number": one["number"], "record": one["record"]} for one in found])
        return
    for one in found:
        say(
            f"{one['moment']} at {one['at']}: {one['outcome']} {one['code'] or '-'}"
            f" by rule {one['rule'] or '-'}, policy {one['policy_hash'][:16]}"
        )
    emit([{"moment": one["moment"], **line} for one in found for line in one["trace"]])


@app.command()
def watch(
    withdrawal_id: IdArgument,
    timeout_s: Annotated[int, typer.Option("--timeout", min=1, help="Seconds to wait.")] = 600,
) -> None:
    """Wait until a withdrawal ends."""
    emit_one(_plain(_wait(withdrawal_id, timeout_s)))


@app.command()
def cancel(withdrawal_id: IdArgument) -> None:
    """Cancel before the payment is planned."""
    emit_one(client.ask("POST", f"/v1/withdrawals/{withdrawal_id}/cancel"))


@app.command()
def pending(limit: Annotated[int, typer.Option("--limit", min=1)] = 100) -> None:
    """List what waits for officers."""
    rows = client.pages("/v1/approvals", limit=limit)
    emit(
        [
            {
                **{name: row["withdrawal"][name] for name in COLUMNS},
                "intent_hash": row["intent_hash"],
                "approved_by": ",".join(str(given["person"]) for given in row["given"]) or "-",
            }
            for row in rows
        ]
    )


@app.command()
def intent(withdrawal_id: IdArgument) -> None:
    """Write the intent's bytes as hex: the input of `strongroom officer approve`."""
    typer.echo(client.ask("GET", f"/v1/approvals/{withdrawal_id}")["intent"])


@app.command()
def review(withdrawal_id: IdArgument) -> None:
    """Show what an officer would sign, who signed, and what a simulation of the payment found."""
    with errors_as_exit_codes():
        from app.cli.verdicts import decoded_case, summary_of
        from custody.keys.intent import intent_hash

        page = client.ask("GET", f"/v1/approvals/{withdrawal_id}")
        found = decoded_case(page, withdrawal_id)
        emit_one(
            {
                "withdrawal_id": withdrawal_id,
                "intent_hash": intent_hash(found).hex(),
                **summary_of(page),
            }
        )


@app.command()
def approve(
    withdrawal_id: IdArgument,
    key_file: Annotated[
        Path | None, typer.Option("--key", help="The officer's private key file, of either kind.")
    ] = None,
    passkey: Annotated[
        Path | None, typer.Option("--passkey", help="Instead: what a passkey answered, as JSON.")
    ] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option("--passphrase-file", help="Its passphrase, mode 0600.")
    ] = None,
    reject: Annotated[bool, typer.Option("--reject", help="Reject it: one is enough.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Decode the intent here, show it, sign exactly those bytes, and hand the verdict in."""
    with errors_as_exit_codes():
        from app.cli.officer import passphrase_of
        from app.cli.verdicts import decoded_case, passkey_verdict, signed_verdict
        from custody.keys.officer_keys import load_signing_key
        from custody.keys.roster import Verdict

        if (key_file is None) == (passkey is None):
            fail(Exit.USAGE, "either --key or --passkey", reason="malformed")

        page = client.ask("GET", f"/v1/approvals/{withdrawal_id}")
        decoded = decoded_case(page, withdrawal_id)
        verdict = Verdict.REJECT if reject else Verdict.APPROVE
        if not yes:
            typer.confirm(f"{verdict.value} exactly this?", abort=True, err=True)
        if key_file is None:
            assert passkey is not None
            body = passkey_verdict(passkey, decoded, verdict)
        else:
            key = load_signing_key(key_file, passphrase=passphrase_of(passphrase_file))
            body = dict(signed_verdict(key, decoded, verdict))
        path = f"/v1/withdrawals/{withdrawal_id}/approvals"
        emit_one(client.ask("POST", path, body=body))


def _wait(withdrawal_id: str, timeout_s: int) -> dict[str, Any]:
    from core.clock import SECOND_NS, SystemClock

    clock, said = SystemClock(), ""
    deadline_ns = clock.monotonic_ns() + timeout_s * SECOND_NS
    while True:
        found: dict[str, Any] = client.ask("GET", f"/v1/withdrawals/{withdrawal_id}")
        if found["state"] != said:
            said = found["state"]
            say(said)
        if said in ENDS:
            return found
        if clock.monotonic_ns() >= deadline_ns:
            fail(Exit.PENDING, f"{withdrawal_id} is still {said}", reason="pending", retryable=True)
        clock.sleep(POLL_NS)


_NESTED = frozenset({"timeline", "waiting", "network"})


def _plain(shown: dict[str, Any]) -> dict[str, Any]:
    """Return what fits on lines; the timeline has a command of its own."""
    plain = {name: value for name, value in shown.items() if name not in _NESTED}
    if (network := shown.get("network")) is not None:
        plain["network_fee"], plain["shared_by"] = network["fee"], network["shared_by"]
    if (waiting := shown.get("waiting")) is not None:
        plain["waits_for"], plain["approved_by"] = waiting["why"], waiting["approved"]
        plain["quorum"] = waiting["quorum"]
    if "tx_ids" in plain:
        plain["tx_ids"] = " ".join(plain["tx_ids"]) or None
    return plain
