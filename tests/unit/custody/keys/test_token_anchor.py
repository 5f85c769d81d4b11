"""The token remembers how far the store has come, and notices yesterday's."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import Corrupt, Reason, Refused
from custody.keys.anchor import Anchor
from custody.keys.signers.pkcs11_anchor import TokenAnchor, open_token_anchor
from custody.keys.signing_record import GENESIS, Mark
from infra.devnet.softhsm import SoftHsm, softhsm
from tests.support.token_faults import CKR_DEVICE_REMOVED, Fault, FaultyLibrary
from tests.support.token_stories import outcome
from tests.support.tokens import process_token, tell

ONE, TWO = (Mark(n, hashlib.sha256(bytes([n])).digest()) for n in (1, 2))


def opened(hsm: SoftHsm, name: str) -> TokenAnchor:
    return open_token_anchor(module=hsm.module, label=hsm.label, pin_file=hsm.pin_file, name=name)


@pytest.fixture
def anchor(request: pytest.FixtureRequest) -> Iterator[TokenAnchor]:
    made = opened(process_token(), request.node.name)
    made.make()
    yield made
    made.close()


def test_it_begins_at_genesis_and_moves_forward(anchor: TokenAnchor) -> None:
    kept: Anchor = anchor
    assert kept.read() == GENESIS
    kept.advance(GENESIS, ONE)
    kept.advance(ONE, TWO)
    assert kept.read() == TWO


def test_two_stores_exclude_each_other(anchor: TokenAnchor) -> None:
    anchor.advance(GENESIS, ONE)
    for expected in (GENESIS, TWO):
        with pytest.raises(Refused) as refused:
            anchor.advance(expected, Mark(7, bytes(32)))
        assert refused.value.reason is Reason.STALE_SIGNER
    assert anchor.read() == ONE


def test_moving_to_where_it_stands_already_is_no_news(anchor: TokenAnchor) -> None:
    anchor.advance(GENESIS, ONE)
    anchor.advance(GENESIS, ONE)
    assert anchor.read() == ONE


def test_it_is_made_once_and_found_again(anchor: TokenAnchor, request: Any) -> None:
    anchor.advance(GENESIS, ONE)
    anchor.make()
    again = opened(process_token(), request.node.name)
    assert again.read() == ONE
    again.close()


def test_an_anchor_that_is_not_there_is_corrupt_and_never_genesis() -> None:
    missing = opened(process_token(), "never made")
    with pytest.raises(Corrupt):
        missing.read()
    with pytest.raises(Corrupt):
        missing.advance(GENESIS, ONE)
    missing.close()


def pulled(hsm: SoftHsm, folder: Path) -> dict[str, Any]:
    """The token is lost after the anchor has moved, and then taken away."""
    library = FaultyLibrary(hsm.module)
    anchor = opened(hsm, "store")
    anchor.make()
    told = {}
    for name, function in (("moved", "C_CreateObject"), ("tidied", "C_DestroyObject")):
        library.set(function, Fault(after=lambda answer, _: CKR_DEVICE_REMOVED))
        before, after = (GENESIS, ONE) if name == "moved" else (ONE, TWO)
        told[name] = outcome(functools.partial(anchor.advance, before, after))
        told[f"{name} to"] = str(anchor.read().position)
    hsm.take_away()
    told["away"] = outcome(anchor.read)
    return told


def test_a_move_that_was_not_answered_is_not_made_twice_and_a_lost_token_is_not_genesis(
    tmp_path: Path,
) -> None:
    with softhsm() as hsm:
        told = tell(pulled, hsm, tmp_path)
    assert (told["moved"], told["moved to"]) == ("done", "1")
    assert (told["tidied"], told["tidied to"]) == ("done", "2")
    assert told["away"].startswith("Unavailable")
