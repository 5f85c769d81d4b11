"""Officers' verdicts on the command line: by a key in a file, or what a passkey answered.

A verdict is the JSON that POST /v1/withdrawals/{id}/approvals takes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli.output import Exit, fail, say

if TYPE_CHECKING:
    from coincurve import PrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from custody.keys.intent import WithdrawalIntent
    from custody.keys.roster import Approval, Verdict

ANSWER_BYTES_MAX = 1 << 16


def signed_verdict(
    key: Ed25519PrivateKey | PrivateKey, intent: WithdrawalIntent, verdict: Verdict
) -> dict[str, str]:
    """Sign a verdict with a key of either kind."""
    from coincurve import PrivateKey as WalletKey

    from custody.keys.roster import sign_approval, sign_typed_approval
    from custody.keys.typed_approval import address_text

    if isinstance(key, WalletKey):
        typed = sign_typed_approval(key, intent, verdict)
        return {
            "kind": "eip712",
            "address": address_text(typed.public_key),
            "verdict": verdict.value,
            "signature": "0x" + typed.signature.hex(),
        }
    plain = sign_approval(key, intent, verdict)
    return {
        "kind": "ed25519",
        "public_key": plain.public_key.hex(),
        "verdict": verdict.value,
        "signature": plain.signature.hex(),
    }


def passkey_verdict(path: Path, intent: WithdrawalIntent, verdict: Verdict) -> dict[str, Any]:
    """Return the verdict in a browser's answer, once its challenge is this intent's.

    Whose passkey it is, and its signature, is the platform's and the signer's to check.
    """
    from custody.keys import passkey as passkeys
    from custody.keys.passkey_answers import read_answer
    from custody.keys.roster import approval_message

    try:
        data = path.read_bytes()
        answer = json.loads(data[:ANSWER_BYTES_MAX])
    except (OSError, ValueError) as error:
        fail(Exit.USAGE, f"{path}: {error}", reason="malformed")
    if not isinstance(answer, dict):
        fail(Exit.USAGE, f"{path} is no answer of a passkey", reason="malformed")
    _, assertion = read_answer(answer)
    challenge = passkeys.challenge_of(approval_message(intent, verdict))
    if passkeys.challenge_in(assertion.client_data_json) != passkeys.base64url(challenge):
        fail(
            Exit.VERIFICATION,
            "the passkey signed another withdrawal or another verdict",
            reason="intent_mismatch",
        )
    return {"kind": "webauthn", "verdict": verdict.value, "answer": answer}


def decoded_case(page: dict[str, Any], withdrawal_id: str) -> WithdrawalIntent:
    """Return the intent of an officer's case, decoded here, and say to people what it is.

    Who approved, and what a simulation found, is the platform's word: nothing is signed of it.
    """
    from custody.keys import intent as intents

    data = bytes.fromhex(page["intent"])
    found = intents.decode(data)
    if not isinstance(found, intents.WithdrawalIntent) or found.withdrawal_id != withdrawal_id:
        fail(Exit.VERIFICATION, "this is another withdrawal's intent", reason="intent_mismatch")
    say(intents.render_bytes(data))
    say("the platform says:")
    for name, value in summary_of(page).items():
        say(f"  {name}: {value}")
    return found


def summary_of(page: dict[str, Any]) -> dict[str, object]:
    """Return the state of an officer's case on a few lines."""
    ran, left = page["simulation"], page["countdown"]
    given = [f"{one['person']} {one['verdict']} by {one['kind']}" for one in page["given"]
             if one["counts"]]  # fmt: skip
    lines: dict[str, object] = {
        "quorum": page["progress"]["quorum"] or "nobody",
        "given": ", ".join(given) or "-",
        "complete": page["progress"]["is_met"],
        "expires_in_s": left["expires_in_s"],
        "releasable_in_s": left["releasable_in_s"],
        "simulation": "none" if ran is None else ran["finding"],
    }
    if ran is not None:
        age = "" if ran["age_s"] is None else f", {ran['age_s']} s old"
        stale = ", STALE" if ran["is_stale"] else ""
        lines["simulated_at"] = f"block {ran['height']}{age}{stale}"
        lines["differences"] = "; ".join(ran["differences"]) or "none"
        if ran["detail"]:
            lines["simulation_detail"] = ran["detail"]
    return lines


def approval_of(page: dict[str, Any]) -> Approval:
    """Return the approval in the JSON of a key's verdict. KeyError, ValueError: it is none."""
    from custody.keys.roster import Approval, Verdict
    from custody.keys.typed_approval import read_address

    verdict = Verdict(page["verdict"])
    if page.get("kind") == "eip712":
        signature = bytes.fromhex(page["signature"].removeprefix("0x"))
        return Approval(read_address(page["address"]), verdict, signature)
    return Approval(bytes.fromhex(page["public_key"]), verdict, bytes.fromhex(page["signature"]))
