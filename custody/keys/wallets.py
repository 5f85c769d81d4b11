"""Wallets of several owners: what the roster says one is, and what may be signed for it.

A row of the roster (ContractWallet) is a pin. What the chain says of the wallet must be exactly
that: its owners, threshold, the code it runs, the handler, and nothing beside the owners that could
move its money. Only on the way to a new row may owners and threshold lie between, and then nothing
is signed but the change itself, one step towards the row at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from chains.base import SpendIntent, SpendKind
from chains.multisig import OWNERS, Relayed, WalletState
from core.errors import Reason, Refused
from custody.keys.roster import ContractWallet
from custody.keys.signers.base import KeyRef, wallet_of

RELAYER = "gas"
"""The own wallet that pays the network for what wallets of several owners send."""
RELAYED_KINDS = frozenset({SpendKind.WITHDRAWAL, SpendKind.OWNERS, SpendKind.CANCELLATION})


def owners_of(row: ContractWallet, address_of_key: Callable[[KeyRef], str]) -> frozenset[str]:
    """Return the addresses of all owners that the roster names."""
    return frozenset(map(address_of_key, row.owners)) | frozenset(row.members)


def check_relayer(intent: SpendIntent, key: KeyRef, sender: str, address: str) -> None:
    """Return when an own key may carry a wallet's transaction to the chain.

    `address` is the key's. Refused: intent_mismatch.
    """
    if wallet_of(key.account) != RELAYER or intent.kind not in RELAYED_KINDS or sender != address:
        raise Refused(Reason.INTENT_MISMATCH, f"{key.account} relays no {intent.kind}")


def check_signers(
    row: ContractWallet, relayed: Relayed, owners: Collection[str], *, intent: SpendIntent
) -> None:
    """Return when enough owners of the roster signed what is relayed.

    A change of owners is signed by those who still are: the chain's answer decides then
    (check_state). Refused: intent_mismatch (another wallet), not_an_owner, quorum_not_met.
    """
    if relayed.wallet != row.address or len(set(relayed.signers)) != len(relayed.signers):
        raise Refused(Reason.INTENT_MISMATCH, "another wallet's transaction is relayed")
    if intent.kind is SpendKind.OWNERS:
        return
    if foreign := sorted(set(relayed.signers) - set(owners)):
        raise Refused(Reason.NOT_AN_OWNER, f"{foreign[0]} is not in the roster")
    if len(relayed.signers) < row.threshold:
        raise Refused(
            Reason.QUORUM_NOT_MET, f"{len(relayed.signers)} of {row.threshold} owners signed"
        )


def check_pins(row: ContractWallet, state: WalletState) -> None:
    """Return when the code a wallet runs is the pinned one and nobody stands beside its owners.

    Refused: owner_change.
    """
    if (state.code, state.handler) != (row.code, row.handler):
        raise Refused(Reason.OWNER_CHANGE, f"{row.wallet} runs {state.code}, {state.handler}")
    if state.extensions:
        raise Refused(Reason.OWNER_CHANGE, f"{row.wallet} has {', '.join(state.extensions)}")


def check_state(
    row: ContractWallet,
    state: WalletState,
    owners: Collection[str],
    *,
    intent: SpendIntent,
    relayed: Relayed | None,
) -> None:
    """Return when a wallet is on the chain what the roster says, so that this may be signed.

    Refused: owner_change, not_an_owner, quorum_not_met, intent_mismatch (the wallet's nonce is
    used, or others come first).
    """
    check_pins(row, state)
    if relayed is not None:
        if relayed.nonce != state.nonce:
            raise Refused(Reason.INTENT_MISMATCH, f"{row.wallet} is at nonce {state.nonce}")
        if not set(relayed.signers) <= set(state.owners):
            raise Refused(Reason.NOT_AN_OWNER, f"not all who signed own {row.wallet}")
        if len(relayed.signers) < state.threshold:
            raise Refused(Reason.QUORUM_NOT_MET, f"{row.wallet} asks for {state.threshold}")
    if intent.kind is SpendKind.OWNERS:
        check_change(row, state, owners, intent)
    elif intent.kind is not SpendKind.CANCELLATION and (
        set(state.owners) != set(owners) or state.threshold != row.threshold
    ):
        raise Refused(Reason.OWNER_CHANGE, f"owners of {row.wallet} are not those of the roster")


def check_change(
    row: ContractWallet, state: WalletState, owners: Collection[str], intent: SpendIntent
) -> None:
    """Return when a change of owners is a step from what the chain says to what the roster says.

    Refused: owner_change.
    """
    gone, new, threshold = read_change(row.address, intent)
    after = (set(state.owners) - {gone}) | {new} - {""}
    lowest, highest = sorted((state.threshold, row.threshold))
    sound = (
        (not gone or (gone in state.owners and gone not in owners))
        and (not new or (new in owners and new not in state.owners))
        and (not threshold or lowest <= threshold <= highest)
        and (threshold or state.threshold) <= len(after)
        and (bool(gone or new) or threshold not in (0, state.threshold))
    )
    if not sound:
        raise Refused(Reason.OWNER_CHANGE, f"not a step to the owners that the roster names: "
                      f"{intent.asset_key} {intent.destination} {intent.amount}")  # fmt: skip


def read_change(wallet: str, intent: SpendIntent) -> tuple[str, str, int]:
    """Return (who goes, who comes, the threshold), each empty or 0 for none; chains.multisig."""
    gone = intent.asset_key.removeprefix(OWNERS).removeprefix("-")
    new = "" if intent.destination == wallet else intent.destination
    return gone, new, intent.amount
