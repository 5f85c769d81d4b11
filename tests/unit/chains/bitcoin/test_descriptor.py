"""Descriptors: one text, one meaning, the same addresses as two other libraries."""

from __future__ import annotations

import random

import bdkpython as bdk
import coincurve
import pytest
from btclib_wallet.descriptors import descriptors as library

from chains.bitcoin import base58
from chains.bitcoin.descriptor import (
    INDEX_MAX,
    OWNERS_MAX,
    Descriptor,
    Form,
    checksum,
    of_owners,
    read,
    read_key,
)
from chains.bitcoin.params import NETWORKS
from chains.bitcoin.tapscript import NOBODYS_KEY
from core.errors import Reason, Refused
from tests.support.bitcoin import LOCAL
from tests.support.owners import officers, treasury_of

MAIN = NETWORKS["main"]
TEST_VERSION = "043587cf"
WALLET = treasury_of(Form.SCRIPT_HASH, 2, 3).descriptor
TAPROOT = treasury_of(Form.TAPROOT_SCRIPT, 3, 5).descriptor


def random_key(rng: random.Random, version: str = TEST_VERSION) -> str:
    """Return an extended key of nobody, with an origin as hardware states it."""
    point = coincurve.PrivateKey(rng.randbytes(32)).public_key.format()
    data = bytes.fromhex(version) + b"\x04" + rng.randbytes(4) + bytes.fromhex("80000002")
    xpub = base58.write(data + rng.randbytes(32) + point)
    return f"[{rng.randbytes(4).hex()}/48h/1h/0h/2h]{xpub}/0/*"


def random_wallet(rng: random.Random) -> Descriptor:
    """Return a wallet of any form."""
    form = rng.choice(list(Form))
    if form in (Form.KEY_HASH, Form.TAPROOT_KEY):
        return Descriptor(form, 1, (read_key(random_key(rng), LOCAL),))
    count = rng.randint(1, OWNERS_MAX)
    keys = [read_key(random_key(rng), LOCAL) for _ in range(count)]
    return of_owners(form, rng.randint(1, count), keys)


def checked(body: str) -> str:
    """Return a body with its right checksum."""
    return f"{body}#{checksum(body)}"


@pytest.mark.parametrize("seed", range(8))
def test_addresses_of_random_wallets_are_those_of_bdk_and_of_btclib(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(150):
        wallet = random_wallet(rng)
        index = rng.choice((0, 1, rng.randint(0, INDEX_MAX), INDEX_MAX))
        ours = wallet.address(index, LOCAL)
        theirs = bdk.Descriptor(wallet.text, bdk.NetworkKind.TEST)
        assert str(theirs.derive_address(index, bdk.Network.REGTEST)) == ours
        assert library.parse(wallet.text, "regtest").address(index) == ours
        assert read(wallet.text, LOCAL) == wallet


def test_checksums_are_those_of_two_libraries() -> None:
    rng = random.Random(9)
    # The example of BIP-380.
    assert checksum("raw(deadbeef)") == "89f8spxm"
    for _ in range(200):
        body = random_wallet(rng).text.partition("#")[0]
        assert checksum(body) == library.checksum(body)


def test_the_order_of_owners_is_no_matter_to_a_sorted_wallet() -> None:
    form = Form.SCRIPT_HASH
    keys = [officer.key(form) for officer in officers(3)]
    assert of_owners(form, 2, keys).address(0, LOCAL) == WALLET.address(0, LOCAL)
    assert of_owners(form, 2, keys[::-1]).address(0, LOCAL) == WALLET.address(0, LOCAL)
    assert of_owners(form, 2, keys[::-1]).text != WALLET.text


@pytest.mark.parametrize("wallet", [WALLET, TAPROOT])
def test_every_changed_character_of_a_descriptor_is_refused(wallet: Descriptor) -> None:
    assert read(wallet.text, LOCAL) == wallet
    for at in range(len(wallet.text)):
        other = "2" if wallet.text[at] != "2" else "3"
        with pytest.raises(Refused):
            read(wallet.text[:at] + other + wallet.text[at + 1 :], LOCAL)


BODY = WALLET.text.partition("#")[0]
ONE, TWO, THREE = (officer.key(Form.SCRIPT_HASH).text for officer in officers(3))
ORIGIN, _, XPUB = ONE.partition("]")
BROKEN = {
    "another form": f"sh(wsh(sortedmulti(2,{ONE},{TWO})))",
    "keys in a fixed order under a hash": f"wsh(multi(2,{ONE},{TWO}))",
    "an inner key that somebody may hold": f"tr({NOBODYS_KEY[::-1].hex()},multi_a(1,{ONE}))",
    "two leaves": f"tr({NOBODYS_KEY.hex()},{{multi_a(1,{ONE}),multi_a(1,{TWO})}})",
    "a threshold above the owners": f"wsh(sortedmulti(3,{ONE},{TWO}))",
    "a threshold of nobody": f"wsh(sortedmulti(0,{ONE},{TWO}))",
    "a threshold in another spelling": f"wsh(sortedmulti(02,{ONE},{TWO}))",
    "an owner twice": f"wsh(sortedmulti(2,{ONE},{ONE}))",
    "an owner without origin": f"wsh(sortedmulti(1,{XPUB}))",
    "the branch for change": BODY.replace("/0/*", "/1/*", 1),
    "two branches": BODY.replace("/0/*", "/<0;1>/*"),
    "a fixed index": BODY.replace("/0/*", "/0/0"),
    "hardened steps below the key": BODY.replace("/0/*", "/0/*h"),
    "hardened steps in another spelling": BODY.replace("48h", "48'"),
    "a step that is not hardened": BODY.replace("48h", "48"),
    "a step too few": BODY.replace("/48h", "", 1),
    "another last step": BODY.replace("/2h]", "/3h]", 1),
    "a step above 2^31": BODY.replace("/48h", "/2147483648h", 1),
    "a fingerprint in capitals": BODY.replace(ORIGIN, ORIGIN.upper().replace("H", "h")),
    "a damaged key": BODY.replace(XPUB[10:14], "1111", 1),
    "a private key": f"wpkh({officers(1)[0].secret(Form.SCRIPT_HASH)})",
    "space": BODY.replace(",", ", "),
    "nothing": "",
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_descriptor_in_no_form_of_ours_is_refused(case: str) -> None:
    assert read(checked(BODY), LOCAL) == WALLET
    with pytest.raises(Refused) as refused:
        read(checked(BROKEN[case]), LOCAL)
    assert refused.value.reason is Reason.MALFORMED


def test_too_many_owners_are_refused() -> None:
    rng = random.Random(1)
    keys = [read_key(random_key(rng), LOCAL) for _ in range(OWNERS_MAX + 1)]
    assert of_owners(Form.SCRIPT_HASH, 2, keys[:-1]).threshold == 2
    with pytest.raises(Refused):
        of_owners(Form.SCRIPT_HASH, 2, keys)


def test_a_descriptor_of_another_network_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        read(WALLET.text, MAIN)
    assert refused.value.reason is Reason.WRONG_NETWORK


def test_a_descriptor_without_its_checksum_is_refused() -> None:
    for text in (BODY, f"{BODY}#", WALLET.text + "#", WALLET.text.upper()):
        with pytest.raises(Refused):
            read(text, LOCAL)
