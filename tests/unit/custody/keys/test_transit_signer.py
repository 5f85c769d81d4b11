"""Keys that stay in Vault: one derived key an address, its public half pinned for ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import Corrupt, Reason, Refused, Unavailable
from custody.keys.signers import ACCOUNTS, KeyRef, TransitSigner
from custody.keys.signers.base import ACCOUNT_NUMBERS
from custody.keys.signers.pins import PinnedKeys
from custody.keys.signers.vault import account_key
from custody.keys.signers.vault_transit import create_key, rotate_key
from infra.devnet.vault_double import Fault
from tests.unit.custody.keys.networks import traits
from tests.unit.custody.keys.vaultroom import ED25519, KEY, MESSAGE, Room, vault_room


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with vault_room(tmp_path) as made:
        yield made


def again(room: Room) -> TransitSigner:
    """Return the signer of another process: only the pins are left."""
    pins = PinnedKeys(room.place.folder / "pins")
    return TransitSigner(room.connect(), room.place.wallet, pins, ED25519)


def test_a_thousand_deposit_keys_are_learned_in_one_request(room: Room) -> None:
    before = room.double.asked("transit/sign")
    room.signer.make_keys("deposits", 0, 1_000)
    assert room.double.asked("transit/sign") == before + 1
    keys = {room.signer.public_key(KeyRef("deposits", n)) for n in range(1_000)}
    assert len(keys) == 1_000
    assert room.double.asked("transit/sign") == before + 1
    room.signer.make_keys("deposits", 0, 1_000)
    assert room.double.asked("transit/sign") == before + 1


def test_many_messages_are_signed_in_one_request_for_each_account(room: Room) -> None:
    jobs = [(KeyRef(name, n % 7), bytes([n])) for n in range(60) for name in ("hot", "gas")]
    one_by_one = [room.signer.sign(*job) for job in jobs]
    before = room.double.asked("transit/sign")
    assert room.signer.sign_many(jobs) == one_by_one
    assert room.double.asked("transit/sign") == before + 2
    assert room.signer.sign_many([]) == []


def test_one_bad_signature_among_many_returns_none(room: Room) -> None:
    def swap(content: dict[str, dict[str, list[dict[str, object]]]]) -> object:
        first, second = content["data"]["batch_results"]
        first["signature"], second["signature"] = second["signature"], first["signature"]
        return content

    jobs = [(KEY, b"one"), (KEY, b"two")]
    honest = room.signer.sign_many(jobs)
    room.double.faults.append(Fault(path="transit/sign", lie=swap))
    with pytest.raises(Corrupt):
        room.signer.sign_many(jobs)
    assert room.signer.sign_many(jobs) == honest


def test_every_account_has_a_key_of_its_own(room: Room) -> None:
    keys = {room.signer.public_key(KeyRef(name, 0)) for name in ACCOUNTS}
    assert len(keys) == len(ACCOUNTS)
    for name in ACCOUNTS:
        assert room.double.asked(f"transit/sign/{room.place.wallet}-{name}") == 1


def test_the_network_decides_the_key(room: Room) -> None:
    other = TransitSigner(
        room.connect(),
        room.place.wallet,
        PinnedKeys(room.place.folder / "other"),
        traits(curve="ed25519", coin_type=148),
    )
    assert other.public_key(KEY) != room.signer.public_key(KEY)
    assert not other.network_allowed(ED25519)


def test_pinned_keys_need_no_vault_and_another_key_never_signs(room: Room) -> None:
    public_key = room.signer.public_key(KEY)
    room.double.is_sealed = True
    assert again(room).public_key(KEY) == public_key
    room.double.is_sealed = False
    key = room.double.transit.keys[account_key(room.place.wallet, "hot").name]
    own, key.versions[0] = key.versions[0], bytes(32)
    with pytest.raises(Corrupt, match="another key"):
        again(room).sign(KEY, MESSAGE)
    key.versions[0] = own
    assert again(room).sign(KEY, MESSAGE) == room.signer.sign(KEY, MESSAGE)


def test_a_rotated_key_signs_on_with_its_first_version(room: Room) -> None:
    honest = room.signer.sign(KEY, MESSAGE)
    operator = room.connect("operator")
    assert rotate_key(operator, account_key(room.place.wallet, "hot"), seen=1) == 2
    assert again(room).sign(KEY, MESSAGE) == honest


def test_one_key_for_two_addresses_is_corrupt(room: Room) -> None:
    def repeat(content: dict[str, dict[str, list[object]]]) -> object:
        results = content["data"]["batch_results"]
        results[1] = results[0]
        return content

    room.double.faults.append(Fault(path="transit/sign", lie=repeat))
    with pytest.raises(Corrupt, match="one key for two"):
        room.signer.make_keys("deposits", 0, 2)
    assert room.signer.public_key(KeyRef("deposits", 0)) != room.signer.public_key(
        KeyRef("deposits", 1)
    )


@pytest.mark.parametrize("wallet", ["", "a/b", "A", "x" * 65, "../seeds"])
def test_a_wallet_is_named_plainly_in_vault(wallet: str) -> None:
    with pytest.raises(Refused) as refused:
        account_key(wallet, "hot")
    assert refused.value.reason is Reason.MALFORMED


def test_vault_has_no_signing_keys_on_another_curve(room: Room) -> None:
    pins = PinnedKeys(room.place.folder / "x")
    with pytest.raises(Refused) as refused:
        TransitSigner(room.session, room.place.wallet, pins, traits())
    assert refused.value.reason is Reason.UNKNOWN_CHAIN


def test_pins_survive_a_torn_line_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "pins"
    first, second = KeyRef("hot", 0), KeyRef("hot", 1)
    PinnedKeys(path).pin({first: bytes(32)})
    assert path.stat().st_mode & 0o777 == 0o600
    whole = path.read_bytes()
    path.write_bytes(whole + b"hot 1 00ff")
    pins = PinnedKeys(path)
    assert pins.get(second) is None
    pins.pin({second: bytes([1] * 32)})
    assert PinnedKeys(path).get(second) == bytes([1] * 32)
    assert PinnedKeys(path).get(first) == bytes(32)
    for damaged in (whole.replace(b"hot", b"HOT"), whole * 2, b"\n" + whole, whole[5:]):
        path.write_bytes(damaged)
        with pytest.raises(Corrupt):
            PinnedKeys(path)


def test_keys_of_every_account_there_can_be_are_pinned(tmp_path: Path) -> None:
    seen = {
        KeyRef(name, n): bytes([n]) * 32
        for n, name in enumerate(ACCOUNT_NUMBERS)  # hot, hot.2, …: successors of retired keys
    }
    PinnedKeys(tmp_path / "pins").pin(seen)
    again = PinnedKeys(tmp_path / "pins")
    assert {key: again.get(key) for key in seen} == seen


def test_a_wallets_next_keys_have_a_key_of_their_own_in_vault(room: Room) -> None:
    operator = room.connect("operator")
    create_key(operator, account_key(room.place.wallet, "gas.2"), "ed25519")
    with pytest.raises(Refused) as refused:
        room.signer.public_key(KeyRef("gas.2", 0))
    assert refused.value.reason is Reason.FORBIDDEN  # until the role's policy names it
    policy = room.double.auth.policies[f"{room.place.wallet}-signer"]
    policy[f"transit/sign/{room.place.wallet}-gas.2"] = {"update"}
    assert room.signer.public_key(KeyRef("gas.2", 0)) != room.signer.public_key(KEY)
    assert again(room).sign(KeyRef("gas.2", 0), MESSAGE)


def test_a_pinned_key_never_changes(tmp_path: Path) -> None:
    pins = PinnedKeys(tmp_path / "pins")
    pins.pin({KEY: bytes(32)})
    pins.pin({KEY: bytes(32)})
    before = (tmp_path / "pins").read_bytes()
    with pytest.raises(Corrupt, match="another public key"):
        pins.pin({KeyRef("hot", 1): bytes(32), KEY: bytes([1] * 32)})
    assert (tmp_path / "pins").read_bytes() == before


def test_a_closed_signer_logs_in_again_when_asked(room: Room) -> None:
    """Closing forgets the token; the role's files are still there."""
    honest = room.signer.sign(KEY, MESSAGE)
    room.signer.close()
    room.double.is_sealed = True
    with pytest.raises(Unavailable):
        room.signer.sign(KEY, MESSAGE)
    room.double.is_sealed = False
    assert room.signer.sign(KEY, MESSAGE) == honest
