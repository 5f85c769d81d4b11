"""Durable nonces as tickets: `account:value`, used up by one transaction, whether it succeeds.

A ticket is used when its account holds another value at a finalized slot. On the real network a
failed transaction uses it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chains.base import BlockRef
from chains.rpc import RpcClient
from chains.solana.accounts import FINALIZED, MalformedAnswer, ask_accounts, fields, items, nonce_of
from chains.solana.accounts import number as number_of
from chains.solana.address import decode58, raw_address, to_text
from chains.solana.decode import read_budget
from chains.solana.history import ask_transaction
from chains.solana.message import read_message
from core.errors import Reason, Refused, Unavailable

SIGNATURES_MAX = 1_000
"""Source: getSignaturesForAddress."""
LOOKED_AT_MAX = 64
"""Most transactions that are read to learn when a ticket was used."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A durable nonce: its account and the value that one transaction uses up."""

    account: bytes
    value: bytes

    @property
    def text(self) -> str:
        """Return the ticket as custody keeps it."""
        return f"{to_text(self.account)}:{to_text(self.value)}"


def read_ticket(text: str) -> Ticket:
    """Read a ticket's text. Refused: malformed."""
    account, colon, value = text.partition(":")
    raw = (decode58(account, 32), decode58(value, 32))
    if not colon or raw[0] is None or raw[1] is None:
        raise Refused(Reason.MALFORMED, "a ticket is a nonce account, a colon and its value")
    return Ticket(raw[0], raw[1])


def ask_open(
    client: RpcClient, accounts: Sequence[str], sender: str, *, at: BlockRef
) -> tuple[str, ...]:
    """Return the tickets that one node says a sender may use, in the order of the accounts."""
    authority, raws = raw_address(sender), [raw_address(text) for text in accounts]
    if not raws:
        return ()
    _, found = ask_accounts(client, raws, least_slot=at.height)
    nonces = [(raw, nonce_of(account)) for raw, account in zip(raws, found, strict=True)]
    return tuple(
        Ticket(raw, nonce.value).text
        for raw, nonce in nonces
        if nonce is not None and nonce.authority == authority
    )


def ask_used(client: RpcClient, tickets: Sequence[str], *, at: BlockRef) -> frozenset[str]:
    """Return which tickets one node says are used in the state after exactly a finalized block.

    Unavailable: a nonce account that is not there, or whose history is too long to be read.
    """
    read = [read_ticket(text) for text in tickets]
    if not read:
        return frozenset()
    slot, found = ask_accounts(client, [one.account for one in read], least_slot=at.height)
    used = set()
    for ticket, account in zip(read, found, strict=True):
        nonce = nonce_of(account)
        if nonce is None:
            raise Unavailable(f"no_nonce_account: {to_text(ticket.account)}")
        if nonce.value != ticket.value and _was_used(client, ticket, after=at.height, until=slot):
            used.add(ticket.text)
    return frozenset(used)


def _was_used(client: RpcClient, ticket: Ticket, *, after: int, until: int) -> bool:
    """Tell whether a ticket that is used by now was used at or below slot `after` already.

    Nodes only know the present. The first transaction since then that advanced the account carries
    the value that stood there before it; anybody's others are passed over.
    """
    since = _signatures_since(client, ticket, after=after, until=until)
    for looked_at, signature in enumerate(since):
        if looked_at >= LOOKED_AT_MAX:
            raise Unavailable(f"ticket_history: more than {LOOKED_AT_MAX} since slot {after}")
        value = _value_before(client, signature, ticket.account)
        if value is not None:
            return value != ticket.value
    return True


def _signatures_since(
    client: RpcClient, ticket: Ticket, *, after: int, until: int
) -> Sequence[str]:
    """Return the finalized transactions that name a nonce account above a slot, oldest first."""
    options = {"limit": SIGNATURES_MAX, "commitment": FINALIZED}
    answer = client.read("getSignaturesForAddress", to_text(ticket.account), options)
    pages = [fields(page, "signature") for page in items(answer, "history", most=SIGNATURES_MAX)]
    slots = [number_of(page.get("slot"), "slot") for page in pages]
    if len(pages) == SIGNATURES_MAX and slots[-1] > after:
        raise Unavailable(f"ticket_history: too long since slot {after}")
    found = []
    for page, slot in zip(pages, slots, strict=True):
        signature = page.get("signature")
        if not isinstance(signature, str) or decode58(signature, 64) is None:
            raise MalformedAnswer("malformed_answer: a signature")
        if after < slot <= until:
            found.append(signature)
    return found[::-1]


def _value_before(client: RpcClient, signature: str, account: bytes) -> bytes | None:
    """Return the value of a nonce account that a transaction used up, None if it did not."""
    found = ask_transaction(client, signature)
    if found is None:
        raise Unavailable(f"transaction_missing: {signature}")
    try:
        message = read_message(found.message)
        budget = read_budget(message)
    except Refused:
        return None  # none of ours, and nobody else can advance it
    return message.blockhash if budget.nonce_account == account else None
