"""A transaction as the guard reads it: whether the intent explains everything it does.

Nothing here reads the log or a node: pure judgement of bytes that code other than the builder's has
decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from chains.base import (
    CODE,
    NATIVE,
    Chain,
    ChainWriter,
    Decoded,
    Effect,
    SpendIntent,
    SpendKind,
    UnsignedTx,
    check_batch,
)
from chains.multisig import changes_owners
from core.errors import Reason, Refused
from custody.keys.authority import Authority
from custody.keys.roster import Roster
from custody.keys.rotation import DEPOSITS
from custody.keys.signers.base import KeyRef, check_message, wallet_of
from custody.keys.wallets import check_relayer, check_signers, owners_of

AddressOfKey = Callable[[KeyRef], str]

SOURCES: dict[SpendKind, frozenset[str]] = {
    SpendKind.WITHDRAWAL: frozenset({"hot", "cold"}),
    SpendKind.SWEEP: frozenset({"deposits", "hot"}),
    SpendKind.TOP_UP: frozenset({"gas", "hot", "cold"}),
    SpendKind.CANCELLATION: frozenset({"deposits", "hot", "gas", "cold"}),
    SpendKind.ROTATION: frozenset({"hot", "gas", "cold"}),
    SpendKind.DELEGATION: frozenset({"deposits", "hot", "gas"}),
    SpendKind.OWNERS: frozenset({"hot", "cold"}),
    SpendKind.BATCH: frozenset({"hot"}),
}
"""Which own wallets may pay for which kind of spend, or sign it as an owner of who pays."""

GAS = "gas"
_PAID_FOR = frozenset({SpendKind.SWEEP, SpendKind.CANCELLATION})
"""What `gas` pays the fee of for a deposit address, where several keys sign one transaction."""


CHANGE_KEYS = 20
"""Change goes to the first keys of an account, or back to a key that pays: whoever restores the
seed finds it there. Source: BIP-44, gap limit."""


@dataclass(frozen=True, slots=True)
class SignRequest:
    """One transaction to sign, and by what right. Plain values: it can cross to another process."""

    intent: SpendIntent
    authority: Authority
    unsigned: UnsignedTx
    key: KeyRef
    input_keys: tuple[KeyRef, ...] = ()
    """Whose each signature is, in their order: of each coin's owner, or of each signer."""
    change_keys: tuple[KeyRef, ...] = ()
    """Own keys that may receive what is left of the coins."""


def check_source(request: SignRequest) -> None:
    """Return when the account of a request may pay for its kind, or relay it.

    Refused: intent_mismatch.
    """
    if is_relayed(request):
        return  # check_key says who may
    if wallet_of(request.key.account) not in SOURCES.get(request.intent.kind, frozenset()):
        raise Refused(
            Reason.INTENT_MISMATCH, f"{request.key.account} pays for no {request.intent.kind}"
        )


def is_relayed(request: SignRequest) -> bool:
    """Return whether the transaction is sent by another one than the wallet that pays."""
    return request.unsigned.sender != request.intent.source


def check_key(
    intent: SpendIntent,
    key: KeyRef,
    *,
    sender: str,
    roster: Roster,
    address_of_key: AddressOfKey,
) -> bool:
    """Return whether a contract wallet is the sender, when a key signs for who sends.

    Refused: intent_mismatch, the key is neither the source's, nor an owner of it in the roster, nor
    the relayer's of such a wallet.
    """
    wallet = roster.wallet(intent.chain, intent.source)
    if sender != intent.source:
        if wallet is None:
            raise Refused(Reason.INTENT_MISMATCH, "the source and the sender differ")
        check_relayer(intent, key, sender, address_of_key(key))
        return False
    if wallet is None and address_of_key(key) == intent.source:
        return False
    if wallet is None or key not in wallet.owners:
        raise Refused(Reason.INTENT_MISMATCH, "the key, the source and the sender differ")
    return True


def check_kind(
    intent: SpendIntent,
    decoded: Decoded,
    *,
    sender: str,
    from_contract: bool,
    roster: Roster,
    address_of_key: AddressOfKey,
) -> None:
    """Return when a payload is of the kind its source signs, and lets no foreign code run.

    Where it is relayed, when enough owners in the roster signed what is inside. Refused:
    intent_mismatch, foreign_delegate, owner_change, not_an_owner, quorum_not_met.
    """
    is_inside = decoded.relayed is not None
    if decoded.source_is_contract != from_contract or is_inside != (sender != intent.source):
        raise Refused(Reason.INTENT_MISMATCH, "the transaction is not the source's")
    wallet = roster.wallet(intent.chain, intent.source)
    if decoded.relayed is not None and wallet is not None:
        check_signers(wallet, decoded.relayed, owners_of(wallet, address_of_key), intent=intent)
    # Where coins are spent any transaction may have many outputs: they are all explained anyway.
    if not decoded.inputs and decoded.is_batch is not (intent.kind is SpendKind.BATCH):
        raise Refused(Reason.INTENT_MISMATCH, "a batch is no single payment, nor the reverse")
    for effect in decoded.effects:
        if changes_owners(effect.asset_key) and intent.kind is not SpendKind.OWNERS:
            raise Refused(Reason.OWNER_CHANGE, f"{effect.asset_key} {effect.destination}")
        allowed = roster.allows_delegate(intent.chain, effect.destination)
        if effect.asset_key == CODE and not allowed:
            raise Refused(Reason.FOREIGN_DELEGATE, f"{effect.destination} is not in the roster")


def check_delegate(chain: Chain, intent: SpendIntent, decoded: Decoded, roster: Roster) -> None:
    """Return when the code that a source runs is one of the roster's, if it matters here.

    As the signer's own node says it now; until a transaction of the source changes it, which needs
    a signature of this guard. Refused: foreign_delegate.
    """
    if not decoded.runs_own_code:
        return
    delegate = chain.delegate_of(intent.source, chain.head())
    if delegate is None or not roster.allows_delegate(intent.chain, delegate):
        raise Refused(Reason.FOREIGN_DELEGATE, f"{intent.source} runs {delegate or 'no code'}")


def read_transaction(chain: ChainWriter, request: SignRequest, *, curve: str) -> Decoded:
    """Decode a request's payload and compare what was said beside it.

    Refused: invalid_address, forbidden_destination, intent_mismatch, malformed, and as
    ChainWriter.decode.
    """
    intent, unsigned = request.intent, request.unsigned
    if chain.parse_address(intent.destination) != intent.destination:
        raise Refused(Reason.INVALID_ADDRESS, "the destination is not in its canonical form")
    decoded = chain.decode(unsigned.payload, sender=unsigned.sender)
    for digest in digests_of(decoded):
        check_message(curve, digest)
    for what, told, read in (
        ("chain", unsigned.chain, intent.chain),
        ("nonce", unsigned.nonce, decoded.nonce),
        ("digest", unsigned.digest, decoded.digest),
        ("fee_max", unsigned.fee_max, decoded.fee_max),
    ):
        if type(told) is not type(read) or told != read:
            raise Refused(Reason.INTENT_MISMATCH, f"{what} of the transaction")
    return decoded


def digests_of(decoded: Decoded) -> tuple[bytes, ...]:
    """Return what is signed, one after another; several signers sign the same."""
    signers = max(1, len(decoded.signers))
    return tuple(one.digest for one in decoded.inputs) or (decoded.digest,) * signers


def keys_of(key: KeyRef, input_keys: Sequence[KeyRef]) -> tuple[KeyRef, ...]:
    """Return whose each signature is."""
    return tuple(input_keys) or (key,)


def check_explained(
    intent: SpendIntent,
    decoded: Decoded,
    *,
    key: KeyRef,
    input_keys: Sequence[KeyRef],
    change_keys: Sequence[KeyRef],
    address_of_key: AddressOfKey,
) -> None:
    """Return when the intent explains everything a transaction does, and its fee.

    Refused: wrong_network, foreign_input, foreign_change, unproven_amount, extra_effect,
    intent_mismatch, fee_above_cap, zero_amount, same_account.
    """
    if decoded.network != intent.network:
        raise Refused(Reason.WRONG_NETWORK, "the transaction is for another network")
    if decoded.inputs:
        is_cancelling = intent.kind is SpendKind.CANCELLATION
        receivers = (key, *change_keys) if is_cancelling else change_keys
        change = _check_coins(decoded, key, input_keys, receivers, address_of_key)
        rest = _check_coin_effects(intent, decoded.effects, change)
        if wallet_of(key.account) == DEPOSITS:
            _check_customers(decoded, rest)
    else:
        _check_signers(intent, decoded, key, input_keys, address_of_key)
        if change_keys:
            raise Refused(Reason.INTENT_MISMATCH, "no coins are spent here")
        _check_effects(intent, decoded.effects)
    if decoded.fee_max > intent.fee_max:
        raise Refused(Reason.FEE_ABOVE_CAP, f"{decoded.fee_max} is above {intent.fee_max}")


def _check_signers(
    intent: SpendIntent,
    decoded: Decoded,
    key: KeyRef,
    input_keys: Sequence[KeyRef],
    address_of_key: AddressOfKey,
) -> None:
    """Check who else signs what the source signs: `gas` for a deposit address, and nobody else.

    It pays the fee there, so that no deposit address needs coins of its own to pay with.
    """
    if not decoded.signers:
        if input_keys:
            raise Refused(Reason.INTENT_MISMATCH, "no coins are spent here")
        return
    named = keys_of(key, input_keys)
    if len(named) != len(decoded.signers) or len(set(named)) != len(named):
        raise Refused(Reason.FOREIGN_INPUT, "one own key for each signer, each of them once")
    for own, address in zip(named, decoded.signers, strict=True):
        if address_of_key(own) != address:
            raise Refused(Reason.FOREIGN_INPUT, f"{address} is not of the key that was named")
    others = [own for own in named if own != key]
    payer = named[0]
    is_for_deposit = intent.kind in _PAID_FOR and wallet_of(key.account) == DEPOSITS
    moves_nothing = is_for_deposit and intent.kind is SpendKind.CANCELLATION
    if key not in named and not moves_nothing:
        raise Refused(Reason.FOREIGN_INPUT, "the source does not sign")
    if others and not (is_for_deposit and others == [payer] and wallet_of(payer.account) == GAS):
        raise Refused(Reason.FOREIGN_INPUT, "another key signs and pays the fee")


def _check_coins(
    decoded: Decoded,
    key: KeyRef,
    input_keys: Sequence[KeyRef],
    receivers: Sequence[KeyRef],
    address_of_key: AddressOfKey,
) -> frozenset[str]:
    """Check whose the coins are and where they go; return the addresses that may have change."""
    if len(input_keys) != len(decoded.inputs):
        raise Refused(Reason.FOREIGN_INPUT, "one own key for each input")
    for own, coin in zip(input_keys, decoded.inputs, strict=True):
        if own.account != key.account or address_of_key(own) != coin.owner:
            raise Refused(Reason.FOREIGN_INPUT, f"{coin.outpoint} is not of the key that was named")
    outpoints = {coin.outpoint for coin in decoded.inputs}
    spent = sum(coin.amount for coin in decoded.inputs)
    paid = sum(effect.amount for effect in decoded.effects)
    if len(outpoints) != len(decoded.inputs) or spent - paid != decoded.fee_max:
        raise Refused(Reason.UNPROVEN_AMOUNT, f"{spent} spent, {paid} paid, {decoded.fee_max} fee")
    for own in receivers:
        if own.account != key.account:
            raise Refused(Reason.FOREIGN_CHANGE, "change stays in the account that pays")
        if own.index >= CHANGE_KEYS and own not in input_keys:
            raise Refused(Reason.FOREIGN_CHANGE, f"change at index {own.index} is never looked for")
    return frozenset(address_of_key(own) for own in receivers)


def _check_coin_effects(
    intent: SpendIntent, effects: Sequence[Effect], change: Collection[str]
) -> Sequence[Effect]:
    """Check the outputs; return those that are change."""
    rest = list(effects)
    if intent.kind is SpendKind.CANCELLATION:
        _check_cancellation(intent)
        allowed = len(rest)
    else:
        for wanted in _wanted(intent):
            if wanted not in rest:
                raise Refused(
                    Reason.INTENT_MISMATCH, "the transaction does not do what the intent says"
                )
            rest.remove(wanted)
        allowed = len(change)
    if len(rest) > allowed:
        raise Refused(Reason.EXTRA_EFFECT, "the transaction pays more than the intent says")
    for effect in rest:
        if effect.asset_key != NATIVE or effect.destination not in change:
            raise Refused(Reason.FOREIGN_CHANGE, f"{effect.destination} is no named change address")
    return rest


def _check_customers(decoded: Decoded, change: Sequence[Effect]) -> None:
    """Check that no deposit address gets back more than its own coins brought.

    What arrives there is credited to its customer: so one customer's money would be another's.
    """
    for address in {effect.destination for effect in change}:
        brought = sum(coin.amount for coin in decoded.inputs if coin.owner == address)
        returned = sum(effect.amount for effect in change if effect.destination == address)
        if returned > brought:
            raise Refused(Reason.FOREIGN_CHANGE, f"{address} gets coins of other deposits")


def _check_effects(intent: SpendIntent, effects: Sequence[Effect]) -> None:
    if intent.kind is SpendKind.CANCELLATION:
        _check_cancellation(intent)
        wanted: tuple[Effect, ...] = (Effect(NATIVE, intent.source, 0),)
        if tuple(effects) in ((), wanted):
            return
    else:
        wanted = _wanted(intent)
        if tuple(effects) == wanted:
            return
    if set(wanted) <= set(effects) and len(effects) > len(wanted):
        raise Refused(Reason.EXTRA_EFFECT, "the transaction does more than the intent says")
    raise Refused(Reason.INTENT_MISMATCH, "the transaction does not do what the intent says")


def _check_cancellation(intent: SpendIntent) -> None:
    if (intent.destination, intent.amount, intent.asset_key) != (intent.source, 0, NATIVE):
        raise Refused(Reason.INTENT_MISMATCH, "a cancellation sends nothing to itself")


def _wanted(intent: SpendIntent) -> tuple[Effect, ...]:
    if intent.kind is SpendKind.BATCH:
        check_batch(intent)
        return tuple(Effect(intent.asset_key, one.destination, one.amount) for one in intent.items)
    if intent.kind is SpendKind.DELEGATION:
        if (intent.asset_key, intent.amount) != (NATIVE, 0):
            raise Refused(Reason.INTENT_MISMATCH, "a delegation moves nothing")
        return (Effect(CODE, intent.destination, 0),)
    if intent.kind is SpendKind.OWNERS:
        if not changes_owners(intent.asset_key):
            raise Refused(Reason.INTENT_MISMATCH, "a change of owners moves nothing")
        return (Effect(intent.asset_key, intent.destination, intent.amount),)
    if changes_owners(intent.asset_key):
        raise Refused(Reason.OWNER_CHANGE, "only a request of its own kind changes owners")
    if intent.amount <= 0:
        raise Refused(Reason.ZERO_AMOUNT, intent.spend_id)
    if intent.destination == intent.source:
        raise Refused(Reason.SAME_ACCOUNT, "a spend to its own sender")
    return (Effect(intent.asset_key, intent.destination, intent.amount),)
