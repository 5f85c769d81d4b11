"""The signer attests to what it derived itself and to one owner; nobody else's word counts."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import VerifyKey

from chains.base import ChainTraits
from core.entropy import SeededEntropy
from core.errors import Corrupt, Reason, Refused, Unavailable
from core.ids import ChainId, CustomerNo
from custody.keys import attestation
from custody.keys.attestation import (
    AddressClaim,
    AttestationKey,
    attest_address,
    check_attestation,
)
from custody.keys.owners import MAGIC, RECORD, OwnerBook, OwnersInMemory
from custody.keys.secret import Secret
from custody.keys.signers import KeyRef, LocalSigner
from custody.keys.signers.keystore import CHEAP
from tests.unit.custody.keys.networks import traits

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "attestations.json").read_text())
KEY = AttestationKey(Secret(bytes.fromhex(VECTORS["secret"])))
SIGNER = LocalSigner(Secret(SeededEntropy(1, "seed").token_bytes(32)), traits())
ALICE, BOB = CustomerNo(7), CustomerNo(8)


@dataclass(frozen=True)
class Net:
    """A network whose addresses are the keys in hex."""

    traits: ChainTraits

    def address_of(self, public_key: bytes) -> str:
        return public_key.hex()


NET = Net(traits())


def claim_of(vector: dict[str, Any]) -> AddressClaim:
    return AddressClaim(**vector["fields"])


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_the_published_vectors_hold(vector: dict[str, Any]) -> None:
    claim, signature = claim_of(vector), bytes.fromhex(vector["signature"])
    assert attestation.encode(claim).hex() == vector["encoding"]
    assert KEY.public_key.hex() == VECTORS["public_key"]
    assert KEY.sign(attestation.encode(claim)) == signature
    check_attestation(KEY.public_key, claim, signature)
    VerifyKey(KEY.public_key).verify(bytes.fromhex(vector["encoding"]), signature)


def claim(index: int = 3, **changes: Any) -> AddressClaim:
    address = SIGNER.public_key(KeyRef("deposits", index)).hex()
    made = AddressClaim(NET.traits.chain, NET.traits.network, address, "deposits", index, ALICE)
    return replace(made, **changes)


def attest(asked: AddressClaim, owners: attestation.Owners | None = None) -> bytes:
    return attest_address(
        asked, chain=NET, signer=SIGNER, key=KEY, owners=owners or OwnersInMemory()
    )


CHANGES: list[dict[str, Any]] = [
    {"chain": ChainId("other")},
    {"network": "1:0xabc"},
    {"address": "00" * 33},
    {"account": "hot"},
    {"key_index": 4},
    {"customer_no": BOB},
    {"customer_no": None},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_an_attestation_says_one_thing_alone(change: dict[str, Any]) -> None:
    signature = attest(claim())
    check_attestation(KEY.public_key, claim(), signature)
    with pytest.raises(Refused) as refused:
        check_attestation(KEY.public_key, claim(**change), signature)
    assert refused.value.reason is Reason.BAD_ATTESTATION


@pytest.mark.parametrize(
    "signature", [None, b"", bytes(64), bytes(65), KEY.public_key + bytes(32), "aa"], ids=repr
)
def test_what_is_no_signature_attests_nothing(signature: Any) -> None:
    with pytest.raises(Refused) as refused:
        check_attestation(KEY.public_key, claim(), signature)
    assert refused.value.reason is Reason.BAD_ATTESTATION


def test_another_key_attests_nothing() -> None:
    other = AttestationKey(Secret(bytes(32)))
    for public_key in (other.public_key, b"", bytes(31), bytes(32)):
        with pytest.raises(Refused) as refused:
            check_attestation(public_key, claim(), attest(claim()))
        assert refused.value.reason is Reason.BAD_ATTESTATION


def test_every_changed_byte_of_an_attestation_is_noticed() -> None:
    signature = attest(claim())
    for place in range(len(signature)):
        changed = bytearray(signature)
        changed[place] ^= 1
        with pytest.raises(Refused):
            check_attestation(KEY.public_key, claim(), bytes(changed))


def test_a_text_that_looks_alike_cannot_be_said() -> None:
    with pytest.raises(Refused) as refused:
        check_attestation(KEY.public_key, claim(address="0x５2"), attest(claim()))
    assert refused.value.reason is Reason.BAD_ATTESTATION


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"chain": ChainId("other")}, Reason.UNKNOWN_CHAIN),
        ({"network": "1:0xabc"}, Reason.WRONG_NETWORK),
        ({"address": "02" + "11" * 32}, Reason.UNKNOWN_KEY),
        ({"key_index": 4}, Reason.UNKNOWN_KEY),
        ({"key_index": 1 << 31}, Reason.UNKNOWN_KEY),
        ({"key_index": -1}, Reason.MALFORMED),
        ({"account": "nobody's"}, Reason.UNKNOWN_KEY),
        ({"account": "hot"}, Reason.MALFORMED),
        ({"account": "deposits.2", "customer_no": None}, Reason.MALFORMED),
        ({"account": "hot", "customer_no": None}, Reason.UNKNOWN_KEY),
        ({"customer_no": None}, Reason.MALFORMED),
    ],
    ids=str,
)
def test_the_signer_attests_only_to_what_derives(change: dict[str, Any], reason: Reason) -> None:
    owners = OwnersInMemory()
    with pytest.raises(Refused) as refused:
        attest(claim(**change), owners)
    assert refused.value.reason is reason
    assert owners.owner(KeyRef("deposits", 3)) is None


def test_an_own_wallet_is_attested_and_has_no_customer() -> None:
    address = SIGNER.public_key(KeyRef("hot", 0)).hex()
    own = claim(account="hot", key_index=0, address=address, customer_no=None)
    check_attestation(KEY.public_key, own, attest(own))


def test_a_key_has_one_owner_for_ever() -> None:
    owners = OwnersInMemory()
    first = attest(claim(), owners)
    with pytest.raises(Refused) as refused:
        attest(claim(customer_no=BOB), owners)
    assert refused.value.reason is Reason.EXISTS_WITH_OTHER_CONTENT
    assert attest(claim(), owners) == first
    attest(claim(4, customer_no=BOB), owners)


def test_a_key_of_a_main_network_is_not_attested_by_a_local_signer() -> None:
    main = Net(traits(is_main_network=True))
    with pytest.raises(Refused) as refused:
        attest_address(claim(), chain=main, signer=SIGNER, key=KEY, owners=OwnersInMemory())
    assert refused.value.reason is Reason.MAIN_NETWORK


def test_the_key_is_kept_in_a_keystore(tmp_path: Path) -> None:
    path, word = tmp_path / "attestation", Secret(b"a long passphrase")
    made = AttestationKey.create(path, word, entropy=SeededEntropy(1, "a"), cost=CHEAP)
    assert AttestationKey.open(path, word).public_key == made.public_key
    with pytest.raises(Refused) as refused:
        AttestationKey.open(path, Secret(b"another passphrase"))
    assert refused.value.reason is Reason.WRONG_PASSPHRASE
    with pytest.raises(Refused):
        AttestationKey.create(path, word, entropy=SeededEntropy(2, "a"), cost=CHEAP)


def test_the_key_shows_nothing() -> None:
    assert repr(KEY) == f"<AttestationKey {KEY.public_key.hex()[:16]}>"
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(KEY)


def test_owners_are_remembered_over_a_restart(tmp_path: Path) -> None:
    book = OwnerBook(tmp_path / "owners")
    for index in range(20):
        book.claim(KeyRef("deposits", index), CustomerNo(index % 3 + 1))
        book.claim(KeyRef("deposits", index), CustomerNo(index % 3 + 1))
    book.close()
    again = OwnerBook(tmp_path / "owners")
    assert again.owner(KeyRef("deposits", 19)) == 2
    assert again.owner(KeyRef("deposits", 20)) is None
    with pytest.raises(Refused):
        again.claim(KeyRef("deposits", 19), BOB)
    again.close()
    assert (tmp_path / "owners").stat().st_size == len(MAGIC) + 20 * RECORD.size
    assert (tmp_path / "owners").stat().st_mode & 0o777 == 0o600


def test_a_torn_record_is_cut_off_at_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "owners"
    book = OwnerBook(path)
    book.claim(KeyRef("deposits", 0), ALICE)
    book.claim(KeyRef("deposits", 1), BOB)
    book.close()
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        torn = OwnerBook(path)
        for index, owner in enumerate((ALICE, BOB)):
            is_kept = cut >= len(MAGIC) + (index + 1) * RECORD.size
            assert torn.owner(KeyRef("deposits", index)) == (owner if is_kept else None)
        torn.claim(KeyRef("deposits", 0), ALICE)
        torn.close()


def test_a_last_record_that_was_half_written_in_place_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "owners"
    book = OwnerBook(path)
    book.claim(KeyRef("deposits", 0), ALICE)
    book.close()
    path.write_bytes(path.read_bytes() + bytes(RECORD.size))
    OwnerBook(path).close()
    assert path.stat().st_size == len(MAGIC) + RECORD.size


def test_a_damaged_book_of_owners_stops(tmp_path: Path) -> None:
    path = tmp_path / "owners"
    book = OwnerBook(path)
    for index in range(3):
        book.claim(KeyRef("deposits", index), ALICE)
    book.close()
    whole = path.read_bytes()
    for place in range(len(MAGIC) + 2 * RECORD.size):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(Corrupt):
            OwnerBook(path)
    first, second = whole[: len(MAGIC) + RECORD.size], tmp_path / "second"
    other = OwnerBook(second)
    other.claim(KeyRef("deposits", 0), BOB)
    other.close()
    path.write_bytes(first + second.read_bytes()[len(MAGIC) :])
    with pytest.raises(Corrupt, match="contradicts"):
        OwnerBook(path)


def test_one_process_has_the_book(tmp_path: Path) -> None:
    book = OwnerBook(tmp_path / "owners")
    with pytest.raises(Unavailable):
        OwnerBook(tmp_path / "owners")
    book.close()
    OwnerBook(tmp_path / "owners").close()


def test_a_disk_that_does_not_write_keeps_no_owner(tmp_path: Path) -> None:
    book = OwnerBook(tmp_path / "owners")
    book.close()
    with pytest.raises(Unavailable):
        book.claim(KeyRef("deposits", 0), ALICE)
    assert book.owner(KeyRef("deposits", 0)) is None
