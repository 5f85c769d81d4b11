"""Sealed seeds: whole in Vault, split between Vault and another box; rotated and resealed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.entropy import SeededEntropy, SystemEntropy
from core.errors import Corrupt, Reason, Refused, Unavailable
from custody.keys.secret import Secret
from custody.keys.signers import KeyRef, LocalSigner, VaultSigner
from custody.keys.signers.both import BothSigner
from custody.keys.signers.sealed import (
    FIRST,
    SECOND,
    SPLIT,
    WHOLE,
    SealedBox,
    open_seed,
    open_split_seed,
    read_sealed,
    reseal_seed,
    seal_seed,
    seal_split_seed,
)
from custody.keys.signers.vault_transit import (
    create_key,
    retire_below,
    rotate_key,
    state_of,
    version_of,
)
from tests.support.canaries import leaks
from tests.unit.custody.keys.networks import traits
from tests.unit.custody.keys.vaultroom import SEED, Room, vault_room


class ModuleDouble:
    """Stands for a hardware module in the split: AES-GCM under a key that it keeps."""

    def __init__(self) -> None:
        self._cipher = AESGCM(AESGCM.generate_key(256))
        self.is_here = True

    def seal(self, content: Secret, associated: bytes) -> bytes:
        """Seal."""
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, content.reveal(), associated)

    def open(self, sealed: bytes, associated: bytes) -> Secret:
        """Open; Refused undecodable, or Unavailable when it was pulled out."""
        if not self.is_here:
            raise Unavailable("the module was pulled out")
        try:
            return Secret(self._cipher.decrypt(sealed[:12], sealed[12:], associated))
        except InvalidTag:
            pass
        raise Refused(Reason.UNDECODABLE, "the module opens no such thing")


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with vault_room(tmp_path) as made:
        yield made


@pytest.fixture
def split(room: Room) -> tuple[Path, ModuleDouble]:
    path, module = room.place.folder / "split-seed", ModuleDouble()
    seal_split_seed(
        path, "hot", Secret(SEED), first=module, second=room.box(), entropy=SystemEntropy()
    )
    return path, module


def reason(call: Callable[[], object]) -> Reason:
    with pytest.raises(Refused) as refused:
        call()
    return refused.value.reason


def test_a_sealed_seed_gives_the_keys_of_the_seed(room: Room) -> None:
    room.seal()
    expected = LocalSigner(Secret(SEED), traits())
    signer = VaultSigner.open(room.seed_file, room.place.wallet, room.box(), traits())
    key = KeyRef("deposits", 7)
    assert signer.public_key(key) == expected.public_key(key)
    assert signer.sign(key, bytes(32)) == expected.sign(key, bytes(32))


def test_an_open_seed_signs_on_while_vault_is_sealed(room: Room) -> None:
    room.seal()
    signer = VaultSigner.open(room.seed_file, room.place.wallet, room.box(), traits())
    room.double.is_sealed = True
    before = len(room.double.requests)
    signer.check()
    assert len(room.double.requests) == before


def test_a_sealed_seed_may_sign_for_a_main_network(room: Room) -> None:
    room.seal()
    main = traits(is_main_network=True, coin_type=60)
    signer = VaultSigner.open(room.seed_file, room.place.wallet, room.box(), main)
    assert signer.network_allowed(main)
    assert not signer.network_allowed(traits(coin_type=60))


def test_the_file_is_private_never_written_over_and_shows_nothing(room: Room) -> None:
    room.seal()
    assert room.seed_file.stat().st_mode & 0o777 == 0o600
    assert not leaks(room.seed_file.read_bytes(), {"seed": SEED})
    assert reason(room.seal) is Reason.EXISTS_WITH_OTHER_CONTENT
    room.seed_file.chmod(0o644)
    assert reason(room.open) is Reason.FORBIDDEN


def test_a_seed_opens_for_its_own_wallet_only(room: Room) -> None:
    room.seal()
    assert reason(lambda: open_seed(room.seed_file, "other", room.box())) is Reason.UNDECODABLE
    text = room.seed_file.read_text()
    room.seed_file.write_text(text.replace(room.place.wallet, "other"))
    assert reason(lambda: open_seed(room.seed_file, "other", room.box())) is Reason.UNDECODABLE
    room.seed_file.write_text(text)
    assert room.open() == Secret(SEED)


def test_a_changed_byte_anywhere_is_refused(room: Room) -> None:
    room.seal()
    whole = room.seed_file.read_bytes()
    wrong = {Reason.MALFORMED, Reason.UNKNOWN_VERSION, Reason.UNDECODABLE}
    for place in range(0, len(whole), 7):
        room.seed_file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert reason(room.open) in wrong
    for changed in (b"", whole[:-1], whole + b"x", whole * 2, whole[:40]):
        room.seed_file.write_bytes(changed)
        assert reason(room.open) in wrong
    room.seed_file.write_bytes(whole)
    assert room.open() == Secret(SEED)


@pytest.mark.parametrize("wallet", ["", "Hot", "a b", "x" * 65, "-a", "a\n", 7])
def test_a_wallet_has_a_plain_name(room: Room, wallet: str) -> None:
    path = room.place.folder / "x"
    assert reason(lambda: seal_seed(path, wallet, Secret(SEED), room.box())) is Reason.MALFORMED
    assert not path.exists()


@pytest.mark.parametrize("size", [0, 15, 65])
def test_a_seed_has_16_to_64_bytes(room: Room, size: int) -> None:
    path, seed = room.place.folder / "x", Secret(bytes(size))
    assert reason(lambda: seal_seed(path, "hot", seed, room.box())) is Reason.MALFORMED


def test_a_box_that_gives_back_something_else_seals_nothing(room: Room) -> None:
    class Forgetful(ModuleDouble):
        def open(self, sealed: bytes, associated: bytes) -> Secret:
            return Secret(bytes(32))

    path = room.place.folder / "x"
    with pytest.raises(Corrupt):
        seal_seed(path, "hot", Secret(SEED), Forgetful())
    assert not path.exists()


def test_rotation_resealing_and_retiring_leave_the_same_keys(room: Room) -> None:
    room.seal()
    operator, key = room.connect("operator"), room.place.sealing
    assert version_of(read_sealed(room.seed_file, WHOLE, parts=1).parts[0]) == 1
    assert rotate_key(operator, key, seen=1) == 2
    assert room.open() == Secret(SEED)
    newer = room.place.folder / "sealed-seed-2"
    reseal_seed(room.seed_file, newer, room.place.wallet, room.box())
    assert version_of(read_sealed(newer, WHOLE, parts=1).parts[0]) == 2
    retire_below(operator, key, 2)
    assert reason(room.open) is Reason.UNDECODABLE
    assert open_seed(newer, room.place.wallet, room.box()) == Secret(SEED)
    assert state_of(operator, key).oldest_usable == 2


def test_the_signers_role_cannot_rotate_retire_or_make_keys(room: Room) -> None:
    key = room.place.sealing
    for call in (
        lambda: rotate_key(room.session, key, seen=1),
        lambda: retire_below(room.session, key, 1),
        lambda: create_key(room.session, key, "ed25519"),
    ):
        assert reason(call) is Reason.FORBIDDEN


def test_the_operators_role_opens_and_signs_nothing(room: Room) -> None:
    room.seal()
    room.session = room.connect("operator")
    assert reason(room.open) is Reason.FORBIDDEN


def test_a_key_of_another_kind_or_that_may_be_exported_is_weak(room: Room) -> None:
    operator, key = room.connect("operator"), room.place.sealing
    assert create_key(operator, key, "aes256-gcm96").latest == 1
    assert reason(lambda: create_key(operator, key, "ed25519")) is Reason.WEAK_KEY
    room.double.transit.keys[key.name].is_exportable = True
    assert reason(lambda: create_key(operator, key, "aes256-gcm96")) is Reason.WEAK_KEY


def test_a_split_seed_opens_with_both_boxes(room: Room, split: tuple[Path, ModuleDouble]) -> None:
    path, module = split
    assert open_split_seed(path, "hot", first=module, second=room.box()) == Secret(SEED)
    signer = BothSigner.open(path, "hot", traits(), module=module, vault=room.box())
    expected = LocalSigner(Secret(SEED), traits())
    assert signer.public_key(KeyRef("hot", 0)) == expected.public_key(KeyRef("hot", 0))
    assert path.stat().st_mode & 0o777 == 0o600


def test_neither_box_alone_opens_a_split_seed(room: Room, split: tuple[Path, ModuleDouble]) -> None:
    path, module = split
    boxes: tuple[SealedBox, ...] = (module, room.box())
    for box in boxes:
        opened = partial(open_split_seed, path, "hot", first=box, second=box)
        assert reason(opened) is Reason.UNDECODABLE
    module.is_here = False
    with pytest.raises(Unavailable):
        open_split_seed(path, "hot", first=module, second=room.box())
    module.is_here, room.double.is_sealed = True, True
    with pytest.raises(Unavailable):
        open_split_seed(path, "hot", first=module, second=room.box())


def test_each_half_alone_is_noise(room: Room) -> None:
    """Two seeds under the same noise: what the first box holds is the same, so it tells nothing.

    And what the second holds is the seed under a one-time pad as long as the seed.
    """
    module, halves = ModuleDouble(), []
    for number, seed in enumerate((SEED, bytes(32))):
        path = room.place.folder / f"split-{number}"
        seal_split_seed(
            path,
            "hot",
            Secret(seed),
            first=module,
            second=room.box(),
            entropy=SeededEntropy(1, "noise"),
        )
        file = read_sealed(path, SPLIT, parts=2)
        halves.append(
            (
                module.open(file.parts[0], file.head + FIRST).reveal(),
                room.box().open(file.parts[1], file.head + SECOND).reveal(),
            )
        )
    (first, second), (zero_first, zero_second) = halves
    assert first == zero_first == zero_second
    assert bytes(a ^ b for a, b in zip(first, second, strict=True)) == SEED
    for half in (first, second):
        assert not leaks(half, {"seed": SEED})
        assert sum((a ^ b).bit_count() for a, b in zip(half, SEED, strict=True)) in range(80, 177)


def test_boxes_in_the_wrong_order_open_nothing(
    room: Room, split: tuple[Path, ModuleDouble]
) -> None:
    path, module = split
    swapped = lambda: open_split_seed(path, "hot", first=room.box(), second=module)  # noqa: E731
    assert reason(swapped) is Reason.UNDECODABLE
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:2], lines[3], lines[2], b""]))
    both = lambda: open_split_seed(path, "hot", first=module, second=room.box())  # noqa: E731
    assert reason(both) is Reason.UNDECODABLE
    assert reason(swapped) is Reason.UNDECODABLE


def test_a_split_seed_opens_for_its_own_wallet_only(
    room: Room, split: tuple[Path, ModuleDouble]
) -> None:
    path, module = split
    opened = lambda: open_split_seed(path, "cold", first=module, second=room.box())  # noqa: E731
    assert reason(opened) is Reason.UNDECODABLE
    path.write_text(path.read_text().replace('"hot"', '"cold"'))
    assert reason(opened) is Reason.UNDECODABLE


def test_halves_of_two_seals_do_not_mix(room: Room, split: tuple[Path, ModuleDouble]) -> None:
    path, module = split
    other = room.place.folder / "other"
    seal_split_seed(
        other, "hot", Secret(SEED), first=module, second=room.box(), entropy=SystemEntropy()
    )
    own, foreign = path.read_bytes().split(b"\n"), other.read_bytes().split(b"\n")
    for mixed in ([*own[:3], foreign[3]], [*own[:2], foreign[2], own[3]]):
        path.write_bytes(b"\n".join([*mixed, b""]))
        assert reason(lambda: open_split_seed(path, "hot", first=module, second=room.box())) is (
            Reason.UNDECODABLE
        )
    header = json.loads(own[1])
    assert set(header) == {"version", "wallet", "identity", "pair"}


def test_whole_and_split_files_are_not_taken_for_each_other(
    room: Room, split: tuple[Path, ModuleDouble]
) -> None:
    path, module = split
    room.seal()
    assert reason(lambda: open_seed(path, "hot", room.box())) is Reason.MALFORMED
    wallet = room.place.wallet
    both = lambda: open_split_seed(  # noqa: E731
        room.seed_file, wallet, first=module, second=room.box()
    )
    assert reason(both) is Reason.MALFORMED
