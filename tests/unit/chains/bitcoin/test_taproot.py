"""Own coins of taproot keys: vectors of BIP-86, BIP-340 and BIP-341, and the way of a spend."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import bdkpython as bdk
import coincurve
import pytest
from btclib.script import sig_hash
from btclib.script.script_pub_key import ScriptPubKey
from btclib.tx import tx as library
from btclib.tx.tx_out import TxOut as LibraryTxOut
from hypothesis import given
from hypothesis import strategies as st

from chains.bitcoin.address import address_of_script, taproot_script_of_key
from chains.bitcoin.build import Coin, build
from chains.bitcoin.decode import read_spend
from chains.bitcoin.kinds import KINDS, TAPROOT_KEY
from chains.bitcoin.params import COIN, NETWORKS
from chains.bitcoin.sighash import TaprootKeyPath
from chains.bitcoin.tx import TxOut, parse_tx
from chains.bitcoin.verify import check_signed
from core.errors import Corrupt, Reason, Refused
from custody.keys.bip32 import PrivateNode
from custody.keys.second import mnemonic_seed
from custody.keys.secret import Secret
from custody.keys.signers import KeyRef, LocalSigner
from custody.keys.signers.base import check_schnorr
from custody.keys.taproot import output_key, sign_tweaked
from tests.support.bitcoin import (
    HOT,
    PARAMS,
    SEED,
    STRANGER,
    Wallet,
    check_by_library,
    coin_of,
    draft_of,
    funding,
    intent_of,
    open_chain,
)

MNEMONIC = "abandon " * 11 + "about"
# BIP-86: account 0 of the mnemonic.
FIRST_ADDRESSES = {
    (0, 0): "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
    (0, 1): "bc1p4qhjn9zdvkux4e44uhx8tc55attvtyu358kutcqkudyccelu0was9fqzwh",
    (1, 0): "bc1p3qkhfews2uk44qtvauqyr2ttdsw7svhkl9nkm9s9c3x4ax5h60wqwruhk7",
}
# BIP-341, wallet vectors, spending by keys: the transaction, its coins, (input, scope, digest).
UNSIGNED = bytes.fromhex(
    "02000000097de20cbff686da83a54981d2b9bab3586f4ca7e48f57f5b55963115f3b334e9c0100000000000000"
    "00d7b7cab57b1393ace2d064f4d4a2cb8af6def61273e127517d44759b6dafdd990000000000fffffffff8e1f5"
    "83384333689228c5d28eac13366be082dc57441760d957275419a418420000000000fffffffff0689180aa63b3"
    "0cb162a73c6d2a38b7eeda2a83ece74310fda0843ad604853b0100000000feffffffaa5202bdf6d8ccd2ee0f02"
    "02afbbb7461d9264a25e5bfd3c5a52ee1239e0ba6c0000000000feffffff956149bdc66faa968eb2be2d2faa29"
    "718acbfe3941215893a2a3446d32acd050000000000000000000e664b9773b88c09c32cb70a2a3e4da0ced63b7"
    "ba3b22f848531bbb1d5d5f4c94010000000000000000e9aa6b8e6c9de67619e6a3924ae25696bb7b694bb677a6"
    "32a74ef7eadfd4eabf0000000000ffffffffa778eb6a263dc090464cd125c466b5a99667720b1c110468831d05"
    "8aa1b82af10100000000ffffffff0200ca9a3b000000001976a91406afd46bcdfd22ef94ac122aa11f241244a3"
    "7ecc88ac807840cb0000000020ac9a87f5594be208f8532db38cff670c450ed2fea8fcdefcc9a663f78bab962b"
    "0065cd1d"
)
SPENT = (
    ("512053a1f6e454df1aa2776a2814a721372d6258050de330b3c6d10ee8f4e0dda343", 420_000_000),
    ("5120147c9c57132f6e7ecddba9800bb0c4449251c92a1e60371ee77557b6620f3ea3", 462_000_000),
    ("76a914751e76e8199196d454941c45d1b3a323f1433bd688ac", 294_000_000),
    ("5120e4d810fd50586274face62b8a807eb9719cef49c04177cc6b76a9a4251d5450e", 504_000_000),
    ("512091b64d5324723a985170e4dc5a0f84c041804f2cd12660fa5dec09fc21783605", 630_000_000),
    ("00147dd65592d0ab2fe0d0257d571abf032cd9db93dc", 378_000_000),
    ("512075169f4001aa68f15bbed28b218df1d0a62cbbcf1188c6665110c293c907b831", 672_000_000),
    ("5120712447206d7a5238acc7ff53fbe94a3b64539ad291c7cdbc490b7577e4b17df5", 546_000_000),
    ("512077e30a5522dd9f894c3f8b8bd4c4b2cf82ca7da8a3ea6a239655c39c050ab220", 588_000_000),
)
DIGESTS = (
    (0, 3, "2514a6272f85cfa0f45eb907fcb0d121b808ed37c6ea160a5a9046ed5526d555"),
    (1, 131, "325a644af47e8a5a2591cda0ab0723978537318f10e6a63d4eed783b96a71a4d"),
    (3, 1, "bf013ea93474aa67815b1b6cc441d23b64fa310911d991e713cd34c7f5d46669"),
    (4, 0, "4f900a0bae3f1446fd48490c2958b5a023228f01661cda3496a11da502a7f7ef"),
    (6, 2, "15f25c298eb5cdc7eb1d638dd2d45c97c4c59dcaec6679cfc16ad84f30876b85"),
    (7, 130, "cd292de50313804dabe4685e83f923d2969577191a3e1d2882220dca88cbeb10"),
    (8, 129, "cccb739eca6c13a8a89e6e5cd317ffe55669bbda23f2fd37b0f18755e008edd2"),
)
OF_TAPROOT = replace(PARAMS, purpose=86)
CHAIN = open_chain(params=OF_TAPROOT)
SIGNER = LocalSigner(Secret(SEED), CHAIN.traits)


def own(key: KeyRef = HOT) -> str:
    """Return the taproot address of an own key."""
    return CHAIN.address_of(SIGNER.public_key(key))


@pytest.mark.parametrize(("change", "index"), FIRST_ADDRESSES)
def test_the_first_addresses_of_bip_86_come_from_its_mnemonic(change: int, index: int) -> None:
    seed = mnemonic_seed(MNEMONIC, "")
    assert seed is not None
    node = PrivateNode.master(Secret(seed))
    for step in (86 + 2**31, 2**31, 2**31, change, index):
        node = node.child(step)
    address = FIRST_ADDRESSES[change, index]
    assert address_of_script(taproot_script_of_key(node.public_key), NETWORKS["main"]) == address
    kind = bdk.NetworkKind.MAIN
    secret = bdk.DescriptorSecretKey(kind, bdk.Mnemonic.from_string(MNEMONIC), None)
    chain = bdk.KeychainKind.INTERNAL if change else bdk.KeychainKind.EXTERNAL
    theirs = bdk.Descriptor.new_bip86(secret, chain, kind)
    assert str(theirs.derive_address(index, bdk.Network.BITCOIN)) == address


@pytest.mark.parametrize(("index", "scope", "digest"), DIGESTS)
def test_the_digests_of_bip_341_hold_and_a_second_library_has_them_too(
    index: int, scope: int, digest: str
) -> None:
    tx = parse_tx(UNSIGNED)
    coins = [TxOut(amount, bytes.fromhex(script)) for script, amount in SPENT]
    assert TaprootKeyPath(tx, coins).digest(index, scope=scope).hex() == digest
    theirs = [LibraryTxOut(one.amount, ScriptPubKey(one.script)) for one in coins]
    read = library.Tx.parse(UNSIGNED)
    assert sig_hash.taproot(read, index, theirs, scope, 0, b"", b"").hex() == digest


def test_the_first_key_of_bip_341_signs_as_the_vector_says() -> None:
    key = coincurve.PrivateKey.from_hex(
        "6b973d88838f27366ed61c9ad6367663045cb456e28335c109e30717ae0c6baa"
    )
    public_key = key.public_key.format()
    assert "5120" + output_key(public_key).hex() == SPENT[0][0]
    signature = sign_tweaked(key, bytes.fromhex(DIGESTS[0][2]))
    assert signature.hex() == (
        "ed7c1647cb97379e76892be0cacff57ec4a7102aa24296ca39af7541246d8ff1"
        "4d38958d4cc1e2e478e4d4a764bbfd835b16d4e314b72937b29833060b87276c"
    )


def test_the_first_vector_of_bip_340_is_what_the_library_signs_without_fresh_randomness() -> None:
    key = coincurve.PrivateKey.from_int(3)
    signature = key.sign_schnorr(bytes(32), None)  # type: ignore[arg-type]
    assert signature.hex() == (
        "e907831f80848d1069a5371b402410364bdf1c5f8307b0084c55f1ce2dca8215"
        "25f66a4a85ea8b71e482a74f382d2ce5ebeee8fdb2172f477df4900d310536c0"
    )


@given(st.integers(1, 2**255), st.binary(min_size=32, max_size=32))
def test_two_programs_tweak_alike_and_every_signature_is_of_the_tweaked_key(
    number: int, digest: bytes
) -> None:
    key = coincurve.PrivateKey.from_int(number)
    public_key = key.public_key.format()
    assert taproot_script_of_key(public_key) == b"\x51\x20" + output_key(public_key)
    signature = sign_tweaked(key, digest)
    check_schnorr(signature, digest, public_key)
    for wrong in (signature[:-1], signature[:63] + bytes((signature[63] ^ 1,)), bytes(64)):
        with pytest.raises(Corrupt):
            check_schnorr(wrong, digest, public_key)


def test_a_chain_of_taproot_keys_says_so_and_has_other_addresses() -> None:
    assert (CHAIN.traits.purpose, CHAIN.traits.curve) == (86, "bip340")
    assert own().startswith("bcrt1p")
    assert KINDS[86] is TAPROOT_KEY
    with pytest.raises(ValueError, match="purpose"):
        replace(PARAMS, purpose=44)
    with closing(open_chain()) as usual:
        assert not SIGNER.network_allowed(usual.traits)


def coins_of(*amounts: int) -> list[Coin]:
    """Return coins of the hot wallet's taproot key."""
    return [coin_of(funding(own(), held, salt=n)) for n, held in enumerate(amounts)]


def signed(payload: bytes, sender: str | None = None) -> list[bytes]:
    """Return the signature of every input."""
    decoded = CHAIN.decode(payload, sender=sender or own())
    return [SIGNER.sign(HOT, one.digest) for one in decoded.inputs]


@pytest.mark.parametrize("held", [(COIN,), (COIN // 4,) * 5])
def test_a_spend_of_taproot_coins_is_built_judged_signed_joined_and_valid(
    held: tuple[int, ...],
) -> None:
    intent = intent_of(STRANGER, COIN // 2, source=own())
    unsigned = build(intent, OF_TAPROOT, coins=coins_of(*held), rate=10)
    decoded = CHAIN.decode(unsigned.payload, sender=own())
    assert [one.owner for one in decoded.inputs] == [own()] * len(held)
    assert [one.destination for one in decoded.effects] == [STRANGER, own()]
    joined = CHAIN.assemble(unsigned, b"".join(signed(unsigned.payload)))
    coins = read_spend(unsigned.payload, TAPROOT_KEY)
    check_signed(joined.raw, coins.coins)
    size = -(-parse_tx(joined.raw).weight // 4)
    assert (size, decoded.fee_max) == (coins.size, 10 * size), "its size is known to the byte"
    assert CHAIN.rate_of(unsigned.payload).max_rate == 10


def test_a_taproot_coin_is_foreign_to_the_other_kind_and_the_reverse() -> None:
    other = Wallet().draft().payload()
    with pytest.raises(Refused) as refused:
        CHAIN.decode(other, sender=own())
    assert refused.value.reason is Reason.FOREIGN_INPUT
    with pytest.raises(Refused) as refused:
        check_by_library(draft_of(coins_of(COIN), (STRANGER, COIN // 2)).payload(), b"")
    assert refused.value.reason is Reason.FOREIGN_INPUT


@pytest.mark.parametrize("scope", [1, 2, 3, 0x81, 0x82, 0x83])
def test_only_the_default_scope_is_signed(scope: int) -> None:
    draft = draft_of(coins_of(COIN), (STRANGER, COIN - 15_000))
    assert CHAIN.decode(draft.with_input(0, scope=0).payload(), sender=own()).fee_max == 15_000
    with pytest.raises(Refused) as refused:
        CHAIN.decode(draft.with_input(0, scope=scope).payload(), sender=own())
    assert refused.value.reason is Reason.SIGNATURE_SCOPE


def test_the_siphon_pair_is_refused_although_taproot_signs_the_amounts() -> None:
    """S08: each half lies about one coin; the transactions they come from are still asked for."""
    coins = [coin_of(funding(own(), n * COIN, salt=n)) for n in (15, 20)]
    draft = draft_of(coins, (STRANGER, 4 * COIN), (own(), 31 * COIN - 15_000))
    assert CHAIN.decode(draft.payload(), sender=own()).fee_max == 15_000
    lie = TxOut(500_000_001, taproot_script_of_key(SIGNER.public_key(HOT))).serialise()
    for changes in ({"output": lie}, {"output": lie, "previous": None}, {"previous": None}):
        with pytest.raises(Refused) as refused:
            CHAIN.decode(draft.with_input(1, **changes).payload(), sender=own())
        assert refused.value.reason is Reason.UNPROVEN_AMOUNT


def test_signatures_of_others_are_not_joined() -> None:
    intent = intent_of(STRANGER, COIN // 2, source=own())
    unsigned = build(intent, OF_TAPROOT, coins=coins_of(COIN, COIN), rate=10)
    first, second = signed(unsigned.payload)
    digests = [one.digest for one in CHAIN.decode(unsigned.payload, sender=own()).inputs]
    wrong = SIGNER.sign(KeyRef("hot", 1), digests[0])
    for bad in (b"", first, second + first, wrong + second, bytes(64) + second, first + bytes(64)):
        with pytest.raises(Refused) as refused:
            CHAIN.assemble(unsigned, bad)
        assert refused.value.reason is Reason.BAD_SIGNATURE
    assert CHAIN.assemble(unsigned, first + second).raw
