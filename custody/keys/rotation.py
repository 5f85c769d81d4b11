"""A wallet moves to new keys: what retired keys may still sign, and what officers approve.

The roster says which generation of a wallet's keys is the present one. From the moment the signer
is started with such a roster, the keys of earlier generations sign

- a rotation: everything to the same number of the wallet's present keys, approved by the quorum;
- cancellations, which pay nothing;
- for customers' deposit addresses, whose money still arrives there: sweeps, as before.

Nothing pays *to* retired keys of a wallet, and keys of a later generation sign nothing yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chains.base import NATIVE, SpendIntent, SpendKind
from core.errors import Reason, Refused
from core.ids import ChainId
from custody.keys.intent import NO_POLICY, ROTATION_RULE, WithdrawalIntent
from custody.keys.roster import Roster
from custody.keys.signers.base import KeyRef, account_of, generation_of, wallet_of

DEPOSITS = "deposits"


def present_key(roster: Roster, chain: ChainId, key: KeyRef) -> KeyRef:
    """Return the key of the same wallet and number that is used now."""
    wallet = wallet_of(key.account)
    return KeyRef(account_of(wallet, roster.generation(chain, wallet)), key.index)


def accounts_in_use(roster: Roster, chain: ChainId, wallets: Sequence[str]) -> list[str]:
    """Return the accounts of wallets, retired keys first: money still arrives at all of them."""
    return [
        account_of(wallet, generation)
        for wallet in wallets
        for generation in range(1, roster.generation(chain, wallet) + 1)
    ]


def check_generation(
    roster: Roster, intent: SpendIntent, key: KeyRef, *, address_of_key: Callable[[KeyRef], str]
) -> None:
    """Return when the keys of this generation may sign a spend.

    Refused: unknown_key (not in use yet, or retired), forbidden_destination (a rotation elsewhere
    than to the present keys), intent_mismatch (a rotation of present keys).
    """
    wallet, generation = wallet_of(key.account), generation_of(key.account)
    present = roster.generation(intent.chain, wallet)
    if generation > present:
        raise Refused(Reason.UNKNOWN_KEY, f"{key.account} is not in use before its roster")
    if intent.kind is SpendKind.ROTATION:
        if generation == present:
            raise Refused(Reason.INTENT_MISMATCH, f"{key.account} has the wallet's present keys")
        if address_of_key(present_key(roster, intent.chain, key)) != intent.destination:
            raise Refused(Reason.FORBIDDEN_DESTINATION, "retired keys pay their successor only")
    elif generation < present and not (
        intent.kind is SpendKind.CANCELLATION
        or (wallet == DEPOSITS and intent.kind is SpendKind.SWEEP)
    ):
        raise Refused(Reason.UNKNOWN_KEY, f"{key.account} is retired")


def check_receiver(
    roster: Roster,
    spend: SpendIntent,
    receiver: KeyRef | None,
    *,
    address_of_key: Callable[[KeyRef], str],
) -> None:
    """Return when a spend by a mandate goes to no retired keys. Refused: forbidden_destination.

    Retired deposit addresses still get gas, or what arrives there could not be swept.
    """
    if (
        receiver is not None
        and wallet_of(receiver.account) != DEPOSITS
        and present_key(roster, spend.chain, receiver) != receiver
    ):
        raise Refused(Reason.FORBIDDEN_DESTINATION, f"{receiver.account} is not present")
    if spend.kind is SpendKind.CANCELLATION:
        return
    for one in roster.rotations:
        if one.chain != spend.chain or one.wallet == DEPOSITS:
            continue
        for generation in range(1, one.generation):
            if spend.destination == address_of_key(KeyRef(account_of(one.wallet, generation), 0)):
                raise Refused(Reason.FORBIDDEN_DESTINATION, f"keys of {one.wallet} were retired")


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One wallet that is to be emptied onto its present keys."""

    rotation_id: str
    initiator: str
    """The person who asks; may not approve."""
    chain: ChainId
    network: str
    wallet: str
    """Whose keys change, as `hot`."""
    destination: str
    balances: Mapping[str, int]
    """What the retired address holds by asset key, in minor units."""
    fee_max: int
    """Most native units one of the transactions may cost."""
    policy_version: int
    expires_ns: int


def plan_rotation(move: Move) -> list[WithdrawalIntent]:
    """Return what officers are asked to approve: one intent per asset, the native coin last.

    All native coin goes but what the fees may take; what they do not take stays. Refused:
    zero_amount (there is nothing to move), exceeds_available (too little native coin for the fees).
    """
    if not any(move.balances.values()):
        raise Refused(Reason.ZERO_AMOUNT, "the retired address holds nothing")
    moves = [(key, move.balances[key]) for key in sorted(move.balances) if key != NATIVE]
    moves = [(key, amount) for key, amount in moves if amount]
    native = move.balances.get(NATIVE, 0)
    rest = native - move.fee_max * (len(moves) + 1)
    if native < move.fee_max * len(moves) or not (moves or rest > 0):
        raise Refused(Reason.EXCEEDS_AVAILABLE, "the retired address cannot pay the fees")
    if rest > 0:
        moves.append((NATIVE, rest))
    return [
        WithdrawalIntent(
            withdrawal_id=f"{move.rotation_id}/{number}",
            customer_no=0,
            initiator=move.initiator,
            chain=move.chain,
            network=move.network,
            asset_key=asset_key,
            destination=move.destination,
            amount=amount,
            fee_minor=0,
            network_fee_max=move.fee_max,
            policy_version=move.policy_version,
            expires_ns=move.expires_ns,
            rule=ROTATION_RULE,
            wallet=move.wallet,
            policy_hash=NO_POLICY,
            decision_hash=NO_POLICY,
            excluded=(),
            not_before_ns=0,
        )
        for number, (asset_key, amount) in enumerate(moves, 1)
    ]


def spend_of(approved: WithdrawalIntent, *, source: str) -> SpendIntent:
    """Return the one spend that carries out an approved move; its id follows from the move's."""
    return SpendIntent(
        spend_id=f"spend/{approved.withdrawal_id}",
        kind=SpendKind.ROTATION,
        cause_id=approved.withdrawal_id,
        chain=approved.chain,
        network=approved.network,
        asset_key=approved.asset_key,
        source=source,
        destination=approved.destination,
        amount=approved.amount,
        fee_max=approved.network_fee_max,
    )
