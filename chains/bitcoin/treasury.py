"""The judge of what the owners of a treasury are asked to sign: own code, whoever built it.

A treasury pays from one address, index 0 of its descriptor, and change goes back there. Everything
a payload would do is explained by the intent: each coin is the treasury's and its amount proven by
the whole transaction it comes from (also for taproot, whose signatures cover amounts), each output
is the payment or the one change, and what the payload tells devices about keys and scripts is what
the descriptor says.

Sources: BIP-174, BIP-371 (fields).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from chains.base import NATIVE, SpendIntent, SpendKind
from chains.bitcoin.address import address_of_script, is_unspendable
from chains.bitcoin.decode import LOCK_IS_TIME, SEQUENCE, VERSION, WEIGHT_MAX, dust_limit
from chains.bitcoin.descriptor import Descriptor, Form
from chains.bitcoin.params import SUPPLY_MAX, BitcoinParams
from chains.bitcoin.psbt_fields import (
    IN_DERIVATION,
    IN_INNER_KEY,
    IN_LEAF,
    IN_LEAF_DERIVATION,
    IN_LEAF_SIGNATURE,
    IN_OUTPUT,
    IN_PREVIOUS_TX,
    IN_ROOT,
    IN_SCOPE,
    IN_SCRIPT,
    IN_SIGNATURE,
    OUT_DERIVATION,
    OUT_INNER_KEY,
    OUT_LEAF_DERIVATION,
    OUT_SCRIPT,
    OUT_TREE,
    Fields,
    check_kinds,
    of_kind,
    one_of_kind,
    read_parts,
)
from chains.bitcoin.sighash import ALL, DEFAULT, WitnessV0
from chains.bitcoin.tapscript import (
    LEAF_VERSION,
    NOBODYS_KEY,
    control_block,
    leaf_hash,
    script_digest,
)
from chains.bitcoin.tx import OutPoint, Tx, TxOut, parse_output, parse_tx, undecodable, write_blob
from core.errors import Reason, Refused

INDEX = 0
"""The one address of a treasury."""
SIGNATURE_BYTES_MAX = 72
"""Low s: 71 bytes at most, and the scope. A taproot signature has 65."""

_INPUT_KINDS = {
    Form.SCRIPT_HASH: frozenset(
        {IN_PREVIOUS_TX, IN_OUTPUT, IN_SCOPE, IN_SCRIPT, IN_DERIVATION, IN_SIGNATURE}
    ),
    Form.TAPROOT_SCRIPT: frozenset(
        {IN_PREVIOUS_TX, IN_OUTPUT, IN_SCOPE, IN_LEAF, IN_LEAF_DERIVATION, IN_INNER_KEY, IN_ROOT,
         IN_LEAF_SIGNATURE}
    ),
}  # fmt: skip
_OUTPUT_KINDS = {
    Form.SCRIPT_HASH: frozenset({OUT_SCRIPT, OUT_DERIVATION}),
    Form.TAPROOT_SCRIPT: frozenset({OUT_INNER_KEY, OUT_TREE, OUT_LEAF_DERIVATION}),
}


@dataclass(frozen=True)
class Treasury:
    """A wallet of several owners on one network."""

    descriptor: Descriptor
    params: BitcoinParams

    def __post_init__(self) -> None:
        if not self.descriptor.has_owners:
            raise Refused(Reason.MALFORMED, "one key spends from this wallet")

    @cached_property
    def keys(self) -> tuple[bytes, ...]:
        """Return the owners' compressed keys, in the script's order."""
        return self.descriptor.public_keys(INDEX)

    @cached_property
    def script(self) -> bytes:
        """Return what owners satisfy."""
        return self.descriptor.script(INDEX)

    @cached_property
    def output_script(self) -> bytes:
        """Return what pays to the treasury."""
        return self.descriptor.output_script(INDEX)

    @cached_property
    def address(self) -> str:
        """Return the treasury's address."""
        return self.descriptor.address(INDEX, self.params.place)

    @property
    def is_taproot(self) -> bool:
        """Tell whether owners sign as BIP-342 says."""
        return self.descriptor.form is Form.TAPROOT_SCRIPT

    @cached_property
    def proof(self) -> bytes:
        """Return the control block. Only of a taproot treasury."""
        return control_block(self.script)

    @property
    def witness_weight(self) -> int:
        """Return the most that one input's witness weighs."""
        enough, owners = self.descriptor.threshold, len(self.keys)
        return witness_weight(self.script, enough, owners, is_taproot=self.is_taproot)

    @cached_property
    def origins(self) -> Mapping[bytes, bytes]:
        """Return how payloads state where each owner's key comes from: fingerprint and steps."""
        return {
            key.at(INDEX): key.fingerprint
            + b"".join(step.to_bytes(4, "little") for step in key.path_at(INDEX))
            for key in self.descriptor.keys
        }


@dataclass(frozen=True)
class Judged:
    """A payload whose every effect is explained, and what its owners sign."""

    treasury: Treasury
    tx: Tx
    coins: tuple[TxOut, ...]

    @property
    def fee(self) -> int:
        """Return what the network gets."""
        paid = sum(output.amount for output in self.tx.outputs)
        return sum(coin.amount for coin in self.coins) - paid

    @property
    def size(self) -> int:
        """Return the virtual bytes once signed, at most. Source: BIP-141."""
        return signed_size(self.tx, self.treasury.witness_weight)

    def digest(self, index: int, *, scope: int) -> bytes:
        """Return the 32 bytes that an owner signs for an input.

        Refused: signature_scope, anything that does not cover every input and every output.
        """
        if scope not in allowed_scopes(is_taproot=self.treasury.is_taproot):
            raise Refused(Reason.SIGNATURE_SCOPE, f"a signature of scope {scope:#x}")
        script = self.treasury.script
        if self.treasury.is_taproot:
            return script_digest(self.tx, self.coins, index, script=script, scope=scope)
        return self._version_0.digest(index, script, amount=self.coins[index].amount)

    @cached_property
    def _version_0(self) -> WitnessV0:
        return WitnessV0(self.tx)


def allowed_scopes(*, is_taproot: bool) -> tuple[int, ...]:
    """Return the scopes that cover every input and every output."""
    return (DEFAULT, ALL) if is_taproot else (ALL,)


def witness_weight(script: bytes, threshold: int, owners: int, *, is_taproot: bool) -> int:
    """Return the most that the witness of one input weighs."""
    if is_taproot:
        proof = 1 + 33
        return 1 + threshold * 66 + (owners - threshold) + len(write_blob(script)) + proof
    return 1 + 1 + threshold * (1 + SIGNATURE_BYTES_MAX) + len(write_blob(script))


def signed_size(tx: Tx, each_witness: int) -> int:
    """Return the virtual bytes once signed, at most. Source: BIP-141."""
    return -(-(4 * len(tx.stripped) + 2 + each_witness * len(tx.inputs)) // 4)


def judge(
    payload: bytes, intent: SpendIntent, treasury: Treasury, *, height: Callable[[], int]
) -> Judged:
    """Return a payload that the intent explains completely.

    height is asked only for a transaction that is locked to one.

    Refused: too_large, unknown_version, undecodable, amount_out_of_range, intent_mismatch (another
    wallet's or network's intent, or not what it says), zero_amount, same_account,
    forbidden_destination, foreign_input, unproven_amount, signature_scope, below_minimum (dust),
    extra_effect, foreign_change, fee_above_cap.
    """
    _check_intent(intent, treasury)
    judged = read_judged(payload, treasury)
    check_policy(judged.tx, height)
    _check_outputs(judged.tx, intent, treasury)
    cap = min(intent.fee_max, treasury.params.fee_cap * judged.size)
    if judged.fee > cap:
        raise Refused(Reason.FEE_ABOVE_CAP, f"{judged.fee} of at most {cap}")
    return judged


def read_judged(payload: bytes, treasury: Treasury) -> Judged:
    """Return a payload of which only the coins and what it tells devices are judged yet."""
    parts = read_parts(payload)
    outpoints = [one.outpoint for one in parts.tx.inputs]
    if len(set(outpoints)) != len(outpoints):
        raise undecodable("a coin is spent twice")
    coins = tuple(
        proven(outpoint, fields, treasury.output_script)
        for outpoint, fields in zip(outpoints, parts.inputs, strict=True)
    )
    for fields in parts.inputs:
        check_input(fields, treasury)
    for output, fields in zip(parts.tx.outputs, parts.outputs, strict=True):
        check_output(fields, treasury, is_own=output.script == treasury.output_script)
    judged = Judged(treasury, parts.tx, coins)
    if sum(coin.amount for coin in coins) > SUPPLY_MAX:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, "the coins exceed all that can exist")
    if judged.fee < 0:
        raise Refused(Reason.UNPROVEN_AMOUNT, "more is paid than the coins are proven to hold")
    if judged.size * 4 > WEIGHT_MAX:
        raise Refused(Reason.TOO_LARGE, "heavier than nodes relay")
    return judged


def proven(outpoint: OutPoint, fields: Fields, output_script: bytes) -> TxOut:
    """Return the coin of an input. Refused: unproven_amount, foreign_input, undecodable."""
    previous = one_of_kind(fields, IN_PREVIOUS_TX)
    if previous is None:
        raise _unproven(outpoint, "the transaction it comes from is missing")
    source = parse_tx(previous)
    if source.tx_hash != outpoint.tx_hash:
        raise _unproven(outpoint, "it comes from another transaction")
    if outpoint.index >= len(source.outputs):
        raise _unproven(outpoint, "its transaction has no such output")
    coin = source.outputs[outpoint.index]
    told = one_of_kind(fields, IN_OUTPUT)
    if told is not None and parse_output(told) != coin:
        raise _unproven(outpoint, "it is not what it is claimed to be")
    if coin.script != output_script:
        raise Refused(Reason.FOREIGN_INPUT, f"{outpoint.text} is no coin of this wallet")
    return coin


def check_input(fields: Fields, treasury: Treasury) -> None:
    """Return when an input tells devices what the descriptor says.

    Refused: undecodable (a field of another kind of wallet), signature_scope, foreign_input.
    """
    check_kinds(fields, _INPUT_KINDS[treasury.descriptor.form])
    scope = one_of_kind(fields, IN_SCOPE)
    allowed = allowed_scopes(is_taproot=treasury.is_taproot)
    if scope is not None and (len(scope) != 4 or int.from_bytes(scope, "little") not in allowed):
        raise Refused(Reason.SIGNATURE_SCOPE, f"a signature of scope {scope[::-1].hex()}")
    script = treasury.script
    leaf = leaf_hash(script) if treasury.is_taproot else b""
    told = {
        (IN_SCRIPT, script), (IN_INNER_KEY, NOBODYS_KEY), (IN_ROOT, leaf),
    }  # fmt: skip
    for kind in (IN_SCRIPT, IN_INNER_KEY, IN_ROOT):
        value = one_of_kind(fields, kind)
        if value is not None and (kind, value) not in told:
            raise Refused(Reason.FOREIGN_INPUT, "a coin is told to be another wallet's")
    for proof, value in of_kind(fields, IN_LEAF):
        if (proof, value) != (treasury.proof, script + bytes((LEAF_VERSION,))):
            raise Refused(Reason.FOREIGN_INPUT, "a script that is not the treasury's is told")
    if not _are_origins(fields, treasury, IN_DERIVATION, IN_LEAF_DERIVATION):
        raise Refused(Reason.FOREIGN_INPUT, "a key that is no owner's, or with another origin")


def check_output(fields: Fields, treasury: Treasury, *, is_own: bool) -> None:
    """Return when nothing is told of an output but, of change, what the descriptor says.

    Refused: undecodable, foreign_change.
    """
    check_kinds(fields, _OUTPUT_KINDS[treasury.descriptor.form])
    if fields and not is_own:
        raise Refused(Reason.FOREIGN_CHANGE, "an output to somebody else is told to be change")
    script = treasury.script
    tree = b"\x00" + bytes((LEAF_VERSION,)) + write_blob(script)
    for kind, right in ((OUT_SCRIPT, script), (OUT_INNER_KEY, NOBODYS_KEY), (OUT_TREE, tree)):
        if one_of_kind(fields, kind) not in (None, right):
            raise Refused(Reason.FOREIGN_CHANGE, "change is told to be another wallet's")
    if not _are_origins(fields, treasury, OUT_DERIVATION, OUT_LEAF_DERIVATION):
        raise Refused(Reason.FOREIGN_CHANGE, "a key that is no owner's, or with another origin")


def _are_origins(fields: Fields, treasury: Treasury, plain: int, leaf: int) -> bool:
    if not treasury.is_taproot:
        return all(treasury.origins.get(key) == value for key, value in of_kind(fields, plain))
    below = b"\x01" + leaf_hash(treasury.script)
    right = {key[1:]: below + value for key, value in treasury.origins.items()}
    for key, value in of_kind(fields, leaf):
        # Nobody's key is listed too: under no leaf, with a fingerprint and no steps.
        if key == NOBODYS_KEY and len(value) == 5 and value[0] == 0:
            continue
        if right.get(key) != value:
            return False
    return True


def _check_intent(intent: SpendIntent, treasury: Treasury) -> None:
    params = treasury.params
    if (intent.chain, intent.network, intent.asset_key, intent.source) != (
        params.chain, params.network, NATIVE, treasury.address,
    ):  # fmt: skip
        raise Refused(Reason.INTENT_MISMATCH, "the intent is of another wallet or network")
    if intent.kind in (SpendKind.BATCH, SpendKind.OWNERS, SpendKind.DELEGATION):
        raise Refused(Reason.INTENT_MISMATCH, f"a treasury makes no {intent.kind} here")
    if intent.kind is SpendKind.CANCELLATION:
        if intent.amount or intent.destination != intent.source:
            raise Refused(Reason.INTENT_MISMATCH, "a cancellation pays nothing but to its sender")
        return
    if intent.amount <= 0:
        raise Refused(Reason.ZERO_AMOUNT, intent.spend_id)
    if intent.destination == intent.source:
        raise Refused(Reason.SAME_ACCOUNT, "a spend to its own sender")


def check_policy(tx: Tx, height: Callable[[], int]) -> None:
    """Return when version, locks and sequences are what is built. Refused: undecodable."""
    if tx.version != VERSION:
        raise undecodable(f"version {tx.version} is never built")
    if any(one.sequence != SEQUENCE for one in tx.inputs):
        raise undecodable("every input says that the transaction may be replaced, and no more")
    if tx.locktime >= LOCK_IS_TIME:
        raise undecodable("locked to a time")
    if tx.locktime and tx.locktime > height():
        raise undecodable(f"locked until height {tx.locktime}")


def _check_outputs(tx: Tx, intent: SpendIntent, treasury: Treasury) -> None:
    rest: list[tuple[str, int]] = []
    for output in tx.outputs:
        address = address_of_script(output.script, treasury.params.place)
        if address is None:
            raise Refused(Reason.EXTRA_EFFECT, "an output pays to no address")
        if is_unspendable(output.script):
            raise Refused(Reason.FORBIDDEN_DESTINATION, address)
        if output.amount < dust_limit(output.script):
            raise Refused(Reason.BELOW_MINIMUM, f"{output.amount} is dust")
        rest.append((address, output.amount))
    if intent.kind is not SpendKind.CANCELLATION:
        wanted = (intent.destination, intent.amount)
        if wanted not in rest:
            raise Refused(Reason.INTENT_MISMATCH, "not what the intent says")
        rest.remove(wanted)
    if len(rest) > 1:
        raise Refused(Reason.EXTRA_EFFECT, "more is paid than the intent says")
    for address, _ in rest:
        if address != treasury.address:
            raise Refused(Reason.FOREIGN_CHANGE, f"{address} is not where change goes")


def _unproven(outpoint: OutPoint, detail: str) -> Refused:
    return Refused(Reason.UNPROVEN_AMOUNT, f"{outpoint.text}: {detail}")
