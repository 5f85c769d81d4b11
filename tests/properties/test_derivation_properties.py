"""Two implementations agree on random seeds, accounts and paths (K02)."""

from __future__ import annotations

from bip_utils import Bip32Slip10Secp256k1  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.keys.bip32 import PrivateNode
from custody.keys.derivation import (
    HARDENED,
    AccountKeys,
    PublicParent,
    derive_checked,
    format_xpub,
    parse_xpub,
)
from custody.keys.secret import Secret
from custody.keys.signers import ACCOUNTS, KeyRef, LocalSigner
from tests.unit.custody.keys.networks import traits

EXAMPLES = 300
"""For what shrinks well; ten thousand paths are in test_paths, 10^5 in a campaign."""

seeds = st.binary(min_size=16, max_size=64)
indexes = st.one_of(st.integers(0, 20), st.integers(0, HARDENED - 1), st.just(HARDENED - 1))
coin_types = st.sampled_from((0, 1, 60, 501, HARDENED - 1))


@settings(max_examples=EXAMPLES)
@given(seeds, coin_types, st.sampled_from(sorted(ACCOUNTS)), indexes)
def test_own_derivation_equals_bip_utils(
    seed: bytes, coin_type: int, account: str, index: int
) -> None:
    signer = LocalSigner(Secret(seed), traits(coin_type=coin_type))
    path = f"m/44'/{coin_type}'/{ACCOUNTS[account]}'"
    other = Bip32Slip10Secp256k1.FromSeed(seed).DerivePath(path)
    assert signer.account_xpub(account) == other.PublicKey().ToExtended()
    expected = other.DerivePath(f"0/{index}").PublicKey().RawCompressed().ToBytes()
    keys = AccountKeys(signer.account_xpub(account))
    assert keys.public_key(index) == expected
    assert derive_checked(keys, index).public_key == expected
    assert signer.public_key(KeyRef(account, index)) == expected


steps = st.lists(
    st.one_of(st.integers(0, HARDENED - 1), st.integers(HARDENED, 2 * HARDENED - 1)), max_size=5
)


@settings(max_examples=EXAMPLES)
@given(seeds, steps, st.integers(0, HARDENED - 1))
def test_any_path_gives_the_same_extended_keys(seed: bytes, path: list[int], last: int) -> None:
    node, other = PrivateNode.master(Secret(seed)), Bip32Slip10Secp256k1.FromSeed(seed)
    for step in path:
        node, other = node.child(step), other.ChildKey(step)
    xpub = format_xpub(node.public())
    assert xpub == other.PublicKey().ToExtended()
    child = PublicParent(parse_xpub(xpub)).child(last)
    assert format_xpub(child) == other.ChildKey(last).PublicKey().ToExtended()
    assert child == node.child(last).public()
