"""Which payments of a block reached watched addresses. Pure.

What counts is the difference of a balance over the transaction. Calls say who paid and where in the
transaction; native coin that no call explains (a program moved it, an account was closed) is seen
and set aside. Tokens count where they lie in the account that derives from our address; what lies
in other accounts of ours may have another master and is worth nothing. Memos mean nothing here: no
address is shared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from chains.base import NATIVE, Payment
from chains.incoming import UNEXPLAINED
from chains.solana import programs
from chains.solana.address import decode58, encode58, to_text
from chains.solana.blocks import Contents, Entry
from chains.solana.effects import Effects, Move, TokenBalance, read_effects

DELIVERED_LESS, NOT_DELIVERED = "delivered_less", "not_delivered"
OTHER_ACCOUNT = "other_account"


@dataclass(slots=True)
class Watch:
    """Watched addresses as text and as bytes; following the same set again costs little."""

    texts: frozenset[str] = frozenset()
    raw: set[bytes] = field(default_factory=set)

    def follow(self, watched: Collection[str]) -> None:
        """Watch exactly these addresses from now on."""
        wanted = watched if isinstance(watched, frozenset) else frozenset(watched)
        if wanted == self.texts:
            return
        for text in self.texts - wanted:
            self.raw.discard(decode58(text, 32) or b"")
        for text in wanted - self.texts:
            raw = decode58(text, 32)
            if raw is None:
                raise ValueError(f"{text} is no address")
            self.raw.add(raw)
        self.texts = wanted


@dataclass(frozen=True, slots=True)
class TokenArrival:
    """A payment of tokens into an account that derives from our address: `account`."""

    payment: Payment
    account: bytes
    program: bytes


def touches(entry: Entry, watch: Watch) -> bool:
    """Tell whether a transaction may have paid a watched address."""
    if any(key in watch.raw for key in entry.wire.keys):
        return True
    if any(text in watch.texts for text in entry.loaded):
        return True
    balances = entry.meta.get("postTokenBalances")
    if not isinstance(balances, list):
        return balances is not None  # malformed: read_effects says so
    return any(not isinstance(each, dict) or each.get("owner") in watch.texts for each in balances)


def plan_payments(contents: Contents, watch: Watch) -> tuple[list[Payment], list[TokenArrival]]:
    """Return native payments and worthless tokens, and the tokens whose accounts are to be asked.

    Unavailable: a transaction that may concern us does not fit what the node says it did.
    """
    plain: list[Payment] = []
    arrivals: list[TokenArrival] = []
    for entry in contents.entries:
        if entry.failed or not touches(entry, watch):
            continue
        effects, tx_id = read_effects(entry), encode58(entry.wire.signature)
        plain += _native(effects, tx_id, watch)
        for place, held in effects.tokens_after.items():
            if held.owner in watch.texts:
                _tokens(effects, tx_id, place, held, plain, arrivals)
    return plain, arrivals


def _native(effects: Effects, tx_id: str, watch: Watch) -> list[Payment]:
    payments: list[Payment] = []
    for place, key in enumerate(effects.keys):
        if key not in watch.raw:
            continue
        gained = effects.after[place] - effects.before[place]
        if place == 0:
            gained += sum(effects.before) - sum(effects.after)  # the fee it paid
        gained += sum(move.amount for move in effects.native if move.source == place)
        blank = Payment(tx_id, "", NATIVE, to_text(key), None, 0, 0)
        moves = [move for move in effects.native if move.destination == place]
        named = [(move, _name(effects, move)) for move in moves]
        shares, left = _shared(blank, named, gained)
        payments += shares
        if left:
            position = f"balance:{place}"
            payments.append(replace(blank, position=position, amount=left, anomaly=UNEXPLAINED))
    return payments


def _name(effects: Effects, move: Move) -> str | None:
    return None if move.source is None else to_text(effects.keys[move.source])


def _tokens(
    effects: Effects,
    tx_id: str,
    place: int,
    held: TokenBalance,
    plain: list[Payment],
    arrivals: list[TokenArrival],
) -> None:
    """Add what one token account of ours got."""
    had = effects.tokens_before.get(place)
    is_same = had is not None and had.owner == held.owner and had.mint == held.mint
    gained = held.amount - (had.amount if had is not None and is_same else 0)
    gained += sum(move.amount for move in effects.tokens if move.source == place)
    owner, mint = decode58(held.owner, 32), decode58(held.mint, 32)
    blank = Payment(tx_id, "", held.mint, held.owner, None, 0, 0)
    moves = [move for move in effects.tokens if move.destination == place]
    shares, left = _shared(blank, [(move, _owner(effects, move)) for move in moves], gained)
    if left:
        # A call that is not read here, of a program that keeps the books: it did arrive.
        position = f"balance:{place}"
        shares.append(replace(blank, position=position, amount=left, claimed=left))
    key, program = effects.keys[place], held.program
    is_ours = (
        owner is not None
        and mint is not None
        and program is not None
        and program in programs.TOKEN_PROGRAMS
        and key == programs.token_account(owner, mint, program)
    )
    if is_ours and program is not None:
        arrivals += [TokenArrival(payment, key, program) for payment in shares]
    else:
        plain += [
            replace(payment, amount=0, claimed=max(payment.claimed, payment.amount),
                    anomaly=OTHER_ACCOUNT)
            for payment in shares
        ]  # fmt: skip


def _owner(effects: Effects, move: Move) -> str | None:
    if move.source is None:
        return None
    source = effects.tokens_before.get(move.source)
    return None if source is None else source.owner


def _shared(
    blank: Payment, moves: Iterable[tuple[Move, str | None]], gained: int
) -> tuple[list[Payment], int]:
    """Share what an account gained out to the moves into it, in their order; return the rest."""
    left = max(0, gained)
    shares: list[Payment] = []
    for move, sender in moves:
        amount = min(move.amount, left)
        left -= amount
        anomaly = None
        if amount < move.amount:
            anomaly = DELIVERED_LESS if amount else NOT_DELIVERED
        shares.append(
            replace(
                blank, position=move.path, from_address=sender, amount=amount, claimed=move.amount,
                anomaly=anomaly,
            )
        )  # fmt: skip
    return shares, left
