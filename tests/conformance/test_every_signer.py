"""The same facts for every signer. A new one adds a line to SIGNERS and a maker here."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import copy, deepcopy
from pathlib import Path
from typing import TypeAlias

import pytest
from coincurve import PublicKey, verify_signature

from core.entropy import SeededEntropy
from core.errors import Corrupt, Reason, Refused
from custody.keys.derivation import CURVE_ORDER, HARDENED, AccountKeys, derive_checked, parse_xpub
from custody.keys.secret import Secret
from custody.keys.signers import ACCOUNTS, SIGNERS, KeyRef, Signer
from custody.keys.signers.base import check_signature
from custody.keys.signers.keystore import CHEAP, create_keystore
from custody.keys.signers.local import LocalSigner
from tests.unit.custody.keys.networks import traits

CANARY = b"canary-seed-5ca1ab1e-canary-seed"
Maker: TypeAlias = Callable[[Path], Signer]


def local(folder: Path) -> Signer:
    """Make a local signer through its keystore file."""
    path, passphrase = folder / "keystore", Secret(b"correct horse")
    if not path.exists():
        entropy = SeededEntropy(1, "keystore")
        create_keystore(path, passphrase, Secret(CANARY), entropy=entropy, cost=CHEAP)
    return LocalSigner.open(path, passphrase, traits())


MAKERS: dict[str, Maker] = {"local": local}
KEY = KeyRef("hot", 0)


def test_every_listed_signer_is_held_to_the_facts() -> None:
    assert set(MAKERS) == set(SIGNERS)


@pytest.fixture(params=sorted(MAKERS))
def make(request: pytest.FixtureRequest) -> Maker:
    return MAKERS[request.param]


@pytest.fixture
def signer(make: Maker, tmp_path: Path) -> Signer:
    return make(tmp_path)


def digest(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(4, "big")).digest()


def test_a_signature_is_the_keys_over_exactly_the_digest(signer: Signer) -> None:
    signature = signer.sign(KEY, digest(1))
    public_key = signer.public_key(KEY)
    assert len(signature) == 65
    recovered = PublicKey.from_signature_and_message(signature, digest(1), hasher=None)
    assert recovered.format() == public_key
    check_signature(signature, digest(1), public_key)
    with pytest.raises(Corrupt):
        check_signature(signature, digest(2), public_key)
    with pytest.raises(Corrupt):
        check_signature(signature, digest(1), signer.public_key(KeyRef("hot", 1)))


def test_the_same_digest_gets_the_same_bytes_after_a_restart(make: Maker, tmp_path: Path) -> None:
    assert make(tmp_path).sign(KEY, digest(1)) == make(tmp_path).sign(KEY, digest(1))


def test_a_thousand_signatures_have_distinct_r_and_low_s(signer: Signer) -> None:
    """S06: nothing repeats, nothing is malleable, everything verifies."""
    seen = set()
    public_key = signer.public_key(KEY)
    for number in range(1_000):
        signature = signer.sign(KEY, digest(number))
        r, s = (int.from_bytes(part, "big") for part in (signature[:32], signature[32:64]))
        assert 0 < r < CURVE_ORDER
        assert 0 < s <= CURVE_ORDER // 2
        assert verify_signature(_der(r, s), digest(number), public_key, hasher=None)
        seen.add(r)
    assert len(seen) == 1_000


def _der(r: int, s: int) -> bytes:
    parts = b""
    for number in (r, s):
        body = number.to_bytes(number.bit_length() // 8 + 1, "big")
        parts += b"\x02" + bytes([len(body)]) + body
    return b"\x30" + bytes([len(parts)]) + parts


@pytest.mark.parametrize(
    "bad", [b"", bytes(31), bytes(33), bytes(64), "0" * 32, bytearray(32), None, 7]
)
def test_anything_but_32_bytes_is_refused(signer: Signer, bad: bytes) -> None:
    with pytest.raises(Refused) as refused:
        signer.sign(KEY, bad)
    assert refused.value.reason is Reason.MALFORMED


@pytest.mark.parametrize(
    ("account", "index"),
    [("", 0), ("Hot", 0), ("m/44'/60'/0'", 0), ("hot", -1), ("hot", HARDENED), ("hot", True)],
)
def test_a_key_outside_the_layout_is_refused(account: str, index: int) -> None:
    with pytest.raises(Refused) as refused:
        KeyRef(account, index)
    assert refused.value.reason is Reason.UNKNOWN_KEY


def test_an_unknown_accounts_xpub_is_refused(signer: Signer) -> None:
    with pytest.raises(Refused) as refused:
        signer.account_xpub("savings")
    assert refused.value.reason is Reason.UNKNOWN_KEY


@pytest.mark.parametrize("account", sorted(ACCOUNTS))
def test_the_xpub_derives_the_keys_that_sign(signer: Signer, account: str) -> None:
    """The platform derives from xpubs what the signer derives from its secrets."""
    keys = AccountKeys(signer.account_xpub(account))
    for index in (0, 1, 2, 999, HARDENED - 1):
        public_key = derive_checked(keys, index).public_key
        assert public_key == signer.public_key(KeyRef(account, index))
        signature = signer.sign(KeyRef(account, index), digest(index))
        check_signature(signature, digest(index), public_key)


def test_accounts_are_hardened_and_share_no_key(signer: Signer) -> None:
    nodes = [parse_xpub(signer.account_xpub(account)) for account in ACCOUNTS]
    assert [node.child_number - HARDENED for node in nodes] == [0, 1, 2, 3]
    assert len({signer.public_key(KeyRef(name, n)) for name in ACCOUNTS for n in range(50)}) == 200


def test_a_main_network_is_not_signed_for(signer: Signer) -> None:
    assert signer.network_allowed(traits())
    for changes in ({"is_main_network": True}, {"coin_type": 60}, {"curve": "ed25519"}):
        assert not signer.network_allowed(traits(**changes))


def test_many_threads_get_the_right_signatures(signer: Signer) -> None:
    keys = [KeyRef("deposits", index) for index in range(64)]
    expected = {key: signer.public_key(key) for key in keys}
    with ThreadPoolExecutor(8) as pool:
        jobs = [(key, digest(n)) for n in range(8) for key in keys]
        made = list(pool.map(lambda job: signer.sign(*job), jobs))
    for (key, asked), signature in zip(jobs, made, strict=True):
        check_signature(signature, asked, expected[key])


def test_a_signer_shows_and_gives_away_nothing(signer: Signer) -> None:
    """K06: not in a repr, not through pickle or copy, not in its public attributes."""
    assert "hidden" in repr(signer)
    assert "hidden" in f"{signer}"
    for take in (pickle.dumps, copy, deepcopy):
        with pytest.raises(TypeError):
            take(signer)
    for name in dir(signer):
        if not name.startswith("_"):
            assert CANARY.hex() not in repr(getattr(signer, name))
            assert "canary" not in repr(getattr(signer, name))
