"""What owners are asked to sign: all of it is explained by the intent, or nothing is signed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from chains.base import SpendIntent, SpendKind, UnsignedTx
from chains.bitcoin.address import script_of
from chains.bitcoin.descriptor import Descriptor, Form
from chains.bitcoin.params import COIN
from chains.bitcoin.psbt_fields import (
    IN_DERIVATION,
    IN_INNER_KEY,
    IN_LEAF,
    IN_LEAF_DERIVATION,
    IN_OUTPUT,
    IN_PREVIOUS_TX,
    IN_ROOT,
    IN_SCOPE,
    IN_SCRIPT,
    OUT_DERIVATION,
    OUT_INNER_KEY,
    OUT_LEAF_DERIVATION,
    OUT_SCRIPT,
    OUT_TREE,
    Fields,
    Parts,
    read_parts,
)
from chains.bitcoin.treasury import Judged, Treasury, judge
from chains.bitcoin.treasury_build import COINS_MAX, build
from chains.bitcoin.tx import Tx, TxIn, TxOut
from core.errors import Reason, Refused
from tests.support.bitcoin import CHAIN, FEE, LOCAL, STRANGER, funding
from tests.support.owners import RATE, coins_of, judged_of, payment, propose, treasury_of

WSH = treasury_of(Form.SCRIPT_HASH, 2, 3)
TAPROOT = treasury_of(Form.TAPROOT_SCRIPT, 3, 5)
BOTH = pytest.mark.parametrize("treasury", [WSH, TAPROOT], ids=["wsh", "taproot"])
OTHER = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry"
"""A script's hash of BIP-173's examples on the local network: nobody's here."""


@dataclass(frozen=True)
class Case:
    """An honest payload over two coins, to be changed one thing at a time."""

    treasury: Treasury
    source: Tx
    intent: SpendIntent
    unsigned: UnsignedTx

    @property
    def parts(self) -> Parts:
        """Return the payload's maps."""
        return read_parts(self.unsigned.payload)

    def judged(self, parts: Parts | None = None, **changes: object) -> Judged:
        """Return what the judge says of changed parts under a changed intent."""
        intent = replace(self.intent, **changes)  # type: ignore[arg-type]
        payload = (parts or self.parts).serialise()
        return judge(payload, intent, self.treasury, height=lambda: 100)

    def refusal(self, parts: Parts | None = None, **changes: object) -> Reason:
        """Return why changed parts or a changed intent are refused; unchanged they are not."""
        assert self.judged().fee > 0
        with pytest.raises(Refused) as refused:
            self.judged(parts, **changes)
        return refused.value.reason

    def with_tx(self, **changes: object) -> Parts:
        """Return the parts with another transaction."""
        return replace(self.parts, tx=replace(self.parts.tx, **changes))  # type: ignore[arg-type]

    def with_input(self, kind: int, value: bytes | None, rest: bytes = b"") -> Parts:
        """Return the parts with one field of the first input changed or gone."""
        first = _changed(self.parts.inputs[0], kind, rest, value)
        return replace(self.parts, inputs=(first, *self.parts.inputs[1:]))

    def with_outputs(self, *outputs: TxOut) -> Parts:
        """Return the parts with other outputs, of which nothing is told."""
        parts = self.with_tx(outputs=outputs)
        return replace(parts, outputs=tuple({} for _ in outputs))


def case_of(treasury: Treasury) -> Case:
    """Return an honest payload: 3 + 2 in, 4 to a stranger, change."""
    source = funding(treasury.address, 3 * COIN, 2 * COIN)
    intent, unsigned, judged = propose(treasury, coins_of(source, 0, 1), 4 * COIN)
    assert judged.fee == unsigned.fee_max
    return Case(treasury, source, intent, unsigned)


def _changed(fields: Fields, kind: int, rest: bytes, value: bytes | None) -> Fields:
    kept = {key: old for key, old in fields.items() if key != (kind, rest)}
    return kept if value is None else {**kept, (kind, rest): value}


def paid(address: str, amount: int) -> TxOut:
    """Return an output."""
    return TxOut(amount, script_of(address, LOCAL))


@BOTH
def test_the_same_coins_give_the_same_bytes_and_change_goes_back(treasury: Treasury) -> None:
    case, again = case_of(treasury), case_of(treasury)
    assert case.unsigned == again.unsigned
    judged = case.judged()
    assert [output.amount for output in judged.tx.outputs] == [4 * COIN, COIN - judged.fee]
    assert judged.tx.outputs[1].script == treasury.output_script
    assert RATE * judged.size <= judged.fee + 2 * RATE * len(judged.coins)


@BOTH
def test_a_coin_without_the_transaction_it_comes_from_is_refused(treasury: Treasury) -> None:
    case = case_of(treasury)
    assert case.refusal(case.with_input(IN_PREVIOUS_TX, None)) is Reason.UNPROVEN_AMOUNT


@BOTH
def test_a_lied_amount_is_refused(treasury: Treasury) -> None:
    case = case_of(treasury)
    lie = TxOut(2 * COIN, treasury.output_script).serialise()
    assert case.refusal(case.with_input(IN_OUTPUT, lie)) is Reason.UNPROVEN_AMOUNT
    other = funding(treasury.address, 1 * COIN, 2 * COIN, salt=9).serialise()
    assert case.refusal(case.with_input(IN_PREVIOUS_TX, other)) is Reason.UNPROVEN_AMOUNT


@BOTH
def test_the_pair_of_payloads_that_siphons_the_fee_is_refused(treasury: Treasury) -> None:
    # Two requests over coins of 15 and 20 with equal outputs, each with one true amount and one
    # that is next to nothing: joined, the signatures would give 15 to the network.
    source = funding(treasury.address, 15 * COIN, 20 * COIN)
    intent = payment(treasury, 20 * COIN - FEE)
    coins = coins_of(source, 0, 1)
    honest = build(intent, treasury, coins=coins, rate=RATE)
    assert judged_of(honest, intent, treasury).fee < FEE
    outputs = (paid(STRANGER, 20 * COIN - FEE),)
    tx = replace(read_parts(honest.payload).tx, outputs=outputs)
    for number, claimed in ((1, 5 * COIN + 1), (0, 1)):
        parts = read_parts(honest.payload)
        lie = TxOut(claimed, treasury.output_script).serialise()
        told = list(parts.inputs)
        told[number] = _changed(told[number], IN_OUTPUT, b"", lie)
        asked = Parts(tx, tuple(told), ({},)).serialise()
        with pytest.raises(Refused) as refused:
            judge(asked, intent, treasury, height=lambda: 0)
        assert refused.value.reason is Reason.UNPROVEN_AMOUNT
        # The same without the proofs, and with the true amounts, whose fee nobody would pay.
        told[number] = _changed(told[number], IN_PREVIOUS_TX, b"", None)
        with pytest.raises(Refused) as refused:
            judge(Parts(tx, tuple(told), ({},)).serialise(), intent, treasury, height=lambda: 0)
        assert refused.value.reason is Reason.UNPROVEN_AMOUNT
    true = Parts(tx, read_parts(honest.payload).inputs, ({},)).serialise()
    with pytest.raises(Refused) as refused:
        judge(true, intent, treasury, height=lambda: 0)
    assert refused.value.reason is Reason.FEE_ABOVE_CAP


@BOTH
def test_a_foreign_coin_is_refused(treasury: Treasury) -> None:
    case = case_of(treasury)
    foreign = funding(OTHER, COIN, salt=3)
    outpoint = coins_of(foreign, 0)[0]
    spent = TxIn(
        replace(case.parts.tx.inputs[0].outpoint, tx_hash=foreign.tx_hash, index=outpoint.index),
        case.parts.tx.inputs[0].sequence,
    )
    parts = case.with_tx(inputs=(*case.parts.tx.inputs, spent))
    told = {(IN_PREVIOUS_TX, b""): foreign.serialise()}
    assert case.refusal(replace(parts, inputs=(*parts.inputs, told))) is Reason.FOREIGN_INPUT
    next_index = treasury.descriptor.address(1, LOCAL)
    with pytest.raises(Refused) as refused:
        build(case.intent, treasury, coins=coins_of(funding(next_index, COIN), 0), rate=RATE)
    assert refused.value.reason in (Reason.FOREIGN_INPUT, Reason.EXCEEDS_AVAILABLE)


Change = Callable[[Case], Parts]
OUTPUTS: dict[str, tuple[Change, Reason]] = {
    "another destination": (
        lambda c: c.with_outputs(paid(OTHER, 4 * COIN), c.parts.tx.outputs[1]),
        Reason.INTENT_MISMATCH,
    ),
    "another amount": (
        lambda c: c.with_outputs(paid(STRANGER, 4 * COIN + 1), c.parts.tx.outputs[1]),
        Reason.INTENT_MISMATCH,
    ),
    "one output more": (
        lambda c: c.with_outputs(*c.parts.tx.outputs, paid(OTHER, 1_000)),
        Reason.EXTRA_EFFECT,
    ),
    "the payment twice": (
        lambda c: c.with_outputs(paid(STRANGER, 400), *c.parts.tx.outputs),
        Reason.EXTRA_EFFECT,
    ),
    "change in two pieces": (
        lambda c: c.with_outputs(c.parts.tx.outputs[0], *[paid(c.treasury.address, COIN // 3)] * 2),
        Reason.EXTRA_EFFECT,
    ),
    "change to somebody else": (
        lambda c: c.with_outputs(c.parts.tx.outputs[0], paid(OTHER, COIN - FEE)),
        Reason.FOREIGN_CHANGE,
    ),
    "change to our own descriptor at an odd index": (
        lambda c: c.with_outputs(
            c.parts.tx.outputs[0], paid(c.treasury.descriptor.address(7_777, LOCAL), COIN - FEE)
        ),
        Reason.FOREIGN_CHANGE,
    ),
    "change to one owner alone": (
        lambda c: c.with_outputs(
            c.parts.tx.outputs[0],
            paid(
                Descriptor(Form.KEY_HASH, 1, c.treasury.descriptor.keys[:1]).address(0, LOCAL),
                COIN - FEE,
            ),
        ),
        Reason.FOREIGN_CHANGE,
    ),
    "change that is dust": (
        lambda c: c.with_outputs(c.parts.tx.outputs[0], paid(c.treasury.address, 200)),
        Reason.BELOW_MINIMUM,
    ),
    "bytes for nobody": (
        lambda c: c.with_outputs(c.parts.tx.outputs[0], TxOut(0, b"\x6a\x01\x00")),
        Reason.EXTRA_EFFECT,
    ),
    "no change at all": (
        lambda c: c.with_outputs(c.parts.tx.outputs[0]),
        Reason.FEE_ABOVE_CAP,
    ),
    "more than the coins hold": (
        lambda c: c.with_outputs(c.parts.tx.outputs[0], paid(c.treasury.address, 2 * COIN)),
        Reason.UNPROVEN_AMOUNT,
    ),
}


@BOTH
@pytest.mark.parametrize("case", OUTPUTS)
def test_foreign_or_changed_outputs_are_refused(treasury: Treasury, case: str) -> None:
    made = case_of(treasury)
    change, reason = OUTPUTS[case]
    assert made.refusal(change(made)) is reason


@BOTH
def test_scopes_other_than_all_are_refused(treasury: Treasury) -> None:
    case = case_of(treasury)
    all_of_it = case.with_input(IN_SCOPE, (1).to_bytes(4, "little"))
    assert case.judged(all_of_it).fee
    for scope in (2, 3, 0x81, 0x82, 0x83, 0x41, 0x101):
        parts = case.with_input(IN_SCOPE, scope.to_bytes(4, "little"))
        assert case.refusal(parts) is Reason.SIGNATURE_SCOPE
    assert case.refusal(case.with_input(IN_SCOPE, b"\x01")) is Reason.SIGNATURE_SCOPE


STRANGE = treasury_of(Form.SCRIPT_HASH, 2, 3, first=50)
STRANGE_TAPROOT = treasury_of(Form.TAPROOT_SCRIPT, 3, 5, first=50)
TOLD: dict[str, tuple[Treasury, Change, Reason]] = {
    "another script": (
        WSH, lambda c: c.with_input(IN_SCRIPT, STRANGE.script), Reason.FOREIGN_INPUT
    ),
    "an owner's key with another origin": (
        WSH,
        lambda c: c.with_input(IN_DERIVATION, STRANGE.origins[STRANGE.keys[0]], WSH.keys[0]),
        Reason.FOREIGN_INPUT,
    ),
    "a stranger's key": (
        WSH,
        lambda c: c.with_input(IN_DERIVATION, STRANGE.origins[STRANGE.keys[0]], STRANGE.keys[0]),
        Reason.FOREIGN_INPUT,
    ),
    "a field of taproot": (
        WSH, lambda c: c.with_input(IN_INNER_KEY, bytes(32)), Reason.UNDECODABLE
    ),
    "an unknown field": (WSH, lambda c: c.with_input(0xFC, b"x", b"y"), Reason.UNDECODABLE),
    "final already": (WSH, lambda c: c.with_input(0x08, b"\x01\x00"), Reason.UNDECODABLE),
    "another leaf": (
        TAPROOT,
        lambda c: c.with_input(IN_LEAF, STRANGE_TAPROOT.script + b"\xc0", STRANGE_TAPROOT.proof),
        Reason.FOREIGN_INPUT,
    ),
    "another inner key": (
        TAPROOT, lambda c: c.with_input(IN_INNER_KEY, TAPROOT.keys[0][1:]), Reason.FOREIGN_INPUT
    ),
    "another tree": (
        TAPROOT, lambda c: c.with_input(IN_ROOT, bytes(32)), Reason.FOREIGN_INPUT
    ),
    "a stranger's key in the leaf": (
        TAPROOT,
        lambda c: c.with_input(IN_LEAF_DERIVATION, bytes(9), STRANGE_TAPROOT.keys[0][1:]),
        Reason.FOREIGN_INPUT,
    ),
    "a signature by nobody's key": (
        TAPROOT, lambda c: c.with_input(0x13, bytes(64)), Reason.UNDECODABLE
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TOLD)
def test_a_payload_that_tells_devices_of_another_wallet_is_refused(case: str) -> None:
    treasury, change, reason = TOLD[case]
    made = case_of(treasury)
    assert made.refusal(change(made)) is reason


@BOTH
def test_change_that_is_told_to_be_elsewhere_is_refused(treasury: Treasury) -> None:
    case = case_of(treasury)
    stranger = STRANGE_TAPROOT if treasury.is_taproot else STRANGE
    lies: list[tuple[int, bytes, bytes]] = [(0x09, b"", b"x")]
    if treasury.is_taproot:
        lies += [(OUT_INNER_KEY, b"", bytes(32)), (OUT_TREE, b"", b"\x00\xc0\x01\x51")]
        lies += [(OUT_LEAF_DERIVATION, stranger.keys[0][1:], bytes(9))]
    else:
        lies += [(OUT_SCRIPT, b"", stranger.script)]
        lies += [(OUT_DERIVATION, stranger.keys[0], stranger.origins[stranger.keys[0]])]
    for kind, rest, value in lies:
        change = _changed(case.parts.outputs[1], kind, rest, value)
        parts = replace(case.parts, outputs=(case.parts.outputs[0], change))
        assert case.refusal(parts) in (Reason.FOREIGN_CHANGE, Reason.UNDECODABLE)
    # What is true of the change is a lie about the payment.
    swapped = replace(case.parts, outputs=(case.parts.outputs[1], case.parts.outputs[0]))
    assert case.refusal(swapped) is Reason.FOREIGN_CHANGE


@BOTH
def test_versions_and_locks_that_are_never_built_are_refused(treasury: Treasury) -> None:
    case = case_of(treasury)
    spent = case.parts.tx.inputs
    assert case.judged(case.with_tx(locktime=100)).tx.locktime == 100
    for parts in (
        case.with_tx(version=1),
        case.with_tx(locktime=101),
        case.with_tx(locktime=500_000_001),
        case.with_tx(inputs=(replace(spent[0], sequence=0xFFFFFFFF), spent[1])),
        case.with_tx(inputs=(spent[0], spent[0])),
    ):
        assert case.refusal(parts) is Reason.UNDECODABLE


@BOTH
def test_an_intent_of_another_wallet_is_refused(treasury: Treasury) -> None:
    case = case_of(treasury)
    for changes in (
        {"source": OTHER}, {"network": "bip122:00"}, {"chain": "other"}, {"asset_key": "token"},
        {"kind": SpendKind.BATCH}, {"kind": SpendKind.OWNERS}, {"amount": 3 * COIN},
        {"kind": SpendKind.CANCELLATION},
    ):  # fmt: skip
        assert case.refusal(**changes) is Reason.INTENT_MISMATCH
    assert case.refusal(amount=0) is Reason.ZERO_AMOUNT
    assert case.refusal(destination=treasury.address) is Reason.SAME_ACCOUNT
    assert case.refusal(fee_max=case.unsigned.fee_max - 1) is Reason.FEE_ABOVE_CAP
    assert case.judged(fee_max=case.unsigned.fee_max).fee


@BOTH
def test_a_cancellation_pays_everything_back(treasury: Treasury) -> None:
    source = funding(treasury.address, 3 * COIN, 2 * COIN)
    intent = payment(
        treasury, 0, destination=treasury.address, kind=SpendKind.CANCELLATION, cause_id="spend-1"
    )
    unsigned = build(intent, treasury, coins=coins_of(source, 0, 1), rate=RATE)
    judged = judged_of(unsigned, intent, treasury)
    (back,) = judged.tx.outputs
    assert (back.script, back.amount) == (treasury.output_script, 5 * COIN - judged.fee)


@BOTH
def test_coins_that_do_not_pay_are_refused_by_the_builder(treasury: Treasury) -> None:
    source = funding(treasury.address, COIN)
    (coin,) = coins_of(source, 0)
    rich = build(payment(treasury, COIN // 2), treasury, coins=[coin], rate=RATE)
    assert rich.fee_max
    for coins, amount, reason in (
        ([], COIN // 2, Reason.EXCEEDS_AVAILABLE),
        ([coin, coin], COIN // 2, Reason.EXCEEDS_AVAILABLE),
        ([coin], COIN, Reason.EXCEEDS_AVAILABLE),
        ([coin], 100, Reason.BELOW_MINIMUM),
        ([replace(coin, tx_id=f"{n:064x}") for n in range(COINS_MAX + 1)], 1, Reason.TOO_LARGE),
        ([replace(coin, previous=b"\x00")], COIN // 2, Reason.UNDECODABLE),
    ):
        with pytest.raises(Refused) as refused:
            build(payment(treasury, amount), treasury, coins=coins, rate=RATE)
        assert refused.value.reason is reason
    with pytest.raises(Refused) as refused:
        build(payment(treasury, 1, destination="bc1qqqq"), treasury, coins=[coin], rate=RATE)
    assert refused.value.reason is Reason.INVALID_ADDRESS


def test_a_wallet_of_one_key_is_no_treasury() -> None:
    one = Descriptor(Form.KEY_HASH, 1, WSH.descriptor.keys[:1])
    with pytest.raises(Refused):
        Treasury(one, WSH.params)
    assert WSH.params.chain == CHAIN
