"""Officers with devices of their own, who own a treasury together.

A device is one of two libraries: bdkpython, or btclib-wallet. Neither shares code with the other or
with the judge; both derive from the same root keys.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

import bdkpython as bdk
import coincurve
from btclib.network import NETWORKS as LIBRARY_NETWORKS
from btclib_wallet.bip32.bip32 import rootxprv_from_seed
from btclib_wallet.psbt.psbt import Psbt
from btclib_wallet.psbt_signer import SoftwareSigner, request_signatures

from chains.base import NATIVE, SpendIntent, SpendKind, UnsignedTx
from chains.bitcoin.descriptor import Descriptor, Form, KeyExpression, of_owners, read_key
from chains.bitcoin.treasury import Judged, Treasury, judge
from chains.bitcoin.treasury_build import Funding, build
from chains.bitcoin.tx import Tx
from tests.support.bitcoin import CHAIN, LOCAL, PARAMS, STRANGER

Device = Callable[["Officer", bytes, Descriptor], bytes]
"""Answers a payload with the officer's signatures in it."""
RATE = 5
STEPS = {Form.SCRIPT_HASH: "48h/1h/0h/2h", Form.TAPROOT_SCRIPT: "48h/1h/0h/3h"}
"""BIP-48's script types: 2 is a witness script's hash; wallets take 3 for taproot."""
_OPTIONS = bdk.SignOptions(
    trust_witness_utxo=False, assume_height=None, allow_all_sighashes=False, try_finalize=False,
    sign_with_tap_internal_key=False, allow_grinding=True,
)  # fmt: skip


@dataclass(frozen=True)
class Officer:
    """One owner, by the number that his root key is made from."""

    number: int

    @cached_property
    def root(self) -> str:
        """Return the root key as text. A test network's."""
        seed = bytes((self.number % 256, self.number // 256)) * 32
        return rootxprv_from_seed(seed, LIBRARY_NETWORKS["regtest"].bip32_prv)

    def secret(self, form: Form) -> str:
        """Return the account's private key with its origin, as a descriptor has it."""
        root = bdk.DescriptorSecretKey.from_string(self.root)
        made = root.derive(bdk.DerivationPath(f"m/{STEPS[form]}"))
        return str(made).removesuffix("/*").replace("'", "h") + "/0/*"

    def key(self, form: Form) -> KeyExpression:
        """Return the account's public key with its origin."""
        public = bdk.DescriptorSecretKey.from_string(self.root).derive(
            bdk.DerivationPath(f"m/{STEPS[form]}")
        )
        text = str(public.as_public()).removesuffix("/*").replace("'", "h") + "/0/*"
        return read_key(text, LOCAL)


def by_bdk(officer: Officer, payload: bytes, descriptor: Descriptor) -> bytes:
    """Answer as a device that runs bdk: a wallet whose own key is the private one."""
    body = descriptor.text.partition("#")[0]
    own = officer.key(descriptor.form).text
    text = body.replace(own, officer.secret(descriptor.form))
    wallet = bdk.Wallet.create_single(
        bdk.Descriptor(text, bdk.NetworkKind.TEST),
        bdk.Network.REGTEST,
        bdk.Persister.new_in_memory(),
    )
    wallet.reveal_addresses_to(bdk.KeychainKind.EXTERNAL, 0)
    psbt = bdk.Psbt(base64.b64encode(payload).decode())
    wallet.sign(psbt, _OPTIONS)
    return base64.b64decode(psbt.serialize())


def by_btclib(officer: Officer, payload: bytes, _: Descriptor) -> bytes:
    """Answer as a device that runs btclib, which finds its keys by the origins it is told."""
    signed = request_signatures(SoftwareSigner(officer.root), Psbt.parse(payload))
    return signed.serialize()


DEVICES: tuple[Device, ...] = (by_bdk, by_btclib)


@cache
def officers(count: int, *, first: int = 1) -> tuple[Officer, ...]:
    """Return some officers."""
    return tuple(Officer(number) for number in range(first, first + count))


@cache
def treasury_of(form: Form, threshold: int, count: int, *, first: int = 1) -> Treasury:
    """Return the treasury of some officers on the local network."""
    keys = [officer.key(form) for officer in officers(count, first=first)]
    return Treasury(of_owners(form, threshold, keys), PARAMS)


def coins_of(tx: Tx, *indices: int) -> list[Funding]:
    """Return outputs of a transaction as coins to spend."""
    return [Funding(tx.tx_id, index, tx.serialise()) for index in indices]


def payment(
    treasury: Treasury, amount: int, *, destination: str = STRANGER, **changes: object
) -> SpendIntent:
    """Return an intent of a treasury."""
    intent = SpendIntent(
        spend_id="spend-1", kind=SpendKind.WITHDRAWAL, cause_id="withdrawal-1", chain=CHAIN,
        network=PARAMS.network, asset_key=NATIVE, source=treasury.address,
        destination=destination, amount=amount, fee_max=100_000,
    )  # fmt: skip
    return replace(intent, **changes)  # type: ignore[arg-type]


def judged_of(unsigned: UnsignedTx, intent: SpendIntent, treasury: Treasury) -> Judged:
    """Return what the judge says of a payload at height 0."""
    return judge(unsigned.payload, intent, treasury, height=lambda: 0)


def propose(
    treasury: Treasury, coins: Sequence[Funding], amount: int
) -> tuple[SpendIntent, UnsignedTx, Judged]:
    """Return an intent, what is built for it, and what the judge says."""
    intent = payment(treasury, amount)
    unsigned = build(intent, treasury, coins=coins, rate=RATE)
    return intent, unsigned, judged_of(unsigned, intent, treasury)


def secret_of(officer: Officer, form: Form = Form.SCRIPT_HASH) -> coincurve.PrivateKey:
    """Return an officer's private key at index 0, by the second library."""
    text = officer.secret(form)
    made = bdk.DescriptorSecretKey.from_string(text.removesuffix("/0/*"))
    child = made.derive(bdk.DerivationPath("m/0/0"))
    secret = coincurve.PrivateKey(bytes(child.secret_bytes()))
    assert secret.public_key.format() == officer.key(form).at(0)
    return secret
