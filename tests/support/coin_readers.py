"""Three programs read and write addresses and transactions: ours, bdk and btclib.

Each function draws random cases from a number and returns where any two differ, in words.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from random import Random

import bdkpython as bdk
from btclib.exceptions import BTClibException
from btclib.script import sig_hash
from btclib.script.script_pub_key import ScriptPubKey
from btclib.tx import tx as library
from btclib.tx.tx_out import TxOut as LibraryTxOut
from coincurve import PrivateKey

from chains.base import SpendIntent, SpendItem, SpendKind
from chains.bitcoin.address import (
    address_of_script,
    legacy_script_of_hash,
    script_of,
    script_of_key,
    taproot_script_of_key,
)
from chains.bitcoin.build import Coin, build
from chains.bitcoin.chain import BitcoinChain
from chains.bitcoin.decode import read_spend
from chains.bitcoin.hashes import hash160, sha256, sha256_twice
from chains.bitcoin.kinds import KINDS
from chains.bitcoin.params import COIN, NETWORKS
from chains.bitcoin.tx import OutPoint, Tx, TxIn, TxOut, parse_tx
from core.errors import Refused
from custody.keys.secret import Secret
from custody.keys.signers import KeyRef, LocalSigner
from tests.support.bitcoin import PARAMS, SEED, intent_of, open_chain

NAMES = {
    "main": (bdk.Network.BITCOIN, bdk.NetworkKind.MAIN, "mainnet"),
    "testnet4": (bdk.Network.TESTNET4, bdk.NetworkKind.TEST, "testnet4"),
    "regtest": (bdk.Network.REGTEST, bdk.NetworkKind.TEST, "regtest"),
}


def _nested(key: bytes) -> bytes:
    return b"\xa9\x14" + hash160(script_of_key(key)) + b"\x87"


def _scripted(key: bytes) -> bytes:
    return b"\x00\x20" + sha256(b"\x21" + key + b"\xac")


KIND: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "pkh": (lambda key: legacy_script_of_hash(hash160(key)), "pkh({})"),
    "nested": (_nested, "sh(wpkh({}))"),
    "wpkh": (script_of_key, "wpkh({})"),
    "wsh": (_scripted, "wsh(pk({}))"),
    "tr": (taproot_script_of_key, "tr({})"),
}
"""Our way to a key's script, and the descriptor that the library goes by."""


def _readings(text: str, name: str) -> list[bytes | None]:
    """Return what the three programs read, None where one refuses."""
    network = NAMES[name][0]
    found: list[bytes | None] = []
    try:
        found.append(script_of(text, NETWORKS[name]))
    except Refused:
        found.append(None)
    try:
        found.append(bdk.Address(text, network).script_pubkey().to_bytes())
    except bdk.AddressParseError:
        found.append(None)
    try:
        read = ScriptPubKey.from_address(text)
        # Old addresses of all test networks begin alike: the library names one of them.
        is_other = (name == "main") != (read.network == "mainnet")
        found.append(None if is_other else read.script)
    except BTClibException:
        found.append(None)
    return found


def address_disagreements(count: int, number: int) -> list[str]:
    """Return where two programs write or read the address of a random key differently."""
    found = []
    for place in range(count):
        draw = Random(f"addresses/{number}/{place}")
        key = PrivateKey(draw.randbytes(32)).public_key.format()
        kind, name = draw.choice(sorted(KIND)), draw.choice(sorted(NAMES))
        script_of_kind, descriptor = KIND[kind]
        network, network_kind, library_name = NAMES[name]
        script = script_of_kind(key)
        ours = address_of_script(script, NETWORKS[name])
        theirs = str(
            bdk.Descriptor(descriptor.format(key.hex()), network_kind).derive_address(0, network)
        )
        others = ScriptPubKey(script, library_name).address
        assert ours is not None
        if not ours == theirs == others:
            found.append(f"{place}: {kind} on {name}: {ours} {theirs} {others}")
        if any(one != script for one in _readings(ours, name)):
            found.append(f"{place}: {ours} is read as {_readings(ours, name)}")
        spot = draw.randrange(len(ours))
        other = draw.choice([c for c in "023456789acdefghjklmnpqrstuvwxyz" if c != ours[spot]])
        wrong = ours[:spot] + other + ours[spot + 1 :]
        if any(one is not None for one in _readings(wrong, name)):
            found.append(f"{place}: {wrong} is read as {_readings(wrong, name)}")
    return found


@cache
def _chain_of(purpose: int) -> tuple[BitcoinChain, LocalSigner]:
    chain = open_chain(params=replace(PARAMS, purpose=purpose, batch_max=20))
    return chain, LocalSigner(Secret(SEED), chain.traits)


def _destination(draw: Random) -> str:
    key = PrivateKey(draw.randbytes(32)).public_key.format()
    address = address_of_script(KIND[draw.choice(sorted(KIND))][0](key), NETWORKS["regtest"])
    assert address is not None
    return address


def _intent(draw: Random, source: str, held: int) -> SpendIntent:
    """Draw a payment, a batch, or a cancellation of up to nine tenths of what is held."""
    amounts = [draw.randint(1_000, held // 12) for _ in range(draw.randint(1, 10))]
    kind = draw.choice([SpendKind.WITHDRAWAL, SpendKind.BATCH, SpendKind.CANCELLATION])
    if kind is SpendKind.CANCELLATION:
        return intent_of(source, 0, kind=kind, source=source, fee_max=COIN)
    if kind is SpendKind.WITHDRAWAL:
        return intent_of(_destination(draw), amounts[0], source=source, fee_max=COIN)
    items = tuple(SpendItem(str(n), _destination(draw), one) for n, one in enumerate(amounts))
    return intent_of(source, sum(amounts), kind=kind, items=items, source=source, fee_max=COIN)


def transaction_disagreements(count: int, number: int) -> list[str]:
    """Return where two programs differ about a random transaction that we build and sign."""
    found = []
    for place in range(count):
        draw = Random(f"transactions/{number}/{place}")
        found += [f"{place}: {what}" for what in _about_one(draw)]
    return found


def _about_one(draw: Random) -> Iterator[str]:
    purpose = draw.choice(sorted(KINDS))
    chain, signer = _chain_of(purpose)
    keys = [KeyRef("hot", draw.randrange(50)) for _ in range(draw.randint(1, 6))]
    coins = [_coin(draw, KINDS[purpose].script_of_key(signer.public_key(key))) for key in keys]
    source = chain.address_of(signer.public_key(keys[0]))
    intent = _intent(draw, source, sum(coin.amount for coin in coins))
    params = replace(PARAMS, purpose=purpose, batch_max=20)
    unsigned = build(intent, params, coins=coins, rate=draw.randint(1, 200))
    decoded = chain.decode(unsigned.payload, sender=source)
    theirs = bdk.Psbt(base64.b64encode(unsigned.payload).decode())
    if not theirs.fee() == decoded.fee_max == unsigned.fee_max:
        yield f"the fee is {theirs.fee()}, {decoded.fee_max}, {unsigned.fee_max}"
    pairs = zip(keys, decoded.inputs, strict=True)
    signed = chain.assemble(unsigned, b"".join(signer.sign(k, one.digest) for k, one in pairs))
    raw = signed.raw
    own, bdks, others = parse_tx(raw), bdk.Transaction(raw), library.Tx.parse(raw)
    yield from _compared("id", signed.tx_id, _id_of(bdks), others.id.hex())
    yield from _compared("weight", own.weight, bdks.weight(), others.weight)
    yield from _compared("outputs", _outputs(own), _outputs_of_bdk(bdks), _outputs_of(others))
    yield from _compared("inputs", _inputs(own), _inputs_of_bdk(bdks), _inputs_of(others))
    spent = read_spend(unsigned.payload, KINDS[purpose]).coins
    prevouts = [LibraryTxOut(coin.amount, ScriptPubKey(coin.script)) for coin in spent]
    for index, (coin, read) in enumerate(zip(spent, decoded.inputs, strict=True)):
        if purpose == 86:
            digest = sig_hash.taproot(others, index, prevouts, 0, 0, b"", b"")
        else:
            code = legacy_script_of_hash(coin.script[2:])
            digest = sig_hash.segwit_v0(code, others, index, 1, coin.amount)
        if digest != read.digest:
            yield f"input {index} is signed over {read.digest.hex()} and {digest.hex()}"


def _coin(draw: Random, script: bytes) -> Coin:
    before = TxIn(OutPoint(sha256_twice(draw.randbytes(8)), draw.randrange(5)), 0xFFFFFFFF)
    outputs = tuple(TxOut(draw.randint(100_000, COIN), script) for _ in range(draw.randint(1, 3)))
    tx = Tx(2, (before,), outputs, draw.randrange(100))
    index = draw.randrange(len(outputs))
    return Coin(tx.tx_id, index, outputs[index].amount, tx.serialise())


def _compared(what: str, ours: object, theirs: object, others: object) -> Iterator[str]:
    if not ours == theirs == others:
        yield f"{what}: {ours} {theirs} {others}"


def _id_of(tx: bdk.Transaction) -> str:
    return bytes(tx.compute_txid().serialize())[::-1].hex()


def _outputs(tx: Tx) -> list[tuple[int, bytes]]:
    return [(one.amount, one.script) for one in tx.outputs]


def _outputs_of_bdk(tx: bdk.Transaction) -> list[tuple[int, bytes]]:
    return [(one.value.to_sat(), one.script_pubkey.to_bytes()) for one in tx.output()]


def _outputs_of(tx: library.Tx) -> list[tuple[int, bytes]]:
    return [(one.value, one.script_pub_key.script) for one in tx.vout]


def _inputs(tx: Tx) -> list[tuple[str, int, tuple[bytes, ...]]]:
    parts = zip(tx.inputs, tx.witnesses, strict=True)
    return [(one.outpoint.text, one.sequence, witness) for one, witness in parts]


def _inputs_of_bdk(tx: bdk.Transaction) -> list[tuple[str, int, tuple[bytes, ...]]]:
    return [
        (
            f"{bytes(one.previous_output.txid.serialize())[::-1].hex()}:{one.previous_output.vout}",
            one.sequence,
            tuple(map(bytes, one.witness)),
        )
        for one in tx.input()
    ]


def _inputs_of(tx: library.Tx) -> list[tuple[str, int, tuple[bytes, ...]]]:
    return [
        (
            f"{one.prev_out.tx_id.hex()}:{one.prev_out.vout}",
            one.sequence,
            tuple(one.script_witness.stack),
        )
        for one in tx.vin
    ]
