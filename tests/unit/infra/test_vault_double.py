"""The double says what it is and answers as Vault's documents say, asked by hvac itself."""

from __future__ import annotations

import base64
import urllib.request
from collections.abc import Iterator
from typing import Any

import hvac  # type: ignore[import-untyped]
import pytest
from hvac import exceptions

from infra.devnet import vault_double
from infra.devnet.vault_double import BANNER, Fault, VaultDouble


@pytest.fixture
def double() -> Iterator[VaultDouble]:
    with VaultDouble() as running:
        yield running


@pytest.fixture
def root(double: VaultDouble) -> Iterator[Any]:
    client = hvac.Client(double.address, double.root_token)
    yield client
    client.adapter.close()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_it_says_that_it_is_not_vault(double: VaultDouble) -> None:
    with urllib.request.urlopen(f"{double.address}/v1/sys/health") as answer:
        assert answer.headers["X-Strongroom-Double"] == BANNER
    assert "IT IS NOT VAULT" in str(vault_double.__doc__)


def test_health_and_seal(double: VaultDouble, root: Any) -> None:
    assert root.sys.read_health_status(method="GET")["sealed"] is False
    assert root.sys.read_health_status(method="GET")["version"].endswith("-double")
    root.sys.seal()
    assert root.sys.is_sealed()
    with pytest.raises(exceptions.VaultDown):
        root.secrets.transit.read_key("k")
    double.is_sealed = False
    assert not root.sys.is_sealed()


def test_sealing_authenticates_associated_data(root: Any) -> None:
    transit = root.secrets.transit
    transit.create_key("k")
    made = transit.encrypt_data("k", b64(b"seed"), associated_data=b64(b"wallet"))["data"]
    assert made["ciphertext"].startswith("vault:v1:")
    assert made["key_version"] == 1
    opened = transit.decrypt_data("k", made["ciphertext"], associated_data=b64(b"wallet"))
    assert opened["data"]["plaintext"] == b64(b"seed")
    for other in (b64(b"other"), None):
        with pytest.raises(exceptions.InvalidRequest, match="authentication failed"):
            transit.decrypt_data("k", made["ciphertext"], associated_data=other)


def test_rewrap_takes_no_associated_data_as_the_real_one(root: Any) -> None:
    """hashicorp/vault#29532."""
    transit = root.secrets.transit
    transit.create_key("k")
    bound = transit.encrypt_data("k", b64(b"x"), associated_data=b64(b"a"))["data"]["ciphertext"]
    plain = transit.encrypt_data("k", b64(b"x"))["data"]["ciphertext"]
    transit.rotate_key("k")
    assert transit.rewrap_data("k", plain)["data"]["ciphertext"].startswith("vault:v2:")
    with pytest.raises(exceptions.InvalidRequest, match="authentication failed"):
        transit.rewrap_data("k", bound)


def test_versions_below_the_least_open_nothing(root: Any) -> None:
    transit = root.secrets.transit
    transit.create_key("k")
    old = transit.encrypt_data("k", b64(b"x"))["data"]["ciphertext"]
    transit.rotate_key("k")
    assert transit.decrypt_data("k", old)["data"]["plaintext"] == b64(b"x")
    transit.update_key_configuration("k", min_decryption_version=2)
    with pytest.raises(exceptions.InvalidRequest, match="too old"):
        transit.decrypt_data("k", old)
    assert transit.read_key("k")["data"]["min_decryption_version"] == 2


def test_ed25519_signs_and_derived_keys_tell_their_public_half(root: Any) -> None:
    transit = root.secrets.transit
    transit.create_key("plain", key_type="ed25519")
    made = transit.sign_data("plain", hash_input=b64(b"m"))["data"]
    assert "public_key" not in made
    verdict = transit.verify_signed_data("plain", b64(b"m"), signature=made["signature"])
    assert verdict["data"]["valid"] is True
    verdict = transit.verify_signed_data("plain", b64(b"n"), signature=made["signature"])
    assert verdict["data"]["valid"] is False
    transit.create_key("derived", key_type="ed25519", derived=True)
    assert transit.read_key("derived")["data"]["keys"]["1"]["public_key"] == ""
    with pytest.raises(exceptions.InvalidRequest, match="missing 'context'"):
        transit.sign_data("derived", hash_input=b64(b"m"))
    keys = {
        transit.sign_data("derived", hash_input=b64(b"m"), context=b64(context))["data"][
            "public_key"
        ]
        for context in (b"a", b"b", b"a")
    }
    assert len(keys) == 2


def test_there_is_no_secp256k1(double: VaultDouble, root: Any) -> None:
    with pytest.raises(exceptions.ParamValidationError):
        root.secrets.transit.create_key("k", key_type="secp256k1")
    answer = double.answer("POST", "transit/keys/k", {"type": "secp256k1"}, token=double.root_token)
    assert answer.status == 400


def test_approle_tokens_live_as_long_as_the_role_says_and_do_what_it_may(
    double: VaultDouble, root: Any
) -> None:
    policy = '{"path": {"transit/encrypt/k*": {"capabilities": ["update"]}}}'
    root.sys.create_or_update_acl_policy("p", policy)
    root.auth.approle.create_or_update_approle("r", token_policies=["p"], token_ttl="60s")
    role_id = root.auth.approle.read_role_id("r")["data"]["role_id"]
    secret_id = root.auth.approle.generate_secret_id("r")["data"]["secret_id"]
    root.secrets.transit.create_key("k1")
    client = hvac.Client(double.address)
    with pytest.raises(exceptions.InvalidRequest, match="invalid role or secret ID"):
        client.auth.approle.login(role_id, "wrong")
    auth = client.auth.approle.login(role_id, secret_id)["auth"]
    assert auth["lease_duration"] == 60
    assert auth["renewable"] is True
    assert client.secrets.transit.encrypt_data("k1", b64(b"x"))["data"]["key_version"] == 1
    with pytest.raises(exceptions.Forbidden):
        client.secrets.transit.decrypt_data("k1", "vault:v1:AAAA")
    with pytest.raises(exceptions.Forbidden):
        client.secrets.transit.create_key("k2")
    assert client.auth.token.renew_self()["auth"]["lease_duration"] == 60
    client.auth.token.revoke_self()
    with pytest.raises(exceptions.Forbidden):
        client.auth.token.lookup_self()
    client.adapter.close()


def test_a_wrapped_answer_opens_once(double: VaultDouble, root: Any) -> None:
    root.auth.approle.create_or_update_approle("r", token_ttl="60s")
    wrapped = root.auth.approle.generate_secret_id("r", wrap_ttl="60s")["wrap_info"]["token"]
    stranger = hvac.Client(double.address, wrapped)
    assert stranger.sys.unwrap()["data"]["secret_id"]
    with pytest.raises(exceptions.InvalidRequest, match="not valid"):
        stranger.sys.unwrap()
    stranger.adapter.close()


def test_a_fault_lasts_as_long_as_it_is_told(double: VaultDouble, root: Any) -> None:
    double.faults.append(Fault(path="transit/", times=2, status=500))
    for _ in range(2):
        with pytest.raises(exceptions.InternalServerError):
            root.secrets.transit.create_key("k")
    assert root.secrets.transit.create_key("k")["data"]["latest_version"] == 1
    assert double.asked("transit/keys/k") == 3
