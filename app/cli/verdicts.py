"""Officers' verdicts on the command line: by a key in a file, or what a passkey answered.

A verdict is the JSON that POST /v1/withdrawals/{id}/approvals takes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli.output import Exit, fail

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


def approval_of(page: dict[str, Any]) -> Approval:
    """Return the approval in the JSON of a key's verdict. KeyError, ValueError: it is none."""
    from custody.keys.roster import Approval, Verdict
    from custody.keys.typed_approval import read_address

    verdict = Verdict(page["verdict"])
    if page.get("kind") == "eip712":
        signature = bytes.fromhex(page["signature"].removeprefix("0x"))
        return Approval(read_address(page["address"]), verdict, signature)
    return Approval(bytes.fromhex(page["public_key"]), verdict, bytes.fromhex(page["signature"]))
