"""Random paths by our code and by others: every key and address, byte for byte (K02).

Ours is compared with bip-utils step by step, the leaf's point with OpenSSL (ours and bip-utils both
stand on libsecp256k1), and addresses with btclib and eth-keys. One number makes the whole story.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from functools import partial

from bip_utils import Bip32Slip10Ed25519, Bip32Slip10Secp256k1  # type: ignore[import-untyped]
from btclib import b32
from btclib.key import PubKeyData
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from eth_keys.datatypes import PublicKey as EthPublicKey
from nacl.signing import SigningKey

from chains.bitcoin.address import address_of_script, script_of_key
from chains.bitcoin.params import NETWORKS
from chains.evm.address import checksum, from_public_key
from core.entropy import SeededDice
from custody.keys.bip32 import PrivateNode
from custody.keys.derivation import HARDENED, PublicNode, PublicParent, format_xpub, parse_xpub
from custody.keys.secret import Secret
from custody.keys.slip10 import EdwardsNode

CHUNK = 2_500
PATHS_OF_A_SEED = 10
DEPTH_MAX = 6
EDWARDS_PERCENT = 20
EDGES = (0, 1, HARDENED - 1)
SEED_SIZES = (16, 32, 64)


def disagreements(count: int, number: int) -> list[str]:
    """Return where two libraries differ on `count` paths that come from a number."""
    dice, found = SeededDice(number), []
    done = 0
    while done < count:
        seed = dice.randbytes(dice.choice(SEED_SIZES))
        for _ in range(min(PATHS_OF_A_SEED, count - done)):
            path = [_step(dice) for _ in range(dice.randint(1, DEPTH_MAX))]
            is_edwards = dice.randrange(100) < EDWARDS_PERCENT
            compare = _edwards if is_edwards else _secp256k1
            found += [
                f"number {number}: {compare.__name__[1:]} seed {seed.hex()} path {path}: {what}"
                for what in compare(seed, path)
            ]
            done += 1
    return found


def spread(count: int, number: int, *, processes: int = 2) -> list[str]:
    """Return the same over chunks in several processes; chunk n comes from number + n."""
    sizes = [min(CHUNK, count - start) for start in range(0, count, CHUNK)]
    numbers = [number + n for n in range(len(sizes))]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        chunks = pool.starmap(partial(disagreements), zip(sizes, numbers, strict=True))
    return [line for chunk in chunks for line in chunk]


def _step(dice: SeededDice) -> int:
    """Return an index: mostly any, often an edge; hardened or not."""
    index = dice.choice(EDGES) if dice.randrange(4) == 0 else dice.randrange(HARDENED)
    return index + (HARDENED if dice.randrange(2) else 0)


def _secp256k1(seed: bytes, path: list[int]) -> Iterator[str]:
    node, other = PrivateNode.master(Secret(seed)), Bip32Slip10Secp256k1.FromSeed(seed)
    public: PublicNode | None = None
    for step in path:
        public = PublicParent(node.public()).child(step) if step < HARDENED else None
        node, other = node.child(step), other.ChildKey(step)
        if public is not None and public != node.public():
            yield f"the private and the public road part at {step}"
    xpub = format_xpub(node.public())
    if xpub != other.PublicKey().ToExtended():
        yield "another extended key than bip-utils"
    if parse_xpub(xpub) != node.public():
        yield "the extended key does not come back"
    secret = node._key.secret
    if secret != other.PrivateKey().Raw().ToBytes():
        yield "another private key than bip-utils"
    key = node.public_key
    point = ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256K1()).public_key()
    if point.public_bytes(Encoding.X962, PublicFormat.CompressedPoint) != key:
        yield "another point than OpenSSL"
    script = script_of_key(key)
    if address_of_script(script, NETWORKS["main"]) != b32.p2wpkh(PubKeyData(key)):
        yield "another witness address than btclib"
    if checksum(from_public_key(key)) != (
        EthPublicKey.from_compressed_bytes(key).to_checksum_address()
    ):
        yield "another account address than eth-keys"


def _edwards(seed: bytes, path: list[int]) -> Iterator[str]:
    node, other = EdwardsNode.master(Secret(seed)), Bip32Slip10Ed25519.FromSeed(seed)
    for step in path:
        hardened = step % HARDENED + HARDENED
        node, other = node.child(hardened), other.ChildKey(hardened)
    if b"\0" + node.public_key != other.PublicKey().RawCompressed().ToBytes():
        yield "another public key than bip-utils"
    if node._secret != other.PrivateKey().Raw().ToBytes():
        yield "another private key than bip-utils"
    if node.chain_code != other.ChainCode().ToBytes():
        yield "another chain code than bip-utils"
    signer = SigningKey(node._secret)
    if bytes(signer.verify_key) != node.public_key:
        yield "another point than libsodium"
    if signer.sign(seed).signature != node.sign(seed):
        yield "another signature than libsodium"
