"""K06, I19: secrets that are known to the test appear nowhere but in the signer's own memory.

A whole platform runs on a seed that a token (PIN) and Vault (AppRole) open together. Every way of
failing to start and to serve is triggered in real signer processes; the engine and the worker do
their work, and are refused things. Then logs, database, metrics, words of the command line, and the
memory of engine and worker are searched for every secret in every spelling.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.children import Child
from app.demo.stage import Stage, open_stage
from app.devsetup import CHAIN, OFFICERS, fund_wallets
from app.toml_text import toml_text
from app.up import wait_until_live
from core.entropy import SystemEntropy
from custody.keys.bip32 import PrivateNode
from custody.keys.derivation import HARDENED
from custody.keys.officer_keys import load_officer_key
from custody.keys.private_file import read_private_file, write_private_file
from custody.keys.roster import Verdict
from custody.keys.secret import Secret
from custody.keys.signers.base import ACCOUNTS
from custody.keys.signers.keystore import open_keystore, seed_from_mnemonic
from custody.keys.signers.pkcs11_box import TokenBox
from custody.keys.signers.sealed import seal_split_seed
from infra.devnet.servers import free_port
from infra.devnet.softhsm import PIN
from infra.devnet.vault_double import Fault, VaultDouble
from tests.support.canaries import leaks
from tests.support.haystacks import dump_of, files_with, memory_size, process_with
from tests.support.signer_starts import SignerStarts
from tests.support.tokens import process_token
from tests.support.vault import Server, VaultPlace

"""One platform, in the order of the page: the search comes after what could have leaked."""

WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"
WRONG_PIN = "a-wrong-canary-pin"
WRONG_PASSPHRASE = "a wrong canary passphrase"
WRONG_SECRET_ID = "0f0e0d0c-wrong-secret-id-canary"
IN_THE_SETTINGS = "a canary passphrase in the settings"
TOKEN_START = b"hvs.double-"
COIN = 10**18
COIN_TYPE = 60


@dataclass
class Estate:
    """A running platform whose secrets are all known."""

    stage: Stage
    vault: VaultDouble
    place: VaultPlace
    starts: SignerStarts
    metrics_port: int
    secrets: dict[str, bytes] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Return the platform's folder."""
        return self.stage.setup.folder

    def child(self, name: str) -> Child:
        """Return a process."""
        return next(child for child in self.stage.children if child.name == name)

    def known(self) -> dict[str, bytes]:
        """Return every secret, and how every token of the double begins."""
        return self.secrets | {"vault token": TOKEN_START}

    def configure(self, name: str, change: Callable[[dict[str, Any]], None]) -> Path:
        """Write other settings beside the real ones and return their file."""
        tables = tomllib.loads((self.folder / "config.toml").read_text("utf-8"))
        tables["signer"] |= {"folder": f"signer-{name}", "socket": f"signer-{name}.sock"}
        change(tables["signer"])
        path = self.folder / f"config-{name}.toml"
        path.write_text(toml_text(tables), "utf-8")
        return path

    def checks(self) -> dict[str, Any]:
        """Return the readiness checks by name."""
        answer = self.stage.http.get("/readyz?verbose=1").json()
        return {one["name"]: one for one in answer["checks"]}

    def fail(self, name: str, config: Path, *, broken: str = "") -> str:
        """Start a signer that cannot start; return what it wrote, which stays as a log."""
        log = self.folder / "logs" / f"failed-{name}.log"
        code = self.starts.run(config, log, broken=broken)
        text = log.read_text("utf-8")
        assert code != 0, f"{name} started: {text}"
        return text


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    folder = tmp_path_factory.mktemp("canaries")
    with (
        pytest.MonkeyPatch.context() as patch,
        VaultDouble() as vault,
        contextlib.ExitStack() as stack,
    ):
        seed = seed_from_mnemonic(Secret(WORDS.encode()))
        patch.setattr("app.devsetup.fresh_seed", lambda _entropy: seed)
        stage = stack.enter_context(open_stage(folder / "platform", lambda _line: None))
        (folder / "roles").mkdir()
        place = VaultPlace(
            folder / "roles", Server(vault.address, vault.root_token), wallet="canary"
        )
        process_token()  # before what inherits where it is
        starts = stack.enter_context(SignerStarts())
        made = Estate(stage, vault, place, starts, free_port())
        made.secrets |= planted(stage, place, seed)
        _move_keys(made, seed)
        yield made


def planted(stage: Stage, place: VaultPlace, seed: Secret) -> dict[str, bytes]:
    """Return every secret of a platform by its name."""
    settings = stage.setup.settings().signer
    assert settings.attestation.file is not None
    assert settings.attestation.passphrase_file is not None
    passphrase = read_private_file(settings.attestation.passphrase_file).strip()
    attestation = open_keystore(settings.attestation.file, Secret(passphrase)).reveal()
    found = {
        "mnemonic": WORDS.encode(),
        "seed": seed.reveal(),
        "attestation key": attestation,
        "passphrase": passphrase,
        "PIN": PIN.encode(),
        "secret id": place.role().secret_id_file.read_bytes().strip(),
        "wrong PIN": WRONG_PIN.encode(),
        "wrong passphrase": WRONG_PASSPHRASE.encode(),
        "wrong secret id": WRONG_SECRET_ID.encode(),
        "passphrase in the settings": IN_THE_SETTINGS.encode(),
    }
    for person in OFFICERS:
        key = load_officer_key(stage.setup.officer_key_file(person))
        found[f"{person}'s key"] = key.private_bytes_raw()
    return found | own_keys(seed)


def own_keys(seed: Secret) -> dict[str, bytes]:
    """Return the private keys of the accounts and of the hot wallet."""
    coin = PrivateNode.master(seed).child(HARDENED + 44).child(HARDENED + COIN_TYPE)
    found = {}
    for name, number in ACCOUNTS.items():
        account = coin.child(HARDENED + number)
        found[f"{name} account"] = account._key.secret
        found[f"{name} key 0"] = account.child(0).child(0)._key.secret
    return found


def _move_keys(estate: Estate, seed: Secret) -> None:
    """Split the seed between a token and Vault, remove its keystore, start everything anew."""
    hsm, folder, place = process_token(), estate.folder, estate.place
    module = TokenBox.open_token(hsm.module, hsm.label, hsm.pin_file, entropy=SystemEntropy())
    with contextlib.closing(module), place.box() as box:
        seal_split_seed(
            folder / "split-seed", "canary", seed, first=module, second=box, entropy=SystemEntropy()
        )
    role = place.role()
    tables = tomllib.loads((folder / "config.toml").read_text("utf-8"))
    tables["signer"] |= {
        "backend": "both",
        "metrics_port": estate.metrics_port,
        "pkcs11": {
            "module": str(hsm.module),
            "label": hsm.label,
            "pin_file": str(hsm.pin_file),
        },
        "vault": {
            "address": estate.vault.address,
            "role_id_file": str(role.role_id_file),
            "secret_id_file": str(role.secret_id_file),
            "wallet": "canary",
            "key": place.sealing.name,
            "seed_file": "split-seed",
        },
    }
    for child in estate.stage.children:
        child.stop()
        child.log_file.unlink()
    (folder / "config.toml").write_text(toml_text(tables), "utf-8")
    (folder / "secrets" / "keystore").unlink()
    for child in estate.stage.children:
        child.start()
    wait_until_live(estate.stage.setup, list(estate.stage.children))


def secret_file(estate: Estate, name: str, text: str) -> str:
    """Write a secret into a file that only we read, outside of what is searched."""
    path = estate.place.folder / name
    path.unlink(missing_ok=True)
    write_private_file(path, text.encode())
    return str(path)


def changed(estate: Estate, table: str, **values: object) -> Callable[[dict[str, Any]], None]:
    def change(signer: dict[str, Any]) -> None:
        signer[table] |= values

    return change


def damaged(estate: Estate, place: int) -> str:
    """Write the sealed seed with one changed byte."""
    data = bytearray((estate.folder / "split-seed").read_bytes())
    data[place] ^= 1
    path = estate.folder / "damaged-seed"
    path.unlink(missing_ok=True)
    write_private_file(path, bytes(data))
    return path.name


STARTS: dict[str, tuple[Callable[[Estate], Callable[[dict[str, Any]], None]], str]] = {
    "wrong-pin": (
        lambda e: changed(e, "pkcs11", pin_file=secret_file(e, "pin", WRONG_PIN)),
        "wrong_pin",
    ),
    "no-such-token": (lambda e: changed(e, "pkcs11", label="no such token"), "labelled"),
    "wrong-passphrase": (
        lambda e: changed(
            e, "attestation", passphrase_file=secret_file(e, "passphrase", WRONG_PASSPHRASE)
        ),
        "wrong_passphrase",
    ),
    "wrong-secret-id": (
        lambda e: changed(e, "vault", secret_id_file=secret_file(e, "secret-id", WRONG_SECRET_ID)),
        "forbidden",
    ),
    "no-secret-id": (lambda e: changed(e, "vault", secret_id_file="nowhere"), "not_found"),
    "no-tls": (lambda e: changed(e, "vault", address="http://192.0.2.1:8200"), "loopback"),
    "another-wallet": (lambda e: changed(e, "vault", wallet="other"), "undecodable"),
    "another-key": (lambda e: changed(e, "vault", key="other"), "Vault"),
    "damaged-seed": (lambda e: changed(e, "vault", seed_file=damaged(e, -9)), "undecodable"),
    "secret-in-settings": (
        lambda e: changed(e, "local", passphrase=IN_THE_SETTINGS),
        "signer.local.passphrase",
    ),
}

FAULTS: dict[str, Fault] = {
    "forbidden": Fault(path="transit/", status=403),
    "busy": Fault(path="transit/", status=429, headers={"Retry-After": "9"}),
    "internal-error": Fault(path="transit/", status=500),
    "dropped": Fault(path="transit/", drop="after"),
    "cut": Fault(path="transit/", cut=40),
    "slow": Fault(path="transit/", delay_s=9.0),
    "another-half": Fault(
        path="transit/", lie=lambda c: c | {"data": {"plaintext": c["data"]["plaintext"][::-1]}}
    ),
    "no-token": Fault(path="auth/", lie=lambda c: c | {"auth": {"client_token": 7}}),
}

BUGS = (
    "custody.keys.bip32/hmac_sha512",
    "custody.keys.signers.sealed/_either_or",
    "custody.keys.signers.sealed/_checked",
    "custody.keys.signers.vault_http/_talk",
    "custody.keys.signers.vault_session/_token_of",
    "custody.keys.signers.vault_transit/_plaintext",
    "custody.keys.signers.pkcs11_box/_decrypt",
    "custody.keys.signers.keystore/_unseal",
    "custody.keys.signers.seeded/SecpKeys/sign",
    "custody.keys.secret/Secret/reveal",
)


def test_every_way_of_not_starting_tells_no_secret(estate: Estate) -> None:
    for name, (change, told) in STARTS.items():
        text = estate.fail(name, estate.configure(name, change(estate)))
        assert told in text, (name, text)
        assert not leaks(text, estate.known()), (name, text)
    config = estate.configure("sealed", lambda _signer: None)
    estate.vault.is_sealed = True
    assert "sealed" in estate.fail("sealed", config)
    estate.vault.is_sealed = False
    for name, fault in FAULTS.items():
        fault.times = 1 << 30
        estate.vault.faults[:] = [fault]
        text = estate.fail(f"vault-{name}", config)
        assert "Vault" in text or "boxes" in text, (name, text)
        assert not leaks(text, estate.known()), (name, text)
    estate.vault.faults.clear()


@pytest.mark.parametrize("place", BUGS)
def test_a_bug_of_ours_tells_no_secret(estate: Estate, place: str) -> None:
    name = place.replace("/", "-")
    text = estate.fail(f"bug-{name}", estate.configure(name, lambda _signer: None), broken=place)
    assert "a bug behind" in text or "unexpected" in text, text
    assert not leaks(text, estate.known())


def test_money_moves_and_requests_are_refused(estate: Estate) -> None:
    """What the platform does all day, and what it is asked in vain."""
    stage = estate.stage
    fund_wallets(stage.setup, stage.node, coins=10)
    address = stage.ask("alice", "POST", "/v1/deposit-addresses", key="a", chain=CHAIN)
    stage.deployer.pay(address["address"], 5 * COIN)
    asset = f"{CHAIN}/native"

    def available(who: str) -> bool:
        rows = stage.ask(who, "GET", "/v1/balances")["data"]
        return any(row["asset"] == asset and row["available"] != "0" for row in rows)

    stage.wait_for("a credit", partial(available, "alice"))
    asked = stage.ask(
        "alice", "POST", "/v1/withdrawals", key="w", asset=asset,
        destination=stage.deployer.accounts[7], amount="1",
    )  # fmt: skip
    of = partial(stage.ask, "alice", "GET", f"/v1/withdrawals/{asked['withdrawal_id']}")
    stage.wait_for("the hold", lambda: of()["state"] == "held")
    for person in OFFICERS[:2]:
        stage.judge(person, asked["withdrawal_id"], Verdict.APPROVE)
    stage.wait_for("the payment", lambda: of()["state"] == "confirmed")
    for headers in ({}, {"Authorization": "Bearer nobody's"}, {"Authorization": "Basic x"}):
        assert stage.http.get("/v1/balances", headers=headers).status_code == 401
    assert stage.http.post("/v1/withdrawals", content=b"{").status_code >= 400
    talk_nonsense(stage.setup.settings().signer.socket)


def talk_nonsense(path: Path) -> None:
    """Say to the signer what no client says."""
    for said in (b"", b"\0", b"\xff" * 64, os.urandom(4_096), b"\0\0\0\x05{}{}{"):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(2)
            caller.connect(str(path))
            caller.sendall(said)
            with contextlib.suppress(OSError):
                caller.shutdown(socket.SHUT_WR)
                while caller.recv(4_096):
                    pass


def test_a_signer_that_loses_its_friends_while_serving_tells_no_secret(estate: Estate) -> None:
    """Vault seals and the signer is killed and started: it serves again once Vault does."""
    signer = estate.child("signer")
    estate.vault.is_sealed = True
    signer.kill()
    signer.start()
    code = signer._process.wait(30) if signer._process else None
    assert code not in (0, None)
    estate.vault.is_sealed = False
    signer.start()

    def is_open() -> bool:  # readiness may still say what was before
        with socket.socket() as door:
            return door.connect_ex(("127.0.0.1", estate.metrics_port)) == 0

    estate.stage.wait_for("the door", is_open)
    estate.stage.wait_for("the signer", lambda: estate.checks()["signer"]["ok"])


def test_no_secret_is_anywhere(estate: Estate) -> None:
    """Last: everything that was written, and the memory of everybody but the signer."""
    known, folder = estate.known(), estate.folder
    own = [folder / "secrets", folder / "config-secret-in-settings.toml"]
    assert files_with(folder, known, ignore=own) == {}
    assert not leaks(dump_of(folder / "strongroom.db"), known)
    pages = "/metrics", f"http://127.0.0.1:{estate.metrics_port}/metrics"
    metrics = b"".join(estate.stage.http.get(url).content for url in pages)
    assert b"strongroom" in metrics
    assert not leaks(metrics, known)
    for name in ("engine", "worker"):
        pid = estate.child(name).pid
        assert memory_size(pid) > 10 << 20
        assert process_with(pid, known) == set(), name
    words = Path(f"/proc/{estate.child('signer').pid}/cmdline").read_bytes()
    words += Path(f"/proc/{estate.child('signer').pid}/environ").read_bytes()
    assert not leaks(words, known)


def test_the_search_finds_what_is_there(estate: Estate) -> None:
    """The control: the signer's own memory, a planted log, a planted row."""
    known = estate.known()
    in_signer = process_with(estate.child("signer").pid, known)
    assert {"hot account", "hot key 0"} & in_signer
    for name in ("officer", "mnemonic", "wrong"):
        assert not any(name in found for found in in_signer)
    log = estate.folder / "logs" / "planted.log"
    for secret in known.values():
        log.write_bytes(b'{"event": "x", "what": "' + secret.hex().encode() + b'"}\n')
        assert files_with(log.parent, known)["planted.log"]
    log.unlink()
    assert files_with(estate.folder / "logs", known) == {}
    assert files_with(estate.folder / "secrets", known)["passphrase"] == {"passphrase"}
