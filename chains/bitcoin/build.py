"""The builder: from an intent and chosen coins to the payload that the decoder judges.

A library writes the transaction (bdk, through a wallet that owns nothing and only knows the coins
it is handed) and reads the addresses a second time; own code says what is to be paid. With the
decoder it shares neither reader nor writer, nor the arithmetic of sizes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import cast

import bdkpython as bdk

from chains import base
from chains.base import NATIVE, SpendIntent, SpendKind, UnsignedTx, check_batch
from chains.bitcoin.address import script_of
from chains.bitcoin.params import BitcoinParams
from chains.bitcoin.psbt import PSBT_BYTES_MAX
from chains.bitcoin.select import USUAL_RATE
from chains.bitcoin.sizes import dust_limit, input_weight, virtual_size
from core.errors import Corrupt, Reason, Refused
from core.money import require_int

SEQUENCE = 0xFFFFFFFD
"""Every input says that the transaction may be replaced. Source: BIP-125."""
VERSION = 2

_NETWORKS = {
    "main": bdk.Network.BITCOIN,
    "testnet4": bdk.Network.TESTNET4,
    "signet": bdk.Network.SIGNET,
    "regtest": bdk.Network.REGTEST,
}
_UNLOCKED = cast("bdk.LockTime", bdk.LockTime.BLOCKS(0))
_NOBODY = "0250929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0"
"""BIP-341's point whose key nobody knows: the library wants a wallet, and gets an empty one."""


@dataclass(frozen=True, slots=True)
class Coin:
    """A coin that was chosen to be spent, with the whole transaction that made it."""

    tx_id: str
    index: int
    amount: int
    previous: bytes


def proven(coin: base.Coin, previous_of: Callable[[str], bytes]) -> Coin:
    """Return a coin with the transaction that it comes from. Refused: malformed (its name)."""
    tx_id, _, index = coin.outpoint.partition(":")
    if not (index.isascii() and index.isdigit()) or len(tx_id) != 64:
        raise Refused(Reason.MALFORMED, "a coin is named `transaction id:index`")
    return Coin(tx_id, int(index), coin.amount, previous_of(tx_id))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a transaction pays: outputs in their order, and where the rest of the coins goes."""

    outputs: tuple[tuple[str, int], ...]
    change: str | None
    """None: there is no change, what is left is the fee."""

    @property
    def amount(self) -> int:
        """Return what is paid without change."""
        return sum(amount for _, amount in self.outputs)


def plan_of(intent: SpendIntent, params: BitcoinParams) -> Plan:
    """Return what carries out an intent. A sweep has no change: its amount and fee use up all.

    Refused: intent_mismatch, zero_amount, same_account, too_large, invalid_address, wrong_network,
    forbidden_destination, below_minimum.
    """
    if (intent.chain, intent.network) != (params.chain, params.network):
        raise Refused(Reason.INTENT_MISMATCH, "the intent names another network")
    if intent.asset_key != NATIVE:
        raise Refused(Reason.INTENT_MISMATCH, "there is one asset on this chain")
    if intent.kind in (SpendKind.DELEGATION, SpendKind.OWNERS):
        raise Refused(Reason.INTENT_MISMATCH, "no account here has code or owners to change")
    if intent.kind is SpendKind.CANCELLATION:
        if intent.amount or intent.destination != intent.source:
            raise Refused(Reason.INTENT_MISMATCH, "a cancellation pays nothing but to its sender")
        outputs: tuple[tuple[str, int], ...] = ()
    elif intent.kind is SpendKind.BATCH:
        check_batch(intent)
        if len(intent.items) > params.batch_max:
            raise Refused(Reason.TOO_LARGE, f"a batch has at most {params.batch_max} payments")
        outputs = tuple((one.destination, one.amount) for one in intent.items)
    else:
        if require_int(intent.amount) == 0:
            raise Refused(Reason.ZERO_AMOUNT, "nothing would be moved")
        outputs = ((intent.destination, intent.amount),)
    for address, amount in outputs:
        if amount < dust_limit(script_of(address, params.place)):
            raise Refused(Reason.BELOW_MINIMUM, f"{amount} is dust")
    script_of(intent.source, params.place)
    return Plan(outputs, None if intent.kind is SpendKind.SWEEP else intent.source)


def change_least(script: bytes) -> int:
    """Return the least change that is made: no dust, and worth its spending at a usual rate."""
    return max(dust_limit(script), input_weight(script) * USUAL_RATE // 4 + 1)


def size_of(
    plan: Plan, spent: Sequence[bytes], params: BitcoinParams, *, with_change: bool = True
) -> int:
    """Return the virtual bytes of a plan over coins of these scripts, at most."""
    to = [script_of(address, params.place) for address, _ in plan.outputs]
    if plan.change is not None and (with_change or not to):
        to.append(script_of(plan.change, params.place))
    return virtual_size(spent, to)


def build(
    intent: SpendIntent, params: BitcoinParams, *, coins: Sequence[Coin], rate: int
) -> UnsignedTx:
    """Build the one transaction of an intent; its inputs stand in the order of the coins.

    What the coins hold above amount and fee goes back to the intent's source, after the outputs;
    where it would not be worth its spending, or in a sweep, it is fee. A cancellation pays
    everything back.

    Refused: as plan_of, and exceeds_available, fee_above_cap, too_large.
    """
    plan = plan_of(intent, params)
    if not coins or len({(coin.tx_id, coin.index) for coin in coins}) != len(coins):
        raise Refused(Reason.EXCEEDS_AVAILABLE, "coins are chosen, each of them once")
    made = [_Made(coin) for coin in coins]
    held = sum(require_int(coin.amount) for coin in coins)
    fee, size = _fee(plan, params, [one.script for one in made], held=held, rate=rate)
    if fee > intent.fee_max or fee > params.fee_cap * size:
        raise Refused(Reason.FEE_ABOVE_CAP, f"the transaction costs {fee}")
    psbt = _written(plan, params, made, fee=fee)
    payload = base64.b64decode(psbt.serialize())
    if len(payload) > PSBT_BYTES_MAX:
        raise Refused(Reason.TOO_LARGE, "the coins come from too large transactions; choose fewer")
    raw = psbt.extract_tx_unchecked_fee_rate().serialize()
    digest = hashlib.sha256(hashlib.sha256(raw).digest()).digest()
    return UnsignedTx(params.chain, intent.source, 0, payload, digest, fee)


class _Made:
    """A coin as the library reads the transaction that made it. Refused: unproven_amount."""

    def __init__(self, coin: Coin) -> None:
        self.coin = coin
        try:
            self.previous = bdk.Transaction(coin.previous)
            output = self.previous.output()[coin.index]
        except (bdk.TransactionError, IndexError) as error:
            raise Refused(Reason.UNPROVEN_AMOUNT, f"{coin.tx_id} makes no such coin") from error
        is_told = self.previous.compute_txid().serialize()[::-1].hex() == coin.tx_id
        if not is_told or output.value.to_sat() != coin.amount:
            raise Refused(Reason.UNPROVEN_AMOUNT, f"{coin.tx_id}:{coin.index} is another coin")
        self.script = output.script_pubkey.to_bytes()


def _fee(
    plan: Plan, params: BitcoinParams, spent: Sequence[bytes], *, held: int, rate: int
) -> tuple[int, int]:
    """Return what is left to the network, and the size. Refused: exceeds_available."""
    rest = held - plan.amount
    if plan.change is not None:
        size = size_of(plan, spent, params)
        fee = size * require_int(rate, "rate")
        if rest - fee >= change_least(script_of(plan.change, params.place)):
            return fee, size
    if not plan.outputs:
        raise Refused(Reason.EXCEEDS_AVAILABLE, f"the coins hold {held}: nothing would be left")
    size = size_of(plan, spent, params, with_change=False)
    if rest < size * rate:
        raise Refused(Reason.EXCEEDS_AVAILABLE, f"{held} in coins, the fee is {size * rate}")
    return rest, size


def _written(plan: Plan, params: BitcoinParams, made: Sequence[_Made], *, fee: int) -> bdk.Psbt:
    builder = bdk.TxBuilder().version(VERSION).nlocktime(_UNLOCKED)  # type: ignore[no-untyped-call]
    builder = builder.ordering(bdk.TxOrdering.UNTOUCHED).manually_selected_only()
    for one in made:
        outpoint = bdk.OutPoint(txid=bdk.Txid.from_string(one.coin.tx_id), vout=one.coin.index)
        weight = input_weight(one.script) - 4 * (32 + 4 + 1 + 4)
        builder = builder.add_foreign_utxo_with_sequence(
            outpoint, _told(one.previous), weight, SEQUENCE
        )
    builder = builder.set_recipients(
        [
            bdk.ScriptAmount(script=_paid_to(address, params), amount=bdk.Amount.from_sat(amount))
            for address, amount in plan.outputs
        ]
    )
    # A rest that nobody planned must never go to the wallet's own key, which is nobody's.
    rest = plan.change or plan.outputs[0][0]
    builder = builder.drain_to(_paid_to(rest, params))
    try:
        return builder.fee_absolute(bdk.Amount.from_sat(fee)).finish(_empty_wallet(params))
    except bdk.CreateTxError as error:
        raise Refused(Reason.EXCEEDS_AVAILABLE, f"not built: {error!r}"[:200]) from error


def _told(previous: bdk.Transaction) -> bdk.Input:
    """Return what is told of an input: the transaction it comes from, nothing else."""
    return bdk.Input(
        non_witness_utxo=previous,
        witness_utxo=None,
        partial_sigs={},
        sighash_type=None,
        redeem_script=None,
        witness_script=None,
        bip32_derivation={},
        final_script_sig=None,
        final_script_witness=None,
        ripemd160_preimages={},
        sha256_preimages={},
        hash160_preimages={},
        hash256_preimages={},
        tap_key_sig=None,
        tap_script_sigs={},
        tap_scripts={},
        tap_key_origins={},
        tap_internal_key=None,
        tap_merkle_root=None,
        proprietary={},
        unknown={},
    )


def _paid_to(address: str, params: BitcoinParams) -> bdk.Script:
    """Return an address's script as the library and own code read it. Corrupt: they differ."""
    script = script_of(address, params.place)
    theirs = bdk.Address(address, _NETWORKS[params.network_name]).script_pubkey()
    if theirs.to_bytes() != script:
        raise Corrupt(f"two readers differ about {address}")
    return theirs


@cache
def _wallet_of(network_name: str) -> bdk.Wallet:
    kind = bdk.NetworkKind.MAIN if network_name == "main" else bdk.NetworkKind.TEST
    descriptor = bdk.Descriptor(f"wpkh({_NOBODY})", kind)
    network = _NETWORKS[network_name]
    return bdk.Wallet.create_single(descriptor, network, bdk.Persister.new_in_memory())


def _empty_wallet(params: BitcoinParams) -> bdk.Wallet:
    return _wallet_of(params.network_name)
