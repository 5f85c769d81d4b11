"""The published examples of approvals hold, and none of the published forgeries does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import Reason, Refused
from custody.keys import intent as intents
from custody.keys import passkey as passkeys
from custody.keys.roster import Approval, Officer, Verdict, approval_signable, check_approval
from custody.keys.roster_text import officer_text, parse_draft
from custody.keys.typed_approval import digest_of
from tests.unit.custody.keys.officers import NOW_NS, ROSTER

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "approvals.json").read_text())


def read(vector: dict[str, Any]) -> tuple[Officer, intents.WithdrawalIntent, Approval]:
    """Return the row, the intent and the approval of an example."""
    others = [officer_text(one) for one in ROSTER.officers]
    draft = "\n".join(["version = 3", "threshold = 2", *others, *vector["row"]])
    row = parse_draft(draft.encode(), issued_ns=0).officers[-1]
    intent = intents.decode(bytes.fromhex(vector["intent"]))
    assert isinstance(intent, intents.WithdrawalIntent)
    parts = (bytes.fromhex(vector[name]) for name in ("signature", "evidence"))
    return row, intent, Approval(row.public_key, Verdict(vector["verdict"]), *parts)


def judged(vector: dict[str, Any]) -> str:
    """Return whose approval it is."""
    row, intent, given = read(vector)
    draft = "\n".join(["version = 3", "threshold = 2", *map(officer_text, (*ROSTER.officers, row))])
    roster = parse_draft(draft.encode(), issued_ns=0)
    return check_approval(roster, intent, given, now_ns=NOW_NS).person


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_the_published_approvals_count(vector: dict[str, Any]) -> None:
    _, intent, given = read(vector)
    signable = approval_signable(intent, given.verdict)
    assert signable.message.hex() == vector["message"]
    assert passkeys.base64url(passkeys.challenge_of(signable.message)) == vector["challenge"]
    assert digest_of(signable).hex() == vector["typed_digest"]
    assert judged(vector) == "dan"


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["name"])
def test_the_published_forgeries_do_not(vector: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        judged(vector)
    assert refused.value.reason is Reason.BAD_SIGNATURE


def test_every_kind_and_verdict_has_an_example() -> None:
    kinds = {(vector["row"][1], vector["verdict"]) for vector in VECTORS["vectors"]}
    assert len(kinds) == 6
