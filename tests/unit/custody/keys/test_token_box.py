"""A box in a real token (SoftHSM), and seeds that need it together with Vault."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core.entropy import SystemEntropy
from core.errors import Reason, Refused, Unavailable
from custody.keys.secret import Secret
from custody.keys.signers import KeyRef, LocalSigner
from custody.keys.signers.both import BothSigner
from custody.keys.signers.pkcs11_box import CONTENT_BYTES_MAX, SEALING, TokenBox
from custody.keys.signers.pkcs11_keys import find_secret, judge
from custody.keys.signers.pkcs11_module import binding
from custody.keys.signers.pkcs11_token import close_token, open_token
from custody.keys.signers.sealed import SealedBox, open_split_seed, seal_split_seed
from tests.support.canaries import leaks
from tests.support.tokens import process_token
from tests.unit.custody.keys.networks import traits
from tests.unit.custody.keys.vaultroom import SEED, Room, vault_room

CONTENT = Secret(SEED)


@pytest.fixture
def box() -> Iterator[TokenBox]:
    with opened() as made:
        yield made


def opened(label: str = "") -> closing[TokenBox]:
    hsm = process_token()
    box = TokenBox.open_token(hsm.module, label or hsm.label, hsm.pin_file, entropy=SystemEntropy())
    return closing(box)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with vault_room(tmp_path) as made:
        yield made


def reason(call: Callable[[], object]) -> Reason:
    with pytest.raises(Refused) as refused:
        call()
    return refused.value.reason


def test_what_a_token_sealed_it_opens_also_later(box: TokenBox) -> None:
    sealed = box.seal(CONTENT, b"wallet")
    assert len(sealed) == 12 + len(SEED) + 16
    assert not leaks(sealed, {"seed": SEED})
    assert box.open(sealed, b"wallet") == CONTENT
    assert box.seal(CONTENT, b"wallet") != sealed
    with opened() as other:
        assert other.open(sealed, b"wallet") == CONTENT


def test_anything_else_is_refused_and_the_token_stays_open(box: TokenBox) -> None:
    sealed = box.seal(CONTENT, b"wallet")
    changed = [sealed[:n] + bytes([sealed[n] ^ 1]) + sealed[n + 1 :] for n in range(len(sealed))]
    for wrong in (*changed, sealed[:-1], sealed + b"x", b"", bytes(27), bytes(2_000)):
        assert reason(partial(box.open, wrong, b"wallet")) is Reason.UNDECODABLE
    for associated in (b"", b"other", b"wallet "):
        assert reason(partial(box.open, sealed, associated)) is Reason.UNDECODABLE
    assert box.open(sealed, b"wallet") == CONTENT


def test_a_box_takes_little(box: TokenBox) -> None:
    most = Secret(bytes(CONTENT_BYTES_MAX))
    assert box.open(box.seal(most, b""), b"") == most
    too_much = Secret(bytes(CONTENT_BYTES_MAX + 1))
    assert reason(lambda: box.seal(too_much, b"")) is Reason.TOO_LARGE


def test_the_key_cannot_be_read_wrapped_or_used_otherwise(box: TokenBox) -> None:
    box.seal(CONTENT, b"")
    hsm = process_token()
    token = open_token(hsm.module, hsm.label, hsm.pin_file)

    def look(lane: Any) -> list[str]:
        pkcs11, failures = binding(), []
        judge(lane.session)
        key: Any = find_secret(lane.session, SEALING)
        kek = lane.session.generate_key(pkcs11.KeyType.AES, 256, store=False)
        attempts: tuple[Callable[[], object], ...] = (
            lambda: key[pkcs11.Attribute.VALUE],
            lambda: kek.wrap_key(key, mechanism=pkcs11.Mechanism.AES_KEY_WRAP),
            lambda: key.encrypt(bytes(16), mechanism=pkcs11.Mechanism.AES_ECB),
        )
        for attempt in attempts:
            try:
                attempt()
            except pkcs11.PKCS11Error as error:
                failures.append(type(error).__name__)
        uses = [use for use in ("sign", "derive_key", "wrap_key") if hasattr(key, use)]
        return [*failures, *uses]

    try:
        assert len(token.run(look)) == 3
    finally:
        close_token(token)


def test_a_seed_needs_the_token_and_vault(room: Room, box: TokenBox) -> None:
    path, entropy = room.place.folder / "split", SystemEntropy()
    seal_split_seed(path, "hot", CONTENT, first=box, second=room.box(), entropy=entropy)
    signer = BothSigner.open(path, "hot", traits(), module=box, vault=room.box())
    expected = LocalSigner(Secret(SEED), traits())
    assert signer.public_key(KeyRef("hot", 3)) == expected.public_key(KeyRef("hot", 3))
    vault = room.box()
    pairs: tuple[tuple[SealedBox, SealedBox], ...] = ((box, box), (vault, vault), (vault, box))
    for first, second in pairs:
        again = partial(open_split_seed, path, "hot", first=first, second=second)
        assert reason(again) is Reason.UNDECODABLE
    room.double.is_sealed = True
    with pytest.raises(Unavailable):
        open_split_seed(path, "hot", first=box, second=room.box())


def test_another_token_opens_nothing(box: TokenBox) -> None:
    sealed = box.seal(CONTENT, b"wallet")
    with opened("no such token") as other, pytest.raises(Unavailable):
        other.open(sealed, b"wallet")
