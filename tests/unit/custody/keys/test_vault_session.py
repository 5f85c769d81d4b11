"""Who the signer is to Vault, how long it stays that, and how seldom it asks."""

from __future__ import annotations

import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from core.errors import Reason, Refused, Unavailable
from custody.keys.secret import Secret
from custody.keys.signers.vault_http import VaultHttp
from custody.keys.signers.vault_session import VaultSession
from custody.keys.signers.vault_transit import TransitBox, TransitKey, state_of
from infra.devnet.vault_double import Fault, VaultDouble
from tests.support.certificates import certificate_for_loopback
from tests.support.vault import QUICK, Server, VaultPlace
from tests.unit.custody.keys.vaultroom import SLACK_S, Room, always, eventually, vault_room

SOMETHING = Secret(b"0123456789abcdef")
LOGIN, RENEW = "auth/approle/login", "auth/token/renew-self"


def logins(room: Room) -> int:
    return room.double.asked(LOGIN)


def test_one_login_serves_many_calls_and_threads(tmp_path: Path) -> None:
    with vault_room(tmp_path) as room:
        room.sign()
        before = logins(room)
        session = room.connect()
        barrier = threading.Barrier(8)

        def sign() -> object:
            barrier.wait()
            box = TransitBox(session, room.place.sealing)
            return box.open(box.seal(SOMETHING, b"a"), b"a")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: sign(), range(8)))
        assert logins(room) == before + 1


def test_a_token_is_renewed_before_it_ends(tmp_path: Path) -> None:
    with vault_room(tmp_path, token_ttl_s=3) as room:
        room.sign()
        before = logins(room)
        end = time.monotonic() + 5.0
        while time.monotonic() < end:
            room.sign()
            time.sleep(0.2)
        assert room.double.asked(RENEW) >= 2
        assert logins(room) == before


def test_a_token_at_the_end_of_its_longest_life_is_replaced(tmp_path: Path) -> None:
    with vault_room(tmp_path, token_ttl_s=3, token_max_ttl_s=4) as room:
        room.sign()
        before = logins(room)
        end = time.monotonic() + 6.0
        while time.monotonic() < end:
            room.sign()
            time.sleep(0.2)
        assert 1 <= logins(room) - before <= 4


def test_an_expired_token_is_replaced_by_a_login(tmp_path: Path) -> None:
    with vault_room(tmp_path, token_ttl_s=1) as room:
        honest, before = room.sign(), logins(room)
        time.sleep(1.2)
        assert room.sign() == honest
        assert logins(room) == before + 1


def test_a_server_that_renews_nothing_is_used_while_the_token_lives(tmp_path: Path) -> None:
    with vault_room(tmp_path, token_ttl_s=3) as room:
        honest = room.sign()
        time.sleep(2.1)
        room.double.faults += [always(path=RENEW, status=500), always(path=LOGIN, status=500)]
        before = room.double.asked("auth/")
        assert room.sign() == honest
        assert room.sign() == honest
        assert room.double.asked("auth/") <= before + room.patience.tries + 1


def test_a_revoked_token_is_replaced_once(tmp_path: Path) -> None:
    with vault_room(tmp_path) as room:
        honest, before = room.sign(), logins(room)
        room.double.auth.revoke_all()
        assert room.sign() == honest
        assert logins(room) == before + 1


def test_what_the_policy_forbids_is_refused_and_costs_one_login(tmp_path: Path) -> None:
    patience = replace(QUICK, relogin_every_s=60.0)
    with vault_room(tmp_path, patience=patience) as room:
        room.sign()
        before = logins(room)
        for _ in range(5):
            error, _ = room.failing(lambda: state_of(room.session, room.place.sealing))
            assert isinstance(error, Refused)
            assert error.reason is Reason.FORBIDDEN
        assert logins(room) == before + 1
        assert room.sign()


def test_a_wrong_secret_id_is_forbidden_and_asked_once_a_call(tmp_path: Path) -> None:
    with vault_room(tmp_path) as room:
        room.place.role().secret_id_file.write_text("a wrong one")
        session = room.connect()
        before = logins(room)
        error, _ = room.failing(lambda: TransitBox(session, room.place.sealing).open(SEALED, b""))
        assert isinstance(error, Refused)
        assert error.reason is Reason.FORBIDDEN
        assert logins(room) == before + 1
        room.place.renew_secret_id()
        session = room.connect()
        assert TransitBox(session, room.place.sealing).seal(SOMETHING, b"")


SEALED = b"vault:v1:AAAA"
SEALED_BY = TransitKey("any")


def test_a_login_whose_answer_is_lost_is_not_repeated_within_the_call(tmp_path: Path) -> None:
    with vault_room(tmp_path) as room:
        for drop in ("before", "after"):
            session, before = room.connect(), logins(room)
            room.double.faults.append(Fault(path=LOGIN, drop=drop))
            box = TransitBox(session, room.place.sealing)
            error, _ = room.failing(partial(box.seal, SOMETHING, b""))
            assert type(error) is Unavailable
            assert logins(room) == before + 1
            assert box.seal(SOMETHING, b"")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"auth": null}', b'{"auth": {"client_token": "a\\nb"}}']
)
def test_a_login_that_gives_no_token_is_unavailable(tmp_path: Path, content: bytes) -> None:
    with vault_room(tmp_path) as room:
        session = room.connect()
        room.double.faults.append(Fault(path=LOGIN, raw=content))
        box = TransitBox(session, room.place.sealing)
        error, _ = room.failing(lambda: box.seal(SOMETHING, b""))
        assert type(error) is Unavailable
        assert box.seal(SOMETHING, b"")


def test_a_wrapped_secret_id_is_unwrapped_once_and_kept_in_memory(tmp_path: Path) -> None:
    with vault_room(tmp_path, is_wrapped=True, token_ttl_s=1) as room:
        before = room.double.asked("sys/wrapping/unwrap")
        room.sign()
        time.sleep(1.2)
        room.sign()
        assert room.double.asked("sys/wrapping/unwrap") == before + 1
        assert logins(room) >= 2
        error, _ = room.failing(lambda: state_of(room.connect(), room.place.sealing))
        assert isinstance(error, Refused)
        assert error.reason is Reason.FORBIDDEN
        room.place.renew_secret_id()
        fresh = room.connect()
        assert TransitBox(fresh, room.place.sealing).seal(SOMETHING, b"")


@pytest.mark.parametrize("which", ["role_id_file", "secret_id_file"])
def test_ids_that_others_may_read_are_not_used(tmp_path: Path, which: str) -> None:
    with vault_room(tmp_path) as room:
        path: Path = getattr(room.place.role(), which)
        path.chmod(0o640)
        before = len(room.double.requests)
        error, _ = room.failing(lambda: state_of(room.connect(), room.place.sealing))
        assert isinstance(error, Refused)
        assert error.reason is Reason.FORBIDDEN
        assert len(room.double.requests) == before
        path.chmod(0o600)
        path.write_text(" \n")
        error, _ = room.failing(lambda: state_of(room.connect(), room.place.sealing))
        assert isinstance(error, Refused)
        assert error.reason is Reason.MALFORMED


def test_a_dead_server_is_left_alone_and_found_again(tmp_path: Path) -> None:
    patience = replace(QUICK, tries=1, pause_s=0.4, pause_max_s=0.8)
    with vault_room(tmp_path, patience=patience) as room:
        honest = room.sign()
        room.double.is_sealed = True
        before = room.double.asked("transit/sign")
        end = time.monotonic() + 3.0
        calls, slowest_s = 0, 0.0
        while time.monotonic() < end:
            error, took_s = room.failing(room.sign)
            assert type(error) is Unavailable
            calls, slowest_s = calls + 1, max(slowest_s, took_s)
        # Three failures, then a probe at 0.4 s, 0.8 s and every 0.8 s: not one request a call.
        assert room.double.asked("transit/sign") - before <= patience.break_after + 5
        assert calls > 50
        assert slowest_s < SLACK_S
        room.double.is_sealed = False
        assert eventually(room.sign, within_s=2.0) == honest


def test_only_one_call_probes_a_suspect_server(tmp_path: Path) -> None:
    patience = replace(QUICK, tries=1, pause_s=0.2, pause_max_s=0.2)
    with vault_room(tmp_path, patience=patience) as room:
        room.sign()
        room.double.is_sealed = True
        for _ in range(patience.break_after):
            room.failing(room.sign)
        time.sleep(0.25)
        before = room.double.asked("transit/sign")
        room.double.faults.append(always(path="transit/sign", delay_s=0.3))
        barrier = threading.Barrier(6)

        def probe() -> None:
            barrier.wait()
            with pytest.raises(Unavailable):
                room.sign()

        with ThreadPoolExecutor(6) as pool:
            for done in [pool.submit(probe) for _ in range(6)]:
                done.result()
        assert room.double.asked("transit/sign") == before + 1


@pytest.mark.parametrize(
    "address",
    [
        "http://vault.example:8200",
        "http://10.0.0.1:8200",
        "http://127.0.0.1.example:8200",
        "ftp://127.0.0.1",
        "127.0.0.1:8200",
        "https://",
        "https://user:password@vault.example",
        "https://vault.example/v1",
        "https://vault.example?x=1",
    ],
)
def test_an_address_that_would_send_tokens_in_the_clear_is_refused(address: str) -> None:
    with pytest.raises(Refused) as refused:
        VaultHttp(address)
    assert refused.value.reason is Reason.MALFORMED


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8200", "http://localhost:1", "http://[::1]:8200/", "https://v"]
)
def test_loopback_may_be_plain_and_anything_may_be_encrypted(address: str) -> None:
    VaultHttp(address).close()


def test_tls_is_verified_against_the_configured_authority(tmp_path: Path) -> None:
    own, other = (certificate_for_loopback(tmp_path / name) for name in ("own", "other"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.certificate, own.key)
    with VaultDouble(tls=context) as double:
        place = VaultPlace(tmp_path, Server(double.address, double.root_token, own.certificate))
        session = place.session()
        assert TransitBox(session, place.sealing).seal(SOMETHING, b"")
        session.close()
        before = len(double.requests)
        for authority in (other.certificate, None):
            http = VaultHttp(double.address, ca_file=authority)
            stranger = VaultSession(http, place.role(), QUICK)
            with pytest.raises(Unavailable, match="not trusted"):
                state_of(stranger, place.sealing)
        renamed = double.address.replace("127.0.0.1", "localhost")
        stranger = VaultSession(VaultHttp(renamed, ca_file=own.certificate), place.role(), QUICK)
        with pytest.raises(Unavailable, match="not trusted"):
            state_of(stranger, place.sealing)
        assert len(double.requests) == before


def test_a_missing_or_empty_authority_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name, reason in (("missing", Reason.NOT_FOUND), ("empty", Reason.MALFORMED)):
        with pytest.raises(Refused) as refused:
            VaultHttp("https://v", ca_file=tmp_path / name)
        assert refused.value.reason is reason


def test_the_environment_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with vault_room(tmp_path) as room:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "VAULT_ADDR"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv("VAULT_TOKEN", "an operator's")
        monkeypatch.setenv("VAULT_NAMESPACE", "elsewhere")
        assert room.sign()


def test_nothing_of_a_session_is_shown(tmp_path: Path) -> None:
    with vault_room(tmp_path) as room:
        room.sign()
        shown = repr(room.session) + repr(room.signer) + repr(room.box()) + str(vars(room.session))
        assert not any(token in shown for token in room.double.auth.tokens)


def test_without_hvac_vault_is_unavailable_and_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vault_room(tmp_path) as room:
        room.sign()
        for name in ("auth_methods", "secrets_engines"):
            monkeypatch.setitem(sys.modules, f"hvac.api.{name}", None)
            error, _ = room.failing(lambda: TransitBox(room.connect(), SEALED_BY).open(SEALED, b""))
            assert type(error) is Unavailable
            assert "extra 'vault'" in str(error)
            monkeypatch.undo()


def test_hvac_is_imported_only_when_vault_is_asked() -> None:
    code = "import sys, custody.keys.signers; print({'hvac', 'requests'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
