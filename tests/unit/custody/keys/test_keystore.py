"""The keystore file, mnemonics, where randomness comes from, and that no secret shows."""

from __future__ import annotations

import ast
import io
import json
import os
import pickle
import random
import stat
import time
import traceback
import uuid
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from bip_utils import Bip32Slip10Secp256k1  # type: ignore[import-untyped]
from coincurve import PrivateKey

from core.entropy import SeededEntropy, SystemEntropy
from core.errors import Reason, Refused
from custody.keys.officer_keys import load_officer_key, officer_keygen
from custody.keys.private_file import write_private_file
from custody.keys.secret import Secret
from custody.keys.signers import KeyRef, LocalSigner
from custody.keys.signers.keystore import (
    CHEAP,
    KdfCost,
    create_keystore,
    fresh_seed,
    open_keystore,
    seed_from_mnemonic,
)
from tests.unit.custody.keys.networks import traits

VECTORS = Path(__file__).parents[3] / "vectors"
BIP39 = json.loads((VECTORS / "bip39.json").read_text())
BIP44 = json.loads((VECTORS / "bip44.json").read_text())
PASSPHRASE = Secret(b"canary-passphrase")
SEED = Secret(b"canary-seed-canary-seed-canary-1")
ENTROPY = SeededEntropy(1, "keystore")


@pytest.fixture
def keystore(tmp_path: Path) -> Path:
    path = tmp_path / "keystore"
    create_keystore(path, PASSPHRASE, SEED, entropy=ENTROPY, cost=CHEAP)
    return path


def reason(call: Callable[..., object], *arguments: Any, **options: Any) -> Reason:
    with pytest.raises(Refused) as refused:
        call(*arguments, **options)
    return refused.value.reason


def test_a_keystore_opens_with_its_passphrase_alone(keystore: Path) -> None:
    assert open_keystore(keystore, PASSPHRASE) == SEED
    for wrong in (b"canary-passphras", b"canary-passphrase ", b"Canary-passphrase", b""):
        assert reason(open_keystore, keystore, Secret(wrong)) is Reason.WRONG_PASSPHRASE


def test_a_keystore_is_private_and_never_overwritten(keystore: Path) -> None:
    assert stat.S_IMODE(keystore.stat().st_mode) == 0o600
    assert [path.name for path in keystore.parent.iterdir()] == ["keystore"]
    before = keystore.read_bytes()
    new = (keystore, PASSPHRASE, SEED)
    assert (
        reason(create_keystore, *new, entropy=ENTROPY, cost=CHEAP)
        is Reason.EXISTS_WITH_OTHER_CONTENT
    )
    assert keystore.read_bytes() == before
    assert [path.name for path in keystore.parent.iterdir()] == ["keystore"]


def test_a_keystore_that_others_can_read_is_refused(keystore: Path) -> None:
    keystore.chmod(0o640)
    assert reason(open_keystore, keystore, PASSPHRASE) is Reason.FORBIDDEN


def test_no_byte_of_a_keystore_can_change(keystore: Path) -> None:
    data = keystore.read_bytes()
    reasons = set()
    for position in range(0, len(data), 3):
        mutated = bytearray(data)
        mutated[position] ^= 1
        path = keystore.with_name(f"mutated-{position}")
        write_private_file(path, bytes(mutated))
        reasons.add(reason(open_keystore, path, PASSPHRASE))
        path.unlink()
    assert reasons <= {Reason.MALFORMED, Reason.WRONG_PASSPHRASE, Reason.UNKNOWN_VERSION}
    assert Reason.WRONG_PASSPHRASE in reasons


def test_the_header_cannot_be_weakened_or_made_ruinous(keystore: Path) -> None:
    """The header is associated data, and its costs lie between floor and ceiling."""
    magic, line, sealed, _ = keystore.read_bytes().split(b"\n")
    for name, value in (
        ("memory_kib", 1_024),
        ("memory_kib", 1 << 30),
        ("passes", 0),
        ("lanes", 0),
    ):
        header = json.loads(line)
        header["kdf"][name] = value
        path = keystore.with_name("other")
        write_private_file(path, b"\n".join((magic, json.dumps(header).encode(), sealed, b"")))
        assert reason(open_keystore, path, PASSPHRASE) is Reason.MALFORMED
        path.unlink()
    for name, value in (("memory_kib", 9 * 1_024), ("passes", 2)):
        header = json.loads(line)
        header["kdf"][name] = value
        path = keystore.with_name("another")
        write_private_file(path, b"\n".join((magic, json.dumps(header).encode(), sealed, b"")))
        assert reason(open_keystore, path, PASSPHRASE) is Reason.WRONG_PASSPHRASE
        path.unlink()
    assert reason(KdfCost, memory_kib=1) is Reason.MALFORMED


@pytest.mark.parametrize("seed", [b"", bytes(15), bytes(65)])
def test_a_seed_of_a_wrong_size_is_refused(tmp_path: Path, seed: bytes) -> None:
    new = (tmp_path / "k", PASSPHRASE, Secret(seed))
    assert reason(create_keystore, *new, entropy=ENTROPY, cost=CHEAP) is Reason.MALFORMED
    assert not list(tmp_path.iterdir())


def test_a_short_passphrase_is_refused(tmp_path: Path) -> None:
    new = (tmp_path / "k", Secret(b"1234567"), SEED)
    assert reason(create_keystore, *new, entropy=ENTROPY, cost=CHEAP) is Reason.MALFORMED


@pytest.mark.parametrize("changes", [{"is_main_network": True}, {"curve": "p256"}])
def test_a_local_signer_does_not_open_for_other_networks(
    keystore: Path, changes: dict[str, object]
) -> None:
    expected = Reason.MAIN_NETWORK if "is_main_network" in changes else Reason.UNKNOWN_CHAIN
    assert reason(LocalSigner.open, keystore, PASSPHRASE, traits(**changes)) is expected


@pytest.mark.parametrize("vector", BIP39["vectors"], ids=lambda vector: vector["entropy"][:8])
def test_bip39_vectors_hold(vector: dict[str, str]) -> None:
    words, extra = Secret(vector["mnemonic"].encode()), Secret(BIP39["passphrase"].encode())
    seed = seed_from_mnemonic(words, extra_word=extra)
    assert seed.reveal().hex() == vector["seed"]
    master = Bip32Slip10Secp256k1.FromSeed(seed.reveal())
    assert master.PrivateKey().ToExtended() == vector["xprv"]


@pytest.mark.parametrize(
    "words",
    [
        "abandon " * 11 + "abandon",
        "abandon " * 10 + "about",
        "abandon " * 11 + "abouts",
        "",
        "canary " * 12,
        "про " * 12,
    ],
)
def test_a_wrong_mnemonic_is_refused(words: str) -> None:
    assert reason(seed_from_mnemonic, Secret(words.encode())) is Reason.MALFORMED


def test_bip44_addresses_come_out_as_published() -> None:
    from eth_utils.address import to_checksum_address
    from eth_utils.crypto import keccak

    seed = seed_from_mnemonic(Secret(BIP44["mnemonic"].encode()))
    wanted = {row["path"]: row["address"] for row in BIP44["addresses"]}
    signer = LocalSigner(seed, traits(coin_type=60))
    public_key = signer.public_key(KeyRef("deposits", 0))
    from coincurve import PublicKey

    body = keccak(PublicKey(public_key).format(compressed=False)[1:])[12:]
    assert to_checksum_address(body) == wanted["m/44'/60'/0'/0/0"]
    from custody.keys.second import base58check_encode, hash160

    signer = LocalSigner(seed, traits(coin_type=0))
    public_key = signer.public_key(KeyRef("deposits", 0))
    assert base58check_encode(b"\0" + hash160(public_key)) == wanted["m/44'/0'/0'/0/0"]


def test_randomness_comes_from_the_seam_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """K01: clocks, uuids and the general generator held still change nothing."""
    monkeypatch.setattr(random, "random", lambda: 0)
    monkeypatch.setattr(random, "getrandbits", lambda _bits: 0)
    monkeypatch.setattr(time, "time", lambda: 0)
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    monkeypatch.setattr(uuid, "uuid1", lambda: uuid.UUID(int=0))
    seeds = {fresh_seed(SystemEntropy()).reveal() for _ in range(10_000)}
    assert len(seeds) == 10_000
    assert {len(seed) for seed in seeds} == {32}
    monkeypatch.setattr(os, "urandom", lambda count: b"\x07" * count)
    assert fresh_seed(SystemEntropy()).reveal() == b"\x07" * 32


def test_the_rooms_of_keys_import_no_general_generator() -> None:
    folder = Path(__file__).parents[4] / "custody" / "keys"
    files = sorted(folder.rglob("*.py"))
    assert len(files) > 10
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not {name.split(".")[0] for name in names} & {"random", "secrets", "uuid"}, path


RFC6979 = json.loads((VECTORS / "rfc6979_secp256k1.json").read_text())


@pytest.mark.parametrize("vector", RFC6979["vectors"], ids=lambda vector: vector["message"][:20])
def test_rfc6979_vectors_hold(vector: dict[str, str]) -> None:
    key = PrivateKey(int(vector["key"], 16).to_bytes(32, "big"))
    signature = key.sign_recoverable(vector["message"].encode())
    assert signature[:64].hex() == vector["signature"]


CANARIES = ("canary", SEED.reveal().hex(), PASSPHRASE.reveal().hex())


def shown(error: BaseException) -> str:
    """Return what a careless logger could print of an error, locals of every frame included."""
    out = io.StringIO()
    trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    for line in trace.format():
        # Lines of code are ours; what matters are values.
        out.write("\n".join(text for text in line.splitlines() if " = " in text))
    out.write(repr(error) + str(error) + repr(error.__context__) + repr(error.__cause__))
    return out.getvalue()


def errors(keystore: Path) -> list[Callable[[], object]]:
    key_file = keystore.with_name("officer.pem")
    officer_keygen(key_file, entropy=ENTROPY, passphrase=PASSPHRASE)
    signer = LocalSigner.open(keystore, PASSPHRASE, traits())
    return [
        lambda: open_keystore(keystore, Secret(b"canary-wrong-one")),
        lambda: seed_from_mnemonic(Secret(b"canary canary canary")),
        lambda: LocalSigner.open(keystore, PASSPHRASE, traits(is_main_network=True)),
        lambda: signer.sign(KeyRef("hot", 0), b"short"),
        lambda: signer.account_xpub("none"),
        lambda: load_officer_key(key_file, passphrase=Secret(b"canary-wrong-one")),
        lambda: load_officer_key(key_file),
        lambda: create_keystore(keystore, PASSPHRASE, SEED, entropy=ENTROPY, cost=CHEAP),
        lambda: pickle.dumps(signer),
        lambda: pickle.dumps(SEED),
        lambda: deepcopy(SEED),
        lambda: Secret("canary"),  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize("number", range(12))
def test_no_error_shows_a_secret(keystore: Path, number: int) -> None:
    """K06, with the locals of every frame of the product."""
    with pytest.raises((Refused, TypeError)) as caught:
        errors(keystore)[number]()
    text = shown(caught.value)
    assert not [canary for canary in CANARIES if canary in text], text


def test_a_secret_shows_nothing() -> None:
    for text in (
        repr(SEED),
        str(SEED),
        f"{SEED}",
        f"{SEED!r:>40}",
        repr([SEED]),
        repr({"a": SEED}),
    ):
        assert "hidden" in text
        assert "canary" not in text
    assert Secret(b"a") == Secret(b"a")
    assert Secret(b"a") != Secret(b"b")
    with pytest.raises(TypeError):
        hash(SEED)


def test_the_canary_would_be_seen() -> None:
    """The control: a frame that holds the bare secret does show it."""

    def careless() -> None:
        seed = SEED.reveal()
        raise ValueError(len(seed))

    with pytest.raises(ValueError, match="32") as caught:
        careless()
    assert "canary" in shown(caught.value)


def test_officers_keys_are_private_files(tmp_path: Path) -> None:
    for name, passphrase in (("bare.pem", None), ("sealed.pem", PASSPHRASE)):
        path = tmp_path / name
        public_key = officer_keygen(path, entropy=SystemEntropy(), passphrase=passphrase)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        key = load_officer_key(path, passphrase=passphrase)
        assert key.public_key().public_bytes_raw() == public_key
        assert reason(officer_keygen, path, entropy=SystemEntropy()) is (
            Reason.EXISTS_WITH_OTHER_CONTENT
        )
        path.chmod(0o644)
        assert reason(load_officer_key, path) is Reason.FORBIDDEN
    assert reason(load_officer_key, tmp_path / "none") is Reason.NOT_FOUND
