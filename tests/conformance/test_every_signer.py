"""The same facts for every signer on every curve; tests/conformance/signers.py lists them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy, deepcopy
from pathlib import Path

import pytest
from coincurve import PublicKey

from core.errors import Corrupt, Reason, Refused
from custody.keys.derivation import CURVE_ORDER, HARDENED, AccountKeys, derive_checked, parse_xpub
from custody.keys.signers import ACCOUNTS, SIGNERS, KeyRef, Signer
from custody.keys.signers.base import (
    ED25519,
    KEYS_AT_ONCE,
    MESSAGE_BYTES_MAX,
    SECP256K1,
    check_made,
)
from tests.conformance.signers import CANARY, RIGS, Rig, is_signed, message
from tests.unit.custody.keys.networks import traits

KEY = KeyRef("hot", 0)
HERE = ("deposits", "hot")
"""The accounts in which every signer must have keys 0 and 1, made or derived."""


def rigs(**wanted: object) -> Callable[..., object]:
    """Run a fact on the rigs that have these properties."""
    chosen = [rig for rig in RIGS if all(getattr(rig, name) == is_ for name, is_ in wanted.items())]
    assert chosen
    return pytest.mark.parametrize("rig", chosen, ids=[rig.name for rig in chosen], indirect=True)


def test_every_listed_signer_is_held_to_the_facts() -> None:
    assert {rig.backend for rig in RIGS} == set(SIGNERS)
    assert {rig.curve for rig in RIGS} == {SECP256K1, ED25519}


@pytest.fixture(params=RIGS, ids=lambda rig: rig.name)
def rig(request: pytest.FixtureRequest) -> Rig:
    made: Rig = request.param
    return made


@pytest.fixture
def signer(rig: Rig, tmp_path: Path) -> Iterator[Signer]:
    made = rig.open(tmp_path)
    for account in HERE:
        made.make_keys(account, 0, 2)
    yield made
    made.close()


def refusal(call: Callable[..., object], *arguments: object) -> Reason:
    with pytest.raises(Refused) as refused:
        call(*arguments)
    return refused.value.reason


def test_a_signature_is_the_keys_over_exactly_the_message(rig: Rig, signer: Signer) -> None:
    signature = signer.sign(KEY, message(1))
    public_key = signer.public_key(KEY)
    assert signer.curve == rig.curve
    assert is_signed(rig.curve, signature, message(1), public_key)
    check_made(rig.curve, signature, message(1), public_key)
    for wrong in (message(2), message(1)[::-1]):
        assert not is_signed(rig.curve, signature, wrong, public_key)
        with pytest.raises(Corrupt):
            check_made(rig.curve, signature, wrong, public_key)
    with pytest.raises(Corrupt):
        check_made(rig.curve, signature, message(1), signer.public_key(KeyRef("hot", 1)))


def test_many_are_signed_in_their_order_or_none_at_all(rig: Rig, signer: Signer) -> None:
    jobs = [(KeyRef(account, n % 2), message(n)) for n in range(4) for account in HERE]
    for (key, asked), signature in zip(jobs, signer.sign_many(jobs), strict=True):
        check_made(rig.curve, signature, asked, signer.public_key(key))
    assert signer.sign_many([]) == []
    assert refusal(signer.sign_many, [*jobs, (KEY, b"")]) is Reason.MALFORMED


def test_sizes_are_those_of_the_curve(rig: Rig, signer: Signer) -> None:
    sizes = len(signer.sign(KEY, message(1))), len(signer.public_key(KEY))
    assert sizes == ((65, 33) if rig.curve == SECP256K1 else (64, 32))


@rigs(is_deterministic=True)
def test_the_same_message_gets_the_same_bytes_after_a_restart(rig: Rig, tmp_path: Path) -> None:
    first, second = rig.open(tmp_path), rig.open(tmp_path)
    for made in (first, second):
        made.make_keys("hot", 0, 1)
    assert first.sign(KEY, message(1)) == second.sign(KEY, message(1))
    first.close()
    second.close()


def test_the_keys_are_the_same_after_a_restart(rig: Rig, tmp_path: Path) -> None:
    made = []
    for _ in range(2):
        signer = rig.open(tmp_path)
        for account in HERE:
            signer.make_keys(account, 0, 2)
        made.append([signer.public_key(KeyRef(name, n)) for name in HERE for n in (0, 1)])
        signer.close()
    assert made[0] == made[1]
    assert len(set(made[0])) == 4


@rigs(curve=SECP256K1)
def test_a_thousand_signatures_have_distinct_r_and_low_s(rig: Rig, signer: Signer) -> None:
    """S06: nothing repeats, nothing is malleable, everything verifies."""
    seen = set()
    public_key = signer.public_key(KEY)
    for number in range(rig.many):
        signature = signer.sign(KEY, message(number))
        r, s = (int.from_bytes(part, "big") for part in (signature[:32], signature[32:64]))
        assert 0 < r < CURVE_ORDER
        assert 0 < s <= CURVE_ORDER // 2
        assert is_signed(rig.curve, signature, message(number), public_key)
        recovered = PublicKey.from_signature_and_message(signature, message(number), hasher=None)
        assert recovered.format() == public_key
        seen.add(r)
    assert len(seen) == rig.many


@rigs(curve=ED25519)
def test_a_thousand_messages_have_distinct_nonce_points(rig: Rig, signer: Signer) -> None:
    """S06 for the other curve: R never repeats, everything verifies."""
    seen = set()
    public_key = signer.public_key(KEY)
    for number in range(rig.many):
        signature = signer.sign(KEY, message(number))
        assert is_signed(rig.curve, signature, message(number), public_key)
        seen.add(signature[:32])
    assert len(seen) == rig.many


@pytest.mark.parametrize(
    "bad", [b"", bytes(31), bytes(33), bytes(64), "0" * 32, bytearray(32), None, 7]
)
@rigs(curve=SECP256K1)
def test_anything_but_32_bytes_is_refused(rig: Rig, signer: Signer, bad: bytes) -> None:
    assert refusal(signer.sign, KEY, bad) is Reason.MALFORMED


@pytest.mark.parametrize("length", [1, 31, 33, 1_232, 4_096, MESSAGE_BYTES_MAX])
@rigs(curve=ED25519)
def test_a_message_is_signed_whole(rig: Rig, signer: Signer, length: int) -> None:
    whole = bytes(range(256)) * (length // 256 + 1)
    signature = signer.sign(KEY, whole[:length])
    assert is_signed(rig.curve, signature, whole[:length], signer.public_key(KEY))


@pytest.mark.parametrize("bad", [b"", bytes(MESSAGE_BYTES_MAX + 1), "x", bytearray(32), None])
@rigs(curve=ED25519)
def test_what_is_no_message_is_refused(rig: Rig, signer: Signer, bad: bytes) -> None:
    assert refusal(signer.sign, KEY, bad) is Reason.MALFORMED


@pytest.mark.parametrize(
    ("account", "index"),
    [
        ("", 0),
        ("Hot", 0),
        ("hot.1", 0),
        ("hot.02", 0),
        ("hot.17", 0),
        ("savings.2", 0),
        ("m/44'/60'/0'", 0),
        ("hot", -1),
        ("hot", HARDENED),
        ("hot", True),
    ],
)
def test_a_key_outside_the_layout_is_refused(account: str, index: int) -> None:
    assert refusal(KeyRef, account, index) is Reason.UNKNOWN_KEY


def test_a_range_of_keys_outside_the_layout_is_refused(signer: Signer) -> None:
    assert refusal(signer.make_keys, "savings", 0, 1) is Reason.UNKNOWN_KEY
    assert refusal(signer.make_keys, "hot", HARDENED - 1, 2) is Reason.UNKNOWN_KEY
    for count in (0, -1, KEYS_AT_ONCE + 1, True):
        assert refusal(signer.make_keys, "hot", 0, count) is Reason.TOO_LARGE


def test_an_unknown_accounts_xpub_is_refused(signer: Signer) -> None:
    assert refusal(signer.account_xpub, "savings") is Reason.UNKNOWN_KEY


@pytest.mark.parametrize("account", sorted(ACCOUNTS))
@rigs(has_xpub=True)
def test_the_xpub_derives_the_keys_that_sign(rig: Rig, signer: Signer, account: str) -> None:
    """The platform derives from xpubs what the signer derives from its secrets."""
    keys = AccountKeys(signer.account_xpub(account))
    for index in (0, 1, 2, 999, HARDENED - 1):
        public_key = derive_checked(keys, index).public_key
        assert public_key == signer.public_key(KeyRef(account, index))
        signature = signer.sign(KeyRef(account, index), message(index))
        check_made(rig.curve, signature, message(index), public_key)


@rigs(has_xpub=False)
def test_keys_without_public_derivation_have_no_xpub(rig: Rig, signer: Signer) -> None:
    for account in ACCOUNTS:
        assert refusal(signer.account_xpub, account) is Reason.UNKNOWN_KEY


@rigs(has_xpub=True)
def test_accounts_are_hardened(rig: Rig, signer: Signer) -> None:
    nodes = [parse_xpub(signer.account_xpub(account)) for account in ACCOUNTS]
    assert [node.child_number - HARDENED for node in nodes] == [0, 1, 2, 3]


@rigs(has_xpub=True)
def test_the_next_keys_of_a_wallet_are_an_account_of_their_own(rig: Rig, signer: Signer) -> None:
    """K03 holds from generation to generation: what falls with one is not the other."""
    for account, number in (("hot.2", 17), ("cold.16", 243), ("deposits.3", 32)):
        node = parse_xpub(signer.account_xpub(account))
        assert node.child_number - HARDENED == number
        public_key = AccountKeys(signer.account_xpub(account)).public_key(7)
        assert public_key == signer.public_key(KeyRef(account, 7))


def test_the_next_keys_of_a_wallet_sign_and_are_others(rig: Rig, signer: Signer) -> None:
    old, new = KeyRef("hot", 0), KeyRef("hot.2", 0)
    signer.make_keys("hot.2", 0, 1)
    assert signer.public_key(old) != signer.public_key(new)
    signature = signer.sign(new, message(2))
    check_made(rig.curve, signature, message(2), signer.public_key(new))


@rigs(is_seeded=True)
def test_accounts_share_no_key(rig: Rig, signer: Signer) -> None:
    assert len({signer.public_key(KeyRef(name, n)) for name in ACCOUNTS for n in range(50)}) == 200


def test_a_main_network_is_not_signed_for(rig: Rig, signer: Signer) -> None:
    own = traits(curve=rig.curve)
    other = ED25519 if rig.curve == SECP256K1 else SECP256K1
    assert signer.network_allowed(own)
    for changes in ({"is_main_network": True}, {"coin_type": 60}, {"curve": other}):
        assert not signer.network_allowed(traits(**{"curve": rig.curve, **changes}))


def test_a_signer_is_checked_by_really_signing(signer: Signer) -> None:
    signer.check()
    signer.check()


def test_many_threads_get_the_right_signatures(rig: Rig, signer: Signer) -> None:
    count = min(64, rig.many)
    signer.make_keys("deposits", 0, count)
    keys = [KeyRef("deposits", index) for index in range(count)]
    expected = {key: signer.public_key(key) for key in keys}
    with ThreadPoolExecutor(8) as pool:
        jobs = [(key, message(n)) for n in range(8) for key in keys]
        made = list(pool.map(lambda job: signer.sign(*job), jobs))
    for (key, asked), signature in zip(jobs, made, strict=True):
        check_made(rig.curve, signature, asked, expected[key])


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
