"""K03: what one leaked child key beside its account's xpub gives away: that account, no other."""

from __future__ import annotations

from coincurve import PrivateKey

from custody.keys.bip32 import PrivateNode
from custody.keys.derivation import (
    CURVE_ORDER,
    HARDENED,
    PublicNode,
    PublicParent,
    hmac_sha512,
    parse_xpub,
)
from custody.keys.secret import Secret
from custody.keys.signers.base import ACCOUNTS, KeyRef
from custody.keys.signers.seeded import SeededSigner
from tests.unit.custody.keys.networks import traits

SEED = Secret(bytes(range(32)))
SIGNER = SeededSigner(SEED, traits())


def tweak(parent: PublicNode, index: int) -> bytes:
    """Return I_L, which everybody can compute who has the extended public key."""
    return hmac_sha512(parent.chain_code, parent.public_key + index.to_bytes(4, "big"))[:32]


def k_parent(child: PrivateKey, parent: PublicNode, index: int) -> PrivateKey:
    """k_parent = k_child - I_L."""
    number = int.from_bytes(child.secret, "big") - int.from_bytes(tweak(parent, index), "big")
    return PrivateKey((number % CURVE_ORDER).to_bytes(32, "big"))


def thief() -> PrivateKey:
    """Return the account key of `hot`, from the child at 0/9 and the xpub alone."""
    node = PrivateNode.master(SEED).child(44 + HARDENED).child(1 + HARDENED)
    leaked = node.child(ACCOUNTS["hot"] + HARDENED).child(0).child(9)._key
    account = PublicParent(parse_xpub(SIGNER.account_xpub("hot")))
    external = k_parent(leaked, account.child(0), 9)
    return k_parent(external, account.node, 0)


def test_K03_one_child_key_and_the_xpub_give_the_account_key() -> None:
    stolen = thief()
    account = parse_xpub(SIGNER.account_xpub("hot"))
    assert stolen.public_key.format() == account.public_key
    external = PublicParent(account).child(0)
    for index in range(20):
        child = stolen.add(tweak(account, 0)).add(tweak(external, index))
        assert child.public_key.format() == SIGNER.public_key(KeyRef("hot", index))


def test_K03_no_other_account_falls_with_it() -> None:
    stolen = thief()
    for name in set(ACCOUNTS) - {"hot"}:
        account = parse_xpub(SIGNER.account_xpub(name))
        assert stolen.public_key.format() != account.public_key
        external = PublicParent(account).child(0)
        mine = {
            stolen.add(tweak(account, 0)).add(tweak(external, index)).public_key.format()
            for index in range(20)
        }
        assert not mine & {SIGNER.public_key(KeyRef(name, index)) for index in range(20)}
