"""Keys over an opened seed: SLIP-0010 byte for byte, paths from the chain's traits."""

from __future__ import annotations

import pytest
from bip_utils import Bip32Slip10Ed25519, Bip32Slip10Secp256k1  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Corrupt, Reason, Refused, Unavailable
from custody.keys.derivation import HARDENED
from custody.keys.secret import Secret
from custody.keys.signers import ACCOUNTS, KeyRef
from custody.keys.signers.seeded import SeededSigner
from custody.keys.slip10 import EdwardsNode
from tests.unit.custody.keys.networks import traits

SEED = bytes(range(32))

# Test vector 2 for ed25519, https://github.com/satoshilabs/slips/blob/master/slip-0010.md
VECTOR_SEED = bytes.fromhex(
    "fffcf9f6f3f0edeae7e4e1dedbd8d5d2cfccc9c6c3c0bdbab7b4b1aeaba8a5a2"
    "9f9c999693908d8a8784817e7b7875726f6c696663605d5a5754514e4b484542"
)
VECTOR = (
    ((), "8fe9693f8fa62a4305a140b9764c5ee01e455963744fe18204b4fb948249308a"),
    ((0,), "86fab68dcb57aa196c77c5f264f215a112c22a912c10d123b0d03c3c28ef1037"),
    ((0, 2147483647), "5ba3b9ac6e90e83effcd25ac4e58a1365a9e35a3d3ae5eb07b9e4d90bcf7506d"),
    ((0, 2147483647, 1), "2e66aa57069c86cc18249aecf5cb5a9cebbfd6fadeab056254763874a9352b45"),
)


@pytest.mark.parametrize(("path", "public_key"), VECTOR)
def test_slip_0010_vectors(path: tuple[int, ...], public_key: str) -> None:
    node = EdwardsNode.master(Secret(VECTOR_SEED))
    for step in path:
        node = node.child(HARDENED + step)
    assert node.public_key.hex() == public_key


def test_ed25519_has_no_soft_children() -> None:
    node = EdwardsNode.master(Secret(SEED))
    for index in (-1, 0, HARDENED - 1, 2 * HARDENED, True):
        with pytest.raises(Refused) as refused:
            node.child(index)
        assert refused.value.reason is Reason.MALFORMED


@given(
    st.binary(min_size=16, max_size=64),
    st.sampled_from((44, 84)),
    st.sampled_from((0, 1, 501)),
    st.sampled_from(sorted(ACCOUNTS)),
    st.integers(0, HARDENED - 1),
)
def test_paths_follow_the_traits_on_both_curves(
    seed: bytes, purpose: int, coin: int, account: str, index: int
) -> None:
    base = f"m/{purpose}'/{coin}'/{ACCOUNTS[account]}'"
    key = KeyRef(account, index)
    network = traits(purpose=purpose, coin_type=coin, curve="ed25519", is_main_network=True)
    edwards = Bip32Slip10Ed25519.FromSeedAndPath(seed, f"{base}/0'/{index}'")
    assert (
        SeededSigner(Secret(seed), network).public_key(key)
        == (edwards.PublicKey().RawCompressed().ToBytes()[1:])
    )
    network = traits(purpose=purpose, coin_type=coin)
    secp = Bip32Slip10Secp256k1.FromSeedAndPath(seed, f"{base}/0/{index}")
    assert SeededSigner(Secret(seed), network).public_key(key) == (
        secp.PublicKey().RawCompressed().ToBytes()
    )


@pytest.mark.parametrize("curve", ["secp256k1", "ed25519"])
def test_a_closed_signer_has_no_keys(curve: str) -> None:
    signer = SeededSigner(Secret(SEED), traits(curve=curve))
    signer.check()
    signer.close()
    signer.close()
    for call in (
        signer.check,
        lambda: signer.public_key(KeyRef("hot", 0)),
        lambda: signer.account_xpub("hot"),
    ):
        with pytest.raises(Unavailable):
            call()


def test_a_main_seed_signs_for_no_test_network() -> None:
    signer = SeededSigner(Secret(SEED), traits(is_main_network=True, coin_type=0))
    assert signer.network_allowed(traits(is_main_network=True, coin_type=0))
    for changes in ({"is_main_network": False}, {"coin_type": 1}, {"purpose": 84}):
        network = {"is_main_network": True, "coin_type": 0, **changes}
        assert not signer.network_allowed(traits(**network))


def test_an_edwards_signature_that_went_wrong_stays_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    signer = SeededSigner(Secret(SEED), traits(curve="ed25519"))
    good = signer.sign(KeyRef("hot", 0), b"m")
    others = signer.sign(KeyRef("hot", 1), b"m")
    for wrong in (b"", good[:-1], bytes(64), others, good[:32] + others[32:]):
        monkeypatch.setattr(EdwardsNode, "sign", lambda _node, _message, made=wrong: made)
        with pytest.raises(Corrupt):
            signer.sign(KeyRef("hot", 0), b"m")


def test_nodes_show_nothing() -> None:
    node = EdwardsNode.master(Secret(SEED))
    assert repr(node) == "<private node hidden>"
    with pytest.raises(TypeError):
        node.__reduce_ex__(4)
