"""The builder of what owners sign: bdkpython. What it builds, chains.bitcoin.treasury judges.

Everything is given: the coins, the rate, the way back for what is left (the treasury's own
address). bdk knows the descriptor and tells devices scripts, keys and their origins.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import bdkpython as bdk

from chains.base import SpendIntent, SpendKind, UnsignedTx
from chains.bitcoin.decode import SEQUENCE, VERSION
from chains.bitcoin.psbt import PSBT_BYTES_MAX
from chains.bitcoin.psbt_fields import IN_PREVIOUS_TX, Parts, read_parts
from chains.bitcoin.treasury import INDEX, Treasury
from core.errors import Corrupt, Reason, Refused

COINS_MAX = 200
"""Coins in one payload: an owner's device shows and signs each."""

_NETWORKS = {
    "main": (bdk.Network.BITCOIN, bdk.NetworkKind.MAIN),
    "testnet4": (bdk.Network.TESTNET4, bdk.NetworkKind.TEST),
    "signet": (bdk.Network.SIGNET, bdk.NetworkKind.TEST),
    "regtest": (bdk.Network.REGTEST, bdk.NetworkKind.TEST),
}

_UNLOCKED = cast("bdk.LockTime", bdk.LockTime.BLOCKS(0))
_REASONS = {
    "InsufficientFunds": Reason.EXCEEDS_AVAILABLE,
    "CoinSelection": Reason.EXCEEDS_AVAILABLE,
    "OutputBelowDustLimit": Reason.BELOW_MINIMUM,
    "UnknownUtxo": Reason.FOREIGN_INPUT,
}


@dataclass(frozen=True, slots=True)
class Funding:
    """A coin that is spent, and the whole transaction that made it."""

    tx_id: str
    index: int
    previous: bytes


def build(
    intent: SpendIntent, treasury: Treasury, *, coins: Sequence[Funding], rate: int
) -> UnsignedTx:
    """Build the one payload that carries out an intent with all of these coins and no other.

    rate: native units per virtual byte. A cancellation pays everything back to the treasury.

    Refused: exceeds_available (none, one twice, or they do not pay for it), below_minimum (dust),
    too_large, invalid_address. What else may be wrong, the judge says.
    """
    if not coins or len({(one.tx_id, one.index) for one in coins}) != len(coins):
        raise Refused(Reason.EXCEEDS_AVAILABLE, "coins are chosen, each of them once")
    if len(coins) > COINS_MAX:
        raise Refused(Reason.TOO_LARGE, f"at most {COINS_MAX} coins for one payload")
    wallet, network = _wallet_of(treasury, coins)
    own = bdk.Address(treasury.address, network).script_pubkey()
    builder = (
        bdk.TxBuilder()  # type: ignore[no-untyped-call]
        .version(VERSION)
        .nlocktime(_UNLOCKED)
        .set_exact_sequence(SEQUENCE)
        .manually_selected_only()
        .add_utxos([_outpoint(one) for one in coins])
        .fee_rate(bdk.FeeRate.from_sat_per_vb(rate))
        .drain_to(own)
        # The other order is drawn by chance: the same coins shall give the same bytes.
        .ordering(bdk.TxOrdering.UNTOUCHED)
    )
    if intent.kind is SpendKind.CANCELLATION:
        builder = builder.drain_wallet()
    else:
        try:
            paid = bdk.Address(intent.destination, network).script_pubkey()
        except bdk.AddressParseError as error:
            raise Refused(Reason.INVALID_ADDRESS, intent.destination) from error
        builder = builder.add_recipient(paid, bdk.Amount.from_sat(intent.amount))
    made = _finished(builder, wallet)
    parts = read_parts(base64.b64decode(made.serialize()))
    payload = _with_previous(parts, coins).serialise()
    if len(payload) > PSBT_BYTES_MAX:
        raise Refused(Reason.TOO_LARGE, "the coins come from too large transactions; choose fewer")
    return UnsignedTx(
        treasury.params.chain, intent.source, 0, payload, parts.tx.tx_hash, made.fee()
    )


def _wallet_of(treasury: Treasury, coins: Sequence[Funding]) -> tuple[bdk.Wallet, bdk.Network]:
    """Return a wallet in memory that knows where the coins come from, and nothing else."""
    network, kind = _NETWORKS[treasury.params.network_name]
    descriptor = bdk.Descriptor(treasury.descriptor.text, kind)
    wallet = bdk.Wallet.create_single(descriptor, network, bdk.Persister.new_in_memory())
    wallet.reveal_addresses_to(bdk.KeychainKind.EXTERNAL, INDEX)
    sources = {one.tx_id: one.previous for one in coins}
    try:
        known = [
            bdk.UnconfirmedTx(tx=bdk.Transaction(raw), last_seen=1) for raw in sources.values()
        ]
    except bdk.TransactionError as error:
        raise Refused(Reason.UNDECODABLE, "a coin comes from no transaction") from error
    wallet.apply_unconfirmed_txs(known)
    return wallet, network


def _finished(builder: bdk.TxBuilder, wallet: bdk.Wallet) -> bdk.Psbt:
    try:
        return builder.finish(wallet)
    except bdk.CreateTxError as error:
        reason = _REASONS.get(type(error).__name__)
        if reason is None:
            raise Corrupt(f"the builder could not build what it was given: {error!r}") from error
        raise Refused(reason, f"not built: {error!r}"[:200]) from error


def _with_previous(parts: Parts, coins: Sequence[Funding]) -> Parts:
    """Return the payload with every coin's whole transaction; bdk leaves it out for taproot."""
    sources = {
        bytes.fromhex(one.tx_id)[::-1] + struct.pack("<I", one.index): one.previous for one in coins
    }
    inputs = tuple(
        dict(sorted({**fields, (IN_PREVIOUS_TX, b""): sources[one.outpoint.serialise()]}.items()))
        for one, fields in zip(parts.tx.inputs, parts.inputs, strict=True)
    )
    return Parts(parts.tx, inputs, parts.outputs)


def _outpoint(one: Funding) -> bdk.OutPoint:
    return bdk.OutPoint(txid=bdk.Txid.from_string(one.tx_id), vout=one.index)
